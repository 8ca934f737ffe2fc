"""Every kind of result, each of its fields filled: a stored name stays data, and both forms say the same facts."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from enum import Enum
from html import unescape
from random import Random
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import pytest

from reflexio_mcp.render import publishing, reading
from reflexio_mcp.render.audit import audit_text
from reflexio_mcp.render.blocks import Told
from reflexio_mcp.render.deletion import deletion_text, question, receipt_page, restore_text
from reflexio_mcp.render.report import report_page
from reflexio_mcp.render.status import status
from reflexio_mcp.render.words import refusal, words_for_model
from reflexio_mcp.results.audit import AuditResult
from reflexio_mcp.results.base import Row, structured
from reflexio_mcp.results.deletion import Deletion, PastDeletion, Plan, PlanStatus, Receipt, Restored
from reflexio_mcp.results.facts import Fact, FactCode, Result
from reflexio_mcp.results.publishing import Finished, Stored
from reflexio_mcp.results.reading import (
    ExplorerData,
    Exported,
    LearningPage,
    OneRequest,
    RequestPage,
    SessionPage,
)
from reflexio_mcp.results.report import Report
from reflexio_mcp.results.status import Status
from reflexio_mcp.tools.catalog import CATALOG
from tests.support.facts import ANY_OF_THEM, HOSTILE

R = TypeVar("R", bound=Row)

FILLINGS = 60
"""How often each kind is filled: which of its fields are empty is drawn each time."""

WORDS = words_for_model([spec.name for spec in CATALOG])

NAME = f"”\n{HOSTILE}<img src=x>“ "

OURS = {
    "AuditResult.cursor",
    "Backend.kind",
    "Backend.organization",  # `label` lets only a word through
    "Backend.storage",
    "Backend.where",
    "Exported.confirm",
    "Exported.file",
    "Exported.link",
    "FindingCount.finding",
    "LearningPage.cursor",
    "Logged.counts",
    "Logged.tool",
    "Logged.why",
    "Looked.filter",  # its names went through `label`
    "Manifest.counts",
    "Manifest.findings",
    "NotLooked.findings",
    "OneRequest.cursor",
    "Plan.confirm",
    "Policy.confirm",
    "Policy.policy_problem",
    "Policy.publish_secrets",
    "Policy.shared_state",
    "RequestPage.cursor",
    "Restored.confirm",
    "SessionPage.cursor",
    "SharedRuleRow.approval",
    "Status.version",
    "Stored.secrets",
    "Who.consent",
}
"""Fields with words of ours, or with the operator's settings."""


