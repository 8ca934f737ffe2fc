"""Reads stored sessions in the API's order, up to a fixed second, and leaves out what cannot be read.

The API pages by an offset of sessions, so arrivals shift its pages. A pager finds its position by the key of the last
session, and can stop and continue inside a session. If sessions are long, a page has few. The service fails to return
some of what it stores, such as a request with deeply nested `tool_data`. A page that fails is read in ever smaller
parts.
"""

import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

import anyio

from reflexio_mcp.rest.errors import NotTheApi, ReflexioError, ReplyTooLarge, ServerFault
from reflexio_mcp.rest.models import (
    RequestPage,
    RequestQuery,
    RequestWithInteractions,
    Search,
    SessionGroup,
    UnreadableRequest,
)
from reflexio_mcp.results.base import at
from reflexio_mcp.results.reading import UnreadablePart
from reflexio_mcp.traffic.audit.rules import FINDINGS_FROM_SERVICE, StatusChecks
from reflexio_mcp.traffic.content import order_of
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import Cursor, Listing
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.turns import give_way_in_loop

__all__ = ["SessionPager", "SessionPart"]

SESSIONS_AT_ONCE: Final = 1_000
"""Most sessions per page for callers that read every session. As many are read as fit a page of `PAGE_BYTES`."""

SESSIONS_AT_FIRST: Final = 250
"""Most sessions on the first page of a user whose sessions were not read before, so that their size is not known."""

SESSIONS_AT_FIRST_OVER_HTTP: Final = 4
"""The same for Reflexio, which prepares all sessions that are asked for, however long they are: 20 of 3.6 MB kept it
from other callers for half a second."""

SESSIONS_SEARCHED: Final = 1_000
"""Sessions per page if the store leaves out those where nothing can match."""

COMPLETE_AFTER_SECONDS: Final = 1
"""Seconds after which a second is complete: the API stores a request a little after its time stamp."""

LONGEST_WAIT: Final = 3.0
"""Longest wait for the newest second to be complete, in seconds."""

MOST_FAILURES: Final = 100
"""Maximum number of failures on a page, and on pages one after the other on which nothing could be read."""

PERIOD_AT_FIRST: Final = 3600
"""Seconds of the first period of a session that is read in periods. The next one is twice as long, or a quarter after
a failure."""

SHORTEST_PERIOD: Final = 2
"""The API accepts no period of a single second, so the smallest part has two or three."""

PAGE_BYTES: Final = 2 * 1024 * 1024
"""Maximum size of a page of more than two sessions."""

MOST_REMEMBERED: Final = 10_000
"""Maximum number of users of whom the average size of a session is remembered."""

_UNREADABLE: Final = "\0unreadable "
"""Prefix of the id that stands for an unreadable session. No stored id has it."""


@dataclass(frozen=True, slots=True)
class SessionPart:
    """The rest of one session that a pager still has to show, newest first.

    Args:
        newest: the session's newest request that matches the API's part of the filter, epoch seconds.
        offset: the session's position in the API's list when it was read.
        whole: includes the requests of earlier pages, because some findings need the whole session.
        left_out: how many requests the session has, if the store returned none of them because none can match.
    """

    session_id: str
    newest: int
    offset: int
    requests: list[RequestWithInteractions]
    whole: list[RequestWithInteractions]
    left_out: int = 0

    @property
    def looked_at(self) -> int:
        return len(self.requests) + self.left_out

    @property
    def oldest(self) -> int:
        """Second of the oldest request that was read."""
        return self.requests[-1].request.created_at if self.requests else self.newest


