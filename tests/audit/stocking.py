"""Stores that hold a deployment of the corpus, each request at its own time."""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import NotFound
from reflexio_mcp.rest.models import Interaction, LearningStatus, PublishBody, ToolUse
from tests.audit.corpus import Deployment, Row

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class LearningTransport(httpx.AsyncBaseTransport):
    """The embedded store, which learns nothing, with answers about learning put before it."""

    def __init__(self, inner: httpx.AsyncBaseTransport, learning: dict[str, str]) -> None:
        self.inner = inner
        self.learning = learning

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/learning_status":
            status = self.learning.get(request.url.params["request_id"])
            if status is None:
                return httpx.Response(404, json={"detail": "unknown"}, request=request)
            return httpx.Response(200, json={"status": status, "reason": None}, request=request)
        return await self.inner.handle_async_request(request)


class AsksOnce(ReflexioClient):
    """Asks about the learning of a request once, however often the same traffic is audited."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._known: dict[str, LearningStatus | NotFound] = {}

    async def learning_status(self, request_id: str) -> LearningStatus:
        if request_id not in self._known:
            try:
                self._known[request_id] = await super().learning_status(request_id)
            except NotFound as error:
                self._known[request_id] = error
        known = self._known[request_id]
        if isinstance(known, NotFound):
            raise known
        return known


def interactions(row: Row) -> list[Interaction]:
    return [
        Interaction.model_validate(
            {
                "role": turn.role,
                "content": turn.content,
                "user_action": turn.user_action,
                "user_action_description": turn.user_action_description,
                "interacted_image_url": turn.interacted_image_url,
                "image_encoding": PIXEL if turn.image else "",
                "tools_used": [ToolUse(tool_name=name) for name in turn.tools_used],
            }
        )
        for turn in row.turns
    ]


async def publish_row(client: ReflexioClient, row: Row) -> None:
    body = PublishBody(
        user_id=row.user_id,
        session_id=row.session_id,
        request_id=row.request_id,
        interaction_data_list=interactions(row),
        source=row.source,
        agent_version=row.agent_version,
        evaluation_only=row.evaluation_only,
    )
    await client.publish(body, minted=False)


@asynccontextmanager
async def stocked(made: Deployment, folder: Path) -> AsyncGenerator[ReflexioClient]:
    """A client of an embedded store with the deployment's traffic in it."""
    path = folder / f"store-{made.seed}.db"
    store = EmbeddedStore(str(path))
    transport = LearningTransport(httpx.ASGITransport(app=store), made.learning)
    client = AsksOnce("http://store.invalid", timeout=30, transport=lambda: transport)
    try:
        for row in made.rows:
            await publish_row(client, row)
        if made.rows:
            set_times(path, {row.request_id: row.created_at for row in made.rows})
        yield client
    finally:
        await client.aclose()
        await store.aclose()


def set_times(path: Path, times: dict[str, int]) -> None:
    """Move requests to when they are said to have arrived."""
    connection = sqlite3.connect(path, timeout=30)
    with connection:
        connection.executemany(
            "UPDATE requests SET created_at = ? WHERE request_id = ?",
            [(created_at, request_id) for request_id, created_at in times.items()],
        )
    connection.close()
