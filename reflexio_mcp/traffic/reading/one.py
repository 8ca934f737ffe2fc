"""One request with its interactions, a part at a time if it is long."""

from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import NOTICE, Room
from reflexio_mcp.results.reading import InteractionRow, OneRequest
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import read_place, write_place
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import get_request
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing, interaction_row, learning_row, masked_interaction, redacted
from reflexio_mcp.traffic.stored_text import beginning

__all__ = ["read_request"]

CONTENT_CHARS: Final = 64_000
"""Characters of one content in one answer, if there is room."""

BESIDE_CHARS: Final = 2_000
"""Characters of each of the other texts: descriptions, tool data, expert and shadow content."""

LEAST_CHARS: Final = 100


async def read_request(
    scope: Scope,
    request_id: str,
    cursor: str = "",
    *,
    detail: str = "full",
    covered: bool = False,
    room: Room | None = None,
) -> OneRequest:
    """One request with its interactions and where its learning stands.

    Args:
        cursor: from the part before.
        detail: `masked` shows who spoke and how much instead of content.
        covered: replace secrets.
        room: what the answer has room for.

    Raises:
        InvalidInput: the id is blank, or the cursor is not one of this request.
        NotStored: nothing with that id is visible to this caller.
        Unreadable: the service fails to return it.
    """
    item, learning = await get_request(scope, request_id)
    stored = item
    summary = Showing(scope, TrafficFilter(), "masked" if detail == "masked" else "summary", uncovered=True)
    masked = summary.masked
    if covered and not masked:
        item = await anyio.to_thread.run_sync(redacted, item)
    index, begin = _place(scope, cursor, item)
    rows, following = _interactions(item, index, begin, masked, room or Room())
    request = stored.request
    row = summary.request(item).model_copy(
        update={"first_words": "", "interactions": rows, "redacted": item != stored}
    )
    return OneRequest(
        **dict(row),
        notice=NOTICE,
        session_id=scope.shown_id(request.session_id),
        learning=learning_row(
            learning.status if learning else "unknown",
            learning.reason if learning else None,
            evaluation_only=request.evaluation_only,
        ),
        cursor=write_place("request", scope, request.request_id, list(following)) if following else None,
    )


def _place(scope: Scope, cursor: str, item: RequestWithInteractions) -> tuple[int, int]:
    """The interaction and the character of its content that a cursor names."""
    if not cursor:
        return 0, 0
    index, begin = read_place(cursor, "request", scope, item.request.request_id)
    if not (
        isinstance(index, int)
        and isinstance(begin, int)
        and 0 <= index < len(item.interactions)
        and begin >= 0
    ):
        raise InvalidInput("cursor", "is not one that this request gave; start again without it.")
    return index, begin


def _interactions(
    item: RequestWithInteractions, index: int, begin: int, masked: Fingerprints | None, room: Room
) -> tuple[list[InteractionRow], tuple[int, int] | None]:
    """The interactions from a place on that have room, and the place of the next part."""
    rows: list[InteractionRow] = []
    arrived = item.request.created_at
    while index < len(item.interactions):
        turn = item.interactions[index]
        chars, beside = CONTENT_CHARS, BESIDE_CHARS
        if masked:
            row = masked_interaction(turn, arrived=arrived)
        else:
            row = interaction_row(turn, chars, arrived=arrived, begin=begin, beside=beside)
        # The first one is cut until it fits.
        while room.empty and not room.fits(row) and chars > LEAST_CHARS:
            chars, beside = chars * 3 // 4, max(LEAST_CHARS, min(beside, chars // 4))
            row = interaction_row(turn, chars, arrived=arrived, begin=begin, beside=beside)
        if not room.take(row):
            return rows, (index, begin)
        rows.append(row)
        end = begin + beginning(turn.content, chars, begin)[1]
        if not masked and end < len(turn.content):
            return rows, (index, end)
        index, begin = index + 1, 0
    return rows, None
