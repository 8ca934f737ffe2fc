"""Taking learnings back: when nothing is being learned any more, by id, and checked by reading again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.learnings.find import NOTHING, Learned
from reflexio_mcp.traffic.learnings.records import Kind, Learning, ids_of
from reflexio_mcp.traffic.learnings.settle import LEARNING_WAIT_SECONDS, LONGEST_PAUSE, wait_until_learned
from reflexio_mcp.traffic.reading.lookup import Progress, untold
from reflexio_mcp.traffic.scope import Scope

__all__ = ["TakenBack", "delete_learnings", "take_back"]

ROUNDS: Final = 4
"""Times that learnings are looked for and deleted: a merge that was under way can bring one back."""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What became of learnings.

    Args:
        gone: those that were deleted and are not listed any more.
        left: those that are still there; `None` when that could not be read.
        still_learning: users for whom something was still being learned when the wait was over, each with the
            service's word for it. What comes of it can hold the deleted text again.
        failure: what ended it early.
        sent: ids in delete calls that took effect, or that may still do so.
        seen: all that were found and were to go.
    """

    gone: Learned = NOTHING
    left: Learned | None = NOTHING
    still_learning: Mapping[str, str] = field(default_factory=dict[str, str])
    failure: ReflexioError | None = None
    sent: frozenset[str] = frozenset()
    seen: Learned = NOTHING


async def take_back(
    scope: Scope,
    users: Sequence[str],
    look: Callable[[], Awaitable[Learned]],
    *,
    seconds: float = LEARNING_WAIT_SECONDS,
    longest_pause: float = LONGEST_PAUSE,
    before: TakenBack | None = None,
    progress: Progress = untold,
) -> TakenBack:
    """Delete learnings once nothing of these users is being learned any more, and look whether they are gone.

    Args:
        users: whose learnings they are.
        look: reads the learnings that are to go, as they are now.
        seconds: how long to wait for what is being learned. After that the learnings go all the same.
        longest_pause: seconds between two looks whether something is.
        before: what an earlier try that failed came to. What it deleted is gone by this one too.

    Returns:
        What became of them. A failure of the service does not raise: it is in what is returned.
    """
    until = anyio.current_time() + seconds
    busy: Mapping[str, str] = {}
    before = before or TakenBack()
    seen, left, failure = before.seen, None, None
    sent = set(before.sent)
    try:
        for _ in range(ROUNDS):
            rest = max(0.0, until - anyio.current_time())
            busy = await wait_until_learned(
                scope, users, rest, longest_pause=longest_pause, progress=progress
            )
            found = await look()
            if not found.count:
                left = found
                break
            seen = seen.joined(found)
            await delete_learnings(scope, found.learnings, sent)
            if busy:
                break
    except ReflexioError as error:
        failure = error
    if left is None:
        try:
            left = await look()
        except ReflexioError as error:
            return TakenBack(NOTHING, None, busy, failure or error, frozenset(sent), seen)
    # What is not known of other learnings says nothing of these.
    gone = Learned(seen.without(left).fed)
    return TakenBack(gone, left, busy, failure, frozenset(sent), seen)


async def delete_learnings(scope: Scope, learnings: Sequence[Learning], sent: set[str]) -> None:
    """Delete learnings by id. The API does not confine this to a user: the caller has checked whose they are.

    Args:
        sent: takes the ids of those in calls that took effect, or that may still do so.
    """
    calls: tuple[tuple[Kind, Callable[[list[str]], Awaitable[object]]], ...] = (
        ("profile", scope.client.delete_profiles),
        ("user_playbook", scope.client.delete_user_playbooks),
    )
    for kind, delete in calls:
        ids = ids_of(learnings, kind)
        for start in range(0, len(ids), MAX_DELETE_IDS):
            batch = ids[start : start + MAX_DELETE_IDS]
            try:
                await delete(batch)
            except ReflexioError as error:
                if error.effect != "none":
                    sent.update(f"{kind}:{one}" for one in batch)
                raise
            sent.update(f"{kind}:{one}" for one in batch)
