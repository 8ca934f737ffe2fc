"""Each caller sees its own data and no other's."""

import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import httpx
import pytest
from mcp.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.callers import Caller
from reflexio_mcp.server.client_pool import ClientPool, PoolFull
from reflexio_mcp.settings import ConfigurationError, Settings
from tests.over_http.test_attacks import ask, events
from tests.support.serving import TOKEN, Served, connected, modern_call, serving, turns
from tests.support.tenants import TenantBackend, tenant_backend

pytestmark = pytest.mark.anyio

WAYS: list[dict[str, Any]] = [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}]
NAMES = ["streamable-2026", "streamable-2025", "sse"]
STATE_KEYS = ("k" * 32,)


@pytest.fixture
async def backend() -> AsyncIterator[TenantBackend]:
    async with tenant_backend() as backend:
        yield backend


def tenants(backend: TenantBackend, **more: Any) -> Settings:
    options: dict[str, Any] = {
        "url": backend.url,
        "tenancy": "header",
        "confirm": "preview",
        "state_keys": STATE_KEYS,
    }
    options = options | {"sessions": "keep"} | more
    return Settings(**options)


def bring(key: str, user: str = "") -> dict[str, str]:
    headers = {"authorization": f"Bearer {TOKEN}", "x-reflexio-api-key": key}
    return headers | ({"x-reflexio-user-id": user} if user else {})


def as_caller(served: Served, key: str, user: str = "", **way: Any) -> AbstractAsyncContextManager[Client]:
    return connected(served.url, bring(key, user), **way)


async def publish(client: Client, user: str, text: str, session: str = "s") -> dict[str, Any]:
    given = {"user_id": user, "session_id": session, "interactions": turns(text)}
    result = await client.call_tool("publish_interaction", given)
    assert not result.is_error, result
    assert result.structured_content
    return result.structured_content


