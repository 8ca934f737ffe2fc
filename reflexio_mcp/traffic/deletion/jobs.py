"""Runs deletions, which outlast the calls that started them."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.errors import Stopping, TrafficError

if TYPE_CHECKING:
    from reflexio_mcp.results.deletion import Receipt

__all__ = ["Jobs"]

STOPPING: Final = "This server is stopping; nothing was deleted. Try again in a moment."

logger = logging.getLogger("reflexio_mcp")


@dataclass(eq=False)
class Job:
    """One deletion of this process.

    Args:
        receipt: `None` if it runs or has failed.
        error: why it failed.
    """

    number: int
    receipt: "Receipt | None" = None
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
        carry_out: Callable[[int], Awaitable["Receipt"]],
    ) -> Job:
        """Record and start a deletion, and return at once.

        Args:
            tasks: the group that runs the deletion. The process waits for the group before it exits.

        Raises:
            Stopping: the server starts no more deletions.
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

    async def _run(self, job: Job, carry_out: Callable[[int], Awaitable["Receipt"]]) -> None:
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
