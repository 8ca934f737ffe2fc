"""Asks a person through the client's form, in every protocol revision that has forms.

The resolvers of one call share one `Prepared`, so the set that was asked about is the set that is deleted. From
2026-07-28 on, the result of the call contains the question. The client repeats the call with the answer, and the
repeated call plans again. The question contains the fingerprint of the selection, and the SDK discards an answer to a
different question.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import anyio
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult, render_elicitation_schema
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.resolve import Elicit, Resolve
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from reflexio_mcp.consent.policy import Question, Verdict, only_shown, weigh, weigh_reply
from reflexio_mcp.render.deletion import question
from reflexio_mcp.results.progress import Step
from reflexio_mcp.toolkit.context import Call, ProgressReporter, app_of, from_page, scope_of
from reflexio_mcp.traffic.deletion.plan import Options, Planned, make_plan
from reflexio_mcp.traffic.deletion.targets import Target
from reflexio_mcp.traffic.turns import aside, while_client_waits

__all__ = ["Prepared", "Reply", "asking", "prepare", "verdict_of"]

FORMS: Final = "2025-06-18"
"""The first revision with forms. Earlier clients get no form, whatever they declare."""

FORM_MODES: Final = "2025-11-25"
"""From this revision on, a form declares its mode."""

MULTI_ROUND: Final = "2026-07-28"
"""From this revision on, a question travels in the result, and the client repeats the call."""

ANSWER_SECONDS: Final = 600.0
"""How long a form waits for its answer. For a question in a result, the SDK has the same limit."""

TIMES_SENT: Final = 2
"""How many times a form is sent at most, to a client that accepts it without content."""


def _only_fields(schema: dict[str, Any]) -> None:
    """Keep only what the protocol's schema lists: Codex refuses other forms."""
    for name in ("title", "description"):
        schema.pop(name, None)


class Reply(BaseModel):
    model_config = ConfigDict(json_schema_extra=_only_fields, defer_build=True)

    @model_validator(mode="wrap")
    @classmethod
    def _take_any_answer(cls, value: Any, validate: Any) -> "Reply":
        """Treat an unusable answer as missing. Otherwise the SDK would end the call, and nobody would see the plan."""
        try:
            return validate(value)
        except ValidationError:
            return Reply()


class Yes(Reply):
    """An explicit yes. An unanswered form agrees to nothing."""

    # Clients that show a list preselect an answer, so the default is no. Without `strict`, a word or number that
    # resembles a yes would count.
    delete: bool = Field(
        default=False, strict=True, title="Delete", description="Yes deletes. No keeps everything."
    )


class Correct(Reply):
    change: bool = Field(
        default=False, strict=True, title="Change", description="Yes changes the text. No keeps the old text."
    )


class Decide(Reply):
    decide: bool = Field(
        default=False,
        strict=True,
        title="Decide",
        description="Yes decides so. No leaves the rules as they are.",
    )


