"""Lists of sessions and of requests, in pages that say whether they are complete."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import NOTICE, Room, at, shown_name
from reflexio_mcp.results.reading import (
    UNREADABLE_SHOWN,
    Looked,
    RequestPage,
    RequestRow,
    SessionPage,
    SessionRequests,
    SessionRow,
)
from reflexio_mcp.traffic.content import content_chars
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import Cursor, open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionPart
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing

__all__ = ["list_requests", "list_sessions"]

LOOK_LIMIT: Final = 10_000
"""Maximum number of requests that one call reads if a part of the filter is applied here."""

LOOK_SECONDS: Final = 20.0
"""Time limit of a call that applies a part of the filter here. Clients give up after 60 s."""

SESSIONS_AT_ONCE: Final = 50
"""Minimum number of sessions read at once if a part of the filter is applied here."""

SESSIONS_READ: Final = 200
"""Maximum number of sessions that are read at once for a list of requests."""

FILTER_CHARS: Final = 600

HEAD_CHARS: Final = 60

PART_COUNTED: Final = "Only matching requests are counted; delete_session deletes the whole session."
REDACTED: Final = "Secrets are replaced here; get_request shows a request as it is stored."
CASE: Final = "Ids are case-sensitive."
WORDS: Final = (
    "contains finds requests with all of these words in their texts and ids; put OR between alternatives. It does not "
    "search source and agent_version, which are filters of their own."
)
NAMES: Final = "source and agent_version match complete names; audit_traffic lists the names in use."
NOTHING_YET: Final = "Nothing matches among the requests that were looked through so far."
UNREADABLE: Final = (
    "Some requests could not be read. list_requests with the session_id shows the other requests of that session. "
    "delete_request with its id and erase deletes a request that cannot be shown."
)

Order = Literal["newest", "longest"]

MOST_LONGEST: Final = 10
COMPARED: Final = "These are the longest of all {:,} sessions, by characters of text."
Requests = Sequence[RequestWithInteractions]
Take = Callable[[SessionPart, Requests, int], Awaitable[int]]
"""Takes a part, its matching requests and the number of other requests; returns how many matching requests fitted."""


async def list_sessions(
    scope: Scope,
    asked: TrafficFilter,
    *,
    limit: int,
    cursor: str = "",
    detail: str = "summary",
    order: Order = "newest",
) -> SessionPage:
    """List sessions, one row each.

    Args:
        asked: the filter of the call; the filter of a cursor replaces it.
        order: `longest` is one page, without a cursor.
    """
    if order == "longest":
        if cursor:
            raise InvalidInput(
                "cursor", "cannot be combined with order=longest, which is one page; leave one out."
            )
        limit = min(limit, MOST_LONGEST)
    walk = _Walk(scope, "sessions", asked, cursor, detail, limit)
    rows: list[SessionRow] = []
    longest: list[tuple[int, SessionPart, Requests, int]] = []
    room = Room()

    def begin() -> Take:
        nonlocal room
        rows.clear()
        longest.clear()
        room = Room()
        return take if order == "newest" else compare

    async def take(part: SessionPart, matching: Requests, others: int) -> int:
        if len(rows) == limit:
            return 0
        row = await walk.showing.session(part.session_id, others, matching)
        if not room.take(row):
            walk.cut_by_size = True
            return 0
        rows.append(row)
        return len(matching)

    async def compare(part: SessionPart, matching: Requests, others: int) -> int:
        longest.append((sum(map(content_chars, matching)), part, matching, others))
        longest.sort(key=lambda one: one[0], reverse=True)
        del longest[limit:]
        return len(matching)

    await walk.fill(begin)
    for _, part, matching, others in longest:
        await take(part, matching, others)
    if order == "longest":
        walk.cursor, walk.full = None, walk.total is None or len(rows) < walk.total
    others = walk.wanted.counts_part_of_sessions or (walk.wanted.user_id and not scope.user_id)
    notes = [PART_COUNTED] if rows and others else []
    if rows and order == "longest" and walk.total:
        notes.append(COMPARED.format(walk.total))
    return SessionPage(sessions=rows, **walk.facts(rows, *notes))


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
) -> RequestPage:
    """List requests grouped by session, the newest first.

    Args:
        request_id: only this request, if it passes the filter.
        room: how much fits into the answer.
    """
    asked = replace(asked, request_id=request_id.strip())
    walk = _Walk(scope, "requests", asked, cursor, detail, min(limit, most_sessions or SESSIONS_READ))
    groups: list[SessionRequests] = []
    left, space = limit, room()

    def begin() -> Take:
        nonlocal left, space
        groups.clear()
        left, space = limit, room()
        return take

    async def take(part: SessionPart, matching: Requests, others: int) -> int:
        nonlocal left
        if len(groups) == most_sessions:
            return 0
        rows: list[RequestRow] = []
        for row in await walk.showing.requests(matching[:left]):
            if not space.take(row, 0 if rows else len(part.session_id) + HEAD_CHARS):
                walk.cut_by_size = True
                break
            rows.append(row)
        if rows:
            shown = scope.shown_id(part.session_id)
            groups.append(SessionRequests(session_id=shown, not_matching=others, requests=rows))
        left -= len(rows)
        return len(rows)

    await walk.fill(begin)
    return RequestPage(sessions=groups, **walk.facts([row for group in groups for row in group.requests]))


class _Walk:
    def __init__(
        self,
        scope: Scope,
        listing: Literal["sessions", "requests"],
        asked: TrafficFilter,
        cursor: str,
        detail: str,
        sessions: int,
    ) -> None:
        after = open_cursor(scope, cursor, listing, asked, detail) if cursor else None
        self.wanted = after.filter if after else asked
        self.showing = Showing(scope, self.wanted, after.detail if after else detail)
        # Filtering here reads more sessions than it shows.
        batch = max(SESSIONS_AT_ONCE, sessions) if self.wanted.looks_inside else sessions
        self.cursor: Cursor | None = None
        self.full = False
        self.cut_by_size = False
        self.total: int | None = None
        self._pager = SessionPager(scope, self.wanted, after=after, batch=batch)
        self._scope = scope
        self._listing: Literal["sessions", "requests"] = listing
        self._asked = asked
        self._before = after.shown if after else 0
        self._looked = 0
        self._oldest: int | None = None

    async def fill(self, begin: Callable[[], Take]) -> None:
        """Read until the page is full, a limit is reached, or everything was read.

        Args:
            begin: called first, and again if the page starts again because its newest second was not complete.
        """
        await self._look(begin())
        while self.full and not await self._pager.ready_for_cursor():
            await self._look(begin())

    async def _look(self, take: Take) -> None:
        self.cursor, self.full, self.total, self._looked, self._oldest = None, False, None, 0, None
        self.cut_by_size = False
        rows = self._before
        until = time.monotonic() + LOOK_SECONDS
        async for part in self._pager.parts():
            late = self._looked >= LOOK_LIMIT or time.monotonic() >= until
            if self.wanted.looks_inside and late and self._looked:
                self.full = True
                return
            # Requests that are already read are counted; nothing more is read for the count.
            if self.full and not self._pager.on_last_page:
                return
            # Some findings need the whole session, which an earlier page may have shown in part.
            left = {id(item) for item in part.requests}
            matching = [
                item
                for item in await self.wanted.pick_in_thread(self._scope.owner, part.whole)
                if id(item) in left
            ]
            rows += len(matching) if self._listing == "requests" else bool(matching)
            if self.full:
                continue
            self._looked += len(part.requests)
            self._oldest = min(self._oldest or part.newest, part.requests[-1].request.created_at)
            taken = await take(part, matching, len(part.requests) - len(matching)) if matching else 0
            if taken < len(matching):
                self.full = True
                if taken:
                    self.cursor = self._pager.cursor(self._listing, part, matching[taken - 1])
            else:
                self.cursor = self._pager.cursor(self._listing, part, None)
        self.total = None if self._pager.unreadable else rows

    def facts(self, rows: Sequence[SessionRow | RequestRow], *notes: str) -> dict[str, Any]:
        unreadable = self._pager.unreadable
        complete = not (self.full or unreadable)
        inside = self.wanted.looks_inside
        cursor = None
        if self.full and self.cursor:
            last = replace(self.cursor, detail=self.showing.detail, shown=self._before + len(rows))
            cursor = last.encode(self._scope, self._asked)
        return {
            "notice": NOTICE if rows else "",
            "looked_at": Looked(
                filter=shown_name(self.wanted.describe(plain=True), FILTER_CHARS),
                requests=self._looked if inside else None,
                back_to=None if complete or self._oldest is None or not inside else at(self._oldest),
                complete=complete,
            ),
            "returned": len(rows),
            "cut_by_size": self.cut_by_size,
            "total": self.total,
            "unreadable": list(unreadable[:UNREADABLE_SHOWN]),
            "cursor": cursor,
            "notes": [
                *self._nothing(rows),
                *([UNREADABLE] if unreadable else []),
                *self._redacted(rows),
                *notes,
            ],
        }

    def _nothing(self, rows: Sequence[object]) -> list[str]:
        wanted = self.wanted
        if rows or self._before:
            return []
        if self.full:
            return [NOTHING_YET]
        if wanted == TrafficFilter() and not self._pager.unreadable:
            return ["Nothing is stored."]
        hints = {
            WORDS: wanted.contains,
            NAMES: wanted.source or wanted.agent_version,
            CASE: wanted.request_id or wanted.user_id or wanted.session_id,
        }
        return [hint for hint, given in hints.items() if given]

    def _redacted(self, rows: Sequence[SessionRow | RequestRow]) -> list[str]:
        if self.showing.masked or not rows:
            return []
        from reflexio_mcp.traffic.audit.rules.redaction import missing

        return [*missing(), *([REDACTED] if any(row.redacted for row in rows) else [])]
