"""Around a call: how many at once, what happens when its caller goes away, what is logged, whose trace it is in."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from reflexio_mcp.settings import Settings
from tests.over_http.test_attacks import AUTHORIZED, events
from tests.support.serving import Served, connected, legacy_initialize, modern_call, serving, turns
from tests.support.tenants import TenantBackend, tenant_backend

pytestmark = pytest.mark.anyio

READ = "/api/whoami"
DELETE = "/api/delete_requests_by_ids"


@pytest.fixture
async def backend() -> AsyncIterator[TenantBackend]:
    async with tenant_backend() as backend:
        yield backend


def settings(backend: TenantBackend, **more: Any) -> Settings:
    options: dict[str, Any] = {"url": backend.url, "api_key": "key", "confirm": "off"}
    options |= more
    return Settings(**options)


async def until(condition: Any, seconds: float = 60.0) -> None:
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens on the other side of a socket
            await anyio.sleep(0.01)


async def post(served: Served, name: str, arguments: dict[str, Any], **headers: str) -> dict[str, Any]:
    given, body = modern_call(name, arguments)
    async with httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{served.url}/mcp", headers=given | AUTHORIZED | headers, json=body)
    return reply.json()["result"]


async def test_a_caller_with_too_many_calls_at_once_is_told_to_try_again(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    backend.held = READ
    async with serving(settings(backend, max_in_flight=2)) as served, anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(post, served, "get_status", {})
        await until(lambda: backend.holding == 2)
        busy = await post(served, "list_sessions", {})
        assert busy["isError"]
        assert "Busy" in busy["content"][0]["text"]
        assert "nothing was done" in busy["content"][0]["text"]
        backend.held = ""
        backend.release.set()
        await until(lambda: len(events(caplog, "call")) == 3)
        assert not (await post(served, "list_sessions", {})).get("isError")
    assert [line["outcome"] for line in events(caplog, "call")] == ["busy", "ok", "ok", "ok"]


async def test_calls_of_another_caller_are_not_counted(backend: TenantBackend) -> None:
    backend.held = READ
    two = settings(backend, max_in_flight=1, tenancy="header", api_key="")
    async with serving(two) as served, anyio.create_task_group() as tasks:

        async def first() -> None:
            await post(served, "get_status", {}, **{"x-reflexio-api-key": "one"})

        tasks.start_soon(first)
        await until(lambda: backend.holding == 1)
        other = await post(served, "list_sessions", {}, **{"x-reflexio-api-key": "two"})
        assert not other.get("isError")
        backend.release.set()


async def _go_away_2026(served: Served, backend: TenantBackend, name: str, arguments: dict[str, Any]) -> None:
    given, body = modern_call(name, arguments)
    await _post_and_leave(served, backend, given, body)


async def _go_away_2025(served: Served, backend: TenantBackend, name: str, arguments: dict[str, Any]) -> None:
    given, opening = legacy_initialize()
    async with httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{served.url}/mcp", headers=given | AUTHORIZED, json=opening)
        session = given | {
            "mcp-session-id": reply.headers["mcp-session-id"],
            "mcp-protocol-version": "2025-11-25",
        }
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await client.post(f"{served.url}/mcp", headers=session | AUTHORIZED, json=ready)
    body = {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {"name": name, "arguments": arguments},
    }
    await _post_and_leave(served, backend, session, body)


async def _post_and_leave(
    served: Served, backend: TenantBackend, headers: dict[str, str], body: dict[str, Any]
) -> None:
    async with httpx.AsyncClient(timeout=60) as client, anyio.create_task_group() as tasks:

        async def send() -> None:
            await client.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)

        tasks.start_soon(send)
        await until(lambda: backend.holding == 1)
        tasks.cancel_scope.cancel()


async def _go_away_sse(served: Served, backend: TenantBackend, name: str, arguments: dict[str, Any]) -> None:
    async with anyio.create_task_group() as tasks:

        async def talk() -> None:
            async with connected(served.url, served.headers, sse=True) as client:
                await client.call_tool(name, arguments)

        tasks.start_soon(talk)
        await until(lambda: backend.holding == 1)
        tasks.cancel_scope.cancel()


GOING = {"streamable-2026": _go_away_2026, "streamable-2025": _go_away_2025, "sse": _go_away_sse}


@pytest.mark.parametrize("way", GOING)
async def test_a_caller_that_goes_away_ends_its_rest_call(backend: TenantBackend, way: str) -> None:
    backend.held = READ
    async with serving(settings(backend)) as served:
        await GOING[way](served, backend, "get_status", {})
        await until(lambda: backend.ended == 1)


@pytest.mark.parametrize("way", GOING)
async def test_a_deletion_that_has_begun_goes_on_without_its_caller(
    backend: TenantBackend, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(settings(backend)) as served:
        stored = {"user_id": "u", "session_id": "s", "interactions": turns("x"), "request_id": "r"}
        await post(served, "publish_interaction", stored)
        backend.held = DELETE
        await GOING[way](served, backend, "delete_session", {"session_id": "s"})
        # Whatever follows on another connection has been seen by the server after the caller's end.
        await post(served, "list_sessions", {})
        assert backend.ended == 0
        backend.release.set()
        await until(lambda: len(events(caplog, "call")) == 3)
        assert (await post(served, "get_request", {"request_id": "r"}))["isError"]


async def test_a_client_of_2025_can_cancel_by_saying_so(backend: TenantBackend) -> None:
    backend.held = READ
    async with (
        serving(settings(backend)) as served,
        connected(served.url, served.headers, mode="legacy") as client,
    ):
        with anyio.move_on_after(20) as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "get_status", {})
                await until(lambda: backend.holding == 1)
                tasks.cancel_scope.cancel()
        assert not scope.cancelled_caught
        await until(lambda: backend.ended == 1)


async def test_a_call_leaves_one_line_with_what_it_takes_to_follow_it(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(settings(backend)) as served:
        await post(served, "list_sessions", {})
        await post(served, "get_request", {"request_id": "none"})
        await post(served, "canary_tool", {})
    good, missing, unknown = events(caplog, "call")
    known = {"time", "event", "tool", "outcome", "ms", "correlation_id", "rest_calls", "call_id", "caller"}
    assert good.keys() == known
    assert len({good["call_id"], missing["call_id"], unknown["call_id"]}) == 3
    assert (good["tool"], good["outcome"]) == ("list_sessions", "ok")
    assert (missing["tool"], missing["outcome"]) == ("get_request", "error")
    assert (unknown["tool"], unknown["outcome"]) == ("unknown", "error")
    assert "canary" not in caplog.text


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("carrier", ["header", "meta"])
async def test_the_callers_trace_goes_on_into_the_rest_call(
    backend: TenantBackend, carrier: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    given, body = modern_call("list_sessions", {})
    if carrier == "header":
        given["traceparent"] = PARENT
    else:
        body["params"]["_meta"]["traceparent"] = PARENT
    async with serving(settings(backend)) as served, httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{served.url}/mcp", headers=given | AUTHORIZED, json=body)
        assert reply.status_code == 200
    assert backend.headers["traceparent"].split("-")[1] == TRACE
    assert events(caplog, "call")[0]["trace_id"] == TRACE
