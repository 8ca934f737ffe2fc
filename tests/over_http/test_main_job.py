"""The main job over each transport: publish, list, inspect, delete with a receipt."""

from pathlib import Path
from typing import Any

import pytest
from mcp.types import ElicitRequestParams, ElicitResult

from reflexio_mcp.settings import Settings
from tests.support.serving import connected, interactions, serving

pytestmark = pytest.mark.anyio

WAYS: list[dict[str, Any]] = [{"mode": "auto"}, {"mode": "legacy"}, {"sse": True}]
NAMES = ["streamable-2026", "streamable-2025", "sse"]


def structured(result: Any) -> dict[str, Any]:
    assert not result.is_error, result
    return result.structured_content


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
@pytest.mark.parametrize("sessions", ["keep", "none"])
async def test_every_step_of_the_main_job_works(way: dict[str, Any], sessions: Any, tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "store.db"), confirm="preview", sessions=sessions)
    async with serving(settings) as served, connected(served.url, served.headers, **way) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        assert {"publish_interaction", "list_requests", "get_request", "delete_session"} <= names
        stored = structured(
            await client.call_tool(
                "publish_interaction",
                {"user_id": "u", "session_id": "s", "interactions": interactions("short answers")},
            )
        )
        listed = structured(await client.call_tool("list_requests", {"session_id": "s"}))
        assert stored["request_id"] in str(listed)
        shown = await client.call_tool("get_request", {"request_id": stored["request_id"]})
        assert "short answers" in str(structured(shown))
        plan = structured(await client.call_tool("delete_session", {"session_id": "s"}))
        done = structured(
            await client.call_tool("delete_session", {"session_id": "s", "confirm": plan["plan"]["confirm"]})
        )
        assert done["receipt"]["deleted"]["requests"] == 1
        gone = await client.call_tool("get_request", {"request_id": stored["request_id"]})
        assert gone.is_error


@pytest.mark.parametrize("way", WAYS, ids=NAMES)
async def test_the_person_is_asked_through_the_clients_form(way: dict[str, Any]) -> None:
    asked: list[str] = []

    async def agree(_context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        properties = getattr(params, "requested_schema", {})["properties"]
        return ElicitResult(action="accept", content=dict.fromkeys(properties, True))

    async with (
        serving(Settings()) as served,
        connected(served.url, served.headers, elicitation_callback=agree, **way) as client,
    ):
        await client.call_tool(
            "publish_interaction", {"user_id": "u", "session_id": "s", "interactions": interactions("x")}
        )
        done = structured(await client.call_tool("delete_session", {"session_id": "s"}))
        assert done["receipt"]["deleted"]["requests"] == 1
        assert len(asked) == 1


async def test_without_sessions_a_client_of_2025_is_given_the_plans_code_instead_of_a_form() -> None:
    async def never(_context: Any, params: ElicitRequestParams) -> ElicitResult:
        raise AssertionError(params)

    async with (
        serving(Settings(sessions="none")) as served,
        connected(served.url, served.headers, mode="legacy", elicitation_callback=never) as client,
    ):
        await client.call_tool(
            "publish_interaction", {"user_id": "u", "session_id": "s", "interactions": interactions("x")}
        )
        plan = structured(await client.call_tool("delete_session", {"session_id": "s"}))
        assert plan["plan"]["confirm"]
