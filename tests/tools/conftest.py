"""A server in memory, spoken to in either protocol era."""

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.support.embedded import Clock
from tests.support.store_app import StoreApp

ERAS = ("2026-07-28", "legacy")

Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """The protocol revision a test speaks."""
    return request.param


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[StoreApp]:
    app = StoreApp(":memory:", clock=clock)
    yield app
    app.close()


@pytest.fixture
def connect(era: str, store: StoreApp) -> Connect:
    """Connects to a server over a store in memory; keyword arguments are environment variables."""

    @asynccontextmanager
    async def connecting(
        *, client_options: dict[str, Any] | None = None, **env: str
    ) -> AsyncGenerator[Client]:
        rest = ReflexioClient("http://store", transport=httpx.ASGITransport(app=store))
        server = ReflexioServer(load(env), client=rest)
        try:
            async with Client(server, mode=era, raise_exceptions=True, **(client_options or {})) as client:
                yield client
        finally:
            await rest.aclose()

    return connecting
