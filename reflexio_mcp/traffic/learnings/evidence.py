"""Which stored interactions a learning quotes.

Reflexio learns from a window of interactions. A learning lists interactions of its window, a profile all of them. What
it quotes shows which of them taught it. A playbook quotes whole interactions, joined by blank lines. A profile quotes
what the model wrote, which the service does not check, and a merged profile has the quotes of all its predecessors.

A restored or imported request has new interaction ids, and learnings go on listing the old ones. So the words of a
learning with ids that are not stored are looked for in the user's other interactions too, word for word.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from reflexio_mcp.matching.words import normalized_pieces, single_blanks
from reflexio_mcp.rest.models import StoredInteraction, StoredRequest
from reflexio_mcp.traffic.learnings.records import Learning

__all__ = ["Evidence", "QuotedWords", "Turn", "quotes_of"]

NEAR: Final = 0.85
"""Minimum similarity of a quote and the most similar part of an interaction (`benchmarks/quotes.py`)."""

LEAST_NEAR_CHARS: Final = 12
"""A shorter quote is like parts of too many interactions."""

LEAST_BYTES: Final = 12
"""Minimum UTF-8 length of words that are looked for in interactions that are not listed: many contain shorter ones."""

MOST_COMPARED: Final = 50_000_000
"""Maximum product of the lengths of a learning's quotes and its interactions. Repetitive texts of it take a second."""

# What Reflexio writes before and between the quotes of a merged profile.
_MERGED_PREFIX: Final = "Original source evidence values (separate excerpts):"
_MERGED_SEPARATOR: Final = re.compile(r"\s*--- Separate source evidence value ---\s*")
_BLANK_LINES: Final = re.compile(r"\n\s*\n")
_NO_LETTERS: Final = re.compile(r"[\W_]+")
_PLAIN: Final = str.maketrans(
    dict.fromkeys("“”„‟«»", '"') | dict.fromkeys("‘’‚‛`´", "'") | dict.fromkeys("‐‑‒–—", "-")  # noqa: RUF001
)


@dataclass(frozen=True, eq=False)
class Turn:
    """A stored interaction with its request.

    Args:
        place: its number in the request, from 1.
    """

    request: StoredRequest
    place: int
    interaction: StoredInteraction

    @property
    def interaction_id(self) -> int:
        return self.interaction.interaction_id

    @property
    def request_id(self) -> str:
        return self.request.request_id

    @property
    def session_id(self) -> str:
        return self.request.session_id

    @property
    def role(self) -> str:
        return self.interaction.role

    @property
    def said_at(self) -> int:
        """Epoch seconds."""
        return self.interaction.created_at

    @cached_property
    def text(self) -> str:
        """Everything that can be quoted of it, normalized."""
        return normalized("\n".join(_quotable(self.interaction)))

    @cached_property
    def letters(self) -> str:
        return _letters(self.text)


@dataclass(frozen=True, slots=True)
class Turns:
    """Interactions of a user that were looked up.

    Args:
        by_id: those that were looked up by id and found.
        missing_are_gone: true if what is missing here is not stored. If false, it may only not have been reached.
        quoted: others that say what learnings quote, for learnings that list interactions which are missing here.
    """

    by_id: Mapping[int, Turn] = field(default_factory=dict[int, Turn])
    missing_are_gone: bool = True
    quoted: Mapping[int, Turn] = field(default_factory=dict[int, Turn])

    def lack(self, learning: Learning) -> bool:
        """Whether interactions that a learning lists are missing here."""
        return not learning.interaction_ids <= self.by_id.keys()


