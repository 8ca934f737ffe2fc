"""Lists of sessions and of requests, in pages that say whether they are complete."""

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import NOTICE, at, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
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
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.outcomes import outcomes_of
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionPart
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing

__all__ = ["list_requests", "list_sessions"]

LOOK_SECONDS: Final = 20.0
"""Time limit of a call that applies a part of the filter here. Clients give up after 60 s."""

SESSIONS_AT_ONCE: Final = 50
"""Minimum number of sessions read at once if a part of the filter is applied here."""

SESSIONS_READ: Final = 200
"""Maximum number of sessions that are read at once."""

FILTER_CHARS: Final = 600

HEAD_CHARS: Final = 60

Order = Literal["newest", "longest"]

MOST_LONGEST: Final = 10

OUTCOMES_SHOWN: Final = 2

OUTCOME_CHARS: Final = 150
"""Room in a row for the outcomes of its session, which are read for the whole page."""

Requests = Sequence[RequestWithInteractions]


class _Rows(Protocol):
    """Collects the rows of one page."""

    cut_by_size: bool

    async def take(self, part: SessionPart, matching: Requests, others: int) -> int:
        """Add the matching requests of a part; return how many of them fitted.

        Args:
            others: how many requests of the part do not match.
        """
        ...


Collector = TypeVar("Collector", bound=_Rows)


class _SessionRows:
    """A row for each session, up to `limit` rows."""

    def __init__(self, scope: Scope, showing: Showing, room: Room, limit: int) -> None:
        self.rows: list[SessionRow] = []
        self._scope = scope
        self._session_ids: list[str] = []
        self.cut_by_size = False
        self._showing = showing
        self._limit = limit
        self._room = room

    async def take(self, part: SessionPart, matching: Requests, others: int) -> int:
        if len(self.rows) == self._limit:
            return 0
        row = await self._showing.session(part.session_id, others, matching)
        if not self._room.take(row, OUTCOME_CHARS if self._scope.learns else 0):
            self.cut_by_size = True
            return 0
        self.rows.append(row)
        self._session_ids.append(part.session_id)
        return len(matching)

    async def add_outcomes(self, user_id: str) -> list[Fact]:
        """Add how the sessions ended; return what has to be said of that."""
        outcomes, facts = await outcomes_of(self._scope, self._session_ids, user_id)
        self.rows = [
            row.model_copy(update={"outcomes": outcomes.get(session_id, [])[:OUTCOMES_SHOWN]})
            for session_id, row in zip(self._session_ids, self.rows, strict=True)
        ]
        return facts


class _SessionText(NamedTuple):
    chars: int
    part: SessionPart
    matching: Requests
    others: int


class _LongestSessions:
    """The `limit` sessions with the most text."""

    def __init__(self, limit: int) -> None:
        self.cut_by_size = False
        self._limit = limit
        self._longest: list[_SessionText] = []

    async def take(self, part: SessionPart, matching: Requests, others: int) -> int:
        self._longest.append(_SessionText(sum(map(content_chars, matching)), part, matching, others))
        self._longest.sort(key=lambda session: session.chars, reverse=True)
        del self._longest[self._limit :]
        return len(matching)

    async def shown(self, scope: Scope, showing: Showing, room: Room) -> _SessionRows:
        page = _SessionRows(scope, showing, room, self._limit)
        for session in self._longest:
            await page.take(session.part, session.matching, session.others)
        return page


class _RequestRows:
    """A row for each request, grouped by session: at most `limit` rows, from at most `most_sessions` sessions."""

    def __init__(
        self, scope: Scope, showing: Showing, room: Room, limit: int, most_sessions: int | None
    ) -> None:
        self.sessions: list[SessionRequests] = []
        self.cut_by_size = False
        self._scope = scope
        self._showing = showing
        self._room = room
        self._left = limit
        self._most_sessions = most_sessions

    @property
    def rows(self) -> list[RequestRow]:
        return [row for session in self.sessions for row in session.requests]

    async def take(self, part: SessionPart, matching: Requests, others: int) -> int:
        if len(self.sessions) == self._most_sessions:
            return 0
        rows: list[RequestRow] = []
        for row in await self._showing.requests(matching[: self._left]):
            # The first row of a session needs room for the session's heading.
            heading_chars = 0 if rows else len(part.session_id) + HEAD_CHARS
            if not self._room.take(row, heading_chars):
                self.cut_by_size = True
                break
            rows.append(row)
        if rows:
            session_id = self._scope.shown_id(part.session_id)
            self.sessions.append(SessionRequests(session_id=session_id, not_matching=others, requests=rows))
        self._left -= len(rows)
        return len(rows)


