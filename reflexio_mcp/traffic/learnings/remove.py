"""Taking learnings back: when nothing is being learned any more, by id, and checked by reading again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.errors import TrafficError
from reflexio_mcp.traffic.learnings.find import NOTHING, Learned
from reflexio_mcp.traffic.learnings.records import Kind, Learning, ids_of
from reflexio_mcp.traffic.learnings.settle import LEARNING_WAIT_SECONDS, wait_until_learned
from reflexio_mcp.traffic.reading.lookup import Progress
from reflexio_mcp.traffic.scope import Scope

__all__ = ["TakenBack", "take_back"]

ROUNDS: Final = 4
"""Times that learnings are looked for and deleted: a merge that was under way can bring one back."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of learnings.

    Args:
        gone: ids of those that were deleted and are not listed any more.
        left: those that are still there; `None` if that could not be read.
        still_learning: users from whom something was still being learned when the wait was over, each with the
            service's word for it. What comes of it can hold the deleted text again.
        failure: what ended it early.
        sent: ids in delete calls that took effect, or that may still do so.
    """

    gone: frozenset[str] = frozenset()
    left: Learned | None = NOTHING
    still_learning: Mapping[str, str] = field(default_factory=dict[str, str])
    failure: ReflexioError | TrafficError | None = None
    sent: frozenset[str] = frozenset()


async def take_back(
    scope: Scope,
    users: Sequence[str],
    look: Callable[[], Awaitable[Learned]],
    keep: Callable[[Sequence[Learning]], Awaitable[None]],
    *,
    progress: Progress,
    seconds: float = LEARNING_WAIT_SECONDS,
) -> TakenBack:
    """Delete learnings once nothing of these users is being learned any more, and look whether they are gone.

    Args:
        users: whose learnings they are.
        look: reads the learnings that are to go, as they are now.
        keep: keeps recovery copies of what is deleted next.
        seconds: how long to wait for what is being learned. After that the learnings go all the same.

    Returns:
        What became of them. A failure of the service does not raise: it is in what is returned.
    """
    until = anyio.current_time() + seconds
    busy: Mapping[str, str] = {}
    seen: set[str] = set()
    sent: set[str] = set()
    left, failure = None, None
    try:
        for _ in range(ROUNDS):
            rest = max(0.0, until - anyio.current_time())
            busy = await wait_until_learned(scope, users, rest, progress=progress)
            found = await look()
            if not found.count:
                left = found
                break
            seen |= found.fed.keys()
            await keep(found.learnings)
            await _delete(scope, found.learnings, sent)
            if busy:
                break
    except (ReflexioError, TrafficError) as error:
        failure = error
    try:
        left = left or await look()
    except ReflexioError as error:
        return TakenBack(frozenset(), None, busy, failure or error, frozenset(sent))
    return TakenBack(frozenset(seen - left.fed.keys()), left, busy, failure, frozenset(sent))


async def _delete(scope: Scope, learnings: Sequence[Learning], sent: set[str]) -> None:
    """Delete learnings by id. The API does not confine this to a user: the caller has checked whose they are."""
    calls: tuple[tuple[Kind, Callable[[list[str]], Awaitable[object]]], ...] = (
        ("profile", scope.client.delete_profiles),
        ("user_playbook", scope.client.delete_user_playbooks),
    )
    for kind, delete in calls:
        ids = ids_of(learnings, kind)
        for start in range(0, len(ids), MAX_DELETE_IDS):
            batch = ids[start : start + MAX_DELETE_IDS]
            named = {f"{kind}:{one}" for one in batch}
            sent |= named
            try:
                await delete(batch)
            except ReflexioError as error:
                if error.effect == "none":
                    sent -= named
                raise
