"""Rows of structured content: what they look like, that nothing is lost in them, and what they cost."""

from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import CallToolResult

from reflexio_mcp.render.result import compact_json, tabled, whole
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.support.facts import text_of

PAGE: dict[str, Any] = {
    "notice": "data",
    "returned": 3,
    "sessions": [
        {
            "session_id": "a",
            "requests": [{"request_id": "1", "words": "x"}, {"request_id": "2", "rare": True}],
        },
        {"session_id": "b", "requests": [{"request_id": "3", "words": "y", "turns": [{"id": 1}, {"id": 2}]}]},
    ],
    "requests": 3,
}


def test_rows_name_their_keys_once_and_what_most_of_them_have_comes_first() -> None:
    assert tabled(PAGE, "requests", "turns") == {
        "notice": "data",
        "returned": 3,
        "columns": {"requests": ["request_id", "words", "rare", "turns"], "turns": ["id"]},
        "sessions": [
            {"session_id": "a", "requests": [["1", "x"], ["2", None, True]]},
            {"session_id": "b", "requests": [["3", "y", None, [[1], [2]]]]},
        ],
        "requests": 3,
    }


def test_columns_stand_before_the_rows_and_only_where_there_are_any() -> None:
    assert list(tabled(PAGE, "requests")) == ["notice", "returned", "columns", "sessions", "requests"]
    assert "columns" not in tabled({"notice": "data", "sessions": []}, "sessions")


@pytest.mark.parametrize("names", [(), ("sessions",), ("requests",), ("requests", "turns")])
def test_rows_become_objects_again(names: tuple[str, ...]) -> None:
    assert whole(tabled(PAGE, *names)) == PAGE


def test_what_is_stored_under_the_name_of_a_key_of_ours_stays_a_name() -> None:
    plan = {"plan": {"users": {"columns": 2, "examples": 1, "top": 3}, "examples": [{"request_id": "1"}]}}
    assert whole(tabled(plan, "examples")) == plan


@pytest.mark.anyio
async def test_the_structured_form_is_about_as_long_as_the_text(tmp_path: Path) -> None:
    """Some hosts give their model one form and some the other: neither may be the dear one."""

    texts = structured = 0

    async def both(tool: str, **arguments: Any) -> CallToolResult:
        nonlocal texts, structured
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        texts += len(text_of(result))
        structured += len(compact_json(result.structured_content))
        return result

    env = {"REFLEXIO_MCP_STORE": str(tmp_path / "store.db"), "REFLEXIO_MCP_CONFIRM": "preview"}
    async with Client(ReflexioServer(load(env))) as client:
        for number in range(40):
            turns = [
                {"content": f"Question {number} about the printer"},
                {"role": "Assistant", "content": "Yes."},
            ]
            await client.call_tool(
                "publish_interaction",
                {"user_id": f"user-{number % 3}", "session_id": f"session-{number // 4}", "interactions": turns,
                 "request_id": f"request-{number}", "source": "test-run"},
            )  # fmt: skip
        await both("list_sessions")
        await both("list_sessions", order="longest", limit=5)
        await both("list_requests", limit=100)
        await both("list_requests", contains="9", limit=100)
        await both("list_requests", detail="full", limit=100)
        await both("audit_traffic")
        plan = await both("delete_requests", source="test-run")
        await both("delete_requests", source="test-run", confirm=(plan.structured_content or {})["confirm"])
    assert structured <= 1.1 * texts


@pytest.mark.anyio
async def test_a_request_of_many_turns_is_as_long_in_both_forms(tmp_path: Path) -> None:
    turns = [{"content": f"turn {number}"} for number in range(300)]
    arguments = {"user_id": "u", "session_id": "s", "request_id": "r", "interactions": turns}
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": str(tmp_path / "store.db")}))) as client:
        await client.call_tool("publish_interaction", arguments)
        result = await client.call_tool("get_request", {"request_id": "r"})
    assert len(compact_json(result.structured_content)) < 1.25 * len(text_of(result))
    assert len(whole(result.structured_content)["interactions"]) == 300
