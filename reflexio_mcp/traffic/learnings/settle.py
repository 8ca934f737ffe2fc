"""Waiting until Reflexio has stopped learning from a user's traffic.

A learning that is deleted while a merge is under way comes back inside the merged one, so learnings go only when
nothing is being learned any more. Reflexio keeps one stream of extraction for each user. The status of the user's
newest request therefore tells of all of it: whether a window is being worked on, queued or retried. Beside it runs what
an operator starts to generate learnings anew, which has read requests that are deleted meanwhile.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Final

import anyio

from reflexio_mcp.rest.models import Operation, RequestWithInteractions
from reflexio_mcp.traffic.learnings.find import USERS_AT_ONCE
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, learning_status, untold
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["LEARNING_WAIT_SECONDS", "LONGEST_PAUSE", "NOT_LOOKED_AT", "still_learning", "wait_until_learned"]

LEARNING_WAIT_SECONDS: Final = 60.0
"""How long a deletion waits for what is being learned."""

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks. The API allows 120 a minute for one address."""

SESSIONS_AT_ONCE: Final = 5

NOT_LOOKED_AT: Final = "not_looked_at"
"""What stands for a user when the time was over before it was asked for."""

GENERATING: Final = "generating_anew"

IDLE: Final = "waiting_for_window"
"""The reason of a pending request for which nothing runs until more of the conversation arrives."""


async def still_learning(scope: Scope, user_id: str) -> str:
    """Whether something is being learned from a user's stored traffic.

    Returns:
        The service's word for what is under way, such as `extracting`, `queued` or `retrying`; empty when nothing is.
    """
    newest = await _newest_learnable(scope, user_id)
    if newest is None:
        # What is extracted from requests that are deleted meanwhile is thrown away.
        return ""
    status = await learning_status(scope, newest.request.request_id)
    if status is None or status.status not in ("pending", "processing"):
        return ""
    waits = status.status == "pending" and status.reason == IDLE
    return "" if waits else status.reason or status.status


async def _generations(scope: Scope) -> list[Operation]:
    """What generates learnings anew."""
    asked = [await scope.client.generation(kind) for kind in ("profile", "playbook")]
    return [one for one in asked if one]


async def wait_until_learned(
    scope: Scope,
    users: Collection[str],
    seconds: float,
    *,
    longest_pause: float = LONGEST_PAUSE,
    progress: Progress = untold,
) -> Mapping[str, str]:
    """Wait until nothing is being learned from the traffic of some users.

    Args:
        seconds: at the most.
        longest_pause: seconds between two looks, once it has taken a while.
        progress: told how many users are done.

    Returns:
        The users for whom something still is, each with what; empty when all is done.
    """
    until = anyio.current_time() + seconds
    busy: dict[str, str] = dict.fromkeys(users, NOT_LOOKED_AT)
    pause = FIRST_PAUSE
    while True:
        running = await _generations(scope)

        async def look(user_id: str, running: Sequence[Operation] = running) -> None:
            if anyio.current_time() > until and busy[user_id] == NOT_LOOKED_AT:
                return
            if any(one.runs_for(user_id) for one in running):
                busy[user_id] = GENERATING
            elif word := await still_learning(scope, user_id):
                busy[user_id] = word
            else:
                del busy[user_id]

        await for_each(list(busy), look, at_once=USERS_AT_ONCE)
        await progress("users from whom Reflexio has finished learning", len(users) - len(busy), len(users))
        left = until - anyio.current_time()
        if not busy or left <= 0:
            return busy
        await anyio.sleep(min(pause, left))
        pause = min(pause * 2, longest_pause)


async def _newest_learnable(scope: Scope, user_id: str) -> RequestWithInteractions | None:
    """The user's newest request from which something can be learned."""
    pager = SessionPager(scope, TrafficFilter(user_id=user_id), batch=SESSIONS_AT_ONCE)
    best: RequestWithInteractions | None = None
    async with aclosing(pager.slices()) as slices:
        async for one in slices:
            # Sessions come by their newest request: an older session cannot hold a newer one.
            if best is not None and one.newest < best.request.created_at:
                break
            for item in one.requests:
                learnable = item.interactions and not item.request.evaluation_only
                if learnable and (best is None or _arrival(item) > _arrival(best)):
                    best = item
    return best


def _arrival(item: RequestWithInteractions) -> int:
    # Times are in whole seconds; interactions are numbered as they arrive.
    return max(turn.interaction_id for turn in item.interactions)
