"""The jobs that processes share: told everywhere, gone on with once, by one process, when theirs has ended."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from reflexio_mcp.state import job_records
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import LEASE_SECONDS, REMEMBERED, TOLD_SECONDS, TRIES, JobRecords
from reflexio_mcp.state.local.database import LocalDatabase
from tests.state.conftest import Engine

TOOLS = ["delete_requests"]


def promise(records: JobRecords, owner: str = "owner", order: str = "an order") -> int:
    return records.add(owner, "caller", "what", tool="delete_requests", order=order).key


def test_a_receipt_is_told_by_every_process_to_its_owner_alone(engine: Engine) -> None:
    one, another = engine.jobs(), engine.jobs()
    one.end(promise(one), "done", "the receipt")
    [told] = another.of("owner")
    assert (told.number, told.state, told.told, told.order) == (1, "done", "the receipt", "")
    assert another.of("owner") == one.of("owner")
    assert not another.of("somebody else")
    assert not engine.jobs("another key").of("owner")


def test_a_job_is_its_process_as_long_as_that_says_so(engine: Engine) -> None:
    one, another = engine.jobs(), engine.jobs()
    key = promise(one)
    for _ in range(5):
        engine.clock.now += LEASE_SECONDS - 1
        assert one.keep(key)
        assert another.claim(TOOLS) is None
    engine.clock.now += LEASE_SECONDS + 1
    assert [job.state for job in another.of("owner")] == ["stopped"]
    taken = another.claim(TOOLS)
    assert taken
    assert (taken.key, taken.order) == (key, "an order")
    assert not one.keep(key)
    one.end(key, "done", "too late")
    one.forget(key)
    assert [(job.state, job.told) for job in one.of("owner")] == [("running", "")]
    another.end(key, "done", "the receipt")
    assert [job.told for job in one.of("owner")] == ["the receipt"]


def test_whose_a_job_is_can_be_asked_at_any_moment(engine: Engine) -> None:
    one, another = engine.jobs(), engine.jobs()
    key = promise(one)
    assert one.holds(key)
    assert not another.holds(key)
    # Where the lease is nearly over, or over and nobody has claimed it, asking makes it longer.
    for seconds in (LEASE_SECONDS - 1, LEASE_SECONDS + 1):
        engine.clock.now += seconds
        assert one.holds(key)
        engine.clock.now += LEASE_SECONDS - 1
        assert another.claim(TOOLS) is None
    engine.clock.now += LEASE_SECONDS + 1
    assert another.claim(TOOLS)
    assert not one.holds(key)
    assert another.holds(key)


def test_what_nobody_else_can_do_or_may_do_is_not_claimed(engine: Engine) -> None:
    one, another = engine.jobs(), engine.jobs()
    promise(one, order="")
    one.add("owner", "caller", "goes on", follows=True)
    engine.clock.now += LEASE_SECONDS + 1
    assert another.claim(TOOLS) is None
    assert [job.state for job in another.of("owner")] == ["stopped"] * 2
    promise(one)
    engine.clock.now += LEASE_SECONDS + 1
    assert another.claim(["delete_session"]) is None
    assert engine.jobs("another key").claim(TOOLS) is None
    assert another.claim(TOOLS, "somebody else") is None
    assert another.claim(TOOLS, "owner")


def test_what_ends_every_process_that_tries_is_given_up(engine: Engine) -> None:
    promise(engine.jobs())
    for _ in range(TRIES):
        engine.clock.now += LEASE_SECONDS + 1
        assert engine.jobs().claim(TOOLS)
    engine.clock.now += LEASE_SECONDS + 1
    assert engine.jobs().claim(TOOLS) is None
    [told] = engine.jobs().of("owner")
    assert (told.state, told.order) == ("stopped", "")


def test_a_promise_is_forgotten_after_a_week(engine: Engine) -> None:
    one = engine.jobs()
    promise(one)
    engine.clock.now += TOLD_SECONDS + 1
    assert one.claim(TOOLS) is None
    assert not one.of("owner")
    assert promise(one, "another")
    assert not one.of("owner")


def test_the_ids_that_a_receipt_left_out_stay_for_its_owner_alone(engine: Engine) -> None:
    one, another = engine.jobs(), engine.jobs()
    key = promise(one)
    assert one.ids_of("owner", 1) is None
    one.end(key, "done", "the receipt", "all its ids")
    another.answered(key)
    assert [job.told for job in one.of("owner")] == ["the receipt"], (
        "only its process says that it was answered"
    )
    one.answered(key)
    one.end(key, "done", "told again", "other ids")
    assert not another.of("owner")
    kept = another.ids_of("owner", 1)
    assert kept
    assert (kept.what, kept.ids) == ("what", "all its ids")
    assert another.ids_of("owner", 2) is None
    assert another.ids_of("somebody else", 1) is None
    assert engine.jobs("another key").ids_of("owner", 1) is None
    assert one.add("owner", "caller", "what").number == 2
    engine.clock.now += TOLD_SECONDS + 1
    assert another.ids_of("owner", 1) is None


def test_after_a_quiet_week_an_owner_does_not_get_the_same_number_again(engine: Engine) -> None:
    jobs = engine.jobs()
    first = jobs.add("owner", "caller", "what")
    jobs.end(first.key, "done", "the receipt", "ids")
    engine.clock.now += TOLD_SECONDS + LEASE_SECONDS
    assert jobs.add("owner", "caller", "what").number == 2
    assert jobs.ids_of("owner", 1) is None


def test_a_receipt_that_nobody_has_read_stays_longer_than_the_ids_of_one_that_was(engine: Engine) -> None:
    jobs = engine.jobs()
    jobs.end(promise(jobs), "done", "unread", "ids")
    for _ in range(REMEMBERED + 5):
        key = promise(jobs)
        jobs.end(key, "done", "read", "ids")
        jobs.answered(key)
    assert [job.told for job in jobs.of("owner")] == ["unread"]
    assert jobs.ids_of("owner", 1)
    assert jobs.ids_of("owner", 2) is None
    assert jobs.ids_of("owner", REMEMBERED + 6)


def test_it_does_so_too_where_one_caller_has_the_most_for_many_users(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_records, "MOST_REMEMBERED", 3)
    jobs = engine.jobs()
    jobs.end(promise(jobs), "done", "unread")
    for number in range(5):
        key = promise(jobs, f"user {number}")
        jobs.end(key, "done", "read", "ids")
        jobs.answered(key)
    assert [job.told for job in jobs.of("owner")] == ["unread"]
    assert jobs.ids_of("user 1", 1) is None
    assert jobs.ids_of("user 4", 1)


@pytest.mark.anyio
async def test_of_many_that_would_go_on_exactly_one_does(engine: Engine) -> None:
    for _ in range(5):
        promise(engine.jobs())
    engine.clock.now += LEASE_SECONDS + 1
    claimed: list[int] = []

    def one_process() -> None:
        records = engine.jobs()
        while taken := records.claim(TOOLS):
            claimed.append(taken.key)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(anyio.to_thread.run_sync, one_process)
    assert sorted(claimed) == [1, 2, 3, 4, 5]


def test_what_a_dead_process_counted_is_counted_once_and_anew(engine: Engine) -> None:
    cap = engine.cap
    assert cap().take("me", 6, job=1)
    assert cap().take("me", 4, job=2)
    engine.clock.now += 3000
    assert cap().take("me", 6, job=1)
    assert cap().room("me") == 0
    engine.clock.now += 700
    # What the first process may have deleted counts from when the second one went on.
    assert cap().room("me") == 4


def test_what_is_given_back_late_is_not_taken_from_what_another_process_counted(engine: Engine) -> None:
    cap = engine.cap()
    taken = cap.take("me", 6, job=1)
    assert taken
    assert engine.cap().take("me", 6, job=1)
    cap.give_back(taken, 6)
    assert cap.room("me") == 4


def test_a_file_of_an_earlier_version_keeps_its_counts(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as earlier:
        earlier.executescript(
            "CREATE TABLE deletions (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, at REAL NOT NULL, number INTEGER "
            "NOT NULL); CREATE TABLE follow_ups (id INTEGER PRIMARY KEY, owner TEXT NOT NULL, what TEXT NOT NULL, "
            "began REAL NOT NULL, alive REAL NOT NULL);"
        )
    cap = HourlyCap(10, LocalDatabase(lambda: path))
    with closing(sqlite3.connect(path)) as earlier:
        counted = "INSERT INTO deletions (owner, at, number) VALUES (?, ?, 7)"
        earlier.execute(counted, (cap._key("me"), time.time()))
        earlier.commit()
    assert cap.take("me", 4) is None
    assert cap.take("me", 3)


def test_nothing_of_an_order_is_left_in_the_file(tmp_path: Path) -> None:
    records = JobRecords(LocalDatabase(lambda: tmp_path / "state.db"))
    key = promise(records, order="canary " * 2000)
    assert b"canary" in (tmp_path / "state.db").read_bytes()
    records.end(key, "done", "")
    assert b"canary" not in (tmp_path / "state.db").read_bytes()
