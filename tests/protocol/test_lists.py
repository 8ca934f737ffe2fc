"""Lists as strict clients read them: complete in one page, kept for a while, without what a client cannot use."""

import json
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import offered
from tests.support.stdio import MODERN, REVISIONS, Revision, RpcError, environment, open_session

pytestmark = pytest.mark.anyio

APPS: dict[str, Any] = {
    "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}
}


async def test_lists_and_the_guide_may_be_kept_and_stored_text_may_not(tmp_path: Path) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    async with open_session(MODERN, env=env) as session:
        kept = [await session.request(f"{name}/list") for name in ("tools", "prompts", "resources")]
        kept.append(await session.request("resources/read", {"uri": "reflexio://guide"}))
        assert {(one["ttlMs"], one["cacheScope"]) for one in kept} == {(300_000, "private")}
        status = await session.request("resources/read", {"uri": "reflexio://status"})
        assert status["ttlMs"] == 0


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_cursor_that_no_list_gave_is_refused(revision: Revision, tmp_path: Path) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    async with open_session(revision, env=env) as session:
        with pytest.raises(RpcError) as refused:
            await session.request("tools/list", {"cursor": "made-up"})
        assert refused.value.code == -32602


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("shows_pages", [False, True])
async def test_only_a_client_that_shows_pages_is_given_the_tool_of_the_page(
    revision: Revision, shows_pages: bool, tmp_path: Path
) -> None:
    env = environment(tmp_path, REFLEXIO_MCP_STORE=":memory:")
    capabilities = APPS if shows_pages else {}
    async with open_session(revision, env=env, capabilities=capabilities) as session:
        listed = [tool["name"] for tool in (await session.request("tools/list"))["tools"]]
    assert ({"explorer_data", "judge_finding"} <= {*listed}) is shows_pages
    assert "explore_traffic" in listed


def test_no_schema_of_arguments_has_a_key_that_clients_cannot_read() -> None:
    """The Gemini SDK fails on `additionalProperties: false`; the server refuses unknown arguments itself."""
    tools = {tool.name: tool for tool in offered(Settings(url="https://reflexio.example", recovery_days=1))}
    assert not [
        name for name, tool in tools.items() if "additionalProperties" in json.dumps(tool.input_schema)
    ]
    assert tools["explorer_data"].input_schema["properties"].keys() == {"view"}


def test_a_host_that_reads_the_older_key_finds_the_page() -> None:
    [tool] = [tool for tool in offered(Settings()) if tool.name == "explore_traffic"]
    assert tool.meta
    assert tool.meta["ui/resourceUri"] == tool.meta["ui"]["resourceUri"]
