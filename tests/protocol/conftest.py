"""A process for the tests that leave nothing behind."""

from collections.abc import AsyncIterator

import pytest

from tests.support.stdio import REVISIONS, StdioSession, environment, open_session


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(
    scope="module",
    params=[pytest.param(one, marks=pytest.mark.xdist_group(f"session-{one}")) for one in REVISIONS],
)
async def session(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[StdioSession]:
    """A session of each revision. Whatever its tests send, it lives on and ends in good order."""
    env = environment(tmp_path_factory.mktemp("session"), REFLEXIO_MCP_STORE=":memory:")
    async with open_session(request.param, env=env) as session:
        yield session
        assert await session.end_input() == 0
