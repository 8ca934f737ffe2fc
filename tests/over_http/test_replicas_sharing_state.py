"""Three replicas that share their state in PostgreSQL: what is promised is kept once, and counted for all of them."""

import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.traffic.deletion.safeguards import GONE_BEFORE
from tests.deletion.support import BY_IDS, World
from tests.deletion.test_large import count, filled, served
from tests.support.postgres_server import PostgresServer
from tests.support.replicas import FAKETIME, HOST, NGINX, behind_nginx, replica, replicas
from tests.support.serving import AUTHORIZED, Served, message_of, modern_call

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for another process"),
]

DELETIONS = 5_000
"""Three calls of the service: it is killed during the second, and another process does what is left."""

CLOCKS = (0, 7_200, -7_200)
"""Two hours of difference either way, where faketime is installed: further than any hour or lease that is counted."""


async def call(url: str, name: str, **arguments: Any) -> dict[str, Any]:
    """The result of a tool, over one POST that may go to any replica."""
    headers, body = modern_call(name, arguments)
    async with httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{url}/mcp", headers=headers | AUTHORIZED | {"host": HOST}, json=body)
    assert reply.status_code == 200, reply.text
    answer = message_of(reply)
    assert "result" in answer, answer
    return answer["result"]


def said_of(result: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in result["content"])


@asynccontextmanager
async def sharing(
    world: World, home: Path, state: str, **variables: str
) -> AsyncIterator[tuple[str, str, list[Served]]]:
    """Three of them behind nginx: the backend's address, that of nginx, and each of the three."""
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(served(world))
        shared = shared_by(backend, state) | variables
        three = await stack.enter_async_context(replicas(home, 3, clocks=CLOCKS, **shared))
        yield backend, await stack.enter_async_context(behind_nginx(home, three)), three


def shared_by(backend: str, state: str) -> dict[str, str]:
    return {
        "REFLEXIO_URL": backend,
        "REFLEXIO_MCP_STORE": "",
        "REFLEXIO_MCP_STATE": state,
        "REFLEXIO_MCP_CONFIRM": "off",
    }


def who_called(three: list[Served], tool: str) -> Served:
    """The replica that a call went to."""
    [one] = [one for one in three if f'"{tool}"' in one.stderr()]
    return one


async def the_deletion(url: str) -> dict[str, Any]:
    """The one deletion of the status, once it has ended."""
    with anyio.fail_after(300):
        while True:
            [job] = (await call(url, "get_status"))["structuredContent"]["deletions"]
            if job["state"] != "running":
                return job
            await anyio.sleep(0.5)  # a status reads all that was promised


