"""Rules about learning."""

import heapq
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.errors import NotFound, ReflexioError
from reflexio_mcp.rest.models import StoredRequest
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

ASKED: Final = 60
"""Number of newest requests that the service is asked about; it answers 120 a minute."""

SECONDS: Final = 8.0

AT_ONCE: Final = 6


class LearningWaiting(Rule):
    """Requests from which nothing is learned yet."""

    name = "learning-waiting"
    severity = "low"
    limit = FactCode.KNOWS_SERVICE
    why = "Reflexio has not learned from these requests yet. It waits until a window of about ten interactions is full, the session is finished or six hours have passed."
    advice = "Say when a conversation is over, so that it is learned from at once."
    asked = True


class LearningFailed(Rule):
    """Requests whose learning failed."""

    name = "learning-failed"
    severity = "medium"
    limit = FactCode.KNOWS_SERVICE
    why = "Reflexio learns nothing from these requests, and later requests of the user may wait behind them."
    advice = "Each request shows the reason: resolve it in Reflexio. Publishing again would store duplicates."
    asked = True


class OrphanedLearning(Rule):
    """Current learnings whose source interactions are all deleted."""

    name = "orphaned-learning"
    severity = "medium"
    limit = FactCode.KNOWS_LEARNINGS
    why = "Assistants still recall deleted content from these learnings."
    advice = "Include learnings when you delete requests."
    offers = "delete"
    selects = False


class StaleLearning(Rule):
    """Current learnings that did not change for a year."""

    name = "stale-learning"
    severity = "low"
    limit = FactCode.KNOWS_LEARNINGS
    why = "People change, but assistants still receive an old learning as a fact."
    advice = "Delete only learnings that are outdated: a deleted fact may not be learned again."
    offers = "delete"
    selects = False


@dataclass
class LearningChecks:
    """Asks the service about learning from the newest requests."""

    asked: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    more: bool = False
    _newest: list[tuple[int, str, StoredRequest]] = field(
        default_factory=list[tuple[int, str, StoredRequest]]
    )

    def note(self, request: StoredRequest) -> None:
        if request.evaluation_only:
            return
        entry = (request.created_at, request.request_id, request)
        if len(self._newest) < ASKED:
            heapq.heappush(self._newest, entry)
        else:
            self.more = True
            heapq.heappushpop(self._newest, entry)

    def has_newer_than(self, second: int) -> bool:
        """Whether enough newer requests are noted, so that requests this old are not asked about."""
        return len(self._newest) == ASKED and self._newest[0][0] > second

    async def ask(self, scope: Scope) -> Fact | None:
        """Ask about the newest requests. Return why findings may be missing; `None` if they are complete."""
        if not scope.learns:
            return Fact(code=FactCode.NO_LEARNING_HERE)
        untracked = 0

        async def one_request(entry: tuple[int, str, StoredRequest]) -> None:
            nonlocal untracked
            request = entry[2]
            try:
                state = await scope.client.learning_status(request.request_id)
            except NotFound:
                self.asked += 1
                return
            self.asked += 1
            untracked += state.status == "not_tracked"
            if state.status == "failed":
                self.findings.append(Finding("learning-failed", request, state.reason or ""))
            elif state.status in ("pending", "deferred"):
                self.findings.append(Finding("learning-waiting", request, state.reason or state.status))

        newest = sorted(self._newest, reverse=True)
        try:
            with anyio.move_on_after(SECONDS):
                await for_each(newest, one_request, at_once=AT_ONCE)
        except ReflexioError:
            if not self.asked:
                return Fact(code=FactCode.SERVICE_SILENT)
        if untracked and untracked == self.asked:
            return Fact(code=FactCode.NO_LEARNING_HERE)
        left = len(newest) - self.asked
        return Fact(code=FactCode.NOT_ANSWERED, number=left) if left else None
