"""A server that stops: running calls finish, new calls are told to try again, and streams end in good order."""

import json
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from reflexio_mcp.settings import Settings
from tests.support.serving import (
    AUTHORIZED,
    connected,
    legacy_initialize,
    message_of,
    modern_call,
    post,
    serving,
    serving_process,
    until,
)
from tests.support.stdio import SERVER
from tests.support.tenants import tenant_backend

pytestmark = pytest.mark.anyio

READ = "/api/whoami"
ERAS = [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}]
NAMES = ["2026", "2025", "sse"]


async def test_open_streams_end_in_good_order() -> None:
    headers, body = legacy_initialize()
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
        async with serving(Settings()) as served:
            opened = await http.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
            session = {"mcp-session-id": opened.headers["mcp-session-id"], "accept": "text/event-stream"}
            streams = [
                await stack.enter_async_context(
                    http.stream("GET", f"{served.url}{path}", headers=AUTHORIZED | session)
                )
                for path in ("/sse", "/mcp")
            ]
            assert [one.status_code for one in streams] == [200, 200]
        for stream in streams:
            await stream.aread()  # raises if it was cut off


async def test_a_running_call_finishes_and_a_new_call_is_turned_away() -> None:
    async with tenant_backend() as backend:
        backend.held = READ
        settings = Settings(url=backend.url, api_key="key")
        async with serving(settings) as served, anyio.create_task_group() as tasks:
            assert served.app
            replies: list[httpx.Response] = []

            async def call() -> None:
                replies.append(await post(served, "get_status"))

            tasks.start_soon(call)
            await until(lambda: backend.holding)
            tasks.start_soon(served.app.drain, 60)
            await until(lambda: served.app and served.app.stopping)
            late = await post(served, "get_status")
            assert late.status_code == 503
            assert late.headers["retry-after"]
            backend.release.set()
            await until(lambda: replies)
            assert not message_of(replies[0])["result"].get("isError")


@pytest.mark.parametrize("way", ERAS, ids=NAMES)
async def test_a_call_that_outlasts_the_bound_is_told_to_try_again(way: dict[str, Any]) -> None:
    async with tenant_backend() as backend:
        backend.held = READ
        async with (
            serving(Settings(url=backend.url, api_key="key")) as served,
            anyio.create_task_group() as tasks,
        ):
            assert served.app
            told: list[Any] = []

            async def call() -> None:
                async with connected(served.url, served.headers, **way) as client:
                    told.append(await client.call_tool("get_status", {}))

            tasks.start_soon(call)
            await until(lambda: backend.holding)
            await served.app.drain(0.1)
            await until(lambda: told)
            assert told[0].is_error
            assert "try again" in str(told[0].content)
            tasks.cancel_scope.cancel()


@pytest.mark.ci
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for another process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("in_session", [False, True], ids=["2026", "2025"])
async def test_a_signal_ends_the_process_when_its_calls_are_answered(
    tmp_path: Path, number: signal.Signals, in_session: bool
) -> None:
    async with tenant_backend() as backend:
        backend.held = READ
        variables: dict[str, Any] = {
            "REFLEXIO_URL": backend.url,
            "REFLEXIO_API_KEY": "key",
            "REFLEXIO_MCP_STORE": "",
        }
        async with (
            serving_process(tmp_path, **variables, command=SERVER) as served,
            httpx.AsyncClient(timeout=60) as http,
            anyio.create_task_group() as tasks,
        ):
            headers, body = modern_call("get_status", {})
            if in_session:  # then the reply is a stream
                headers, opening = legacy_initialize()
                opened = await http.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=opening)
                headers |= {"mcp-session-id": opened.headers["mcp-session-id"]}
                body = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "get_status"}}
            replies: list[httpx.Response] = []

            async def call() -> None:
                replies.append(await http.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body))

            tasks.start_soon(call)
            await until(lambda: backend.holding)
            assert served.process
            served.process.send_signal(number)
            await until(lambda: "stopping" in served.stderr())
            with anyio.move_on_after(1):  # nothing ends the call in this time
                await until(lambda: replies)
            backend.release.set()
            with anyio.fail_after(60):
                assert await served.process.wait() == (0 if number == signal.SIGTERM else 130)
            assert not message_of(replies[0])["result"].get("isError")
            assert "Traceback" not in served.stderr()
            lines = [json.loads(line) for line in served.stderr().splitlines() if line.startswith("{")]
            assert [line["outcome"] for line in lines if line["event"] == "call"] == ["ok"]


async def test_without_a_token_one_is_made_and_its_file_is_named_but_never_the_token(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with serving_process(tmp_path, REFLEXIO_MCP_AUTH_TOKEN="", XDG_DATA_HOME=str(data)) as served:
        file = data / "reflexio-mcp" / "http-token"
        token = file.read_text(encoding="utf-8").strip()
        if sys.platform != "win32":
            assert file.stat().st_mode & 0o777 == 0o600
        assert str(file) in served.stderr()
        async with connected(served.url, {"authorization": f"Bearer {token}"}) as client:
            assert (await client.list_tools()).tools
        assert token not in served.stderr()
