"""HTTP/1.1 for clients that are slow, silent or too many, and an answer in one piece for all of them.

uvicorn limits how long a connection may be idle between requests, and nothing before or within one. Its
`limit_concurrency` answers 503 and leaves the connection open, so silent clients would keep everybody else out.
"""

import asyncio
import logging
from typing import Any, Final, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from reflexio_mcp.logs import event

__all__ = ["MOST_CONNECTIONS", "bounded"]

MOST_CONNECTIONS: Final = 4096

MOST_HELD_BYTES: Final = 64 * 1024
"""What is held back at most; more of it tells the writer at once when the client does not read."""


class GatheredWrites:
    """A transport that sends what is written in one turn of the event loop in one piece.

    uvicorn writes the head of an answer and its body apart: two system calls, and two packets that wake the client.
    """

    def __init__(self, inner: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._held = bytearray()

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held += data
        if len(self._held) >= MOST_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        held, self._held = self._held, bytearray()
        if held:
            self._inner.write(held)

    def close(self) -> None:
        self.flush()
        self._inner.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def bounded(head_seconds: float, *, most: int = MOST_CONNECTIONS) -> type[H11Protocol]:
    """Return a protocol class for uvicorn.

    Args:
        head_seconds: how long the head of a request may take, from the opening of the connection or its first byte,
            and how long the client may go on with a body that was answered already.
        most: connections that are open at the same time; a further one is closed.
    """

    class Bounded(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None
        _emptying: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(cast("Any", GatheredWrites(transport, self.loop)))
            if len(self.connections) > most:
                self._refuse("connections")
                transport.abort()
                return
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # Between two requests uvicorn's own keep-alive limit holds, until the first byte of the next.
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                if self._waiting is None:
                    self._wait()
            else:
                self._stop_waiting()
            if self._emptying is not None and not self._has_unread_body():
                self._stop_emptying()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            # Every further byte of it would end uvicorn's keep-alive limit, and nobody else waits for it any more.
            if self._has_unread_body() and not self.transport.is_closing():
                self._stop_emptying()
                self._emptying = self.loop.call_later(head_seconds, self._give_up, "unread_body")

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_emptying()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            self._refuse("not_http", status=400)
            try:
                super().send_400_response(msg)
            except h11.LocalProtocolError:  # in the middle of an answer, or after it
                self.transport.abort()

        def _has_unread_body(self) -> bool:
            return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

        def _refuse(self, reason: str, **facts: int) -> None:
            peer = self.client
            event("refused", logging.WARNING, reason=reason, peer=peer[0] if peer else "", **facts)

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(head_seconds, self._give_up, "slow_head")

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _stop_emptying(self) -> None:
            if self._emptying is not None:
                self._emptying.cancel()
                self._emptying = None

        def _give_up(self, reason: str) -> None:
            self._waiting = self._emptying = None
            self._refuse(reason)
            self.transport.abort()

    return Bounded
