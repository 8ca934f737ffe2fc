"""Cursors: a place in a list that carries itself, so that any process can go on from it."""

import base64
import binascii
import functools
import json
import zlib
from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.search import check_search
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Cursor", "Listed", "Listing", "open_cursor"]

Listed = Literal["sessions", "requests"]
"""What a list has rows of."""

Listing = Literal[Listed, "audit"]

YEAR_10000: Final = 253_402_300_800
"""No second of a calendar that Python can write, and far more than any offset, is larger."""

_VERSION = 5
_MAX_CURSOR_CHARS = 20_000

_Count = Annotated[int, Field(ge=0, lt=YEAR_10000)]
_Filter = tuple[str, str, str, str, _Count | None, _Count | None, str, str]
_Place = tuple[
    _Count,
    _Count,
    _Count,
    str,
    _Count,
    _Count,
    str,
    Literal["", "summary", "full", "masked"],
    _Count,
    _Count,
    bool,
    _Count,
    _Count,
]
_Packed = tuple[int, str, int, _Filter, _Place, str]
"""What a cursor holds: version, list, digest of the filter as it was asked, filter, place and caller."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """After which request of which session a list goes on.

    Args:
        listing: the list it belongs to, or the audit.
        filter: the filter with its times resolved, so that an age means the same on every page.
        frozen: newest second that is looked at, epoch seconds: later arrivals stay out of every page.
        offset: where the last session stood when the page was made; a hint, checked against `newest`.
        newest, session_id: the last session's place in the API's order.
        arrived: where sessions of its second stood in the order of arrival, 1 more than the last session's
            `SessionSlice.arrival`; 0 where they stood in the API's. `offset` is then that before the first of them.
        created_at, arrival, request_id: the last request shown in it, as `paging.place_of` orders requests; an empty
            id says the whole session was shown.
        detail: how much of each row the list shows; every page of a list shows the same.
        shown: rows on this page and those before it; of a session that several pages count, one.
        begun: whether one of them counts the session that the place is in.
        compared_to, chosen: where sessions are compared for the filter, the newest second that was for the first page,
            and `comparison.digest_of` what that chose.
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
    arrived: int = 0
    begun: bool = False
    compared_to: int = 0
    chosen: int = 0

    def encode(self, asked: TrafficFilter, caller: str = "") -> str:
        """As text for the caller.

        Args:
            asked: the filter as the first call gave it.
            caller: the `Scope.caller` who may go on with it.
        """
        place = [self.frozen, self.offset, self.newest, self.session_id]
        place += [
            self.created_at,
            self.arrival,
            self.request_id,
            self.detail,
            self.shown,
            self.arrived,
            self.begun,
            self.compared_to,
            self.chosen,
        ]
        data = [_VERSION, self.listing[0], _digest(asked), list(_values(self.filter)), place, caller]
        raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
        packed = zlib.compress(raw, 9)
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _values(wanted: TrafficFilter) -> tuple[str | int | None, ...]:
    # How its times were written selects nothing, and what sessions show is looked up for each page.
    named = (wanted.user_id, wanted.session_id, wanted.source, wanted.agent_version)
    return (*named, wanted.start, wanted.end, wanted.contains, wanted.finding)


def _digest(asked: TrafficFilter) -> int:
    # Times are left out: an age gives another second on each call and the cursor holds the resolved ones.
    return zlib.crc32(repr(_values(replace(asked, start=None, end=None))).encode())


def open_cursor(
    scope: Scope, text: str, listing: Listing, asked: TrafficFilter, detail: str = "summary"
) -> Cursor:
    """Read a cursor back and check that it belongs here.

    A cursor carries its whole question, so a call needs nothing beside it. It cannot widen what its caller may see:
    the user of `scope` is laid over its filter again.

    Args:
        text: what `Cursor.encode` gave.
        listing: the list that is being asked for.
        asked: the filter of this call; either the one of the first call or one that names nothing.
        detail: as this call gave it; either that of the first call or the default.

    Raises:
        InvalidInput: not a cursor of this server, or one of another list, caller, filter or detail.
    """
    giver = "an audit" if listing == "audit" else "this list"
    spoiled = InvalidInput("cursor", f"is not one that {giver} gave; start again without it.")
    if len(text) > _MAX_CURSOR_CHARS:
        raise spoiled
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        inflate = zlib.decompressobj()
        raw = inflate.decompress(packed, 200_000)
        version, kind, digest, filtered, place, caller = _packed().validate_json(raw, strict=True)
        if (version, kind, caller) != (_VERSION, listing[0], scope.caller):
            raise spoiled
        cursor = Cursor(listing, TrafficFilter(*filtered), *place)
        # Whoever made it up could look for anything.
        check_search(cursor.filter.contains, cursor.filter.finding, masked=scope.masked)
    except InvalidInput:
        raise spoiled from None
    except (ValueError, TypeError, binascii.Error, zlib.error, RecursionError):
        raise spoiled from None
    if asked != TrafficFilter(user_id=scope.user_id) and digest != _digest(asked):
        raise InvalidInput(
            "cursor", "belongs to another filter; repeat that filter or start again without it."
        )
    if detail not in ("summary", cursor.detail):
        raise InvalidInput(
            "cursor", f"belongs to detail={cursor.detail}; leave detail out or start again without it."
        )
    try:
        return replace(cursor, filter=replace(cursor.filter, user_id=scope.user(cursor.filter.user_id)))
    except InvalidInput:
        raise spoiled from None


@functools.cache
def _packed() -> TypeAdapter[_Packed]:
    # Built for the first cursor: a server starts without it.
    return TypeAdapter(_Packed)
