"""The state fails at the end of a restore: the answer says what was restored, and the log has the restore."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from reflexio_mcp.state import tables
from reflexio_mcp.state.tables import SqliteDatabase
from tests.deletion.support import World
from tests.support.facts import fact_of
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio

PUBLISH = "/api/publish_interaction"
REQUESTS = [f"r{number}-{'x' * 100}" for number in range(60)]
"""Ids that make the last log line longer than a page of the file."""


@contextmanager
def locked(world: World, how: str) -> Iterator[None]:
    """Another program holds the file."""
    with closing(sqlite3.connect(world.folder / "state.db", isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield


@contextmanager
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The file cannot grow any more, which SQLite reports as a full disk."""
    connected = SqliteDatabase._connected  # pyright: ignore[reportPrivateUsage]

    def limited(self: SqliteDatabase) -> sqlite3.Connection:
        connection = connected(self)
        connection.execute("PRAGMA max_page_count = 1")  # no fewer than there are
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(SqliteDatabase, "_connected", limited)
        yield


@pytest.mark.parametrize("failure", ["full", "IMMEDIATE", "EXCLUSIVE"])
async def test_a_full_disk_or_a_locked_file_at_the_end_of_a_restore_hides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    monkeypatch.setattr(tables, "WAIT_SECONDS", 0.05)
    for name in REQUESTS:
        await world.put(name)
    failing = full(monkeypatch) if failure == "full" else locked(world, failure)
    server = world.server(CONFIRM="off")
    async with world.connect(server=server) as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]

        async def fail() -> None:
            failing.__enter__()

        world.backend.before[PUBLISH] = [*[nothing] * (len(REQUESTS) - 1), fail]
        done = await caller.call("restore_requests", deletion=number)
        failing.__exit__(None, None, None)
        assert done["restored"]["requests"] == len(REQUESTS)
        assert done["status"] == "incomplete"
        assert (fact_of(done, "restore_not_recorded") or {})["names"] == ["the state file cannot be used"]
        lines = [json.loads(entry.line) for entry in server.runtime.state.log.entries()]
        assert [line["event"] for line in lines] == ["begin", "end", "restoring"]
        assert sorted(lines[-1]["ids"]) == sorted(REQUESTS)
        again = await caller.call("restore_requests", deletion=number)
    assert again["status"] == "complete"
    assert [(one["why"], one["count"]) for one in again["not_restored"]] == [("already_there", len(REQUESTS))]


async def test_a_full_disk_during_a_restore_hides_nothing_and_the_intention_is_on_record(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in REQUESTS[:5]:
        await world.put(name)
        await world.learn(f"of {name}", name, content=f"of {name}")
    server = world.server(CONFIRM="off")
    failing = full(monkeypatch)
    async with world.connect(server=server) as caller:
        deletion = {"session_id": "s", "include_learnings": True}
        number = (await caller.receipt("delete_session", **deletion))["number"]

        async def fail() -> None:
            failing.__enter__()

        world.backend.before[PUBLISH] = [nothing, fail]
        done = await caller.call("restore_requests", deletion=number)
        failing.__exit__(None, None, None)
        lines = [json.loads(entry.line) for entry in server.runtime.state.log.entries()]
        past = (await caller.call("get_status"))["deletions"]
        again = await caller.call("restore_requests", deletion=number)
    assert (done["status"], done["restored"]["requests"]) == ("incomplete", 5)
    assert fact_of(done, "restore_not_recorded")
    assert [line["event"] for line in lines] == ["begin", "end", "restoring"]
    assert [restore["status"] for restore in past if restore.get("restores")] == ["unfinished"]
    told = [restored.get("restored", {}).get("learnings", 0) for restored in (done, again)]
    assert (again["status"], sum(told), len(world.backend.profiles)) == ("complete", 5, 5)


async def nothing() -> None:
    pass


@pytest.mark.ci
@pytest.mark.parametrize("server_ends", [False, True])
async def test_connections_of_postgresql_that_are_ended_at_the_end_of_a_restore_hide_nothing(
    world: World, postgres: PostgresServer, postgres_url: str, server_ends: bool
) -> None:
    for name in REQUESTS[:3]:
        await world.put(name)
    server = world.server(CONFIRM="off", STATE=postgres_url, STATE_KEYS="k" * 32)
    async with world.connect(server=server) as caller:
        number = (await caller.receipt("delete_session", session_id="s"))["number"]

        async def end() -> None:
            if server_ends:
                postgres.stop()
            else:
                postgres.sql(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                    f"AND datname = '{postgres_url.rsplit('/', 1)[1]}'"
                )

        world.backend.before[PUBLISH] = [nothing, nothing, end]
        try:
            done = await caller.call("restore_requests", deletion=number)
        finally:
            if server_ends:
                postgres.start()
        assert done["restored"]["requests"] == 3
        events = [json.loads(entry.line)["event"] for entry in server.runtime.state.log.entries()]
        assert events[:3] == ["begin", "end", "restoring"]
        if server_ends:
            assert done["status"] == "incomplete"
            assert (fact_of(done, "restore_not_recorded") or {})["names"]
        else:  # a new connection is made
            assert (done["status"], events[3:]) == ("complete", ["restored"])
        again = await caller.call("restore_requests", deletion=number)
    assert (again["status"], again["not_restored"][0]["why"]) == ("complete", "already_there")


@pytest.mark.ci
async def test_what_an_erasure_names_is_not_restored_when_a_replica_has_the_key_of_its_copy(
    world: World, postgres_url: str
) -> None:
    await world.put("r1")
    older, newer = "o" * 32, "n" * 32
    state = {"CONFIRM": "off", "STATE": postgres_url}
    async with world.connect(**state, STATE_KEYS=f"{older},{newer}") as caller:
        number = (await caller.receipt("delete_request", request_id="r1"))["number"]
    async with world.connect(**state, STATE_KEYS=f"{newer},{older}"):
        pass
    async with world.connect(**state, STATE_KEYS=newer) as caller:
        receipt = await caller.receipt("delete_request", request_id="r1", erase=True)
        assert (receipt["status"], bool(fact_of(receipt, "copies_sealed"))) == ("incomplete", True)
    async with world.connect(**state, STATE_KEYS=f"{newer},{older}") as caller:
        await caller.refused("restore_requests", deletion=number)
    assert await world.ids() == set()
