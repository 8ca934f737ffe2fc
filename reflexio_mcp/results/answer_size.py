"""How much fits into an answer: the limits of both its forms, and the rows of a list that fit."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, cast

from reflexio_mcp.results.base import Row, structured

__all__ = ["PAGE_CHARS", "SHORT_PAGE_ROWS", "STRUCTURED_CHARS", "TEXT_CHARS", "Room", "page_room"]

TEXT_CHARS: Final = 9_000

STRUCTURED_CHARS: Final = 12_000

PAGE_CHARS: Final = 30_000
"""Limit of both forms of a list of places, and of a page for which the caller named a number of rows.

Clients cut longer answers.
"""

SHORT_PAGE_ROWS: Final = 20
"""Rows of a page for which the caller named no number."""

OVERHEAD: Final = 900
"""Space reserved in both forms for everything but the rows."""

LINE_CHARS: Final = 10
FACT_CHARS: Final = 8
"""Extra characters for each line and fact of the text form."""


class Room:
    """The characters that still fit into an answer, as text and as structured content."""

    def __init__(
        self, text: int = TEXT_CHARS - OVERHEAD, structured: int = STRUCTURED_CHARS - OVERHEAD
    ) -> None:
        self._text = text
        self._structured = structured
        self.empty = True

    @property
    def most_chars(self) -> int:
        """The most characters that a row can show and still fit."""
        return min(self._text, self._structured)

    def fits(self, row: Row) -> bool:
        text, json = _sizes(row)
        return text <= self._text and json <= self._structured

    def reserve(self, row: Row, leaving: int) -> bool:
        """Reserve room for a row that is not in the list, if at least `leaving` characters are left for the list."""
        text, json = _sizes(row)
        if text > self._text - leaving or json > self._structured - leaving:
            return False
        self._text -= text
        self._structured -= json
        return True

    def take(self, row: Row, extra: int = 0) -> bool:
        """Reserve room for a row and `extra` more characters, if they fit or the answer is empty."""
        text, json = (size + extra for size in _sizes(row))
        if not self.empty and (text > self._text or json > self._structured):
            return False
        self.empty = False
        self._text -= text
        self._structured -= json
        return True


def page_room(limit: int | None) -> Callable[[], Room]:
    """Return a function that makes the room of a page.

    Args:
        limit: the number of rows that the caller named; `None` for a short page.
    """
    return Room if limit is None else partial(Room, PAGE_CHARS - OVERHEAD, PAGE_CHARS - OVERHEAD)


def _sizes(row: Row) -> tuple[int, int]:
    """Return the length of a row as text and as JSON."""
    values = list(_leaves(structured(row)))
    text = sum(len(str(value)) + str(value).count("\n") * LINE_CHARS + FACT_CHARS for value in values)
    return text, len(row.model_dump_json(exclude_defaults=True)) + 1


def _leaves(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        for inner in cast("dict[str, object]", value).values():
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _leaves(inner)
    else:
        yield value