class Filler:
    """Fills results with texts that are `NAME`, with the field where they stand."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def row(self, kind: type[R]) -> R:
        """A row whose optional texts and parts may be missing."""
        filled = {
            name: ""
            if field.default == "" and self.random.random() < 0.3
            else self._value(field.annotation, name, kind)
            for name, field in kind.model_fields.items()
        }
        return kind.model_validate(filled)

    def _value(self, wanted: Any, name: str, kind: type[Row]) -> Any:
        origin, inside = get_origin(wanted), get_args(wanted)
        if origin is Annotated:
            return self._value(inside[0], name, kind)
        if origin in (Union, UnionType):
            some = [one for one in inside if one is not NoneType]
            missing = len(some) < len(inside) and self.random.random() < 0.2
            return None if missing else self._value(self.random.choice(some), name, kind)
        if origin is Literal:
            return self.random.choice(inside)
        if origin is list:
            # A period has two ends; other lists that belong together are of one length.
            length = 2 if inside[0] is datetime else 1
            return [self._value(inside[0], name, kind) for _ in range(length)]
        if origin is dict:
            return {self._value(inside[0], name, kind): self._value(inside[1], name, kind)}
        return self._single(wanted, f"{kind.__name__}.{name}")

    def _single(self, wanted: Any, where: str) -> Any:
        if wanted in (str, Any):
            return "ours" if where in OURS else NAME.format(where)
        if wanted is bool:
            return self.random.random() < 0.5
        if wanted in (int, float):
            return self.random.choice([0, 1, 2_000])
        if wanted is datetime:
            return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.random.randrange(10**6))
        return self.random.choice(list(wanted)) if issubclass(wanted, Enum) else self.row(wanted)


def of_plan(fill: Filler) -> tuple[Deletion, Told]:
    done = Deletion(status=fill.random.choice(get_args(PlanStatus)), plan=fill.row(Plan))
    return done, deletion_text(done, WORDS)


def of_receipt(fill: Filler) -> tuple[Deletion, Told]:
    done = Deletion(status="complete", receipt=fill.row(Receipt))
    return done, deletion_text(done, WORDS)


def shown(kind: type[R], show: Callable[[R, Any], Told]) -> Callable[[Filler], tuple[R, Told]]:
    def fill_and_show(fill: Filler) -> tuple[R, Told]:
        done = fill.row(kind)
        return done, show(done, WORDS)

    return fill_and_show


KINDS: dict[str, Callable[[Filler], tuple[Result, Told]]] = {
    "SessionPage": shown(SessionPage, reading.session_page),
    "RequestPage": shown(RequestPage, reading.request_page),
    "OneRequest": shown(OneRequest, reading.one_request),
    "LearningPage": shown(LearningPage, reading.learning_page),
    "Exported": shown(Exported, reading.exported),
    "AuditResult": shown(AuditResult, audit_text),
    "Deletion": of_plan,
    "Deletion with its receipt": of_receipt,
    "Restored": shown(Restored, restore_text),
    "Status": shown(Status, status),
    "Stored": shown(Stored, publishing.stored),
    "Finished": shown(Finished, publishing.finished),
}


def fillings() -> Iterator[Filler]:
    return map(Filler, range(FILLINGS))


def outside_fences(text: str) -> str:
    return re.sub(r"(?s)<<stored text (\w+): .*?<<end \1>>", "", text)


def outside_quotations(text: str) -> str:
    return re.sub(r"“[^”]*”", "", text)


def flat(text: str) -> str:
    return " ".join(text.split())


def facts_in(form: Any) -> Iterator[Fact]:
    """The facts of a structured form, without those of receipts on record."""
    if isinstance(form, list):
        for part in form:
            yield from facts_in(part)
    elif isinstance(form, dict) and "code" in form:
        yield Fact.model_validate(form)
    elif isinstance(form, dict):
        for name, part in form.items():
            if name != "deletions":
                yield from facts_in(part)


def test_no_kind_of_result_is_left_out() -> None:
    for_others = {ExplorerData.__name__, Report.__name__}  # the page's data, and a page for a person
    assert {kind.__name__ for kind in Result.__subclasses__()} - for_others <= KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_name_is_data_in_whatever_field_it_stands(kind: str) -> None:
    in_fences = 0
    for fill in fillings():
        _, told = KINDS[kind](fill)
        text = told.text
        assert ANY_OF_THEM not in outside_fences(text)
        assert ANY_OF_THEM not in told.own
        in_fences += ANY_OF_THEM in text
    assert in_fences > FILLINGS / 2


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_of_every_kind_say_the_same_facts(kind: str) -> None:
    said = 0
    for fill in fillings():
        done, told = KINDS[kind](fill)
        text, own = flat(outside_fences(told.text)), flat(told.own)
        for fact in facts_in(structured(done)):
            sentence = flat(WORDS.of(fact))
            assert sentence in text, fact.code
            assert sentence in own, fact.code
            said += bool(sentence)
        for sentence in re.split(r"(?<=\.) ", own):
            assert sentence in text
    assert said > FILLINGS / 2


def test_a_stored_name_is_quoted_in_every_question() -> None:
    for fill in fillings():
        asked = question(fill.row(Plan), "request", fill.random.choice([None, 3]), "0123")
        assert ANY_OF_THEM not in outside_quotations(asked), asked


def test_a_stored_name_opens_no_tag_in_a_page_for_a_person() -> None:
    for fill in fillings():
        for page in (receipt_page(fill.row(PastDeletion), fill.row(Receipt)), report_page(fill.row(Report))):
            assert ANY_OF_THEM in page
            assert "<img" not in page


def test_a_stored_name_is_quoted_in_a_report_for_a_person() -> None:
    for fill in fillings():
        page = unescape(report_page(fill.row(Report)))
        assert ANY_OF_THEM in page
        assert ANY_OF_THEM not in outside_quotations(page), page


@pytest.mark.parametrize("code", FactCode)
def test_a_stored_name_stays_in_the_fence_of_every_refusal(code: FactCode) -> None:
    told = refusal([Fact(code=code, number=2, names=[NAME.format(code)])], WORDS)
    assert ANY_OF_THEM not in outside_fences(told.text)
    assert ANY_OF_THEM not in told.own
