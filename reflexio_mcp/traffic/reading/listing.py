"""Lists of sessions and of requests, a page at a time, each saying whether it is all."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import NOTICE, Room, at
from reflexio_mcp.results.reading import (
    Looked,
    RequestPage,
    RequestRow,
    SessionPage,
    SessionRequests,
    SessionRow,
)
from reflexio_mcp.traffic.content import content_chars
from reflexio_mcp.traffic.reading.cursors import Cursor, open_cursor
from reflexio_mcp.traffic.reading.filters import NO_FILTER, TrafficFilter
from reflexio_mcp.traffic.reading.lookup import get_stored
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionSlice
from reflexio_mcp.traffic.reading.search import judges_alone
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing, gap_rows
from reflexio_mcp.traffic.stored_text import label, shown_name

__all__ = ["Order", "in_words", "list_requests", "list_sessions", "nothing_stored"]

LOOK_LIMIT: Final = 10_000
"""How many requests one call looks through for what the API cannot filter, before it gives a cursor instead."""

LOOK_SECONDS: Final = 20.0
"""For looking through texts, which may be long. Clients give up on a call after 60 s."""

AT_ONCE: Final = 200
"""Requests of one session that are looked through before the time is checked."""

FILTER_CHARS: Final = 600
ALTERNATIVES: Final = 5
"""Alternatives of `contains` that a page repeats."""

HEAD_CHARS: Final = 60
"""Characters of the head of a session beside its id."""

PART_COUNTED: Final = "Only matching requests are counted; delete_session deletes the whole session."
USER_COUNTED: Final = (
    "Only this user's requests are counted; without user_id, delete_session deletes those of others too."
)
REDACTED: Final = "Secrets are replaced here; get_request shows a request as it is stored."
CASE: Final = "Ids are case-sensitive."
WORDS: Final = (
    "contains looks in texts and ids for all of its words in one request; put OR between alternatives. source and "
    "agent_version are filters of their own."
)
NAMES: Final = "source and agent_version match whole names; audit_traffic lists those in use."
UNREADABLE: Final = (
    "Not all of it could be read. list_requests with its session_id shows what else such a "
    "session has. delete_request deletes a request that cannot be shown, if you know its id."
)

Order = Literal["newest", "longest"]
Requests = Sequence[RequestWithInteractions]
Take = Callable[[SessionSlice, Requests, int], Awaitable[int]]
"""Makes rows of a session's matching requests, as many as have room, and returns how many requests have one. The number
is how many requests were looked at for these."""


async def list_sessions(
    scope: Scope,
    asked: TrafficFilter,
    *,
    limit: int,
    cursor: str = "",
    detail: str = "summary",
    order: Order = "newest",
) -> SessionPage:
    """One row a session.

    Args:
        asked: the filter as the caller gave it; where a list goes on, that of the cursor counts.
        limit: rows at the most.
        cursor: from the page before.
        detail: bound into the cursor.
        order: the newest first, or those with the most characters first. The latter is one page of the first
            `LOOK_LIMIT` requests and has no cursor.
    """
    after = open_cursor(scope, cursor, "sessions", asked, detail) if cursor else None
    wanted = after.filter if after else asked
    showing = Showing(scope, wanted, after.detail if after else detail)
    walk = _Walk(scope, "sessions", wanted, after, limit)
    rows: list[SessionRow] = []
    longest: list[tuple[int, SessionSlice, Requests, int]] = []
    room = Room()

    async def take(part: SessionSlice, matching: Requests, looked: int) -> int:
        if len(rows) == limit:
            return 0
        [row] = await showing.sessions([(part.session_id, looked - len(matching), matching)])
        if not room.take(row):
            return 0
        rows.append(row)
        return len(matching)

    async def compare(part: SessionSlice, matching: Requests, looked: int) -> int:
        longest.append((sum(map(content_chars, matching)), part, matching, looked))
        longest.sort(key=lambda one: one[0], reverse=True)
        del longest[limit:]
        return len(matching)

    if order == "longest":
        await walk.fill(compare)
        for _, part, matching, looked in longest:
            await take(part, matching, looked)
        total, walk.place = walk.total, None
        walk.full = total is None or len(rows) < total
    else:
        while True:
            rows.clear()
            room = Room()
            await walk.fill(take)
            if await walk.is_settled():
                break
        total = walk.total
    notes = [*walk.notes(rows), *_redacted(rows, showing)]
    if rows and wanted.counts_part_of_sessions:
        notes.append(PART_COUNTED)
    elif rows and wanted.user_id and not scope.user_id:
        notes.append(USER_COUNTED)
    return SessionPage(
        notice=NOTICE if rows else "",
        looked_at=walk.looked_at(),
        returned=len(rows),
        total=total,
        sessions=rows,
        unreadable=gap_rows(walk.pager.gaps),
        cursor=walk.cursor(scope, asked, showing.detail, len(rows)),
        notes=notes,
    )


async def list_requests(
    scope: Scope,
    asked: TrafficFilter,
    *,
    limit: int,
    cursor: str = "",
    detail: str = "summary",
    request_id: str = "",
    most_sessions: int | None = None,
    room: Callable[[], Room] = Room,
    uncovered: bool = False,
) -> RequestPage:
    """Requests grouped by session, newest session first and newest request first in it.

    Arguments as in `list_sessions`; `limit` counts requests.

    Args:
        request_id: only this one, if it passes the filter.
        most_sessions: sessions at the most.
        room: makes what an answer has room for.
        uncovered: show secrets.
    """
    after = open_cursor(scope, cursor, "requests", asked, detail) if cursor else None
    wanted = after.filter if after else asked
    showing = Showing(scope, wanted, after.detail if after else detail, uncovered=uncovered)
    if request_id := request_id.strip():
        return await _look_up(scope, showing, wanted, request_id)
    walk = _Walk(scope, "requests", wanted, after, limit)
    groups: dict[str, list[RequestRow]] = {}
    others: Counter[str] = Counter()
    left, space = limit, room()

    async def take(part: SessionSlice, matching: Requests, looked: int) -> int:
        nonlocal left
        if part.session_id not in groups and len(groups) == most_sessions:
            return 0
        fits = 0
        for row in await showing.requests(matching[:left]):
            head = 0 if part.session_id in groups else len(part.session_id) + HEAD_CHARS
            if not space.take(row, head):
                break
            groups.setdefault(part.session_id, []).append(row)
            fits += 1
        others[part.session_id] += looked - len(matching)
        left -= fits
        return fits

    while True:
        groups.clear()
        others.clear()
        left, space = limit, room()
        await walk.fill(take)
        if await walk.is_settled():
            break
    rows = [row for group in groups.values() for row in group]
    return RequestPage(
        looked_at=walk.looked_at(),
        returned=len(rows),
        total=walk.total,
        notice=NOTICE if rows else "",
        sessions=[
            SessionRequests(session_id=scope.shown_id(one), not_matching=others[one], requests=rows)
            for one, rows in groups.items()
        ],
        unreadable=gap_rows(walk.pager.gaps),
        cursor=walk.cursor(scope, asked, showing.detail, len(rows)),
        notes=[*walk.notes(rows), *_redacted(rows, showing)],
    )


async def _look_up(scope: Scope, showing: Showing, wanted: TrafficFilter, request_id: str) -> RequestPage:
    item = await get_stored(scope, request_id)
    found = await wanted.pick_in_thread([item] if item else [])
    rows = await showing.requests(found)
    groups = [
        SessionRequests(session_id=scope.shown_id(one.request.session_id), requests=rows) for one in found
    ]
    stored = f"Request {label(request_id)} is {'stored and does not match' if item else 'not stored'}."
    return RequestPage(
        looked_at=Looked(filter=in_words(wanted), complete=True),
        returned=len(rows),
        total=len(rows),
        sessions=groups,
        notice=NOTICE if rows else "",
        notes=_redacted(rows, showing) if rows else [stored],
    )


class _Walk:
    """A way through stored traffic for one page.

    Args:
        scope: the client and the user it is confined to.
        listing: what the page has rows of.
        wanted: the filter.
        after: where the page before stopped.
        batch: sessions asked for at a time.
    """

    def __init__(
        self,
        scope: Scope,
        listing: Literal["sessions", "requests"],
        wanted: TrafficFilter,
        after: Cursor | None,
        batch: int,
    ) -> None:
        # What is filtered here needs more sessions than it shows.
        at_once = max(50, batch) if wanted.looks_inside else batch
        self.pager = SessionPager(scope, wanted, after=after, batch=at_once)
        self._listing: Literal["sessions", "requests"] = listing
        self._wanted = wanted
        self._before = after.shown if after else 0
        self.place: Cursor | None = None
        self.full = False
        self.total: int | None = None
        self._looked = 0
        self._oldest: int | None = None

    async def fill(self, take: Take) -> None:
        """Look until the page is full, the limits are reached, or everything was looked at."""
        self.place, self.full, self.total, self._looked, self._oldest = None, False, None, 0, None
        rows = self._before
        until = time.monotonic() + LOOK_SECONDS
        async for part in self.pager.slices():
            for items in self._portions(part):
                late = self._looked >= LOOK_LIMIT or time.monotonic() >= until
                if self._wanted.looks_inside and late and self._looked:
                    self.full = True
                    return
                # What the service has sent already is counted; nothing more is read for it.
                if self.full and not self.pager.on_last_page:
                    return
                matching = await self._matching(part, items)
                rows += len(matching) if self._listing == "requests" else bool(matching)
                if self.full:
                    continue
                self._looked += len(items)
                self._oldest = min(self._oldest or part.newest, items[-1].request.created_at)
                taken = await take(part, matching, len(items)) if matching else 0
                if taken < len(matching):
                    self.full = True
                    if taken:
                        self.place = self.pager.cursor(self._listing, part, matching[taken - 1])
                else:
                    last = None if items[-1] is part.requests[-1] else items[-1]
                    self.place = self.pager.cursor(self._listing, part, last)
        self.total = None if self.pager.gaps else rows

    def _portions(self, part: SessionSlice) -> Iterator[Requests]:
        """A session in portions, if each of its requests can be judged alone."""
        alone = self._listing == "requests" and judges_alone(self._wanted.finding)
        step = AT_ONCE if alone and self._wanted.looks_inside else len(part.requests)
        for start in range(0, len(part.requests), step):
            yield part.requests[start : start + step]

    async def _matching(self, part: SessionSlice, items: Requests) -> Requests:
        if judges_alone(self._wanted.finding):
            return await self._wanted.pick_in_thread(items)
        # A copy is one only beside its original, which an earlier page may have shown.
        left = {id(item) for item in items}
        return [item for item in await self._wanted.pick_in_thread(part.whole) if id(item) in left]

    async def is_settled(self) -> bool:
        """Whether the page may be shown; else the newest second is waited for, and the page has to be made again."""
        if not self.full or self.pager.settled:
            return True
        await self.pager.settle()
        return False

    def looked_at(self) -> Looked:
        """What the page was made from."""
        complete = not (self.full or self.pager.gaps)
        inside = self._wanted.looks_inside
        return Looked(
            filter=in_words(self._wanted),
            requests=self._looked if inside else None,
            back_to=None if complete or self._oldest is None or not inside else at(self._oldest),
            complete=complete,
        )

    def cursor(self, scope: Scope, asked: TrafficFilter, detail: str, rows: int) -> str | None:
        """For the next page, if there is one."""
        if not self.full or not self.place:
            return None
        return replace(self.place, detail=detail, shown=self._before + rows).encode(scope, asked)

    def notes(self, rows: Sequence[object]) -> list[str]:
        """What else the reader has to know."""
        wanted = self._wanted
        unreadable = [UNREADABLE] if self.pager.gaps else []
        if rows or self._before:
            return unreadable
        if self.full:
            return ["Nothing matches among the requests that were looked through so far.", *unreadable]
        if not (self._looked or wanted.looks_inside or replace(wanted, user_id="").narrows):
            return unreadable or [nothing_stored(wanted)]
        return [
            *unreadable,
            *([WORDS] if wanted.contains else []),
            *([NAMES] if wanted.source or wanted.agent_version else []),
            *([CASE] if wanted.user_id or wanted.session_id else []),
        ]


def _redacted(rows: Sequence[SessionRow | RequestRow], showing: Showing) -> list[str]:
    if showing.masked or not rows:
        return []
    from reflexio_mcp.traffic.audit.rules.redaction import (  # its patterns take a while to compile
        MISSING,
        available,
    )

    missing = [] if available() else [f"{MISSING[0].upper()}{MISSING[1:]}."]
    return [*missing, *([REDACTED] if any(row.redacted for row in rows) else [])]


def in_words(wanted: TrafficFilter, most: int | None = ALTERNATIVES) -> str:
    """The filter in words that are safe outside a fence; empty for no filter.

    Args:
        most: how many alternatives of `contains` are named.
    """
    plain = {
        name: value if not value or label(value) == value else "as given"
        for name in ("user_id", "session_id", "source", "agent_version")
        for value in (getattr(wanted, name),)
    }
    described = replace(wanted, **plain).describe(most=most)
    return "" if described == NO_FILTER else shown_name(described, FILTER_CHARS)


def nothing_stored(wanted: TrafficFilter) -> str:
    """That there is nothing at all, or nothing of the user that the filter names."""
    if not wanted.user_id:
        return "Nothing is stored."
    return f"Nothing is stored for user {label(wanted.user_id)}. {CASE}"
