"""One HTTP request and its response: answers once, and ends when either side goes away."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflexio_mcp.server.call_limiter import DISCONNECT, Disconnect

__all__ = ["Exchange", "Exchanges"]

_FINISH_SECONDS: Final = 1.0
"""Longest attempt to end the response of a client that may not be reading."""


class Exchange:
    """One request that is being answered.

    Args:
        send: of the connection.
        standing: whether its response is a stream that stays open as long as the client likes.
        started: is given the response's first message, and may change it.
    """

    def __init__(
        self, send: Send, *, standing: bool = False, started: Callable[[Message], None] | None = None
    ) -> None:
        self.scope = anyio.CancelScope()
        self.disconnect = Disconnect()
        self.standing = standing
        self._send = send
        self._on_start = started
        self.started = False
        self.complete = False

    async def send(self, message: Message) -> None:
        """Pass a message on. Messages after the end of the response are dropped."""
        if self.complete or (message["type"] == "http.response.start" and self.started):
            return
        if message["type"] == "http.response.start":
            self.started = True
            if self._on_start:
                self._on_start(message)
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    def listening(self, receive: Receive) -> Receive:
        """Return a `receive` that notices when the client goes away."""

        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not self.complete:
                self.disconnect.leave()
            return message

        return listen

    async def finish(self) -> None:
        """Complete the response: with 503 if it has not begun."""
        with suppress(OSError), anyio.move_on_after(_FINISH_SECONDS, shield=True):
            if not self.started:
                headers = [(b"retry-after", b"1"), (b"content-length", b"0"), (b"connection", b"close")]
                await self.send({"type": "http.response.start", "status": 503, "headers": headers})
            if not self.complete:
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})


class Exchanges:
    """The requests that are being answered. A server that stops waits for them and ends them."""

    def __init__(self) -> None:
        self._open: set[Exchange] = set()
        self._changed = anyio.Event()

    async def run(self, exchange: Exchange, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        """Let `app` answer."""
        scope[DISCONNECT] = exchange.disconnect
        async with self._listed(exchange):
            with exchange.scope:
                await app(scope, exchange.listening(receive), exchange.send)
            if exchange.scope.cancelled_caught:
                await exchange.finish()

    @asynccontextmanager
    async def _listed(self, exchange: Exchange) -> AsyncGenerator[None]:
        self._open.add(exchange)
        try:
            yield
        finally:
            self._open.discard(exchange)
            self._changed.set()

    async def wait_answered(self) -> None:
        """Wait until only streams are open."""
        while any(not exchange.standing for exchange in self._open):
            self._changed = anyio.Event()
            await self._changed.wait()

    def end_all(self) -> None:
        """End every open response, streams included."""
        for exchange in self._open:
            exchange.scope.cancel()
