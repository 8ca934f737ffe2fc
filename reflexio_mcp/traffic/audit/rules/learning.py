"""Rules about learning.

`StatusChecks` finds requests from which nothing is learned yet, and requests from which learning failed.
`audit/stored_learnings.py` finds what the other rules say of stored learnings.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import anyio

from reflexio_mcp.rest.errors import NotFound, ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import NOT_APPLICABLE
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule
from reflexio_mcp.traffic.content import order_of
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

NEWEST_ASKED: Final = 60
"""Number of newest requests that the service is always asked about; it answers 120 questions a minute."""

ASKED_OF_USER: Final = 120

USERS_NOTED: Final = 10_000
MOST_KEPT: Final = 14_400
"""Maximum number of requests that are kept to be asked about, besides the newest of each user."""

MOST_KNOWN: Final = 50_000
"""Maximum number of requests that are remembered as learned from."""

SECONDS: Final = 15.0

ASKED_AT_ONCE: Final = 6


class LearningWaiting(Rule):
    """Requests from which nothing is learned yet."""

    name = "learning-waiting"
    severity = "low"
    limit = FactCode.KNOWS_SERVICE
    why = "Reflexio has not learned from these requests yet. It waits until a window of about ten interactions is full, the session is finished or six hours have passed."
    advice = "Say when a conversation is over, so that it is learned from at once."
    from_service = True


class LearningFailed(Rule):
    """Requests whose learning failed."""

    name = "learning-failed"
    severity = "medium"
    limit = FactCode.KNOWS_SERVICE
    why = "Reflexio learns nothing from these requests, and later requests of the user may wait behind them."
    advice = "Each request shows the reason: resolve it in Reflexio. Publishing again would store duplicates."
    from_service = True


class OrphanedLearning(Rule):
    """Current learnings that quote only what is deleted, or that quote nothing and whose sources are all deleted."""

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


class Ordered(NamedTuple):
    """A request with its place in the order of arrival. The place comes first, so requests are compared by it."""

    place: tuple[int, int, str]
    request: StoredRequest


@dataclass
class Stream:
    """The newest requests of one user, as a heap with the oldest first, and the number of all that were noted."""

    newest: list[Ordered] = field(default_factory=list[Ordered])
    noted: int = 0

    def note(self, item: RequestWithInteractions, *, grows: bool) -> None:
        """Note a request. If the heap may not grow, its oldest request goes."""
        self.noted += 1
        entry = Ordered(order_of(item), item.request)
        if grows:
            heapq.heappush(self.newest, entry)
        else:
            heapq.heappushpop(self.newest, entry)


@dataclass
class StatusChecks:
    """Asks the service how far it has learned.

    It is asked about the newest requests of all, and then about each user's, from the newest back to one that is
    learned from. Reflexio learns from a user's requests in the order of their arrival, so no older one waits. Requests
    that are learned from are remembered. If the limit of questions ends a call, a later call asks about other requests.
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    more: bool = False
    """Whether some requests are not among the `NEWEST_ASKED` newest, which are asked about in any case."""

    _streams: dict[str, Stream] = field(default_factory=dict[str, Stream])
    _kept: int = 0
    """How many requests the streams keep in their heaps."""
    _of_users_left_out: int = 0
    """How many requests came from users without a stream."""
    _answers: dict[str, str] = field(default_factory=dict[str, str])

    def note(self, item: RequestWithInteractions) -> None:
        if item.request.evaluation_only:
            return
        user = item.request.user_id
        if user not in self._streams and len(self._streams) == USERS_NOTED:
            self._of_users_left_out += 1
            return
        stream = self._streams.setdefault(user, Stream())
        has_room = self._kept < MOST_KEPT and len(stream.newest) < ASKED_OF_USER
        grows = has_room or not stream.newest
        if grows:
            self._kept += 1
        stream.note(item, grows=grows)

    async def ask(self, scope: Scope) -> Fact | None:
        """Ask within `SECONDS`. Return why requests that wait may be missing; `None` if all are known."""
        if not scope.learns:
            return Fact(code=FactCode.NO_LEARNING_HERE)
        requests = [ordered for stream in self._streams.values() for ordered in stream.newest]
        noted = self._of_users_left_out + sum(stream.noted for stream in self._streams.values())
        self.more = noted > NEWEST_ASKED
        streams = [sorted(stream.newest, reverse=True) for stream in self._streams.values()]

        async def ask_about(ordered: Ordered) -> None:
            await self._ask_about(scope, ordered.request)

        async def go_back(stream: Sequence[Ordered]) -> None:
            for _, request in stream:
                if request.request_id not in self._answers:
                    await self._ask_about(scope, request)
                if self._answers[request.request_id] == "done":
                    return

        try:
            with anyio.move_on_after(SECONDS):
                await for_each(heapq.nlargest(NEWEST_ASKED, requests), ask_about, at_once=ASKED_AT_ONCE)
                await for_each(streams, go_back, at_once=ASKED_AT_ONCE)
        except ReflexioError:
            if not self._answers:
                return Fact(code=FactCode.SERVICE_SILENT)
        # The newest first, in whatever order the answers came.
        self.findings.sort(
            key=lambda found: (found.request.created_at, found.request.request_id), reverse=True
        )
        if self._answers and set(self._answers.values()) == {"not_tracked"}:
            return Fact(code=FactCode.NO_LEARNING_HERE)
        left = self._of_users_left_out + sum(map(self._unknown, self._streams.values()))
        return Fact(code=FactCode.NOT_ANSWERED, number=left) if left else None

    async def _ask_about(self, scope: Scope, request: StoredRequest) -> None:
        known = scope.client.learned_from
        stored = (request.request_id, request.created_at)
        if stored in known:
            self._answers[request.request_id] = "done"
            return
        try:
            state = await scope.client.learning_status(request.request_id)
        except NotFound:
            self._answers[request.request_id] = "deleted"
            return
        if state.reason == NOT_APPLICABLE:
            # The status may be `done`, but here that says nothing of older requests.
            self._answers[request.request_id] = NOT_APPLICABLE
            return
        self._answers[request.request_id] = state.status
        if state.status == "done" and len(known) < MOST_KNOWN:
            known.add(stored)
        if state.status == "failed":
            self.findings.append(Finding("learning-failed", request, state.reason or ""))
        elif state.status in ("pending", "deferred"):
            self.findings.append(Finding("learning-waiting", request, state.reason or state.status))

    def _unknown(self, stream: Stream) -> int:
        """Count the requests that are newer than a user's newest learned one and were not asked about."""
        unknown = stream.noted - len(stream.newest)
        for _, request in sorted(stream.newest):
            answer = self._answers.get(request.request_id)
            if answer == "done":
                unknown = 0
            elif answer is None:
                unknown += 1
        return unknown
