"""Looks up stored requests by id: one to show, or a set.

The API looks up one id per call. A large set is read in pages of sessions first, and the rest one by one: only a
look-up by id proves that a request is not stored.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

from reflexio_mcp.rest.errors import NotFound, ServerFault
from reflexio_mcp.rest.exchange import in_thread_if
from reflexio_mcp.rest.models import (
    LearningStatus,
    RequestQuery,
    RequestWithInteractions,
    UnreadableRequest,
)
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import NOTICE, beginning
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress, Step, no_progress
from reflexio_mcp.results.reading import InteractionRow, OneRequest, interaction_row, learning_state
from reflexio_mcp.traffic.content import content_chars as text_chars
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, Unreadable, quoted, require_id
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager, unreadable_request
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing, redacted
from reflexio_mcp.traffic.tasks import for_each
from reflexio_mcp.traffic.turns import give_way

__all__ = [
    "CONTENT_CHARS",
    "find_request",
    "get_stored",
    "learning_status",
    "read_set",
    "require_stored",
    "show_request",
]

LOOKUPS_AT_ONCE: Final = 8

FEW: Final = 24
"""Largest set that is only looked up one by one."""

LEAST_PER_FILTER: Final = 4
"""With fewer wanted requests for each filter, single look-ups are cheaper than reading what the filters select."""

READ_PER_WANTED: Final = 4
SPARE_ROWS: Final = 2_000
"""After `READ_PER_WANTED` requests were read for each wanted one, and `SPARE_ROWS` more, look-ups are cheaper."""

WHOLE_AT_ONCE: Final = 500

CONTENT_CHARS: Final = 64_000
"""Limit of one interaction's content in one answer."""

OTHER_CHARS: Final = 2_000
"""Limit of an interaction's other texts."""

LEAST_CHARS: Final = 100

THREAD_CHARS: Final = 10_000
"""A request with more text is shown in a thread."""

Take = Callable[[list[RequestWithInteractions]], Awaitable[None]]
"""Receives the found requests in small batches, each request once."""


async def find_request(scope: Scope, request_id: str) -> RequestWithInteractions | None:
    """Return a request, an `UnreadableRequest`, or `None` if this caller can see no such request."""
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
    """Return a request, or `None` if this caller can see no such request.

    Raises:
        Unreadable: the service fails to return it.
    """
    item = await find_request(scope, request_id)
    if isinstance(item, UnreadableRequest):
        raise Unreadable(
            f"Request {quoted(request_id)} is stored, but Reflexio fails to return it, so it cannot be shown.",
            Fact(code=FactCode.ERASE_UNREADABLE),
        )
    return item


async def learning_status(scope: Scope, request_id: str) -> LearningStatus | None:
    """Return the state of learning; `None` if the service does not know the request."""
    try:
        return await scope.client.learning_status(request_id)
    except NotFound:
        return None


async def require_stored(scope: Scope, request_id: str) -> RequestWithInteractions:
    """Return a request that a caller has named.

    Raises:
        InvalidInput: the id is blank.
        NotStored: nothing with that id is visible to this caller.
        Unreadable: the service fails to return it.
    """
    request_id = require_id("request_id", request_id)
    stored = await get_stored(scope, request_id)
    if stored is None:
        whose = f" for user {quoted(scope.user_id)}" if scope.user_id else ""
        raise NotStored(
            f"No request {quoted(request_id)} is stored{whose}.", Fact(code=FactCode.FIND_REQUEST)
        )
    return stored


async def show_request(
    scope: Scope,
    stored: RequestWithInteractions,
    learning: LearningStatus | None,
    *,
    cursor: str = "",
    detail: str = "full",
    covered: bool = False,
    room: Room,
    content_chars: int = CONTENT_CHARS,
) -> OneRequest:
    """Return a request as it is shown, in parts if it is long.

    Args:
        learning: the state of learning; `None` if the service does not know the request.
        cursor: from the previous part.
        detail: `masked` shows roles and lengths instead of content.
        covered: replace secrets.
        content_chars: limit of one content in this part.

    Raises:
        InvalidInput: the cursor belongs to another request.
    """
    request = stored.request
    # This shows all fields but the interactions. Its `first_words` and `redacted` are replaced below.
    around = Showing(
        scope, TrafficFilter(), detail="masked" if detail == "masked" else "summary", uncovered=True
    )
    item = await redacted(scope, stored) if covered and not around.masked else stored
    position = _position(scope, cursor, item)
    show = partial(_interactions, item, *position, around.masked, room, content_chars)
    rows, following = await in_thread_if(text_chars(item) > THREAD_CHARS, show)
    row = around.request(stored).model_copy(
        update={"first_words": "", "interactions": rows, "redacted": item != stored}
    )
    return OneRequest(
        **dict(row),
        notice=NOTICE,
        session_id=scope.shown_id(request.session_id),
        learning=learning_state(
            learning.status if learning else "unknown",
            learning.reason if learning else None,
            evaluation_only=request.evaluation_only,
        ),
        cursor=encode_cursor("request", scope, request.request_id, list(following)) if following else None,
    )


