"""The base of every result: plain typed objects that make the schema, the structured content and the text."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["STRUCTURED_CHARS", "TEXT_CHARS", "Moment", "Result", "Room", "Row", "at", "structured"]

TEXT_CHARS: Final = 9_000
"""Characters of text that one call answers with at most."""

STRUCTURED_CHARS: Final = 12_000
"""Characters of structured content that one call answers with at most."""

OVERHEAD: Final = 900
"""Characters kept free in both forms for what surrounds the rows."""

Moment = datetime
"""A point in time, in UTC; `at` makes it from epoch seconds."""


def at(seconds: float) -> Moment:
    """The point in time of epoch seconds, to the second."""
    return datetime.fromtimestamp(int(seconds), UTC)


class Row(BaseModel):
    """A part of a result. A field that every row needs has no default; an empty field is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Result(Row):
    """What a tool found or did. Its values are safe to show: redacted, masked, cut, invisible characters escaped."""

    notes: Annotated[list[str], Field(description="what the server adds to this result")] = []


def structured(result: Row) -> dict[str, Any]:
    """The result as JSON objects, without fields that have their default."""
    return result.model_dump(mode="json", exclude_defaults=True)


class Room:
    """How much of a list still fits into an answer, in its longer form.

    Args:
        text, structured: characters for the rows in each form.
    """

    def __init__(
        self, text: int = TEXT_CHARS - OVERHEAD, structured: int = STRUCTURED_CHARS - OVERHEAD
    ) -> None:
        self._text = text
        self._structured = structured
        self._empty = True

    def take(self, row: Row) -> bool:
        """Make room for a row and return whether it fits. The first row always fits."""
        values = structured(row)
        text = sum(len(str(value)) + 3 for value in _leaves(values))
        json = len(row.model_dump_json(exclude_defaults=True)) + 1
        if not self._empty and (text > self._text or json > self._structured):
            return False
        self._empty = False
        self._text -= text
        self._structured -= json
        return True


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for inner in cast("dict[str, object]", value).values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _leaves(inner)
    else:
        yield value
