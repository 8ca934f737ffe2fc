"""Deletions that have begun: each runs to its end, whatever becomes of the call that started it."""

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.state.database import StateUnusable, advice, why_not
from reflexio_mcp.state.job_records import LEASE_SECONDS, JobRecord, JobRecords, JobState
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.errors import NotRecorded, Stopping, TakenOver, TrafficError
from reflexio_mcp.traffic.learnings.remove import TakenBack

__all__ = ["Job", "Jobs"]

KEEP_SECONDS: Final = LEASE_SECONDS / 4
"""Seconds between two signs of life of a job."""

SPARE_SECONDS: Final = LEASE_SECONDS / 4
"""Seconds before its lease is over at which a process that cannot say that it lives leaves a job to others."""

ASK_SECONDS: Final = 1.0
"""How long it asks once more where its lease is as good as over."""

NOTE_SECONDS: Final = 1.0
"""Seconds between two attempts to record what came of a job."""

STOPPING: Final = "This server is stopping; nothing was deleted. Try again in a moment."
NO_RECORD: Final = (
    "Nothing was deleted: the deletion cannot be recorded ({why}). Ask the operator to {advice}."
)
PERHAPS_RECORDED: Final = (
    "It is not known whether this deletion was recorded ({why}). Nothing was deleted so far, but a process of this "
    "server may carry it out: look at get_status in two minutes before you repeat it."
)
STAYS: Final = (
    "This could not be noted, so the deletion stays on record and a process of this server may still carry it out; "
    "get_status will show it as deletion {number}."
)
OUT_OF_TOUCH: Final = (
    "This process could not say any more that it works on this deletion and has left it to others; its receipt will be "
    "in get_status as deletion {number}."
)
TAKEN_OVER: Final = (
    "Another process of this server has taken this deletion over; its receipt will be in get_status as deletion "
    "{number}."
)

logger = logging.getLogger("reflexio_mcp")


@dataclass(eq=False)
class Job:
    """One deletion that this process works on.

    Args:
        record: how all processes know it.
        caller: the `Scope.caller` it belongs to.
        receipt: what a deletion did.
        taken: what a follow-up did.
        since: its lease runs at least from here on, in seconds of the event loop.
        has_ids: its record has all ids of its receipt.
    """

    record: JobRecord
    caller: str
    since: float = field(default_factory=anyio.current_time)
    state: JobState = "running"
    receipt: Receipt | None = None
    taken: TakenBack | None = None
    failure: str = ""
    has_ids: bool = False
    error: Exception | None = None
    finished: anyio.Event = field(default_factory=anyio.Event)
    cancelled: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    @property
    def number(self) -> int:
        return self.record.number