async def test_a_replica_is_killed_in_the_middle_of_a_large_deletion(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    database = postgres_url.rsplit("/", 1)[1]

    async def sql(statement: str) -> str:
        return await anyio.to_thread.run_sync(postgres.sql, statement, database)

    async with filled(tmp_path, DELETIONS) as world, AsyncExitStack() as stack:
        deleting, release = anyio.Event(), anyio.Event()

        async def nothing() -> None:
            return None

        async def hold() -> None:
            deleting.set()
            await release.wait()

        world.backend.before[BY_IDS] = [nothing, hold]
        options = {"REFLEXIO_MCP_DELETE_CAP": str(DELETIONS), "REFLEXIO_MCP_RECOVERY_DAYS": "1"}
        where, url, three = await stack.enter_async_context(sharing(world, tmp_path, postgres_url, **options))
        told = await call(url, "delete_requests", source="benchmark", wait_for_response=False)
        assert told["structuredContent"]["status"] == "scheduled"
        with anyio.fail_after(300):
            await deleting.wait()
        acting = who_called(three, "delete_requests")
        await acting.terminate(signal.SIGKILL)
        release.set()
        others = [one for one in three if one is not acting]
        for one in others:
            [job] = (await call(one.url, "get_status"))["structuredContent"]["deletions"]
            assert job["state"] == "running"
        # As if it had been silent for a minute.
        await sql("UPDATE reflexio_mcp.jobs SET alive = alive - 60")
        job = await the_deletion(url)
        assert job["state"] == "done"
        assert GONE_BEFORE in job["receipt"]["problems"]
        assert await count(tmp_path) == 0
        # The receipt is the same everywhere, also where its deletion began.
        again = await stack.enter_async_context(
            replica(tmp_path, 3, port=acting.port, **(shared_by(where, postgres_url) | options))
        )
        for one in (*others, again):
            assert await the_deletion(one.url) == job
        # What the first process may have deleted is counted once.
        await world.put("one-more", session="t")
        for one in (*others, again):
            refused = await call(one.url, "delete_request", request_id="one-more")
            assert refused["isError"]
            assert "(0 left now)" in said_of(refused)
        assert await world.ids(session_id="t") == {"one-more"}
        lines = [
            json.loads(line)
            for line in (await sql("SELECT line FROM reflexio_mcp.audit_log ORDER BY id")).splitlines()
        ]
        assert [line.get("resumed") for line in lines if line["event"] == "begin"] == [None, True]
        assert [line["event"] for line in lines] == ["begin", "begin", "end"]
        assert await sql("SELECT count(*), max(tries) FROM reflexio_mcp.jobs") == "1|1"
        assert await sql("SELECT sum(number) FROM reflexio_mcp.deletions") == str(DELETIONS)
        # Every replica can undo all of it: the first copy was complete before anything went.
        copies = (await call(others[0].url, "restore_requests"))["structuredContent"]["copies"]
        assert max(copy["requests"] for copy in copies) == DELETIONS
        assert (await call(others[1].url, "restore_requests"))["structuredContent"]["copies"] == copies


async def test_callers_of_three_replicas_never_pass_the_cap_together(
    tmp_path: Path, postgres_url: str
) -> None:
    async with (
        filled(tmp_path, 40) as world,
        sharing(world, tmp_path, postgres_url, REFLEXIO_MCP_DELETE_CAP="25") as (_, url, three),
    ):
        outcomes: Counter[bool] = Counter()

        async def delete(number: int) -> None:
            result = await call(url, "delete_request", request_id=f"request-{number}")
            outcomes[bool(result.get("isError"))] += 1
            assert (
                not result.get("isError")
                or "25 an hour are allowed" in said_of(result)
                or "hourly cap" in said_of(result)
            )

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(delete, number)
        assert outcomes == {False: 25, True: 15}
        assert await count(tmp_path) == 15
        # Every replica had some of them; a line of the log is written a moment after its answer.
        with anyio.fail_after(60):
            while not all('"delete_request"' in one.stderr() for one in three):  # noqa: ASYNC110
                await anyio.sleep(0.05)


@pytest.mark.skipif(FAKETIME is None, reason="faketime is not installed")
async def test_a_plan_of_a_replica_is_confirmed_where_the_clock_is_hours_off(
    tmp_path: Path, postgres_url: str
) -> None:
    options = {"REFLEXIO_MCP_CONFIRM": "preview", "REFLEXIO_MCP_RECOVERY_DAYS": "1"}
    async with (
        filled(tmp_path, 6) as world,
        sharing(world, tmp_path, postgres_url, **options) as (_, _, three),
    ):
        async with httpx.AsyncClient(timeout=60) as client:
            dates = [
                parsedate_to_datetime((await client.get(f"{one.url}/health")).headers["date"])
                for one in three
            ]
        for ahead, date in zip(CLOCKS, dates, strict=True):
            assert abs((date - dates[0]).total_seconds() - ahead) < 600, "the clocks of this test are apart"
        ids = iter(sorted(await world.ids()))
        for one in three:
            for another in three:
                if one is another:
                    continue
                given = {"request_id": next(ids)}
                plan = (await call(one.url, "delete_request", **given))["structuredContent"]
                assert plan["status"] == "planned"
                given["confirm"] = plan["confirm"]
                done = (await call(another.url, "delete_request", **given))["structuredContent"]
                assert done["deleted"] == 1
        assert not await world.ids()
        # All of them keep every copy for as long.
        copies = [(await call(one.url, "restore_requests"))["structuredContent"]["copies"] for one in three]
        assert copies[0] == copies[1] == copies[2]
        assert len(copies[0]) == 6


async def test_connections_to_the_database_run_out(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    database, secret = postgres_url.rsplit("/", 1)[1], "a password"

    async def sql(*statements: str) -> str:
        return await anyio.to_thread.run_sync(postgres.sql, "; ".join(statements), database)

    await sql(f"CREATE ROLE few LOGIN PASSWORD '{secret}'", f"GRANT CREATE ON DATABASE {database} TO few")
    acknowledged: set[str] = set()
    refused: dict[str, str] = {}
    try:
        async with (
            filled(tmp_path, 40) as world,
            sharing(world, tmp_path, postgres.url(database, "few", secret), REFLEXIO_MCP_DELETE_CAP="25") as (
                _,
                url,
                three,
            ),
        ):
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'few'"
            await sql("ALTER ROLE few CONNECTION LIMIT 0", ended)
            for one in three:
                said = said_of(await call(one.url, "delete_request", request_id="request-0"))
                assert said.startswith("Nothing was deleted"), said
                assert "the state database: it has no room left, or no free connection" in said
                assert not (await call(one.url, "list_requests", limit=1)).get("isError")
                status = (await call(one.url, "get_status"))["structuredContent"]
                assert "no free connection" in status["deletions_problem"]
            assert await count(tmp_path) == 40
            # Fewer than there are replicas.
            await sql("ALTER ROLE few CONNECTION LIMIT 2")

            async def delete(request_id: str) -> None:
                result = await call(url, "delete_request", request_id=request_id)
                if result.get("isError"):
                    refused[request_id] = said_of(result)
                elif result["structuredContent"]["deleted"]:
                    acknowledged.add(request_id)
                else:
                    assert "get_status" in refused[request_id], "it was said that this may still be done"

            everything = await world.ids()
            async with anyio.create_task_group() as tasks:
                for request_id in everything:
                    tasks.start_soon(delete, request_id)
            assert acknowledged, refused
            gone = everything - await world.ids()
            assert acknowledged <= gone
            assert len(gone) <= 25
            for request_id, said in refused.items():
                if "get_status" not in said:
                    assert said.startswith("Nothing was deleted"), said
                    assert request_id not in gone, said
            # With connections for all, what was left over is done, as if its process had been silent for a minute.
            await sql(
                "ALTER ROLE few CONNECTION LIMIT -1",
                "UPDATE reflexio_mcp.jobs SET alive = alive - 60 WHERE alive > 0",
            )

            async def told_alike() -> bool:
                """Whether every replica tells the same receipts, and nothing is running any more."""
                told = [(await call(one.url, "get_status"))["structuredContent"] for one in three]
                if any("deletions_problem" in one for one in told):
                    return False
                receipts = [one.get("deletions", []) for one in told]
                return receipts == receipts[:1] * 3 and all(job["state"] != "running" for job in receipts[0])

            with anyio.fail_after(180):
                while not await told_alike():  # noqa: ASYNC110 - of other processes
                    await anyio.sleep(0.1)
            # The rest of the hour's room is used, and no more.
            for request_id in everything - gone:
                await delete(request_id)
            stored = await world.ids()
            assert 15 <= len(stored) < 40
            assert acknowledged.isdisjoint(stored)
            taken = await sql("SELECT sum(number) FROM reflexio_mcp.deletions")
            assert 40 - len(stored) <= int(taken) <= 25
    finally:
        await sql("DROP OWNED BY few", "DROP ROLE few")


async def test_the_database_is_restarted_under_load(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    outcomes: dict[str, str] = {}
    async with (
        filled(tmp_path, 400) as world,
        sharing(world, tmp_path, postgres_url, REFLEXIO_MCP_DELETE_CAP="0") as (_, url, three),
    ):
        over = False
        numbers = iter(range(400))

        async def client() -> None:
            while not over:
                request_id = f"request-{next(numbers)}"
                result = await call(url, "delete_request", request_id=request_id)
                if not result.get("isError"):
                    assert result["structuredContent"]["deleted"] == 1
                    outcomes[request_id] = "deleted"
                else:
                    outcomes[request_id] = said_of(result)

        def deleted() -> int:
            return sum(one == "deleted" for one in outcomes.values())

        async def until_more_are_deleted() -> None:
            before = deleted()
            with anyio.fail_after(120):
                while deleted() < before + 8:  # noqa: ASYNC110 - other tasks count
                    await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(client)
            await until_more_are_deleted()
            await anyio.to_thread.run_sync(postgres.stop)
            try:
                with anyio.fail_after(120):
                    while all(one == "deleted" for one in outcomes.values()):  # noqa: ASYNC110 - as above
                        await anyio.sleep(0.05)
                for one in three:
                    # Reading goes on, and the status says what does not.
                    assert not (await call(one.url, "list_requests", limit=1)).get("isError")
                    status = (await call(one.url, "get_status"))["structuredContent"]
                    assert "the state database: it does not answer" in status["deletions_problem"]
            finally:
                await anyio.to_thread.run_sync(postgres.start)
            await until_more_are_deleted()
            over = True
        refused = {one: told for one, told in outcomes.items() if told != "deleted"}
        assert refused
        stored = await world.ids()
        assert not stored & (outcomes.keys() - refused.keys())
        for one, told in refused.items():
            if (
                "may still carry it out" not in told
                and "may carry it out" not in told
                and "get_status" not in told
            ):
                assert told.startswith("Nothing was deleted"), told
                assert one in stored
