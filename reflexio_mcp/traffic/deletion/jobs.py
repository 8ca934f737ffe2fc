"""Runs deletions, which outlast the calls that started them, and lists recorded ones."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at, shown_name
from reflexio_mcp.results.deletion import PastDeletion, Receipt
from reflexio_mcp.state.records import Deletion, Owner, RecoveryCopy
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.deletion.items import kinds_counted
from reflexio_mcp.traffic.errors import Stopping, TrafficError
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Jobs", "last_deletions"]

STOPPING: Final = "This server is stopping; nothing was deleted. Try again in a moment."

LOOK_SECONDS: Final = 20.0
"""Seconds for counting what is left of an interrupted deletion."""

MOST: Final = 10
RECEIPTS: Final = 3
"""Maximum number of shown deletions, and of shown receipts."""

logger = logging.getLogger("reflexio_mcp")


@dataclass(eq=False)
class Job:
    """One deletion of this process.

    Args:
        receipt: `None` if it runs or has failed.
        error: why it failed.
    """

    number: int
    receipt: Receipt | None = None
    error: Exception | None = None
    finished: anyio.Event = field(default_factory=anyio.Event)


class Jobs:
    """Runs deletions to their end, even while the server stops."""

    def __init__(self) -> None:
        self._running: set[Job] = set()
        self.closed = False

    async def start(
        self,
        tasks: TaskGroup,
        begin: Callable[[], Awaitable[int]],
        carry_out: Callable[[int], Awaitable[Receipt]],
    ) -> Job:
        """Record and start a deletion, and return at once.

        Args:
            tasks: waits for its tasks before the process exits.

        Raises:
            Stopping: the server starts nothing any more.
        """
        if self.closed:
            raise Stopping(STOPPING)
        job: Job | None = None
        with anyio.CancelScope(shield=True):  # a recorded deletion must begin
            job = Job(await begin())
            self._running.add(job)
            tasks.start_soon(self._run, job, carry_out)
        assert job
        return job

    async def _run(self, job: Job, carry_out: Callable[[int], Awaitable[Receipt]]) -> None:
        # A deletion outlives the call, the connection and the signal to stop.
        with anyio.CancelScope(shield=True):
            try:
                job.receipt = await carry_out(job.number)
            except Exception as error:  # noqa: BLE001 - one deletion must not end the others, nor the server
                job.error = error
                if not isinstance(error, ReflexioError | TrafficError):
                    logger.error("deletion %d failed: %s", job.number, type(error).__name__)
            finally:
                self._running.discard(job)
                job.finished.set()

    def open(self) -> None:
        """Allow deletions again after `close`."""
        self.closed = False

    def close(self) -> None:
        """Start no more deletions. Running ones continue."""
        self.closed = True

    @property
    def running(self) -> set[int]:
        """The numbers of the deletions that are running here, of all callers."""
        return {one.number for one in self._running}

    async def drain(self) -> None:
        while self._running:
            await next(iter(self._running)).finished.wait()


async def last_deletions(
    scope: Scope, state: State, owner: Owner, jobs: Jobs | None = None, *, number: int = 0
) -> list[PastDeletion]:
    """Return the last deletions of an owner, newest first, with what can be restored; only deletion `number` if given.

    Raises `StateUnusable`.
    """
    jobs = jobs or Jobs()
    running = jobs.running
    deletions = await in_thread(state.last, owner, MOST, number)
    running |= jobs.running
    copies = {one.deletion: one for one in await in_thread(state.copies.listed, owner)}
    past = [await _past(scope, one, copies.get(one.number), one.number in running) for one in deletions]
    return past[:RECEIPTS] + [one.model_copy(update={"receipt": None}) for one in past[RECEIPTS:]]


async def _past(scope: Scope, one: Deletion, copy: RecoveryCopy | None, running: bool) -> PastDeletion:
    gone = one.gone
    if one.finished is not None:
        status = one.outcome or "incomplete"
    elif running:
        status = "running"
    else:
        status, gone = "unfinished", max(gone, await _gone(scope, [*filter(None, one.planned.split("\n"))]))
    return PastDeletion(
        number=one.number,
        at=at(one.at),
        target=shown_name(one.target),
        status=status,
        asked=one.asked,
        gone=gone,
        copied=kinds_counted(copy.counts) if copy else None,
        until=at(copy.until) if copy else None,
        receipt=Receipt.model_validate_json(one.receipt).model_copy(update={"log": one.chain})
        if one.receipt
        else None,
    )


async def _gone(scope: Scope, ids: list[str]) -> int:
    """Count the requests of an interrupted deletion that are gone; 0 if they cannot be read in time."""
    stored: list[str] = []

    async def take(items: list[RequestWithInteractions]) -> None:
        stored.extend(one.request.request_id for one in items)

    try:
        with anyio.fail_after(LOOK_SECONDS):
            await read_set(scope, ids, take)
    except (ReflexioError, TimeoutError):
        return 0
    return len(ids) - len(stored)
