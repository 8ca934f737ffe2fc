"""What one person keeps shows another nothing, wherever it can be looked for."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from reflexio_mcp.toolkit.explorer_page import PAGE_KEY
from reflexio_mcp.traffic.audit import run
from tests.deletion.support import URL, Person, World
from tests.over_http.test_access_tokens import as_person, bearer, serving_people, signing_in
from tests.support.issuer import issuing
from tests.support.serving import Served, message_of, modern_call, serving, turns

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


async def said(client: Client, tool: str, meta: Any = None, **arguments: Any) -> str:
    """All that a call gives, an error too, without the marks around stored words, which are new each time."""
    result = await client.call_tool(tool, arguments, meta=meta)
    text = f"{result.is_error} {result.content} {result.structured_content}"
    return re.sub(r"<<(stored text|end) [0-9a-f]{8}", r"<<\1", text)


def swapped(arguments: dict[str, Any], sent: str, other: str) -> dict[str, Any]:
    """The same arguments with another id."""
    return json.loads(json.dumps(arguments).replace(sent, other))


async def test_a_cursor_leads_nobody_else_on(
    people: tuple[Client, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = people
    monkeypatch.setattr(run, "AUDIT_SECONDS", 0.0)
    for number in range(3):
        await publish(ann, f"{MARK}-{number}", MARK)
        await publish(bob, f"bobs-{number}", "pear")
    for name, arguments in (
        ("list_requests", {"limit": 1}),
        ("list_sessions", {"limit": 1}),
        ("audit_traffic", {}),
    ):
        first = await done(ann, name, **arguments)
        cursor = first["cursor"] if "cursor" in first else first["go_on"]["arguments"]["cursor"]
        refused = await said(bob, name, cursor=cursor)
        assert "start again without it" in refused, name
        assert refused == await said(bob, name, cursor="made-up"), name
        assert await done(ann, name, cursor=cursor), "it was one that goes on"


FORM = {"session_id": SESSION}


async def with_form(served: Served, token: str, **answers: Any) -> dict[str, Any]:
    """Ask to delete a session as a client that shows forms, or answer the form."""
    headers, body = modern_call("delete_session", FORM)
    body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"elicitation": {"form": {}}}
    body["params"] |= answers
    async with httpx.AsyncClient(timeout=60) as http:
        return message_of(await http.post(f"{served.url}/mcp", json=body, headers=headers | bearer(token)))


async def test_nobody_else_answers_an_open_form() -> None:
    with issuing() as issuer:
        tokens = issuer.token("ann"), issuer.token("bob")
        async with (
            serving_people(issuer, confirm="auto") as served,
            as_person(served, tokens[0]) as ann,
            as_person(served, tokens[1]) as bob,
        ):
            # The same call of both, so that only who answers differs.
            await publish(ann, SESSION, MARK)
            await publish(bob, SESSION, "pear")
            asked = (await with_form(served, tokens[0]))["result"]
            [key] = asked["inputRequests"]
            yes = {key: {"action": "accept", "content": {"delete": True}}}
            state = asked["requestState"]
            refused = await with_form(served, tokens[1], requestState=state, inputResponses=yes)
            made_up = f"v1.{'A' * (len(state) - 3)}"
            assert "Nothing was done" in refused["error"]["message"]
            assert refused == await with_form(served, tokens[1], requestState=made_up, inputResponses=yes)
            for person in (ann, bob):
                assert (await done(person, "list_requests"))["returned"] == 1
            answered = await with_form(served, tokens[0], requestState=state, inputResponses=yes)
            assert answered["result"]["structuredContent"]["deleted"] == 1
            assert (await done(ann, "list_requests"))["returned"] == 0
            assert (await done(bob, "list_requests"))["returned"] == 1


async def test_the_pass_of_a_page_is_nothing_in_other_hands() -> None:
    asked = Person(lambda _: "decline")
    made_up: Any = {PAGE_KEY: "made-up"}
    with issuing() as issuer:
        async with (
            serving_people(issuer, confirm="auto") as served,
            as_person(served, issuer.token("ann"), elicitation_callback=asked) as ann,
            as_person(served, issuer.token("bob"), elicitation_callback=asked) as bob,
        ):
            kept = await publish(ann, SESSION, MARK)
            nothing = str(uuid.uuid4())
            own = await publish(bob, SESSION, "pear")
            opened = [await ann.call_tool("explore_traffic", {}), await bob.call_tool("explore_traffic", {})]
            passes: list[Any] = [{PAGE_KEY: (one.meta or {})[PAGE_KEY]} for one in opened]
            anns, bobs = passes
            plan = await ann.call_tool("explorer_data", {"view": "plan", "request_ids": [kept]}, meta=anns)
            code = (plan.structured_content or {})["confirm"]
            for name, arguments in (
                ("explorer_data", {"view": "rows", "uncovered": True}),
                ("explorer_data", {"view": "rows", "request_ids": [kept], "uncovered": True}),
                ("explorer_data", {"view": "request", "request_id": kept, "uncovered": True}),
                ("explorer_data", {"view": "export", "request_ids": [kept], "uncovered": True}),
                ("explorer_data", {"view": "plan", "request_ids": [kept]}),
                ("delete_requests", {"request_ids": [kept], "confirm": code}),
            ):
                told = await said(bob, name, anns, **arguments)
                assert MARK not in told, arguments
                assert told == await said(bob, name, made_up, **arguments), arguments
                given = swapped(arguments, kept, nothing)
                assert told.replace(kept, nothing) == await said(bob, name, anns, **given), arguments
            # Nor does it stand for a yes to what is his own: the form still asks.
            plan = await bob.call_tool("explorer_data", {"view": "plan", "request_ids": [own]}, meta=bobs)
            agreed = {"request_ids": [own], "confirm": (plan.structured_content or {})["confirm"]}
            assert not asked.seen
            told = await said(bob, "delete_requests", anns, **agreed)
            assert told == await said(bob, "delete_requests", made_up, **agreed)
            assert len(asked.seen) == 2
            for person in (ann, bob):
                assert (await done(person, "list_requests"))["returned"] == 1
            deleted = await ann.call_tool(
                "delete_requests", {"request_ids": [kept], "confirm": code}, meta=anns
            )
            assert (deleted.structured_content or {})["deleted"] == 1
            assert len(asked.seen) == 2, "it was one that stands for a yes"
            # What was done in a page is told to the one who did it.
            assert "since_then" not in await done(bob, "list_requests")
            assert "since_then" in await done(ann, "list_requests")


@asynccontextmanager
async def learned_about(folder: Path) -> AsyncIterator[tuple[World, Client, Client]]:
    """Two people of a backend that learns."""
    world = World(":memory:", folder)
    copies = {"recovery_days": 1, "recovery_dir": str(folder / "copies")}
    try:
        with issuing() as issuer:
            settings = signing_in(issuer, url=URL, confirm="off", **copies)
            async with (
                serving(settings, client=world.rest, tokens=()) as served,
                as_person(served, issuer.token("ann")) as ann,
                as_person(served, issuer.token("bob")) as bob,
            ):
                yield world, ann, bob
    finally:
        await world.close()


async def test_nobody_else_reaches_what_was_learned(tmp_path: Path) -> None:
    async with learned_about(tmp_path) as (world, ann, bob):
        for one in ("r-kept", "r-gone"):
            await world.put(one, user="ann", session=f"s-{one}", text=f"{MARK} jam")
        await world.put("r-bobs", user="bob", session="s-bobs", text="pear jam")
        await world.learn("l-kept", "r-kept", user="ann", content=f"Likes {MARK}", quote=MARK)
        await world.learn(7, "r-kept", user="ann", content=f"Offer {MARK}", trigger=MARK)
        await world.learn("l-gone", "r-gone", user="ann", content=f"Likes {MARK}")
        await world.learn("l-bobs", "r-bobs", user="bob", content="Likes pears")
        gone = await done(ann, "delete_request", request_id="r-gone", include_learnings=True)
        copy = gone["copy_id"]
        copies = {one: one.read_bytes() for one in (tmp_path / "copies").iterdir()}
        before = dict(world.backend.profiles), dict(world.backend.playbooks), await world.ids()
        assert MARK in await said(ann, "list_learnings")
        listed = await said(bob, "list_learnings")
        assert "Likes pears" in listed
        assert MARK not in listed
        for name, arguments, sent, other in (
            ("list_learnings", {"request_id": "r-kept"}, "r-kept", "r-none"),
            ("list_learnings", {"request_id": "r-gone"}, "r-gone", "r-none"),
            ("list_learnings", {"session_id": "s-r-kept"}, "s-r-kept", "s-r-none"),
            ("delete_learnings", {"learning_ids": ["profile:l-kept"]}, "l-kept", "l-none"),
            ("delete_learnings", {"learning_ids": ["user_playbook:7"]}, "playbook:7", "playbook:8"),
            ("delete_learnings", {"request_id": "r-kept"}, "r-kept", "r-none"),
            ("delete_learnings", {"session_id": "s-r-kept"}, "s-r-kept", "s-r-none"),
            ("restore_requests", {"copy_id": copy}, copy, f"{copy[:-1]}{'ab'[copy[-1] == 'a']}"),
            ("restore_requests", {"copy_id": copy, "request_ids": ["r-gone"]}, copy, "made-up"),
        ):
            given = swapped(arguments, sent, other)
            told = await said(bob, name, **arguments)
            assert MARK not in told, arguments
            assert told.replace(sent, other) == await said(bob, name, **given), arguments
        for name in ("list_learnings", "delete_learnings"):
            named = await said(bob, name, user_id="ann")
            assert named.startswith("True "), name
            assert named == await said(bob, name, user_id="made-up"), name
        assert before == (world.backend.profiles, world.backend.playbooks, await world.ids())
        assert copies == {one: one.read_bytes() for one in (tmp_path / "copies").iterdir()}
        # All that he may reach is his own.
        assert (await done(bob, "delete_learnings", everything=True))["deleted"] == 1
        assert set(world.backend.profiles) == {"l-kept"}
        assert set(world.backend.playbooks) == {7}
        back = await done(ann, "restore_requests", copy_id=copy)
        assert (back["restored"], back["learnings_restored"]) == (1, 1)
