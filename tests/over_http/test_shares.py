"""One caller cannot stop the others: what each may have at a time of calls, heavy calls, sessions and streams."""

import gc
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from mcp.types import JSONRPCRequest

from reflexio_mcp.http import bodies
from reflexio_mcp.http.app import SESSIONS_EACH
from reflexio_mcp.server.calls import MOST_HEAVY, REFUSAL_SECONDS
from reflexio_mcp.settings import Settings
from tests.support.serving import (
    AUTHORIZED,
    bearer,
    connected,
    events,
    interactions,
    legacy_initialize,
    message_of,
    modern_call,
    post,
    serving,
    until,
)
from tests.support.tenants import TenantBackend, tenant_backend

pytestmark = pytest.mark.anyio

READ = "/api/whoami"
LISTED = "/api/get_requests"
PUBLISH = "/api/publish_interaction"
DELETE = "/api/delete_requests_by_ids"
TWO = ("ann:token-of-ann", "bob:token-of-bob")
ANN, BOB = "token-of-ann", "token-of-bob"


@pytest.fixture
async def backend() -> AsyncIterator[TenantBackend]:
    async with tenant_backend() as backend:
        yield backend


def settings(backend: TenantBackend, **more: Any) -> Settings:
    options: dict[str, Any] = {"url": backend.url, "api_key": "key", "confirm": "off", "auth_token": TWO}
    return Settings(**options | more)


def is_busy(reply: httpx.Response) -> bool:
    result = message_of(reply)["result"]
    return bool(result.get("isError")) and "Busy" in result["content"][0]["text"]


