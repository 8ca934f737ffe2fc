"""Reads bodies within bounds of size, time and number of values.

The bounds apply before the event loop parses a body: a million keys would block other callers for seconds.
"""

import re
from collections import Counter, deque
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from functools import cached_property
from typing import Any, Final, cast
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread
from starlette.types import Message, Receive

from reflexio_mcp.http.refusal import AGAIN, Refusal
from reflexio_mcp.rest.api_limits import MAX_BODY_BYTES
from reflexio_mcp.rest.exchange import parsed_json
from reflexio_mcp.traffic.turns import give_way

OPENING_BYTES: Final = 64 * 1024
"""Maximum size of a request that opens a session: the session keeps part of it."""

LIGHT_BYTES: Final = 64 * 1024
"""This much of each body is read without waiting. The rest of a large body waits for room in `LARGE_BYTES`."""

LARGE_BYTES: Final = 20 * 1024 * 1024
"""Room of one account for the large bodies that arrive or are worked on."""

NOTICE_BYTES: Final = 4 * 1024
"""Maximum size of a message that may overtake the calls of its account."""

MOST_BYTES: Final = 1024 * 1024
"""Maximum size of any other body than that of a publish."""

PUBLISH_BYTES: Final = MAX_BODY_BYTES + 64 * 1024
"""Maximum size of a publish: the limit of the API, and the envelope."""

SHARE_BYTES: Final = 24 * 1024 * 1024
"""While the bodies of one account together, light and large, are more than this, a further body is refused."""

BODY_SECONDS: Final = 30.0
MOST_VALUES: Final = 50_000
"""Maximum number of values, counted by their punctuation."""

# What begins or separates values, and the inside of a JSON text.
_VALUE: Final = re.compile(rb'["\[{,:]')
_TEXT: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_TEXT_BYTES: Final = 64 * 1024
"""How much of a text is read at once: `re` lets no other thread run meanwhile."""
_PUBLISH_TOOL: Final = "publish_interaction"


class Body:
    """A complete body.

    Args:
        kept: ends the counting of the body for its account when it is closed.
    """

    def __init__(self, content: bytes, receive: Receive, kept: ExitStack) -> None:
        self.size = len(content)
        self._content = content
        self._receive = receive
        self._replayed = False
        self._kept = kept

    def keep_until(self, over: ExitStack) -> None:
        """Count the body for its account until the stack is closed, and not only during the block of `Bodies.read`."""
        moved = self._kept.pop_all()  # so that the end of the block drops nothing
        over.push(moved)

    async def replay(self) -> Message:
        """Return the body, then the connection's messages."""
        if self._replayed:
            return await self._receive()
        self._replayed = True
        # The transport may keep this method long after it has read the body, in frames of a stream that has ended.
        content, self._content = self._content, b""
        return {"type": "http.request", "body": content, "more_body": False}

    @property
    def is_notice(self) -> bool:
        """Whether it is short and no call: a notification, an answer, or something that is refused later."""
        if self.size > NOTICE_BYTES:
            return False
        message = self._message
        is_call = "method" in message and "id" in message
        return not is_call

    @cached_property
    def tool(self) -> str:
        """The called tool; empty for other messages."""
        message = self._message
        params: Any = message.get("params") if message.get("method") == "tools/call" else None
        name: Any = cast("dict[str, Any]", params).get("name") if isinstance(params, dict) else None
        return name if isinstance(name, str) else ""

    async def check(self) -> None:
        """Raise a `Refusal` if the body has too many values, or is too large for what it is (413)."""
        if self.size > LIGHT_BYTES:
            await anyio.to_thread.run_sync(self._check)
        else:
            self._check()

    @property
    def _message(self) -> dict[str, Any]:
        try:
            sent = parsed_json(self._content)
        except (ValueError, RecursionError):
            return {}
        return cast("dict[str, Any]", sent) if isinstance(sent, dict) else {}

    def _check(self) -> None:
        if values_in(self._content) > MOST_VALUES:
            raise Refusal(413, f"The body has more than {MOST_VALUES:,} values.")
        if self.size > MOST_BYTES and self.tool != _PUBLISH_TOOL:
            raise _too_large(MOST_BYTES)


def values_in(content: bytes) -> int:
    """Count the values of a body by their punctuation, at most one more than are allowed."""
    values = place = 0
    while values <= MOST_VALUES and (found := _VALUE.search(content, place)):
        give_way()
        values += 1
        place = found.end()
        if found[0] == b'"':
            place = _behind_text(content, place)
    return values


