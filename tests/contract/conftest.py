"""Each contract test runs twice: against the embedded store and against the real server (marked `live`).

What both promise is tested here and nowhere else. The store answers only what the client of this package can send.
How the server answers anything else (`real_api`) is tested too, since the client's own checks rest on it. Where they
differ on purpose:

* learning: the server reports `deferred`, then `done`; the store reports `not_tracked`, since it learns nothing
  (traffic for evaluation only is `done` / `not_applicable` in both). It has no profiles and no playbooks.
* validation: the store refuses what the client of this package can send and the API would refuse.
* `success: false`: the server's `msg` can be a stack trace, the store's is one sentence.
* limits: the server allows 60 publishes a minute for one address, counting valid ones only; the store has no
  such limit.
* within one second and one session the server's order of requests is arbitrary; the store's is newest first.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from tests.contract.calls import Api
from tests.support.store_app import StoreApp

AGENT = {"user-agent": "reflexio-mcp-tests/0"}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now

    async def next_second(self) -> None:
        self.now += 1


async def _next_second() -> None:
    # The server's own clock: its grain is a second, and nothing tells when the next begins.
    now = time.time()
    await anyio.sleep(int(now) + 1.02 - now)


@asynccontextmanager
async def _real(url: str, transport: Callable[[], httpx.AsyncHTTPTransport]) -> AsyncGenerator[Api]:
    async with httpx.AsyncClient(transport=transport(), base_url=url, headers=AGENT, timeout=30) as client:
        yield Api(client, embedded=False, next_second=_next_second)


@pytest.fixture
async def real_api(
    reflexio_url: str, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Api]:
    """The real server alone; a test that takes it is marked `live`."""
    async with _real(reflexio_url, live_transport) as real:
        yield real


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.live)])
def url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "embedded" else request.getfixturevalue("reflexio_url")


@pytest.fixture
async def api(
    url: str | None, tmp_path: Path, live_transport: Callable[[], httpx.AsyncHTTPTransport]
) -> AsyncIterator[Api]:
    if url is not None:
        async with _real(url, live_transport) as real:
            yield real
        return
    clock = Clock()
    store = StoreApp(str(tmp_path / "store.db"), clock=clock)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store), base_url="http://store", headers=AGENT
    ) as client:
        yield Api(client, embedded=True, next_second=clock.next_second)
    await store.aclose()
