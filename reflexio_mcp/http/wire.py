"""HTTP/1.1 on the socket, for clients that are slow, silent or too many."""

import asyncio
import logging
import socket
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from reflexio_mcp.logs import event

__all__ = ["MOST_CONNECTIONS", "bounded"]

MOST_CONNECTIONS: Final = 4096


def bounded(head_seconds: float, *, most: int = MOST_CONNECTIONS) -> type[H11Protocol]:
    """A protocol class for uvicorn, which by itself would wait for the head of a request for ever.

    Args:
        head_seconds: how long a connection may take to send one, from its opening or its first byte; and how long it
            may go on with a body after its answer.
        most: connections that are open at the same time; the next one is closed.
    """

    class Bounded(H11Protocol):
        _waiting: asyncio.TimerHandle | None = None
        _emptying: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            # asyncio does so only where a socket names its protocol, which those of `socket.create_server` do not. A
            # response goes out in two pieces, and the second would wait for the client's delayed acknowledgement.
            connection = transport.get_extra_info("socket")
            if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            super().connection_made(transport)
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

        def _unsupported_upgrade_warning(self) -> None:
            """What asks for another protocol is answered in this one."""

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