class SessionPager:
    """Reads the sessions that match a filter, inside the caller's scope, newest first.

    Args:
        after: where an earlier page stopped.
        batch: most sessions per page.
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
        self._largest_batch = batch
        self._user = wanted.user_id or scope.user_id
        session_bytes = scope.client.session_bytes.get(self._user)
        self._at_first = SESSIONS_AT_FIRST if scope.embedded else SESSIONS_AT_FIRST_OVER_HTTP
        self._batch = min(batch, self._at_first) if session_bytes is None else self._fitting(session_bytes)
        self._was_too_large = False
        """A page did not fit, so the sizes of sessions differ, and pages grow slowly."""
        self._frozen = after.frozen if after else None
        """The newest second of the list, as in `Cursor`; `None` before anything was read."""
        self._clock = 0.0
        """The service's time when the first page was read."""
        self._unreadable: dict[str, UnreadablePart] = {}
        self._failures_left = MOST_FAILURES
        """How often the service may still fail until something can be read again."""
        self._confirmed: frozenset[str] | None = None
        """The requests for which the service confirms the finding; `None` if the filter names no such finding."""
        self.requests_seen = 0
        self.on_last_page = False

    @property
    def unreadable(self) -> tuple[UnreadablePart, ...]:
        return tuple(self._unreadable.values())

    async def ready_for_cursor(self) -> bool:
        """Return whether a cursor may be given.

        If not, this method waited until the newest second was complete, and the caller reads again from the start.
        """
        if self._after or self._frozen is None:
            return True
        complete = self._frozen + COMPLETE_AFTER_SECONDS + 1
        if self._clock >= complete:
            return True
        await anyio.sleep(min(complete - self._clock, LONGEST_WAIT))
        self._clock = float(complete)  # so that the second reading does not wait again
        return False

    def cursor(self, listing: Listing, part: SessionPart, last: RequestWithInteractions | None) -> Cursor:
        assert self._frozen is not None
        created_at, arrival, request_id = order_of(last) if last else (0, 0, "")
        return Cursor(
            listing=listing,
            filter=self._filter,
            frozen=self._frozen,
            offset=part.offset,
            newest=part.newest,
            session_id=part.session_id,
            created_at=created_at,
            arrival=arrival,
            request_id=request_id,
        )

    async def parts(self) -> AsyncGenerator[SessionPart]:
        """Yield the rest of each session, newest first.

        Only the API's part of the filter is applied, and a finding that only the service can confirm.
        """
        async with aclosing(self._pages(None)) as pages:
            async for page in pages:
                for part in page:
                    self.requests_seen += part.looked_at
                    await give_way_in_loop()
                    yield part
                page.clear()  # otherwise two pages would be in memory

    async def picked(self) -> AsyncGenerator[tuple[SessionPart, list[RequestWithInteractions]]]:
        """Yield the rest of each session, newest first, and its requests that pass the whole filter."""
        search = self._filter.search if self._scope.embedded else None
        async with aclosing(self._pages(search)) as pages:
            async for page in pages:
                # One hop to a thread for the page. Each takes long while the machine is busy.
                passing = await self._filter.pick_in_thread(self._scope.owner, [part.whole for part in page])
                for part, items in zip(page, passing, strict=True):
                    self.requests_seen += part.looked_at
                    rest = {id(item) for item in part.requests}  # `whole` has those of earlier pages, too
                    await give_way_in_loop()
                    yield part, [item for item in items if id(item) in rest]
                page.clear()
                passing.clear()

    async def _pages(self, search: Search | None) -> AsyncGenerator[list[SessionPart]]:
        """Yield the rest of each session in lists, which the caller may empty."""
        self.requests_seen = 0
        self._unreadable.clear()
        if self._filter.finding in FINDINGS_FROM_SERVICE and self._confirmed is None:
            self._confirmed = await self._ask()
        offset, page = await self._start(search)
        seen: set[str] = set()
        resumed: set[tuple[int, str]] = set()  # last sessions of pages, from which it has read on
        while True:
            self.on_last_page = not page.has_more
            parts: list[SessionPart] = []
            for index, group in enumerate(page.sessions):
                if group.session_id in seen:
                    continue
                rows = self._visible(group)
                if not rows and not group.left_out:
                    continue
                seen.add(group.session_id)
                newest = rows[0].request.created_at if rows else group.newest
                found = SessionPart(group.session_id, newest, offset + index, rows, rows, group.left_out)
                if rest := self._not_shown(found):
                    parts.append(rest)
            ids = _ids(page)
            last = _key(page.sessions[-1]) if ids else (0, "")
            more = page.has_more and bool(ids)
            page.sessions.clear()  # otherwise two pages would be in memory
            yield parts
            if not more:
                return
            offset, page = await self._next(search, offset, ids, last, resumed)

    async def _next(
        self,
        search: Search | None,
        offset: int,
        ids: list[str],
        last: tuple[int, str],
        resumed: set[tuple[int, str]],
    ) -> tuple[int, RequestPage]:
        """Return the page after one with these sessions, and its offset.

        The two overlap by one session, which shows whether a deletion has shifted them.

        Args:
            last: the key of the last session.
            resumed: the last sessions of the pages before; this one is added.
        """
        if last not in resumed:
            resumed.add(last)
            offset, page = await self._resume(search, offset + len(ids) - 1, last, _has_session(ids[-1]))
            if _ids(page) != ids:
                return offset, page
        # Reading on from this page has led back to it, and would do so for ever. It happens if a search names a session
        # that is on no page which can be read. Continue at the offset behind this page.
        offset += len(ids)
        page = await self._page(offset, search)
        if _ids(page) == ids:
            raise NotTheApi("it sends the same page again", effect="none")
        return offset, page

    async def _start(self, search: Search | None) -> tuple[int, RequestPage]:
        if after := self._after:
            key = (after.newest, after.session_id)

            def reaches_back_to_it(page: RequestPage) -> bool:
                return bool(page.sessions) and _key(page.sessions[0]) >= key

            return await self._resume(search, after.offset, key, reaches_back_to_it)
        page = await self._page(0, search)
        if self._frozen is None:
            self._clock = page.server_time if page.server_time is not None else time.time()
            newest = [_newest(group) for group in page.sessions if _is_readable(group)]
            if page.sessions and not _is_readable(page.sessions[0]):
                # The second of the newest session is not known.
                newest.append(int(self._clock))
            if newest:
                self._frozen = max(newest)
        return 0, page

    async def _resume(
        self,
        search: Search | None,
        offset: int,
        key: tuple[int, str],
        reaches_back: Callable[[RequestPage], bool],
    ) -> tuple[int, RequestPage]:
        """Return the page to read on with after a session was reached, so that no session is missed.

        In the embedded store, it begins with that session or, if it is gone, with what follows it. Over HTTP, sessions
        before it can be on the page again; the caller leaves out what it has seen.

        Args:
            offset: about where the session is.
            key: its newest second and its id. The second is 0 if the session cannot be read.
            reaches_back: whether a page that was read by its offset begins early enough.
        """
        if self._scope.embedded and key[0]:
            try:
                return offset, await self._page(offset, search, resume_at=key)
            except ServerFault:
                pass  # Part of the page cannot be read, and its parts are found by their offsets.
        return await self._back_to(offset, search, reaches_back)

    async def _back_to(
        self, offset: int, search: Search | None, reaches_back: Callable[[RequestPage], bool]
    ) -> tuple[int, RequestPage]:
        """Return the page at an offset or an earlier one: the first that `reaches_back` accepts, or page 0."""
        step = self._batch
        while True:
            page = await self._page(offset, search)
            if offset == 0 or reaches_back(page):
                return offset, page
            # Doubled steps soon find a session that many deletions have moved.
            offset, step = max(0, offset - step), step * 2

    async def _page(
        self, offset: int, search: Search | None, resume_at: tuple[int, str] | None = None
    ) -> RequestPage:
        page, unreadable = await self._read(offset, search, resume_at)
        session_bytes = page.size // max(1, len(page.sessions))
        most = self._batch * 4 if self._was_too_large else self._largest_batch
        self._batch = min(self._fitting(session_bytes), most)
        if page.sessions:
            self._remember(session_bytes)
        for name, part in unreadable.items():
            # The part can be on two pages that overlap. Only the earlier one has the session before it, which gives its
            # `last`.
            known = self._unreadable.get(name, part)
            self._unreadable[name] = part.model_copy(update={"last": known.last})
        return page

    def _fitting(self, session_bytes: int) -> int:
        """Return how many sessions of this size a page may have, beside the one by which pages overlap."""
        return max(1, min(self._largest_batch, PAGE_BYTES // max(1, session_bytes) - 1))

    def _remember(self, session_bytes: int) -> None:
        known = self._scope.client.session_bytes
        known.pop(self._user, None)  # so that the user is the last in the order
        known[self._user] = session_bytes
        if len(known) > MOST_REMEMBERED:
            del known[next(iter(known))]

    async def _read(
        self, offset: int, search: Search | None, resume_at: tuple[int, str] | None
    ) -> tuple[RequestPage, dict[str, UnreadablePart]]:
        """Read a page, with fewer sessions until it fits. A page of two sessions may be too long and is read anyway."""
        while True:
            query = self._filter.query(top_k=self._batch + 1, offset=offset, end=self._frozen)
            if self._batch == 1 and not self._scope.embedded:
                # Nothing smaller can be asked for. The client's limit would only drop what Reflexio has sent already.
                return await self._read_page(query)
            limited = query.model_copy(update={"most_reply_bytes": PAGE_BYTES, "resume_at": resume_at})
            if search:
                limited.search, limited.top_k = search, SESSIONS_SEARCHED + 1
            try:
                return await self._read_whole(limited), {}
            except ReplyTooLarge:
                if self._batch == 1:
                    return await self._read_page(query)
                self._was_too_large = True
                self._batch = max(1, min(self._batch // 4, self._at_first))
            except ServerFault as error:
                if resume_at or not await _can_be_divided(self._scope, query, error):
                    raise
                return await self._read_in_parts(query)

    async def _read_page(self, query: RequestQuery) -> tuple[RequestPage, dict[str, UnreadablePart]]:
        """Return a page and its unreadable parts. An unreadable session keeps its position, without requests."""
        try:
            return await self._read_whole(query), {}
        except (ServerFault, ReplyTooLarge) as error:
            if not await _can_be_divided(self._scope, query, error):
                raise
            return await self._read_in_parts(query)

    async def _read_whole(self, query: RequestQuery) -> RequestPage:
        # After a page on which nothing could be read, the next one probably fails too, and repeats would take seconds.
        page = await self._scope.client.get_requests(query, repeat=self._failures_left == MOST_FAILURES)
        self._failures_left = MOST_FAILURES
        return page

    async def _read_in_parts(self, query: RequestQuery) -> tuple[RequestPage, dict[str, UnreadablePart]]:
        """Read a page that failed in smaller parts."""
        reader = _Reader(self._scope, self._failures_left)
        page = await reader.halves(query)
        # A service that fails at everything would otherwise be asked for one page after the other, without an end.
        self._failures_left = MOST_FAILURES if any(map(_is_readable, page.sessions)) else reader.failures_left
        return page, reader.unreadable | _unreadable_between(page.sessions, query)

    async def _ask(self) -> frozenset[str]:
        """Return the matching requests for which the service confirms the finding.

        Raises:
            InvalidInput: it is not known for all of them.
        """
        checks, wanted = StatusChecks(), replace(self._filter, finding="")
        async with aclosing(SessionPager(self._scope, wanted).parts()) as parts:
            async for part in parts:
                for item in part.requests:
                    if wanted.matches_request(item.request):
                        checks.note(item)
        if problem := await checks.ask(self._scope):
            raise InvalidInput("finding", f"cannot be {self._filter.finding} now.", advice=problem)
        found = (finding for finding in checks.findings if finding.name == self._filter.finding)
        return frozenset(finding.request.request_id for finding in found)

    def _visible(self, group: SessionGroup) -> list[RequestWithInteractions]:
        # Rows of other users, which the server should not have sent, stop here.
        user = self._filter.user_id
        rows = [
            item
            for item in group.requests
            if self._scope.covers(item.request.user_id)
            and (not user or item.request.user_id == user)
            and (self._frozen is None or item.request.created_at <= self._frozen)
            and (self._confirmed is None or item.request.request_id in self._confirmed)
        ]
        rows.sort(key=order_of, reverse=True)
        return rows

    def _not_shown(self, found: SessionPart) -> SessionPart | None:
        """Return what an earlier page has not shown."""
        after = self._after
        if after is None:
            return found
        if found.session_id == after.session_id:
            if not after.request_id:  # the whole session was shown
                return None
            last_shown = (after.created_at, after.arrival, after.request_id)
            left = [item for item in found.whole if order_of(item) < last_shown]
            return replace(found, requests=left, left_out=0) if left else None
        comes_after = (found.newest, found.session_id) < (after.newest, after.session_id)
        return found if comes_after else None


def _ids(page: RequestPage) -> list[str]:
    return [group.session_id for group in page.sessions]


def _has_session(session_id: str) -> Callable[[RequestPage], bool]:
    return lambda page: session_id in _ids(page)


def _is_readable(group: SessionGroup) -> bool:
    return bool(group.requests or group.left_out)


def _newest(group: SessionGroup) -> int:
    return max((item.request.created_at for item in group.requests), default=group.newest)


def _key(group: SessionGroup) -> tuple[int, str]:
    return _newest(group), group.session_id


async def _can_be_divided(scope: Scope, query: RequestQuery, error: ReflexioError) -> bool:
    """Whether a page failed because of what is stored, so that smaller parts of it may be readable."""
    return _is_about_data(error) and await _answers(scope, query)


async def unreadable_request(
    scope: Scope, query: RequestQuery, error: ReflexioError
) -> UnreadableRequest | None:
    """Find out whether a look-up failed because of what is stored under the id.

    If so, the same look-up succeeds for another id and, if it names a user, for another user.
    """
    assert query.request_id is not None
    other_id = query.model_copy(update={"request_id": str(uuid.uuid4())})
    if not _is_about_data(error) or not await _succeeds(scope, other_id):
        return None
    if query.user_id and not await _answers(scope, query):
        return None
    if await _succeeds(scope, query):
        return None
    return UnreadableRequest.of(query.request_id, query.user_id or "")


def _is_about_data(error: ReflexioError) -> bool:
    return isinstance(error, ReplyTooLarge) or error.status == 500


async def _succeeds(scope: Scope, query: RequestQuery) -> bool:
    return await _Reader(scope).attempt(query) is not None


async def _answers(scope: Scope, query: RequestQuery) -> bool:
    """Whether the service answers the same query for a user who has nothing."""
    return await _succeeds(scope, query.model_copy(update={"user_id": str(uuid.uuid4())}))


class _Reader:
    """Reads parts of a page.

    Args:
        failures_left: so many failures are caught, but not the next one.
    """

    def __init__(self, scope: Scope, failures_left: int = MOST_FAILURES) -> None:
        self._client = scope.client
        self.failures_left = failures_left
        self._too_long = False
        self.unreadable: dict[str, UnreadablePart] = {}

    async def attempt(self, query: RequestQuery) -> RequestPage | None:
        try:
            return await self._client.get_requests(query, repeat=False)
        except (ServerFault, ReplyTooLarge) as error:
            self._too_long = isinstance(error, ReplyTooLarge)
            self.failures_left -= 1
            if not _is_about_data(error) or self.failures_left < 0:
                raise
            return None

    async def halves(self, query: RequestQuery) -> RequestPage:
        """Read a failing page in two parts."""
        if query.top_k == 1:
            return await self._session(query)
        half = query.top_k // 2
        newer_query = query.model_copy(update={"top_k": half})
        newer = await self.attempt(newer_query) or await self.halves(newer_query)
        if not newer.has_more:
            return newer
        older_query = query.model_copy(update={"top_k": query.top_k - half, "offset": query.offset + half})
        older = await self.attempt(older_query) or await self.halves(older_query)
        return RequestPage(
            sessions=newer.sessions + older.sessions,
            has_more=older.has_more,
            server_time=newer.server_time or older.server_time,
        )

    async def _session(self, query: RequestQuery) -> RequestPage:
        """Read the only session of a query in periods that are as long as can be read, the newest first.

        If the query has no session id, the session is read only if it is too long. It is then read by its offset at
        first, in ever longer periods that all end at `latest`, until a reply shows its id. The periods before are read
        by that id.
        """
        others_may_follow = not query.session_id
        found: list[RequestWithInteractions] = []
        latest = query.end_time if query.end_time is not None else int(time.time()) + 1
        first, last, seconds = query.start_time or 0, latest, PERIOD_AT_FIRST
        while last >= first and (query.session_id or self._too_long):
            begin = max(first, last - seconds)
            # A session is at its offset only if all later requests are in the period.
            period = {"start_time": begin, "end_time": last if query.session_id else latest}
            page = await self.attempt(query.model_copy(update=period))
            if page is None:
                if last - begin > SHORTEST_PERIOD:
                    seconds = max(SHORTEST_PERIOD, seconds // 4)
                    continue
                if not query.session_id:
                    break
                self.unreadable[f"{begin}"] = UnreadablePart(first=at(begin), last=at(last))
            groups = page.sessions if page else []
            for group in groups:
                query = query.model_copy(update={"session_id": group.session_id, "offset": 0})
                found += group.requests
            last, seconds = begin - 1, seconds * 2
        session_id = query.session_id or f"{_UNREADABLE}{query.offset}"
        group = SessionGroup(session_id=session_id, requests=found)
        return RequestPage(sessions=[group], has_more=others_may_follow)


def _unreadable_between(sessions: list[SessionGroup], query: RequestQuery) -> dict[str, UnreadablePart]:
    """Return the unreadable sessions, each between the times of its neighbours."""
    unreadable: dict[str, UnreadablePart] = {}
    last = query.end_time
    for index, group in enumerate(sessions):
        if group.session_id.startswith(_UNREADABLE):
            first = next(
                (_newest(session) for session in sessions[index + 1 :] if session.requests), query.start_time
            )
            times = {"first": first, "last": last}
            known = {name: at(time) for name, time in times.items() if time is not None}
            unreadable[group.session_id] = UnreadablePart(**known, whole_session=True)
        elif group.requests:
            last = _newest(group)
    return unreadable