def _position(scope: Scope, cursor: str, item: RequestWithInteractions) -> tuple[int, int]:
    """Read a cursor: the interaction, and the character of its content."""
    if not cursor:
        return 0, 0
    match decode_cursor(cursor, "request", scope, item.request.request_id):
        case [int(index), int(begin)] if 0 <= index < len(item.interactions) and begin >= 0:
            return index, begin
        case _:
            raise InvalidInput("cursor", "is not a cursor of this request; start again without it.")


def _interactions(
    item: RequestWithInteractions, index: int, begin: int, masked: bool, room: Room, content_chars: int
) -> tuple[list[InteractionRow], tuple[int, int] | None]:
    """Return the interactions from a position on that fit into the answer, and the next position."""
    rows: list[InteractionRow] = []
    for number, interaction in enumerate(item.interactions[index:], index):
        chars, other_chars = content_chars, OTHER_CHARS
        # The first interaction is cut until it fits. First by its size alone, because escaping much text can take long.
        content_left = 0 if masked else len(interaction.content) - begin
        while room.empty and chars > LEAST_CHARS and min(chars, content_left) > room.most_chars:
            chars, other_chars = _less(chars, other_chars)
        while True:
            give_way()
            row = interaction_row(
                interaction,
                chars,
                arrived=item.request.created_at,
                begin=begin,
                other_chars=other_chars,
                masked=masked,
            )
            if room.fits(row) or not room.empty or chars <= LEAST_CHARS:
                break
            chars, other_chars = _less(chars, other_chars)
        if not room.take(row):  # an empty answer takes a row of any size
            return rows, (number, begin)
        rows.append(row)
        _text, shown_chars = beginning(interaction.content, chars, begin)
        end = begin + shown_chars
        if not masked and end < len(interaction.content):
            return rows, (number, end)
        begin = 0
    return rows, None


def _less(chars: int, other_chars: int) -> tuple[int, int]:
    """Return smaller limits for the content of an interaction and for its other texts."""
    return chars * 3 // 4, max(LEAST_CHARS, min(other_chars, chars // 4))


async def read_set(
    scope: Scope,
    ids: Sequence[str],
    take: Take,
    *,
    filters: Sequence[TrafficFilter] = (),
    whole: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Read the requests that are stored and visible to this caller.

    Args:
        ids: the request ids, each once.
        filters: together they select the whole set; empty if no filter is known.
        whole: read every field, if the backend can. It then reads many requests at once.
    """
    if whole and scope.embedded:
        await _read_whole(scope, ids, take, progress)
        return
    left = dict.fromkeys(ids)

    async def found(items: Sequence[RequestWithInteractions]) -> None:
        known = [item for item in items if item.request.request_id in left]
        for item in known:
            del left[item.request.request_id]
        if known:
            await take(known)
            await progress(Step.REQUESTS_LOOKED_UP, len(ids) - len(left), len(ids))

    async def look(request_id: str) -> None:
        if item := await find_request(scope, request_id):
            await found([item])

    if len(left) > FEW and len(filters) * LEAST_PER_FILTER <= len(left):
        await _read_filters(scope, filters, left, found)
    # A store in this process is no faster with several at once.
    await for_each(list(left), look, at_once=1 if scope.embedded else LOOKUPS_AT_ONCE)


async def _read_filters(
    scope: Scope,
    filters: Sequence[TrafficFilter],
    left: dict[str, None],
    found: Callable[[Sequence[RequestWithInteractions]], Awaitable[None]],
) -> None:
    """Read what the filters select until the set is found, or too many other requests were read."""
    budget = READ_PER_WANTED * len(left) + SPARE_ROWS
    for wanted in filters:
        pager = SessionPager(scope, wanted)
        async with aclosing(pager.parts()) as parts:
            async for part in parts:
                await found(part.requests)
                if not left or pager.requests_seen > budget:
                    return
        budget -= pager.requests_seen


async def _read_whole(scope: Scope, ids: Sequence[str], take: Take, progress: Progress) -> None:
    done = 0
    while done < len(ids):
        page = await scope.client.read_whole(ids[done : done + WHOLE_AT_ONCE])
        done += page.looked_up
        if found := [item for item in page.requests if scope.covers(item.request.user_id)]:
            await take(found)
        await progress(Step.REQUESTS_LOOKED_UP, done, len(ids))
