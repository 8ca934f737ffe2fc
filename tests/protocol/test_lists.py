"""Lists as strict clients read them: complete in one page, kept for a while, without what a client cannot use."""

import json
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.types import Tool
from mcp_types import methods

from reflexio_mcp.server.server import ReflexioServer
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


async def test_the_forms_of_tools_are_made_once_for_each_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = methods.serialize_server_result

    def noted(method: str, version: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
        if method == "tools/list" and not more:  # the client's own check has more arguments
            made.append(len(data["tools"]))
        return make(method, version, data, **more)

    monkeypatch.setattr(methods, "serialize_server_result", noted)
    server = ReflexioServer(Settings(store=":memory:"))
    for mode in ("auto", "legacy"):
        lists: list[list[Tool]] = []
        for _ in range(2):
            async with Client(server, mode=mode) as client:
                lists.append((await client.list_tools()).tools)
        assert lists[0] == lists[1]
        assert len(lists[0]) > 10
    all_of_them = len(await server.list_tools())
    assert made == [all_of_them, 0, all_of_them, 0]


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
