"""Lists of sessions and of requests, a page at a time."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import content_chars, first_words
from reflexio_mcp.traffic.reading.cursors import Cursor, Listing
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionSlice
from reflexio_mcp.traffic.scope import Scope

__all__ = ["OutputBudget", "Page", "SessionRow", "list_requests", "list_sessions"]

LOOK_LIMIT: Final = 10_000
"""How many requests one call looks through for what the API cannot filter, before it gives a cursor instead."""

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
    """One session as far as it matches the filter. Times are epoch seconds, `opening` is its oldest request."""

    session_id: str
    users: list[str]
    requests: int
    interactions: int
    first: int
    last: int
    sources: list[str]
    agent_versions: list[str]
    evaluation_only: int
    first_words: str
    chars: int = 0
    opening: RequestWithInteractions | None = None


@dataclass
class Page(Generic[T]):
    """Rows of a list, and where it goes on.

    `cursor` is `None` at the end. `looked_at` counts the requests read for it and `looked_back_to` is the oldest
    second among them, both set where the filter had to be applied here. `rest_of_session` is how many requests
    of the last session are still to come.
    """

    rows: list[T]
    cursor: str | None = None
    looked_at: int | None = None
    looked_back_to: int | None = None
    rest_of_session: int = 0


def _row(session_slice: SessionSlice, matching: list[RequestWithInteractions]) -> SessionRow:
    requests = [item.request for item in matching]
    return SessionRow(
        session_id=session_slice.session_id,
        users=_by_frequency(request.user_id for request in requests),
        requests=len(requests),
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


async def list_sessions(
    scope: Scope,
    wanted: TrafficFilter,
    *,
    limit: int,
    budget: OutputBudget[SessionRow],
    asked: TrafficFilter | None = None,
    after: Cursor | None = None,
) -> Page[SessionRow]:
    """One row a session, newest first.

    Args:
        wanted: the filter (that of `after` when going on).
        limit: rows at the most.
        room: what fits into the answer; ends the page early.
        asked: the filter as the caller gave it, to be bound into the cursor.
        after: where the page before stopped.
    """

    def rows(
        session_slice: SessionSlice, matching: list[RequestWithInteractions]
    ) -> list[tuple[SessionRow, None]]:
        return [(_row(session_slice, matching), None)]

    pager = SessionPager(scope, wanted, after=after, batch=_batch(wanted, limit))
    return await _fill(pager, "sessions", wanted, asked or wanted, limit, budget, rows)


async def list_requests(
    scope: Scope,
    wanted: TrafficFilter,
    *,
    limit: int,
    budget: OutputBudget[RequestWithInteractions],
    asked: TrafficFilter | None = None,
    after: Cursor | None = None,
) -> Page[RequestWithInteractions]:
    """Requests grouped by session, newest session first and newest request first in it.

    Arguments as in `list_sessions`; `limit` counts requests.
    """

    def rows(
        session_slice: SessionSlice, matching: list[RequestWithInteractions]
    ) -> list[tuple[RequestWithInteractions, RequestWithInteractions]]:
        return [(item, item) for item in matching]

    pager = SessionPager(scope, wanted, after=after, batch=_batch(wanted, limit))
    return await _fill(pager, "requests", wanted, asked or wanted, limit, budget, rows)


def _batch(wanted: TrafficFilter, limit: int) -> int:
    # What is filtered here needs more sessions than it shows.
    return max(50, limit) if wanted.looks_inside else limit


async def _fill(
    pager: SessionPager,
    listing: Listing,
    wanted: TrafficFilter,
    asked: TrafficFilter,
    limit: int,
    budget: OutputBudget[T],
    rows: Callable[
        [SessionSlice, list[RequestWithInteractions]], Sequence[tuple[T, RequestWithInteractions | None]]
    ],
) -> Page[T]:
    while True:
        budget.clear()
        page: Page[T] = Page([])
        stop: Cursor | None = None
        place: Cursor | None = None
        oldest: int | None = None
        async for session_slice in pager.slices():
            oldest = min(oldest or session_slice.newest, session_slice.requests[-1].request.created_at)
            matching = await wanted.pick_in_thread(session_slice.requests)
            produced = rows(session_slice, matching) if matching else ()
            for index, (row, last) in enumerate(produced):
                if len(page.rows) == limit or not budget.take(row):
                    stop = place
                    page.rest_of_session = len(produced) - index if index else 0
                    break
                page.rows.append(row)
                # Behind the last request of a session the place is behind the whole session.
                place = pager.cursor(listing, session_slice, last if index + 1 < len(produced) else None)
            if stop:
                break
            place = pager.cursor(listing, session_slice, None)
            if wanted.looks_inside and pager.requests_seen >= LOOK_LIMIT:
                stop = place
                break
        if stop and not pager.settled:
            await pager.settle()
            continue
        if stop:
            page.cursor = stop.encode(asked, pager.caller)
        if wanted.looks_inside:
            page.looked_at, page.looked_back_to = pager.requests_seen, oldest
        return page
