"""Filters by a finding that only sessions show that are compared with each other."""

import math
import time
import zlib
from dataclasses import replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import Cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionSlice
from reflexio_mcp.traffic.reading.search import ACROSS
from reflexio_mcp.traffic.scope import Scope

__all__ = ["COMPARED_SECONDS", "compared", "digest_of"]

COMPARED_SECONDS: Final = 15.0
"""For reading the sessions that a list compares. What it shows of them is read again behind it, and clients give up on
a call after 60 s."""

FINISH_SECONDS: Final = 10.0
"""More for comparing what was read."""

REQUESTS_A_LOOK: Final = 100
"""Requests that are handed to a worker thread at a time."""


async def compared(
    scope: Scope, wanted: TrafficFilter, *, seconds: float = math.inf, after: Cursor | None = None
) -> TrafficFilter:
    """The filter with the requests that its finding chooses, where only a comparison of sessions shows them.

    All sessions that the rest of the filter selects are read and compared. Any other filter is returned as it is.

    Args:
        seconds: for reading them.
        after: where a list goes on: what came later than its first page is not compared.

    Raises:
        InvalidInput: they are more than can be read in that time or compared, or show other requests than they did for
            the first page.
    """
    if wanted.finding not in ACROSS:
        return wanted
    from reflexio_mcp.traffic.rules.detector import SessionSeen
    from reflexio_mcp.traffic.rules.duplicates import CopiedSessions  # loads the detectors

    until = time.monotonic() + seconds
    # A session is a copy beside another one only.
    end = after.compared_to if after else wanted.end
    beside = replace(wanted, finding="", session_id="", end=end)
    detector = CopiedSessions()
    detector.until = until + FINISH_SECONDS

    def look(slices: list[SessionSlice]) -> None:
        for one in slices:
            if items := beside.pick(one.whole):
                detector.session(SessionSeen(one.session_id, items))

    waiting: list[SessionSlice] = []
    pager = SessionPager(scope, beside)
    async for session_slice in pager.slices():
        waiting.append(session_slice)
        if sum(len(one.whole) for one in waiting) >= REQUESTS_A_LOOK:
            await anyio.to_thread.run_sync(look, waiting)
            waiting = []
        if time.monotonic() >= until:
            raise _too_many(wanted, scope, f"than could be read in {seconds:.0f} s")
    await anyio.to_thread.run_sync(look, waiting)
    await anyio.to_thread.run_sync(detector.finish)
    if detector.left_out:
        raise _too_many(wanted, scope, f"than are compared ({detector.left_out})")
    found = replace(wanted, chosen=detector.copies, compared_to=pager.frozen)
    if after and digest_of(found) != after.chosen:
        # An earlier page may have shown as a copy what now is the one that stays.
        raise InvalidInput(
            "cursor",
            "goes on with copies that are others by now: something was deleted or stored since the first page; start "
            "again without it.",
        )
    return found


def digest_of(wanted: TrafficFilter) -> int:
    """Of what a comparison chose and what stays of it; 0 where none was needed."""
    return zlib.crc32(repr(sorted(wanted.chosen.items())).encode()) if wanted.chosen is not None else 0


def _too_many(wanted: TrafficFilter, scope: Scope, than: str) -> InvalidInput:
    user = "" if wanted.user_id or scope.user_id else "a user_id or "
    return InvalidInput(
        "finding",
        f"{wanted.finding} compares all sessions with each other, and there are more {than}. Name {user}a later "
        "start_time.",
    )
