"""Fixtures shared by all tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from reflexio_mcp.store.app import EmbeddedStore, create_app


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store_app(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    """An embedded store on a file of its own."""
    app = create_app(str(tmp_path / "store.db"))
    yield app
    await app.aclose()


@pytest.fixture
async def store_client(store_app: EmbeddedStore) -> AsyncIterator[httpx.AsyncClient]:
    """Raw HTTP to `store_app`."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store_app),
        base_url="http://store",
        headers={"user-agent": "reflexio-mcp-tests/0"},
    ) as client:
        yield client
