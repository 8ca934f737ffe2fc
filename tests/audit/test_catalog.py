"""A new rule is a row, a detector and a case of the corpus: what is missing is named here."""

import importlib
import inspect
import pkgutil
import re

import pytest

import reflexio_mcp.traffic.rules as folder
from reflexio_mcp.tools import audit
from reflexio_mcp.traffic.audit.learned import LearnedChecks
from reflexio_mcp.traffic.audit.learning_status import LearningChecks
from reflexio_mcp.traffic.reading.filters import WHOLE_SESSIONS
from reflexio_mcp.traffic.reading.search import FINDINGS
from reflexio_mcp.traffic.rules.catalog import RULES, Rule
from reflexio_mcp.traffic.rules.detector import Detector
from reflexio_mcp.traffic.rules.selection import detector_types, select
from tests.audit.corpus import make_corpus
from tests.audit.test_corpus import OF_A_WHOLE_STORE
from tests.audit.test_habits import FOUND

ASKED = {found.rule.id for checks in (LearningChecks(0), LearnedChecks(0)) for found in checks.founds}
"""Rules that the service is asked about."""


def test_what_the_audit_says_it_finds_can_be_asked_for() -> None:
    [told] = re.findall(r"findings \((.*?), \.\.\.\)", audit.SPECS[0].description)
    assert set(told.split(", ")) <= set(FINDINGS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_row_names_the_detector_that_finds_its_rule(rule: Rule) -> None:
    if not rule.detector:
        assert rule.id in ASKED
        return
    module, _, called = rule.detector.partition(".")
    detector = getattr(importlib.import_module(f"{folder.__name__}.{module}"), called)()
    assert rule.id in {found.rule.id for found in detector.founds}


def test_every_detector_is_named_by_a_row() -> None:
    written = {
        member
        for module in pkgutil.iter_modules(folder.__path__)
        for _, member in inspect.getmembers(importlib.import_module(f"{folder.__name__}.{module.name}"))
        if inspect.isclass(member) and issubclass(member, Detector) and member is not Detector
    }
    assert set(detector_types()) == written


def test_a_filter_by_a_rule_is_what_one_session_shows() -> None:
    for rule in RULES:
        assert rule.selects or not rule.across
        if rule.selects and rule.across:
            with pytest.raises(KeyError):
                select(rule.id, [])
        elif rule.selects:
            assert list(select(rule.id, [])) == []
            assert rule.unit in ("request", "session") or rule.id in _carried()


def test_a_filter_by_a_rule_that_needs_whole_sessions_takes_no_part_of_them() -> None:
    needing = {
        found.rule.id
        for kind in detector_types()
        if kind.needs == "whole sessions"
        for found in kind().founds
        if found.rule.selects
    }
    assert needing == WHOLE_SESSIONS


def _carried() -> set[str]:
    return {rule_id for kind in detector_types() for rule_id in kind.carries}


def test_every_rule_has_a_case_in_the_corpus_or_a_store_of_its_own() -> None:
    seeded = {
        rule_id for made in make_corpus(2_000_000_000) for rule_id, units in made.truth.items() if units
    }
    assert seeded | OF_A_WHOLE_STORE == {rule.id for rule in RULES}
    assert not seeded & OF_A_WHOLE_STORE
    assert {rule_id for rule_id, _ in FOUND} >= OF_A_WHOLE_STORE - ASKED
