"""HTTP/1.1 on the socket, for clients that are slow, silent or too many."""

import asyncio
import logging
import socket
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from reflexio_mcp.observing import event

__all__ = ["MOST_CONNECTIONS", "MOST_HEAD_BYTES", "bounded"]

MOST_CONNECTIONS: Final = 4096
MOST_HEAD_BYTES: Final = 32 * 1024


def bounded(head_seconds: float, *, most: int = MOST_CONNECTIONS) -> type[H11Protocol]:
    """A protocol class for uvicorn, which by itself would wait for the head of a request for ever.

    Args:
        head_seconds: how long a connection may take to send one, from its opening or its first byte.
        most: connections that are open at the same time; the next one is closed.
    """

    class Bounded(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            # asyncio does so only where a socket names its protocol, which those of `socket.create_server` do not. A
            # response goes out in two pieces, and the second would wait for the client's delayed acknowledgement.
            connection = transport.get_extra_info("socket")
            if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().connection_made(transport)
            if len(self.connections) > most:
                event("refused", logging.WARNING, reason="connections")
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

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _wait(self) -> None:
            self._waiting = self.loop.call_later(head_seconds, self._give_up)

        def _stop_waiting(self) -> None:
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None

        def _give_up(self) -> None:
            self._waiting = None
            peer = self.client
            event("refused", logging.WARNING, reason="slow_head", peer=peer[0] if peer else "")
            self.transport.abort()

    return Bounded
