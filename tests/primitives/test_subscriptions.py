"""Subscribers of a session or request are notified when this server changes it, and nobody else is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import mcp.types
import pytest
from mcp.client.client import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.toolkit.subscriptions import (
    MOST_SUBSCRIPTIONS,
    Changed,
    ScopedBus,
    Subscriber,
    Subscriptions,
)
from reflexio_mcp.traffic.scope import Scope
from tests.primitives.conftest import call, connecting, facts, publish

pytestmark = [
    pytest.mark.anyio,
    # The SDK's client says so to authors of new clients; old ones go on doing it.
    pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed"),
]

Backend = Callable[[], ReflexioClient]


async def delete(client: Client, request: str, **more: Any) -> None:
    await call(client, "delete_request", request_id=request, **more)


async def test_a_client_of_2026_hears_on_its_stream_what_it_asked_for(backend: Backend, unique: str) -> None:
    async with connecting(backend, "2026-07-28")(REFLEXIO_MCP_CONFIRM="off") as client:
        request = await publish(client, f"ada-{unique}", f"s/{unique}", "one", "two")
        session_uri, request_uri = f"reflexio://sessions/s%2F{unique}", f"reflexio://requests/{request}"
        with anyio.fail_after(60):
            async with client.listen(resource_subscriptions=[session_uri, request_uri]) as stream:
                await publish(client, f"ada-{unique}", f"other-{unique}", "not watched", "no")
                await publish(client, f"ada-{unique}", f"s/{unique}", "three", "four")
                assert await anext(stream) == ResourceUpdated(session_uri)
                await delete(client, request)
                assert {await anext(stream), await anext(stream)} == {
                    ResourceUpdated(session_uri),
                    ResourceUpdated(request_uri),
                }


async def test_a_client_of_2025_hears_until_it_unsubscribes(backend: Backend, unique: str) -> None:
    heard: list[str] = []
    news = anyio.Event()

    async def handler(message: Any) -> None:
        nonlocal news
        if isinstance(message, mcp.types.ResourceUpdatedNotification):
            heard.append(str(message.params.uri))
            news.set()

    options = {"message_handler": handler}
    async with connecting(backend, "legacy")(options=options, REFLEXIO_MCP_CONFIRM="off") as client:
        session = f"reflexio://sessions/s-{unique}"
        await client.subscribe_resource(session)
        await client.subscribe_resource(session)  # again is once
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        with anyio.fail_after(60):
            await news.wait()
        assert heard == [session]
        news = anyio.Event()
        await client.subscribe_resource(f"reflexio://requests/{request}")
        await client.unsubscribe_resource(session)
        await delete(client, request)
        with anyio.fail_after(60):
            await news.wait()
        assert heard == [session, f"reflexio://requests/{request}"]


async def test_a_scheduled_deletion_is_told_when_it_is_done(backend: Backend, unique: str) -> None:
    async with connecting(backend, "2026-07-28")(REFLEXIO_MCP_CONFIRM="off") as client:
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        with anyio.fail_after(60):
            async with client.listen(resource_subscriptions=[f"reflexio://requests/{request}"]) as stream:
                await delete(client, request, wait_for_response=False)
                assert await anext(stream) == ResourceUpdated(f"reflexio://requests/{request}")


async def test_a_restored_request_is_told_to_who_watches_it(
    backend: Backend, unique: str, tmp_path: Path
) -> None:
    env = {
        "REFLEXIO_MCP_CONFIRM": "off",
        "REFLEXIO_MCP_RECOVERY_DAYS": "1",
        "REFLEXIO_MCP_RECOVERY_DIR": str(tmp_path),
    }
    async with connecting(backend, "2026-07-28")(**env) as client:
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        receipt = facts(await call(client, "delete_request", request_id=request))
        with anyio.fail_after(60):
            async with client.listen(resource_subscriptions=[f"reflexio://requests/{request}"]) as stream:
                await call(client, "restore_requests", copy_id=receipt["copy_id"])
                assert await anext(stream) == ResourceUpdated(f"reflexio://requests/{request}")


async def test_only_sessions_and_requests_can_be_watched_by_a_client_of_2025(backend: Backend) -> None:
    async with connecting(backend, "legacy")() as client:
        with pytest.raises(MCPError, match="can be watched"):
            await client.subscribe_resource("reflexio://guide")


async def test_nobody_hears_of_another_key_or_another_user() -> None:
    subscriptions = Subscriptions()
    heard: dict[str, list[str]] = {"own": [], "everybody": [], "other user": [], "other key": []}
    for who, scope in (
        ("own", Subscriber("key", "ada")),
        ("everybody", Subscriber("key", "")),
        ("other user", Subscriber("key", "bob")),
        ("other key", Subscriber("another", "ada")),
    ):
        mine = heard[who]
        ScopedBus(subscriptions, scope).subscribe(lambda event, mine=mine: mine.append(event.uri))  # type: ignore[union-attr]
    subscriptions.tell(Scope(None, "", "key"), [Changed("s", "r", "ada")])  # type: ignore[arg-type]
    assert heard["own"] == heard["everybody"] == ["reflexio://sessions/s", "reflexio://requests/r"]
    assert heard["other user"] == heard["other key"] == []


async def test_a_subscription_ends_with_its_connection(backend: Backend) -> None:
    rest = backend()
    server = ReflexioServer(load({}), client=rest)
    async with Client(server, mode="legacy") as client:
        await client.subscribe_resource("reflexio://sessions/s")
        assert len(server.runtime.subscriptions) == 1
    await rest.aclose()
    assert len(server.runtime.subscriptions) == 0


def test_one_account_cannot_take_all_subscriptions() -> None:
    subscriptions = Subscriptions(share=3)
    ends = [
        subscriptions.add(Subscriber("key-a", f"user-{n}", "account-a"), lambda changed: None)
        for n in range(3)
    ]
    with pytest.raises(MCPError, match="too many subscriptions; end some first"):
        subscriptions.add(Subscriber("key-a", "user-9", "account-a"), lambda changed: None)
    subscriptions.add(Subscriber("key-b", "", "account-b"), lambda changed: None)
    ends[0]()
    ends[0]()  # again is once
    subscriptions.add(Subscriber("key-a", "user-9", "account-a"), lambda changed: None)
    with pytest.raises(MCPError):
        subscriptions.add(Subscriber("key-a", "user-9", "account-a"), lambda changed: None)


async def test_tenants_share_the_subscriptions_of_a_server() -> None:
    tenants = ReflexioServer(load({"REFLEXIO_URL": "http://127.0.0.1:9", "REFLEXIO_MCP_TENANCY": "header"}))
    most = MOST_SUBSCRIPTIONS // 4
    for number in range(most):
        tenants.runtime.subscriptions.add(Subscriber("key", str(number), "account"), lambda changed: None)
    with pytest.raises(MCPError):
        tenants.runtime.subscriptions.add(Subscriber("key", "", "account"), lambda changed: None)
    tenants.runtime.subscriptions.add(Subscriber("other", "", "other"), lambda changed: None)
