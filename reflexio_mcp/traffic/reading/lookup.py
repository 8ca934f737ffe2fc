"""Looking up stored requests by id: one of them with where its learning stands, or a set the cheapest way.

The API looks up one id a call. A set of thousands is mostly close together, in a few sessions or one period. It is
then read in pages of sessions, and what such a reading does not find is looked up one by one, so that the answer is
exact whichever way was taken.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final

from reflexio_mcp.rest.errors import NotFound, ServerFault
from reflexio_mcp.rest.models import (
    LearningStatus,
    RequestQuery,
    RequestWithInteractions,
    UnreadableRequest,
    unlearned,
)
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, Unreadable, quoted
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.gaps import unreadable_request
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = [
    "Progress",
    "Take",
    "find_request",
    "get_request",
    "get_stored",
    "learning_status",
    "read_set",
    "require_id",
    "untold",
]

LOOKUPS_AT_ONCE: Final = 8
"""Single look-ups in flight: enough to hide a network's latency, few enough for a small server."""

FEW: Final = 24
"""Up to here a set is looked up one by one without further thought."""

SAMPLE: Final = 16
"""Ids looked up to learn where a set is."""

SPARE_ROWS: Final = 2_000
"""Requests a reading may see beyond four times what it looks for, before it is given up."""

WHOLE_AT_ONCE: Final = 500
"""Ids in one call that reads whole requests."""

Progress = Callable[[str, int, int | None], Awaitable[None]]
"""Told what is being done, how far it is and how much there is in all (`None` when that is not known)."""


async def untold(what: str, done: int, total: int | None) -> None:
    """A `Progress` that tells nobody."""


Take = Callable[[list[RequestWithInteractions]], Awaitable[None]]
"""Given the requests that were found, a few at a time, each once."""


def require_id(field: str, text: str) -> str:
    """An id without surrounding blanks.

    Raises:
        InvalidInput: nothing is left.
    """
    if not (text := text.strip()):
        raise InvalidInput(field, "must not be blank.")
    return text


async def find_request(scope: Scope, request_id: str) -> RequestWithInteractions | None:
    """The stored request with that id if this caller may see it, else `None`.

    It is an `UnreadableRequest` when the service fails to return it.
    """
    query = RequestQuery(request_id=request_id, user_id=scope.user_id or None, top_k=1)
    try:
        page = await scope.client.get_requests(query)
    except ServerFault as error:
        if (unreadable := await unreadable_request(scope, query, error)) is None:
            raise
        return unreadable
    for group in page.sessions:
        for item in group.requests:
            if item.request.request_id == request_id and scope.covers(item.request.user_id):
                return item
    return None


async def get_stored(scope: Scope, request_id: str) -> RequestWithInteractions | None:
    """The stored request with that id if this caller may see it, else `None`.

    Raises:
        Unreadable: the service fails to return it.
    """
    item = await find_request(scope, request_id)
    if isinstance(item, UnreadableRequest):
        raise Unreadable(
            f"Request {quoted(request_id)} is stored, but Reflexio fails to return it, so it cannot be shown. "
            "delete_request deletes it without showing it."
        )
    return item


async def learning_status(scope: Scope, request_id: str) -> LearningStatus | None:
    """Where the learning of a request stands; `None` when the service does not know."""
    try:
        return await scope.client.learning_status(request_id)
    except NotFound:
        return None


async def get_request(scope: Scope, request_id: str) -> tuple[RequestWithInteractions, LearningStatus | None]:
    """One request with its interactions, and where its learning stands.

    Raises:
        InvalidInput: the id is blank.
        NotStored: nothing with that id is visible to this caller.
        Unreadable: the service fails to return it.
    """
    request_id = require_id("request_id", request_id)
    item = await get_stored(scope, request_id)
    if item is None:
        whose = f" for user {quoted(scope.user_id)}" if scope.user_id else ""
        raise NotStored(f"No request {quoted(request_id)} is stored{whose}. Find ids with list_requests.")
    if not scope.learns:
        return item, unlearned(evaluation_only=item.request.evaluation_only)
    return item, await learning_status(scope, request_id)


