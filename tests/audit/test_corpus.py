"""Findings have to be right before they have to be many: precision and recall over labelled traffic."""

import os
from collections.abc import Callable

import pytest

from reflexio_mcp.traffic.reading.search import FINDINGS
from reflexio_mcp.traffic.rules.catalog import RULES
from tests.audit.corpus import make_corpus
from tests.audit.measuring import Measured

LEAST_PRECISION = 0.95
LEAST_RECALL = 0.9
LEAST_FAULTS = 6

OF_A_WHOLE_STORE = {
    "user-per-session",
    "only-evaluation",
    "one-version",
    "orphaned-learning",
    "stale-learning",
}
"""Nothing else can be in a store that shows these; `test_habits.py` has them. Here none must be found."""


pytestmark = pytest.mark.xdist_group("corpus")  # one worker makes it, once


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" not in os.environ, reason="only several workers make it several times"
)
def test_one_worker_has_all_tests_of_the_corpus(request: pytest.FixtureRequest) -> None:
    """A release of pytest or pytest-xdist that ignores groups would make the corpus, and real servers, per worker."""
    assert request.node.nodeid.endswith("@corpus")


def test_the_corpus_has_several_hundred_sessions_and_faults_of_every_rule(
    measured: Measured, record_property: Callable[[str, object], None]
) -> None:
    record_property("audit rules over the labelled corpus", measured.table())
    assert measured.sessions >= 500
    few = {
        name: score
        for name, score in measured.scores.items()
        if name not in OF_A_WHOLE_STORE and score.right + score.missed < LEAST_FAULTS
    }
    assert not few


@pytest.mark.parametrize("rule_id", [rule.id for rule in RULES])
def test_a_rule_finds_what_it_should_and_hardly_anything_else(measured: Measured, rule_id: str) -> None:
    score = measured.scores[rule_id]
    if rule_id in OF_A_WHOLE_STORE:
        assert not score.wrong, score.names
        return
    assert score.precision >= LEAST_PRECISION, score.names
    assert score.recall >= LEAST_RECALL, score.names


def test_the_call_a_finding_gives_selects_exactly_what_it_says_with_whatever_tools_there_are(
    measured: Measured,
) -> None:
    assert not measured.disagreements
    assert measured.executed > 500
    assert set(measured.selected) == set(FINDINGS)


def test_the_same_seed_makes_the_same_traffic_and_the_same_truth() -> None:
    one, two = make_corpus(2_000_000_000, 8), make_corpus(2_000_000_000, 8)
    assert [made.rows for made in one] == [made.rows for made in two]
    assert [made.truth for made in one] == [made.truth for made in two]