async def refused(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result
    return str(result.content)


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/"])
async def test_without_a_key_there_are_no_tools(backend: TenantBackend, path: str) -> None:
    async with serving(tenants(backend)) as served:
        reply = await ask(served, {"authorization": f"Bearer {TOKEN}"}, path=path)
        assert reply.status_code == 403
        assert "X-Reflexio-API-Key" in reply.text
    assert not backend.calls


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_two_keys_see_nothing_of_each_other(backend: TenantBackend, way: dict[str, Any]) -> None:
    async with (
        serving(tenants(backend)) as served,
        as_caller(served, "key-a", **way) as a,
        as_caller(served, "key-b", **way) as b,
    ):
        stored = await publish(a, "ann", "a secret of a")
        assert (await b.call_tool("list_requests", {})).structured_content["returned"] == 0
        await refused(b, "get_request", {"request_id": stored["request_id"]})
        seen = await a.call_tool("list_requests", {})
        assert seen.structured_content["returned"] == 1
    assert set(backend.calls) == {"key-a", "key-b"}


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_a_caller_that_names_its_user_is_confined_to_it(
    backend: TenantBackend, way: dict[str, Any]
) -> None:
    async with (
        serving(tenants(backend)) as served,
        as_caller(served, "key", **way) as everybody,
        as_caller(served, "key", "ann", **way) as ann,
    ):
        theirs = await publish(everybody, "bob", "of bob")
        own = await publish(ann, "", "of ann")
        assert own["user_id"] == "ann"
        for tool, arguments in (
            ("list_requests", {}),
            ("list_sessions", {}),
            ("list_requests", {"user_id": "ann"}),
        ):
            seen = str((await ann.call_tool(tool, arguments)).structured_content)
            assert "bob" not in seen
        for tool in ("list_requests", "list_sessions"):
            assert "user_id" in await refused(ann, tool, {"user_id": "bob"})
        await refused(
            ann, "publish_interaction", {"user_id": "bob", "session_id": "s", "interactions": turns("x")}
        )
        await refused(ann, "delete_session", {"session_id": "s", "user_id": "bob"})
        await refused(ann, "get_request", {"request_id": theirs["request_id"]})
        plan = (await ann.call_tool("delete_session", {"session_id": "s"})).structured_content
        done = await ann.call_tool("delete_session", {"session_id": "s", "confirm": plan["confirm"]})
        assert done.structured_content["deleted"] == 1
        kept = await everybody.call_tool("get_request", {"request_id": theirs["request_id"]})
        assert not kept.is_error


@pytest.mark.parametrize(
    "headers",
    [
        [("x-reflexio-user-id", "bob")],
        [("x-reflexio-user-id", "ann"), ("x-reflexio-user-id", "bob")],
        [("x-reflexio-user-id", "ann, bob")],
        [("x-reflexio-user-id", "ann,bob")],
        [("X-REFLEXIO-USER-ID", "ann"), ("X-Reflexio-User-Id", "bob")],
        [("x-reflexio-user-id", "")],
        [("x-reflexio-api-key", "other")],
        [("x-reflexio-api-key", "key, other")],
    ],
)
async def test_headers_never_widen_what_the_operator_fixed(
    backend: TenantBackend, headers: list[tuple[str, str]]
) -> None:
    settings = tenants(backend, api_key="key", user_id="ann")
    async with serving(settings) as served:
        given = [("authorization", f"Bearer {TOKEN}"), *headers]
        if not any(name.lower() == "x-reflexio-api-key" for name, _ in headers):
            given.append(("x-reflexio-api-key", "key"))
        reply = await ask(served, given)
        assert reply.status_code in (400, 403)
        narrowed = await ask(served, bring("key", "ann"))
        assert narrowed.status_code == 200
    assert not backend.calls


@pytest.mark.parametrize("name", ["x-reflexio-api-key", "x-reflexio-user-id"])
async def test_without_tenancy_a_callers_headers_are_refused_and_not_ignored(name: str) -> None:
    async with serving(Settings()) as served:
        reply = await ask(served, {"authorization": f"Bearer {TOKEN}", name: "x"})
        assert reply.status_code == 403
        assert "leave" in reply.text


async def test_a_cursor_of_another_tenant_is_refused(backend: TenantBackend) -> None:
    async with (
        serving(tenants(backend)) as served,
        as_caller(served, "key-a") as a,
        as_caller(served, "key-b") as b,
    ):
        for number in range(3):
            await publish(a, "u", "of a", f"session-{number}")
            await publish(b, "u", "of b", f"session-{number}")
        first = (await a.call_tool("list_sessions", {"limit": 1})).structured_content
        assert "cursor" in await refused(b, "list_sessions", {"limit": 1, "cursor": first["cursor"]})
        second = await a.call_tool("list_sessions", {"limit": 1, "cursor": first["cursor"]})
        assert not second.is_error


@pytest.mark.parametrize("others", [("key-b", ""), ("key-a", "u")], ids=["another key", "another scope"])
async def test_a_code_of_another_tenant_deletes_nothing(
    backend: TenantBackend, others: tuple[str, str]
) -> None:
    async with (
        serving(tenants(backend)) as served,
        as_caller(served, "key-a") as a,
        as_caller(served, *others) as b,
    ):
        same = {"session_id": "s", "interactions": turns("x"), "request_id": "the-same-id"}
        for client in (a, b) if others[0] == "key-b" else (a,):
            await client.call_tool("publish_interaction", same | {"user_id": "u"})
        plan = (await a.call_tool("delete_session", {"session_id": "s"})).structured_content
        tried = await b.call_tool("delete_session", {"session_id": "s", "confirm": plan["confirm"]})
        assert tried.structured_content["deleted"] == 0
        assert not (await b.call_tool("get_request", {"request_id": "the-same-id"})).is_error


async def test_a_promised_deletion_and_its_receipt_are_its_callers_alone(backend: TenantBackend) -> None:
    async with (
        serving(tenants(backend, confirm="off")) as served,
        as_caller(served, "key-a") as a,
        as_caller(served, "key-b") as b,
    ):
        await publish(a, "u", "x")
        await a.call_tool("delete_session", {"session_id": "s", "wait_for_response": False})
        with anyio.fail_after(60):
            # The promise is kept in the background; asking again is how a caller learns of it.
            while "done" not in str((await a.call_tool("get_status", {})).structured_content["deletions"]):
                pass
        assert (await b.call_tool("get_status", {})).structured_content["deletions"] == []
        assert (await a.call_tool("get_status", {"receipt": "1"})).structured_content["of"] == 1
        assert (await b.call_tool("get_status", {"receipt": "1"})).is_error


async def test_a_session_belongs_to_the_caller_that_opened_it(backend: TenantBackend) -> None:
    async with serving(tenants(backend)) as served, httpx.AsyncClient(timeout=60) as client:
        session = (await ask(served, bring("key-a"))).headers["mcp-session-id"]
        mine, stolen = ({"mcp-session-id": session} | bring(key) for key in ("key-a", "key-b"))
        assert (await client.delete(f"{served.url}/mcp", headers=stolen)).status_code == 404
        assert (await client.delete(f"{served.url}/mcp", headers=mine)).status_code == 200
        async with client.stream("GET", f"{served.url}/sse", headers=bring("key-a")) as stream:
            lines = stream.aiter_lines()
            while not (line := await anext(lines)).startswith("data: "):
                pass
            address = served.url + line.removeprefix("data: ")
            message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
            assert (await client.post(address, headers=bring("key-b"), json=message)).status_code == 404
            assert (await client.post(address, headers=bring("key-a"), json=message)).status_code == 202


async def test_logs_tell_callers_apart_without_naming_them(
    backend: TenantBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reflexio_mcp")
    async with serving(tenants(backend)) as served:
        for key, user in (
            ("canary-key-a", "canary-ann"),
            ("canary-key-a", "canary-bob"),
            ("canary-key-b", ""),
        ):
            async with as_caller(served, key, user) as client:
                await client.call_tool("get_status", {})
    assert len({line["caller"] for line in events(caplog, "call")}) == 3
    assert not [
        one for one in caplog.records if one.name.startswith("reflexio_mcp") and "canary" in one.getMessage()
    ]


async def test_clients_of_many_keys_are_bounded_and_each_call_still_has_its_own(
    backend: TenantBackend,
) -> None:
    async with serving(tenants(backend, max_callers=4)) as served, httpx.AsyncClient(timeout=60) as client:
        for number in range(20):
            headers, body = modern_call(
                "publish_interaction",
                {"user_id": "u", "session_id": "s", "interactions": turns("x"), "request_id": "the-same-id"},
            )
            reply = await client.post(
                f"{served.url}/mcp", headers=headers | bring(f"key-{number}"), json=body
            )
            assert not reply.json()["result"].get("isError"), reply.text
        assert served.app
        assert len(served.app.server.runtime.scopes.pool) == 4
    assert len(backend.stores) == 20


async def test_a_client_that_is_in_use_is_not_the_one_that_makes_room() -> None:
    opened: list[ReflexioClient] = []

    def open_client(key: str) -> ReflexioClient:
        opened.append(ReflexioClient("http://127.0.0.1:9", api_key=key))
        return opened[-1]

    promised: set[str] = set()
    pool = ClientPool(open_client, 2, promised.__contains__)
    one, two, three = (Caller(name, key_id=name) for name in ("one", "two", "three"))
    async with pool.lease(one) as first:
        async with pool.lease(two):
            with pytest.raises(PoolFull):
                async with pool.lease(three):
                    pass
        promised.add("two")
        with pytest.raises(PoolFull):
            async with pool.lease(three):
                pass
        promised.clear()
        async with pool.lease(three):
            assert not first._closed
    assert len(pool) == 2
    await pool.aclose()
    assert all(client._closed for client in opened[:2])


def test_tenancy_without_headers_to_read_stops_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    from reflexio_mcp.cli import main

    assert main(["serve", "--tenancy", "header", "--url", "http://127.0.0.1:9"]) == 2
    assert "--transport http" in capsys.readouterr().err


def test_tenancy_never_means_the_embedded_store() -> None:
    assert not Settings(tenancy="header").embedded
    assert Settings(tenancy="header").base_url.startswith("https://")


def test_a_short_state_key_stops_the_start() -> None:
    from reflexio_mcp.settings import load

    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_STATE_KEYS") as caught:
        load({"REFLEXIO_MCP_STATE_KEYS": "canary"})
    assert "canary" not in str(caught.value)
