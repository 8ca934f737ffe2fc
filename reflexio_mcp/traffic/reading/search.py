"""What `contains` looks for: words, or what a content is known by without being shown.

`fingerprint:0a1b2c3d4e` the content with that fingerprint · `rule:duplicate` what an audit's rule finds ·
`size>5000`, `size<10` characters of content. Anything else is words, found in any case: in contents, in what tools
were given, in image addresses. In quotes it is words whatever it looks like: `"size>5"`.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, cast

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import FINGERPRINT, Fingerprints, content_chars, texts_of
from reflexio_mcp.traffic.errors import InvalidInput

__all__ = ["check_search", "described", "is_blind", "search"]

Items = Sequence[RequestWithInteractions]
Pick = Callable[[Items], Items]
"""Picks from requests of one session, newest first."""

_SIZE: Final = re.compile(r"size\s*([<>])\s*(\d{1,9})")


BLIND_ONLY: Final = (
    "takes only rule:…, fingerprint:…, size>N or size<N here: this server hides what is stored, and words that are "
    "found would tell it."
)


def check_search(text: str, *, masked: bool = False) -> None:
    """Find what cannot be looked for, before anything is read.

    Args:
        masked: the caller must not learn what is stored, so that words must not be tried out either.

    Raises:
        InvalidInput: an unknown rule, no fingerprint, or words under the mask.
    """
    if masked and text and not is_blind(text):
        raise InvalidInput("contains", BLIND_ONLY)
    kind, _, value = text.partition(":")
    if kind == "fingerprint" and not FINGERPRINT.fullmatch(value) and " " not in text:
        raise InvalidInput("contains", "takes fingerprint: with 10 hexadecimal digits, as lists show it.")
    if kind == "rule" and " " not in text:
        from reflexio_mcp.traffic.rules.selectors import SELECTORS

        if value not in SELECTORS:
            raise InvalidInput("contains", f"takes rule: with one of {', '.join(SELECTORS)}.")


@functools.lru_cache(maxsize=64)
def search(text: str, fingerprints: Fingerprints) -> Pick:
    """What picks the requests that a `contains` means; `fingerprints` are those of the scope."""
    if (quoted := _quoted(text)) is not None:
        return _each(lambda item: _says(item, quoted))
    kind, _, value = text.partition(":")
    if kind == "fingerprint" and FINGERPRINT.fullmatch(value):
        return _each(lambda item: fingerprints.of(item) == value)
    if kind == "rule":
        from reflexio_mcp.traffic.rules.selectors import SELECTORS

        if value in SELECTORS:
            return SELECTORS[value]
    if match := _SIZE.fullmatch(text):
        bound, larger = int(match[2]), match[1] == ">"
        return _each(lambda item: content_chars(item) > bound if larger else content_chars(item) < bound)
    needle = text.casefold()
    return _each(lambda item: _says(item, needle))


def described(text: str) -> str:
    """A `contains` in words."""
    if _quoted(text) is None and (match := _SIZE.fullmatch(text)):
        return f"{'more' if match[1] == '>' else 'fewer'} than {int(match[2]):,} characters"
    return f"“{text}”"


def is_blind(text: str) -> bool:
    """Whether a search knows what it looks for by something else than its words, so that they need not be shown."""
    kind, _, value = text.partition(":")
    return bool(
        _SIZE.fullmatch(text)
        or (kind == "rule" and " " not in text)
        or (kind == "fingerprint" and FINGERPRINT.fullmatch(value))
    )


def _quoted(text: str) -> str | None:
    inside = text[1:-1]
    looks_special = inside.startswith(("fingerprint:", "rule:")) or _SIZE.fullmatch(inside)
    return inside.casefold() if text[:1] == text[-1:] == '"' and looks_special else None


def _each(found: Callable[[RequestWithInteractions], bool]) -> Pick:
    return lambda items: [item for item in items if found(item)]


def _says(item: RequestWithInteractions, needle: str) -> bool:
    return any(needle in text.casefold() for turn in item.interactions for text in _words_of(turn) if text)


def _words_of(turn: StoredInteraction) -> Iterator[str]:
    yield from texts_of(turn)
    yield turn.interacted_image_url
    for used in (*turn.tools_used, *turn.retrieved_learnings):
        yield from _strings(used)


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
