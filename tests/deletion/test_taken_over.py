"""A deletion whose process is killed in the middle is gone on with by another one, once, and told by all."""

import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client

from reflexio_mcp.render.jobs import NOT_FINISHED, WAITS
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.job_records import JobRecords
from reflexio_mcp.traffic.deletion import jobs
from reflexio_mcp.traffic.deletion.plan import plan_ids
from reflexio_mcp.traffic.deletion.safeguards import COPIED_BEFORE, GONE_BEFORE, Origin
from reflexio_mcp.traffic.deletion.takeover import Order, order_of
from reflexio_mcp.traffic.deletion.turn_plan import plan_turns
from reflexio_mcp.traffic.scope import Scope
from tests.deletion.support import BY_IDS, World
from tests.deletion.test_shared_state import state_file
from tests.deletion.test_stopping import Held, held
from tests.support.stdio import MODERN, StdioSession, open_session

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for another process"),
]

SESSION: dict[str, Any] = {"session_id": "s", "wait_for_response": False}


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Held]:
    """Holds the first deletion of three requests."""
    async with held(tmp_path) as backend:
        yield backend


def lease_over(folder: Path) -> None:
    """As if the process that was killed had been silent for a minute."""
    with closing(sqlite3.connect(state_file(folder))) as database:
        database.execute("UPDATE jobs SET alive = 0")
        database.commit()


async def killed(
    backend: Held, folder: Path, arguments: dict[str, Any], tool: str = "delete_session", **env: str
) -> None:
    """A server that was killed while the backend had its deletion in hand."""
    async with open_session(MODERN, env=backend.env(folder) | env) as session:
        if arguments.get("wait_for_response", True):
            await session.send("tools/call", {"name": tool, "arguments": arguments})
        else:
            told = (await session.call(tool, arguments))["structuredContent"]
            assert told["status"] == "scheduled"
        with anyio.fail_after(60):
            await backend.deleting.wait()
        await session.kill()
    backend.release.set()


async def ended(session: StdioSession) -> dict[str, Any]:
    """The one deletion of the status, once it has ended."""
    with anyio.fail_after(60):
        while True:
            [job] = (await session.call("get_status"))["structuredContent"]["deletions"]
            if job["state"] != "running":
                return job
            await anyio.sleep(0.1)


@pytest.mark.parametrize("waits", [False, True])
async def test_another_process_goes_on_with_it(backend: Held, tmp_path: Path, waits: bool) -> None:
    log = tmp_path / "audit.jsonl"
    options = {"REFLEXIO_MCP_AUDIT_LOG": str(log), "REFLEXIO_MCP_DELETE_CAP": "3"}
    options["REFLEXIO_MCP_RECOVERY_DAYS"] = str(int(waits))
    await killed(backend, tmp_path, SESSION | {"wait_for_response": waits}, **options)
    stored = await backend.world.ids()
    async with AsyncExitStack() as stack:
        env = backend.env(tmp_path) | options
        one, another = [await stack.enter_async_context(open_session(MODERN, env=env)) for _ in range(2)]
        [job] = (await one.call("get_status"))["structuredContent"]["deletions"]
        assert job["state"] == "running"
        lease_over(tmp_path)
        job = await ended(one)
        assert await ended(another) == job
        assert job["state"] == "done"
        assert job["receipt"]["counts"].get("deleted", 0) == len(stored)
        assert GONE_BEFORE in job["receipt"]["problems"]
        assert (COPIED_BEFORE in job["receipt"]["problems"]) == waits
        if waits:
            listed = await one.call("restore_requests")
            assert "3 requests (one: user " in listed["content"][0]["text"]
        # What the first process may have deleted still counts.
        await backend.world.put("r9", session="t")
        assert (await another.call("delete_request", {"request_id": "r9"}))["isError"]
    assert await backend.world.ids() == {"r9"}
    begun = [
        one
        for one in map(json.loads, log.read_text(encoding="utf-8").splitlines())
        if one["event"] == "begin"
    ]
    assert [one.get("resumed") for one in begun] == [None, True]


async def test_a_request_that_changed_since_is_left_alone(tmp_path: Path) -> None:
    async with held(tmp_path) as backend:
        world = backend.world

        async def refused() -> None:
            await backend.hold()
            raise ConnectionError  # the deletion of the killed process never takes effect

        world.backend.before[BY_IDS] = [refused]
        await killed(backend, tmp_path, SESSION)
        await world.rest.delete_requests_by_ids(["r1"])
        await world.put("r1", text="somebody's new words")
        lease_over(tmp_path)
        async with open_session(MODERN, env=backend.env(tmp_path)) as session:
            job = await ended(session)
        assert job["receipt"]["status"] == "incomplete"
        assert job["receipt"]["outcomes"]["changed"] == ["r1"]
        assert await world.ids() == {"r1"}


async def test_a_server_that_may_not_delete_says_that_another_one_has_to(
    backend: Held, tmp_path: Path
) -> None:
    await killed(backend, tmp_path, SESSION)
    lease_over(tmp_path)
    env = backend.env(tmp_path) | {"REFLEXIO_MCP_READ_ONLY": "true"}
    async with open_session(MODERN, env=env) as session:
        job = await ended(session)
    assert (job["state"], job["failure"]) == ("stopped", WAITS)


async def test_everything_of_a_user_is_not_begun_anew(backend: Held, tmp_path: Path) -> None:
    backend.world.backend.before = {"/api/clear_user_data": [backend.hold]}
    whole = {"user_id": "ada", "erase": True, "include_learnings": True, "wait_for_response": False}
    await killed(backend, tmp_path, whole, "delete_requests")
    lease_over(tmp_path)
    async with open_session(MODERN, env=backend.env(tmp_path)) as session:
        job = await ended(session)
    assert (job["state"], job["failure"]) == ("stopped", NOT_FINISHED)


