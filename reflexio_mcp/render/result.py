"""One result in two forms, and the small words that all of them are made of: counts, lists of ids, sentences."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypedDict, TypeVar, cast

from reflexio_mcp.render.stored_text import shown_id

__all__ = [
    "BUDGET",
    "FIRST_IDS",
    "IDS_CHARS",
    "LISTED",
    "NAMES",
    "UNLISTED",
    "Facts",
    "GapFacts",
    "Rendered",
    "Unlisted",
    "as_sentence",
    "compact_json",
    "counted",
    "dense",
    "few_ids",
    "indented",
    "joined",
    "listed",
    "named_ids",
    "named_of",
    "sentences",
    "tabled",
    "whole",
]

BUDGET: Final = 9_000
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
    unreadable_next: Unlisted[str]


def dense(facts: F) -> F:
    """The facts without empty ones: `None`, `False`, empty text and lists. A count of 0 stays."""
    kept = {
        key: value
        for key, value in facts.items()
        if value is not None and value is not False and value not in ("", [], {}, ())
    }
    return cast("F", kept)


def tabled(facts: Mapping[str, Any], *names: str) -> Facts:
    """The facts with the rows of some lists as plain lists, so that no row repeats its keys.

    Args:
        names: the keys, at any depth, whose lists hold objects.

    Returns:
        The facts. Where one of the lists has rows, `columns` stands before them and says for each list what stands in
        which place of a row; what most rows have comes first. What is `null`, or missing at the end, a row does not
        have.
    """
    seen: dict[str, Counter[str]] = {name: Counter() for name in names}
    made: Facts = {}
    first = ""
    for key, value in facts.items():
        _count_keys(value, key, seen)
        if not first and any(seen.values()):
            first = key
    columns = {name: [key for key, _ in keys.most_common()] for name, keys in seen.items() if keys}
    for key, value in facts.items():
        if key == first:
            made["columns"] = columns
        made[key] = _as_rows(value, columns, key)
    return made


def _count_keys(value: Any, name: str, seen: Mapping[str, Counter[str]]) -> None:
    if isinstance(value, dict):
        for key, inner in cast("Facts", value).items():
            _count_keys(inner, key, seen)
    elif isinstance(value, list):
        keys = seen.get(name)
        for inner in cast("list[Any]", value):
            if keys is not None:
                keys.update(list(cast("Facts", inner)))
            _count_keys(inner, "", seen)


def _as_rows(value: Any, columns: Mapping[str, list[str]], name: str = "") -> Any:
    if isinstance(value, list):
        return [_as_rows(one, columns, name) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    inside = {key: _as_rows(one, columns, key) for key, one in cast("Facts", value).items()}
    if name not in columns:
        return inside
    row = [inside.get(key) for key in columns[name]]
    while row and row[-1] is None:
        row.pop()
    return row


def whole(facts: Any) -> Any:
    """Facts of `tabled` with each row as an object again."""
    return _as_objects(facts, {}, "")


def _as_objects(value: Any, columns: Mapping[str, list[str]], name: str) -> Any:
    if isinstance(value, dict):
        held = cast("Facts", value)
        named = held.get("columns")
        # A session or a user can have this name too, in a table of counts.
        if isinstance(named, dict):
            columns = {**columns, **cast("Mapping[str, list[str]]", named)}
            held = {key: one for key, one in held.items() if key != "columns"}
        return {key: _as_objects(one, columns, key) for key, one in held.items()}
    if not isinstance(value, list):
        return value
    held_rows = cast("list[Any]", value)
    if name in columns and all(isinstance(one, list) for one in held_rows):
        named = [dict(zip(columns[name], one, strict=False)) for one in held_rows]
        held_rows = [{key: one for key, one in row.items() if one is not None} for row in named]
    return [_as_objects(one, columns, "") for one in held_rows]


def compact_json(value: object) -> str:
    """A value as JSON without blanks; what JSON does not have, as text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def joined(parts: Iterable[str]) -> str:
    return " · ".join(part for part in parts if part)


def as_sentence(told: str) -> str:
    """Words that go into a sentence, as one of their own."""
    return f"{told[0].upper()}{told[1:]}."


def sentences(*told: str) -> str:
    """Sentences as one text, without the empty ones."""
    return " ".join(one for one in told if one)


def counted(number: int, noun: str) -> str:
    """A number with its noun: `1 request`, `2,000 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def indented(text: str) -> str:
    """Every line one blank further in: a long list has thousands of them."""
    return "\n".join(" " + line for line in text.split("\n"))


LISTED: Final = 60
"""Ids an answer names for each outcome; the rest is counted."""

FIRST_IDS: Final = 5
"""Ids that a receipt names of what went as planned, where the exceptions matter more, and of what has changed."""

ALL_IDS_CHARS: Final = 400
"""Characters that the ids of what went as planned may take, so that a receipt names all of them."""

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


def few_ids(ids: Sequence[str], room: int = IDS_CHARS) -> list[str]:
    """All ids of what went as it should where these are few or short, else the first."""
    every = named_ids(ids, ALL_IDS_CHARS)
    # Where one more would be all, all are named.
    most = LISTED if len(every) == len(ids) or len(ids) <= FIRST_IDS + 1 else FIRST_IDS
    return named_ids(ids, room, most)


def listed(name: str, ids: Sequence[str], count: int) -> str:
    """What `named_ids` names of `count` ids, on one line."""
    return f"{name} ({named_of(ids, count) or f'{count:,}'}): {', '.join(ids)}"


def named_of(ids: Sequence[str], count: int) -> str:
    """How many of the ids are named, where it is not all of them."""
    return f"first {len(ids):,} of {count:,}" if len(ids) < count else ""
