"""The one way through stored traffic: sessions in the API's order, against a frozen end.

The API pages by an offset that counts sessions, so arrivals shift its pages, and it gives whole sessions only. A pager
freezes the newest second it looks at, knows its place by the last session's own key instead of by the offset alone,
and can stop and go on inside a session.
"""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Final

import anyio

from reflexio_mcp.rest.errors import NotTheApi
from reflexio_mcp.rest.models import RequestPage, RequestWithInteractions, SessionGroup
from reflexio_mcp.traffic.reading.cursors import Cursor, Listing
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.gaps import Gap, read_page
from reflexio_mcp.traffic.scope import Scope

__all__ = ["SESSIONS_AT_ONCE", "SessionPager", "SessionSlice", "place_of"]

SESSIONS_AT_ONCE: Final = 100
"""Sessions asked for at a time where all of them are read: what is in memory of a store at most."""

SETTLE_SECONDS: Final = 1
"""A second counts as closed when this many whole ones lie behind it: the API stamps a request on arrival and
stores it a little later."""

IDLE_PAGES: Final = 3
"""Pages without a session that was not met before, beyond those that lead back to where the pager was."""

MAX_SETTLE_WAIT: Final = 3.0
"""Longest wait, in seconds, for the newest second to close; a server whose clock runs ahead is not waited for."""


@dataclass(frozen=True, slots=True)
class SessionSlice:
    """What a pager still has to show of one session: its requests, the newest first.

    Args:
        newest: the session's newest request matching the API's part of the filter, epoch seconds.
        offset: its place in the API's list when it was read.
        whole: all requests of the session that the API's part of the filter matches, those of earlier pages included:
            some findings show only in all of it.
    """

    session_id: str
    newest: int
    offset: int
    requests: list[RequestWithInteractions]
    whole: list[RequestWithInteractions]


