"""Deletions that have begun or were promised: they go on to their end, whatever becomes of the call."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.deletion import Receipt
from reflexio_mcp.traffic.errors import Stopping, TrafficError

__all__ = ["Job", "Schedule"]

REMEMBERED: Final = 50
"""Finished jobs whose receipts can still be asked for."""

STOPPING: Final = "This server is stopping; nothing was deleted. Try again in a moment."

logger = logging.getLogger("reflexio_mcp")


@dataclass(eq=False)
class Job:
    """One deletion. `owner` is the `Reach.owner` it belongs to; nobody else sees it."""

    number: int
    what: str
    owner: str
    state: Literal["running", "done", "failed"] = "running"
    receipt: Receipt | None = None
    failure: str = ""
    error: Exception | None = None
    finished: anyio.Event = field(default_factory=anyio.Event)


class Schedule:
    """Runs promised work to its end, also when the server is stopping.

    Args:
        describe: turns an error into a sentence without secrets.
    """

    def __init__(self, describe: Callable[[Exception], str]) -> None:
        self._describe = describe
        self._jobs: deque[Job] = deque()
        self._count = 0
        self._closed = False
        self._idle = anyio.Event()
        self._idle.set()

    def start(self, tasks: TaskGroup, what: str, owner: str, work: Callable[[], Awaitable[Receipt]]) -> Job:
        """Begin `work` and return at once. `tasks` must wait for its tasks before the process exits.

        Raises:
            Stopping: nothing may begin any more.
        """
        if self._closed:
            raise Stopping(STOPPING)
        self._count += 1
        job = Job(self._count, what, owner)
        self._jobs.append(job)
        while len(self._jobs) > REMEMBERED and self._jobs[0].state != "running":
            self._jobs.popleft()
        if self._idle.is_set():
            self._idle = anyio.Event()
        tasks.start_soon(self._run, job, work)
        return job

    def answered(self, job: Job) -> None:
        """Forget a job whose caller has been told what came of it."""
        if job in self._jobs:
            self._jobs.remove(job)

    def close(self) -> None:
        """Begin nothing any more; what has begun goes on."""
        self._closed = True

    def jobs(self, owner: str) -> list[Job]:
        """The jobs of one owner, the newest first."""
        return [job for job in reversed(self._jobs) if job.owner == owner]

    def running_for(self, caller: str) -> bool:
        """Whether a job of this caller, whichever its user, is not finished."""
        return any(job.state == "running" and job.owner.partition("/")[0] == caller for job in self._jobs)

    @property
    def running(self) -> int:
        """How many are not finished, whoever they belong to."""
        return sum(job.state == "running" for job in self._jobs)

    async def drain(self) -> None:
        """Wait until nothing is running."""
        await self._idle.wait()

    async def _run(self, job: Job, work: Callable[[], Awaitable[Receipt]]) -> None:
        # Shielded: a deletion outlives the call, the connection and the signal to stop.
        with anyio.CancelScope(shield=True):
            try:
                job.receipt = await work()
                job.state = "done"
            except Exception as error:  # noqa: BLE001 - one job must not end the others, nor the server
                job.state, job.failure, job.error = "failed", self._describe(error), error
                if not isinstance(error, ReflexioError | TrafficError):
                    logger.error("deletion %d failed: %s", job.number, type(error).__name__)
            finally:
                job.finished.set()
                if not self.running:
                    self._idle.set()
