"""A rule as a filter: the requests of one session that it finds."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.contents import is_nearly_empty, planted_kinds
from reflexio_mcp.traffic.audit.duplicates import Duplicates
from reflexio_mcp.traffic.audit.names import is_temporary, test_name
from reflexio_mcp.traffic.audit.secrets import secret_kinds
from reflexio_mcp.traffic.audit.sessions import TEMPORARY_OVER_SECONDS, SessionSeen
from reflexio_mcp.traffic.fingerprints import texts_of

__all__ = ["SELECTORS"]

Items = Sequence[RequestWithInteractions]


def _each(found: Callable[[RequestWithInteractions], bool]) -> Callable[[Items], Items]:
    def pick(items: Items) -> Items:
        return [item for item in items if found(item)]

    return pick


def _in_a_text(found: Callable[[str], object]) -> Callable[[Items], Items]:
    def holds(item: RequestWithInteractions) -> bool:
        return any(text and found(text) for turn in item.interactions for text in texts_of(turn))

    return _each(holds)


def _copies(which: int) -> Callable[[Items], Items]:
    def pick(items: Items) -> Items:
        duplicates = Duplicates()
        for found in duplicates.founds:
            found.kept = len(items)
        if items:
            for _ in duplicates.session(SessionSeen(items[0].request.session_id, list(items))):
                pass
        ids = set(duplicates.founds[which].subjects)
        return [item for item in items if item.request.request_id in ids]

    return pick


def _shared(items: Items) -> Items:
    return items if len({item.request.user_id for item in items}) > 1 else ()


def _temporary(items: Items) -> Items:
    if not items or not is_temporary(items[0].request.session_id):
        return ()
    newest = max(item.request.created_at for item in items)
    return items if newest <= time.time() - TEMPORARY_OVER_SECONDS else ()


SELECTORS: Final[dict[str, Callable[[Items], Items]]] = {
    "probable-secret": _in_a_text(secret_kinds),
    "planted-instructions": _each(lambda item: bool(planted_kinds(item))),
    "shared-session": _shared,
    "test-traffic": _each(lambda item: bool(test_name(item.request))),
    "duplicate": _copies(0),
    "near-duplicate": _copies(1),
    "temporary-session": _temporary,
    "nearly-empty": _each(is_nearly_empty),
}
"""Rule id to what picks its requests out of those of one session (newest first)."""
