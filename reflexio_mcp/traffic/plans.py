"""What a deletion would take, looked up and not guessed."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.limits import MAX_DELETE_IDS
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.filters import TrafficFilter
from reflexio_mcp.traffic.inspecting import find_request, require_id
from reflexio_mcp.traffic.listing import first_words
from reflexio_mcp.traffic.reach import Reach
from reflexio_mcp.traffic.walking import Walk

__all__ = ["Doomed", "Plan", "find_present", "plan_filter", "plan_ids", "plan_session", "read_matching"]

LOOKUPS_AT_ONCE: Final = 8
"""Single look-ups in flight: enough to hide a network's latency, few enough for a small server."""

SESSIONS_AT_ONCE: Final = 100

Progress = Callable[[str, int, int | None], Awaitable[None]]
"""Told what is being done, how far it is and how much there is in all (`None` when that is not known)."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """One request that would go. `created_at` is epoch seconds."""

    request_id: str
    user_id: str
    session_id: str
    source: str
    agent_version: str
    created_at: int
    interactions: int
    first_words: str


@dataclass(frozen=True)
class Plan:
    """Exactly what a deletion would take.

    Args:
        what: the target in words.
        doomed: the requests, newest first.
        not_found: ids that were asked for and that this caller cannot see.
        wanted: the filter that selects the set, when it was not given by ids.
    """

    what: str
    doomed: tuple[Doomed, ...]
    not_found: tuple[str, ...] = ()
    wanted: TrafficFilter | None = None
    ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(item.request_id for item in self.doomed))

    @property
    def interactions(self) -> int:
        return sum(item.interactions for item in self.doomed)

    @property
    def first(self) -> int:
        return min(item.created_at for item in self.doomed)

    @property
    def last(self) -> int:
        return max(item.created_at for item in self.doomed)

    def count_by(self, name: str) -> list[tuple[str, int]]:
        """How many requests a `user_id`, `session_id`, `source` or `agent_version` has, the most first."""
        counts: Counter[str] = Counter(getattr(item, name) for item in self.doomed)
        return counts.most_common()


def _doomed(item: RequestWithInteractions) -> Doomed:
    request = item.request
    return Doomed(
        request_id=request.request_id,
        user_id=request.user_id,
        session_id=request.session_id,
        source=request.source,
        agent_version=request.agent_version,
        created_at=request.created_at,
        interactions=len(item.interactions),
        first_words=first_words(item),
    )


def _plan(
    what: str, found: Sequence[Doomed], not_found: Sequence[str] = (), wanted: TrafficFilter | None = None
) -> Plan:
    ordered = sorted(found, key=lambda item: (item.created_at, item.request_id), reverse=True)
    return Plan(what, tuple(ordered), tuple(not_found), wanted)


async def plan_ids(
    reach: Reach, request_ids: Sequence[str], *, what: str = "", progress: Progress | None = None
) -> Plan:
    """Look up a set of ids.

    Raises:
        InvalidInput: none, blank ones, or more than 10,000.
    """
    ids = list(dict.fromkeys(require_id("request_ids", one) for one in request_ids))
    if not 1 <= len(ids) <= MAX_DELETE_IDS:
        raise InvalidInput("request_ids", f"takes 1 to {MAX_DELETE_IDS:,} ids.")
    found = await _look_up(reach, ids, progress)
    missing = [one for one in ids if one not in found]
    return _plan(what or f"{len(ids):,} request ids", list(found.values()), missing)


async def plan_session(reach: Reach, session_id: str, user_id: str = "") -> Plan:
    """Look up a session: everybody's requests in it, or one user's."""
    session_id = require_id("session_id", session_id)
    wanted = TrafficFilter(session_id=session_id, user_id=reach.user(user_id.strip()))
    return _plan(f"session {session_id}", await read_matching(reach, wanted), wanted=wanted)


async def plan_filter(reach: Reach, wanted: TrafficFilter, *, progress: Progress | None = None) -> Plan:
    """Look up everything a filter selects."""
    found = await read_matching(reach, wanted, progress=progress)
    return _plan(f"every request with {wanted.describe()}", found, wanted=wanted)


async def read_matching(
    reach: Reach, wanted: TrafficFilter, *, progress: Progress | None = None
) -> list[Doomed]:
    """Everything a filter selects, contents dropped as they are read."""
    walk = Walk(reach, wanted, batch=SESSIONS_AT_ONCE)
    found: list[Doomed] = []
    async for stretch in walk.stretches():
        found += [_doomed(item) for item in stretch.requests if wanted.matches(item)]
        if progress:
            await progress("looked up", walk.requests_seen, None)
    return found


async def _look_up(reach: Reach, ids: Sequence[str], progress: Progress | None) -> dict[str, Doomed]:
    found: dict[str, Doomed] = {}
    limiter = anyio.CapacityLimiter(LOOKUPS_AT_ONCE)
    errors: list[Exception] = []
    done = 0

    async def look(request_id: str) -> None:
        nonlocal done
        async with limiter:
            if errors:
                return
            try:
                item = await find_request(reach, request_id)
            except Exception as error:  # noqa: BLE001 - raised below, outside the group that would wrap it
                errors.append(error)
                return
            if item:
                found[request_id] = _doomed(item)
            done += 1
            if progress:
                await progress("looked up", done, len(ids))

    async with anyio.create_task_group() as tasks:
        for request_id in ids:
            tasks.start_soon(look, request_id)
    if errors:
        raise errors[0]
    return found


async def find_present(reach: Reach, plan: Plan, *, progress: Progress | None = None) -> set[str]:
    """Read again: which of the plan's requests are (still) stored.

    A set that came from a filter is read with that filter, one that came from ids by id, whichever asks for less.
    """
    if plan.wanted is not None and len(plan.ids) > LOOKUPS_AT_ONCE:
        present = {item.request_id for item in await read_matching(reach, plan.wanted, progress=progress)}
        return present.intersection(plan.ids)
    return set(await _look_up(reach, plan.ids, progress))