async def read_set(
    scope: Scope,
    ids: Sequence[str],
    take: Take,
    *,
    places: Sequence[TrafficFilter] = (),
    whole: bool = False,
    progress: Progress = untold,
) -> None:
    """Read those of `ids` that are stored and visible to this caller.

    Args:
        ids: the request ids, each once.
        take: given what was found.
        places: filters that together are known to select the whole set, wherever it still exists. Empty when
            nothing is known about it.
        whole: with all that is stored of them, where the backend gives that out.
    """
    if whole and scope.exact:
        await _read_whole(scope, ids, take, progress)
        return
    search = _Search(scope, ids, take, progress)
    if places:
        if len(search.left) > FEW and len(places) * 4 <= len(search.left):
            await search.pager(places)
    elif len(search.left) > FEW:
        for where in await search.sample():
            if len(search.left) <= FEW:
                break
            await search.pager([where])
        if len(search.left) > FEW:
            await search.pager([TrafficFilter(user_id=scope.user_id)])
    # A list can come back short, so only a look-up by id shows that a request is not there.
    await search.one_by_one(list(search.left))


async def _read_whole(scope: Scope, ids: Sequence[str], take: Take, progress: Progress) -> None:
    done = 0
    while done < len(ids):
        page = await scope.client.read_whole(ids[done : done + WHOLE_AT_ONCE])
        done += page.looked_up
        if found := [item for item in page.requests if scope.covers(item.request.user_id)]:
            await take(found)
        await progress("requests looked up", done, len(ids))


class _Search:
    def __init__(self, scope: Scope, ids: Sequence[str], take: Take, progress: Progress) -> None:
        self._scope = scope
        self._take = take
        self._progress = progress
        self._total = len(ids)
        self.left = dict.fromkeys(ids)

    async def pager(self, places: Iterable[TrafficFilter]) -> None:
        """Read some places, until they hold too much else to be worth it."""
        budget = 4 * len(self.left) + SPARE_ROWS
        for where in places:
            pager = SessionPager(self._scope, where)
            seen = 0
            async with aclosing(pager.slices()) as slices:
                async for session_slice in slices:
                    await self._found(
                        [one for one in session_slice.requests if one.request.request_id in self.left]
                    )
                    seen = pager.requests_seen
                    if not self.left or seen > budget:
                        return
            budget -= seen

    async def sample(self) -> list[TrafficFilter]:
        """Look up a few and say where the others may be: in their sessions, or in the time between them."""
        ids = list(self.left)
        sampled = await self.one_by_one(ids[:: max(1, len(ids) // SAMPLE)])
        found = [one for one in sampled if not isinstance(one, UnreadableRequest)]
        if not found:
            return []
        user = self._scope.user_id
        sessions = {one.request.session_id for one in found}
        times = [one.request.created_at for one in found]
        places = [TrafficFilter(user_id=user, start=min(times), end=max(times))]
        if len(sessions) * 2 <= len(found):
            places[:0] = [TrafficFilter(user_id=user, session_id=one) for one in sorted(sessions)]
        return places

    async def one_by_one(self, ids: Sequence[str]) -> list[RequestWithInteractions]:
        """Look up each; those not found are not `left` any more either."""
        found: list[RequestWithInteractions] = []

        async def look(request_id: str) -> None:
            if item := await find_request(self._scope, request_id):
                found.append(item)
                await self._found([item])
            self.left.pop(request_id, None)
            await self._tell()

        await for_each(ids, look, at_once=LOOKUPS_AT_ONCE)
        return found

    async def _found(self, items: list[RequestWithInteractions]) -> None:
        if not items:
            return
        for one in items:
            self.left.pop(one.request.request_id, None)
        await self._take(items)
        await self._tell()

    async def _tell(self) -> None:
        await self._progress("requests looked up", self._total - len(self.left), self._total)
