"""What was learned from a set of requests: found by the request it came from, removed and checked.

Only a user's own profiles and playbooks are looked at. Agent playbooks are aggregated over many users: the API
does not say from which requests, and they are never deleted here.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.limits import MAX_DELETE_IDS
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Learned", "delete_learned", "find_learned"]

EVERY_ONE: Final = 1_000_000
"""The API has no paging for learnings, only a number at the most."""

USERS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Learned:
    """The learnings that came from a set of requests.

    Args:
        profiles: ids of profiles.
        playbooks: ids of user playbooks.
        users_left_out: users whose learnings were not read, because the set touches very many.
    """

    profiles: frozenset[str] = frozenset()
    playbooks: frozenset[str] = frozenset()
    users_left_out: int = 0

    @property
    def count(self) -> int:
        return len(self.profiles) + len(self.playbooks)

    def joined(self, other: "Learned") -> "Learned":
        """This and `other` together."""
        return Learned(self.profiles | other.profiles, self.playbooks | other.playbooks)

    def without(self, other: "Learned") -> "Learned":
        """What of this is not in `other`."""
        return Learned(self.profiles - other.profiles, self.playbooks - other.playbooks)


async def find_learned(
    scope: Scope, ids_by_user: Mapping[str, Collection[str]], *, most_users: int | None = None
) -> Learned:
    """Read which profiles and user playbooks came from a set of requests.

    Args:
        ids_by_user: the requests of each user.
        most_users: read this many users at the most, those with the most requests first.

    Raises:
        ReflexioError: as the client raises it.
    """
    users = sorted(ids_by_user, key=lambda user: -len(ids_by_user[user]))
    chosen = users if most_users is None else users[:most_users]
    profiles: set[str] = set()
    playbooks: set[str] = set()
    failures: list[ReflexioError] = []
    limiter = anyio.CapacityLimiter(USERS_AT_ONCE)

    async def read(user_id: str) -> None:
        ids = set(ids_by_user[user_id])
        only = next(iter(ids)) if len(ids) == 1 else None
        async with limiter:
            if failures:
                return
            try:
                of_user = await scope.client.get_profiles(user_id, top_k=EVERY_ONE)
                written = await scope.client.get_user_playbooks(user_id, request_id=only, limit=EVERY_ONE)
            except ReflexioError as error:
                # Kept for outside: the task group would wrap it.
                failures.append(error)
                return
        profiles.update(one.profile_id for one in of_user if one.generated_from_request_id in ids)
        playbooks.update(str(one.user_playbook_id) for one in written if one.request_id in ids)

    async with anyio.create_task_group() as tasks:
        for user_id in chosen:
            tasks.start_soon(read, user_id)
    if failures:
        raise failures[0]
    return Learned(frozenset(profiles), frozenset(playbooks), len(users) - len(chosen))


async def delete_learned(scope: Scope, learned: Learned) -> None:
    """Delete learnings by id. Whether they are gone only a new `find_learned` tells.

    Raises:
        ReflexioError: as the client raises it.
    """
    calls: tuple[tuple[Callable[[list[str]], Any], frozenset[str]], ...] = (
        (scope.client.delete_profiles, learned.profiles),
        (scope.client.delete_user_playbooks, learned.playbooks),
    )
    for delete, ids in calls:
        ordered = sorted(ids)
        for start in range(0, len(ordered), MAX_DELETE_IDS):
            await delete(ordered[start : start + MAX_DELETE_IDS])
