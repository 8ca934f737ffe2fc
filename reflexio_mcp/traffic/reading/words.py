"""Words that are looked for in what is stored: all of them, in any order and case, inside longer ones too.

A phrase stands in quotes, and `OR` between alternatives: `flight hotel OR "night train"` is what says both of the first
two, or the phrase. What ends or encloses a word in a sentence does not belong to it. In an id a word counts where a
part of the id begins with it: a generated one has any two or three letters somewhere.
"""

import functools
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.traffic.rules.secret_heuristics import is_uuid

__all__ = ["Words", "words_of"]

OR: Final = "OR"
"""Between two words; in lower case, in quotes, or at either end it is a word like others."""


_BEFORE: Final = "([{«„¿¡（「『"  # noqa: RUF001 - the full-width ones are meant
_BEHIND: Final = ")]}».,;:!?…。，、；：！？）」』"  # noqa: RUF001
"""Stands around a word in a sentence; a word of nothing else is left as it is."""

_UUID_CHARS: Final = 8
"""From so many characters on a word can be the beginning of a UUID that somebody copied."""


@dataclass(frozen=True, slots=True)
class Words:
    """What somebody looks for; false where that is nothing.

    Args:
        alternatives: the words and phrases, folded, all of which have to be said; of several such lists one.
        written: the same as they were written.
    """

    alternatives: tuple[tuple[str, ...], ...]
    written: tuple[tuple[str, ...], ...]

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    @property
    def each(self) -> "Words":
        """Each of the words as an alternative of its own."""
        written = (word for terms in self.written for word in terms)
        return Words(
            tuple((term,) for terms in self.alternatives for term in terms),
            tuple((word,) for word in written),
        )

    def described(self, most: int | None = None) -> str:
        """The words as they are understood: each word and each phrase in quotes of its own.

        Args:
            most: how many alternatives are named; of further ones only the number is.
        """
        named = [" and ".join(f"“{one}”" for one in group) for group in self.written[:most]]
        others = len(self.written) - len(named)
        return " or ".join([*named, *([f"{others} other{'s' * (others > 1)}"] if others else [])])

    def are_in(self, texts: Iterable[str], ids: Iterable[str] = ()) -> bool:
        """Whether these texts and ids say one of the alternatives, all its words anywhere among them."""
        named = [_fold(one) for one in ids]
        left = [
            [term for term in terms if not any(_is_in_id(term, one) for one in named)]
            for terms in self.alternatives
        ]
        if any(not terms for terms in left):
            return True
        phrases = any(" " in term for terms in left for term in terms)
        for text in texts:
            folded = _fold(text)
            # A phrase is found over a line break too.
            spaced = " ".join(folded.split()) if phrases else folded
            for index, terms in enumerate(left):
                left[index] = [term for term in terms if term not in (spaced if " " in term else folded)]
                if not left[index]:
                    return True
        return False

    def id_with(self, ids: Iterable[str]) -> int | None:
        """Which of some ids is the first to have one of the words."""
        for index, one in enumerate(ids):
            folded = _fold(one)
            if any(_is_in_id(term, folded) for terms in self.alternatives for term in terms):
                return index
        return None

    def place_in(self, text: str) -> int | None:
        """Where a text first has one of the words; `None` where it has none, or in letters written otherwise."""
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
    # Of a word that is there twice, as it was written first.
    named = [{_fold(one): one for one in reversed(group) if _fold(one)} for group in groups]
    kept = [dict(reversed(terms.items())) for terms in named if terms]
    return Words(tuple(map(tuple, kept)), tuple(tuple(terms.values()) for terms in kept))


def _is_in_id(term: str, folded: str) -> bool:
    """Whether a part of an id begins with a word; a part of a UUID is none."""
    if len(term) < _UUID_CHARS and is_uuid(folded):
        return False
    place = folded.find(term)
    while place > 0 and folded[place - 1].isalnum():
        place = folded.find(term, place + 1)
    return place >= 0


def _fold(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
