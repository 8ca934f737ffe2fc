"""A stored request that the service fails to return: everything else is still shown, and it can be deleted."""

import json
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.rest.helpers import FakeTime
from tests.support.embedded import Clock
from tests.support.facts import fact_of, text_of
from tests.support.store_app import StoreApp

pytestmark = pytest.mark.anyio

AGENT = {"user-agent": "reflexio-mcp-tests/0"}
DEEP = 300
"""Levels of nesting that the real server stores and then fails to return."""


class Service:
    """A service with a request that it fails to return.

    Args:
        raw: calls it directly.
        transport: where a client of ours finds it.
        url: its address.
        next_second: makes later requests arrive in a later second, where the test can.
    """

    def __init__(
        self, raw: httpx.AsyncClient, transport: Any, url: str, next_second: Callable[[], None]
    ) -> None:
        self.raw = raw
        self.transport = transport
        self.url = url
        self.next_second = next_second
        self.user = f"user-{uuid.uuid4()}"
        self.reads = 0

    async def publish(self, request_id: str, session_id: str, *, deep: bool = False, user: str = "") -> None:
        data: dict[str, Any] = {}
        for _ in range(DEEP if deep else 0):
            data = {"a": data}
        used = [{"tool_name": "search", "tool_data": data}]
        body = {
            "user_id": user or self.user,
            "session_id": session_id,
            "request_id": request_id,
            "evaluation_only": True,
            "interaction_data_list": [{"content": f"words of {request_id}", "tools_used": used}],
        }
        reply = await self.raw.post("/api/publish_interaction", json=body)
        assert reply.json()["success"], reply.text
        self.next_second()

    async def is_stored(self, request_id: str) -> bool:
        reply = await self.raw.get("/api/learning_status", params={"request_id": request_id})
        return reply.status_code == 200

    @asynccontextmanager
    async def server(self, **env: str) -> AsyncGenerator[Client]:
        time = FakeTime()
        # What is looked at here is what comes back, and not when: a server under test can be busy.
        rest = ReflexioClient(self.url, transport=self.transport, sleep=time.sleep, timeout=120)
        variables = {"REFLEXIO_MCP_CONFIRM": "preview", "REFLEXIO_MCP_RECOVERY_DAYS": "0"}
        settings = load({"REFLEXIO_URL": self.url, **variables, **env})
        async with Client(ReflexioServer(settings, client=rest)) as client:
            yield client
        await rest.aclose()


@asynccontextmanager
async def failing_store() -> AsyncGenerator[Service]:
    """The embedded store, which answers 500 as the real server does."""
    clock = Clock()
    store = StoreApp(":memory:", clock=clock)
    inner = httpx.ASGITransport(app=store)
    service: Service

    async def answer(request: httpx.Request) -> httpx.Response:
        response = await inner.handle_async_request(request)
        await response.aread()
        if request.url.path == "/api/get_requests":
            service.reads += 1
            if response.text.count('"a":') >= DEEP:
                return httpx.Response(500, text="Internal Server Error")
        return response

    def next_second() -> None:
        clock.now += 1

    async with httpx.AsyncClient(transport=inner, base_url="http://store", headers=AGENT) as raw:
        service = Service(raw, httpx.MockTransport(answer), "http://store", next_second)
        yield service
    await store.aclose()


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.live)])
async def service(
    request: pytest.FixtureRequest, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Service]:
    if request.param == "embedded":
        async with failing_store() as made:
            yield made
        return
    url = request.getfixturevalue("unused_reflexio_url")
    async with httpx.AsyncClient(
        transport=live_transport(), base_url=url, headers={**AGENT, "connection": "close"}, timeout=30
    ) as raw:
        yield Service(raw, None, url, lambda: None)
        # Nobody else could list anything on this server while it is there.
        for name in ("deep", "other-deep"):
            await raw.request("DELETE", "/api/delete_request", json={"request_id": name})


