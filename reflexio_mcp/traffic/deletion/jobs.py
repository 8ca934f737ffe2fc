"""Runs deletions and restores, which outlast the calls that started them."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state.records import JobNumber
from reflexio_mcp.traffic.errors import Stopping, TrafficError

__all__ = ["Jobs"]

logger = logging.getLogger("reflexio_mcp")

Result = TypeVar("Result")


@dataclass(eq=False)
class Job(Generic[Result]):
    """One deletion or restore of this process.

    Args:
        result: `None` if it runs or has failed.
        error: why it failed.
    """

    number: JobNumber
    result: Result | None = None
    error: Exception | None = None
    finished: anyio.Event = field(default_factory=anyio.Event)

    async def outcome(self) -> Result:
        """Wait for the end, even if the caller leaves, and return the result or raise why there is none."""
        with anyio.CancelScope(shield=True):
            await self.finished.wait()
        if self.error:
            raise self.error
        if self.result is None:
            raise TimeoutError  # the server stopped first
        return self.result


class Jobs:
    """Runs deletions and restores to their end, even while the server stops."""

    def __init__(self) -> None:
        self._running: set[Job[Any]] = set()
        self.closed = False

    async def start(
        self,
        tasks: TaskGroup,
        begin: Callable[[], Awaitable[JobNumber]],
        carry_out: Callable[[JobNumber], Awaitable[Result]],
    ) -> Job[Result]:
        """Record and start a job, and return at once.

        Args:
            begin: records it and returns its number.
            tasks: the group that runs the job. The process waits for the group before it exits.

        Raises:
            Stopping: the server starts no more jobs.
        """
        if self.closed:
            raise Stopping(Fact(code=FactCode.STOPPING))
        job: Job[Result] | None = None
        with anyio.CancelScope(shield=True):  # a recorded job must begin
            job = Job(await begin())
            self._running.add(job)
            tasks.start_soon(self._run, job, carry_out)
        assert job  # to a type checker, a scope may swallow an error
        return job

    async def _run(self, job: Job[Result], carry_out: Callable[[JobNumber], Awaitable[Result]]) -> None:
        # A job outlives the call, the connection and the signal to stop.
        with anyio.CancelScope(shield=True):
            try:
                job.result = await carry_out(job.number)
            except Exception as error:  # noqa: BLE001 - one job must not end the others, nor the server
                job.error = error
                if not isinstance(error, ReflexioError | TrafficError):
                    logger.error("deletion or restore %d failed: %s", job.number, type(error).__name__)
            finally:
                self._running.discard(job)
                job.finished.set()

    def open(self) -> None:
        """Allow jobs again after `close`."""
        self.closed = False

    def close(self) -> None:
        """Start no more jobs. Running ones continue."""
        self.closed = True

    @property
    def running(self) -> set[int]:
        """The numbers of the jobs that are running here, of all callers."""
        return {job.number for job in self._running}

    async def drain(self) -> None:
        while self._running:
            await next(iter(self._running)).finished.wait()
