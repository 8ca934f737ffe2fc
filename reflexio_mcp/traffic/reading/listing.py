"""Lists of sessions and of requests, a page at a time, each saying whether it is all and why it ended."""

import heapq
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Generic, Literal, Protocol, TypeVar

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import content_chars, first_words
from reflexio_mcp.traffic.reading.comparison import COMPARED_SECONDS, compared, digest_of
from reflexio_mcp.traffic.reading.cursors import Cursor, Listed
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.gaps import Gap
from reflexio_mcp.traffic.reading.lookup import get_stored
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionSlice
from reflexio_mcp.traffic.reading.search import judges_alone, names_with
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Ended", "Order", "OutputBudget", "Page", "SessionRow", "list_requests", "list_sessions"]

LOOK_LIMIT: Final = 10_000
"""How many requests one call looks through for what the API cannot filter, before it gives a cursor instead."""

TIES_NAMED: Final = 5
"""Sessions with as many interactions as the one with the most that are named beside it."""

LOOK_SECONDS: Final = 20.0
"""For looking through texts, which may be long. Clients give up on a call after 60 s, and what a page shows is redacted
on top; a page may be filled twice, the second time in half of it."""

Ended = Literal["", "limit", "sessions", "full", "looked", "time"]
"""Why a page ended before the list did: its `limit`, as many sessions as were asked for, the size of an answer,
`LOOK_LIMIT` or `LOOK_SECONDS`. Empty at the end."""

Order = Literal["newest", "longest"]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


