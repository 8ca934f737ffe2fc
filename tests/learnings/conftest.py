"""For each test, users of its own on the real server that learns, or an embedded backend."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest

from tests.deletion.support import World
from tests.support.real_learning import Corner, LearningReflexio, corner_of


@pytest.fixture
async def corner(
    learning_reflexio: LearningReflexio, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Corner]:
    async with corner_of(learning_reflexio, live_transport()) as corner:
        yield corner


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(":memory:", tmp_path)
    yield world
    await world.close()


@pytest.fixture(params=("2026-07-28", "legacy"))
def era(request: pytest.FixtureRequest) -> str:
    """The protocol revision a test speaks."""
    return request.param
