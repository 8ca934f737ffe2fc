"""`orphaned-learning` and `stale-learning`: what was learned from whoever was seen, read after the traffic."""

from collections import defaultdict
from typing import Final

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.audit.overview import DAY
from reflexio_mcp.traffic.learnings.find import USERS_AT_ONCE, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.turns import find_turns
from reflexio_mcp.traffic.rules.catalog import rule
from reflexio_mcp.traffic.rules.found import Found
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["LearnedChecks"]

USERS_READ: Final = 20
"""Two calls for each, and one more for every hundred sessions where a learning's sources must be looked for."""

REQUESTS_READ: Final = 2_000
"""Of one user, to look for the sources of what was learned."""

STALE_DAYS: Final = 365
"""Profiles have a time to live of a year at most where they have one; after that nobody has said it again."""


class LearnedChecks:
    """Reads the learnings of the users with the most requests."""

    def __init__(self, now: int) -> None:
        self.founds = [Found(rule("orphaned-learning")), Found(rule("stale-learning"))]
        self._now = now

    async def read(self, scope: Scope, users: list[str], seconds: float) -> str:
        """Read what was learned from these users.

        Args:
            users: those with the most requests first.
            seconds: how long it may take.

        Returns:
            Whose learnings were not judged, and why; empty when all were.
        """
        orphaned: defaultdict[str, list[Learning]] = defaultdict(list)
        stale: defaultdict[str, list[Learning]] = defaultdict(list)
        judged = 0

        async def one_user(user_id: str) -> None:
            nonlocal judged
            try:
                learnings = [one for one in await learnings_of_user(scope, user_id) if one.state == "current"]
                wanted = {turn for one in learnings for turn in one.interaction_ids}
                turns = await find_turns(scope, user_id, wanted, most=REQUESTS_READ)
            except ReflexioError:
                return
            for one in learnings:
                if one.changed_at <= self._now - STALE_DAYS * DAY:
                    stale[user_id].append(one)
                if one.interaction_ids and turns.whole and turns.turns.keys().isdisjoint(one.interaction_ids):
                    orphaned[user_id].append(one)
            judged += turns.whole

        with anyio.move_on_after(seconds):
            await for_each(users[:USERS_READ], one_user, at_once=USERS_AT_ONCE)
        for found, by_user in zip(self.founds, (orphaned, stale), strict=True):
            self._gather(found, by_user)
        if left := len(users) - judged:
            return f"of {left:,} of {len(users):,} users not all learnings were judged: too many, or too slow to read"
        return ""

    def _gather(self, found: Found, by_user: dict[str, list[Learning]]) -> None:
        # Those of one user first: one call deletes the learnings of one.
        for user_id in sorted(by_user, key=lambda user: (-len(by_user[user]), user)):
            if not found.owner:
                found.owner, found.owned = user_id, len(by_user[user_id])
            for one in by_user[user_id]:
                found.add(one.learning_id, note=f"of {user_id}")