async def list_sessions(
    scope: Scope,
    asked: TrafficFilter,
    *,
    limit: int,
    cursor: str = "",
    detail: str = "summary",
    order: Order = "newest",
    room: Callable[[], Room] = Room,
) -> SessionPage:
    """List sessions, one row each.

    Args:
        asked: the filter of the call; the filter of a cursor replaces it.
        order: `longest` is one page, without a cursor.
        room: how much fits into the answer.
    """
    if order == "longest" and cursor:
        raise InvalidInput(
            "cursor", "cannot be combined with order=longest, which is one page; leave one out."
        )
    if order == "longest":
        return await _longest_sessions(scope, asked, min(limit, MOST_LONGEST), detail, room())
    walk = _Walk(scope, "sessions", asked, cursor, detail, limit)
    page = await walk.fill(lambda: _SessionRows(scope, walk.showing, room(), limit))
    facts = [*_about_parts(walk, page.rows), *await page.add_outcomes(walk.wanted.user_id)]
    return SessionPage(sessions=page.rows, **walk.fields(page.rows, page, *facts))


async def _longest_sessions(
    scope: Scope, asked: TrafficFilter, limit: int, detail: str, room: Room
) -> SessionPage:
    walk = _Walk(scope, "sessions", asked, "", detail, SESSIONS_READ)
    longest = await walk.fill(lambda: _LongestSessions(limit))
    page = await longest.shown(scope, walk.showing, room)
    walk.end_without_cursor(len(page.rows))
    facts = [*_about_parts(walk, page.rows), *await page.add_outcomes(walk.wanted.user_id)]
    if page.rows and walk.total:
        facts.append(Fact(code=FactCode.LONGEST_OF, number=walk.total))
    return SessionPage(sessions=page.rows, **walk.fields(page.rows, page, *facts))


def _about_parts(walk: "_Walk", rows: Sequence[SessionRow]) -> list[Fact]:
    may_be_part = bool(rows) and walk.counts_part_of_sessions
    if may_be_part or any(row.not_matching for row in rows):
        return [Fact(code=FactCode.PART_COUNTED)]
    return []


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
    page = await walk.fill(lambda: _RequestRows(scope, walk.showing, room(), limit, most_sessions))
    return RequestPage(sessions=page.sessions, **walk.fields(page.rows, page))


