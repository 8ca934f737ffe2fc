"""For each test, users of its own on the real server that learns, or an embedded backend."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from reflexio_mcp.rest.client import ReflexioClient
from tests.deletion.support import World
from tests.support.real_learning import Corner, LearningReflexio


@pytest.fixture
async def corner(
    learning_reflexio: LearningReflexio, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Corner]:
    async with ReflexioClient(learning_reflexio.url, transport=live_transport()) as rest:
        yield Corner(learning_reflexio, rest)
    learning_reflexio.model.forget_script()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(":memory:", tmp_path)
    yield world
    await world.close()


@pytest.fixture(params=("2026-07-28", "legacy"))
def era(request: pytest.FixtureRequest) -> str:
    """The protocol revision a test speaks."""
    return request.param