def _whole_number(value: object) -> object:
    """Return the number of `"5"` and `5.0`, which clients send for 5."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}\s*", value):
        return int(value)
    return value


class Number(Reply):
    # Without `strict`, a yes would be 1.
    number: Annotated[int, BeforeValidator(_whole_number)] = Field(
        strict=True, title="Number", description="Type the number that the question names."
    )


class Unanswered(Reply):
    """Nobody answered the form in time, or before the client went away."""


def form_of(question: Question, *, changes: bool = False, decides: bool = False) -> type[Reply]:
    if question.number is not None:
        return Number
    if changes:
        return Correct
    return Decide if decides else Yes


def _can_ask(call: Context[Any, Any]) -> bool:
    declared = call.client_capabilities
    forms = declared.elicitation if declared else None
    revision = call.protocol_version or ""
    if forms is None or revision < FORMS:
        return False
    if forms.form is None and forms.url is not None:  # only pages at an address
        return False
    return revision >= MULTI_ROUND or call.session.can_send_request


@dataclass(frozen=True)
class Prepared:
    """A plan with its verdict, or with the question that must be answered before one."""

    planned: Planned
    weighed: Verdict | Question
    reporter: ProgressReporter


async def prepare(
    call: Call, target: Target, options: Options, confirm: str, *, shown_first: bool = False
) -> Prepared:
    """Plan a deletion.

    Args:
        shown_first: the call can be wider than meant, so its plan is shown even in the mode `off`.
    """
    app, scope, reporter = app_of(call), scope_of(call), ProgressReporter(call)
    async with reporter.steady(Step.LOOKING_UP):
        owner = await app.owner(scope)
        planned = await make_plan(scope, target, options, app.state, owner, progress=reporter)
    # A person in the explorer's page has seen the plan; only the mode `ask` still requires the client's form.
    askable = _can_ask(call) and not (app.settings.confirm == "auto" and from_page(call))
    codes = app.codes(scope)
    weighed = weigh(app.settings, codes, planned, confirm, askable=askable, shown_first=shown_first)
    return Prepared(planned, weighed, reporter)


def asking(
    prepared_by: Callable[..., Awaitable[Prepared]],
) -> Callable[..., Awaitable[Verdict | Reply | Elicit[Reply]]]:
    """Return the resolver of the verdict, which asks the question first if necessary."""

    async def consent(
        call: Call, prepared: Annotated[Prepared, Resolve(prepared_by)]
    ) -> Verdict | Reply | Elicit[Reply]:
        weighed, planned, plan = prepared.weighed, prepared.planned, prepared.planned.plan
        if isinstance(weighed, Verdict):
            return weighed
        decides = plan.decision in (
            "approve",
            "reject",
        )  # the form for deleting a rule is that of any deletion
        form = form_of(weighed, changes=bool(plan.change), decides=decides)
        fingerprint = app_of(call).codes(scope_of(call)).fingerprint(planned.bound)
        message = question(plan, planned.target.noun, weighed.number, fingerprint)
        if (call.protocol_version or "") >= MULTI_ROUND:
            return Elicit(message, form)
        async with aside(), prepared.reporter.steady(Step.WAITING_FOR_ANSWER):
            return await _ask_now(call, message, form)

    return consent


async def _ask_now(call: Context[Any, Any], message: str, form: type[Reply]) -> Reply:
    """Ask over an open connection, in revisions before 2026-07-28. Return an empty `Reply` for an unusable answer."""
    # `Context.elicit` always sends `mode`, which 2025-06-18 does not list.
    params = ElicitRequestFormParams.model_construct(
        mode="form" if (call.protocol_version or "") >= FORM_MODES else None,
        message=message,
        requested_schema=render_elicitation_schema(form),
    )
    related = ServerMessageMetadata(related_request_id=call.request_id)
    with while_client_waits(), anyio.move_on_after(ANSWER_SECONDS):
        for _ in range(TIMES_SENT):
            try:
                answer = await call.session.send_request(
                    ElicitRequest(params=params), ElicitResult, metadata=related
                )
            except (MCPError, ValueError):
                return Reply()
            if answer.action != "accept":
                return Reply()
            if answer.content is not None:
                return form.model_validate(answer.content)
        return Reply()
    return Unanswered()


def verdict_of(prepared: Prepared, consent: ElicitationResult[Reply]) -> Verdict:
    """Return the verdict after the resolver of `asking`.

    Args:
        consent: what the resolver returned, or the answer to its question. The SDK wraps both. If the person declined,
            the wrapper has no data.
    """
    weighed = prepared.weighed
    if isinstance(weighed, Verdict):
        return weighed
    reply = consent.data if isinstance(consent, AcceptedElicitation) else Reply()
    if isinstance(reply, Unanswered):
        return only_shown(prepared.planned, "ask", "unanswered")
    # Each form has a single field; a bare `Reply` has none.
    answer = next(iter(reply.model_dump().values()), None)
    return weigh_reply(prepared.planned, weighed, answer)