def _behind_text(content: bytes, place: int) -> int:
    """Return the place behind a text whose inside begins at `place`; beyond the body if the text has no end."""
    while True:
        edge = place + _TEXT_BYTES
        inside = _TEXT.match(content, place, edge)
        assert inside  # the pattern matches even an empty text
        place = inside.end()
        if place < edge - 1:  # otherwise the edge may have cut the text, also within an escape of two bytes
            return place + 1
        give_way()


class _Room:
    """Bytes of large bodies that one account may still hold. Who needs more waits, in order."""

    def __init__(self) -> None:
        self._free = LARGE_BYTES
        self._waiting: deque[tuple[int, anyio.Event]] = deque()

    async def take(self, size: int) -> None:
        if not self._waiting and size <= self._free:
            self._free -= size
            return
        given = anyio.Event()
        self._waiting.append((size, given))
        try:
            await given.wait()
        except BaseException:
            if given.is_set():
                self.give_back(size)
            else:
                self._waiting.remove((size, given))
                self._give_to_waiting()  # those behind may need less
            raise

    def give_back(self, size: int) -> None:
        self._free += size
        self._give_to_waiting()

    def _give_to_waiting(self) -> None:
        """Give room to those who wait, in order, as long as there is enough."""
        while self._waiting:
            needed, given = self._waiting[0]
            if needed > self._free:
                return
            self._waiting.popleft()
            self._free -= needed
            given.set()


class Bodies:
    """Bodies in memory, counted for each account."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()
        self._rooms = WeakValueDictionary[str, _Room]()

    @asynccontextmanager
    async def read(
        self, receive: Receive, account: str, *, opens_session: bool, declared: int | None
    ) -> AsyncGenerator[Body]:
        """Read a body and count it during the block, or longer (`Body.keep_until`).

        Args:
            declared: its size, if the client says it.

        Raises:
            Refusal: it is too large (413) or slow (408), or the account sends too much at once (503).
        """
        most = OPENING_BYTES if opens_session else PUBLISH_BYTES
        with ExitStack() as kept:
            arriving = _Arriving(receive, most)
            kept.callback(lambda: self._drop(account, len(arriving.content)))
            await self._arrive(arriving, account, LIGHT_BYTES, share=SHARE_BYTES)
            if arriving.more:
                size = most if declared is None else min(declared, most)
                room = self._rooms.setdefault(account, _Room())
                await room.take(size)
                kept.callback(room.give_back, size)
                await self._arrive(arriving, account, most)
            yield Body(bytes(arriving.content), receive, kept)

    def _drop(self, account: str, size: int) -> None:
        self._held[account] -= size
        if not self._held[account]:
            del self._held[account]

    async def _arrive(
        self, arriving: "_Arriving", account: str, pause: int, *, share: int | None = None
    ) -> None:
        """Read until the body is complete or longer than `pause`.

        Args:
            share: refuse the body if the account holds more. `None` refuses nothing: a large body that has got its room
                is read to its end.
        """
        with anyio.move_on_after(BODY_SECONDS) as limit:
            while arriving.more and len(arriving.content) <= pause:
                size = await arriving.next_piece()
                # Not `+= await`, which would forget what other bodies added meanwhile.
                self._held[account] += size
                arriving.check()
                if share is not None and self._held[account] > share:
                    raise Refusal(503, "Your calls send too much data at once; try again in a moment.", AGAIN)
        if limit.cancelled_caught:
            raise Refusal(408, "The body did not arrive in time; nothing was done.")


class _Arriving:
    """A body that arrives. `most` is its maximum size."""

    def __init__(self, receive: Receive, most: int) -> None:
        self.content = bytearray()
        self.more = True
        self._names_publish = False
        self._receive = receive
        self._most = most

    async def next_piece(self) -> int:
        """Read a piece and return its size."""
        message = await self._receive()
        piece: bytes = message.get("body", b"")
        self.more = message.get("more_body", False)  # absent after a disconnect
        self.content += piece
        return len(piece)

    def check(self) -> None:
        """Raise a `Refusal` if the body is too large (413)."""
        if len(self.content) > MOST_BYTES and not self._names_publish:
            # Whether it is a publish is known only when the whole body is read. A body that has not named the tool of a
            # publish by now is refused.
            self._names_publish = self.content.find(_PUBLISH_TOOL.encode(), 0, MOST_BYTES) >= 0
            if not self._names_publish:
                raise _too_large(MOST_BYTES)
        if len(self.content) > self._most:
            raise _too_large(self._most)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"The body is larger than {most // 1024:,} KiB.")
