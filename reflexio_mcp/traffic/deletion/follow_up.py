"""Going on after a deletion that ended while Reflexio was still learning from its users.

A merge that was under way can bring deleted learnings back under new ids. The follow-up waits for longer than a call
may take, then deletes what the deletion's own requests fed, and nothing else: that is what the person agreed to.
"""

from contextlib import suppress
from typing import Any, Final

import anyio
import anyio.to_thread

from reflexio_mcp.rest.errors import NotAuthorized
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import Promise
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.learnings.find import NOTHING, Learned, find_learned
from reflexio_mcp.traffic.learnings.records import Sources, ids_of
from reflexio_mcp.traffic.learnings.remove import TakenBack, take_back
from reflexio_mcp.traffic.scope import Scope

__all__ = ["follow_up", "needs_follow_up"]

FOLLOW_UP_SECONDS: Final = 3_600.0
"""How long a follow-up waits for what is being learned."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two looks whether something still is."""

FIRST_RETRY: Final = 5.0
LONGEST_RETRY: Final = 120.0
"""Seconds after a failure of the service until the next try."""


def needs_follow_up(done: Receipt) -> bool:
    """Whether learnings that were to go may come back from what was still being learned."""
    agreed = done.plan.include_learnings and done.failure is None
    return agreed and bool(_sources(done))


def _sources(done: Receipt) -> dict[str, Sources]:
    sources = done.plan.sources(taken=done.ids("changed"))
    return {
        user: own
        for user, own in sources.items()
        if user in done.still_learning and (own.interaction_ids or own.request_ids)
    }


async def follow_up(scope: Scope, done: Receipt, promise: Promise, cap: HourlyCap) -> TakenBack:
    """Wait until nothing is being learned from a deletion's users any more, and delete what its requests fed.

    A failure of the service is tried again until the time is over. When it is cancelled, the audit log knows that it
    was not finished.

    What it deletes was agreed to with the deletion, so no cap holds it up; it leaves that much less room for others.

    Args:
        done: the deletion.
        promise: its record, which the end of the follow-up closes.
        cap: takes how much was deleted.
    """
    outcome, closing = "interrupted", dict[str, Any]()
    # Nothing is awaited before this: a task that is cancelled before its first step comes as far as its first wait.
    try:
        taken = await _taken_back(scope, done, cap)
        left = taken.left is None or taken.left.count > 0
        through = taken.failure is None and not left and not taken.still_learning
        outcome = "complete" if through else "incomplete"
        if taken.gone.count:
            closing["profile_ids"] = ids_of(taken.gone.learnings, "profile")
            closing["user_playbook_ids"] = ids_of(taken.gone.learnings, "user_playbook")
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: promise.end(outcome, **closing))
    return taken


async def _taken_back(scope: Scope, done: Receipt, cap: HourlyCap) -> TakenBack:
    sources = _sources(done)
    before = (done.plan.learned or NOTHING).fed

    async def look() -> Learned:
        return await find_learned(scope, sources, before=before)

    until = anyio.current_time() + FOLLOW_UP_SECONDS
    taken, pause = TakenBack(), FIRST_RETRY
    while True:
        counted = len(taken.sent)
        taken = await take_back(
            scope,
            list(sources),
            look,
            seconds=max(0.0, until - anyio.current_time()),
            longest_pause=LONGEST_PAUSE,
            before=taken,
        )
        with suppress(OSError):
            await anyio.to_thread.run_sync(cap.count, scope.caller, len(taken.sent) - counted)
        left = until - anyio.current_time()
        if taken.failure is None or isinstance(taken.failure, NotAuthorized) or left <= 0:
            return taken
        await anyio.sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_RETRY)