async def test_a_caller_with_too_many_calls_is_told_so_and_another_is_not_counted(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    backend.held = READ
    one = settings(backend, max_in_flight=2)
    async with serving(one, tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def call() -> None:
            await post(served, "get_status", token=ANN)

        tasks.start_soon(call)
        tasks.start_soon(call)
        await until(lambda: backend.holding == 2)
        assert is_busy(await post(served, "list_sessions", token=ANN))
        assert not is_busy(await post(served, "list_sessions", token=BOB))
        backend.held = ""
        backend.release.set()
    assert [line["outcome"] for line in events(caplog, "call")] == ["busy", "ok", "ok", "ok"]


async def test_heavy_calls_have_a_share_of_their_own_and_light_calls_go_on(backend: TenantBackend) -> None:
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:
        await post(served, "get_status", token=ANN)
        backend.held = LISTED

        async def audit() -> None:
            await post(served, "audit_traffic", token=ANN)

        for _ in range(MOST_HEAVY):
            tasks.start_soon(audit)
        await until(lambda: backend.holding == MOST_HEAVY)
        backend.held = ""
        began = anyio.current_time()

        async def refused() -> None:
            assert is_busy(await post(served, "audit_traffic", token=ANN))

        async with anyio.create_task_group() as too_many:
            for _ in range(3):
                too_many.start_soon(refused)
        assert anyio.current_time() - began >= 3 * REFUSAL_SECONDS  # one after another
        for token in (ANN, BOB):
            assert not is_busy(await post(served, "list_requests", token=token))
        assert not is_busy(await post(served, "audit_traffic", token=BOB))
        backend.release.set()


async def test_a_caller_who_may_delete_no_more_does_not_stop_another(backend: TenantBackend) -> None:
    tokens = (*TWO, "ann:another-token-of-ann")
    more = {"auth_token": tokens, "delete_cap": 1, "store": ":memory:"}
    async with serving(settings(backend, **more), tokens=tokens) as served:
        refused: list[bool] = []
        for number, token in enumerate((ANN, ANN, "another-token-of-ann", BOB)):
            stored = {"session_id": "s", "interactions": interactions("x"), "request_id": f"r{number}"}
            await post(served, "publish_interaction", stored, token=token)
            done = await post(served, "delete_request", {"request_id": f"r{number}"}, token=token)
            refused.append("an hour are allowed" in done.text)
    assert refused == [False, True, True, False]


@pytest.mark.parametrize(
    "way", [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}], ids=["2026", "2025", "sse"]
)
async def test_a_body_counts_until_its_call_is_over(
    backend: TenantBackend, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SHARE_BYTES", 150_000)
    given = {"session_id": "s", "interactions": interactions("x" * 100_000)}
    async with serving(settings(backend), tokens=TWO) as served, anyio.create_task_group() as tasks:

        async def publish() -> None:
            async with connected(served.url, bearer(ANN), **way) as client:
                await client.call_tool("publish_interaction", given)

        backend.held = PUBLISH
        tasks.start_soon(publish)
        await until(lambda: backend.holding == 1)
        backend.held = ""
        refused = await post(served, "publish_interaction", given, token=ANN)
        others = await post(served, "publish_interaction", given, token=BOB)
        assert (refused.status_code, others.status_code) == (503, 200)
        backend.release.set()
        assert served.app
        held = served.app._bodies._held
        await until(lambda: not held)


async def test_a_session_does_not_keep_what_its_last_call_was_sent(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    headers |= bearer(ANN)
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:
        opened = await http.post(f"{served.url}/mcp", headers=headers, json=body)
        headers["mcp-session-id"] = opened.headers["mcp-session-id"]
        begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post(f"{served.url}/mcp", headers=headers, json=begun)
        call = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {
                "name": "publish_interaction",
                "arguments": {"session_id": "s", "interactions": interactions("canary")},
            },
        }
        content = json.dumps(call)
        call.clear()
        reply = await http.post(f"{served.url}/mcp", headers=headers, content=content)
        assert message_of(reply)["result"]["isError"] is False
        gc.collect()
        kept = [one for one in gc.get_objects() if isinstance(one, JSONRPCRequest)]
        assert "canary" not in str(kept)


async def test_no_caller_takes_every_session_and_stream(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    async with (
        serving(settings(backend), tokens=TWO) as served,
        httpx.AsyncClient(timeout=60) as http,
        AsyncExitStack() as stack,
    ):

        async def open_session(token: str) -> int:
            reply = await http.post(f"{served.url}/mcp", headers=headers | bearer(token), json=body)
            return reply.status_code

        async def open_stream(token: str) -> int:
            client = await stack.enter_async_context(httpx.AsyncClient(timeout=60))
            reply = await stack.enter_async_context(
                client.stream("GET", f"{served.url}/sse", headers=bearer(token))
            )
            return reply.status_code

        for opened in (open_session, open_stream):
            assert [await opened(ANN) for _ in range(SESSIONS_EACH + 1)] == [200] * SESSIONS_EACH + [503]
            assert await opened(BOB) == 200
        export = f"{served.url}/downloads/none"
        assert (await http.get(export, headers=bearer(ANN))).status_code == 503
        assert (await http.get(export, headers=bearer(BOB))).status_code == 404
        assert (await post(served, "list_sessions", token=ANN)).status_code == 200


async def test_openings_that_arrive_together_are_counted_together(backend: TenantBackend) -> None:
    headers, body = legacy_initialize()
    content = json.dumps(body).encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in (headers | bearer(ANN)).items())
    begin = f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{head}content-length: {len(content)}\r\n\r\n"
    async with serving(settings(backend), tokens=TWO) as served, AsyncExitStack() as stack:
        streams: list[anyio.abc.SocketStream] = []
        for _ in range(SESSIONS_EACH + 5):
            stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", served.port))
            await stream.send(begin.encode() + content[:-1])
            streams.append(stream)
        await post(served, "list_sessions", token=ANN)  # by now every head has been read
        for stream in streams:
            await stream.send(content[-1:])
        answers = [(await stream.receive())[9:12] for stream in streams]
    assert sorted(answers) == [b"200"] * SESSIONS_EACH + [b"503"] * 5


async def test_an_idle_session_is_closed() -> None:
    headers, body = legacy_initialize()
    async with serving(Settings(session_idle=0.1)) as served, httpx.AsyncClient(timeout=60) as http:
        opened = await http.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
        assert served.app
        manager = served.app._manager
        await until(lambda: not manager._server_instances)
        again = headers | AUTHORIZED | {"mcp-session-id": opened.headers["mcp-session-id"]}
        assert (await http.post(f"{served.url}/mcp", headers=again, json=body)).status_code == 404


@pytest.mark.parametrize("way", [{"mode": "auto"}, {"sse": True}], ids=["2026", "sse"])
async def test_a_caller_that_goes_away_ends_its_rest_call_but_no_deletion_that_has_begun(
    backend: TenantBackend, way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(settings(backend), tokens=TWO) as served:
        stored = {"session_id": "s", "interactions": interactions("x"), "request_id": "r"}
        await post(served, "publish_interaction", stored, token=ANN)

        async def leave(held: str, tool: str, arguments: dict[str, Any]) -> None:
            backend.held, before = held, backend.holding
            async with anyio.create_task_group() as tasks:

                async def talk() -> None:
                    async with connected(served.url, bearer(ANN), **way) as client:
                        await client.call_tool(tool, arguments)

                tasks.start_soon(talk)
                await until(lambda: backend.holding > before)
                tasks.cancel_scope.cancel()
            backend.held = ""

        await leave(READ, "get_status", {})
        await until(lambda: backend.ended == 1)
        backend.release = anyio.Event()
        await leave(DELETE, "delete_session", {"session_id": "s"})
        await post(served, "list_sessions", token=ANN)
        assert backend.ended == 1
        backend.release.set()
        await until(lambda: "delete_session" in str(events(caplog, "call")))
        gone = message_of(await post(served, "get_request", {"request_id": "r"}, token=ANN))
        assert gone["result"]["isError"]


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_call_leaves_one_line_and_its_trace_goes_on_into_the_rest_call(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    headers, body = modern_call("list_sessions", {})
    body["params"]["_meta"]["traceparent"] = f"00-{TRACE}-00f067aa0ba902b7-01"
    async with serving(settings(backend), tokens=TWO) as served, httpx.AsyncClient(timeout=60) as http:
        await http.post(f"{served.url}/mcp", headers=headers | bearer(ANN), json=body)
    [line] = events(caplog, "call")
    assert (line["tool"], line["outcome"], line["trace_id"]) == ("list_sessions", "ok", TRACE)
    assert backend.headers["traceparent"].split("-")[1] == TRACE
    assert re.fullmatch(r"[0-9a-f]{16}", line["caller"])


async def test_the_audit_log_names_the_caller_its_user_and_the_call_in_the_log(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(settings(backend), tokens=TWO) as served:
        for user, token in (("ann", ANN), ("bob", BOB)):
            stored = {"session_id": user, "interactions": [{"role": "User", "content": "canary"}]}
            await post(served, "publish_interaction", stored, token=token)
            await post(served, "delete_session", {"session_id": user}, token=token)
        assert served.app
        written = [entry.line for entry in served.app._runtime.state.log.entries()]
    begun = [line for line in map(json.loads, written) if line["event"] == "begin"]
    calls = {line["call_id"]: line for line in events(caplog, "call")}
    assert [line["user_id"] for line in begun] == ["ann", "bob"]
    assert len({line["caller"] for line in begun}) == 2
    for line in begun:
        assert calls[line["call_id"]]["caller"] == line["caller"]
        assert calls[line["call_id"]]["tool"] == "delete_session"
    assert not any(word in repr(written) for word in ("canary", ANN, BOB))
