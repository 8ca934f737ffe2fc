"""Deletions that have begun: each runs to its end, whatever becomes of the call that started it."""

import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, Literal

import anyio
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.errors import Stopping, TrafficError
from reflexio_mcp.traffic.learnings.remove import TakenBack

__all__ = ["Job", "Jobs"]

REMEMBERED: Final = 50
"""Finished jobs whose receipts are kept for each owner."""

MOST_REMEMBERED: Final = 1000
"""Finished jobs that are kept for all owners. Beyond it the caller with the most loses its oldest, so that nobody can
crowd out another."""

STOPPING: Final = "This server is stopping; nothing was deleted. Try again in a moment."

logger = logging.getLogger("reflexio_mcp")


@dataclass(eq=False)
class Job:
    """One deletion.

    Args:
        number: counts the jobs of its owner.
        what: what is deleted, in words.
        owner: the `Scope.owner` it belongs to; nobody else sees it.
        began: monotonic seconds.
        follows: it goes on after a deletion, in the background, and ends with the server.
        receipt: what a deletion did.
        taken: what a follow-up did.
    """

    number: int
    what: str
    owner: str
    follows: bool = False
    state: Literal["running", "done", "failed", "stopped"] = "running"
    receipt: Receipt | None = None
    taken: TakenBack | None = None
    failure: str = ""
    error: Exception | None = None
    finished: anyio.Event = field(default_factory=anyio.Event)
    began: float = field(default_factory=time.monotonic)
    cancelled: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class Jobs:
    """Runs deletions to their end, even while the server is stopping.

    Args:
        describe: turns an error into a sentence without secrets.
    """

    def __init__(self, describe: Callable[[Exception], str]) -> None:
        self._describe = describe
        self._jobs: dict[str, deque[Job]] = {}
        self._closed = False
        self._idle = anyio.Event()
        self._idle.set()

    def start(self, tasks: TaskGroup, what: str, owner: str, work: Callable[[], Awaitable[Receipt]]) -> Job:
        """Start `work` and return at once. `tasks` must wait for its tasks before the process exits.

        Raises:
            Stopping: the server starts nothing any more.
        """
        if self._closed:
            raise Stopping(STOPPING)
        job = self._add(what, owner)
        if self._idle.is_set():
            self._idle = anyio.Event()
        tasks.start_soon(self._run, job, work)
        return job

    def follow(
        self, tasks: TaskGroup, what: str, owner: str, work: Callable[[], Awaitable[TakenBack]]
    ) -> Job | None:
        """Start what goes on after a deletion and return at once. It ends when `tasks` is cancelled.

        Returns:
            The job; `None` when the server is stopping, and nothing was started.
        """
        if self._closed or tasks.cancel_scope.cancel_called:
            return None
        job = self._add(what, owner, follows=True)
        tasks.start_soon(self._follow, job, work)
        return job

    async def stop_following(self, seconds: float) -> None:
        """End what goes on after deletions, and wait until that is noted, `seconds` at the most."""
        following = [job for job in self._all() if job.follows and job.state == "running"]
        for job in following:
            job.cancelled.cancel()
        with anyio.move_on_after(seconds):
            for job in following:
                await job.finished.wait()

    def _add(self, what: str, owner: str, *, follows: bool = False) -> Job:
        own = self._jobs.setdefault(owner, deque())
        job = Job(own[-1].number + 1 if own else 1, what, owner, follows)
        own.append(job)
        while len(own) > REMEMBERED and own[0].state != "running":
            own.popleft()
        if sum(map(len, self._jobs.values())) > MOST_REMEMBERED:
            self._forget_one()
        return job

    def answered(self, job: Job) -> None:
        """Forget a job whose caller has its receipt."""
        own = self._jobs.get(job.owner, deque())
        if job in own:
            own.remove(job)
        if not own:
            self._jobs.pop(job.owner, None)

    def close(self) -> None:
        """Start nothing any more. Jobs that are running go on."""
        self._closed = True

    def of(self, owner: str) -> list[Job]:
        """Return the jobs of one owner, newest first."""
        return list(reversed(self._jobs.get(owner, ())))

    def running_for(self, caller: str) -> bool:
        """Return whether a job of this caller is running, whichever user it is for, follow-ups included."""
        return any(job.state == "running" and _caller(job.owner) == caller for job in self._all())

    @property
    def running(self) -> int:
        """How many deletions are running, whoever they belong to."""
        return sum(job.state == "running" and not job.follows for job in self._all())

    def _all(self) -> Iterator[Job]:
        return chain.from_iterable(self._jobs.values())

    def _forget_one(self) -> None:
        # By the key: a caller that names many users has no more than one that names one.
        finished = [job for job in self._all() if job.state != "running"]
        if not finished:
            return
        most = Counter(_caller(job.owner) for job in finished).most_common(1)[0][0]
        self.answered(min((job for job in finished if _caller(job.owner) == most), key=lambda job: job.began))

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
                self._failed(job, error)
            finally:
                job.finished.set()
                if not self.running:
                    self._idle.set()

    def _failed(self, job: Job, error: Exception) -> None:
        job.state, job.failure, job.error = "failed", self._describe(error), error
        if not isinstance(error, ReflexioError | TrafficError):
            what = "follow-up" if job.follows else "deletion"
            logger.error("%s %d failed: %s", what, job.number, type(error).__name__)

    async def _follow(self, job: Job, work: Callable[[], Awaitable[TakenBack]]) -> None:
        try:
            with job.cancelled:
                job.taken = await work()
                job.state = "done"
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(job, error)
        finally:
            if job.state == "running":
                job.state = "stopped"
            job.finished.set()


def _caller(owner: str) -> str:
    return owner.partition("/")[0]
