"""Deletes learnings after learning has ended, by id, and checks by reading again.

A learning that is deleted while Reflexio merges it returns inside the merged learning. Reflexio has one stream of
extraction per user, so the status of the user's newest request shows whether learning is active.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import Reply, RequestWithInteractions, UserPlaybook, UserProfile
from reflexio_mcp.results.progress import Progress, Step
from reflexio_mcp.traffic.errors import TrafficError
from reflexio_mcp.traffic.learnings.find import USERS_AT_ONCE, Learned
from reflexio_mcp.traffic.learnings.records import Kind, Learning, learning_of
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import learning_status
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each, send

__all__ = [
    "DeletedLearnings",
    "add_learnings",
    "as_current",
    "delete_by_id",
    "delete_learnings",
    "make_current",
    "retire",
    "update_text",
    "wait_for_learning",
]

ROUNDS: Final = 4
"""Number of attempts: a merge can restore a learning."""

WAIT_SECONDS: Final = 60.0

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
"""Seconds between two checks: the API allows 120 a minute."""

SESSIONS_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class DeletedLearnings:
    """The result of deleting learnings.

    Args:
        left: learnings that are still stored; `None` if they could not be read.
        still_learning: users whose learning was active or not checked; empty after a `failure` of the check. New
            learnings can contain the deleted text.
        sent: ids in delete calls that took effect or may still do so.
    """

    gone: frozenset[str] = frozenset()
    left: Learned | None = field(default_factory=Learned)
    still_learning: frozenset[str] = frozenset()
    failure: ReflexioError | TrafficError | None = None
    sent: frozenset[str] = frozenset()


async def delete_learnings(
    scope: Scope,
    users: Sequence[str],
    look: Callable[[], Awaitable[Learned]],
    keep: Callable[[Sequence[Learning]], Awaitable[Collection[str]]],
    held: Callable[[Sequence[str]], Awaitable[Collection[str]]],
    *,
    progress: Progress,
    seconds: float = WAIT_SECONDS,
) -> DeletedLearnings:
    """Delete learnings and check that they are gone. Failures of the service are returned, not raised.

    Args:
        look: reads the learnings to delete.
        keep: keeps recovery copies of the learnings before they are deleted; returns the ids of those that stay.
        held: returns which of some ids a hold keeps by now. It is asked before each call that deletes.
        seconds: longest wait for the end of learning; then the learnings are deleted anyway.
    """
    until = anyio.current_time() + seconds
    busy: frozenset[str] = frozenset()
    tried: set[str] = set()
    sent: set[str] = set()
    left, failure = None, None
    try:
        for _ in range(ROUNDS):
            busy = await _wait(scope, users, until, progress)
            found = await look()
            if not found.count:
                left = found
                break
            stay = await keep(found.learnings)
            going = [learning_id for learning_id in found.linked if learning_id not in stay]
            tried.update(going)
            await delete_by_id(scope, going, sent, held)
            if busy or not going:  # after a wait in vain, or if all stay, another round would be the same
                break
    except (ReflexioError, TrafficError) as error:
        failure = error
    try:
        if left is None:
            left = await look()
    except (ReflexioError, TrafficError) as error:
        gone = frozenset[str]()
        failure = failure or error
    else:
        gone = frozenset(tried - left.linked.keys())
    return DeletedLearnings(gone, left, still_learning=busy, failure=failure, sent=frozenset(sent))


async def _none_held(_learning_ids: Sequence[str]) -> Collection[str]:
    return ()


async def delete_by_id(
    scope: Scope,
    learning_ids: Sequence[str],
    sent: set[str],
    held: Callable[[Sequence[str]], Awaitable[Collection[str]]] = _none_held,
) -> None:
    """Delete learnings by id. The API does not check the user, so the caller has checked the owners.

    Args:
        sent: receives ids that are deleted, or may be.
        held: as `delete_learnings` takes it.
    """
    calls: tuple[tuple[Kind, Callable[[list[str]], Awaitable[object]]], ...] = (
        ("profile", scope.client.delete_profiles),
        ("user_playbook", scope.client.delete_user_playbooks),
    )
    for kind, delete in calls:
        ids = sorted(learning_id for learning_id in learning_ids if learning_id.startswith(f"{kind}:"))
        for start in range(0, len(ids), MAX_DELETE_IDS):
            batch = ids[start : start + MAX_DELETE_IDS]
            stay = await held(batch)
            if free := [learning_id for learning_id in batch if learning_id not in stay]:
                call = delete([learning_id.removeprefix(f"{kind}:") for learning_id in free])
                await send(call, free, sent)


async def add_learnings(scope: Scope, learnings: Sequence[Learning]) -> bool:
    """Store learnings in their states. A profile overwrites the one with its id, a playbook gets a new id.

    Returns:
        Whether a lost earlier try may still store them.
    """
    profiles = [learning.row for learning in learnings if isinstance(learning.row, UserProfile)]
    # A playbook without `reader_angle` would stay beside a later repetition of it, which should replace it.
    playbooks = [
        learning.row.model_copy(update={"reader_angle": learning.row.reader_angle or "correction"})
        for learning in learnings
        if isinstance(learning.row, UserPlaybook)
    ]
    replies: list[Reply] = []
    if profiles:
        replies.append(await scope.client.add_profiles(profiles))
    if playbooks:
        replies.append(await scope.client.add_user_playbooks(playbooks))
    return any(reply.repeated for reply in replies)


def as_current(learning: Learning) -> Learning:
    """Return a replaced learning as it is when it is current again."""
    return learning_of(_current_row(learning.row)) if learning.row else learning


async def make_current(
    scope: Scope,
    learnings: Sequence[Learning],
    held: Callable[[Sequence[str]], Awaitable[Collection[str]]],
) -> bool:
    """Make replaced learnings current again. A playbook gets another id.

    Args:
        held: as `delete_learnings` takes it.

    Returns:
        What `add_learnings` does.
    """
    may_repeat = False
    kinds: tuple[Kind, ...] = ("profile", "user_playbook")
    for kind in kinds:
        of_kind = [learning for learning in learnings if learning.kind == kind]
        stay = await held([learning.learning_id for learning in of_kind]) if of_kind else ()
        free = [learning for learning in of_kind if learning.learning_id not in stay]
        may_repeat |= await add_learnings(scope, list(map(as_current, free)))
        await _drop_playbooks(scope, free, held)
    return may_repeat


def _current_row(row: UserProfile | UserPlaybook) -> UserProfile | UserPlaybook:
    if isinstance(row, UserProfile):
        return row.model_copy(update={"status": None, "last_modified_timestamp": int(time.time())})
    return row.model_copy(update={"status": None})


async def retire(scope: Scope, learnings: Sequence[Learning], current: Sequence[Learning]) -> bool:
    """Undo `make_current`. Returns what `add_learnings` does.

    Args:
        learnings: as they were before.
        current: as they are stored now.
    """
    may_repeat = await add_learnings(scope, learnings)
    await _drop_playbooks(scope, current)
    return may_repeat


async def _drop_playbooks(
    scope: Scope,
    learnings: Sequence[Learning],
    held: Callable[[Sequence[str]], Awaitable[Collection[str]]] = _none_held,
) -> None:
    """Delete playbooks that are stored again under other ids."""
    playbooks = [learning.learning_id for learning in learnings if learning.kind == "user_playbook"]
    await delete_by_id(scope, playbooks, set(), held)


async def update_text(scope: Scope, learning: Learning, text: str) -> bool:
    """Change the text of a learning in place; its sources and its quotation stay.

    The API does not check a playbook's user, or that the playbook exists, so the caller looks before and after.

    Returns:
        Whether a lost earlier try may still change it.
    """
    if learning.kind == "profile":
        reply = await scope.client.update_profile(learning.user_id, learning.number, text)
    else:
        reply = await scope.client.update_user_playbook(int(learning.number), text)
    return reply.repeated


async def wait_for_learning(scope: Scope, users: Sequence[str], progress: Progress) -> frozenset[str]:
    """Wait a while for the end of learning; return users for whom it continues or was not checked."""
    return await _wait(scope, users, anyio.current_time() + WAIT_SECONDS, progress)


async def _wait(scope: Scope, users: Sequence[str], until: float, progress: Progress) -> frozenset[str]:
    busy = list(users)
    is_first_look = True
    pause = FIRST_PAUSE

    async def look(user_id: str) -> None:
        # Only the first look, at perhaps many users, stops when the wait is over. Every later one is at those that were
        # busy, and checks them all.
        if is_first_look and anyio.current_time() > until:
            return
        generated = any(generation and generation.runs_for(user_id) for generation in generations)
        if not generated and not await _is_learned_from(scope, user_id):
            busy.remove(user_id)

    while True:
        generations = [await scope.client.generation(kind) for kind in ("profile", "playbook")]
        await for_each(list(busy), look, at_once=USERS_AT_ONCE)
        is_first_look = False
        await progress(Step.USERS_LEARNED, len(users) - len(busy), len(users))
        left = until - anyio.current_time()
        if not busy or left <= 0:
            return frozenset(busy)
        await anyio.sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_PAUSE)


async def _is_learned_from(scope: Scope, user_id: str) -> bool:
    newest = await _newest_learnable(scope, user_id)
    if newest is None:
        # Reflexio drops extractions from deleted requests.
        return False
    status = await learning_status(scope, newest.request.request_id)
    if status is None or status.status not in ("pending", "processing"):
        return False
    # No learning is active while a request waits for more of its conversation.
    return status.reason != "waiting_for_window"


async def _newest_learnable(scope: Scope, user_id: str) -> RequestWithInteractions | None:
    pager = SessionPager(scope, TrafficFilter(user_id=user_id), batch=SESSIONS_AT_ONCE)
    best: RequestWithInteractions | None = None
    async with aclosing(pager.parts()) as parts:
        async for part in parts:
            # Sessions are ordered by newest request, so older ones have no newer request.
            if best and part.newest < best.request.created_at:
                break
            for item in part.requests:
                learnable = item.interactions and not item.request.evaluation_only
                if learnable and (best is None or _arrival(item) > _arrival(best)):
                    best = item
    return best


def _arrival(item: RequestWithInteractions) -> int:
    """Return a number that grows with the arrival of requests. The request must have interactions."""
    # Interaction ids grow with arrival. Times are only whole seconds.
    return max(interaction.interaction_id for interaction in item.interactions)
