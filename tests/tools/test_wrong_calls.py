"""Wrong calls: one clear sentence each, naming the field and what it accepts, and nothing is sent."""

from typing import Any

import pytest
from mcp.client.client import Client
from pydantic import BaseModel, ValidationError

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.toolkit.parameters import invalid_arguments
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.scope import Scope
from tests.support.facts import text_of

pytestmark = pytest.mark.anyio

GOOD: dict[str, Any] = {"user_id": "ada", "session_id": "s1", "interactions": [{"content": "x"}]}

WRONG: list[tuple[str, dict[str, Any], list[str]]] = [
    ("list_requests", {"sorce": "ide"}, ["no argument 'sorce'", "source", "nothing was done"]),
    ("list_requests", {"start_time": "yesterday"}, ["start_time", "ISO 8601", "7d"]),
    ("list_requests", {"end_time": "0000-00-00"}, ["end_time", "ISO 8601"]),
    ("list_requests", {"start_time": "1d", "end_time": "2d"}, ["end_time", "before start_time"]),
    ("list_requests", {"source": "My IDE"}, ["source", "lower-case"]),
    ("list_requests", {"top_k": 0}, ["top_k must be 1 or more"]),
    ("list_requests", {"limit": 0}, ["limit", "1 or more"]),
    ("list_requests", {"limit": 1000}, ["limit", "100 or less"]),
    ("list_requests", {"top_k": True}, ["top_k must be a whole number"]),
    ("list_requests", {"limit": True}, ["limit must be a whole number"]),
    ("list_requests", {"limit": "many"}, ["limit", "whole number"]),
    ("list_requests", {"detail": "everything"}, ["detail", "'summary'", "'full'"]),
    ("list_requests", {"cursor": "eJwDAAAAAAE"}, ["cursor", "start again without it"]),
    ("list_sessions", {"cursor": "no cursor"}, ["cursor", "start again without it"]),
    ("get_request", {}, ["request_id is required"]),
    (
        "publish_interaction",
        {},
        ["user_id is required. session_id is required. interactions is required. Nothing"],
    ),
    (
        "publish_interaction",
        {"user_id": "ada", "interactions": "words", "wait_for_response": "perhaps"},
        [
            "session_id is required. interactions must be a list. wait_for_response must be true or false. Nothing"
        ],
    ),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"content": 1}] * 10},
        ["interactions[0].content", "interactions[9].content must be a string. Nothing"],
    ),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"content": 1}] * 11},
        ["interactions[9].content must be a string. Nothing"],
    ),
    (
        "publish_interaction",
        {"user_id": "", "session_id": "", "interactions": []},
        ["user_id must not be blank; session_id must not be blank; nothing was done."],
    ),
    ("get_request", {"request_id": ""}, ["request_id must not be blank; nothing was done."]),
    ("get_request", {"request_id": "  "}, ["request_id", "blank"]),
    ("get_request", {"request_id": ["r1"]}, ["request_id", "string"]),
    ("delete_request", {"request_id": ""}, ["request_id", "blank"]),
    ("delete_session", {"session_id": " "}, ["session_id", "blank"]),
    ("publish_interaction", {**GOOD, "user_id": " "}, ["user_id", "blank"]),
    ("publish_interaction", {**GOOD, "session_id": ""}, ["session_id", "blank"]),
    ("publish_interaction", {**GOOD, "request_id": " "}, ["request_id", "blank"]),
    ("publish_interaction", {**GOOD, "source": "Ä"}, ["source", "lower-case"]),
    ("publish_interaction", {**GOOD, "agent_version": "v" * 1001}, ["agent_version", "1,000"]),
    ("publish_interaction", {**GOOD, "interactions": []}, ["interactions takes 1 at least. Nothing"]),
    ("publish_interaction", {**GOOD, "interactions": "words"}, ["interactions", "list"]),
    ("publish_interaction", {**GOOD, "interactions": [{}]}, ["interactions[0]", "empty"]),
    ("publish_interaction", {**GOOD, "interactions": [{"content": " \n"}]}, ["interactions[0]", "empty"]),
    ("publish_interaction", {**GOOD, "interactions": [{"text": "x"}]}, ["interactions[0].text"]),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"content": "x", "user_action": "hover"}]},
        ["interactions[0].user_action", "'click'"],
    ),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"content": "x", "user_action": "click"}]},
        ["interactions[0].user_action_description"],
    ),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"tools_used": [{"tool_data": {}}]}]},
        ["interactions[0].tools_used[0].tool_name is required"],
    ),
    (
        "publish_interaction",
        {**GOOD, "evaluation_only": True, "force_extraction": True},
        ["force_extraction cannot be combined with evaluation_only", "Nothing was sent."],
    ),
    ("publish_interaction", {**GOOD, "interactions": [{"content": "x" * 1_000_001}]}, ["1,000,000"]),
    ("delete_requests", {"request_ids": "r1"}, ["request_ids must be a list. Nothing"]),
    ("delete_requests", {"request_ids": [1]}, ["request_ids[0] must be a string. Nothing"]),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"content": "x", "created_at": "now"}]},
        ["interactions[0].created_at must be a whole number. Nothing"],
    ),
    (
        "publish_interaction",
        {**GOOD, "interactions": [{"content": "x"}, {"content": "x", "created_at": 1_795_816_475_000}]},
        ["interactions[1].created_at takes seconds since 1970, not milliseconds."],
    ),
    *(
        (tool, {**given, name: "\\" * 1_001}, [f"{name} takes 1,000 characters at most; nothing was done."])
        for tool, name, given in (
            ("get_request", "request_id", {}),
            ("delete_session", "session_id", {}),
            ("list_requests", "user_id", {}),
            ("list_sessions", "contains", {}),
            ("audit_traffic", "agent_version", {}),
            ("delete_request", "confirm", {"request_id": "r"}),
            ("publish_interaction", "request_id", GOOD),
        )
    ),
    (
        "delete_requests",
        {"request_ids": ["r", "\\" * 120_000]},
        ["request_ids takes 1,000 characters at most"],
    ),
    ("list_requests", {"limit": 0, "detail": "all"}, ["detail must be 'summary'", "limit must be 1 or more"]),
    ("list_requests", {"finding": "odd"}, ["finding must be one of"]),
    (
        "list_requests",
        {"sorce": "ide", "user_id": " ", "session_id": "x" * 1_001},
        [
            "list_requests has no argument 'sorce'; user_id must not be blank; session_id takes 1,000 characters",
            "at most; nothing was done. Accepted arguments: user_id,",
        ],
    ),
    ("get_request", {"id": "r1"}, ["no argument 'id'; nothing was done. Accepted arguments: request_id"]),
    (
        "list_requests",
        {f"a{number}": 1 for number in range(11)},
        ["'a0', ", "'a8'; nothing was done."],
    ),
    (
        "publish_interaction",
        {
            **GOOD,
            "interactions": [{}, {"content": 1}, {"content": "x", "created_at": 1_795_816_475_000}],
        },
        [
            "interactions[0] is empty",
            "interactions[1].content must be a string",
            "interactions[2].created_at takes seconds since 1970, not milliseconds.",
        ],
    ),
    ("forget_everything", {}, ["There is no tool 'forget_everything'", "delete_session"]),
]


