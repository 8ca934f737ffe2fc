"""A real process in three revisions: every message held to the official schema."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.stdio import MODERN, REVISIONS, Revision, RpcError, StdioSession, environment, open_session

pytestmark = pytest.mark.anyio


async def publish(session: StdioSession, name: str) -> dict[str, Any]:
    arguments = {
        "user_id": "ada",
        "session_id": "s1",
        "request_id": name,
        "interactions": [{"content": "hello"}],
    }
    return await session.call("publish_interaction", arguments)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_every_primitive_answers_as_its_schema_says(tmp_path: Path, revision: Revision) -> None:
    async with open_session(revision, env=environment(tmp_path)) as session:
        await publish(session, "r1")
        resources = (await session.request("resources/list"))["resources"]
        templates = (await session.request("resources/templates/list"))["resourceTemplates"]
        prompts = (await session.request("prompts/list"))["prompts"]
        assert (len(resources), len(templates), len(prompts)) == (6, 2, 6)
        for uri in [one["uri"] for one in resources] + ["reflexio://sessions/s1", "reflexio://requests/r1"]:
            (content,) = (await session.request("resources/read", {"uri": uri}))["contents"]
            assert content["text"]
            assert content["uri"] == uri
        for prompt in prompts:
            values = {
                "session_id": "s1",
                "source": "ide",
                "user_id": "ada",
                "start_time": "7d",
                "end_time": "1h",
            }
            given = {one["name"]: values[one["name"]] for one in prompt.get("arguments", [])}
            got = await session.request("prompts/get", {"name": prompt["name"], "arguments": given})
            assert got["messages"][0]["content"]["text"]
        asked = {
            "ref": {"type": "ref/prompt", "name": "forget_conversation"},
            "argument": {"name": "session_id", "value": "s"},
        }
        assert (await session.request("completion/complete", asked))["completion"]["values"] == ["s1"]
        audit = await session.call("audit_traffic")
        assert audit["structuredContent"]["traffic"]["requests"] == 1
        with pytest.raises(RpcError) as missing:
            await session.request("resources/read", {"uri": "reflexio://requests/none"})
        assert missing.value.code in (-32602, -32002)


async def test_fingerprints_are_the_same_in_two_processes_of_one_user(tmp_path: Path) -> None:
    marks: set[str] = set()
    for _ in range(2):
        async with open_session(MODERN, env=environment(tmp_path)) as session:
            await publish(session, "r1")
            listed = await session.call("get_request", {"request_id": "r1", "detail": "masked"})
            marks.add(listed["structuredContent"]["fingerprint"])
    assert len(marks) == 1
