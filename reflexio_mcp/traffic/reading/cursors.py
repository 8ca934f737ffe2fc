"""Cursors: a place in a list that carries itself, so that any process can go on from it."""

import base64
import binascii
import json
import zlib
from dataclasses import astuple, dataclass, replace
from typing import Final, Literal, cast

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.search import check_search
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Cursor", "Listing", "open_cursor"]

Listing = Literal["sessions", "requests"]

YEAR_10000: Final = 253_402_300_800
"""No second of a calendar that Python can write, and far more than any offset, is larger."""

_VERSION = 2
_MAX_CURSOR_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """After which request of which session a list goes on.

    Args:
        listing: the list it belongs to.
        filter: the filter with its times resolved, so that an age means the same on every page.
        frozen: newest second that is looked at, epoch seconds: later arrivals stay out of every page.
        offset: where the last session stood when the page was made; a hint, checked against `newest`.
        newest, session_id: the last session's place in the API's order.
        created_at, arrival, request_id: the last request shown in it, as `paging.place_of` orders requests; an empty
            id says the whole session was shown.
        detail: how much of each row the list shows; every page of a list shows the same.
        shown: rows on this page and those before it.
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

    def encode(self, asked: TrafficFilter, caller: str = "") -> str:
        """As text for the caller.

        Args:
            asked: the filter as the first call gave it.
            caller: the `Scope.caller` who may go on with it.
        """
        place = [self.frozen, self.offset, self.newest, self.session_id]
        place += [self.created_at, self.arrival, self.request_id, self.detail, self.shown]
        data = [_VERSION, self.listing[0], _digest(asked), list(astuple(self.filter)), place, caller]
        raw = json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
        packed = zlib.compress(raw, 9)
        return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _digest(asked: TrafficFilter) -> int:
    # Times are left out: an age gives another second on each call and the cursor holds the resolved ones.
    return zlib.crc32(repr(astuple(replace(asked, start=None, end=None))).encode())


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
    spoiled = InvalidInput("cursor", "is not one that this list gave; start again without it.")
    if len(text) > _MAX_CURSOR_CHARS:
        raise spoiled
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        inflate = zlib.decompressobj()
        raw = inflate.decompress(packed, 200_000)
        version, kind, digest, filtered, place, caller = json.loads(raw)
        if (version, kind, caller) != (_VERSION, listing[0], scope.caller) or not _well_formed(
            filtered, place
        ):
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


def _well_formed(filtered: object, place: object) -> bool:
    if not isinstance(filtered, list) or not isinstance(place, list):
        return False
    parts = cast("list[object]", filtered)
    spot = cast("list[object]", place)
    texts = [parts[i] for i in (0, 1, 2, 3, 6, 7)] if len(parts) == 8 else [None]
    times = parts[4:6] if len(parts) == 8 else []
    return (
        all(isinstance(text, str) for text in texts)
        and all(time is None or _is_count(time) for time in times)
        and len(spot) == 9
        and all(_is_count(spot[i]) for i in (0, 1, 2, 4, 5, 8))
        and all(isinstance(spot[i], str) for i in (3, 6, 7))
        and spot[7] in ("", "summary", "full", "masked")
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < YEAR_10000