class _Walk:
    """Reads sessions for one page, and says how complete the page is."""

    def __init__(
        self,
        scope: Scope,
        listing: Literal["sessions", "requests"],
        asked: TrafficFilter,
        cursor: str,
        detail: str,
        at_once: int,
    ) -> None:
        after = open_cursor(scope, cursor, listing, asked, detail) if cursor else None
        self.wanted = after.filter if after else asked
        self.showing = Showing(scope, self.wanted, after.detail if after else detail)
        # Filtering here reads more sessions than it shows.
        batch = max(SESSIONS_AT_ONCE, at_once) if self.wanted.looks_inside else at_once
        self.total: int | None = None
        self._pager = SessionPager(scope, self.wanted, after=after, batch=batch)
        self._scope = scope
        self._listing: Literal["sessions", "requests"] = listing
        self._asked = asked
        self._shown_before = after.shown if after else 0
        self._is_partial = False
        self._cursor: Cursor | None = None
        self._looked = 0
        self._oldest: int | None = None

    @property
    def counts_part_of_sessions(self) -> bool:
        """Whether a deletion of a listed session also deletes requests that are not counted."""
        names_user = bool(self.wanted.user_id and not self._scope.user_id)
        return self.wanted.counts_part_of_sessions or names_user

    async def fill(self, collector: Callable[[], Collector]) -> Collector:
        """Read until the page is full, a limit is reached, or everything was read.

        Args:
            collector: makes an empty page.
        """
        page = collector()
        await self._look(page)
        while self._is_partial and not await self._pager.ready_for_cursor():
            # A cursor could skip what arrives in the newest second. `ready_for_cursor` has waited for its end, so the
            # page is filled again from the start.
            page = collector()
            await self._look(page)
        return page

    def end_without_cursor(self, shown: int) -> None:
        """Say that a page of the longest sessions leaves sessions out, but that no page continues it."""
        self._cursor = None
        self._is_partial = self.total is None or shown < self.total

    async def _look(self, page: _Rows) -> None:
        self._cursor = None
        self._is_partial = False
        self.total = None  # unless everything is read
        self._looked = 0
        self._oldest = None
        total, is_full = self._shown_before, False
        until = time.monotonic() + LOOK_SECONDS
        async with aclosing(self._pager.picked()) as parts:
            async for part, matching in parts:
                is_late = self.wanted.looks_inside and time.monotonic() >= until
                if is_late and self._looked:
                    self._is_partial = True
                    return
                # What does not fit on a full page is only counted, as long as nothing more has to be read for that.
                if is_full and not self._pager.on_last_page:
                    return
                if self._listing == "requests":
                    total += len(matching)
                elif matching:
                    total += 1
                if not is_full:
                    is_full = not await self._take(page, part, matching)
                    self._is_partial = is_full
        self.total = None if self._pager.unreadable else total

    async def _take(
        self, page: _Rows, part: SessionPart, matching: Sequence[RequestWithInteractions]
    ) -> bool:
        """Put the matching requests of a part on the page. Return whether all of them fit on it."""
        self._looked += part.looked_at
        if self._oldest is None or part.oldest < self._oldest:
            self._oldest = part.oldest
        taken = await page.take(part, matching, len(part.requests) - len(matching)) if matching else 0
        if taken == len(matching):
            self._cursor = self._pager.cursor(self._listing, part, None)
        elif taken:
            self._cursor = self._pager.cursor(self._listing, part, matching[taken - 1])
        return taken == len(matching)

    def fields(self, rows: Sequence[SessionRow | RequestRow], page: _Rows, *facts: Fact) -> dict[str, Any]:
        """Return the fields that pages of sessions and of requests share."""
        unreadable = self._pager.unreadable
        complete = not (self._is_partial or unreadable)
        looks_inside = self.wanted.looks_inside
        back_to = self._oldest if looks_inside and not complete else None
        cursor = None
        if self._is_partial and self._cursor:
            last = replace(self._cursor, detail=self.showing.detail, shown=self._shown_before + len(rows))
            cursor = last.encode(self._scope, self._asked)
        return {
            "notice": NOTICE if rows else "",
            "looked_at": Looked(
                filter=shown_name(filter_in_words(self.wanted, plain=True), FILTER_CHARS),
                requests=self._looked if looks_inside else None,
                back_to=None if back_to is None else at(back_to),
                complete=complete,
            ),
            "returned": len(rows),
            "cut_by_size": page.cut_by_size,
            "total": self.total,
            "unreadable": list(unreadable[:UNREADABLE_SHOWN]),
            "cursor": cursor,
            "facts": [
                *self._about_nothing(rows),
                *self._about_unreadable(),
                *self._about_secrets(rows),
                *facts,
            ],
        }

    def _about_nothing(self, rows: Sequence[object]) -> list[Fact]:
        wanted = self.wanted
        if rows or self._shown_before:
            return []
        if self._is_partial:
            return [Fact(code=FactCode.NOTHING_FOUND_YET)]
        if wanted == TrafficFilter() and not self._pager.unreadable:
            return [Fact(code=FactCode.NOTHING_STORED)]
        hints: list[Fact] = []
        if wanted.contains:
            hints.append(Fact(code=FactCode.ALL_WORDS_NEEDED))
        if wanted.source or wanted.agent_version:
            hints.append(Fact(code=FactCode.WHOLE_NAMES_NEEDED))
        if wanted.request_id or wanted.user_id or wanted.session_id:
            hints.append(Fact(code=FactCode.CASE_MATTERS))
        return hints

    def _about_unreadable(self) -> list[Fact]:
        return [Fact(code=FactCode.PARTS_UNREADABLE)] if self._pager.unreadable else []

    def _about_secrets(self, rows: Sequence[SessionRow | RequestRow]) -> list[Fact]:
        if self.showing.masked or not rows:
            return []
        from reflexio_mcp.traffic.audit.rules.redaction import formats_unknown

        facts = formats_unknown()
        if any(row.redacted for row in rows):
            facts.append(Fact(code=FactCode.SECRETS_COVERED))
        return facts
