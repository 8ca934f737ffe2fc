"""The embedded store as an ASGI app, for tests that serve it or change what it answers."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl

import anyio
import uvicorn
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp, Receive, Scope, Send

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.exchange import Call

PIECE_CHARS: Final = 256 * 1024


class StoreApp(EmbeddedStore):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        query = dict(parse_qsl(scope["query_string"].decode()))
        call = Call(scope["method"], scope["path"], "read", timeout=30, content=content, params=query)
        reply = await self.exchange(call, call.timeout)
        written = await self._written(reply.content)
        headers = {**reply.headers, "content-length": str(len(written))}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": written})

    async def _written(self, content: object) -> bytes:
        """Write JSON in pieces: in one, the calls of others would wait for all of a large answer."""
        written = bytearray()
        waited_at = 0
        for piece in json.JSONEncoder().iterencode(content):
            written += piece.encode()
            if len(written) - waited_at > PIECE_CHARS:
                waited_at = len(written)
                await checkpoint()
        return bytes(written)


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The store behind a real port of 127.0.0.1. Yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        with anyio.fail_after(60):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
