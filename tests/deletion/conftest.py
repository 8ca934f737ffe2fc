"""A backend of its own for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deletion.support import World


@pytest.fixture(params=("2026-07-28", "legacy"))
def era(request: pytest.FixtureRequest) -> str:
    """The protocol revision a test speaks."""
    return request.param


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(":memory:", tmp_path)
    yield world
    await world.close()
