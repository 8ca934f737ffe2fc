"""A process that loses its records while it deletes: exactly one acts, and what is said stays true."""

import contextlib
import time
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp.state.database import StateUnusable, Transaction
from reflexio_mcp.state.local.database import LocalDatabase
from reflexio_mcp.traffic.deletion import jobs
from tests.deletion.support import BY_IDS, World

pytestmark = pytest.mark.anyio

AWAY = "the state database: it does not answer"


class Records:
    """Makes the records of every process fail.

    Args:
        away: whether they do.
        after: how many transactions work before.
        unknown: the next transaction is made final, and its answer lost.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.away = False
        self.after = -1
        self.unknown = False
        self._through = through = LocalDatabase.transaction
        self._databases: set[LocalDatabase] = set()

        @contextlib.contextmanager
        def transaction(database: LocalDatabase) -> Generator[Transaction]:
            self._databases.add(database)
            if self.after == 0:
                self.away = True
            self.after -= 1
            if self.away:
                raise StateUnusable(AWAY, "see that it works")
            with through(database) as opened:
                yield opened
            if self.unknown:
                self.unknown = False
                raise StateUnusable(AWAY, "see that it works", unknown=True)

        patch.setattr(LocalDatabase, "transaction", transaction)

    def leave_with_the_deletion(self, world: World) -> None:
        """Make them fail from the call on that deletes."""

        async def leave() -> None:
            self.away = True

        world.backend.before[BY_IDS] = [leave]

    def expire(self) -> None:
        """As if every process had been silent for a minute."""
        for database in self._databases:
            with self._through(database) as transaction:
                transaction.execute("UPDATE jobs SET alive = 0")


def short_lease(patch: pytest.MonkeyPatch) -> None:
    """A lease that is soon over, but not where the disk is slow."""
    patch.setattr(jobs, "LEASE_SECONDS", 0.4)
    patch.setattr(jobs, "KEEP_SECONDS", 0.1)
    patch.setattr(jobs, "SPARE_SECONDS", 0.1)
    patch.setattr(jobs, "ASK_SECONDS", 30)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    return Records(monkeypatch)


async def test_it_stops_before_another_process_may_go_on(
    world: World, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_lease(monkeypatch)
    await world.put("r1")
    hanging = anyio.Event()

    async def hangs() -> None:
        records.away = True
        hanging.set()
        await anyio.sleep_forever()

    world.backend.before[BY_IDS] = [hangs]
    async with world.connect(CONFIRM="off") as caller:
        with anyio.fail_after(30):
            said = await caller.refused("delete_request", request_id="r1")
        assert hanging.is_set()
        assert said.startswith("This process could not say any more that it works on this deletion")
        records.away = False
        world.backend.before.clear()


async def test_what_it_leaves_to_others_they_go_on_with_however_soon_it_can_note_things_again(
    world: World, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_lease(monkeypatch)
    await world.put("r1")

    async def hangs() -> None:
        records.away = True
        try:
            await anyio.sleep_forever()
        finally:
            records.away = False

    world.backend.before[BY_IDS] = [hangs]
    async with world.connect(CONFIRM="off") as caller:
        with anyio.fail_after(30):
            said = await caller.refused("delete_request", request_id="r1")
        assert "its receipt will be in get_status as deletion 1" in said
        assert await world.ids() == {"r1"}
        records.expire()
        with anyio.fail_after(30):
            while await world.ids():
                await caller.call("get_status")
                await anyio.sleep(0.01)


async def test_its_lease_counts_from_before_it_was_recorded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.put("r1")
    recorded: list[float] = []
    since: list[float] = []
    add, begin = jobs.JobRecords.add, jobs.Jobs._through

    def noted(self: jobs.JobRecords, *arguments: Any, **named: Any) -> jobs.JobRecord:
        recorded.append(time.monotonic())
        return add(self, *arguments, **named)

    async def through(self: jobs.Jobs, job: jobs.Job, act: Callable[[], Awaitable[None]]) -> None:
        since.append(job.since)
        await begin(self, job, act)

    monkeypatch.setattr(jobs.JobRecords, "add", noted)
    monkeypatch.setattr(jobs.Jobs, "_through", through)
    async with world.connect(CONFIRM="off") as caller:
        await caller.call("delete_request", request_id="r1")
    assert since[0] <= recorded[0]


async def test_it_works_on_while_it_can_say_so(
    world: World, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEASE_SECONDS", 60)
    monkeypatch.setattr(jobs, "KEEP_SECONDS", 0.01)
    await world.put("r1")
    calling = anyio.Event()
    said: list[bool] = []
    keep = jobs.JobRecords.keep

    def noted(self: jobs.JobRecords, key: int) -> bool:
        if calling.is_set():  # before the call that deletes, the records have to answer
            said.append(True)
            records.away = len(said) < 3
        return keep(self, key)

    monkeypatch.setattr(jobs.JobRecords, "keep", noted)

    async def slow() -> None:
        calling.set()
        with anyio.fail_after(30):
            while len(said) < 5:  # noqa: ASYNC110 - said in a worker thread
                await anyio.sleep(0.01)

    world.backend.before[BY_IDS] = [slow]
    async with world.connect(CONFIRM="off") as caller:
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1


async def test_a_refusal_that_could_not_be_noted_says_that_the_deletion_may_still_go_on(
    world: World, records: Records, data_folder: Path
) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off") as caller:
        # The cap's room is asked for, the deletion recorded, and then nothing more.
        records.after = 2
        said = await caller.refused("delete_request", request_id="r1")
        assert said.startswith("Nothing was deleted: what is deleted in an hour cannot be counted")
        assert "may still carry it out; get_status will show it as deletion 1." in said
        told = await caller.call("get_status")
        assert "does not answer" in str(told)
        records.away = False
        [job] = (await caller.call("get_status"))["deletions"]
        assert job["number"] == 1


async def test_a_receipt_that_cannot_be_kept_at_once_is_kept_later_and_no_other_takes_its_place(
    world: World, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "NOTE_SECONDS", 0.05)
    await world.put("r1")
    records.leave_with_the_deletion(world)
    async with world.connect(CONFIRM="off", DELETE_CAP="0") as caller:
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1
        records.away = False
        state = "running"
        with anyio.fail_after(30):
            while state == "running":
                await anyio.sleep(0.01)
                state = (await caller.call("get_status"))["deletions"][0]["state"]
        records.expire()
        [job] = (await caller.call("get_status"))["deletions"]
    assert (job["state"], job["receipt"]["counts"]) == ("done", {"deleted": 1})


async def test_a_job_that_is_still_to_be_recorded_is_not_claimed_by_its_own_process(
    world: World, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "NOTE_SECONDS", 2)
    claimed: list[Any] = []
    claim = jobs.JobRecords.claim

    def noted(self: jobs.JobRecords, *arguments: Any) -> jobs.JobRecord | None:
        claimed.append(claim(self, *arguments))
        return claimed[-1]

    monkeypatch.setattr(jobs.JobRecords, "claim", noted)
    await world.put("r1")
    records.leave_with_the_deletion(world)
    server = world.server(CONFIRM="off", DELETE_CAP="0")
    async with world.connect(server=server) as caller:
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1
        records.expire()
        records.away = False
        await caller.call("get_status")
        assert claimed == [None]
        with anyio.fail_after(30):
            while server.runtime.jobs.in_hand:  # noqa: ASYNC110 - told by nobody
                await anyio.sleep(0.05)
        [job] = (await caller.call("get_status"))["deletions"]
    assert (job["state"], job["receipt"]["counts"]) == ("done", {"deleted": 1})


async def test_a_receipt_is_not_tried_to_be_kept_beyond_the_lease(
    world: World, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "NOTE_SECONDS", 0.02)
    tried: list[int] = []
    end = jobs.JobRecords.end

    def noted(self: jobs.JobRecords, key: int, *arguments: Any) -> None:
        tried.append(key)
        end(self, key, *arguments)

    monkeypatch.setattr(jobs.JobRecords, "end", noted)
    await world.put("r1")
    server = world.server(CONFIRM="off", DELETE_CAP="0")

    async def goes() -> None:
        records.away = True
        for job in server.runtime.jobs._running:
            job.since -= jobs.LEASE_SECONDS

    world.backend.before[BY_IDS] = [goes]
    async with world.connect(server=server) as caller:
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1
        await anyio.sleep(0.3)
        assert len(tried) == 1
        assert not server.runtime.jobs.in_hand


async def test_a_receipt_that_nobody_else_can_write_is_tried_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "NOTE_SECONDS", 0.02)
    tried: list[int] = []
    end = jobs.JobRecords.end

    def away_at_first(self: jobs.JobRecords, key: int, *arguments: Any) -> None:
        tried.append(key)
        if len(tried) < 3:
            raise OSError
        end(self, key, *arguments)

    def after_a_long_outage(job: jobs.Job) -> Any:
        job.since -= jobs.LEASE_SECONDS
        return told(job)

    await world.put("r1")
    server = world.server(CONFIRM="off", DELETE_CAP="0")
    told = server.runtime.jobs._told
    monkeypatch.setattr(jobs.JobRecords, "end", away_at_first)
    monkeypatch.setattr(server.runtime.jobs, "_told", after_a_long_outage)
    everything = {"user_id": "ada", "include_learnings": True, "erase": True}
    async with world.connect(server=server) as caller:
        assert (await caller.call("delete_requests", **everything))["deleted"] == 1
        with anyio.fail_after(10):
            while tried.count(tried[0]) < 3:  # noqa: ASYNC110 - told by nobody
                await anyio.sleep(0.05)
    assert tried.count(tried[0]) == 3


async def test_whoever_leaves_does_not_wait_for_a_receipt_that_cannot_be_kept(
    world: World, records: Records
) -> None:
    await world.put("r1")
    await world.put("r2")
    records.leave_with_the_deletion(world)
    server = world.server(CONFIRM="off", DELETE_CAP="0")
    async with world.connect(server=server) as caller:
        assert (await caller.call("delete_request", request_id="r1"))["deleted"] == 1
        left = time.monotonic()
    assert time.monotonic() - left < jobs.LEASE_SECONDS / 2
    records.away = False
    world.backend.before.clear()
    async with world.connect(server=server) as caller:
        assert (await caller.call("delete_request", request_id="r2"))["deleted"] == 1


async def test_where_it_is_not_known_whether_it_was_recorded_that_is_said(
    world: World, records: Records
) -> None:
    await world.put("r1")
    async with world.connect(CONFIRM="off", DELETE_CAP="0") as caller:
        records.unknown = True
        said = await caller.refused("delete_request", request_id="r1")
        assert said.startswith("It is not known whether this deletion was recorded")
        [job] = (await caller.call("get_status"))["deletions"]
        assert job["state"] == "running"
    assert await world.ids() == {"r1"}
