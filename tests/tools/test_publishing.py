"""Publishing: what is refused before it is sent, and what a repetition does."""

from typing import Any

import pytest

from reflexio_mcp.rest.models import UnreadableRequest
from reflexio_mcp.traffic.scope import Scope
from tests.support.facts import text_of
from tests.tools.conftest import Connect

pytestmark = pytest.mark.anyio

INTERACTION: dict[str, Any] = {"role": "User", "content": "The meeting is on Monday."}
CALL: dict[str, Any] = {
    "user_id": "ada",
    "session_id": "s",
    "interactions": [INTERACTION],
    "request_id": "r1",
}


async def test_repeating_a_call_with_an_own_id_adds_nothing_and_says_so(connect: Connect) -> None:
    async with connect() as client:
        first = await client.call_tool("publish_interaction", CALL)
        again = await client.call_tool("publish_interaction", CALL)
        listed = await client.call_tool("list_requests", {})
    assert (first.structured_content or {})["status"] == "stored"
    assert not again.is_error
    assert (again.structured_content or {})["status"] == "already_stored"
    assert text_of(again).startswith("Already stored by an earlier call, nothing added: 1 interaction.\n")
    assert (listed.structured_content or {})["returned"] == 1


@pytest.mark.parametrize(
    "other",
    [
        {"interactions": [{**INTERACTION, "content": "The meeting is on Tuesday."}]},
        {"interactions": [INTERACTION, INTERACTION]},
        {"user_id": "bob"},
        {"session_id": "t"},
        {"source": "ide"},
        {"evaluation_only": True},
    ],
    ids=["words", "interactions", "user", "session", "source", "evaluation"],
)
async def test_an_own_id_that_holds_something_else_is_an_error(
    connect: Connect, other: dict[str, Any]
) -> None:
    async with connect() as client:
        await client.call_tool("publish_interaction", CALL)
        result = await client.call_tool("publish_interaction", CALL | other)
        listed = await client.call_tool("list_requests", {"detail": "full"})
    assert result.is_error
    said = text_of(result)
    assert said.startswith(
        "This request_id is taken. Nothing was changed. Choose another request_id, or leave it out.\n"
    )
    assert f"\nid taken: by a request that differs in {', '.join(other)}, correlation id" in said
    assert "Monday" in text_of(listed)
    assert "Tuesday" not in text_of(listed)


async def test_nothing_is_said_of_a_taken_id_whose_request_cannot_be_read(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cannot_be_read(scope: Scope, request_id: str) -> UnreadableRequest:
        return UnreadableRequest.of(request_id, scope.user_id)

    async with connect() as client:
        await client.call_tool("publish_interaction", CALL)
        monkeypatch.setattr("reflexio_mcp.traffic.publishing.find_request", cannot_be_read)
        said = text_of(await client.call_tool("publish_interaction", CALL))
    assert said.startswith("This request_id is taken.")
    assert "differs" not in said


async def test_an_id_of_another_user_is_not_told_from_one_with_other_content(connect: Connect) -> None:
    async with connect() as client:
        await client.call_tool("publish_interaction", CALL)
    async with connect(REFLEXIO_USER_ID="bob") as client:
        mine = {name: value for name, value in CALL.items() if name != "user_id"}
        result = await client.call_tool("publish_interaction", mine)
    assert text_of(result).startswith("This request_id is taken.")
    assert "id taken: correlation id" in text_of(result)


async def test_what_cannot_be_read_back_is_not_said_to_be_the_same(connect: Connect) -> None:
    interaction = {**INTERACTION, "image_encoding": "aGVsbG8="}
    async with connect() as client:
        await client.call_tool("publish_interaction", CALL | {"interactions": [interaction]})
        again = await client.call_tool("publish_interaction", CALL | {"interactions": [interaction]})
    assert "Images and citations cannot be read back and were not compared." in text_of(again)


@pytest.mark.parametrize("text", ["not base64!!", "data:image/png;base64,aGVsbG8=", "aGVs\nbG8=", "aGVsbG8"])
async def test_an_image_that_is_no_base64_is_refused(connect: Connect, text: str) -> None:
    async with connect() as client:
        result = await client.call_tool(
            "publish_interaction", CALL | {"interactions": [{**INTERACTION, "image_encoding": text}]}
        )
        listed = await client.call_tool("list_requests", {})
    assert result.is_error
    assert "interactions[0].image_encoding must be base64" in text_of(result)
    assert (listed.structured_content or {})["returned"] == 0


async def test_a_role_that_no_agent_has_is_stored_and_pointed_out(connect: Connect) -> None:
    interactions = [{**INTERACTION, "role": role} for role in ("banana", "User", "assistant", "System")]
    async with connect() as client:
        result = await client.call_tool("publish_interaction", CALL | {"interactions": interactions})
        usual = await client.call_tool(
            "publish_interaction", CALL | {"request_id": "r2", "interactions": interactions[1:]}
        )
    assert (result.structured_content or {})["unusual_roles"] == ["banana"]
    assert "unusual roles: banana\n" in text_of(result)
    assert "The usual roles are User and Assistant." in text_of(result)
    assert "unusual_roles" not in (usual.structured_content or {})


async def test_the_version_that_stands_in_for_a_missing_one_is_said(connect: Connect) -> None:
    async with connect() as client:
        without = await client.call_tool("publish_interaction", CALL)
        given = await client.call_tool(
            "publish_interaction", CALL | {"request_id": "r2", "agent_version": "1.2"}
        )
    assert "agent version agent-v0" in text_of(without)
    assert "agent-v0" not in text_of(given)
    assert (given.structured_content or {})["agent_version"] == "1.2"


async def test_an_empty_role_is_shown_as_one(connect: Connect) -> None:
    async with connect() as client:
        interactions = [{"role": "", "content": "Off to Lisbon."}]
        result = await client.call_tool("publish_interaction", {**CALL, "interactions": interactions})
    assert (result.structured_content or {})["unusual_roles"] == ["(empty)"]
    assert "unusual roles: (empty)\n" in text_of(result)


async def test_what_teaches_nothing_is_not_said_to_have_added_nothing(connect: Connect) -> None:
    async with connect() as client:
        answered = text_of(await client.call_tool("publish_interaction", {**CALL, "evaluation_only": True}))
        usual = text_of(await client.call_tool("publish_interaction", {**CALL, "request_id": "r2"}))
    assert "Nothing is learned from it: it is for evaluation only." in answered
    assert "Added" not in answered
    assert "This store does not learn; an assistant finds the request by searching." in usual
