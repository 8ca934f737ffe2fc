"""Finds `orphaned-learning` and `stale-learning` in learnings that are read after the requests."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.learnings.evidence import Evidence
from reflexio_mcp.traffic.learnings.find import find_evidence, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

SECONDS: Final = 8.0
"""Time limit of reading learnings."""

USERS_AT_ONCE: Final = 6

MOST_USERS: Final = 20
"""Maximum number of users whose learnings are read."""

YEAR: Final = 365 * 86_400


@dataclass
class StoredLearningChecks:
    """Finds learnings from content that is all deleted, and learnings that did not change for a year."""

    orphaned: list[Learning] = field(default_factory=list[Learning])
    stale: list[Learning] = field(default_factory=list[Learning])
    _learnings_of: dict[str, list[Learning]] = field(default_factory=dict[str, list[Learning]])
    _stored_ids: "array[int]" = field(default_factory=lambda: array("q"))

    def note(self, item: RequestWithInteractions) -> None:
        self._stored_ids.extend(interaction.interaction_id for interaction in item.interactions)

    def read_of(self, user_id: str) -> Sequence[Learning]:
        """Return all learnings of a user who was read."""
        return self._learnings_of.get(user_id, ())

    async def read(self, scope: Scope, users: Sequence[str], now: float, *, whole: bool) -> Fact | None:
        """Read what was learned from these users. Return how many users were not read; `None` if all were read.

        Args:
            whole: the audit saw everything stored, so a missing source is deleted.
        """
        stored = set(self._stored_ids)
        users_read = 0

        async def read_user(user_id: str) -> None:
            nonlocal users_read
            try:
                learnings = await learnings_of_user(scope, user_id)
                current = [learning for learning in learnings if learning.state == "current"]
                lacking = list[Learning]()
                if whole:
                    lacking = [learning for learning in current if not learning.interaction_ids <= stored]
                orphaned = await _orphaned(scope, user_id, lacking)
            except ReflexioError:
                return
            users_read += 1
            self._learnings_of[user_id] = learnings
            self.stale += [learning for learning in current if learning.changed_at <= now - YEAR]
            self.orphaned += orphaned

        with anyio.move_on_after(SECONDS):
            await for_each(users[:MOST_USERS], read_user, at_once=USERS_AT_ONCE)
        left = len(users) - users_read
        return Fact(code=FactCode.USERS_NOT_READ, number=left) if left else None


async def _orphaned(scope: Scope, user_id: str, lacking: Sequence[Learning]) -> list[Learning]:
    """Return the learnings from content that is all deleted.

    Args:
        lacking: learnings with interactions that are not stored.
    """
    if not lacking:
        return []
    found = await find_evidence(scope, user_id, lacking, most_requests=math.inf)
    return [learning for learning in lacking if _is_gone(found[learning.learning_id])]


def _is_gone(evidence: Evidence) -> bool:
    """Whether what taught a learning is deleted: the words that it quotes, or without a quote its whole window."""
    if evidence.unread or not evidence.gone:
        return False
    if evidence.passages:
        return not evidence.quoted_ids
    return not evidence.sources