async def call(client: Client, tool: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return text_of(result), result.structured_content


def ids(found: dict[str, Any]) -> list[str]:
    return [one["request_id"] for group in found["sessions"] for one in group["requests"]]


async def stock(service: Service) -> list[str]:
    """Six sessions of one request; the third newest holds the one that cannot be returned beside another."""
    names = [f"r{number}-{uuid.uuid4()}" for number in range(6)]
    for number, name in enumerate(names):
        if number == 3:
            await service.publish("deep", f"s3-{service.user}", deep=True)
        await service.publish(name, f"s{number}-{service.user}")
    return names


async def test_lists_go_round_it_and_say_so(service: Service) -> None:
    names = await stock(service)
    async with service.server() as client:
        text, found = await call(client, "list_requests", user_id=service.user)
        assert sorted(ids(found)) == sorted(names[:3] + names[4:])
        assert len(found["unreadable"]) == 1
        assert not found["looked_at"]["complete"]
        assert "Reflexio fails to return a session whose newest request arrived" in text
        assert "That is all" not in text
        text, found = await call(client, "list_sessions", user_id=service.user)
        assert found["returned"] == 5
        assert "total" not in found
        assert "delete_request with its id and erase deletes a request that cannot be shown" in text


@pytest.mark.parametrize("tool", ["list_sessions", "list_requests"])
async def test_a_store_with_nothing_else_is_not_called_empty(tool: str) -> None:
    async with failing_store() as service:
        await service.publish("deep", "s", deep=True)
        async with service.server() as client:
            text, found = await call(client, tool)
    assert found["returned"] == 0
    assert "Some requests could not be read." in text
    assert "Nothing is stored" not in text


async def test_pages_lead_past_it(service: Service) -> None:
    names = await stock(service)
    seen: list[str] = []
    async with service.server() as client:
        cursor = ""
        for _ in range(12):
            _, found = await call(client, "list_requests", user_id=service.user, limit=1, cursor=cursor)
            seen += ids(found)
            cursor = found.get("cursor", "")
            if not cursor:
                break
    assert not cursor
    assert sorted(seen) == sorted(names[:3] + names[4:])


async def test_a_list_of_its_session_shows_what_else_is_in_it(service: Service) -> None:
    if service.transport is None:
        pytest.skip("the real server's clock cannot be moved, and the API has no grain below a second")
    names = await stock(service)
    async with service.server() as client:
        service.next_second()
        text, found = await call(client, "list_requests", session_id=f"s3-{service.user}")
    # The API takes no period of a single second: what arrived in the second after it goes with it.
    assert ids(found) in ([names[3]], [])
    assert found["unreadable"][0]["first"] <= found["unreadable"][0]["last"]
    assert "Reflexio fails to return requests that arrived" in text


async def test_an_audit_looks_at_the_rest_and_says_first_what_it_could_not_read(service: Service) -> None:
    await stock(service)
    async with service.server() as client:
        text, found = await call(client, "audit_traffic", user_id=service.user, start_time="2020-01-01")
    assert found["traffic"]["requests"] == 5
    assert {"code": "parts_not_audited", "number": 1} in found["facts"]
    assert "could not return 1 part of the traffic" in text.splitlines()[1]


async def test_it_cannot_be_shown_but_the_answer_says_that_it_is_there(service: Service) -> None:
    await stock(service)
    async with service.server() as client:
        result = await client.call_tool("get_request", {"request_id": "deep"})
        assert result.is_error
        assert "is stored, but Reflexio fails to return it" in text_of(result)
        assert "It can be deleted with erase." in text_of(result)
        result = await client.call_tool("get_request", {"request_id": "not there"})
        assert "No request" in text_of(result)


async def test_it_is_deleted_by_id_after_a_plan_that_says_what_is_not_known(service: Service) -> None:
    names = await stock(service)
    async with service.server() as client:
        text, found = await call(client, "delete_request", request_id="deep")
        assert "Reflexio fails to return 1 of these requests" in text
        assert "What they contain is unknown" in text
        assert "1970" not in text
        assert await service.is_stored("deep")
        text, found = await call(
            client, "delete_request", request_id="deep", confirm=found["plan"]["confirm"]
        )
        assert found["receipt"]["deleted"]["requests"] == 1
        assert found["status"] == "complete"
        assert "checked by reading again" in text
        assert not await service.is_stored("deep")
        _, found = await call(client, "list_requests", user_id=service.user)
    assert sorted(ids(found)) == sorted(names)


async def test_where_no_user_is_named_it_is_stepped_round_too(service: Service) -> None:
    """Everybody's traffic: what a list without any filter holds, which the service answers with 500."""
    names = await stock(service)
    reply = await service.raw.post("/api/get_requests", json={"top_k": 100})
    assert reply.status_code == 500 or isinstance(service.transport, httpx.MockTransport)
    async with service.server() as client:
        for tool in ("list_sessions", "list_requests", "audit_traffic"):
            arguments = {} if tool == "audit_traffic" else {"limit": 100}
            text, found = await call(client, tool, **arguments)
            parts = [fact for fact in found["facts"] if fact["code"].startswith("parts_")]
            assert parts, tool
            assert "Reflexio fails to return" in text or "could not return" in text
        seen: list[str] = []
        cursor = ""
        while True:
            _, found = await call(client, "list_requests", limit=3, **({"cursor": cursor} if cursor else {}))
            seen += ids(found)
            cursor = found.get("cursor", "")
            if not cursor:
                break
        assert {*names[:3], *names[4:]} <= set(seen)
        result = await client.call_tool("get_request", {"request_id": "deep"})
        assert "is stored, but Reflexio fails to return it" in text_of(result)
        text, found = await call(client, "delete_requests", request_ids=["deep", names[0]])
        assert "What they contain is unknown" in text
        again = {"request_ids": ["deep", names[0]], "confirm": found["plan"]["confirm"]}
        text, found = await call(client, "delete_requests", **again)
        assert found["receipt"]["deleted"]["requests"] == 2
        _, found = await call(client, "list_sessions", limit=100)
        assert "unreadable" not in found
    assert not await service.is_stored("deep")


async def test_a_set_with_it_and_others_goes_as_planned(service: Service) -> None:
    names = await stock(service)
    async with service.server() as client:
        wanted = ["deep", names[0], names[5]]
        _, found = await call(client, "delete_requests", request_ids=wanted)
        assert found["plan"]["selected"]["requests"] == 3
        _, found = await call(client, "delete_requests", request_ids=wanted, confirm=found["plan"]["confirm"])
        assert found["receipt"]["deleted"]["requests"] == 3
    assert not await service.is_stored("deep")


async def test_a_filter_does_not_take_what_could_not_be_looked_at(service: Service) -> None:
    names = await stock(service)
    async with service.server() as client:
        _, found = await call(client, "delete_requests", user_id=service.user)
        assert found["plan"]["selected"]["requests"] == 5
        assert fact_of(found["plan"], "part_unread")
        _, found = await call(
            client, "delete_requests", user_id=service.user, confirm=found["plan"]["confirm"]
        )
        assert found["receipt"]["deleted"]["requests"] == 5
    assert await service.is_stored("deep")
    assert await service.is_stored(names[3]), "it is in the session that could not be read"


async def test_nothing_goes_without_the_recovery_copy_that_was_promised(
    service: Service,
) -> None:
    await stock(service)
    async with service.server(REFLEXIO_MCP_CONFIRM="off", REFLEXIO_MCP_RECOVERY_DAYS="7") as client:
        result = await client.call_tool("delete_request", {"request_id": "deep"})
        assert result.is_error
        assert "no recovery copy can contain" in text_of(result)
        assert "with erase" in text_of(result)
        assert await service.is_stored("deep")
        _, found = await call(client, "delete_request", request_id="deep", erase=True)
        assert found["receipt"]["deleted"]["requests"] == 1


async def test_a_caller_confined_to_a_user_cannot_reach_anothers(service: Service) -> None:
    await service.publish("other-deep", f"s-{service.user}", deep=True, user=f"other-{service.user}")
    await service.publish("deep", f"s-{service.user}", deep=True)
    async with service.server(REFLEXIO_USER_ID=service.user, REFLEXIO_MCP_CONFIRM="off") as client:
        result = await client.call_tool("get_request", {"request_id": "other-deep"})
        assert "No request" in text_of(result)
        _, found = await call(client, "delete_request", request_id="other-deep")
        assert found["status"] == "not_found"
        assert await service.is_stored("other-deep")
        _, found = await call(client, "delete_request", request_id="deep")
        assert found["receipt"]["deleted"]["requests"] == 1


@pytest.mark.parametrize("share", [0.3, 1.0])
async def test_a_service_that_fails_now_and_then_is_not_taken_for_one(share: float) -> None:
    """Faults that have nothing to do with the data never become a plan for what somebody else may own."""
    async with failing_store() as service:
        await service.publish("mine", "s1")
        await service.publish("theirs", "s2", user="other")
        inner, count = service.transport, 0

        async def unsteady(request: httpx.Request) -> httpx.Response:
            nonlocal count
            count += 1
            if request.url.path == "/api/get_requests" and count * share % 1 + share >= 1:
                return httpx.Response(500, text="Internal Server Error")
            return await inner.handle_async_request(request)

        service.transport = httpx.MockTransport(unsteady)
        async with service.server(REFLEXIO_USER_ID=service.user, REFLEXIO_MCP_CONFIRM="off") as client:
            for _ in range(15):
                await client.call_tool("delete_request", {"request_id": "theirs"})
        assert await service.is_stored("theirs")


async def test_going_round_it_takes_a_bounded_number_of_calls() -> None:
    async with failing_store() as service:
        for number in range(120):
            await service.publish(f"r{number}", f"s{number}", deep=number == 77)
        async with service.server() as client:
            service.reads = 0
            _, found = await call(client, "list_sessions", limit=100)
            assert len(found["unreadable"]) == 1
            assert service.reads < 40


@pytest.mark.parametrize("limit", [1, 20])
@pytest.mark.parametrize("narrowed", [{}, {"finding": "prompt-injection"}], ids=["everything", "a finding"])
async def test_a_list_ends_although_the_service_fails_at_every_page(
    limit: int, narrowed: dict[str, str]
) -> None:
    async with failing_store() as service:
        await service.publish("one", "s1")
        inner, calls = service.transport, 0

        async def fail_at_periods(request: httpx.Request) -> httpx.Response:
            nonlocal calls
            calls += 1
            asked = json.loads(request.content or "{}")
            # Another user has nothing, so there the service does not fail.
            if calls <= 1_000 and asked.get("end_time") and not asked.get("user_id"):
                return httpx.Response(500, text="Internal Server Error")
            return await inner.handle_async_request(request)

        service.transport = httpx.MockTransport(fail_at_periods)
        async with service.server() as client:
            asked = {"end_time": "2100-01-01", "limit": limit, **narrowed}
            assert (await client.call_tool("list_requests", asked)).is_error
            assert calls < 300
