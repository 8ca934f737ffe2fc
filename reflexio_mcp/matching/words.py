"""Words that are searched in texts and ids.

`flight hotel OR "night train"` means both of the first two words, or the phrase. Order and case do not matter, and a
word may be inside a longer word. In an id, a word counts if a part of the id begins with it.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from operator import contains
from typing import Final, cast

from reflexio_mcp.results.base import JOINERS, WITHOUT_GLYPH

__all__ = ["Words", "leaves", "tool_texts", "words_of"]

OR: Final = "OR"
_TYPED: Final = re.compile(r'"([^"]*)"|(\S+)')
_AROUND: Final = '([{«„¿¡)]}».,;:!?…。，、；：！？"'  # noqa: RUF001

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UUID_CHARS: Final = 8
"""Shorter words are not searched in UUIDs, where they occur by chance."""

_UNSEEN: Final = re.compile(f"[{WITHOUT_GLYPH}{JOINERS}]")

_PIECE: Final = re.compile(r"(?s).{1,1000}\S{0,100}[^\w\s]{0,30}")
"""A piece ends after a word, if possible."""


@dataclass(frozen=True, slots=True)
class Words:
    """Alternatives of words and phrases, each folded and as it was written."""

    alternatives: tuple[dict[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def described(self) -> str:
        """Quote the words as they are understood."""
        return " or ".join(" and ".join(f"“{word}”" for word in one.values()) for one in self.alternatives)

    def are_in(self, texts: Iterable[str], ids: Iterable[str] = ()) -> bool:
        """Whether these texts and ids together contain all words of one alternative."""
        left = [set(one) for one in self.alternatives]
        for found in chain((self.terms_in(one, is_id=True) for one in ids), map(self.terms_in, texts)):
            for terms in left:
                terms -= found
            if not all(left):
                return True
        return False

    def may_be_in(self, texts: Iterable[str]) -> bool:
        """Whether all words of one alternative are anywhere in these texts and ids.

        True whenever `are_in` is true for some of them, and much faster for short texts.
        """
        plain: list[str] = []
        folded: list[str] = []
        for text in texts:
            if text.isascii():
                plain.append(text)
            else:
                folded.append(fold(text))
        folded.append(fold("\n".join(plain)))
        return any(all(any(term in text for text in folded) for term in one) for one in self.alternatives)

    def terms_in(self, text: str, *, is_id: bool = False) -> set[str]:
        folded = fold(text)
        has = _begins_part if is_id else contains
        return {term for one in self.alternatives for term in one if has(folded, term)}

    def index_in(self, text: str) -> int | None:
        """Return the index of the first of these words in a text; `None` if the text spells them in another way."""
        lowered = text.lower()
        found = [lowered.find(term) for one in self.alternatives for term in one]
        return min((index for index in found if index >= 0), default=None)


@functools.lru_cache(maxsize=64)
def words_of(text: str) -> Words:
    alternatives: list[dict[str, str]] = [{}]
    for phrase, word in _TYPED.findall(text.replace("“", '"').replace("”", '"')):
        written = " ".join(phrase.split()) or word.strip(_AROUND) or word
        if word == OR:
            alternatives.append({})
        elif folded := fold(written):
            alternatives[-1].setdefault(folded, written)
    return Words(tuple(one for one in alternatives if one))


def _begins_part(folded: str, term: str) -> bool:
    if len(term) < UUID_CHARS and _UUID.fullmatch(folded):
        return False
    place = folded.find(term)
    while place > 0 and folded[place - 1].isalnum():
        place = folded.find(term, place + 1)
    return place >= 0


def fold(text: str) -> str:
    """Remove differences that readers do not see: invisible characters, case, line breaks."""
    if not text.isascii():
        # Normalizing many combining marks takes quadratic time and blocks all threads.
        text = "".join(
            unicodedata.normalize("NFKC", piece) for piece in _PIECE.findall(_UNSEEN.sub("", text))
        )
        text = text.casefold().replace("i\u0307", "i")
    return " ".join(text.lower().split())


def leaves(value: object) -> Iterator[tuple[str, object]]:
    """Yield each value of a tool call with its name. A long name is a value too, because it may be an API key."""
    left: list[tuple[str, object]] = [("", value)]
    while left:  # no recursion: values may be nested deeper than Python calls
        name, one = left.pop()
        if isinstance(one, dict):
            fields = cast("dict[str, object]", one)
            left += reversed(fields.items())
            left += (("", field) for field in fields if len(field) >= LONG_KEY_CHARS)
        elif isinstance(one, list):
            left += ((name, each) for each in reversed(cast("list[object]", one)))
        else:
            yield name, one


LONG_KEY_CHARS: Final = 16


def tool_texts(value: object) -> Iterator[str]:
    return (f"{name} {one}" for name, one in leaves(value) if one is not None)
