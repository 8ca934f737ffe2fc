"""A rule as a filter: the requests of one session that it finds."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import content_chars
from reflexio_mcp.traffic.rules.content import is_nearly_empty, planted_kinds
from reflexio_mcp.traffic.rules.duplicates import Duplicates
from reflexio_mcp.traffic.rules.names import is_temporary, test_name
from reflexio_mcp.traffic.rules.secrets import secret_in
from reflexio_mcp.traffic.rules.sessions import TEMPORARY_OVER_SECONDS, SessionSeen
from reflexio_mcp.traffic.steps import Pace

__all__ = ["SELECTORS"]

Items = Sequence[RequestWithInteractions]
Pick = Callable[[Items], Generator[None, None, Items]]


def _each(found: Callable[[RequestWithInteractions], Generator[None, None, object]]) -> Pick:
    def pick(items: Items) -> Generator[None, None, Items]:
        pace, picked = Pace(), list[RequestWithInteractions]()
        for item in items:
            if (yield from found(item)):
                picked.append(item)
            if pace.due(content_chars(item)):
                yield
        return picked

    return pick


def _short(found: Callable[[RequestWithInteractions], object]) -> Pick:
    def look(item: RequestWithInteractions) -> Generator[None, None, object]:
        yield from ()
        return found(item)

    return _each(look)


def _copies(which: int) -> Pick:
    def pick(items: Items) -> Generator[None, None, Items]:
        duplicates = Duplicates()
        for found in duplicates.founds:
            found.kept = len(items)
        if items:
            yield from duplicates.session(SessionSeen(items[0].request.session_id, list(items)))
        ids = set(duplicates.founds[which].subjects)
        return [item for item in items if item.request.request_id in ids]

    return pick


def _whole(pick: Callable[[Items], Items]) -> Pick:
    def look(items: Items) -> Generator[None, None, Items]:
        yield from ()
        return pick(items)

    return look


def _shared(items: Items) -> Items:
    return items if len({item.request.user_id for item in items}) > 1 else ()


def _temporary(items: Items) -> Items:
    if not items or not is_temporary(items[0].request.session_id):
        return ()
    newest = max(item.request.created_at for item in items)
    return items if newest <= time.time() - TEMPORARY_OVER_SECONDS else ()


SELECTORS: Final[dict[str, Pick]] = {
    "probable-secret": _each(secret_in),
    "planted-instructions": _each(planted_kinds),
    "shared-session": _whole(_shared),
    "test-traffic": _short(lambda item: test_name(item.request)),
    "duplicate": _copies(0),
    "near-duplicate": _copies(1),
    "temporary-session": _whole(_temporary),
    "nearly-empty": _short(is_nearly_empty),
}
"""Rule id to what picks its requests, in steps, out of those of one session (newest first)."""
