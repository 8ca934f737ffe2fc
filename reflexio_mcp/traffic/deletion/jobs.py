"""Deletions that have begun: each runs to its end in this process, whatever becomes of the call that started it."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.deletion import Receipt
from reflexio_mcp.traffic.errors import Stopping, TrafficError

__all__ = ["Job", "Jobs"]

STOPPING: Final = "This server is stopping; nothing was deleted. Try again in a moment."

logger = logging.getLogger("reflexio_mcp")


@dataclass(eq=False)
class Job:
    """One deletion that this process carries out.

    Args:
        caller: the `Scope.caller` it belongs to.
        receipt: what it did; `None` if it runs or has failed.
        error: why it failed.
    """

    number: int
    caller: str
    receipt: Receipt | None = None
    error: Exception | None = None
    finished: anyio.Event = field(default_factory=anyio.Event)


class Jobs:
    """Runs deletions to their end, even while the server is stopping."""

    def __init__(self) -> None:
        self._running: set[Job] = set()
        self.closed = False
        """Whether nothing is started any more."""

    async def start(
        self,
        tasks: TaskGroup,
        caller: str,
        begin: Callable[[], Awaitable[int]],
        carry_out: Callable[[int], Awaitable[Receipt]],
    ) -> Job:
        """Record a deletion, start it and return at once.

        Args:
            tasks: waits for its tasks before the process exits.
            begin: puts it on record and returns its number.
            carry_out: does the work.

        Raises:
            Stopping: the server starts nothing any more.
            TrafficError: as `begin` raises it; nothing was started.
        """
        if self.closed:
            raise Stopping(STOPPING)
        # Shielded: what is on record is also begun.
        job: Job | None = None
        with anyio.CancelScope(shield=True):
            job = Job(await begin(), caller)
            self._running.add(job)
            tasks.start_soon(self._run, job, carry_out)
        assert job
        return job

    async def _run(self, job: Job, carry_out: Callable[[int], Awaitable[Receipt]]) -> None:
        # Shielded: a deletion outlives the call, the connection and the signal to stop.
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
        """Start deletions, again if it was closed."""
        self.closed = False

    def close(self) -> None:
        """Start nothing any more. Deletions that are running go on."""
        self.closed = True

    @property
    def running(self) -> int:
        """How many deletions are running here, whoever they belong to."""
        return len(self._running)

    async def drain(self) -> None:
        """Wait until nothing is running."""
        while self._running:
            await next(iter(self._running)).finished.wait()
