"""A corner of the real, learning server for each test."""

from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from reflexio_mcp.rest.client import ReflexioClient
from tests.support.real_learning import Corner, LearningReflexio


@pytest.fixture
async def corner(
    learning_reflexio: LearningReflexio, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Corner]:
    async with ReflexioClient(learning_reflexio.url, transport=live_transport) as rest:
        yield Corner(learning_reflexio, rest)
    learning_reflexio.model.forget_script()
