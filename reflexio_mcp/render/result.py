"""One result in two forms, and the small words that all of them are made of: counts, lists of ids, sentences."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypedDict, TypeVar, cast

from reflexio_mcp.render.stored_text import shown_id

__all__ = [
    "BUDGET",
    "IDS_CHARS",
    "LISTED",
    "NAMES",
    "UNLISTED",
    "Facts",
    "GapFacts",
    "Rendered",
    "Unlisted",
    "compact_json",
    "counted",
    "dense",
    "indented",
    "joined",
    "listed",
    "named_ids",
    "named_of",
    "sentences",
]

BUDGET: Final = 8_000
"""Characters of text one call answers with."""

NAMES: Final = 10
"""Users, sources or versions that one row names; the rest is counted."""

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One result in both forms."""

    text: str
    structured: Mapping[str, Any]


T = TypeVar("T")
F = TypeVar("F", bound=Mapping[str, Any])

UNLISTED: Final = "unlisted"
Unlisted = Annotated[T, UNLISTED]
"""A fact that a tool's output schema leaves out: every conversation pays for the schema, and few need this one."""


class GapFacts(TypedDict, total=False):
    """What the service could not return, in an answer that leaves it out."""

    unreadable: Unlisted[list[Facts]]
    unreadable_count: Unlisted[int]


def dense(facts: F) -> F:
    """The facts without empty ones: `None`, `False`, empty text and lists. A count of 0 stays."""
    kept = {
        key: value
        for key, value in facts.items()
        if value is not None and value is not False and value not in ("", [], {}, ())
    }
    return cast("F", kept)


def compact_json(value: object) -> str:
    """A value as JSON without blanks; what JSON does not have, as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def joined(parts: Iterable[str]) -> str:
    return " · ".join(part for part in parts if part)


def sentences(*told: str) -> str:
    """Sentences as one text, without the empty ones."""
    return " ".join(one for one in told if one)


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 request`, `2,000 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def indented(text: str) -> str:
    return "\n".join("  " + line for line in text.split("\n"))


LISTED: Final = 60
"""Ids an answer names for each outcome; the rest is counted."""

IDS_CHARS: Final = 2_600
"""Characters that the ids of one outcome may take."""


def named_ids(ids: Sequence[str], room: int = IDS_CHARS, most: int = LISTED) -> list[str]:
    """The first `most` ids of a set, as many as fit into `room` characters; one at least."""
    named: list[str] = []
    for one in ids[:most]:
        shown = shown_id(one)
        room -= len(shown) + 2
        if named and room < 0:
            break
        named.append(shown)
    return named


def listed(name: str, ids: Sequence[str], count: int) -> str:
    """What `named_ids` names of `count` ids, on one line."""
    return f"{name} ({named_of(ids, count) or f'{count:,}'}): {', '.join(ids)}"


def named_of(ids: Sequence[str], count: int) -> str:
    """How many of the ids are named, where it is not all of them."""
    return f"first {len(ids):,} of {count:,}" if len(ids) < count else ""
