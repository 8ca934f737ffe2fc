"""A Reflexio that keeps each key's traffic apart, as the hosted one does: an embedded store for every key."""

import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import uvicorn
from starlette.types import Message, Receive, Scope, Send

from tests.support.store_app import StoreApp


@dataclass
class TenantBackend:
    """What `tenant_backend` yields.

    Args:
        url: where it listens.
        calls: how often each key was brought; empty for none.
        headers: of the last call.
        refused: keys that begin so are answered with 401.
        held: while set, a call is received and not answered before `release`.
    """

    url: str = ""
    calls: Counter[str] = field(default_factory=Counter[str])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    stores: dict[str, StoreApp] = field(default_factory=dict[str, StoreApp])
    held: str = ""
    refused: str = "made-up"
    holding: int = 0
    ended: int = 0
    release: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        self.calls[key] += 1
        if (not key or key.startswith(self.refused)) and scope["path"] != "/health":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b'{"detail":"no key"}'})
            return
        if self.held and scope["path"].endswith(self.held):
            receive = await self._hold(receive)
        if (store := self.stores.get(key)) is None:
            store = self.stores[key] = StoreApp(":memory:")
        await store(scope, receive, send)

    async def _hold(self, receive: Receive) -> Receive:
        self.holding += 1
        taken: list[Message] = []

        async def until_gone() -> None:
            while not taken or taken[-1]["type"] != "http.disconnect":
                taken.append(await receive())
            self.ended += 1
            self.release.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_gone)
            await self.release.wait()
            tasks.cancel_scope.cancel()

        async def replay() -> Message:
            return taken.pop(0) if taken else await receive()

        return replay


@asynccontextmanager
async def tenant_backend() -> AsyncIterator[TenantBackend]:
    """Serve one on a free port of 127.0.0.1."""
    backend = TenantBackend()
    listener = socket.create_server(("127.0.0.1", 0))
    backend.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(backend, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    over = anyio.Event()

    async def run() -> None:
        await server._serve([listener])
        over.set()

    with listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            with anyio.fail_after(60):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await anyio.sleep(0.01)
            try:
                yield backend
            finally:
                backend.release.set()
                server.should_exit = True
                with anyio.CancelScope(shield=True), anyio.fail_after(60):
                    await over.wait()
    for store in backend.stores.values():
        store.close()
