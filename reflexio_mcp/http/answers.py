"""Answers on their way to clients, counted for each account until they are read."""

from typing import TYPE_CHECKING, Final

from anyio.abc import ObjectSendStream
from mcp.shared.message import SessionMessage
from starlette.types import Message, Send

from reflexio_mcp.traffic.turns import Turns

if TYPE_CHECKING:
    from reflexio_mcp.server.sdk import WriteStream

PIECE_BYTES: Final = 64 * 1024
"""A connection takes the next piece of an answer when its client has read the piece before."""


def counting(turns: Turns, account: str, send: Send) -> Send:
    """Send answers in pieces. All of an answer counts as unread until its last piece is sent."""

    async def counted(message: Message) -> None:
        body: bytes = message.get("body", b"")
        with turns.unread(account, len(body)):
            sent = 0
            while len(body) - sent > PIECE_BYTES:
                piece = body[sent : sent + PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += PIECE_BYTES
            if sent:
                message = {**message, "body": body[sent:]}
            await send(message)

    return counted


class CountedAnswers(ObjectSendStream[SessionMessage]):
    """The messages of a stream at `/sse`, counted until the stream takes them."""

    def __init__(self, inner: "WriteStream[SessionMessage]", turns: Turns, account: str) -> None:
        self._inner = inner
        self._turns = turns
        self._account = account

    async def send(self, item: SessionMessage) -> None:
        size = len(item.message.model_dump_json(by_alias=True, exclude_unset=True))
        with self._turns.unread(self._account, size):
            await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()