@dataclass(frozen=True, slots=True)
class Passage:
    """Words that a learning quotes.

    Args:
        turns: every interaction that contains them, or the most similar ones. Nothing shows which of several is meant.
        near: the interactions have similar words.
    """

    words: str
    turns: tuple[Turn, ...] = ()
    near: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a learning quotes, and the interactions of its windows.

    Args:
        listed: the stored ones that it lists, in the order of their ids.
        unlisted: the others that say what it quotes, if it lists any that were not found.
        gone: ids that are not stored any more.
        unread: ids that were not found, but may be stored.
    """

    passages: tuple[Passage, ...] = ()
    listed: tuple[Turn, ...] = ()
    unlisted: tuple[Turn, ...] = ()
    gone: frozenset[int] = frozenset()
    unread: frozenset[int] = frozenset()

    @property
    def quoted_ids(self) -> frozenset[int]:
        """The ids of the interactions that it quotes."""
        return frozenset(turn.interaction_id for passage in self.passages for turn in passage.turns)

    @property
    def quoted_turns(self) -> tuple[Turn, ...]:
        quoted_ids = self.quoted_ids
        return tuple(turn for turn in self.sources if turn.interaction_id in quoted_ids)

    @property
    def sources(self) -> tuple[Turn, ...]:
        """Every interaction that was found and that it may have come from, quoted or not."""
        return self.listed + self.unlisted

    @property
    def window_only(self) -> frozenset[int]:
        """The ids of stored interactions that it lists and does not quote."""
        return frozenset(turn.interaction_id for turn in self.listed) - self.quoted_ids

    @property
    def unresolved(self) -> tuple[Passage, ...]:
        """The passages that no interaction that was found says."""
        return tuple(passage for passage in self.passages if not passage.turns)

    @property
    def is_complete(self) -> bool:
        """Whether it came from what it quotes and from nothing else."""
        return bool(self.quoted_ids) and not self.unresolved and not self.unread

    @property
    def possible_turns(self) -> tuple[Turn, ...]:
        """The interactions that it may have come from: those that it quotes, or all `sources` if that is not sure.

        Interactions in `unread` are missing here.
        """
        return self.quoted_turns if self.is_complete else self.sources


def evidence_of(learning: Learning, turns: Turns) -> Evidence:
    """Find what a learning quotes in the interactions that it lists, and in `Turns.quoted` if it lacks some of them."""
    found = {
        interaction_id: turns.by_id[interaction_id]
        for interaction_id in sorted(learning.interaction_ids)
        if interaction_id in turns.by_id
    }
    missing = learning.interaction_ids - found.keys()
    listed = tuple(found.values())
    can_compare = len(learning.quote) * sum(len(turn.text) for turn in listed) <= MOST_COMPARED
    compared = listed if can_compare else ()
    others = [turn for id_, turn in turns.quoted.items() if id_ not in found] if missing else []
    passages = tuple(
        passage for quote in quotes_of(learning) for passage in _passages(quote, listed, others, compared)
    )
    quoted_turns = {turn for passage in passages for turn in passage.turns}
    return Evidence(
        passages,
        listed,
        tuple(turn for turn in others if turn in quoted_turns),
        gone=missing if turns.missing_are_gone else frozenset(),
        unread=frozenset() if turns.missing_are_gone else missing,
    )


class QuotedWords:
    """Words that learnings quote, to be looked for in interactions that the learnings do not list."""

    def __init__(self, learnings: Iterable[Learning]) -> None:
        self._words = {
            normalized(paragraph)
            for learning in learnings
            for quote in quotes_of(learning)
            for paragraph in paragraphs_of(quote)
        }

    def __bool__(self) -> bool:
        return bool(self._words)

    def said_in(self, turn: Turn) -> bool:
        return any(_says(turn, words) for words in self._words)


def quotes_of(learning: Learning) -> list[str]:
    """Take the quotes of a learning apart. A profile that was merged more than once has the prefix more than once."""
    parts = (_without_prefix(part) for part in _MERGED_SEPARATOR.split(learning.quote))
    return [part for part in parts if part]


def normalized(text: str) -> str:
    """Make texts comparable that differ in case, blanks, and the form of quotation marks and dashes."""
    pieces = normalized_pieces(text, "NFKC")
    return "".join(single_blanks(piece.translate(_PLAIN).casefold() for piece in pieces))


def paragraphs_of(text: str) -> list[str]:
    return [paragraph for paragraph in _BLANK_LINES.split(text) if paragraph.strip()]


def _without_prefix(part: str) -> str:
    part = part.strip()
    while part.startswith(_MERGED_PREFIX):
        part = part.removeprefix(_MERGED_PREFIX).strip()
    return part


def _quotable(interaction: StoredInteraction) -> Iterator[str]:
    """Yield the texts of an interaction in the order and the form in which Reflexio quotes them."""
    for tool in interaction.tools_used:
        yield f"[used tool: {tool.get('tool_name')}({json.dumps(tool.get('tool_data'))})]"
    yield interaction.content
    yield interaction.expert_content
    if interaction.user_action != "none":
        yield f"{interaction.user_action} {interaction.user_action_description}"
    yield interaction.shadow_content


def _passages(
    quote: str, listed: Sequence[Turn], others: Sequence[Turn], compared: Sequence[Turn]
) -> Iterator[Passage]:
    """Yield the longest runs of paragraphs that one interaction contains.

    An interaction can have blank lines, so a blank line is not always the border of a passage.

    Args:
        compared: the interactions that are searched for similar words, if none contains the words themselves.
    """
    paragraphs = paragraphs_of(quote)
    start = 0
    while start < len(paragraphs):
        end = start + 1
        words = normalized(paragraphs[start])
        holders = _holders(words, listed, others)
        while holders and end < len(paragraphs):
            words = f"{words} {normalized(paragraphs[end])}"
            if not (narrower := _holders(words, listed, others)):
                break
            holders, end = narrower, end + 1
        text = "\n\n".join(paragraphs[start:end])
        start = end
        if holders:
            yield Passage(text, tuple(holders))
        else:
            similar = _near(text, compared)
            yield Passage(text, similar, near=bool(similar))


def _holders(words: str, listed: Sequence[Turn], others: Sequence[Turn]) -> list[Turn]:
    return [
        *(turn for turn in listed if _contains(turn.text, words)),
        *(turn for turn in others if _says(turn, words)),
    ]


def _says(turn: Turn, words: str) -> bool:
    """Whether an interaction that is not listed says these words: as its whole text, or if few others can say them."""
    return turn.text == words or (len(words.encode()) >= LEAST_BYTES and _contains(turn.text, words))


def _contains(text: str, words: str) -> bool:
    """Whether a text contains whole words: "tea" is not in "team"."""
    return _end_of(words, text) >= 0


def _end_of(
    words: str, text: str, start: int = 0, *, open_left: bool = False, open_right: bool = False
) -> int:
    """Return where whole words end in a text, -1 if it does not contain them. An open end may be inside a word."""
    at = text.find(words, start)
    while words and at >= 0:
        end = at + len(words)
        before = text[at - 1] if at > 0 else ""
        after = text[end : end + 1]
        begins_word = open_left or not _joined(before, words[0])
        ends_word = open_right or not _joined(words[-1], after)
        if begins_word and ends_word:
            return end
        at = text.find(words, at + 1)
    return -1


def _joined(left: str, right: str) -> bool:
    """Whether two characters of normalized texts stand in one word.

    Characters of scripts without case count as words of their own: many such scripts write without blanks.
    """
    return all(letter.islower() or letter.isdigit() for letter in (left, right))


def _near(quote: str, turns: Sequence[Turn]) -> tuple[Turn, ...]:
    """Return the interactions that an inexact quote means; none if no interaction is similar enough."""
    words = normalized(quote)
    letters = _letters(words)
    if len(letters) < LEAST_NEAR_CHARS:
        return ()
    parts = words.split("...")  # three dots stand for what a quote leaves out
    if len(parts) > 1:
        containing = tuple(turn for turn in turns if _contains_in_order(turn.text, parts))
        if containing:
            return containing
    scores = [similarity(letters, turn.letters) for turn in turns]
    best = max(scores, default=0.0)
    if best < NEAR:
        return ()
    return tuple(turn for turn, score in zip(turns, scores, strict=True) if score == best)


def _contains_in_order(text: str, parts: Sequence[str]) -> bool:
    """Whether a text contains all parts of a quote, in this order. Where parts were cut off, words may be cut, too."""
    end = 0
    last = len(parts) - 1
    for number, part in enumerate(part.strip() for part in parts):
        if part:
            end = _end_of(part, text, end, open_left=number > 0, open_right=number < last)
        if end < 0:
            return False
    return True


def similarity(quote: str, said: str) -> float:
    """Compare letters of a quote with the most similar part of a text: 1 is equal, 0 is anything below `NEAR`."""
    from rapidfuzz import fuzz  # most quotes are exact

    # A text that is shorter than the quote has to be similar to all of the quote, not to a part of it.
    compare = fuzz.partial_ratio if len(quote) <= len(said) else fuzz.ratio
    return compare(quote, said, score_cutoff=NEAR * 100) / 100


def _letters(text: str) -> str:
    return _NO_LETTERS.sub(" ", text).strip()
