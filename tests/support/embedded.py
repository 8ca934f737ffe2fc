"""An embedded store with a clock of its own, behind the project's client."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody
from reflexio_mcp.traffic.scope import Scope
from tests.support.store_app import StoreApp

START = 1_790_000_000
"""Where the clock stands first, epoch seconds."""


@dataclass
class Clock:
    """Seconds since the epoch, moved by hand."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Embedded:
    """A client of a store in memory, its clock, and a way to fill it."""

    client: ReflexioClient
    clock: Clock = field(default_factory=Clock)

    @property
    def scope(self) -> Scope:
        return Scope(self.client)

    async def put(
        self,
        request_id: str,
        *,
        user: str = "ada",
        session: str = "s",
        source: str = "",
        version: str = "",
        text: str = "words",
        interactions: int = 1,
        evaluation_only: bool = False,
    ) -> None:
        """Store one request at the clock's present."""
        body = PublishBody(
            user_id=user,
            session_id=session,
            request_id=request_id,
            interaction_data_list=[Interaction(content=text) for _ in range(interactions)],
            source=source,
            agent_version=version,
            evaluation_only=evaluation_only,
        )
        await self.client.publish(body, minted=False)


@asynccontextmanager
async def embedded(path: str = ":memory:") -> AsyncGenerator[Embedded]:
    """An embedded store for one test."""
    clock = Clock()
    store = StoreApp(path, clock=clock)
    client = ReflexioClient("http://store", transport=httpx.ASGITransport(app=store))
    try:
        yield Embedded(client, clock)
    finally:
        await client.aclose()
        await store.aclose()