class Jobs:
    """Runs deletions to their end, even while the server is stopping.

    Args:
        describe: turns an error into a sentence without secrets.
        records: what every process knows of them.
        told: makes what is kept of a job that has ended, and all ids of its receipt.
    """

    def __init__(
        self,
        describe: Callable[[Exception], str],
        records: JobRecords,
        told: Callable[[Job], tuple[str, str]],
    ) -> None:
        self._describe = describe
        self._records = records
        self._told = told
        self._running: set[Job] = set()
        self._in_hand: set[int] = set()
        self.closed = False
        """Whether nothing is started any more."""
        self._idle = anyio.Event()
        self._idle.set()

    async def start(
        self,
        tasks: TaskGroup,
        what: str,
        owner: str,
        work: Callable[[Job], Awaitable[Receipt]],
        *,
        caller: str = "",
        tool: str = "",
        order: str = "",
    ) -> Job:
        """Record a deletion, start it and return at once. `tasks` must wait for its tasks before the process exits.

        Args:
            owner, caller, tool, order: as `JobRecords.add` takes them.

        Raises:
            Stopping: the server starts nothing any more.
            NotRecorded: it cannot be recorded; nothing was started.
        """
        self._check_open()

        def add() -> JobRecord:
            return self._records.add(owner, caller, what, tool=tool, order=order)

        job: Job | None = None
        # Shielded: what is recorded is also begun.
        with anyio.CancelScope(shield=True):
            asked = anyio.current_time()
            try:
                record = await anyio.to_thread.run_sync(add)
            except OSError as error:
                if isinstance(error, StateUnusable) and error.unknown:
                    raise NotRecorded(PERHAPS_RECORDED.format(why=why_not(error))) from error
                raise NotRecorded(NO_RECORD.format(why=why_not(error), advice=advice(error))) from error
            job = self._begin(tasks, record, caller, work, asked)
        assert job
        return job

    def resume(
        self,
        tasks: TaskGroup,
        record: JobRecord,
        caller: str,
        work: Callable[[Job], Awaitable[Receipt]],
        since: float,
    ) -> Job:
        """Go on with a job that this process has claimed.

        Args:
            since: when it began to claim it, in seconds of the event loop.

        Raises:
            Stopping: the server starts nothing any more.
        """
        self._check_open()
        return self._begin(tasks, record, caller, work, since)

    def follow(
        self,
        tasks: TaskGroup,
        record: JobRecord,
        work: Callable[[], Awaitable[TakenBack]],
        *,
        caller: str = "",
    ) -> Job | None:
        """Start what goes on after a deletion and return at once. It ends when `tasks` is cancelled.

        Args:
            record: how it is known; its process is this one.

        Returns:
            The job; `None` when the server is stopping, and nothing was started.
        """
        if self.closed or tasks.cancel_scope.cancel_called:
            return None
        job = Job(record, caller)
        self._running.add(job)
        tasks.start_soon(self._follow, job, work)
        return job

    async def stop_following(self, seconds: float) -> None:
        """End what goes on after deletions, and wait until that is noted, `seconds` at the most."""
        following = [job for job in self._running if job.record.follows]
        for job in following:
            job.cancelled.cancel()
        with anyio.move_on_after(seconds):
            for job in following:
                await job.finished.wait()

    async def check_own(self, job: Job) -> None:
        """Return where a job is this process's at this moment.

        A machine that was suspended does not know by itself how much time has passed.

        Raises:
            TakenOver: another process has it, or that cannot be known and it is left to others.
        """
        if not job.record.order:
            return  # nobody else can
        try:
            own = await anyio.to_thread.run_sync(self._records.holds, job.record.key)
        except OSError as error:
            raise TakenOver(OUT_OF_TOUCH.format(number=job.number)) from error
        if not own:
            raise TakenOver(TAKEN_OVER.format(number=job.number))

    async def answered(self, job: Job, *, keeps_ids: bool = False) -> None:
        """Tell no more of a job whose caller has its receipt. One that was left to others stays for them.

        Args:
            keeps_ids: the receipt names the record as where all its ids are.
        """
        if isinstance(job.error, TakenOver):
            return
        done = self._records.answered if keeps_ids else self._records.forget
        try:
            await anyio.to_thread.run_sync(done, job.record.key)
        except OSError:
            logger.warning("deletion %d stays in the status: the state file cannot be used", job.number)

    def open(self) -> None:
        """Start jobs, again where it was closed."""
        self.closed = False

    def close(self) -> None:
        """Start nothing any more. Jobs that are running go on; what came of them is not tried to be kept on and on."""
        self.closed = True

    @property
    def in_hand(self) -> frozenset[int]:
        """The keys of the jobs that this process works on or has still to record: it must not claim them itself."""
        return frozenset(self._in_hand)

    def running_for(self, caller: str) -> bool:
        """Return whether a job of this caller is running, whichever user it is for, follow-ups included."""
        return any(job.caller == caller for job in self._running)

    @property
    def running(self) -> int:
        """How many deletions are running here, whoever they belong to."""
        return sum(not job.record.follows for job in self._running)

    async def drain(self) -> None:
        """Wait until nothing is running."""
        await self._idle.wait()

    def _check_open(self) -> None:
        if self.closed:
            raise Stopping(STOPPING)

    def _begin(
        self,
        tasks: TaskGroup,
        record: JobRecord,
        caller: str,
        work: Callable[[Job], Awaitable[Receipt]],
        since: float,
    ) -> Job:
        job = Job(record, caller, since)
        self._running.add(job)
        if self._idle.is_set():
            self._idle = anyio.Event()
        tasks.start_soon(self._run, job, work)
        return job

    async def _run(self, job: Job, work: Callable[[Job], Awaitable[Receipt]]) -> None:
        async def act() -> None:
            job.receipt = await work(job)

        # Shielded: a deletion outlives the call, the connection and the signal to stop.
        with anyio.CancelScope(shield=True):
            await self._through(job, act)
            if not self.running:
                self._idle.set()

    async def _follow(self, job: Job, work: Callable[[], Awaitable[TakenBack]]) -> None:
        async def act() -> None:
            job.taken = await work()

        with job.cancelled:
            await self._through(job, act)

    async def _through(self, job: Job, act: Callable[[], Awaitable[None]]) -> None:
        """Do the work, say meanwhile that it goes on, and record what came of it."""
        self._in_hand.add(job.record.key)
        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._keep, job, beside.cancel_scope)
                try:
                    await act()
                    job.state = "done"
                except Exception as error:  # noqa: BLE001 - one job must not end the others, nor the server
                    self._failed(job, error)
                beside.cancel_scope.cancel()
        finally:
            if job.state == "running":
                job.state = "stopped"
            with anyio.CancelScope(shield=True):
                await self._end(job)
            self._in_hand.discard(job.record.key)
            self._finish(job)

    async def _keep(self, job: Job, work: anyio.CancelScope) -> None:
        # Exactly one process acts: this one stops before another one may begin.
        until = self._lease(job, job.since)
        while True:
            now = anyio.current_time()
            await anyio.sleep(min(KEEP_SECONDS, max(0.0, until - now)))
            asked, kept = anyio.current_time(), None
            with suppress(OSError), anyio.CancelScope(deadline=max(until, asked + ASK_SECONDS)):
                kept = await anyio.to_thread.run_sync(
                    self._records.keep, job.record.key, abandon_on_cancel=True
                )
            if kept:
                job.since = asked
                until = self._lease(job, asked)
                continue
            if kept is None and anyio.current_time() < until:
                continue
            why = OUT_OF_TOUCH if kept is None else TAKEN_OVER
            job.error = TakenOver(why.format(number=job.number))
            job.state, job.failure = "stopped", str(job.error)
            work.cancel()
            return

    def _lease(self, job: Job, since: float) -> float:
        """Until when this process may work on a job without another word."""
        if not job.record.order:
            return math.inf  # nobody else can
        return since + LEASE_SECONDS - SPARE_SECONDS

    async def _end(self, job: Job) -> None:
        """Record what came of a job. Where that fails its caller is told all the same, and it is tried on."""
        if isinstance(job.error, TakenOver):
            return  # left to others, who would not go on with what has ended
        told, ids = await anyio.to_thread.run_sync(self._told, job)
        # Where nobody else can go on, nobody else writes a receipt either.
        until = (job.since if job.record.order else anyio.current_time()) + LEASE_SECONDS
        while True:
            try:
                await anyio.to_thread.run_sync(self._records.end, job.record.key, job.state, told, ids)
            except OSError:
                if not job.finished.is_set():
                    logger.warning("the receipt of deletion %d cannot be kept now", job.number)
                    if job.record.order and job.error:
                        job.failure = f"{job.failure} {STAYS.format(number=job.number)}"
                        job.error = TakenOver(job.failure)
                    self._finish(job)
            else:
                job.has_ids = bool(ids)
                return
            if self.closed or anyio.current_time() + NOTE_SECONDS > until:
                return  # a process that can write again reads what is there and writes a receipt of its own
            await anyio.sleep(NOTE_SECONDS)

    def _finish(self, job: Job) -> None:
        self._running.discard(job)
        job.finished.set()

    def _failed(self, job: Job, error: Exception) -> None:
        job.state, job.failure, job.error = "failed", self._describe(error), error
        if not isinstance(error, ReflexioError | TrafficError):
            what = "follow-up" if job.record.follows else "deletion"
            logger.error("%s %d failed: %s", what, job.number, type(error).__name__)
