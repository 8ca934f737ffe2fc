"""A form of 2026-07-28 is open in the client alone: who may answer it, where, and until when."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mcp.server import request_state

from reflexio_mcp.cli import main
from tests.support.stdio import MODERN, RpcError, StdioSession, environment, open_session

pytestmark = pytest.mark.anyio

DELETE = {"session_id": "s"}


@asynccontextmanager
async def process(folder: Path, *, runs: Any = main, **env: str) -> AsyncIterator[StdioSession]:
    env = {"REFLEXIO_MCP_STORE": str(folder / "store.db"), **env}
    capabilities = {"elicitation": {}}
    async with open_session(
        MODERN, env=environment(folder, **env), runs=runs, capabilities=capabilities
    ) as one:
        yield one


async def fill(session: StdioSession) -> None:
    interactions = [{"content": "Water."}]
    given = {"user_id": "ann", "session_id": "s", "request_id": "r", "interactions": interactions}
    assert not (await session.call("publish_interaction", given)).get("isError")


async def ask(session: StdioSession) -> dict[str, Any]:
    """Begin a deletion; what the client sends back when the person has said yes."""
    asked = await session.request("tools/call", {"name": "delete_session", "arguments": DELETE})
    [key] = asked["inputRequests"]
    yes = {"action": "accept", "content": {"delete": True}}
    return {"requestState": asked["requestState"], "inputResponses": {key: yes}}


async def answer(session: StdioSession, given: dict[str, Any], **changed: Any) -> dict[str, Any]:
    call = {"name": "delete_session", "arguments": DELETE, **given, **changed}
    return await session.request("tools/call", call)


async def left(session: StdioSession) -> int:
    return (await session.call("list_requests", {}))["structuredContent"]["returned"]


async def test_a_form_that_an_ended_process_showed_is_answered_at_the_next(tmp_path: Path) -> None:
    async with process(tmp_path) as first:
        await fill(first)
        given = await ask(first)
    async with process(tmp_path) as second:
        done = await answer(second, given)
        assert done["structuredContent"]["receipt"]["deleted"]["requests"] == 1
        assert await left(second) == 0


async def test_a_form_that_nobody_answers_holds_nothing_up_and_is_shown_again(tmp_path: Path) -> None:
    async with process(tmp_path) as first:
        await fill(first)
        await ask(first)  # the call has ended, and the client never comes back with an answer
        assert await left(first) == 1
        again = await ask(first)
        done = await answer(first, again)
    assert done["structuredContent"]["receipt"]["deleted"]["requests"] == 1


async def test_an_answer_counts_for_its_own_set_alone_and_once(tmp_path: Path) -> None:
    """What is sealed can be sent again: it agrees to nothing that the person has not seen."""
    async with process(tmp_path) as first:
        await fill(first)
        given = await ask(first)
    async with process(tmp_path) as second:
        assert (await answer(second, given))["structuredContent"]["receipt"]["deleted"]["requests"] == 1
        assert (await answer(second, given))["structuredContent"]["status"] == "not_found"
        # The same id and text, stored again, is another request.
        await fill(second)
        assert (await answer(second, given))["resultType"] == "input_required"
        assert await left(second) == 1


def _later() -> int:
    """Serve in eleven minutes."""
    ahead = SimpleNamespace(time=lambda: time.time() + 660)
    setattr(request_state, "time", ahead)  # noqa: B010
    return main()


OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another call": ({}, {"arguments": {"session_id": "s", "erase": False}}),
    "another tool": ({}, {"name": "delete_requests", "arguments": {"session_id": "s"}}),
    "another user": ({"REFLEXIO_USER_ID": "ann"}, {}),
    "another store": ({}, {}),
    "another time": ({"runs": _later}, {}),
    "forged": ({}, {"requestState": "v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
}


@pytest.mark.parametrize("other", OTHERS)
async def test_nobody_else_can_use_an_open_form_and_what_to_do_is_said(tmp_path: Path, other: str) -> None:
    env, changed = OTHERS[other]
    async with process(tmp_path) as first:
        await fill(first)
        given = await ask(first)
    if other == "another store":  # in the same folder, so with the same key
        env = {"REFLEXIO_MCP_STORE": str(tmp_path / "other.db")}
    async with process(tmp_path, **env) as second:
        if other == "another store":
            await fill(second)
        with pytest.raises(RpcError) as refused:
            await answer(second, given, **changed)
        assert refused.value.code == -32602
        assert refused.value.message.startswith("Nothing was done: the answered form has expired")
        assert "the person is asked again" in refused.value.message
        assert await left(second) == 1


async def test_a_start_writes_no_key(tmp_path: Path) -> None:
    async with process(tmp_path) as session:
        await session.list_tools()
    assert not (tmp_path / "fingerprint.key").exists()


@pytest.mark.parametrize("content", [{"delete": "yes"}, {"delete": 1}, {}])
async def test_an_answer_that_is_no_yes_deletes_nothing_and_is_not_asked_for_again(
    tmp_path: Path, content: dict[str, Any]
) -> None:
    async with process(tmp_path) as session:
        await fill(session)
        given = await ask(session)
        [key] = given["inputResponses"]
        reply = {"action": "accept", "content": content}
        done = await answer(session, given, inputResponses={key: reply})
        assert done.get("isError") or "receipt" not in done["structuredContent"]
        said = "\n".join(part["text"] for part in done["content"])
        assert said.startswith("Nothing was deleted")
        assert "asked again" not in said
        assert "REFLEXIO_MCP_CONFIRM=preview" in said
        assert await left(session) == 1