class NothingSent(ReflexioClient):
    """Fails the test at any attempt to reach the API."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("publish", "get_requests", "delete_request", "delete_session", "delete_requests_by_ids"):
            raise AssertionError(f"{name} was called")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    ("tool", "arguments", "said"), WRONG, ids=[f"{tool}-{'-'.join(said)[:40]}" for tool, _, said in WRONG]
)
@pytest.mark.parametrize("era", ["2026-07-28", "legacy"])
async def test_a_wrong_call_is_answered_by_a_sentence_before_anything_is_sent(
    tool: str, arguments: dict[str, Any], said: list[str], era: str
) -> None:
    server = ReflexioServer(load({}), client=NothingSent("http://127.0.0.1:9"))
    async with Client(server, mode=era) as client:
        result = await client.call_tool(tool, arguments)
    text = text_of(result)
    assert result.is_error
    assert result.structured_content is None
    for words in said:
        assert words in text
    assert len(text) <= 900
    assert "pydantic" not in text
    assert "Error executing tool" not in text
    assert "xxxx" not in text
    assert text.endswith(".")


async def test_a_tool_that_only_a_page_calls_is_not_named_to_a_model() -> None:
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": ":memory:"}))) as client:
        assert "explorer_data" not in text_of(await client.call_tool("forget_everything", {}))


async def test_arguments_that_clients_spell_as_null_or_as_json_text_are_understood() -> None:
    async with Client(ReflexioServer(load({"REFLEXIO_MCP_STORE": ":memory:"}))) as client:
        stored = await client.call_tool(
            "publish_interaction",
            {**GOOD, "interactions": '[{"content": "as text"}]', "source": None, "request_id": "r1"},
        )
        assert not stored.is_error
        listed = await client.call_tool("list_requests", {"user_id": None, "contains": "[1]", "limit": "5"})
        assert not listed.is_error


async def test_a_blank_argument_never_means_everything() -> None:
    """Each text argument of each tool, also of those that come later."""
    settings = load({"REFLEXIO_MCP_STORE": ":memory:", "REFLEXIO_MCP_RECOVERY_DAYS": "7"})
    tried: set[str] = set()
    async with Client(ReflexioServer(settings)) as client:
        for tool in (await client.list_tools()).tools:
            for name, schema in tool.input_schema["properties"].items():
                if schema.get("type") != "string" or "enum" in schema:
                    continue
                result = await client.call_tool(tool.name, {name: " \t "})
                said = text_of(result)
                assert result.is_error, (tool.name, name)
                assert f"{name} must not be blank" in said, (tool.name, name, said)
                assert "othing was done." in said
                tried.add(name)
    assert tried >= {"user_id", "session_id", "source", "agent_version", "contains", "start_time", "end_time"}


async def test_a_blank_user_is_nobody_further_down_either() -> None:
    scope = Scope(ReflexioClient("http://store.invalid"))
    with pytest.raises(InvalidInput, match="user_id must not be blank"):
        scope.user(" ")


async def test_arguments_that_are_wrong_together_are_told_without_a_name() -> None:
    class Arguments(BaseModel):
        pass

    with pytest.raises(ValidationError) as error:
        Arguments.model_validate("words")
    assert invalid_arguments(error.value) == "arguments must be an object. Nothing was sent."
