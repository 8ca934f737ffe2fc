"""What the operator does not allow is offered nowhere: not as a resource, a prompt, a completion or a subscription."""

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from tests.primitives.conftest import Connect, call, publish

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed"),
]

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


async def test_what_cannot_be_read_cannot_be_watched(connect: Connect, unique: str, era: str) -> None:
    tools = "publish_interaction,get_request"
    async with connect(REFLEXIO_MCP_TOOLS=tools, REFLEXIO_MCP_CONFIRM="off") as client:
        session, other = f"reflexio://sessions/s-{unique}", "reflexio://requests/r"
        if era == "legacy":
            with pytest.raises(MCPError, match="Only reflexio://requests/… can be watched"):
                await client.subscribe_resource(session)
            await client.subscribe_resource(other)
            return
        async with client.listen(resource_subscriptions=[session, other]) as stream:
            assert stream.honored.resource_subscriptions == [other]
            await call(
                client,
                "publish_interaction",
                user_id=f"ada-{unique}",
                session_id=f"s-{unique}",
                interactions=[{"content": "x"}],
            )


async def test_the_guide_goes_with_what_it_explains(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_TOOLS="get_request") as client:
        assert not (await client.list_resources()).resources
        for uri in ("reflexio://guide", "reflexio://status"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
