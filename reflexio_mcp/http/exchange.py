"""One HTTP request and its response: reads the body whole, answers once, and ends when either side goes away."""

from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflexio_mcp.http.refusal import Refusal
from reflexio_mcp.server.call_limiter import DISCONNECT, Disconnect

__all__ = ["Exchange", "Exchanges", "read_body"]

_FINISH_SECONDS: Final = 1.0
"""Longest attempt to end the response of a client that may not be reading."""


async def read_body(scope: Scope, receive: Receive, *, most: int, seconds: float) -> Receive:
    """Read the whole body before anything else waits for it.

    Args:
        most: bytes that are taken.
        seconds: how long it may take to arrive.

    Returns:
        A `receive` that gives the body at once, and then what the connection gives.

    Raises:
        Refusal: too large, or too slow.
    """
    too_large = Refusal(413, "body_too_large", f"The body is larger than {most // 2**20} MiB.")
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if declared.isdigit() and int(declared) > most:
        raise too_large
    body = bytearray()
    messages: deque[Message] = deque()
    with anyio.move_on_after(seconds) as limit:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                messages.append(message)
                break
            body += message.get("body", b"")
            if len(body) > most:
                raise too_large
            if not message.get("more_body", False):
                messages.append({"type": "http.request", "body": bytes(body), "more_body": False})
                break
    if limit.cancelled_caught:
        raise Refusal(408, "slow_body", "The body did not arrive in time; nothing was done.")

    async def replay() -> Message:
        return messages.popleft() if messages else await receive()

    return replay


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
