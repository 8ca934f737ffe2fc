"""Cursors: positions in lists as text, bound to the list, its caller and its question, valid in any process."""

import base64
import functools
import json
import zlib
from dataclasses import asdict, astuple, dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.filters import TrafficFilter, check_search
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Cursor", "decode_cursor", "encode_cursor", "open_cursor", "question_of"]

Listing = Literal["sessions", "requests", "audit"]

YEAR_10000: Final = 253_402_300_800
"""The first second that Python cannot write as a date. The other numbers of a cursor are smaller, too."""

_VERSION: Final = 8
_MAX_CURSOR_CHARS: Final = 20_000
_MAX_UNPACKED_BYTES: Final = 200_000

_Count = Annotated[int, Field(ge=0, lt=YEAR_10000)]
# The fields of `Cursor` after `listing` and `filter`, in their order.
_Position = tuple[_Count, _Count, _Count, str, _Count, _Count, str, str, _Count]


@functools.cache
def _reader() -> TypeAdapter[tuple[TrafficFilter, _Position]]:
    return TypeAdapter(tuple[TrafficFilter, _Position])  # built late: a server starts faster


def encode_cursor(listing: str, scope: Scope, question: object, position: object) -> str:
    """Return a cursor for a position in a list. `position` is JSON values."""
    data = [_VERSION, listing, scope.owner, _digest(question), position]
    raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(zlib.compress(raw, 9)).rstrip(b"=").decode()


def decode_cursor(text: str, listing: str, scope: Scope, *questions: object) -> Any:
    """Return the position of a cursor that was made for one of these questions; if there are none, for any question.

    Raises:
        InvalidInput: not a cursor of this list, caller and question.
    """
    try:
        if len(text) > _MAX_CURSOR_CHARS:
            raise ValueError
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        raw = zlib.decompressobj().decompress(packed, _MAX_UNPACKED_BYTES)
        version, kind, owner, digest, position = json.loads(raw)
        if [version, kind, owner] != [_VERSION, listing, scope.owner]:
            raise ValueError
    except (ValueError, TypeError, zlib.error, RecursionError):
        raise _spoiled() from None
    if questions and digest not in map(_digest, questions):
        raise InvalidInput(
            "cursor", "belongs to another call; repeat its arguments, or leave the cursor out."
        )
    return position


def _digest(question: object) -> int:
    return zlib.crc32(repr(question).encode("utf-8", "replace"))


def _spoiled() -> InvalidInput:
    return InvalidInput("cursor", "is not a cursor of this call; start again without it.")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last request that a list has shown.

    Args:
        filter: the filter with its times resolved, so that an age means the same on every page.
        frozen: the newest second of the list; later arrivals are left out of every page.
        offset: the last session's position in the API's list when the page was made. It is a hint, checked against
            `newest`.
        newest, session_id: the time of the last session's newest request, and the session's id.
        created_at, arrival, request_id: the last shown request's sort key, from `content.order_of`; an empty id means
            the whole session.
        shown: rows on this page and the earlier ones.
    """

    listing: Listing
    filter: TrafficFilter
    frozen: int
    offset: int
    newest: int
    session_id: str
    created_at: int = 0
    arrival: int = 0
    request_id: str = ""
    detail: str = ""
    shown: int = 0

    def encode(self, scope: Scope, asked: TrafficFilter) -> str:
        _listing, _filter, *position = astuple(self)
        return encode_cursor(self.listing, scope, question_of(asked), [_set_fields(self.filter), position])


def open_cursor(
    scope: Scope, text: str, listing: Listing, asked: TrafficFilter, detail: str = "summary"
) -> Cursor:
    """Read a cursor. It cannot widen what its caller may see: the scope's user replaces the user in its filter.

    Args:
        asked: the same filter as in the first call, or no filter: one that names nothing but the scope's user.
        detail: the same as in the first call, or the default.

    Raises:
        InvalidInput: not a cursor of this list, caller, filter and detail.
    """
    no_filter = TrafficFilter(user_id=scope.user_id)
    questions = [] if asked == no_filter else [question_of(asked)]
    position = decode_cursor(text, listing, scope, *questions)
    try:
        wanted, fields = _reader().validate_json(json.dumps(position), strict=True)
        times = [second for second in (wanted.start_time, wanted.end_time) if second is not None]
        if not all(0 <= second < YEAR_10000 for second in times):
            raise ValueError
        # A forged cursor could search for anything.
        check_search(wanted.contains, wanted.finding, masked=scope.masked)
        cursor = Cursor(listing, replace(wanted, user_id=scope.user(wanted.user_id)), *fields)
    except (InvalidInput, ValueError, TypeError):
        raise _spoiled() from None
    if detail not in ("summary", cursor.detail):
        raise InvalidInput("cursor", f"belongs to detail={cursor.detail}; leave out detail or the cursor.")
    return cursor


def question_of(asked: TrafficFilter) -> list[Any]:
    """Return what a later call has to repeat. Of the times, it has only whether they are given."""
    # An age gives another second on each call, and the cursor has the resolved times.
    times = [asked.start_time is not None, asked.end_time is not None]
    return [*astuple(replace(asked, start_time=None, end_time=None)), *times]


def _set_fields(wanted: TrafficFilter) -> dict[str, Any]:
    return {name: value for name, value in asdict(wanted).items() if value not in (None, "")}
