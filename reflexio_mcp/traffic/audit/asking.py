"""What the service has to be asked for after the pass: where learning stands, and what was learned."""

import heapq
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.errors import NotFound, ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.traffic.audit.rules.base import Finding
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["LearnedChecks", "LearningChecks"]

ASKED: Final = 60
"""Requests whose learning is asked about, the newest: the service answers 120 of these questions a minute."""

SECONDS: Final = 8.0
"""For each of the two kinds of questions; a slow service is asked about fewer."""

AT_ONCE: Final = 6

USERS_READ: Final = 20
"""Users whose learnings are read, those with the most requests first."""

YEAR: Final = 365 * 86_400


@dataclass
class LearningChecks:
    """`learning-waiting` and `learning-failed`."""

    asked: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])
    _newest: list[tuple[int, str, StoredRequest]] = field(
        default_factory=list[tuple[int, str, StoredRequest]]
    )

    def note(self, item: RequestWithInteractions) -> None:
        """Remember a request if it is one of the newest."""
        request = item.request
        if not request.evaluation_only:
            entry = (request.created_at, request.request_id, request)
            if len(self._newest) < ASKED:
                heapq.heappush(self._newest, entry)
            elif entry[:2] > self._newest[0][:2]:
                heapq.heapreplace(self._newest, entry)

    async def ask(self, scope: Scope) -> str:
        """Ask about the newest requests.

        Returns:
            What could not be asked; empty if all was.
        """
        untracked = 0

        async def one_request(entry: tuple[int, str, StoredRequest]) -> None:
            nonlocal untracked
            request = entry[2]
            try:
                told = await scope.client.learning_status(request.request_id)
            except NotFound:
                return
            self.asked += 1
            untracked += told.status == "not_tracked"
            if told.status == "failed":
                self.findings.append(Finding("learning-failed", request, told.reason or ""))
            elif told.status in ("pending", "deferred"):
                self.findings.append(Finding("learning-waiting", request, told.reason or told.status))

        newest = sorted(self._newest, reverse=True)
        try:
            with anyio.move_on_after(SECONDS):
                await for_each(newest, one_request, at_once=AT_ONCE)
        except ReflexioError:
            if not self.asked:
                return "the service did not say where learning stands"
        if untracked and untracked == self.asked:
            return "this store does not learn"
        return f"the service was asked about the {self.asked:,} newest requests" if self.asked < ASKED else ""


@dataclass
class LearnedChecks:
    """`orphaned-learning` and `stale-learning`."""

    orphaned: list[Learning] = field(default_factory=list[Learning])
    stale: list[Learning] = field(default_factory=list[Learning])
    _stored: "array[int]" = field(default_factory=lambda: array("q"))

    def note(self, item: RequestWithInteractions) -> None:
        """Remember which interactions are stored."""
        self._stored.extend(turn.interaction_id for turn in item.interactions)

    async def read(self, scope: Scope, users: Sequence[str], now: float, *, whole: bool) -> str:
        """Read what was learned from these users, those with the most requests first.

        Args:
            whole: all that is stored of them was seen, so that a source which was not is deleted.

        Returns:
            Whose learnings were not read; empty if all were.
        """
        stored = set(self._stored)
        read = 0

        async def one_user(user_id: str) -> None:
            nonlocal read
            try:
                learnings = await learnings_of_user(scope, user_id)
            except ReflexioError:
                return
            read += 1
            for one in learnings:
                if one.state == "current":
                    if one.changed_at <= now - YEAR:
                        self.stale.append(one)
                    if whole and one.interaction_ids and stored.isdisjoint(one.interaction_ids):
                        self.orphaned.append(one)

        with anyio.move_on_after(SECONDS):
            await for_each(users[:USERS_READ], one_user, at_once=AT_ONCE)
        return f"learnings of {read:,} of {len(users):,} users were read" if read < len(users) else ""
