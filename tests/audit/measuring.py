"""Precision and recall of every rule over the corpus."""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reflexio_mcp.traffic.audit import RULES, Audit, run_audit
from reflexio_mcp.traffic.audit.following import Offer
from reflexio_mcp.traffic.audit.learning import LEARNING_CHECKS
from reflexio_mcp.traffic.audit.selecting import SELECTORS
from reflexio_mcp.traffic.filters import TrafficFilter, make_filter
from reflexio_mcp.traffic.plans import read_matching
from reflexio_mcp.traffic.reach import Reach
from tests.audit.corpus import Deployment, make_corpus
from tests.audit.stocking import stocked

EVERY_TOOL = Offer(
    frozenset({"delete_requests", "list_requests", "list_sessions", "get_request", "delete_session"})
)


@dataclass
class Score:
    right: int = 0
    wrong: int = 0
    missed: int = 0
    names: list[str] = field(default_factory=list[str])
    """What went wrong, for a failing test to name."""

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)


@dataclass
class Measured:
    """The whole corpus, audited."""

    sessions: int = 0
    requests: int = 0
    seconds: float = 0.0
    scores: dict[str, Score] = field(default_factory=lambda: {rule.id: Score() for rule in RULES})
    selected: Counter[str] = field(default_factory=Counter[str])
    """Requests that a rule's filter selected, for rules that have one."""
    disagreements: list[str] = field(default_factory=list[str])
    """Where a finding's filter selects something else than the finding counts."""

    def table(self) -> list[str]:
        rows = [f"{'rule':22} {'faults':>7} {'precision':>10} {'recall':>8}"]
        for rule_id, score in self.scores.items():
            faults = score.right + score.missed
            rows.append(f"{rule_id:22} {faults:7} {score.precision:10.3f} {score.recall:8.3f}")
        rows.append(f"{self.sessions} sessions, {self.requests} requests, audited in {self.seconds:.1f} s")
        return rows


async def measure() -> Measured:
    """Store and audit every deployment, and compare with what its maker says."""
    measured = Measured()
    with tempfile.TemporaryDirectory() as folder:
        for made in make_corpus(int(time.time())):
            async with stocked(made, Path(folder)) as client:
                reach = Reach(client)
                begun = time.perf_counter()
                audit = await run_audit(reach, TrafficFilter(), offer=EVERY_TOOL)
                measured.seconds += time.perf_counter() - begun
                _score(measured, made, audit)
                await _select(measured, made, reach, audit)
    return measured


def _score(measured: Measured, made: Deployment, audit: Audit) -> None:
    measured.sessions += made.sessions
    measured.requests += len(made.rows)
    found = {finding.rule.id: set(finding.subjects) for finding in audit.findings}
    asked = sum(not row.evaluation_only for row in made.rows) <= LEARNING_CHECKS
    for rule in RULES:
        if rule.id.startswith("learning-") and not asked:
            continue  # a sample is asked about: what lies outside it is neither right nor wrong
        expected, got = made.truth.get(rule.id, set[str]()), found.get(rule.id, set[str]())
        score = measured.scores[rule.id]
        score.right += len(expected & got)
        score.wrong += len(got - expected)
        score.missed += len(expected - got)
        score.names += [f"deployment {made.seed}: not a fault {one!r}" for one in sorted(got - expected)]
        score.names += [f"deployment {made.seed}: missed {one!r}" for one in sorted(expected - got)]


async def _select(measured: Measured, made: Deployment, reach: Reach, audit: Audit) -> None:
    for finding in audit.findings:
        if finding.rule.id not in SELECTORS:
            continue
        assert finding.next is not None
        arguments = {name: value for name, value in finding.next.arguments.items() if name != "detail"}
        doomed = await read_matching(reach, make_filter(reach, **arguments))
        unit = (
            {item.session_id for item in doomed}
            if finding.rule.unit == "session"
            else {item.request_id for item in doomed}
        )
        measured.selected[finding.rule.id] += len(doomed)
        if unit != set(finding.subjects):
            measured.disagreements.append(f"{made.seed} {finding.rule.id}")
