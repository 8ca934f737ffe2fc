"""A rule as a filter: the requests of one session that it finds."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.detector import SessionSeen
from reflexio_mcp.traffic.rules.duplicates import Duplicates
from reflexio_mcp.traffic.rules.name_heuristics import (
    is_anonymous,
    is_temporary,
    is_volatile,
    is_volatile_version,
    shape_of_source,
    test_name,
)
from reflexio_mcp.traffic.rules.nearly_empty import is_nearly_empty
from reflexio_mcp.traffic.rules.personal import KINDS, kinds_in
from reflexio_mcp.traffic.rules.planted import planted_kinds
from reflexio_mcp.traffic.rules.secrets import secret_in
from reflexio_mcp.traffic.rules.sessions import TEMPORARY_OVER_SECONDS, is_endless
from reflexio_mcp.traffic.rules.turns import has_image, is_assistants, is_in_the_future, prompt_of

__all__ = ["SELECTORS", "originals"]

COPIES: Final = ("duplicate", "near-duplicate")

Items = Sequence[RequestWithInteractions]
Pick = Callable[[Items], Items]


def _each(found: Callable[[RequestWithInteractions], object]) -> Pick:
    return lambda items: [item for item in items if found(item)]


def _holds(kind: str, item: RequestWithInteractions) -> bool:
    return kind in kinds_in(item)


def _copies(which: int) -> Pick:
    def pick(items: Items) -> Items:
        copies = _originals(which, items)
        return [item for item in items if item.request.request_id in copies]

    return pick


def _originals(which: int, items: Items) -> Mapping[str, str]:
    duplicates = Duplicates()
    if items:
        duplicates.session(SessionSeen(items[0].request.session_id, list(items)))
    return duplicates.originals[which]


def originals(finding: str, items: Items) -> Mapping[str, str]:
    """What stays of a finding that is about copies: the id of each copy with that of the request that it repeats."""
    return _originals(COPIES.index(finding), items) if finding in COPIES else {}


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
    "shared-session": _shared,
    "test-traffic": _each(lambda item: test_name(item.request)),
    "duplicate": _copies(0),
    "near-duplicate": _copies(1),
    "volatile-source": _each(lambda item: is_volatile(shape_of_source(item.request.source))),
    "temporary-session": _temporary,
    "nearly-empty": _each(is_nearly_empty),
    "anonymous-user": _each(lambda item: is_anonymous(item.request.user_id)),
    "version-per-session": _each(lambda item: is_volatile_version(item.request.agent_version)),
    "no-source": _each(lambda item: not item.request.source),
    "assistant-as-user": _each(is_assistants),
    "inline-image": _each(has_image),
    "repeated-prompt": _each(prompt_of),
    "future-time": _each(lambda item: is_in_the_future(item, time.time())),
    "endless-session": lambda items: items if is_endless(items) else (),
    **{kind: _each(functools.partial(_holds, kind)) for kind in KINDS},
}
"""Rule id to what picks its requests out of those of one session (newest first)."""
