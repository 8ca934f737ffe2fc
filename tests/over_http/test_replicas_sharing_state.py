"""Three replicas that share their state in PostgreSQL: what is on record is there for all, and counted once."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from signal import SIGKILL
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from benchmarks.filling import fill
from tests.deletion.support import BY_IDS, World
from tests.support.facts import fact_of
from tests.support.postgres_server import PostgresServer
from tests.support.replicas import HOST, NGINX, STATE_KEY, behind_nginx, replicas
from tests.support.serving import AUTHORIZED, Served, connected, message_of, modern_call
from tests.support.stdio import SERVER, environment
from tests.support.store_app import served

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for another process"),
]

CLOCKS = (0, 7_200, -7_200)
"""Two hours of difference either way, if faketime is installed: further than any hour that is counted."""


async def call(url: str, name: str, **arguments: Any) -> dict[str, Any]:
    """The result of a tool, over one POST that may go to any replica."""
    headers, body = modern_call(name, arguments)
    async with httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{url}/mcp", headers=headers | AUTHORIZED | {"host": HOST}, json=body)
    assert reply.status_code == 200, reply.text
    answer = message_of(reply)
    assert "result" in answer, answer
    return answer["result"]


async def facts(url: str, name: str, **arguments: Any) -> dict[str, Any]:
    return (await call(url, name, **arguments))["structuredContent"]


def said_of(result: dict[str, Any]) -> str:
    return "\n".join(part["text"] for part in result["content"])


@asynccontextmanager
async def sharing(
    folder: Path, requests: int, state: str, *, clocks: Sequence[int] = (), **variables: str
) -> AsyncIterator[tuple[World, str, list[Served]]]:
    """Three replicas behind nginx: their backend with so many requests, the address of nginx, and each of the three."""
    fill(folder / "store.db", requests)
    world = World(str(folder / "store.db"), folder)
    world.clock.now = 2_000_000_000
    async with AsyncExitStack() as stack:
        stack.push_async_callback(world.close)
        shared = {
            "REFLEXIO_URL": await stack.enter_async_context(served(world.backend)),
            "REFLEXIO_MCP_STORE": "",
            "REFLEXIO_MCP_STATE": state,
            "REFLEXIO_MCP_CONFIRM": "off",
        }
        three = await stack.enter_async_context(replicas(folder, 3, clocks=clocks, **shared | variables))
        yield world, await stack.enter_async_context(behind_nginx(folder, three)), three


async def test_a_replica_that_is_killed_in_the_middle_leaves_what_the_same_call_finishes(
    tmp_path: Path, postgres_url: str
) -> None:
    # The first of two batches goes, and the second is held.
    async with sharing(tmp_path, 600, postgres_url, REFLEXIO_MCP_DELETE_CAP="0") as (world, _, three):
        deleting, release = anyio.Event(), anyio.Event()

        async def nothing() -> None:
            return None

        async def hold() -> None:
            deleting.set()
            await release.wait()

        world.backend.before[BY_IDS] = [nothing, hold]
        acting, other, third = three
        scheduled = await facts(acting.url, "delete_requests", source="benchmark", wait_for_response=False)
        assert scheduled["status"] == "scheduled"
        with anyio.fail_after(300):
            await deleting.wait()
        await acting.terminate(SIGKILL)
        release.set()
        del world.backend.before[BY_IDS]
        for one in (other, third):
            [record] = (await facts(one.url, "get_status"))["deletions"]
            assert record["status"] == "unfinished"
            assert 0 < record["gone"] <= record["asked"] == 600
            assert "receipt" not in record
        left = len(await world.ids())
        receipt = (await facts(other.url, "delete_requests", source="benchmark"))["receipt"]
        assert receipt["deleted"]["requests"] == left
        assert not await world.ids()
        # Between them, the copies of both have everything.
        listed = (await facts(third.url, "restore_requests"))["deletions"]
        assert sum(one["copied"]["requests"] for one in listed) >= 600


async def test_callers_of_three_replicas_never_pass_the_cap_together(
    tmp_path: Path, postgres_url: str
) -> None:
    cap = {"REFLEXIO_MCP_DELETE_CAP": "25"}
    async with sharing(tmp_path, 40, postgres_url, clocks=CLOCKS, **cap) as (world, url, _):
        outcomes: Counter[bool] = Counter()

        async def delete(number: int) -> None:
            result = await call(url, "delete_request", request_id=f"request-{number}")
            outcomes[bool(result.get("isError"))] += 1
            assert not result.get("isError") or "an hour" in said_of(result), said_of(result)

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(delete, number)
        assert outcomes == {False: 25, True: 15}
        assert len(await world.ids()) == 15


async def test_a_plan_of_a_replica_is_confirmed_once_on_another_whose_clock_is_hours_off(
    tmp_path: Path, postgres_url: str
) -> None:
    preview = {"REFLEXIO_MCP_CONFIRM": "preview"}
    async with sharing(tmp_path, 3, postgres_url, clocks=CLOCKS, **preview) as (world, _, three):
        for number, one in enumerate(three):
            given = {"request_id": f"request-{number}"}
            plan = (await facts(one.url, "delete_request", **given))["plan"]
            given["confirm"] = plan["confirm"]
            another, third = three[number - 1], three[number - 2]
            assert (await facts(another.url, "delete_request", **given))["receipt"]["deleted"][
                "requests"
            ] == 1
            again = await call(third.url, "delete_request", **given)
            assert "receipt" not in again.get("structuredContent", {})
        assert not await world.ids()
        listed = [(await facts(one.url, "restore_requests"))["deletions"] for one in three]
        assert listed[0] == listed[1] == listed[2]
        assert len(listed[0]) == 3


PAGE = "reflexio-mcp/page"
TIMER = Path(__file__).parents[2] / "packaging" / "systemd" / "reflexio-mcp-expire.service"

HOLD = '[[hold]]\nsessions = ["miller"]\nreason = "Miller case"\n'
EXPIRE = '[[expire]]\nuser_id = "ada"\nafter = "7d"\n'


async def test_a_held_session_is_deleted_by_no_replica_page_command_or_timer(
    tmp_path: Path, postgres_url: str
) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(HOLD + EXPIRE, encoding="utf-8")
    options = {"REFLEXIO_MCP_POLICY": str(policy), "REFLEXIO_MCP_DELETE_CAP": "0"}
    async with (
        sharing(tmp_path, 1, postgres_url, clocks=(), **options) as (world, _, three),
        served(world.backend) as backend,
    ):
        world.clock.now = 1_000_000_000
        await world.rest.delete_requests_by_ids(["request-0"])

        async def put() -> None:
            await world.put("held", session="miller")
            await world.put("free", session="other")

        # What a tool can be asked for, on each of two replicas.
        for one in three[:2]:
            await put()
            assert (await facts(one.url, "delete_request", request_id="held"))["status"] == "held"
            assert (await facts(one.url, "delete_session", session_id="miller"))["status"] == "held"
            receipt = (await facts(one.url, "delete_requests", everything=True, erase=True))["receipt"]
            assert receipt["deleted"]["requests"] == 1
            assert (fact_of(receipt, "on_hold") or {}).get("names") == ["Miller case"]
            assert await world.ids() == {"held"}
            # The explorer's page plans, and then calls the tool with its pass.
            async with connected(one.url, AUTHORIZED | {"host": HOST}) as client:
                opened = await client.call_tool("explorer_data", {"view": "rows"})
                assert opened.meta
                page: Any = {PAGE: opened.meta[PAGE]}
                ids = {"request_ids": ["held"]}
                shown = await client.call_tool("explorer_data", {"view": "plan", **ids}, meta=page)
                assert "Miller case" in str(shown.structured_content)
                done = await client.call_tool("delete_requests", ids | {"erase": True}, meta=page)
                assert done.structured_content
                assert done.structured_content["status"] == "held"
            await world.rest.delete_requests_by_ids(["held"])

        # What the operator can type, and what the timer runs, beside the replicas.
        await put()
        [timed] = re.findall(r"^ExecStart=\S+ (.*)$", TIMER.read_text("utf-8"), re.MULTILINE)
        shared = environment(
            tmp_path,
            REFLEXIO_URL=backend,
            REFLEXIO_MCP_STATE=postgres_url,
            REFLEXIO_MCP_STATE_KEYS=STATE_KEY,
            **options,
        )
        for words, code in (
            (["delete", "held", "--yes"], 1),
            (["delete", "--session-id", "miller", "--erase", "--yes"], 1),
            (timed.split(), 0),
        ):
            done = await anyio.run_process(
                [*SERVER, *words], env=shared, check=False, stderr=subprocess.STDOUT
            )
            assert (done.returncode, b"Miller case" in done.stdout) == (code, True), done.stdout
        assert await world.ids() == {"held"}
        # Once the hold is gone, everything that the policy lets expire goes.
        policy.write_text(EXPIRE, encoding="utf-8")
        done = await anyio.run_process([*SERVER, *timed.split()], env=shared, check=False)
        assert (done.returncode, await world.ids()) == (0, set()), done.stdout


async def test_the_database_is_restarted_under_load(
    tmp_path: Path, postgres: PostgresServer, postgres_url: str
) -> None:
    outcomes: dict[str, str] = {}
    async with sharing(tmp_path, 400, postgres_url, REFLEXIO_MCP_DELETE_CAP="0") as (world, url, three):
        over = False
        numbers = iter(range(400))

        async def client() -> None:
            while not over:
                request_id = f"request-{next(numbers)}"
                result = await call(url, "delete_request", request_id=request_id)
                complete = result.get("structuredContent", {}).get("status") == "complete"
                outcomes[request_id] = "deleted" if complete else said_of(result)

        def count(*, deleted: bool) -> int:
            return sum((one == "deleted") is deleted for one in outcomes.values())

        async def until_more_are(*, deleted: bool) -> None:
            before = count(deleted=deleted)
            with anyio.fail_after(120):
                while count(deleted=deleted) < before + 6:  # noqa: ASYNC110 - other tasks count
                    await anyio.sleep(0.05)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(client)
            await until_more_are(deleted=True)
            await anyio.to_thread.run_sync(postgres.stop)
            try:
                await until_more_are(deleted=False)
                for one in three:
                    # Reading goes on, and the status says what does not.
                    assert not (await call(one.url, "list_requests", limit=1)).get("isError")
                    [stopped] = [
                        fact
                        for fact in (await facts(one.url, "get_status"))["facts"]
                        if fact["code"] == "no_deletion_now"
                    ]
                    assert stopped["names"] == [
                        "the state database: nothing answers at the host and port in its URL"
                    ]
            finally:
                await anyio.to_thread.run_sync(postgres.start)
            await until_more_are(deleted=True)
            over = True
        stored = await world.ids()
        for one, said in outcomes.items():
            if said == "deleted":
                assert one not in stored
            elif said.startswith("Nothing was deleted"):
                assert one in stored, said
