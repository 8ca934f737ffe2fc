"""Every tool over a real process in every revision: each reply held to that revision's official schema, each
structured content to the tool's own output schema."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.stdio import MODERN, REVISIONS, Revision, RpcError, StdioSession, environment, open_session

pytestmark = pytest.mark.anyio

PAGE = "reflexio-mcp/page"

INTERACTIONS = [
    {"role": "User", "content": "I cannot eat peanuts.", "user_action": "none"},
    {"role": "Assistant", "content": "Noted.", "tools_used": [{"tool_name": "note", "tool_data": {"n": 1}}]},
]


def publish(request_id: str, session_id: str) -> dict[str, Any]:
    return {
        "user_id": "ann",
        "session_id": session_id,
        "interactions": INTERACTIONS,
        "source": "wire-test",
        "request_id": request_id,
    }


def facts(result: dict[str, Any]) -> dict[str, Any]:
    """The structured content of a call that worked."""
    assert not result.get("isError"), result
    return result["structuredContent"]


async def judge(session: StdioSession) -> None:
    """Judge a finding as the page does, which the host gives its proof with its data."""
    rows = await session.call("explorer_data", {"view": "rows"})
    assert len(facts(rows)["sessions"]) == 2
    page = {PAGE: rows["_meta"][PAGE]}
    judged = {"finding": "probable-secret", "request_ids": ["r1"]}
    assert facts(await session.call("judge_finding", judged, meta=page))["looked_at"] == 1


async def drive(session: StdioSession) -> set[str]:
    """Call tools with arguments that work, and return the names of those called."""
    called: set[str] = set()

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        called.add(tool)
        return facts(await session.call(tool, arguments))

    async def delete(tool: str, **arguments: Any) -> dict[str, Any]:
        """Plan, then act with the plan's code, and return the receipt."""
        plan = (await call(tool, **arguments))["plan"]
        receipt: dict[str, Any] = (await call(tool, **arguments, confirm=plan["confirm"]))["receipt"]
        assert receipt["planned"] == receipt["deleted"] == plan["selected"]
        return receipt

    for request_id, session_id in (("r1", "trip"), ("r2", "trip"), ("r3", "work"), ("r4", "work")):
        stored = await call("publish_interaction", **publish(request_id, session_id))
        assert stored["request_id"] == request_id
    assert (await call("list_sessions"))["returned"] == 2
    assert (await call("list_requests", session_id="trip", detail="full"))["returned"] == 2
    assert len((await call("get_request", request_id="r1"))["interactions"]) == 2
    assert (await call("get_status"))["backend"]
    assert (await call("audit_traffic"))["traffic"]["requests"] == 4
    assert (await call("explore_traffic"))["returned"] == 2
    await judge(session)
    called |= {"explorer_data", "judge_finding"}
    assert (await call("export_data"))["archive"]["counts"]["requests"] == 4
    await delete("delete_request", request_id="r1")
    receipt = await delete("delete_session", session_id="trip")
    assert receipt["deleted"]["requests"] == 1
    await delete("delete_requests", request_ids=["r3"])
    assert len((await call("get_status"))["deletions"]) == 3
    assert len((await call("restore_requests"))["deletions"]) == 3
    plan = await call("restore_requests", deletion=receipt["number"])
    restored = await call("restore_requests", deletion=receipt["number"], confirm=plan["confirm"])
    assert restored["restored"]["requests"] == 1
    assert (await session.call("get_request", {"request_id": "r1"}))["isError"]
    return called


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_tool_answers_by_the_official_schema_and_its_own(
    revision: Revision, tmp_path: Path
) -> None:
    env = environment(
        tmp_path,
        REFLEXIO_MCP_STORE=":memory:",
        REFLEXIO_MCP_CONFIRM="preview",
        REFLEXIO_MCP_RECOVERY_DAYS="1",
    )
    apps = {"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}}
    async with open_session(revision, env=env, capabilities=apps) as session:
        offered = {tool["name"] for tool in await session.list_tools()}
        called = await drive(session)
        assert called == offered, f"this test has to learn to call {offered - called}"
        assert await session.end_input() == 0


WRONG_CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("publish_interaction", {"user_id": "ann", "session_id": "s", "interactions": []}, "interactions"),
    ("publish_interaction", {**publish("r", "s"), "source": "Not A Source"}, "source"),
    ("publish_interaction", {**publish("r", "s"), "session": "s"}, "session"),
    ("list_requests", {"start_time": "yesterdayish"}, "start_time"),
    ("get_request", {}, "request_id"),
    ("get_request", {"request_id": "no-such-id"}, "no-such-id"),
    ("delete_request", {"request_id": " "}, "request_id"),
]
"""A tool, arguments that it must refuse, and what the refusal has to name."""


async def test_a_wrong_call_is_a_tool_error_that_names_what_is_wrong(session: StdioSession) -> None:
    for tool, arguments, named in WRONG_CALLS:
        result = await session.call(tool, arguments)
        assert result["isError"], (tool, arguments)
        said = result["content"][0]["text"]
        assert named in said, (tool, arguments)
        assert "Traceback" not in said
        assert "pydantic" not in said
        assert "structuredContent" not in result


async def test_an_unknown_tool_is_refused_in_words_or_by_the_protocol(session: StdioSession) -> None:
    try:
        result = await session.request("tools/call", {"name": "drop_everything", "arguments": {}})
    except RpcError as error:
        said = error.message
    else:
        assert result["isError"]
        said = result["content"][0]["text"]
    assert "drop_everything" in said


async def test_the_opening_says_who_this_is_and_what_it_is_for(session: StdioSession) -> None:
    from reflexio_mcp import __version__

    if session.revision == MODERN:
        server = session.opening["_meta"]["io.modelcontextprotocol/serverInfo"]
    else:
        server = session.opening["serverInfo"]
    assert (server["name"], server["version"]) == ("reflexio-mcp", __version__)
    assert "tools" in session.opening["capabilities"]
    assert session.opening["instructions"]


async def test_the_tool_list_is_the_same_at_every_start_and_marks_what_destroys(
    session: StdioSession, tmp_path: Path
) -> None:
    lists = [await session.list_tools()]
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    async with open_session(session.revision, env=env) as another:
        lists.append(await another.list_tools())
    assert lists[0] == lists[1]
    hints = {tool["name"]: tool["annotations"] for tool in lists[0]}
    for name, hint in hints.items():
        assert hint.get("destructiveHint", False) is name.startswith(("delete_", "restore_")), name
        for said_of_changes in ("destructiveHint", "idempotentHint"):
            assert (said_of_changes in hint) is not hint["readOnlyHint"], name
        assert hint["readOnlyHint"] is name.startswith(("list_", "get_", "audit_", "explore")), name
