"""What was learned from a set of requests, and by a user as a whole.

Only a user's own profiles and playbooks are looked at. Agent playbooks are made from many users' traffic and name
neither, and the API lists no profile whose time to live is over.
"""

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, replace
from typing import Final

from reflexio_mcp.traffic.learnings.records import HowKnown, Kind, Learning, Sources, learning_of
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = [
    "NOTHING",
    "USERS_AT_ONCE",
    "FedLearning",
    "Learned",
    "find_learned",
    "learnings_of_user",
]

USERS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class FedLearning:
    """A learning that a set of requests fed.

    Args:
        learning: the learning.
        how: how that is known.
        others: the interactions outside the set that it lists as sources too, stored or not.
        other_requests: stored requests outside the set that hold some of `others`. Which of them taught it is not
            known: a profile lists all that was read together.
    """

    learning: Learning
    how: HowKnown
    others: frozenset[int] = frozenset()
    other_requests: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Learned:
    """What a set of requests fed, and what is not known about it.

    Args:
        fed: the learnings, by their `learning_id`.
        unlinked: learnings of these users that do not say what they were learned from.
        users_left_out: users whose learnings were not read, because the set touches too many.
        learns: whether this backend learns at all.
        changed: learnings that an earlier reading found and whose text is another one by now. They are not in `fed`.
    """

    fed: Mapping[str, FedLearning]
    unlinked: int = 0
    users_left_out: int = 0
    learns: bool = True
    changed: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        return len(self.fed)

    @property
    def learnings(self) -> list[Learning]:
        return [one.learning for one in self.fed.values()]

    @property
    def shared(self) -> list[FedLearning]:
        """Those that other stored requests fed too."""
        return [one for one in self.fed.values() if one.other_requests]


NOTHING: Final = Learned({})
DOES_NOT_LEARN: Final = Learned({}, learns=False)


async def learnings_of_user(
    scope: Scope, user_id: str, *, turns: Set[int] | None = None, also: Collection[str] = ()
) -> list[Learning]:
    """Every profile and playbook of a user that the API lists, whatever its state, the last changed first.

    Args:
        turns: leave out those that list interactions, and none of these.
        also: learnings that are not left out, by their `learning_id`.
    """
    found: list[Learning] = []

    async def read(kind: Kind) -> None:
        get = scope.client.get_profiles if kind == "profile" else scope.client.get_user_playbooks
        found.extend(map(learning_of, await get(user_id)))

    kinds: tuple[Kind, ...] = ("profile", "user_playbook")
    await for_each(kinds, read, at_once=len(kinds))
    # The API filters by user; what another one owns stops here all the same, since it deletes by id alone.
    mine = [one for one in found if one.user_id == user_id]
    if turns is not None:
        mine = [
            one
            for one in mine
            if not one.interaction_ids or not turns.isdisjoint(one.interaction_ids) or one.learning_id in also
        ]
    return sorted(mine, key=lambda one: (-one.changed_at, one.learning_id))


async def find_learned(
    scope: Scope,
    sources_by_user: Mapping[str, Sources],
    *,
    before: Mapping[str, FedLearning] | None = None,
    most_users: int | None = None,
) -> Learned:
    """Read what was learned from a set of requests, whatever its state. Two calls for each user.

    Args:
        sources_by_user: the requests of each user.
        before: what an earlier reading found, by `learning_id`. It stays found for as long as it is stored with the
            same text, or says that it was learned from these requests.
        most_users: read this many users at the most, those with the most requests first.
    """
    if not scope.learns:
        return DOES_NOT_LEARN
    users = sorted(sources_by_user, key=lambda user: -len(sources_by_user[user].request_ids))
    chosen = users if most_users is None else users[:most_users]
    fed: dict[str, FedLearning] = {}
    unlinked = 0
    changed: set[str] = set()

    async def read(user_id: str) -> None:
        nonlocal unlinked
        sources = sources_by_user[user_id]
        known = before or {}
        for one in await learnings_of_user(scope, user_id, turns=sources.interaction_ids, also=known):
            found = known.get(one.learning_id)
            if found and found.learning.digest == one.digest:
                fed[one.learning_id] = replace(found, learning=one)
            elif how := sources.fed(one):
                fed[one.learning_id] = FedLearning(one, how, one.interaction_ids - sources.interaction_ids)
            elif found:
                changed.add(one.learning_id)
            elif not one.interaction_ids:
                unlinked += 1

    await for_each(chosen, read, at_once=USERS_AT_ONCE)
    return Learned(fed, unlinked, len(users) - len(chosen), changed=frozenset(changed))