class SessionPager:
    """A pass over the sessions that match a filter, the newest first.

    Iterate with `slices()`. The pager yields what the API matched, inside the caller's scope; the rest of the filter
    is not applied.

    Args:
        scope: the client and the user it is confined to.
        wanted: the filter.
        after: where an earlier page stopped.
        batch: sessions asked for at a time.
    """

    def __init__(
        self,
        scope: Scope,
        wanted: TrafficFilter,
        *,
        after: Cursor | None = None,
        batch: int = SESSIONS_AT_ONCE,
    ) -> None:
        self._scope = scope
        self._filter = wanted
        self._after = after
        self._batch = batch
        self._frozen = after.frozen if after else None
        self._clock = 0.0
        self.requests_seen = 0
        self.on_last_page = False
        self._gaps: dict[str, Gap] = {}

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """What the service could not return of the pages that were read so far."""
        return tuple(self._gaps.values())

    @property
    def settled(self) -> bool:
        """Whether no request can arrive any more inside the frozen range, so that a cursor may be given."""
        return (
            self._after is not None
            or self._frozen is None
            or self._frozen + SETTLE_SECONDS < int(self._clock)
        )

    async def settle(self) -> None:
        """Wait until the newest second is closed; `slices()` then starts again."""
        if self._frozen is not None:
            wait = self._frozen + SETTLE_SECONDS + 1 - self._clock
            await anyio.sleep(min(max(wait, 0.0), MAX_SETTLE_WAIT))
            self._clock = float(self._frozen + SETTLE_SECONDS + 1)

    def cursor(
        self, listing: Listing, session_slice: SessionSlice, last: RequestWithInteractions | None
    ) -> Cursor:
        """The place behind `last` in `session_slice`, or behind the whole slice when `last` is `None`."""
        assert self._frozen is not None
        return Cursor(
            listing,
            self._filter,
            self._frozen,
            session_slice.offset,
            session_slice.newest,
            session_slice.session_id,
            *(place_of(last) if last else (0, 0, "")),
        )

    async def slices(self) -> AsyncGenerator[SessionSlice]:
        """Yield what is left of each session, the newest first."""
        self.requests_seen = 0
        self._gaps.clear()
        offset, page = await self._start()
        seen: set[str] = set()
        met: set[str] = set()
        idle = 0
        while True:
            # Going back over known ground takes pages that bring nothing new, but never more than there are.
            self.on_last_page = not page.has_more
            known = len(met)
            met.update(group.session_id for group in page.sessions)
            idle = 0 if len(met) > known else idle + 1
            if idle > known // self._batch + IDLE_PAGES:
                raise NotTheApi("its pages repeat themselves instead of going on", effect="none")
            for index, group in enumerate(page.sessions):
                # A deletion meanwhile pulls later sessions forward: step back over what was yielded.
                if group.session_id in seen or not (rows := self._visible(group)):
                    continue
                seen.add(group.session_id)
                found = SessionSlice(group.session_id, rows[0].request.created_at, offset + index, rows, rows)
                left = self._left(found)
                self.requests_seen += len(left)
                if left:
                    yield replace(found, requests=left)
            if not page.has_more or not page.sessions:
                return
            # One session of overlap shows whether the pages have shifted meanwhile.
            last = page.sessions[-1].session_id
            offset, page = await self._follow(offset + len(page.sessions) - 1, last)

    async def _start(self) -> tuple[int, RequestPage]:
        after = self._after
        if after is None:
            page = await self._page(0)
            if self._frozen is None:
                self._clock = page.server_time if page.server_time is not None else time.time()
                newest = [item.request.created_at for group in page.sessions for item in group.requests]
                self._frozen = max(newest, default=int(self._clock) if page.sessions else None)
            return 0, page
        key = (after.newest, after.session_id)
        offset, step = after.offset, self._batch
        while True:
            page = await self._page(offset)
            if offset == 0 or (page.sessions and _key(page.sessions[0]) >= key):
                return offset, page
            # Twice as far each time: a place that many deletions have moved, or that was made up, is left soon.
            offset, step = max(0, offset - step), step * 2

    async def _follow(self, offset: int, last: str) -> tuple[int, RequestPage]:
        page = await self._page(offset)
        step = self._batch
        while offset > 0 and not any(group.session_id == last for group in page.sessions):
            # The overlap is gone: something before it was deleted. Go back until known ground, or the start.
            offset, step = max(0, offset - step), step * 2
            page = await self._page(offset)
        return offset, page

    async def _page(self, offset: int) -> RequestPage:
        query = self._filter.query(top_k=self._batch + 1, offset=offset, end=self._frozen)
        page, gaps = await read_page(self._scope, query)
        for name, gap in gaps.items():
            # Where two pages overlap, each knows one of the neighbours.
            known = self._gaps.get(name, gap)
            first = [one for one in (known.first, gap.first) if one is not None]
            last = [one for one in (known.last, gap.last) if one is not None]
            self._gaps[name] = replace(gap, first=max(first, default=None), last=min(last, default=None))
        return page

    def _visible(self, group: SessionGroup) -> list[RequestWithInteractions]:
        # Filters the server ignored, and rows of another user it should not have sent, stop here.
        plain = self._filter
        rows = [
            item
            for item in group.requests
            if self._scope.covers(item.request.user_id)
            and (not plain.user_id or item.request.user_id == plain.user_id)
            and (self._frozen is None or item.request.created_at <= self._frozen)
        ]
        rows.sort(key=place_of, reverse=True)
        return rows

    def _left(self, found: SessionSlice) -> list[RequestWithInteractions]:
        after = self._after
        if after is None:
            return found.whole
        if found.session_id == after.session_id:
            if not after.request_id:
                return []
            shown = (after.created_at, after.arrival, after.request_id)
            return [item for item in found.whole if place_of(item) < shown]
        behind = (found.newest, found.session_id) < (after.newest, after.session_id)
        return found.whole if behind else []


def place_of(item: RequestWithInteractions) -> tuple[int, int, str]:
    """A request's place in its session: its second, its order of arrival within that, and its id.

    Interaction ids grow with arrival. A request without interactions comes first in its second.
    """
    arrival = min((turn.interaction_id for turn in item.interactions), default=0)
    return item.request.created_at, arrival, item.request.request_id


def _key(group: SessionGroup) -> tuple[int, str]:
    return max((item.request.created_at for item in group.requests), default=0), group.session_id
