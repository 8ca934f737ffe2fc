"""Standard input and output as the server reads and writes them, so that no call stays without its answer.

The SDK drops a line that it cannot parse, and the client waits for an answer until it gives up. Half a character and a
byte order mark are repaired; other lines are refused under the id that they name.

At the end of input the SDK cancels what is running. A script that pipes its calls in closes its end with the last of
them, so the end is held back until they are answered.
"""

import json
import re
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, cast

import anyio
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

if TYPE_CHECKING:
    from reflexio_mcp.server.sdk import ReadStream, WriteStream

__all__ = ["Answers", "StdioStream", "mended"]

UNREADABLE: Final = (
    "This line is not JSON that the server reads: it breaks off, is nested too deep or has a number too long. "
    "Nothing was done."
)
NO_MESSAGE: Final = (
    'This is no JSON-RPC 2.0 request: jsonrpc must be "2.0", id a string or a whole number, method a string and params '
    "an object; batches are not taken. Nothing was done."
)

# An escaped backslash or a whole pair is matched to be skipped; only a surrogate that stands alone is caught.
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?+|[{}\[\]:]|[^\s{}\[\],:"]++', re.DOTALL)

ANSWER_SECONDS: Final = 10.0
"""Longest wait, after the end of input, for the answers to what was read before it."""


def mended(line: str) -> str:
    """The JSON text without a byte order mark, and with every lone surrogate replaced by U+FFFD.

    Windows shells write the mark before the first line. A host written in JavaScript that cuts a text in the middle
    of an emoji sends half of a pair: well-formed JSON and no valid Unicode.
    """
    return _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], line.lstrip("\ufeff"))


class _Stream:
    """What both directions have in common: closing the SDK's stream."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class Answers(_Stream):
    """A transport's outgoing messages, and which requests they leave without an answer."""

    def __init__(self, inner: "WriteStream[SessionMessage]") -> None:
        super().__init__(inner)
        self._unanswered: set[types.RequestId] = set()
        self._all_sent = anyio.Event()

    def note(self, item: SessionMessage | Exception) -> None:
        """Take in what the client sent: a request is owed an answer until it is cancelled."""
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, types.JSONRPCRequest):
            self._unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle((message.params or {}).get("requestId"))

    async def wait(self) -> None:
        """Wait until every request is answered, for `ANSWER_SECONDS` at the longest."""
        if self._unanswered:
            self._all_sent = anyio.Event()
            with anyio.move_on_after(ANSWER_SECONDS):
                await self._all_sent.wait()

    async def send(self, item: SessionMessage, /) -> None:
        try:
            await self._inner.send(item)
        finally:
            if isinstance(item.message, types.JSONRPCResponse | types.JSONRPCError):
                self._settle(item.message.id)

    def _settle(self, id_: Any) -> None:
        if isinstance(id_, str | int):
            self._unanswered.discard(id_)
        if not self._unanswered:
            self._all_sent.set()


class StdioStream(_Stream):
    """A transport's incoming messages, without what could not be read.

    Args:
        inner: the SDK's stream of messages, and of the errors that lines gave.
        answers: what is sent to the client. The end of input waits for those that are due.
    """

    def __init__(self, inner: "ReadStream[SessionMessage | Exception]", answers: Answers) -> None:
        super().__init__(inner)
        self._answers = answers

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self._inner.receive()
            except anyio.EndOfStream:
                await self._answers.wait()
                raise
            read = await self._read_again(item) if isinstance(item, ValidationError) else item
            if isinstance(read, SessionMessage) and _has_an_odd_id(read.message):
                await self._refuse({"id": None, "method": ""}, types.INVALID_REQUEST, NO_MESSAGE)
            elif read is not None:
                self._answers.note(read)
                return read

    async def _read_again(self, refused: ValidationError) -> SessionMessage | None:
        """The message in a line that was refused, if it can be mended; otherwise its sender is told."""
        first = refused.errors(include_url=False, include_context=False)[0]
        if first["type"] != "json_invalid":
            # The line is JSON and no message: its parts were tried as each kind of message.
            return await self._refuse(_whole(refused), types.INVALID_REQUEST, NO_MESSAGE)
        line: str = first["input"]
        repaired = mended(line)
        try:
            return SessionMessage(types.jsonrpc_message_adapter.validate_json(repaired, by_name=False))
        except ValidationError as again:
            if again.errors(include_url=False)[0]["type"] != "json_invalid":
                return await self._read_again(again)
        return await self._refuse(_top_level(line), types.PARSE_ERROR, UNREADABLE)

    async def _refuse(self, keys: dict[str, Any], code: int, text: str) -> SessionMessage | None:
        """Refuse a message under its id; an answer to a question of ours is refused for whoever asked it."""
        id_ = _id_of(keys.get("id"))
        if id_ is None and not {"id", "method"} <= keys.keys():
            return None  # nobody waits for an answer
        error = types.ErrorData(code=code, message=text)
        refusal = SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=id_, error=error))
        if "method" not in keys and {"result", "error"} & keys.keys():
            return refusal
        await self._answers.send(refusal)
        return None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


def _has_an_odd_id(message: types.JSONRPCMessage) -> bool:
    """Whether the SDK took a request for a notification, because its id is one such as `1.5` or `null`."""
    return isinstance(message, types.JSONRPCNotification) and not message.method.startswith("notifications/")


def _whole(refused: ValidationError) -> dict[str, Any]:
    """The message that was refused; of a batch, its first part."""
    for error in refused.errors(include_url=False, include_context=False):
        whole: Any = error["input"]
        if isinstance(whole, list) and whole:
            whole = cast("list[Any]", whole)[0]
        if isinstance(whole, dict) and ("method" in whole or "jsonrpc" in whole):
            return cast("dict[str, Any]", whole)
    return {}


def _top_level(line: str) -> dict[str, Any]:
    """What tells a request from an answer, and its id, in a line that may be broken."""
    found: dict[str, Any] = {}
    depth, key, after_colon = 0, None, False
    for match in _TOKEN.finditer(line, max(line.find("{"), 0)):
        part = match[0]
        if depth == 1 and after_colon and key in ("id", "method", "result", "error"):
            found[key] = _value_of(part)
        if part in "{[":
            depth += 1
        elif part in "}]":
            depth -= 1
            if depth == 0:
                break
        elif depth == 1 and not after_colon and part.startswith('"'):
            key = _value_of(part)
        after_colon = depth == 1 and part == ":"
    return found


def _id_of(value: object) -> types.RequestId | None:
    """The id to answer under; `None`, which JSON-RPC has for this, if the protocol has no such id."""
    if isinstance(value, float) and value.is_integer():
        return int(value)  # some languages know no other numbers
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _value_of(token: str) -> Any:
    try:
        return json.loads(mended(token), strict=False)
    except ValueError:
        return None
