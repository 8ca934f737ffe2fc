"""What a server does with secrets in what is published."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.client.client import Client

from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.primitives.conftest import call, facts, text_of

pytestmark = pytest.mark.anyio

KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
TURNS = [{"content": f"Use {KEY} for the deploy"}, {"role": "Assistant", "content": "Done."}]


@asynccontextmanager
async def connected(folder: Path, **env: str) -> AsyncGenerator[Client]:
    env["REFLEXIO_MCP_STORE"] = str(folder / "store.db")
    async with Client(ReflexioServer(load(env))) as client:
        yield client


async def publish(client: Client, turns: list[dict[str, Any]] = TURNS) -> Any:
    return await client.call_tool(
        "publish_interaction",
        {"user_id": "ada", "session_id": "s", "interactions": turns, "request_id": "r1"},
    )


async def stored(client: Client) -> str:
    return text_of(await call(client, "get_request", request_id="r1", detail="full"))


async def test_a_secret_is_stored_and_the_reply_says_its_kind_and_how_to_take_it_back(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        result = await publish(client)
        said = facts(result)
        assert said["status"] == "stored"
        assert said["secrets"] == ["github-pat"]
        assert "delete_request request_id=r1" in said["next"]
        assert said["next"] in text_of(result)
        assert KEY not in text_of(result)
        await call(client, "delete_request", request_id="r1")


async def test_a_secret_is_redacted_before_it_is_stored_where_that_is_set(tmp_path: Path) -> None:
    async with connected(tmp_path, REFLEXIO_MCP_PUBLISH_SECRETS="redact") as client:
        given = {"headers": [f"token {KEY}"], "auth": {"password": "Tr0ub4dor&3x9"}}
        used = [{"tool_name": "deploy", "tool_data": given}]
        result = await publish(client, [*TURNS, {"role": "Assistant", "content": "ok", "tools_used": used}])
        assert "Secrets were replaced before it was stored: github-pat, password" in text_of(result)
    raw = b"".join([await file.read_bytes() async for file in anyio.Path(tmp_path).iterdir()])
    assert KEY.encode() not in raw
    assert b"Tr0ub4dor" not in raw
    assert b"[redacted: github-pat]" in raw


async def test_a_secret_is_refused_where_that_is_set_and_nothing_is_stored(tmp_path: Path) -> None:
    async with connected(tmp_path, REFLEXIO_MCP_PUBLISH_SECRETS="refuse") as client:
        result = await publish(client)
        assert result.is_error
        assert "looks like a secret (github-pat)" in text_of(result)
        assert "Nothing was stored" in text_of(result)
        assert KEY not in text_of(result)
        assert facts(await call(client, "list_requests"))["returned"] == 0
        assert not (await publish(client, [{"content": "Use the key from the vault"}])).is_error


async def test_what_holds_no_secret_is_said_nothing_about(tmp_path: Path) -> None:
    async with connected(tmp_path) as client:
        assert "secrets" not in facts(await publish(client, [{"content": "The roses need water."}]))