class OutputBudget(Protocol[T_contra]):
    """How much of a list fits into one answer."""

    def take(self, row: T_contra, /) -> bool:
        """Make room for a row; `False` when it does not fit. The first row always fits."""
        ...

    def clear(self) -> None:
        """Forget what was taken: the list starts again."""
        ...


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session as far as it matches the filter.

    Args:
        requests: how many of its requests match.
        out_of: how many of its requests were looked at for that; more than `requests` where some do not match.
        first, last: times of its oldest and newest matching request, epoch seconds.
        chars: characters of content in the matching requests.
        opening: the oldest matching request.
    """

    session_id: str
    users: list[str]
    requests: int
    out_of: int
    interactions: int
    first: int
    last: int
    sources: list[str]
    agent_versions: list[str]
    evaluation_only: int
    first_words: str
    chars: int
    opening: RequestWithInteractions


@dataclass
class Page(Generic[T]):
    """Rows of a list, whether they are all of it, and where it goes on.

    Args:
        ended: why there are more than these; empty when there are not.
        cursor: what the next page is asked for with; `None` at the end.
        total: rows of the whole list, all pages together, where that is known without reading on.
        looked_at, looked_back_to: requests read for this page, and the oldest second among them, where the filter
            had to be applied here.
        before: rows of the pages before.
        continues: another page came before, so that what was looked at is a part.
        rest_of_session: how many requests of the last session are still to come.
        not_looked_through: how many requests of the last session the next page counts in a row of its own.
        goes_on: the first row counts such a rest.
        unjudged: a session that took too long to be judged, and how many requests it has; the next page begins behind
            it.
        one_of_many: only one user's requests were asked for, and the caller may see those of others.
        others: for each listed session, how many of its requests were read and do not match.
        named: where words were looked for and nothing has them: the filters whose value has them, such as
            `source=staging`, with the requests that each selects beside the filters asked for.
        some_named: some source or version has at least one of the words, if not all of them.
        unmatched: the one request that was asked for is stored, and the filter leaves it out.
        most_interactions: where sessions are ordered by their characters, the one with the most interactions.
        as_many_interactions: the sessions that have as many, the first of them.
        more_with_as_many: how many others there are.
        gaps: what the service could not return on the way. Whether it belongs to the list is not known.
    """

    rows: list[T]
    ended: Ended = ""
    cursor: str | None = None
    total: int | None = None
    left: int = 0
    before: int = 0
    continues: bool = False
    looked_at: int | None = None
    looked_back_to: int | None = None
    rest_of_session: int = 0
    not_looked_through: int = 0
    goes_on: bool = False
    unjudged: tuple[str, int] | None = None
    one_of_many: bool = False
    others: Counter[str] = field(default_factory=Counter[str])
    named: Mapping[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    some_named: bool = False
    unmatched: bool = False
    most_interactions: SessionRow | None = None
    as_many_interactions: list[str] = field(default_factory=list[str])
    more_with_as_many: int = 0
    gaps: tuple[Gap, ...] = ()


Rows = Callable[
    [SessionSlice, list[RequestWithInteractions]], Sequence[tuple[T, RequestWithInteractions | None]]
]
"""Makes the rows of one session, each with the request it ends at (`None` for the whole session)."""


async def list_sessions(
    scope: Scope,
    asked: TrafficFilter,
    *,
    limit: int,
    budget: OutputBudget[SessionRow],
    order: Order = "newest",
    detail: str = "summary",
    after: Cursor | None = None,
) -> Page[SessionRow]:
    """One row a session.

    Args:
        asked: the filter as the caller gave it, bound into the cursor; where the list goes on, that of `after` counts.
        limit: rows at the most.
        budget: what fits into the answer; ends the page early.
        order: the newest first, or those with the most characters first. The latter is one page of the first
            `LOOK_LIMIT` requests and has no cursor.
        detail: bound into the cursor.
        after: where the page before stopped.
    """
    if order == "longest":
        page = await _longest(scope, asked, limit, budget)
    else:
        page = await _page(
            scope,
            "sessions",
            asked,
            limit,
            budget,
            lambda part, items: [(_row(part, items), None)],
            detail,
            after,
        )
    page.one_of_many = bool((after.filter if after else asked).user_id and not scope.user_id)
    return page


async def list_requests(
    scope: Scope,
    asked: TrafficFilter,
    *,
    limit: int,
    budget: OutputBudget[RequestWithInteractions],
    request_id: str = "",
    most_sessions: int | None = None,
    detail: str = "summary",
    after: Cursor | None = None,
) -> Page[RequestWithInteractions]:
    """Requests grouped by session, newest session first and newest request first in it.

    Arguments as in `list_sessions`; `limit` counts requests.

    Args:
        request_id: only this one, where it matches the filter too.
        most_sessions: sessions at the most.
    """
    if request_id:
        item = await get_stored(scope, request_id)
        wanted = await compared(scope, after.filter if after else asked, seconds=COMPARED_SECONDS)
        found = wanted.pick([item]) if item is not None else []
        for one in found:
            budget.take(one)
        return Page(found, total=len(found), unmatched=item is not None and not found)
    return await _page(
        scope,
        "requests",
        asked,
        limit,
        budget,
        lambda _, items: [(item, item) for item in items],
        detail,
        after,
        most_sessions,
    )


async def _matching(
    wanted: TrafficFilter, session_slice: SessionSlice, until: float
) -> tuple[list[RequestWithInteractions], int]:
    """What passes of a slice, and how many of it were looked at until a time, as `pick_until` says."""
    if judges_alone(wanted.finding):
        return await wanted.pick_until(session_slice.requests, until)
    # A copy is one only beside its original, which an earlier page may have shown.
    left = {id(item) for item in session_slice.requests}
    picked, looked = await wanted.pick_until(session_slice.whole, until)
    return [item for item in picked if id(item) in left], len(left) if looked else 0


def _row(session_slice: SessionSlice, matching: list[RequestWithInteractions]) -> SessionRow:
    requests = [item.request for item in matching]
    return SessionRow(
        session_id=session_slice.session_id,
        users=_by_frequency(request.user_id for request in requests),
        requests=len(requests),
        out_of=len(session_slice.requests),
        interactions=sum(len(item.interactions) for item in matching),
        first=requests[-1].created_at,
        last=requests[0].created_at,
        sources=_by_frequency(request.source for request in requests if request.source),
        agent_versions=_by_frequency(request.agent_version for request in requests if request.agent_version),
        evaluation_only=sum(request.evaluation_only for request in requests),
        first_words=first_words(matching[-1]),
        chars=sum(content_chars(item) for item in matching),
        opening=matching[-1],
    )


def _by_frequency(values: Iterable[str]) -> list[str]:
    return [value for value, _ in Counter(values).most_common()]


async def _longest(
    scope: Scope, wanted: TrafficFilter, limit: int, budget: OutputBudget[SessionRow]
) -> Page[SessionRow]:
    wanted = await compared(scope, wanted, seconds=COMPARED_SECONDS)
    pager = SessionPager(scope, wanted)
    kept: list[tuple[int, int, SessionRow]] = []
    matched = looked = 0
    oldest: int | None = None
    page: Page[SessionRow] = Page([])
    until = time.monotonic() + LOOK_SECONDS
    async for session_slice in pager.slices():
        if wanted.looks_inside and looked and time.monotonic() >= until:
            page.ended = "time"
            break
        matching, of_session = await wanted.pick_until(session_slice.requests, until)
        if of_session < len(session_slice.requests):
            # Half a session has no place in an order by length.
            page.ended = "time"
            break
        looked = pager.requests_seen
        oldest = min(oldest or session_slice.newest, session_slice.requests[-1].request.created_at)
        if matching:
            matched += 1
            row = _row(session_slice, matching)
            most = page.most_interactions.interactions if page.most_interactions else -1
            if row.interactions > most:
                page.most_interactions, page.as_many_interactions, page.more_with_as_many = row, [], 0
            elif row.interactions == most and len(page.as_many_interactions) < TIES_NAMED:
                page.as_many_interactions.append(row.session_id)
            elif row.interactions == most:
                page.more_with_as_many += 1
            # The count breaks ties in the order of the list, the newest first.
            heapq.heappush(kept, (row.chars, -matched, row))
            if len(kept) > limit:
                heapq.heappop(kept)
        if pager.requests_seen >= LOOK_LIMIT:
            page.ended = "looked"
            break
    for _, _, row in sorted(kept, key=lambda entry: entry[:2], reverse=True):
        if not budget.take(row):
            page.ended = page.ended or "full"
            break
        page.rows.append(row)
    if not page.ended and matched > len(page.rows):
        page.ended = "limit"
    page.gaps = pager.gaps
    page.total = matched if page.ended not in ("looked", "time") and not page.gaps else None
    page.looked_at, page.looked_back_to = looked, oldest
    return page


async def _page(
    scope: Scope,
    listing: Listed,
    asked: TrafficFilter,
    limit: int,
    budget: OutputBudget[T],
    rows: Rows[T],
    detail: str,
    after: Cursor | None,
    most_sessions: int | None = None,
) -> Page[T]:
    wanted, shown_before = (after.filter, after.shown) if after else (asked, 0)
    wanted = await compared(scope, wanted, seconds=COMPARED_SECONDS, after=after)
    # What is filtered here needs more sessions than it shows.
    batch = max(50, limit) if wanted.looks_inside else limit
    # The embedded store counts some at once; another one would have to be read.
    counts = not (scope.learns or wanted.looks_inside)
    pager = SessionPager(scope, wanted, after=after, batch=batch, count=listing if counts else None)
    seconds = LOOK_SECONDS
    while True:
        budget.clear()
        until = time.monotonic() + seconds
        page, stop = await _filled(pager, listing, wanted, limit, budget, rows, most_sessions, until)
        if stop and not pager.settled:
            await pager.settle()
            seconds = LOOK_SECONDS / 2
            continue
        again = bool(after and after.begun and page.goes_on)
        if page.total is not None:
            page.total += shown_before - again
        elif page.ended and not page.gaps:
            page.total = pager.total
        page.before = shown_before
        page.continues = after is not None
        if stop:
            inside = after and after.begun and stop.request_id and stop.session_id == after.session_id
            shown = shown_before + len(page.rows) - again
            begun = bool(page.not_looked_through or inside)
            cursor = replace(
                stop,
                detail=detail,
                shown=shown,
                begun=begun,
                compared_to=wanted.compared_to,
                chosen=digest_of(wanted),
            )
            page.cursor = cursor.encode(asked, scope.caller)
        return page


async def _filled(
    pager: SessionPager,
    listing: Listed,
    wanted: TrafficFilter,
    limit: int,
    budget: OutputBudget[T],
    rows: Rows[T],
    most_sessions: int | None,
    until: float,
) -> tuple[Page[T], Cursor | None]:
    """The page, and the place behind its last row where more follows."""
    page: Page[T] = Page([])
    place: Cursor | None = None
    oldest: int | None = None
    names: Counter[tuple[str, str]] = Counter()
    sessions = left = 0
    async for session_slice in pager.slices():
        if wanted.looks_inside and place and time.monotonic() >= until:
            page.ended = page.ended or "time"
            break
        if wanted.contains and not page.rows:
            names.update(
                (name, getattr(item.request, name))
                for item in session_slice.requests
                if wanted.matches_request(item.request)
                for name in ("source", "agent_version")
            )
        goes_on = len(session_slice.requests) < len(session_slice.whole)
        matching, looked = await _matching(wanted, session_slice, until)
        last_looked, not_looked = session_slice.requests[looked - 1], len(session_slice.requests) - looked
        if not_looked and place and (not looked or listing == "sessions"):
            # The next page begins with it and has more time for it.
            page.ended = page.ended or "time"
            break
        if not looked:
            page.ended, page.unjudged = "time", (session_slice.session_id, not_looked)
            place = pager.cursor(listing, session_slice, None)
            break
        page.goes_on |= listing == "sessions" and bool(matching) and goes_on
        if not_looked:
            session_slice = replace(session_slice, requests=session_slice.requests[:looked])
        if not page.ended:
            oldest = min(oldest or session_slice.newest, last_looked.request.created_at)
            page.looked_at = pager.requests_seen - not_looked
        produced = rows(session_slice, matching) if matching else ()
        if page.ended:
            left += len(produced)
        elif produced and sessions == most_sessions:
            page.ended, left = "sessions", len(produced)
        else:
            for index, (row, last) in enumerate(produced):
                full = len(page.rows) == limit
                if full or not budget.take(row):
                    page.ended = "limit" if full else "full"
                    left = len(produced) - index
                    page.rest_of_session = left if index and not not_looked else 0
                    break
                page.rows.append(row)
                # Behind the last request of a session the place is behind the whole session.
                ends = index + 1 == len(produced) and not not_looked
                place = pager.cursor(listing, session_slice, None if ends else last)
            sessions += bool(produced)
            if produced and (others := looked - len(matching)):
                page.others[session_slice.session_id] += others
            if not page.ended:
                place = pager.cursor(listing, session_slice, last_looked if not_looked else None)
                if not_looked:
                    page.ended = "time"
                    page.not_looked_through = not_looked if produced and listing == "sessions" else 0
                elif wanted.looks_inside and pager.requests_seen >= LOOK_LIMIT and not pager.on_last_page:
                    page.ended = "looked"
                    break
        # What the service has sent already is counted; nothing more is read for it.
        if page.ended and (not_looked or not pager.on_last_page):
            break
    else:
        if not pager.gaps:
            page.total, page.left = len(page.rows) + left, left
    page.gaps = pager.gaps
    # With a finding they would select fewer, and of a part of the list the numbers would be too low.
    if not (page.rows or page.ended or page.gaps or wanted.finding):
        values = {value for _, value in names}
        having = names_with(wanted.contains, values)
        page.some_named = bool(names_with(wanted.contains, values, any_word=True))
        page.named = {one: names[one] for one in sorted(names) if one[1] in having}
    if not wanted.looks_inside:
        page.looked_at = None
    else:
        page.looked_at, page.looked_back_to = page.looked_at or 0, oldest
    return page, place if page.ended else None
