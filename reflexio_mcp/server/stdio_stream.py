"""Standard input and output as the server reads and writes them, so that no call stays without its answer.

Lines that the SDK refuses are repaired or answered. The SDK drops what it cannot parse, and the client waits for an
answer until it gives up. Three kinds are seen: half a character or a byte order mark, which are repaired; JSON that
is nested too deep or has a number too long; and JSON that is no message of the protocol.

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

__all__ = ["Answers", "StdioStream", "mended", "top_level"]

UNREADABLE: Final = (
    "This line is not JSON that the server reads: it breaks off, is nested too deep or has a number too long. "
    "Nothing was done."
)
NO_MESSAGE: Final = "This is no JSON-RPC 2.0 request: {problem}. Nothing was done."
BAD_ID: Final = "its id must be a string or a whole number"
BATCH: Final = (
    "Batches are not part of this protocol: send each request on a line of its own. Nothing was done."
)

# An escaped backslash or a whole pair is matched to be skipped; only a surrogate that stands alone is caught.
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)
# Possessive, and a text that breaks off ends at the end of the line: each character is looked at once.
_TOKEN: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?+|[{}\[\],:]|[^\s{}\[\],:"]++', re.DOTALL)

ANSWER_SECONDS: Final = 10.0
"""Longest wait, after the end of input, for the answers to what was read before it."""

_EXACT: Final = 2**53
"""From here on not every whole number is one as a float."""


def mended(line: str) -> str:
    """The JSON text without a byte order mark, and with every lone surrogate replaced by U+FFFD.

    Windows shells write the mark before the first line. A host written in JavaScript that cuts a text in the middle
    of an emoji sends half of a pair: well-formed JSON and no valid Unicode.
    """
    return _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], line.lstrip("\ufeff"))


def top_level(line: str) -> dict[str, str]:
    """The keys of the first object in a line that may be broken, each with its value's first token.

    A key that stands there twice has its last value, as a parser would take it.
    """
    found: dict[str, str] = {}
    depth, key, after_colon = 0, "", False
    for match in _TOKEN.finditer(line, max(line.find("{"), 0)):
        part = match[0]
        if depth == 1 and after_colon:
            found[key] = part
        if part in "{[":
            depth += 1
        elif part in "}]":
            depth -= 1
        elif depth == 1 and part.startswith('"') and not after_colon:
            key = _value_of(part) if "\\" in part else part[1:-1]
        after_colon = depth == 1 and part == ":"
        if depth == 0:
            break
    return found


class Answers:
    """A transport's outgoing messages, and which requests they leave without an answer.

    A call that has asked the client something is not waited for: there is nobody left to answer it.

    Args:
        inner: the SDK's stream.
    """

    def __init__(self, inner: "WriteStream[SessionMessage]") -> None:
        self._inner = inner
        self._unanswered: set[types.RequestId] = set()
        self._asked: set[types.RequestId] = set()
        self._all_sent = anyio.Event()

    def note(self, item: SessionMessage | Exception) -> None:
        """Take in what the client sent: a request is owed an answer until it is cancelled."""
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, types.JSONRPCRequest):
            self._unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle((message.params or {}).get("requestId"))
        elif isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
            self._asked.discard(message.id)

    async def wait(self) -> None:
        """Wait until every request is answered that can be, for `ANSWER_SECONDS` at the longest."""
        if self._due():
            self._all_sent = anyio.Event()
            with anyio.move_on_after(ANSWER_SECONDS):
                await self._all_sent.wait()

    async def send(self, item: SessionMessage, /) -> None:
        try:
            await self._inner.send(item)
        finally:
            if isinstance(item.message, types.JSONRPCResponse | types.JSONRPCError):
                self._settle(item.message.id)
            elif isinstance(item.message, types.JSONRPCRequest):
                self._asked.add(item.message.id)
                self._settle(None)

    def _due(self) -> bool:
        # Each call asks one thing at a time.
        return len(self._unanswered) > len(self._asked)

    def _settle(self, id_: Any) -> None:
        if isinstance(id_, str | int):
            self._unanswered.discard(id_)
        if not self._due():
            self._all_sent.set()

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


class StdioStream:
    """A transport's incoming messages, without what could not be read.

    Args:
        inner: the SDK's stream of messages and of the errors that lines gave.
        answers: what is sent to the client. The end of input waits for those that are due.
    """

    def __init__(self, inner: "ReadStream[SessionMessage | Exception]", answers: Answers) -> None:
        self._inner = inner
        self._answers = answers
        self._begun = False

    async def receive(self) -> SessionMessage | Exception:
        try:
            item = await self._next()
        except anyio.EndOfStream:
            await self._answers.wait()
            raise
        self._answers.note(item)
        return item

    async def _next(self) -> SessionMessage | Exception:
        while True:
            item = await self._inner.receive()
            if not isinstance(item, ValidationError):
                self._begun = True
                if _is_request_without_id(item):
                    await self._answers.send(
                        _error(None, types.INVALID_REQUEST, NO_MESSAGE.format(problem=BAD_ID))
                    )
                    continue
                return item
            if (message := await self._read_again(item)) is not None:
                return message

    async def _read_again(self, refused: ValidationError) -> SessionMessage | None:
        errors = refused.errors(include_url=False, include_context=False)
        whole = errors[0]["input"]
        if isinstance(whole, str) and errors[0]["type"] == "json_invalid":
            if (repaired := mended(whole)) != whole:
                try:
                    return SessionMessage(
                        types.jsonrpc_message_adapter.validate_json(repaired, by_name=False)
                    )
                except ValidationError as again:
                    return await self._read_again(again)
            keys = top_level(whole)
            if not keys and not self._begun and whole.strip():
                # Typed by a person, or piped in by mistake. A client that has begun a session never sees this: the
                # protocol's own schemas have no null id.
                await self._answers.send(_error(None, types.PARSE_ERROR, UNREADABLE))
                return None
            keys = {key: _value_of(token) if key == "id" else token for key, token in keys.items()}
            return await self._refuse(keys, types.PARSE_ERROR, UNREADABLE)
        if isinstance(whole, list) and len(errors[0]["loc"]) == 1:
            for one in cast("list[Any]", whole):
                if isinstance(one, dict):
                    await self._refuse(cast("dict[str, Any]", one), types.INVALID_REQUEST, BATCH)
            return None
        # The branches of the union report different parts of the message; one of them misses something in all of it.
        seen: list[Any] = [error["input"] for error in errors if error["type"] == "missing"]
        if not seen or not isinstance(seen[0], dict):
            return None
        request = cast("dict[str, Any]", seen[0])
        text = NO_MESSAGE.format(problem=_problem(request))
        return await self._refuse(request, types.INVALID_REQUEST, text)

    async def _refuse(self, keys: dict[str, Any], code: int, text: str) -> SessionMessage | None:
        id_ = _id_of(keys.get("id"))
        if id_ is None and not ("id" in keys and "method" in keys):
            return None  # nobody waits for an answer
        refusal = _error(id_, code, text)
        if "method" not in keys and ("result" in keys or "error" in keys):
            # An answer to a question of this server's: whoever waits for it hears that it could not be read.
            return refusal
        await self._answers.send(refusal)
        return None

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


def _error(id_: types.RequestId | None, code: int, text: str) -> SessionMessage:
    return SessionMessage(
        types.JSONRPCError(jsonrpc="2.0", id=id_, error=types.ErrorData(code=code, message=text))
    )


def _is_request_without_id(item: SessionMessage | Exception) -> bool:
    """Whether the SDK took for a notification what has an id of another kind, such as `1.5` or `null`."""
    message = item.message if isinstance(item, SessionMessage) else None
    return isinstance(message, types.JSONRPCNotification) and not message.method.startswith("notifications/")


def _problem(request: dict[str, Any]) -> str:
    if request.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    if not isinstance(request.get("method"), str):
        return "method must be a string"
    if "id" in request and _id_of(request["id"]) is None:
        return BAD_ID
    return "params must be an object"


def _id_of(value: object) -> types.RequestId | None:
    """The id to answer under; `None`, which JSON-RPC has for this, where it is none of the protocol's."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)  # some languages know no other numbers, and to them it is the same one
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def _value_of(token: str) -> Any:
    """What one JSON token stands for, or `None`."""
    try:
        return json.loads(mended(token), strict=False)
    except ValueError:
        return None
