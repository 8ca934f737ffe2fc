"""Deletions whose state is in PostgreSQL: what one server keeps, another one gives back, and an outage is said."""

import json
from pathlib import Path

import anyio.to_thread
import pytest

from tests.deletion.support import BY_IDS, World
from tests.state.conftest import KEY
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def options(postgres_url: str) -> dict[str, str]:
    return {
        "STATE": postgres_url,
        "STATE_KEYS": KEY,
        "CONFIRM": "off",
        "RECOVERY_DAYS": "7",
        "RECOVERY_DIR": "",
    }


async def test_what_one_server_deletes_another_one_restores_and_erases(
    world: World, era: str, options: dict[str, str], postgres: PostgresServer, data_folder: Path
) -> None:
    await world.put("r1", text="canary of these tests")
    await world.put("r2")
    async with world.connect(era, **options) as one:
        receipt = await one.call("delete_session", session_id="s")
        assert receipt["counts"] == {"deleted": 2}
        status = await one.call("get_status")
        assert status["policy"]["shared_state"] == "PostgreSQL"
        assert status["policy"]["audit_log"] is True
    async with world.connect(era, **options) as another:
        [copy] = (await another.call("restore_requests"))["copies"]
        assert (copy["copy_id"], copy["requests"]) == (receipt["copy_id"], 2)
        assert copy["kept_until"] == receipt["copy_kept_until"]
        restored = await another.call("restore_requests", copy_id=receipt["copy_id"])
        assert restored["outcomes"] == {"restored": ["r1", "r2"]}
        assert await world.ids() == {"r1", "r2"}
        erased = await another.call("delete_request", request_id="r1", erase=True)
        assert (erased["deleted"], erased["copies_changed"]) == (1, 1)
    async with world.connect(era, **options) as one:
        [copy] = (await one.call("restore_requests"))["copies"]
        assert copy["requests"] == 1
    server = world.server(**options)
    async with world.connect(era, server=server) as one:
        await world.put("r3", text="canary of these tests")
        await one.call("delete_requests", session_id="s", contains="canary", wait_for_response=False)
        await server.runtime.jobs.drain()
        assert (await one.call("get_status"))["deletions"][0]["receipt"]["deleted"] == 1
    log = rows(postgres, options, "SELECT line FROM reflexio_mcp.audit_log ORDER BY id")
    lines = [json.loads(line) for line in log]
    assert [(line["event"], line.get("tool")) for line in lines] == [
        ("begin", "delete_session"),
        ("end", None),
        ("begin", "delete_request"),
        ("end", None),
        ("begin", "delete_requests"),
        ("end", None),
    ]
    for table in ("audit_log", "jobs", "deletions", "recovery_copies", "recovery_lines"):
        assert "canary" not in "".join(rows(postgres, options, f"SELECT * FROM reflexio_mcp.{table}"))
    assert not files(data_folder)
    assert not files(world.folder)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def rows(postgres: PostgresServer, options: dict[str, str], query: str) -> list[str]:
    return postgres.sql(query, options["STATE"].rsplit("/", 1)[1]).splitlines()


async def test_an_outage_is_said_and_what_was_left_is_done_by_a_repeat(
    world: World, options: dict[str, str], postgres: PostgresServer
) -> None:
    await world.put("r1")
    async with world.connect(**options) as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
        await caller.call("restore_requests", copy_id=copy_id)

        async def goes_away() -> None:
            await anyio.to_thread.run_sync(postgres.stop)

        world.backend.before[BY_IDS] = [goes_away]
        try:
            receipt = await caller.call("delete_request", request_id="r1", erase=True)
            assert receipt["deleted"] == 1
            problems = " ".join(receipt["problems"])
            assert "The audit log can no longer be written" in problems
            assert (
                "Recovery copies could not be looked into (the state database: it does not answer)"
                in problems
            )
            assert await caller.call("list_requests")
            said = await caller.refused("restore_requests")
            assert said.startswith(
                "Recovery copies cannot be read now (the state database: it does not answer)"
            )
            assert "nothing was restored" in said
            await world.put("r2")
            said = await caller.refused("delete_request", request_id="r2")
            assert said.startswith("Nothing was deleted")
            assert "or correct REFLEXIO_MCP_STATE" in said
        finally:
            await anyio.to_thread.run_sync(postgres.start)
        with anyio.fail_after(60):
            while "deletions_problem" in await caller.call("get_status"):  # noqa: ASYNC110 - of another process
                await anyio.sleep(0.1)
        receipt = await caller.call("delete_request", request_id="r1", erase=True)
        assert receipt["outcomes"] == {"erased_from_copies": ["r1"]}
        assert (await caller.call("restore_requests"))["copies"] == []
    assert await world.ids() == {"r2"}


async def test_a_copy_that_no_key_opens_is_left_and_where_it_is_is_said(
    world: World, options: dict[str, str]
) -> None:
    await world.put("r1")
    async with world.connect(**options) as caller:
        copy_id = (await caller.call("delete_request", request_id="r1"))["copy_id"]
    await world.put("r1")
    async with world.connect(**(options | {"STATE_KEYS": f"another {KEY}"})) as caller:
        [problem] = (await caller.call("delete_request", request_id="r1", erase=True))["problems"]
    assert f"(copy_id={copy_id}), so some of it may still be in there" in problem
    assert "REFLEXIO_MCP_STATE_KEYS" in problem
    assert "reflexio_mcp.recovery_copies" in problem
    assert "REFLEXIO_MCP_RECOVERY_DIR" not in problem


async def test_a_database_that_can_only_be_read_is_said_before_anything_is_deleted(
    world: World, options: dict[str, str], postgres: PostgresServer
) -> None:
    await world.put("r1")
    async with world.connect(**options) as caller:
        assert "deletions_problem" not in await caller.call("get_status")
        name = options["STATE"].rsplit("/", 1)[1]
        postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with world.connect(**options) as caller:
        problem = (await caller.call("get_status"))["deletions_problem"]
        assert problem.startswith("Nothing can be deleted now: the state database: it can only be read now. ")
        assert "correct REFLEXIO_MCP_STATE" in problem
        assert (await caller.refused("delete_request", request_id="r1")).startswith("Nothing was deleted")
    assert await world.ids() == {"r1"}
