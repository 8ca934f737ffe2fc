"""What one person keeps shows another nothing, wherever it can be looked for."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference

from reflexio_mcp.settings import Settings
from tests.support.issuer import AUDIENCE, issuing
from tests.support.serving import bearer, connected, interactions, message_of, modern_call, post, serving

pytestmark = pytest.mark.anyio

MARK = "quince"
"""In all that the first person keeps, and never in what the second one types."""


@pytest.fixture(params=["tokens with a user", "sign-in"])
async def people(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Client, Client]]:
    async with AsyncExitStack() as stack:
        if request.param == "sign-in":
            issuer = stack.enter_context(issuing())
            tokens = {name: issuer.token(name) for name in ("ann", "bob")}
            settings = Settings(
                confirm="off", recovery_days=1, oauth_issuer=issuer.url, oauth_audience=AUDIENCE
            )
            served = await stack.enter_async_context(serving(settings, tokens=()))
        else:
            tokens = {"ann": "token-of-ann", "bob": "token-of-bob"}
            accepted = tuple(f"{name}:{token}" for name, token in tokens.items())
            settings = Settings(confirm="off", recovery_days=1, auth_token=accepted)
            served = await stack.enter_async_context(serving(settings, tokens=accepted))
        ann, bob = [
            await stack.enter_async_context(connected(served.url, bearer(tokens[name])))
            for name in ("ann", "bob")
        ]
        yield ann, bob


async def done(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content
    return result.structured_content


async def publish(client: Client, session: str, word: str) -> str:
    given = {"session_id": session, "source": word, "interactions": interactions(f"{word} jam")}
    return (await done(client, "publish_interaction", **given))["request_id"]


Look = Callable[[Client, str], Awaitable[Any]]


def tool(name: str, **arguments: Any) -> Look:
    """A call; the id of what the first person keeps goes in place of `THIS` among its arguments."""

    def call(client: Client, request: str) -> Awaitable[Any]:
        given = {key: request if value == "THIS" else [request] if value == ["THIS"] else value
                 for key, value in arguments.items()}  # fmt: skip
        return client.call_tool(name, given)

    return call


async def typed(client: Client, _request: str) -> list[str]:
    ref = PromptReference(name="clean_up_test_run")
    for _ in range(20):  # the first keystroke may come before anything was read
        if found := (await client.complete(ref, {"name": "source", "value": ""})).completion.values:
            return found
        await anyio.sleep(0.02)
    return []


SURFACES: dict[str, Look] = {
    "list_requests": tool("list_requests", detail="full"),
    "list_sessions": tool("list_sessions"),
    "get_request": tool("get_request", request_id="THIS"),
    "audit_traffic": tool("audit_traffic", session_id="s-7"),
    "explore_traffic": tool("explore_traffic"),
    "restore_requests": tool("restore_requests"),
    "the page's request": tool("explorer_data", view="request", request_id="THIS", uncovered=True),
    "a session": lambda client, _: client.read_resource("reflexio://sessions/s-7"),
    "a request": lambda client, request: client.read_resource(f"reflexio://requests/{request}"),
    "a completion": typed,
}


async def seen(client: Client, look: Look, request: str) -> str:
    try:
        return str(await look(client, request))
    except MCPError as error:
        return str(error)


async def test_nobody_else_sees_it_on_any_surface(people: tuple[Client, Client]) -> None:
    ann, bob = people
    request = await publish(ann, "s-7", MARK)
    await publish(bob, "bobs", "pear")
    for name, look in SURFACES.items():
        assert MARK not in await seen(bob, look, request), name
    for name in ("list_requests", "get_request", "a session", "a request", "a completion"):
        assert MARK in await seen(ann, SURFACES[name], request), f"{name} shows its owner nothing"


async def test_nobody_else_deletes_it_or_brings_it_back(people: tuple[Client, Client]) -> None:
    ann, bob = people
    request = await publish(ann, "s-7", MARK)
    for name, arguments in (
        ("delete_request", {"request_id": request}),
        ("delete_session", {"session_id": "s-7"}),
        ("delete_requests", {"user_id": "ann"}),
    ):
        assert MARK not in str(await bob.call_tool(name, arguments)), name
    assert MARK in await seen(ann, SURFACES["get_request"], request)
    gone = await done(ann, "delete_request", request_id=request)
    number = gone["receipt"]["number"]
    assert MARK not in str(await bob.call_tool("restore_requests", {"deletion": number}))
    assert (await bob.call_tool("get_request", {"request_id": request})).is_error
    assert (await done(ann, "restore_requests", deletion=number))["restored"]["requests"] == 1


async def test_a_cursor_leads_nobody_else_on(people: tuple[Client, Client]) -> None:
    ann, bob = people
    for number in range(3):
        await publish(ann, f"{MARK}-{number}", MARK)
        await publish(bob, f"bobs-{number}", "pear")
    cursor = (await done(ann, "list_requests", limit=1))["cursor"]
    refused = await bob.call_tool("list_requests", {"cursor": cursor})
    assert MARK not in re.sub(r"<<.*?>>", "", str(refused))


async def test_nobody_else_can_publish_in_a_name(people: tuple[Client, Client]) -> None:
    ann, bob = people
    given = {"session_id": "s", "user_id": "ann", "interactions": interactions("pear")}
    assert (await bob.call_tool("publish_interaction", given)).is_error
    assert not (await done(ann, "list_requests")).get("sessions")


async def test_nobody_else_uses_an_open_session_or_confirms_a_plan() -> None:
    accepted = ("ann:token-of-ann", "bob:token-of-bob")
    settings = Settings(confirm="preview", auth_token=accepted)
    async with serving(settings, tokens=accepted) as served:
        stored = {"session_id": "s", "request_id": "r", "interactions": interactions(MARK)}
        await post(served, "publish_interaction", stored, token="token-of-ann")
        plan = message_of(await post(served, "delete_request", {"request_id": "r"}, token="token-of-ann"))
        code = re.search(r"[0-9A-Z]{4}-[0-9A-Z-]+", str(plan))
        assert code
        confirmed = {"request_id": "r", "confirm": code[0]}
        await post(served, "delete_request", confirmed, token="token-of-bob")
        assert MARK in (await post(served, "get_request", {"request_id": "r"}, token="token-of-ann")).text
        async with connected(served.url, bearer("token-of-ann"), mode="legacy") as client:
            await client.list_tools()
            assert served.app
            [session] = served.app._manager._server_instances
            headers, body = modern_call("list_requests", {})
            headers |= {"mcp-protocol-version": "2025-11-25", "mcp-session-id": session}
            reply = await _sent(served.url, headers | bearer("token-of-bob"), body)
            assert reply == 404


async def _sent(url: str, headers: dict[str, str], body: dict[str, Any]) -> int:
    import httpx

    async with httpx.AsyncClient(timeout=60) as http:
        return (await http.post(f"{url}/mcp", headers=headers, json=body)).status_code
