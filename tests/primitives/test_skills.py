"""The skills that a client gets without the plugin."""

import hashlib
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.types import Request, Result, TextResourceContents
from pydantic import ConfigDict

from tests.primitives.conftest import Connect

pytestmark = pytest.mark.anyio


class AnyResult(Result):
    """A result with whatever fields it has."""

    model_config = ConfigDict(extra="allow")


async def ask(client: Any, method: str, **params: object) -> dict[str, Any]:
    request = Request[dict[str, object], str](method=method, params=params)
    answer = await client.session.send_request(request, AnyResult)
    return answer.model_dump(by_alias=True)


async def test_a_skill_is_listed_with_the_digest_of_the_file_that_is_read(connect: Connect) -> None:
    async with connect(REFLEXIO_USER_ID="ada") as client:
        listed = await ask(client, "skills/list")
        assert [skill["frontmatter"]["name"] for skill in listed["skills"]] == [
            "what-do-you-remember",
            "forget-something",
            "clean-up-test-run",
        ]
        for skill in listed["skills"]:
            (file,) = skill["resources"]
            (content,) = (await client.read_resource(file["uri"])).contents
            assert isinstance(content, TextResourceContents)
            raw = content.text.encode()
            assert content.mime_type == "text/markdown"
            assert (file["digest"], file["size"]) == (f"sha256:{hashlib.sha256(raw).hexdigest()}", len(raw))
            assert f"name: {skill['frontmatter']['name']}\n" in content.text
            assert (await ask(client, "skills/get", uri=skill["uri"]))["skill"] == skill


async def test_a_skill_that_deletes_is_not_offered_where_nothing_may_be_deleted(connect: Connect) -> None:
    async with connect(REFLEXIO_MCP_READ_ONLY="1", REFLEXIO_USER_ID="ada") as client:
        listed = await ask(client, "skills/list")
        assert [skill["frontmatter"]["name"] for skill in listed["skills"]] == ["what-do-you-remember"]
        with pytest.raises(MCPError, match="no skill"):
            await ask(client, "skills/get", uri="skill://forget-something/SKILL.md")


async def test_a_cursor_that_nobody_gave_is_refused(connect: Connect) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="cursor"):
            await ask(client, "skills/list", cursor="x")
