"""Resources give the same facts as the tools."""

import re
from urllib.parse import quote

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import INVALID_PARAMS

from reflexio_mcp.rest import api_limits
from reflexio_mcp.results.answer_size import TEXT_CHARS
from reflexio_mcp.server.guide import FIELDS, guide
from reflexio_mcp.settings import load
from reflexio_mcp.tools.catalog import CATALOG, offered
from reflexio_mcp.traffic.audit.rules import RULES
from tests.primitives.conftest import Connect, call, publish, resource_text

TOOLS = [spec.name for spec in CATALOG]

pytestmark = pytest.mark.anyio


async def test_every_resource_is_listed(connect: Connect) -> None:
    async with connect() as client:
        status, guide, page, *skills = [str(one.uri) for one in (await client.list_resources()).resources]
        assert (status, guide) == ("reflexio://status", "reflexio://guide")
        assert page.startswith("ui://reflexio-mcp/explorer-")
        assert "skill://clean-up-test-run/SKILL.md" in skills
        templates = (await client.list_resource_templates()).resource_templates
        assert [one.uri_template for one in templates] == [
            "reflexio://sessions/{session_id}",
            "reflexio://requests/{request_id}",
        ]


async def test_the_status_says_what_the_tool_says(connect: Connect) -> None:
    async with connect() as client:
        text = await resource_text(client, "reflexio://status")
        assert "reachable" in text
        assert "scope: every user" in text


async def test_the_guide_names_every_argument_limit_and_rule(connect: Connect) -> None:
    async with connect() as client:
        text = await resource_text(client, "reflexio://guide")
        tools = {one.name: one for one in (await client.list_tools()).tools}
    tool, learns = tools["publish_interaction"], "list_learnings" in tools
    here = [field for field in FIELDS if learns or not field.learns]
    assert {field.name for field in here} == set(tool.input_schema["properties"])
    for field in FIELDS:
        assert (f"\n{field.name} (" in text) == (field in here)
    assert api_limits.SOURCE_PATTERN.pattern in text
    for number in (
        api_limits.MAX_INTERACTIONS,
        api_limits.MAX_CONTENT_CHARS,
        api_limits.MAX_AGENT_VERSION_CHARS,
    ):
        assert f"{number:,}" in text
    # What asks how the learning went is nothing where a store does not learn.
    assert all((f"\n{rule.name}: " in text) == (learns or "learning" not in rule.name) for rule in RULES)
    assert len(text) <= TEXT_CHARS


async def test_the_guide_of_a_backend_that_learns_has_its_arguments_and_steps_too() -> None:
    settings = load({"REFLEXIO_URL": "http://127.0.0.1:1"})
    (tool,) = [one for one in offered(settings) if one.name == "publish_interaction"]
    assert {field.name for field in FIELDS} == set(tool.input_schema["properties"])
    tools = {one.name for one in offered(settings)}
    text, plain = guide(TOOLS, learns=True, confirm="auto"), guide(TOOLS, learns=False, confirm="auto")
    assert len(text) <= TEXT_CHARS
    for word in (
        "Interaction:",
        "Request:",
        "Session:",
        "1. Publish",
        "Common choices",
        "wait_for_response defaults to false",
    ):
        assert word in text
        assert word in plain
    assert "This store learns nothing." in plain
    assert "This store learns nothing." not in text
    for word in (
        "Learning:",
        "finish_session",
        "list_learnings",
        "session_finished",
        "publishes a minute",
        "the next step needs what is learned:",
    ):
        assert word in text
        assert word not in plain
    named = set(re.findall(r"\b(?:list|get|delete|audit|finish|publish)_[a-z]+\b", text)) - {"delete_"}
    assert named <= tools | {"publish_interaction"}, named - tools


async def test_a_session_and_a_request_are_read_by_their_address(connect: Connect, unique: str) -> None:
    session = f"Über/{unique} #1"
    async with connect() as client:
        request = await publish(client, f"ada-{unique}", session, "the kettle leaks", "tighten it")
        by_session = await resource_text(client, f"reflexio://sessions/{quote(session, safe='')}")
        by_request = await resource_text(client, f"reflexio://requests/{request}")
    for text in (by_session, by_request):
        assert "the kettle leaks" in text
        assert request in text


async def test_what_is_missing_or_somebody_elses_is_not_found(connect: Connect, unique: str) -> None:
    async with connect() as everybody:
        request = await publish(everybody, f"bob-{unique}", f"s-{unique}", "private words", "yes")
    async with connect(REFLEXIO_USER_ID=f"ada-{unique}") as client:
        for uri in (
            f"reflexio://requests/{request}",
            f"reflexio://sessions/s-{unique}",
            f"reflexio://requests/none-{unique}",
            "reflexio://nothing",
            "file:///etc/passwd",
        ):
            with pytest.raises(MCPError) as failure:
                await client.read_resource(uri)
            assert failure.value.error.code == INVALID_PARAMS
            assert "private words" not in failure.value.error.message


async def test_a_long_session_is_cut_and_says_how_to_go_on(connect: Connect, unique: str) -> None:
    async with connect() as client:
        for index in range(24):
            await publish(client, f"ada-{unique}", f"long-{unique}", f"{index} " + "words " * 400)
        text = await resource_text(client, f"reflexio://sessions/long-{unique}")
        assert len(text) <= TEXT_CHARS + 2_000
        assert "list_requests" in text.splitlines()[-1]
        cursor = text.split("cursor=")[1].split()[0]
        rest = await call(client, "list_requests", session_id=f"long-{unique}", detail="full", cursor=cursor)
        assert not rest.is_error
