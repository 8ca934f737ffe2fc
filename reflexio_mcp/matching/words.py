"""Words that are searched in texts and ids.

`flight hotel OR "night train"` means both of the first two words, or the phrase. Order and case do not matter. A word
of six letters or more is found anywhere, a shorter one only at the beginning of a word, because short words are inside
others by chance. A word is found in an id if a part of the id begins with it. It is not counted if a part of the user's
name begins with it, too.
"""

import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Literal, cast

from reflexio_mcp.characters import JOINERS, WITHOUT_GLYPH

__all__ = ["Words", "fold", "leaves", "normalized_pieces", "single_blanks", "tool_texts", "words_of"]

OR: Final = "OR"
_PHRASE_OR_WORD: Final = re.compile(r'"([^"]*)"|(\S+)')
_PUNCTUATION_AROUND: Final = '([{«„¿¡)]}».,;:!?…。，、；：！？"'  # noqa: RUF001

_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UUID_CHARS: Final = 8
"""Shorter words are not searched in UUIDs, where they occur by chance."""

SHORT_CHARS: Final = 5
"""A searched word of at most so many letters is found only at the beginning of a word."""

LONG_KEY_CHARS: Final = 16
"""A name in a tool call that is so long may be an API key."""

_PARTS_WITHOUT_BLANKS: Final = re.compile(
    "[\u0590-\u08ff\u0e00-\u0eff\u1000-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""Letters of scripts that write words, or small words before them, without blanks: from Hebrew to Chinese."""

_UNSEEN: Final = re.compile(f"[{WITHOUT_GLYPH}{JOINERS}]")

ASCII_PIECE_CHARS: Final = 16_000
_PIECE: Final = re.compile("(?s).{1,500}(?=\\s|[^\\W\u1160-\u11ff\u3131-\u318e\uff9e-\uffdc]|\\Z)|.{1,500}")
"""A piece ends before a blank or a letter, if possible. Marks, and some Korean and Japanese letters, may join with the
letter before them."""

_GROWING: Final = re.compile("[\u3300-\u33ff\ufdfa\ufdfb]")
"""Letters that NFKC turns into five or more. A text with them is put into NFKD first: that is ten times as fast."""


@dataclass(frozen=True, slots=True)
class Words:
    """Alternatives of words and phrases.

    Args:
        alternatives: for each, a dictionary from the folded form of a word or phrase to the form that was written.
    """

    alternatives: tuple[dict[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.alternatives)

    def described(self) -> str:
        """Quote the words as they are understood."""
        return " or ".join(
            " and ".join(f"“{word}”" for word in alternative.values()) for alternative in self.alternatives
        )

    def are_in(self, texts: Iterable[str], ids: Iterable[str] = (), owner: str = "") -> bool:
        """Whether these texts and ids together contain all words of one alternative.

        Args:
            owner: the user whose ids they are.
        """
        missing_terms = [set(alternative) for alternative in self.alternatives]
        in_ids = (self.terms_in_id(id_, owner) for id_ in ids)
        for found in chain(in_ids, map(self.terms_in, texts)):
            for terms in missing_terms:
                terms.difference_update(found)
                if not terms:
                    return True
        return False

    def may_be_in(self, texts: Iterable[str]) -> bool:
        """Whether all words of one alternative are anywhere in these texts and ids.

        If `are_in` is true for these or for a part of them, this is true as well. It is much faster for short texts.
        """
        ascii_texts: list[str] = []
        found: set[str] = set()
        for text in texts:
            if text.isascii():
                ascii_texts.append(text)
            else:
                found |= self._terms_with_place(str.find, text)
        found |= self._terms_with_place(str.find, "\n".join(ascii_texts))  # at once, which is faster
        return any(alternative.keys() <= found for alternative in self.alternatives)

    def terms_in(self, text: str) -> set[str]:
        return self._terms_with_place(_place_in_text, text)

    def _terms_with_place(self, place_of: Callable[[str, str, int], int], text: str) -> set[str]:
        """Return the terms that have a place in a text.

        Args:
            place_of: the place of a term in a folded text, from a place on; -1 if there is none.
        """
        found: set[str] = set()
        missing = set(self._terms())
        for start, window in _windows(text, max(map(len, missing), default=0)):
            found.update(term for term in missing if place_of(window, term, start) >= 0)
            missing -= found
            if not missing:
                break
        return found

    def terms_in_id(self, id_: str, owner: str) -> set[str]:
        """Return the words in an id, without those that are also in the name of the user whose id it is.

        A word of the user's name only says whose request it is. Who searches for a name looks for texts about somebody.
        """
        folded, name = fold(id_), fold(owner)
        return {
            term for term in self._terms() if _place_in_id(folded, term) >= 0 and _place_in_id(name, term) < 0
        }

    def _terms(self) -> Iterator[str]:
        return chain.from_iterable(self.alternatives)

    def index_in(self, text: str) -> int | None:
        """Return the index of the first of these words in a text; `None` if the text spells them in another way."""
        lowered = text.lower()  # not folded, which would move the index
        found = [_place_in_text(lowered, term) for term in self._terms()]
        return min((index for index in found if index >= 0), default=None)


@functools.lru_cache(maxsize=64)
def words_of(text: str) -> Words:
    alternatives: list[dict[str, str]] = [{}]
    for phrase, word in _PHRASE_OR_WORD.findall(text.replace("“", '"').replace("”", '"')):
        written = " ".join(phrase.split()) or word.strip(_PUNCTUATION_AROUND) or word
        if word == OR:
            alternatives.append({})
        elif folded := fold(written):
            alternatives[-1].setdefault(folded, written)
    return Words(tuple(alternative for alternative in alternatives if alternative))


def _place_in_id(folded: str, term: str) -> int:
    if len(term) < UUID_CHARS and _UUID.fullmatch(folded):
        return -1
    return _place_not_behind(folded, term, str.isalnum)


def _place_in_text(folded: str, term: str, start: int = 0) -> int:
    if len(term) > SHORT_CHARS or not term.isalpha() or _PARTS_WITHOUT_BLANKS.search(term):
        return folded.find(term, start)
    return _place_not_behind(folded, term, str.isalpha, start)


def _place_not_behind(folded: str, term: str, kind: Callable[[str], bool], start: int = 0) -> int:
    """Return the first place of a term, from `start` on, where no character of this kind stands before it, or -1."""
    place = folded.find(term, start)
    while place > 0 and kind(folded[place - 1]):
        place = folded.find(term, place + 1)
    return place


def _windows(text: str, overlap: int) -> Iterator[tuple[int, str]]:
    """Yield a folded text in windows, each with the index at which a search in it starts.

    Folding and searching a long text in one step would block all threads. Each window but the first begins with the end
    of the one before, so that a term is found that goes across the border. The search starts at the second of these
    repeated characters. A term that begins at the first was found in the window before, and a term that begins at the
    second needs to know which character stands before it.

    Args:
        overlap: how many characters are repeated, at least as many as the longest term has.
    """
    start, window = 0, ""
    for piece in _folded_pieces(text):
        if len(window) > overlap:
            start, window = 1, window[-overlap:]
        window += piece
        yield start, window


def fold(text: str) -> str:
    """Remove differences that readers do not see: invisible characters, case, line breaks."""
    return "".join(_folded_pieces(text))


def _folded_pieces(text: str) -> Iterator[str]:
    pieces = normalized_pieces(text, "NFKC", without=_UNSEEN)
    # `casefold` makes two characters of the Turkish capital letter with a dot.
    return single_blanks(piece.casefold().replace("i\u0307", "i").lower() for piece in pieces)


def normalized_pieces(
    text: str, form: Literal["NFC", "NFKC"], *, without: re.Pattern[str] | None = None
) -> Iterator[str]:
    """Yield a text in one of Unicode's forms, in pieces of at most 16,000 characters.

    Normalizing a long text in one step would block all threads, for minutes if it has many marks in a row. The pieces
    that are read are shorter, because a letter can become 18 characters. If there are more than 500 marks in a row,
    their order may stay as it is stored.

    Args:
        without: characters that are left out, none of them ASCII.
    """
    if text.isascii():
        for start in range(0, len(text), ASCII_PIECE_CHARS):
            yield text[start : start + ASCII_PIECE_CHARS]
        return
    for piece in _PIECE.finditer(text):
        kept = without.sub("", piece[0]) if without else piece[0]
        if form == "NFKC" and _GROWING.search(kept):
            kept = unicodedata.normalize("NFKD", kept)
        yield unicodedata.normalize(form, kept)


def single_blanks(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of a text with one blank for blanks in a row, and none around the text."""
    has_begun = follows_blank = False
    for piece in pieces:
        follows_blank = follows_blank or piece[:1].isspace()
        if words := " ".join(piece.split()):
            yield f" {words}" if has_begun and follows_blank else words
            has_begun, follows_blank = True, piece[-1].isspace()


def leaves(value: object) -> Iterator[tuple[str, object]]:
    """Yield each value of a tool call with its name. A name of `LONG_KEY_CHARS` or more is a value, too."""
    left: list[tuple[str, object]] = [("", value)]
    while left:  # no recursion: values may be nested deeper than Python calls
        name, inner = left.pop()
        if isinstance(inner, dict):
            fields = cast("dict[str, object]", inner)
            left += reversed(fields.items())
            left += (("", field) for field in fields if len(field) >= LONG_KEY_CHARS)
        elif isinstance(inner, list):
            left += ((name, each) for each in reversed(cast("list[object]", inner)))
        else:
            yield name, inner


def tool_texts(value: object) -> Iterator[str]:
    return (f"{name} {leaf}" for name, leaf in leaves(value) if leaf is not None)
