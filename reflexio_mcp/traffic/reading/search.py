"""What `contains` and `finding` select, and which part of a request has the words of `contains`.

`flight hotel OR "night train"` finds what has both of the first two words, or the phrase, in any order and case and
inside longer words. In an id, a word counts if a part of the id begins with it.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import contains
from typing import Final, cast

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.reading import Matched
from reflexio_mcp.traffic.audit.rules import FINDINGS, RULES, select
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.errors import InvalidInput

__all__ = ["FINDINGS", "Words", "check_search", "matched", "search", "words_of"]

MASKED: Final = (
    "is not offered here: this server hides what is stored, and words that are found would tell it. "
    "Use finding or the other filters."
)
NO_FILTER_TELLS: Final = (
    "cannot be {finding}: no filter selects it. An audit names the requests with this finding."
)

OR: Final = "OR"
_TYPED: Final = re.compile(r'"([^"]*)"|(\S+)')
_AROUND: Final = '([{«„¿¡)]}».,;:!?…。，、；：！？"'  # noqa: RUF001
"""Punctuation around a word that is not part of it."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UUID_CHARS: Final = 8
"""Shorter words are not looked for in UUIDs, which have any few characters somewhere."""

_INVISIBLE: Final = re.compile(
    "[\xad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)

Items = Sequence[RequestWithInteractions]


@dataclass(frozen=True, slots=True)
class Words:
    """Alternatives of words and phrases to look for: each folded, with how it was written."""

    alternatives: tuple[dict[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def described(self, most: int | None = None) -> str:
        """The words as they are understood, each in quotes; `most` alternatives are named."""
        named = [" and ".join(f"“{word}”" for word in one.values()) for one in self.alternatives[:most]]
        others = len(self.alternatives) - len(named)
        return " or ".join([*named, *([f"{others} more"] if others else [])])

    def are_in(self, texts: Iterable[str], ids: Iterable[str] = ()) -> bool:
        """Whether these texts and ids together have all the words of one alternative."""
        left = [set(one) for one in self.alternatives]
        for found in chain((self.terms_in(one, is_id=True) for one in ids), map(self.terms_in, texts)):
            for terms in left:
                terms -= found
            if not all(left):
                return True
        return False

    def terms_in(self, text: str, *, is_id: bool = False) -> set[str]:
        """The words that a text or an id has."""
        folded = _fold(text)
        has = _begins_part if is_id else contains
        return {term for one in self.alternatives for term in one if has(folded, term)}

    def place_in(self, text: str) -> int | None:
        """Where a text first has one of the words, if it is written as it was looked for."""
        lowered = text.lower()
        places = [lowered.find(term) for one in self.alternatives for term in one]
        return min((place for place in places if place >= 0), default=None)


@functools.lru_cache(maxsize=64)
def words_of(text: str) -> Words:
    """Read what somebody typed."""
    alternatives: list[dict[str, str]] = [{}]
    for phrase, word in _TYPED.findall(text.replace("“", '"').replace("”", '"')):
        written = " ".join(phrase.split()) or word.strip(_AROUND) or word
        if word == OR:
            alternatives.append({})
        elif folded := _fold(written):
            alternatives[-1].setdefault(folded, written)
    return Words(tuple(one for one in alternatives if one))


def check_search(contains: str, finding: str, *, masked: bool = False) -> None:
    """Refuse an unknown finding, and words if there are none or the caller must not learn what is stored."""
    if contains and masked:
        raise InvalidInput("contains", MASKED)
    if contains and not words_of(contains):
        raise InvalidInput("contains", "has no word in it.")
    if finding and finding not in FINDINGS:
        if any(finding in rule.names() for rule in RULES):
            raise InvalidInput("finding", NO_FILTER_TELLS.format(finding=finding))
        raise InvalidInput("finding", f"must be one of {', '.join(FINDINGS)}.")


def search(contains: str, finding: str, items: Items) -> Items:
    """Those of a session's requests, newest first, that show `finding` and have the words of `contains`."""
    if finding:
        items = select(finding, items)
    if not contains:
        return items
    words = words_of(contains)
    return [
        item
        for item in items
        if words.are_in((text for _, _, text in _texts(item)), (text for _, text in _ids(item)))
    ]


def matched(item: RequestWithInteractions, words: Words) -> tuple[Matched, int | None]:
    """The part of a request that has one of the words, and the interaction if it is in a text."""
    for part, index, text in _texts(item):
        if words.terms_in(text):
            return part, index
    for part, text in _ids(item):
        if words.terms_in(text, is_id=True):
            return part, None
    return "text", None


def _texts(item: RequestWithInteractions) -> Iterator[tuple[Matched, int | None, str]]:
    for index, turn in enumerate(item.interactions):
        for text in texts_of(turn):
            if text:
                yield "text", index, text
    for turn in item.interactions:
        for text in _tool_texts([*turn.tools_used, *turn.retrieved_learnings]):
            yield "tool data", None, text
        if turn.interacted_image_url:
            yield "image address", None, turn.interacted_image_url


def _ids(item: RequestWithInteractions) -> Iterator[tuple[Matched, str]]:
    yield "request_id", item.request.request_id
    yield "session_id", item.request.session_id
    yield "user_id", item.request.user_id


def _tool_texts(value: object) -> Iterator[str]:
    left = [value]
    while left:  # a list of its own: what a tool was given may be nested deeper than Python calls
        one = left.pop()
        if isinstance(one, dict):
            for name, field in cast("dict[object, object]", one).items():
                left += (name, field)
        elif isinstance(one, list):
            left += cast("list[object]", one)
        elif one is not None:
            yield str(one)


def _begins_part(folded: str, term: str) -> bool:
    if len(term) < UUID_CHARS and _UUID.fullmatch(folded):
        return False
    place = folded.find(term)
    while place > 0 and folded[place - 1].isalnum():
        place = folded.find(term, place + 1)
    return place >= 0


def _fold(text: str) -> str:
    """The text without what nobody sees or tells apart: invisible characters, case, line breaks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold().replace("i\u0307", "i")
    return " ".join(text.lower().split())
