"""SIGTERM: every caller gets an answer, deletions are finished, exit code 0, no traceback."""

import json
import signal
import sqlite3
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from tests.over_http.test_attacks import AUTHORIZED
from tests.over_http.test_calls import until
from tests.support.serving import connected, legacy_initialize, modern_call, serving_process, turns
from tests.support.stdio import SERVER
from tests.support.tenants import tenant_backend

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for another process"),
]


async def test_open_streams_of_every_kind_do_not_hold_the_process(tmp_path: Path) -> None:
    async with (
        serving_process(tmp_path, REFLEXIO_MCP_STOP_TIMEOUT="60", command=SERVER) as served,
        AsyncExitStack() as stack,
    ):
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        headers, body = legacy_initialize()
        opened = await client.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
        session = AUTHORIZED | {
            "mcp-session-id": opened.headers["mcp-session-id"],
            "accept": "text/event-stream",
        }
        streams = [
            await stack.enter_async_context(client.stream("GET", f"{served.url}/sse", headers=AUTHORIZED)),
            await stack.enter_async_context(client.stream("GET", f"{served.url}/mcp", headers=session)),
        ]
        assert [one.status_code for one in streams] == [200, 200]
        await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", served.port))
        assert await served.terminate(timeout=30) == 0
        for stream in streams:
            # Each was ended in good order and not cut off, which would raise here.
            await stream.aread()
        assert "Traceback" not in served.stderr()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_running_call_finishes_and_a_new_one_is_turned_away(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with tenant_backend() as backend:
        backend.held = "/api/whoami"
        variables: dict[str, Any] = {
            "REFLEXIO_URL": backend.url,
            "REFLEXIO_API_KEY": "key",
            "REFLEXIO_MCP_STORE": "",
        }
        async with (
            serving_process(tmp_path, **variables, command=SERVER) as served,
            httpx.AsyncClient(timeout=60) as client,
        ):
            given, body = modern_call("get_status", {})
            replies: list[httpx.Response] = []
            # A connection that is open already, as a proxy keeps them.
            await client.get(f"{served.url}/health")

            async def call() -> None:
                replies.append(await client.post(f"{served.url}/mcp", headers=given | AUTHORIZED, json=body))

            async with httpx.AsyncClient(timeout=60) as kept, anyio.create_task_group() as tasks:
                await kept.get(f"{served.url}/health")
                tasks.start_soon(call)
                await until(lambda: backend.holding == 1)
                assert served.process
                served.process.send_signal(number)
                await until(lambda: "stopping" in served.stderr())
                late = await kept.post(f"{served.url}/mcp", headers=given | AUTHORIZED, json=body)
                assert late.status_code == 503
                assert late.headers["retry-after"]
                with pytest.raises(httpx.ConnectError):
                    async with httpx.AsyncClient(timeout=60) as fresh:
                        await fresh.get(f"{served.url}/health")
                backend.release.set()
            assert not replies[0].json()["result"].get("isError")
            assert served.process
            with anyio.fail_after(60):
                assert await served.process.wait() == (0 if number == signal.SIGTERM else 130)
            assert "Traceback" not in served.stderr()


@pytest.mark.parametrize(
    "way", [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}], ids=["2026", "2025", "sse"]
)
async def test_a_call_that_outlasts_the_bound_is_told_to_try_again(
    tmp_path: Path, way: dict[str, Any]
) -> None:
    async with tenant_backend() as backend:
        backend.held = "/api/whoami"
        variables: dict[str, Any] = {
            "REFLEXIO_URL": backend.url,
            "REFLEXIO_API_KEY": "key",
            "REFLEXIO_MCP_STORE": "",
            "REFLEXIO_MCP_STOP_TIMEOUT": "0.5",
        }
        async with serving_process(tmp_path, **variables, command=SERVER) as served:
            texts: list[str] = []

            async def call() -> None:
                async with connected(served.url, served.headers, **way) as client:
                    result = await client.call_tool("get_status", {})
                    assert result.is_error
                    texts.append(str(result.content))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call)
                await until(lambda: backend.holding == 1)
                assert await served.terminate(timeout=10) == 0
                await until(lambda: texts)
                tasks.cancel_scope.cancel()
            assert "try again" in texts[0]
            assert "Traceback" not in served.stderr()
            lines = [json.loads(line) for line in served.stderr().splitlines() if line.startswith("{")]
            assert [line["outcome"] for line in lines if line["event"] == "call"] == ["stopped"]


async def test_a_promised_deletion_is_carried_out_before_the_process_is_gone(tmp_path: Path) -> None:
    variables: dict[str, Any] = {"REFLEXIO_MCP_CONFIRM": "off", "REFLEXIO_MCP_STOP_TIMEOUT": "1"}
    async with serving_process(tmp_path, **variables, command=SERVER) as served:
        async with connected(served.url, served.headers) as client:
            for number in range(3):
                given = {
                    "user_id": "u",
                    "session_id": "s",
                    "request_id": f"r{number}",
                    "interactions": turns("x"),
                }
                await client.call_tool("publish_interaction", given)
            # While somebody else holds the file, the deletion cannot be done before the stop.
            holder = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            promised = await client.call_tool(
                "delete_session", {"session_id": "s", "wait_for_response": False}
            )
            assert not promised.is_error, promised
        assert served.process
        served.process.send_signal(signal.SIGTERM)
        await until(lambda: "stopping" in served.stderr())
        holder.execute("ROLLBACK")
        holder.close()
        with anyio.fail_after(60):
            assert await served.process.wait() == 0
        assert "Traceback" not in served.stderr()
    left = sqlite3.connect(tmp_path / "store.db")
    assert left.execute("SELECT count(*) FROM requests").fetchone() == (0,)
    left.close()


async def test_without_a_token_one_is_made_and_its_file_is_named_but_never_the_token(tmp_path: Path) -> None:
    async with serving_process(
        tmp_path, REFLEXIO_MCP_AUTH_TOKEN="", XDG_DATA_HOME=str(tmp_path / "data")
    ) as served:
        file = tmp_path / "data" / "reflexio-mcp" / "http-token"
        token = file.read_text(encoding="utf-8").strip()
        assert str(file) in served.stderr()
        async with connected(served.url, {"authorization": f"Bearer {token}"}) as client:
            assert (await client.list_tools()).tools
        assert await served.terminate() == 0
        assert token not in served.stderr()
