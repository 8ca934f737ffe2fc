"""Wraps standard input and output so that every call gets an answer.

The SDK drops a line that it cannot parse, and the client would wait in vain. Half a character and a byte order mark
are repaired; any other invalid object is refused if it has an id.

At the end of input the SDK cancels running calls. A script that pipes calls into the server closes its end early, so
cancelling waits up to `ANSWER_SECONDS` for answers.
"""

import re
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp import types
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

if TYPE_CHECKING:
    from reflexio_mcp.server.sdk import ReadStream, WriteStream

NO_MESSAGE: Final = (
    'This is not a JSON-RPC 2.0 request: jsonrpc must be "2.0", method a string and params an object; batches are not '
    "accepted. Nothing was done."
)

# Pairs and other escapes are matched to be skipped; group 1 is half a surrogate pair.
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)

ANSWER_SECONDS: Final = 10.0
"""Longest wait for answers at the end of input."""


def mended(line: str) -> str:
    """Remove a byte order mark, and replace each half of a surrogate pair by U+FFFD.

    Windows shells write the mark. JavaScript hosts send half a pair if they cut a text inside an emoji.
    """
    return _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], line.lstrip("\ufeff"))


class Answers(ObjectSendStream[SessionMessage]):
    """Outgoing messages and unanswered requests."""

    def __init__(self, inner: "WriteStream[SessionMessage]") -> None:
        self._inner = inner
        self._unanswered: set[types.RequestId] = set()
        self._all_sent = anyio.Event()

    def note(self, message: types.JSONRPCMessage) -> None:
        """Expect an answer to a request until it is cancelled."""
        if isinstance(message, types.JSONRPCRequest):
            self._unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification) and message.method == "notifications/cancelled":
            self._answered((message.params or {}).get("requestId"))

    async def wait(self) -> None:
        """Wait at most `ANSWER_SECONDS` for all answers."""
        if self._unanswered:
            self._all_sent = anyio.Event()
            with anyio.move_on_after(ANSWER_SECONDS):
                await self._all_sent.wait()

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def send(self, item: SessionMessage) -> None:
        try:
            await self._inner.send(item)
        finally:
            if isinstance(item.message, types.JSONRPCResponse | types.JSONRPCError):
                self._answered(item.message.id)

    def _answered(self, id_: Any) -> None:
        if isinstance(id_, str | int):
            self._unanswered.discard(id_)
        if not self._unanswered:
            self._all_sent.set()


class StdioStream(ObjectReceiveStream[SessionMessage | Exception]):
    """Incoming messages. Their end is delayed until calls are answered."""

    def __init__(self, inner: "ReadStream[SessionMessage | Exception]", answers: Answers) -> None:
        self._inner = inner
        self._answers = answers

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self._inner.receive()
            except anyio.EndOfStream:
                await self._answers.wait()
                raise
            read = await self._read_again(item) if isinstance(item, ValidationError) else item
            if isinstance(read, SessionMessage):
                self._answers.note(read.message)
            if read is not None:
                return read

    async def _read_again(self, refused: ValidationError) -> SessionMessage | None:
        """Repair a line that the SDK could not parse, or refuse it."""
        errors = refused.errors(include_url=False, include_context=False)
        if errors[0]["type"] == "json_invalid":
            line = mended(errors[0]["input"])
            try:
                return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValidationError as again:
                errors = again.errors(include_url=False, include_context=False)
        for error in errors:
            # The location of an error about the whole line is empty, or only the kind of message that was tried.
            is_the_line = len(error["loc"]) <= 1
            if is_the_line and isinstance(error["input"], list):
                await self._refuse_batch(cast("list[Any]", error["input"]))
                return None
        # Some errors concern the whole message and contain it.
        parts = [
            cast("dict[str, Any]", error["input"]) for error in errors if isinstance(error["input"], dict)
        ]
        # Booleans are not ids, but Python counts them as integers.
        message = next((part for part in parts if type(part.get("id")) in (str, int)), None)
        if message is None:
            return None  # no request is known, so no answer is due
        refusal = _refusal(message["id"])
        if message.keys() & {"result", "error"}:
            # The line was to answer a question of this server, which now gets the refusal as if the client had sent it,
            # and stops waiting.
            return refusal
        await self._answers.send(refusal)
        return None

    async def _refuse_batch(self, batch: list[Any]) -> None:
        """Refuse each request of a batch."""
        for message in batch:
            id_ = cast("dict[str, Any]", message).get("id") if isinstance(message, dict) else None
            if isinstance(id_, str | int) and not isinstance(id_, bool):
                await self._answers.send(_refusal(id_))


def _refusal(id_: types.RequestId) -> SessionMessage:
    error = types.ErrorData(code=types.INVALID_REQUEST, message=NO_MESSAGE)
    return SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=id_, error=error))
