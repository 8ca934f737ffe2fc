"""Finds learnings, and where their source interactions are stored.

Only a user's own profiles and playbooks are found. Agent playbooks come from many users' traffic.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.traffic.learnings.evidence import Evidence, Turn, Turns, evidence_of
from reflexio_mcp.traffic.learnings.records import HowKnown, Learning, Sources, learning_of
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = [
    "Learned",
    "LinkedLearning",
    "find_evidence",
    "find_learned",
    "learnings_of_user",
]

USERS_AT_ONCE: Final = 4

MOST_REQUESTS: Final = 5_000
"""Maximum number of a user's requests that are read."""


@dataclass(frozen=True, slots=True)
class LinkedLearning:
    """A learning from a set of requests. `others` are its sources outside the set, stored or not."""

    learning: Learning
    how: HowKnown
    others: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Learned:
    """The learnings from a set of requests.

    Args:
        linked: the learnings, by their `learning_id`.
        unlinked: how many learnings of these users do not name their sources.
        users_left_out: how many users were not read.
        changed: learnings of an earlier reading, now with another text; not in `linked`.
        read: all learnings of the users that were read.
    """

    linked: Mapping[str, LinkedLearning] = field(default_factory=dict[str, LinkedLearning])
    unlinked: int = 0
    users_left_out: int = 0
    learns: bool = True
    changed: frozenset[str] = frozenset()
    read: tuple[Learning, ...] = ()

    @property
    def count(self) -> int:
        return len(self.linked)

    @property
    def learnings(self) -> list[Learning]:
        return [one.learning for one in self.linked.values()]


async def learnings_of_user(scope: Scope, user_id: str) -> list[Learning]:
    """Return all profiles and playbooks of a user, the last changed first."""
    rows = [*await scope.client.get_profiles(user_id), *await scope.client.get_user_playbooks(user_id)]
    # The API deletes by id alone, so other users' learnings stop here.
    learnings = [one for one in map(learning_of, rows) if one.user_id == user_id]
    return sorted(learnings, key=lambda one: (-one.changed_at, one.learning_id))


async def find_learned(
    scope: Scope,
    sources_by_user: Mapping[str, Sources],
    *,
    before: Mapping[str, LinkedLearning] | None = None,
    most_users: int | None = None,
) -> Learned:
    """Find all learnings from a set of requests.

    Args:
        before: an earlier result. Its learnings stay included while they have the same text.
        most_users: how many users are read, those with the most requests first.
    """
    if not scope.learns:
        return Learned(learns=False)
    users = sorted(sources_by_user, key=lambda user: -len(sources_by_user[user].request_ids))
    chosen = users if most_users is None else users[:most_users]
    known = before or {}
    linked: dict[str, LinkedLearning] = {}
    unlinked = 0
    changed: set[str] = set()
    everything: list[Learning] = []

    async def read(user_id: str) -> None:
        nonlocal unlinked
        sources = sources_by_user[user_id]
        learnings = await learnings_of_user(scope, user_id)
        everything.extend(learnings)
        for one in learnings:
            found = known.get(one.learning_id)
            if found and found.learning.digest != one.digest:
                changed.add(one.learning_id)
            elif found:
                linked[one.learning_id] = replace(found, learning=one)
            elif how := sources.link_of(one):
                linked[one.learning_id] = LinkedLearning(
                    one, how, one.interaction_ids - sources.interaction_ids
                )
            elif not one.interaction_ids:
                unlinked += 1

    await for_each(chosen, read, at_once=USERS_AT_ONCE)
    left_out = len(users) - len(chosen)
    return Learned(linked, unlinked, left_out, changed=frozenset(changed), read=tuple(everything))


async def find_interactions(scope: Scope, user_id: str, wanted: Collection[int]) -> Turns:
    """Find where interactions of a user are stored."""
    found: dict[int, Turn] = {}
    everything = True
    left = set(wanted)
    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.parts()) as parts:
        while left and everything and (part := await anext(parts, None)):
            for item in part.requests:
                for place, one in enumerate(item.interactions, 1):
                    if one.interaction_id in left:
                        found[one.interaction_id] = Turn(item.request, place, one)
            left -= found.keys()
            everything = pager.requests_seen < MOST_REQUESTS
    # Unreadable requests may contain some of `left`.
    return Turns(found, everything=not left or (everything and not pager.unreadable))


async def find_evidence(scope: Scope, user_id: str, learnings: Sequence[Learning]) -> Mapping[str, Evidence]:
    """Return the evidence of learnings of a user, by `learning_id`."""
    listed = frozenset[int]().union(*(one.interaction_ids for one in learnings))
    turns = await find_interactions(scope, user_id, listed)

    def search() -> dict[str, Evidence]:
        return {one.learning_id: evidence_of(one, turns) for one in learnings}

    return await anyio.to_thread.run_sync(search)
