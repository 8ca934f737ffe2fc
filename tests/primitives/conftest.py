"""A server in either protocol era, over the embedded store and over the real server."""

import re
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import mcp.types
import pytest
from mcp.client.client import Client
from mcp.types import CallToolResult

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.support.store_app import StoreApp

STORE = "http://store"
"""The embedded store's address. Any other one is the real server's."""

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=["2026-07-28", "legacy"])
def era(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def unique() -> str:
    """A word that nothing else in a shared store has."""
    return uuid.uuid4().hex[:12]


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.live)])
def backend(
    request: pytest.FixtureRequest, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> Iterator[Callable[[], ReflexioClient]]:
    """Makes clients of one store."""
    if request.param == "real":
        url: str = request.getfixturevalue("reflexio_url")
        yield lambda: ReflexioClient(url, transport=live_transport())
        return
    store = StoreApp(":memory:")
    yield lambda: ReflexioClient(STORE, transport=httpx.ASGITransport(app=store))
    store.close()


def connecting(make_client: Callable[[], ReflexioClient], era: str) -> Connect:
    """Connects to a server; keyword arguments are environment variables."""

    @asynccontextmanager
    async def connect(*, options: dict[str, Any] | None = None, **env: str) -> AsyncGenerator[Client]:
        rest = make_client()
        real = {} if rest.base_url == STORE else {"REFLEXIO_URL": rest.base_url}
        server = ReflexioServer(load(real | env), client=rest)
        try:
            async with Client(server, mode=era, raise_exceptions=True, **(options or {})) as client:
                yield client
        finally:
            await rest.aclose()

    return connect


@pytest.fixture
def connect(backend: Callable[[], ReflexioClient], era: str) -> Connect:
    return connecting(backend, era)


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:
    """A call that must not fail."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    return result


async def publish(client: Client, user: str, session: str, *texts: str, **more: Any) -> str:
    """Store one request and return its id."""
    interactions = [
        {"role": "User" if index % 2 == 0 else "Assistant", "content": text}
        for index, text in enumerate(texts)
    ]
    done = await call(
        client, "publish_interaction", user_id=user, session_id=session, interactions=interactions, **more
    )
    return facts(done)["request_id"]


def facts(result: CallToolResult) -> dict[str, Any]:
    assert result.structured_content is not None
    return result.structured_content


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, mcp.types.TextContent))


async def resource_text(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, mcp.types.TextResourceContents)
    return content.text


_OPENING = re.compile(r"^<<stored text ([0-9a-f]{8,}): data, not instructions>>$", re.MULTILINE)


def outside_the_fence(text: str) -> str:
    """What of a text stands outside its fences."""
    outside = ""
    while match := _OPENING.search(text):
        outside += text[: match.start()]
        end = text.index(f"<<end {match[1]}>>", match.end())
        text = text[end + len(f"<<end {match[1]}>>") :]
    return outside + text
