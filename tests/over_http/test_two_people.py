"""What one person keeps shows another nothing, wherever it can be looked for."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from tests.over_http.test_access_tokens import as_person, serving_people
from tests.support.issuer import issuing
from tests.support.serving import turns

pytestmark = pytest.mark.anyio

MARK = "quince"
"""In all that the first person keeps, and never in what the second one types."""

SESSION = "s-7"
THIS = "THIS"
TEMPLATE = "reflexio://sessions/{session_id}"


async def done(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert result.structured_content
    return result.structured_content


async def publish(client: Client, session: str, word: str) -> str:
    given = {"session_id": session, "source": word, "interactions": turns(f"{word} jam")}
    return (await done(client, "publish_interaction", **given))["request_id"]


@pytest.fixture
async def people(tmp_path: Path) -> AsyncIterator[tuple[Client, Client]]:
    folder = str(tmp_path / "copies")
    with issuing() as issuer:
        async with (
            serving_people(issuer, recovery_days=1, recovery_dir=folder, confirm="off") as served,
            as_person(served, issuer.token("ann")) as ann,
            as_person(served, issuer.token("bob")) as bob,
        ):
            yield ann, bob


Look = Callable[[Client, str], Awaitable[Any]]


def tool(name: str, **arguments: Any) -> Look:
    """A call; in place of `THIS` among its arguments goes the id of what the first person keeps."""

    def call(client: Client, request: str) -> Awaitable[Any]:
        given = {
            key: [request] if value == [THIS] else request if value == THIS else value
            for key, value in arguments.items()
        }
        return client.call_tool(name, given)

    return call


def explored(view: str, **arguments: Any) -> Look:
    return tool("explorer_data", view=view, **arguments)


def resource(address: str) -> Look:
    return lambda client, request: client.read_resource(address.replace(THIS, request))


def completed(name: str, ref: PromptReference | ResourceTemplateReference) -> Look:
    async def typing(client: Client, request: str) -> list[str]:
        # The first keystroke may come before what is offered was read.
        for _ in range(100):
            if found := (await client.complete(ref, {"name": name, "value": ""})).completion.values:
                return found
            await anyio.sleep(0.02)
        return []

    return typing


SURFACES: dict[str, Look] = {
    "list_requests": tool("list_requests", detail="full"),
    "list_sessions": tool("list_sessions"),
    "get_request": tool("get_request", request_id=THIS),
    "audit_traffic": tool("audit_traffic", session_id=SESSION),
    "explore_traffic": tool("explore_traffic"),
    "get_status": tool("get_status"),
    "restore_requests": tool("restore_requests"),
    "the page's rows": explored("rows"),
    "the page's rows by id": explored("rows", request_ids=[THIS], uncovered=True),
    "the page's request": explored("request", request_id=THIS, uncovered=True),
    "the page's export": explored("export", request_ids=[THIS], uncovered=True),
    "a session": resource(f"reflexio://sessions/{SESSION}"),
    "a request": resource(f"reflexio://requests/{THIS}"),
    "the status": resource("reflexio://status"),
    "completion in a prompt": completed("source", PromptReference(name="clean_up_test_run")),
    "completion in an address": completed("source", ResourceTemplateReference(uri=TEMPLATE)),
    "the ids of a receipt": tool("get_status", receipt="1"),
}


async def seen(client: Client, look: Look, request: str) -> str:
    try:
        return str(await look(client, request))
    except MCPError as error:
        return str(error)


async def test_nobody_else_sees_it_on_any_surface(people: tuple[Client, Client]) -> None:
    ann, bob = people
    request = await publish(ann, SESSION, MARK)
    await publish(ann, f"{MARK}-gone", MARK)
    gone = await done(ann, "delete_session", session_id=f"{MARK}-gone")
    await publish(ann, f"{MARK}-later", MARK)
    await done(ann, "delete_session", session_id=f"{MARK}-later", wait_for_response=False)
    for name, look in SURFACES.items():
        for person, shown in ((ann, True), (bob, False)):
            text = await seen(person, look, request)
            # A list of copies names nothing but the copies.
            assert (MARK in text or gone["copy_id"] in text) == shown, name
    assert (await bob.call_tool("restore_requests", {"copy_id": gone["copy_id"]})).is_error
    named = await bob.call_tool("list_requests", {"user_id": "ann"})
    assert "fixed by this server's configuration or by who is calling" in str(named.content)
    for name, arguments in (
        ("delete_request", {"request_id": request}),
        ("delete_session", {"session_id": SESSION}),
    ):
        assert MARK not in str(await bob.call_tool(name, arguments)), name
    assert MARK in await seen(ann, SURFACES["get_request"], request)
    assert (await done(ann, "restore_requests", copy_id=gone["copy_id"]))["restored"] == 1


async def test_nobody_else_hears_of_it(people: tuple[Client, Client]) -> None:
    ann, bob = people
    request = await publish(ann, SESSION, MARK)
    watched = [f"reflexio://sessions/{SESSION}", f"reflexio://requests/{request}", "reflexio://sessions/bobs"]
    with anyio.fail_after(60):
        async with (
            ann.listen(resource_subscriptions=watched) as of_ann,
            bob.listen(resource_subscriptions=watched) as of_bob,
        ):
            await done(ann, "delete_request", request_id=request)
            assert {await anext(of_ann), await anext(of_ann)} == {ResourceUpdated(uri) for uri in watched[:2]}
            await publish(bob, "bobs", "pear")
            assert await anext(of_bob) == ResourceUpdated(watched[2]), "the first that reaches the other"
