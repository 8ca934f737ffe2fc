"""Reads bodies within bounds of size, time and number of values.

The bounds apply before the event loop parses a body: a million keys would block other callers for seconds.
"""

import json
import re
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property
from typing import Any, Final, cast

import anyio
from starlette.types import Message, Receive

from reflexio_mcp.http.refusal import AGAIN, Refusal
from reflexio_mcp.rest.api_limits import MAX_BODY_BYTES

OPENING_BYTES: Final = 64 * 1024
"""Maximum size of a request that opens a session: the session keeps part of it."""

MOST_BYTES: Final = 1024 * 1024
PUBLISH_BYTES: Final = MAX_BODY_BYTES + 64 * 1024
"""Maximum size of a publish: the limit of the API, and the envelope."""

SHARE_BYTES: Final = 24 * 1024 * 1024
"""Maximum for one account: arriving bodies, and bodies of running calls."""

BODY_SECONDS: Final = 30.0
MOST_VALUES: Final = 50_000
"""Maximum number of values, counted by their punctuation."""

_PUNCTUATION: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,:]', re.DOTALL)
_LARGE: Final = "publish_interaction"


class Body:
    def __init__(self, content: bytes, receive: Receive) -> None:
        self._content = content
        self._receive = receive
        self._replayed = False

    async def replay(self) -> Message:
        """Return the body, then the connection's messages."""
        if self._replayed:
            return await self._receive()
        self._replayed = True
        return {"type": "http.request", "body": self._content, "more_body": False}

    @property
    def size(self) -> int:
        return len(self._content)

    @cached_property
    def tool(self) -> str:
        """The called tool; empty for other messages."""
        try:
            sent: Any = json.loads(self._content)
        except (ValueError, RecursionError):
            return ""
        message = cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}
        params: Any = message.get("params") if message.get("method") == "tools/call" else None
        name: Any = cast("dict[str, Any]", params).get("name") if isinstance(params, dict) else None
        return name if isinstance(name, str) else ""


class Bodies:
    """Bodies in memory, counted for each account."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    @contextmanager
    def count(self, account: str, size: int) -> Generator[None]:
        """Count `size` bytes during the block."""
        self._held[account] += size
        try:
            yield
        finally:
            self._drop(account, size)

    @asynccontextmanager
    async def read(self, receive: Receive, account: str, *, opens_session: bool) -> AsyncGenerator[Body]:
        """Read a body and count it during the block.

        Raises:
            Refusal: it is too large (413) or slow (408), or the account sends too much at once (503).
        """
        content = bytearray()
        try:
            with anyio.move_on_after(BODY_SECONDS) as limit:
                await self._arrive(
                    receive, content, account, OPENING_BYTES if opens_session else PUBLISH_BYTES
                )
            if limit.cancelled_caught:
                raise Refusal(408, "The body did not arrive in time; nothing was done.")
            if any(number > MOST_VALUES for number, _ in enumerate(_PUNCTUATION.finditer(content))):
                raise Refusal(413, f"The body has more than {MOST_VALUES:,} values.")
            body = Body(bytes(content), receive)
            if len(content) > MOST_BYTES and body.tool != _LARGE:
                raise _too_large(MOST_BYTES)
            yield body
        finally:
            self._drop(account, len(content))

    def _drop(self, account: str, size: int) -> None:
        self._held[account] -= size
        if not self._held[account]:
            del self._held[account]

    async def _arrive(self, receive: Receive, content: bytearray, account: str, most: int) -> None:
        more = True
        while more:
            message = await receive()
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)  # absent after a disconnect
            content += chunk
            self._held[account] += len(chunk)
            if len(content) > MOST_BYTES and content.find(_LARGE.encode(), 0, MOST_BYTES) < 0:
                raise _too_large(MOST_BYTES)
            if len(content) > most:
                raise _too_large(most)
            if self._held[account] > SHARE_BYTES:
                raise Refusal(503, "Your calls send too much data at once; try again in a moment.", AGAIN)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"The body is larger than {most // 1024:,} KiB.")
