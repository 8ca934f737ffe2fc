"""What `contains` and `finding` select among the requests of one session.

`contains` is words, as `words_of` reads them. They are looked for in contents, in what tools were given, in image
addresses and in ids. `finding` is the id of an audit rule.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.words import words_of
from reflexio_mcp.traffic.rules.catalog import RULES, rule

__all__ = ["ACROSS", "FINDINGS", "check_search", "judges_alone", "names_with", "search"]

FINDINGS = tuple(rule.id for rule in RULES if rule.selects)
"""What `finding` takes."""

ACROSS = frozenset(rule.id for rule in RULES if rule.selects and rule.across)
"""Those of them that a session shows only beside others, so that they have to be compared first."""

_NAMED_BY_AUDITS = frozenset(rule.id for rule in RULES if not rule.selects)

NO_FILTER_TELLS = (
    "cannot be {finding}: no filter selects it, because the requests of one session do not show it. audit_traffic says "
    "whether there is any, names what it finds and gives the call for it."
)

Items = Sequence[RequestWithInteractions]
Pick = Callable[[Items], Items]
"""Picks from the requests of one session, newest first."""

MASKED = (
    "is not offered here: this server hides what is stored, and words that are found would tell it. "
    "Use finding or the other filters."
)


def check_search(contains: str, finding: str, *, masked: bool = False) -> None:
    """Refuse what cannot be looked for, before anything is read.

    Args:
        masked: the caller must not learn what is stored, so words must not be tried out either.

    Raises:
        InvalidInput: an unknown finding, no word, or words under the mask.
    """
    if contains and masked:
        raise InvalidInput("contains", MASKED)
    if contains and not words_of(contains):
        raise InvalidInput("contains", "has no word in it.")
    if finding in _NAMED_BY_AUDITS:
        raise InvalidInput("finding", NO_FILTER_TELLS.format(finding=finding))
    if finding and finding not in FINDINGS:
        raise InvalidInput("finding", f"must be one of {', '.join(FINDINGS)}.")


@functools.lru_cache(maxsize=64)
def search(contains: str, finding: str, *, is_part: bool = False) -> Pick:
    """What picks the requests of a session that show `finding` and say what `contains` does.

    A finding may need the whole session: a copy is one only beside its original. So it is looked for first.

    Args:
        is_part: as `SessionSeen` has it, of what is given.
    """
    words = words_of(contains)

    def pick(items: Items) -> Items:
        if finding:
            # The detectors are loaded by the first call that needs one.
            from reflexio_mcp.traffic.rules.selection import select

            items = select(finding, items, is_part=is_part)
        return [item for item in items if words.are_in(_texts(item), _ids(item.request))] if words else items

    return pick


@functools.cache
def judges_alone(finding: str) -> bool:
    """Whether each request shows by itself if it is found, so that those of a session can be looked at one by one."""
    if not finding or finding in ACROSS:
        return True
    from reflexio_mcp.traffic.rules.detector import Detector
    from reflexio_mcp.traffic.rules.selection import detector_types

    name = rule(finding).detector.rpartition(".")[2]
    kind = next(one for one in detector_types() if one.__name__ == name)
    return kind.session is Detector.session and kind.finish is Detector.finish


def names_with(contains: str, names: Iterable[str], *, any_word: bool = False) -> tuple[str, ...]:
    """Those of some names that have the words of a search, in order; with `any_word`, at least one of them."""
    words = words_of(contains)
    words = words.each if any_word else words
    return tuple(name for name in sorted(names) if name and words.are_in([name]))


def _ids(request: StoredRequest) -> tuple[str, str, str]:
    return request.request_id, request.session_id, request.user_id


def _texts(item: RequestWithInteractions) -> Iterator[str]:
    for turn in item.interactions:
        yield from filter(None, (*texts_of(turn), turn.interacted_image_url))
        for used in (*turn.tools_used, *turn.retrieved_learnings):
            yield from filter(None, _strings(used))


def _strings(value: object) -> Iterator[str]:
    # A stack of its own: what a tool was given may be nested deeper than Python calls.
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            left.extend(cast("dict[object, object]", one).keys())
            left.extend(cast("dict[object, object]", one).values())
        elif isinstance(one, list):
            left.extend(cast("list[object]", one))
        elif one is not None:
            yield str(one)
