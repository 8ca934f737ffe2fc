"""Reading around what the service cannot return.

The service stores data that it cannot give back: one request with deeply nested `tool_data` makes it answer 500 to
every list that would hold it, and a session can be larger than a reply may be. Everything else is still there. A page
that fails is read again in ever smaller parts, until what fails stands alone; that is a gap, named by its time.
"""

import time
import uuid
from dataclasses import dataclass, replace

from reflexio_mcp.rest.errors import ReflexioError, ReplyTooLarge, ServerFault
from reflexio_mcp.rest.models import (
    RequestPage,
    RequestQuery,
    RequestWithInteractions,
    SessionGroup,
    UnreadableRequest,
)
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Gap", "read_page", "unreadable_request"]

MOST_FAILURES = 100
"""Failing calls that one page may take before it is given up."""

_MARK = "\0gap "
"""Begins the stand-in for a session that could not be read, followed by its place. No stored id begins so."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something stored that could not be read.

    Args:
        first: the second before which it did not arrive, epoch; `None` when that is not known.
        last: the second after which it did not arrive.
        session: whether it is a whole session, whose newest request arrived in that time.
    """

    first: int | None
    last: int | None
    session: bool = True


async def read_page(scope: Scope, query: RequestQuery) -> tuple[RequestPage, dict[str, Gap]]:
    """Read a page of sessions, as much of it as the service can return.

    Returns:
        The page, and its gaps. A session that could not be read keeps its place, without requests.

    Raises:
        ReflexioError: as the client raises it, when the failure is not one of the data.
    """
    try:
        return await scope.client.get_requests(query), {}
    except (ServerFault, ReplyTooLarge) as error:
        if not _is_about_data(error) or not await _answers(scope, query):
            raise
    reader = _Reader(scope)
    page = await reader.parts(query)
    return page, reader.gaps | _gaps_between(page.sessions, query)


async def unreadable_request(
    scope: Scope, query: RequestQuery, error: ReflexioError
) -> UnreadableRequest | None:
    """Find out whether a look-up by id failed because of what is stored under the id.

    It did if the service answers every time but when that very request would be in the answer. Whose it is shows the
    same way: the look-up of a confined caller names the user, and the same look-up for another user succeeds.

    Args:
        query: the look-up, with its `request_id`.
        error: how it failed.
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
    try:
        await scope.client.get_requests(query, repeat=False)
    except (ServerFault, ReplyTooLarge) as error:
        if not _is_about_data(error):
            raise
        return False
    return True


async def _answers(scope: Scope, query: RequestQuery) -> bool:
    """Whether the service answers the same question about nobody."""
    return await _succeeds(scope, query.model_copy(update={"user_id": str(uuid.uuid4())}))


class _Reader:
    def __init__(self, scope: Scope) -> None:
        self._client = scope.client
        self._failures_left = MOST_FAILURES
        self.gaps: dict[str, Gap] = {}

    async def _try(self, query: RequestQuery) -> RequestPage | None:
        try:
            return await self._client.get_requests(query, repeat=False)
        except (ServerFault, ReplyTooLarge) as error:
            self._failures_left -= 1
            if not _is_about_data(error) or self._failures_left < 0:
                raise
            return None

    async def parts(self, query: RequestQuery) -> RequestPage:
        """Read a page that fails as a whole, in two parts."""
        if query.top_k == 1:
            return await self._session(query)
        half = query.top_k // 2
        newer_query = query.model_copy(update={"top_k": half})
        newer = await self._try(newer_query) or await self.parts(newer_query)
        if not newer.has_more:
            return newer
        older_query = query.model_copy(update={"top_k": query.top_k - half, "offset": query.offset + half})
        older = await self._try(older_query) or await self.parts(older_query)
        return RequestPage(
            sessions=newer.sessions + older.sessions,
            has_more=older.has_more,
            server_time=newer.server_time or older.server_time,
        )

    async def _session(self, query: RequestQuery) -> RequestPage:
        if not query.session_id:
            return RequestPage(sessions=[SessionGroup(session_id=f"{_MARK}{query.offset}")], has_more=True)
        # The caller has named the session, so that its requests can be told apart by their time.
        latest = query.end_time if query.end_time is not None else int(time.time()) + 1
        requests = await self._span(query, query.start_time or 0, latest)
        self._join()
        return RequestPage(sessions=[SessionGroup(session_id=query.session_id, requests=requests)])

    def _join(self) -> None:
        """Make one gap of a single second and the gap that ends before it.

        A single second can only be asked for together with the one before, so what is in that one makes both fail.
        """
        joined: list[Gap] = []
        for gap in sorted(self.gaps.values(), key=lambda one: one.first or 0):
            if joined and gap.first == gap.last and gap.first == (joined[-1].last or 0) + 1:
                joined[-1] = replace(joined[-1], last=gap.last)
            else:
                joined.append(gap)
        self.gaps = {f"{gap.first} {gap.last}": gap for gap in reversed(joined)}

    async def _span(self, query: RequestQuery, first: int, last: int) -> list[RequestWithInteractions]:
        page = await self._try(query.model_copy(update={"start_time": first, "end_time": last}))
        if page is not None:
            return [item for group in page.sessions for item in group.requests]
        # The API takes no period of a single second.
        if last - first <= 1:
            self.gaps[f"{first} {last}"] = Gap(first, last, session=False)
            return []
        middle = (first + last) // 2
        return await self._span(query, middle + 1, last) + await self._span(query, first, middle)


def _gaps_between(sessions: list[SessionGroup], query: RequestQuery) -> dict[str, Gap]:
    """The sessions that could not be read, each between its neighbours: the newest comes first."""
    gaps: dict[str, Gap] = {}
    last = query.end_time
    for place, group in enumerate(sessions):
        if group.session_id.startswith(_MARK):
            later = (_newest(one) for one in sessions[place + 1 :] if one.requests)
            gaps[group.session_id] = Gap(next(later, query.start_time), last)
        elif group.requests:
            last = _newest(group)
    return gaps


def _newest(group: SessionGroup) -> int:
    return max(item.request.created_at for item in group.requests)
