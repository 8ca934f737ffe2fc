"""Precision and recall of every rule over the corpus."""

import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.traffic.audit.learning_status import LEARNING_CHECKS
from reflexio_mcp.traffic.audit.next_call import Offer
from reflexio_mcp.traffic.audit.run import Audit, run_audit
from reflexio_mcp.traffic.reading.filters import TrafficFilter, make_filter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.reading.search import FINDINGS
from reflexio_mcp.traffic.rules.catalog import RULES
from reflexio_mcp.traffic.rules.found import Next
from reflexio_mcp.traffic.scope import Scope
from tests.audit.corpus import Deployment, make_corpus
from tests.audit.stocking import stocked

EVERY_TOOL = Offer(
    frozenset({"delete_requests", "list_requests", "list_sessions", "get_request", "delete_session"})
)

FEW_TOOLS = (
    ("get_request",),
    ("delete_session",),
    ("delete_request",),
    ("list_sessions",),
    ("list_requests", "list_sessions", "get_request"),
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
    executed: int = 0
    """Next calls that were made."""
    disagreements: list[str] = field(default_factory=list[str])
    """Where a next call selects something else than it says."""

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
                scope = Scope(client)
                begun = time.perf_counter()
                audit = await run_audit(scope, TrafficFilter(), offer=EVERY_TOOL)
                measured.seconds += time.perf_counter() - begun
                _score(measured, made, audit)
                await _select(measured, made, scope, audit)
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


async def _select(measured: Measured, made: Deployment, scope: Scope, audit: Audit) -> None:
    for finding in audit.findings:
        if finding.rule.id in FINDINGS:
            assert finding.next is not None
            measured.selected[finding.rule.id] += len(await executed(scope, finding.next))
    await _agree(measured, made, scope, audit, "every tool")
    if made.seed % 3 == 0:
        for tools in FEW_TOOLS:
            few = await run_audit(scope, TrafficFilter(), offer=Offer(frozenset(tools)))
            await _agree(measured, made, scope, few, "+".join(tools))
        for narrow in (TrafficFilter(contains="e"), TrafficFilter(user_id=made.rows[0].user_id)):
            found = await run_audit(scope, narrow, offer=EVERY_TOOL)
            await _agree(measured, made, scope, found, narrow.describe())


async def _agree(measured: Measured, made: Deployment, scope: Scope, audit: Audit, how: str) -> None:
    """Make every next call and compare what it selects with what it says."""
    for finding in audit.findings:
        if finding.next is None:
            continue
        measured.executed += 1
        doomed = await executed(scope, finding.next)
        units = {
            "request": {item.request_id for item in doomed},
            "session": {item.session_id for item in doomed},
            "source": {item.source for item in doomed},
            "user": {item.user_id for item in doomed},
            "version": {item.agent_version for item in doomed},
            "period": {""} if doomed else set[str](),
        }[finding.rule.unit]
        whole = finding.next.selects == finding.count
        right = units == set(finding.subjects) if whole else units < set(finding.subjects)
        if len(units) != finding.next.selects or not right:
            measured.disagreements.append(f"{made.seed} {finding.rule.id} ({how}): {finding.next}")


async def executed(scope: Scope, following: Next) -> list[StoredRequest]:
    """What a next call selects."""
    given = {name: value for name, value in following.arguments.items() if name != "detail"}
    found: list[StoredRequest] = []

    async def take(items: list[RequestWithInteractions]) -> None:
        found.extend(one.request for one in items)

    ids = given.get("request_ids") or ([given["request_id"]] if "request_id" in given else [])
    if ids:
        await read_set(scope, ids, take)
        return found
    wanted = make_filter(masked=scope.masked, **given)
    async for part in SessionPager(scope, wanted).slices():
        await take(await wanted.pick_in_thread(part.requests))
    return found
