"""The building blocks of every text: lines, sentences, rows, fences, lists of ids, the next call."""

from collections.abc import Iterable, Sequence
from typing import Final

from reflexio_mcp.results.base import TEXT_CHARS, fence

__all__ = [
    "counted",
    "fenced",
    "indented",
    "lines",
    "more",
    "named",
    "row",
    "sentence",
]

IDS_NAMED: Final = 20
"""Ids that a list names; the rest is counted."""

FENCE_CHARS: Final = TEXT_CHARS - 600
"""Characters of stored text in one answer; the rest is ours."""

CUT: Final = "… the rest is left out here: it is too long for one answer."


def lines(*parts: str | Iterable[str]) -> str:
    """The parts that are not empty, each on lines of its own."""
    flat = [one for part in parts for one in ([part] if isinstance(part, str) else part)]
    return "\n".join(one for one in flat if one)


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 request`, `2,000 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sentence(*parts: str) -> str:
    """The parts that are not empty, as one text. Each is a whole sentence."""
    return " ".join(part for part in parts if part)


def row(*facts: str) -> str:
    """One line of facts, without the empty ones."""
    return " · ".join(fact for fact in facts if fact)


def indented(text: str, by: int = 2) -> str:
    """The text with every line moved to the right."""
    return "\n".join(" " * by + line for line in text.split("\n"))


def fenced(body: str | Iterable[str], chars: int = FENCE_CHARS) -> str:
    """Stored text between two marks that it cannot contain, cut to what an answer may have; empty for no text."""
    text = body if isinstance(body, str) else lines(body)
    if not text:
        return ""
    return fence(text if len(text) <= chars else f"{text[:chars]}\n{CUT}")


def named(ids: Sequence[str], count: int | None = None, most: int = IDS_NAMED) -> str:
    """The first ids of a set and how many more there are: `a, b and 12 more`.

    Args:
        ids: the ids, or the first of them, as they are shown.
        count: how many there are in all; the number of `ids` if left out.
        most: how many are named at most.
    """
    shown = list(ids[:most])
    rest = (len(ids) if count is None else count) - len(shown)
    listed = ", ".join(shown)
    if rest <= 0:
        return listed
    return f"{listed} and {rest:,} more" if listed else f"{rest:,}"


def more(cursor: str | None) -> str:
    """How to go on with a list; empty at its end."""
    return f"There is more: repeat this call with cursor={cursor}" if cursor else ""
