"""Cursors: a place in a list as text, with the list, its caller and its question, for any process."""

import base64
import functools
import json
import zlib
from dataclasses import astuple, dataclass, replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.filters import TrafficFilter, check_search
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Cursor", "Listing", "open_cursor", "question_of", "read_place", "write_place"]

Listing = Literal["sessions", "requests", "audit"]

YEAR_10000: Final = 253_402_300_800
"""No second that Python can write as a date is larger, and no offset is."""

_VERSION: Final = 6
_MAX_CURSOR_CHARS: Final = 20_000
_MAX_CHARS: Final = 200_000

_Count = Annotated[int, Field(ge=0, lt=YEAR_10000)]
_Filter = tuple[str, str, str, str, _Count | None, _Count | None, str, str, bool | None]
_Place = tuple[_Count, _Count, _Count, str, _Count, _Count, str, str, _Count]


@functools.cache
def _reader() -> TypeAdapter[tuple[_Filter, _Place]]:
    return TypeAdapter(tuple[_Filter, _Place])  # built for the first cursor: a server starts without it


def write_place(listing: str, scope: Scope, question: object, place: object) -> str:
    """A place in the list that answers a question, as text for the caller; `place` is JSON values."""
    data = [_VERSION, listing, scope.owner, _digest(question), place]
    raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(zlib.compress(raw, 9)).rstrip(b"=").decode()


def read_place(text: str, listing: str, scope: Scope, *questions: object) -> Any:
    """The place that `write_place` wrote for one of these questions; any question if none is given.

    Raises:
        InvalidInput: not a cursor of this list and caller, or of another question.
    """
    try:
        if len(text) > _MAX_CURSOR_CHARS:
            raise ValueError
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        raw = zlib.decompressobj().decompress(packed, _MAX_CHARS)
        version, kind, owner, digest, place = json.loads(raw)
        if [version, kind, owner] != [_VERSION, listing, scope.owner]:
            raise ValueError
    except (ValueError, TypeError, zlib.error, RecursionError):
        raise _spoiled() from None
    if questions and digest not in map(_digest, questions):
        raise InvalidInput(
            "cursor", "belongs to another call; repeat its arguments or start again without it."
        )
    return place


def _digest(question: object) -> int:
    return zlib.crc32(repr(question).encode("utf-8", "replace"))


def _spoiled() -> InvalidInput:
    return InvalidInput("cursor", "is not one that this call gave; start again without it.")


@dataclass(frozen=True, slots=True)
class Cursor:
    """After which request of which session a list goes on.

    Args:
        filter: the filter with its times resolved, so that an age means the same on every page.
        frozen: the newest second of the list: later arrivals stay out of every page.
        offset: the last session's place in the API's list when the page was made; a hint, checked against `newest`.
        newest, session_id: the last session's newest request and its id.
        created_at, arrival, request_id: the last request shown, as `paging.place_of` orders requests; an empty id
            says that the whole session was shown.
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
        """As text for the caller; `asked` is the filter as the first call gave it."""
        _, _, *place = astuple(self)
        return write_place(self.listing, scope, question_of(asked), [_values(self.filter), place])


def open_cursor(
    scope: Scope, text: str, listing: Listing, asked: TrafficFilter, detail: str = "summary"
) -> Cursor:
    """Read a cursor back. It cannot widen what its caller may see: the scope's user is laid over its filter again.

    Args:
        asked, detail: as this call gave them: the same as in the first call, or the default.

    Raises:
        InvalidInput: not a cursor of this server, or one of another list, caller, filter or detail.
    """
    questions = [] if asked == TrafficFilter(user_id=scope.user_id) else [question_of(asked)]
    place = read_place(text, listing, scope, *questions)
    try:
        values, fields = _reader().validate_json(json.dumps(place), strict=True)
        wanted = TrafficFilter(*values)
        # A made-up cursor could look for anything.
        check_search(wanted.contains, wanted.finding, masked=scope.masked)
        cursor = Cursor(listing, replace(wanted, user_id=scope.user(wanted.user_id)), *fields)
    except (InvalidInput, ValueError, TypeError):
        raise _spoiled() from None
    if detail not in ("summary", cursor.detail):
        raise InvalidInput(
            "cursor", f"belongs to detail={cursor.detail}; leave detail out or start again without it."
        )
    return cursor


def _values(wanted: TrafficFilter) -> list[Any]:
    return list(astuple(wanted)[:-1])  # without how its times were written


def question_of(asked: TrafficFilter) -> list[Any]:
    """What a filter asks for, as a cursor is bound to it."""
    # Without times: an age gives another second on each call, and the cursor has the resolved ones.
    return _values(replace(asked, start=None, end=None))
