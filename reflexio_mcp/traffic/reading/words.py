"""Words that are looked for in what is stored: all of them, in any order and case, inside longer ones too.

A phrase stands in quotes, and `OR` between alternatives: `flight hotel OR "night train"` finds what has both of the
first two words, or the phrase. In an id, a word counts if a part of the id begins with it.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Words", "words_of"]

OR: Final = "OR"
"""Between two words; in lower case, in quotes, or at either end it is a word like others."""

_BEFORE: Final = "([{«„¿¡"
_BEHIND: Final = ")]}».,;:!?…。，、；：！？"  # noqa: RUF001
"""Punctuation around a word that is not part of it."""

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INVISIBLE: Final = re.compile(
    "[\xad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\U000e0000-\U000e0fff]"
)
UUID_CHARS: Final = 8
"""A shorter word is not looked for in UUIDs, which have any few characters somewhere."""


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody looks for; false if that is nothing.

    Args:
        alternatives: lists of folded words and phrases; all of one list have to be there.
        written: the same as they were written.
    """

    alternatives: tuple[tuple[str, ...], ...]
    written: tuple[tuple[str, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def described(self, most: int | None = None) -> str:
        """The words as they are understood: each word and each phrase in quotes of its own.

        Args:
            most: how many alternatives are named.
        """
        named = [" and ".join(f"“{one}”" for one in group) for group in self.written[:most]]
        others = len(self.written) - len(named)
        return " or ".join([*named, *([f"{others} more"] if others else [])])

    def are_in(self, texts: Iterable[str], ids: Iterable[str] = ()) -> bool:
        """Whether these texts and ids have one of the alternatives, all its words anywhere among them."""
        known = list(ids)
        left = [
            [term for term in terms if not any(_begins_part(term, one) for one in known)]
            for terms in self.alternatives
        ]
        if any(not terms for terms in left):
            return True
        for text in texts:
            folded = _fold(text)
            # A phrase is found across a line break too.
            spaced = " ".join(folded.split())
            for index, terms in enumerate(left):
                left[index] = [term for term in terms if term not in (spaced if " " in term else folded)]
                if not left[index]:
                    return True
        return False

    def any_in_id(self, text: str) -> bool:
        """Whether an id has one of the words."""
        return any(_begins_part(term, text) for terms in self.alternatives for term in terms)

    def place_in(self, text: str) -> int | None:
        """Where a text first has one of the words, or `None`."""
        lowered = text.lower()
        if len(lowered) != len(text):
            return None
        places = [lowered.find(term) for terms in self.alternatives for term in terms]
        return min((place for place in places if place >= 0), default=None)


@functools.lru_cache(maxsize=64)
def words_of(text: str) -> Words:
    """Read what somebody typed. An odd quote at the end opens no phrase."""
    parts = text.replace("“", '"').replace("”", '"').split('"')
    groups: list[list[str]] = [[]]
    for index, part in enumerate(parts):
        if index % 2 == 1 and index + 1 < len(parts):
            groups[-1] += [phrase] if (phrase := " ".join(part.split())) else []
            continue
        for word in part.split():
            if word == OR and groups[-1]:
                groups.append([])
            else:
                groups[-1].append(word.lstrip(_BEFORE).rstrip(_BEHIND) or word)
    if len(groups) > 1 and not groups[-1]:
        groups.pop()
        groups[-1].append(OR)
    kept = [{folded: one for one in reversed(group) if (folded := _fold(one))} for group in groups]
    return Words(
        tuple(tuple(reversed(terms)) for terms in kept if terms),
        tuple(tuple(reversed(terms.values())) for terms in kept if terms),
    )


def _begins_part(term: str, text: str) -> bool:
    folded = _fold(text)
    if len(term) < UUID_CHARS and _UUID.fullmatch(folded):
        return False
    place = folded.find(term)
    while place > 0 and folded[place - 1].isalnum():
        place = folded.find(term, place + 1)
    return place >= 0


def _fold(text: str) -> str:
    """The text without what nobody sees or tells apart: invisible characters, case, the dot of a Turkish capital I."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    return folded.replace("i\u0307", "i")
