"""Half a character on standard input is mended, so that its call gets an answer.

A host written in JavaScript that cuts a text in the middle of an emoji sends a lone UTF-16 surrogate, which is
well-formed JSON and no valid Unicode. The SDK's parser refuses such a line, and a refused line is never answered:
the call would hang until the client gives up.
"""

import re
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter
from pydantic import ValidationError

if TYPE_CHECKING:
    from mcp.shared._stream_protocols import ReadStream

__all__ = ["MendedStream", "mended"]

# An escaped backslash or a whole pair is matched to be skipped; only a surrogate that stands alone is caught.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)"
)


def mended(line: str) -> str:
    """The JSON text with every lone surrogate replaced by U+FFFD."""
    return _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], line)


class MendedStream:
    """A transport's incoming messages, with lines that were refused for half a character read once more."""

    def __init__(self, inner: "ReadStream[SessionMessage | Exception]") -> None:
        self._inner = inner

    async def receive(self) -> SessionMessage | Exception:
        item = await self._inner.receive()
        return _read_again(item) if isinstance(item, ValidationError) else item

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


def _read_again(refused: ValidationError) -> SessionMessage | Exception:
    line = refused.errors(include_url=False, include_context=False)[0]["input"]
    if not isinstance(line, str) or (whole := mended(line)) == line:
        return refused
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(whole, by_name=False))
    except ValidationError:
        return refused