async def test_without_its_record_nothing_is_deleted(world: World, era: str, data_folder: Path) -> None:
    for number in range(2):
        await world.put(f"r{number}")
    async with world.connect(era, CONFIRM="off", DELETE_CAP="0") as caller:
        await caller.call("delete_request", request_id="r0")
        state_file(data_folder).write_bytes(b"this is no database" * 100)
        said = await caller.refused("delete_request", request_id="r1")
        status = await caller.call("get_status")
    assert said.startswith("Nothing was deleted: the deletion cannot be recorded")
    assert str(data_folder) not in said
    assert "Earlier deletions cannot be read" in status["deletions_problem"]
    assert await world.ids() == {"r1"}


async def test_a_process_that_was_asleep_stops_where_another_one_goes_on(
    world: World, era: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "KEEP_SECONDS", 0.05)
    await world.put("r1")
    asleep, awake = anyio.Event(), anyio.Event()

    async def sleep() -> None:
        asleep.set()
        await awake.wait()

    world.backend.before[BY_IDS] = [sleep]
    sleeper, other = world.server(CONFIRM="off"), world.server(CONFIRM="off")
    said: list[str] = []

    async def call() -> None:
        async with world.connect(era, server=sleeper) as caller:
            said.append(await caller.refused("delete_request", request_id="r1"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await asleep.wait()
        with closing(sqlite3.connect(state_file(data_folder))) as database:
            database.execute("UPDATE jobs SET worker = 'another process'")
            database.commit()
        with anyio.fail_after(60):
            while not said:  # noqa: ASYNC110 - it is told by nobody
                await anyio.sleep(0.05)
    assert "taken this deletion over" in said[0]
    assert await world.ids() == {"r1"}
    assert other.runtime.jobs.running == 0


async def test_a_process_that_does_not_know_that_it_was_asleep_asks_before_it_deletes_on(
    world: World, era: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.traffic.deletion.execute.BATCH", 1)
    for number in range(3):
        await world.put(f"r{number}")
    server = world.server(CONFIRM="off", DELETE_CAP="3")

    async def claimed_meanwhile() -> None:
        with closing(sqlite3.connect(state_file(data_folder))) as database:
            database.execute("UPDATE jobs SET worker = 'another process'")
            database.commit()

    world.backend.before[BY_IDS] = [claimed_meanwhile]
    async with world.connect(era, server=server) as caller:
        said = await caller.refused("delete_session", session_id="s")
        assert "taken this deletion over" in said
        assert len(await world.ids()) == 2
        # What it may have deleted counts.
        assert "(0 left now)" in await caller.refused("delete_session", session_id="s")


async def test_what_another_version_promised_is_said_to_be_not_done(
    world: World, era: str, data_folder: Path
) -> None:
    server = world.server(CONFIRM="off")
    async with world.connect(era, server=server) as caller:
        owner = server.runtime.codes(server.runtime.scopes.current()).scope
        server.runtime.state.jobs.add(
            owner, "", "session s", tool="delete_session", order='{"in": "its form"}'
        )
        with closing(sqlite3.connect(state_file(data_folder))) as database:
            database.execute("UPDATE jobs SET alive = 0")
            database.commit()
        [job] = (await caller.call("get_status"))["deletions"]
    assert (job["state"], job["failure"]) == ("stopped", NOT_FINISHED)


async def test_what_is_gone_on_with_counts_for_whoever_asked_for_it(
    world: World, era: str, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.server.runtime.LOOK_SECONDS", 0.05)
    for number in range(2):
        await world.put(f"r{number}", user="ada")
    server = world.server(CONFIRM="off", DELETE_CAP="3")
    state = server.runtime.state
    asked = Scope(world.rest, "ada", "somebody who signed in")
    order = order_of(
        asked, await plan_ids(asked, ["r0", "r1"]), Origin("delete_requests", "a client", "off", "them")
    )
    state.jobs.add("them", asked.caller, "2 request ids", tool="delete_requests", order=order)
    lease_over(data_folder)
    async with world.connect(era, server=server):
        with anyio.fail_after(60):
            while [job.state for job in state.jobs.of("them")] != ["done"]:  # noqa: ASYNC110 - told by nobody
                await anyio.sleep(0.05)
        assert (state.cap.room(asked.caller), state.cap.room("")) == (1, 3)
    assert await world.ids() == set()


async def test_an_order_is_read_back_as_it_was_agreed_to_without_its_words(world: World) -> None:
    await world.put("r1", text="canary")
    scope = Scope(world.rest)
    [first, *_] = await world.interactions("r1")
    origin = Origin("a tool", "a client", "off", "owner")
    for plan in (await plan_ids(scope, ["r1", "gone"]), await plan_turns(scope, "r1", [first])):
        written = order_of(scope, plan, origin)
        assert "canary" not in written
        read = Order.read(written).plan
        assert type(read) is type(plan)
        assert (read.marks, read.ids, read.not_found) == (plan.marks, plan.ids, plan.not_found)


async def test_a_status_looks_once_where_no_deletion_was_left(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = 0

    def claim(self: JobRecords, *given: Any) -> None:
        nonlocal claims
        claims += 1

    monkeypatch.setattr(JobRecords, "claim", claim)
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": ":memory:"}))) as client:
        assert not (await client.call_tool("get_status", {})).is_error
    assert not claims
