"""What the operator does not allow is offered nowhere: not as a resource, a prompt or a completion."""

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.primitives.conftest import Connect, call, facts, publish, text_of

pytestmark = pytest.mark.anyio

SESSION = "reflexio://sessions/{session_id}"
REQUEST = "reflexio://requests/{request_id}"


async def test_one_allowed_tool_brings_along_nothing_that_tells_more(connect: Connect, unique: str) -> None:
    async with connect(REFLEXIO_MCP_TOOLS="publish_interaction,get_status") as client:
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        assert {one.name for one in (await client.list_tools()).tools} == {
            "publish_interaction",
            "get_status",
        }
        uris = {str(one.uri) for one in (await client.list_resources()).resources}
        assert uris == {"reflexio://status", "reflexio://guide"}
        assert not (await client.list_resource_templates()).resource_templates
        assert not (await client.list_prompts()).prompts
        for uri in (f"reflexio://sessions/s-{unique}", f"reflexio://requests/{request}"):
            with pytest.raises(MCPError, match="no such resource"):
                await client.read_resource(uri)
        for ref in (
            ResourceTemplateReference(type="ref/resource", uri=SESSION),
            PromptReference(type="ref/prompt", name="forget_conversation"),
        ):
            offered = await client.complete(ref, {"name": "session_id", "value": ""})
            assert not offered.completion.values


async def test_a_prompt_that_is_not_offered_completes_nothing(connect: Connect, unique: str) -> None:
    async with connect(REFLEXIO_MCP_TOOLS="publish_interaction,list_sessions,get_request") as client:
        await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        prompt = PromptReference(type="ref/prompt", name="forget_conversation")
        typed = {"name": "session_id", "value": f"s-{unique}"}
        assert not (await client.complete(prompt, typed)).completion.values
        hidden = ResourceTemplateReference(type="ref/resource", uri=SESSION)
        assert not (await client.complete(hidden, typed)).completion.values
        assert [one.uri_template for one in (await client.list_resource_templates()).resource_templates] == [
            REQUEST
        ]


async def test_without_a_list_no_ids_are_completed(connect: Connect, unique: str) -> None:
    async with connect(REFLEXIO_MCP_TOOLS="publish_interaction,get_request,delete_session") as client:
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        ref = ResourceTemplateReference(type="ref/resource", uri=REQUEST)
        typed = {"name": "request_id", "value": request[:3]}
        assert not (await client.complete(ref, typed)).completion.values
        assert await client.read_resource(f"reflexio://requests/{request}")


async def test_the_guide_goes_with_what_it_explains(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_TOOLS="get_request") as client:
        assert not (await client.list_resources()).resources
        for uri in ("reflexio://guide", "reflexio://status"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)


async def test_a_plan_names_no_tool_that_is_left_out(connect: Connect, unique: str) -> None:
    session = f"s-{unique}"
    for tools, named in (("delete_session", False), ("delete_session,restore_requests", True)):
        async with connect(
            REFLEXIO_MCP_TOOLS=f"publish_interaction,{tools}", REFLEXIO_MCP_CONFIRM="preview"
        ) as client:
            await publish(client, f"ada-{unique}", session, "list_requests and delete_requests", "two")
            plan = await call(client, "delete_session", session_id=session)
            assert "A recovery copy is kept" in text_of(plan)
            assert ("restore_requests" in text_of(plan), "restore_requests" in facts(plan)["text"]) == (
                named,
                named,
            )
            assert "ot offered" not in text_of(plan)


async def test_nothing_is_said_where_all_tools_are_offered_or_stored_text_names_one(
    connect: Connect, unique: str
) -> None:
    async with connect() as client:
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "one", "two")
        assert "ot offered" not in text_of(await call(client, "get_request", request_id=request))
    async with connect(REFLEXIO_MCP_TOOLS="publish_interaction,get_request") as client:
        request = await publish(client, f"ada-{unique}", f"s-{unique}", "delete_requests", "two")
        said = text_of(await call(client, "get_request", request_id=request))
        assert "delete_requests" not in said.partition("ot offered")[2]


async def test_a_refusal_names_the_setting_that_offers_the_tool(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_READ_ONLY="1", REFLEXIO_MCP_RECOVERY_DAYS="0") as client:
        refused = text_of(await client.call_tool("delete_requests", {"user_id": "ada"}))
        assert "The operator decides that, with REFLEXIO_MCP_TOOLS or REFLEXIO_MCP_READ_ONLY" in refused
        status = await call(client, "get_status")
        assert "policy: read-only: nothing can be stored or deleted here" in text_of(status)
        assert "code" not in text_of(status)
        assert "confirm" not in facts(status)["policy"]


async def test_a_refusal_says_that_the_embedded_store_does_not_learn() -> None:
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": ":memory:"}))) as client:
        refused = text_of(await client.call_tool("list_learnings", {}))
    assert "It needs Reflexio (REFLEXIO_URL); the embedded store learns nothing." in refused


async def test_with_the_embedded_store_no_deletion_offers_to_take_learnings_too() -> None:
    """They need `include_learnings`, which is not offered there."""
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": ":memory:"}))) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        for name in ("delete_request", "delete_session", "delete_requests"):
            assert (
                not {"include_learnings", "learning_ids"} & tools[name].input_schema["properties"].keys()
            ), name
