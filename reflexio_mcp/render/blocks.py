"""Building blocks of texts."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from reflexio_mcp.characters import JOINERS
from reflexio_mcp.results.answer_size import PAGE_CHARS, TEXT_CHARS
from reflexio_mcp.results.base import Moment, fence

__all__ = ["Told", "hanging", "lines", "quoted", "sentence"]

IDS_NAMED: Final = 20
"""Number of ids that a list names; the rest is counted."""

FENCE_CHARS: Final = TEXT_CHARS - 600
"""Limit of stored text in one answer; the rest is for our own words."""

PAGE_FENCE_CHARS: Final = PAGE_CHARS - 600
"""The same limit for a page of a list."""

HTML_PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui; max-width: 42rem; margin: 2rem auto; padding: 0 1rem }}
p {{ white-space: pre-wrap }}
</style>
<h1>{title}</h1>
{sections}
</html>
"""

# The marks are those that confusables.txt of Unicode (UTS 39) gives as alike to the quotation mark or the apostrophe,
# and dingbats and other punctuation that are drawn like them. Letters of alphabets, such as the Hebrew yod, are left
# out, because words are written with them.
_DOUBLE_MARKS: Final = (
    '"\u02ba\u02dd\u02ee\u02f5\u02f6\u05f4\u1cd3\u201c-\u201f\u2033\u2034\u2036\u2037\u2057\u275d\u275e\u2760\u2e42'
    "\u3003\u301d-\u301f\uff02\U0001f676-\U0001f678"
)
"""Characters that can be taken for a double quotation mark."""

_SINGLE_MARKS: Final = (
    "'`\u00b4\u02b9\u02bb-\u02bf\u02c8\u02ca\u02cb\u02f4\u0374\u0384\u055a\u055d\u05f3\u07f4\u07f5\u1fbd\u1fbf\u1fef\u1ffd\u1ffe"
    "\u2018-\u201b\u2032\u2035\u275b\u275c\u275f\ua78b\ua78c\uff07\uff40"
)
"""Characters that can be taken for a single one; two of them can be taken for a double one."""

_ACCENTS: Final = "\u030b\u030e\u030f"
"""Double accents, which look like a quotation mark if no letter is below them."""

_QUOTATION_MARKS: Final = re.compile(
    f"[{_DOUBLE_MARKS}{_SINGLE_MARKS}](?:[{JOINERS}]*[{_DOUBLE_MARKS}{_SINGLE_MARKS}])+"
    f"|[{_DOUBLE_MARKS}]|(?:(?<=\\s)|^)[{_ACCENTS}]+"
)

REST_LEFT_OUT: Final = "… the rest is left out here: it is too long for one answer."


def lines(*parts: str | Iterable[str]) -> str:
    """Join non-empty parts, each on its own lines."""
    flat = [line for part in parts for line in ([part] if isinstance(part, str) else part)]
    return "\n".join(line for line in flat if line)


def counted(number: int, noun: str) -> str:
    """Return `1 request`, `2,000 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(at: Moment | None) -> str:
    """Return a point in time as ISO 8601; empty for `None`."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else ""


def sentence(*parts: str) -> str:
    """Join non-empty parts of a sentence, or sentences, with blanks."""
    return " ".join(part for part in parts if part)


def row(*facts: str) -> str:
    """Join non-empty facts in one line."""
    return " · ".join(fact for fact in facts if fact)


def html_page(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """Return a page for a person, from texts by heading. A section without text is left out."""
    return HTML_PAGE.format(
        title=escape(title),
        sections="\n".join(
            f"<h2>{escape(heading)}</h2>\n" + "\n".join(f"<p>{escape(text)}</p>" for text in said if text)
            for heading, said in sections.items()
            if any(said)
        ),
    )


def indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line for line in text.split("\n"))


def hanging(text: str) -> str:
    """Indent further lines of stored text deeper than our own lines, so that none looks like one of these."""
    return text.replace("\n", "\n      ")


def fenced(body: str | Iterable[str], chars: int = FENCE_CHARS) -> str:
    """Fence stored text and cut it to the limit; empty for no text."""
    text = body if isinstance(body, str) else lines(body)
    if not text:
        return ""
    if len(text) > chars:
        text = f"{text[:chars]}\n{REST_LEFT_OUT}"
    return fence(text)


def named(ids: Sequence[str], count: int | None = None, most: int = IDS_NAMED) -> str:
    """Name the first ids of a set: `a, b and 12 more`.

    Args:
        ids: the first ids, as they are shown.
        count: the number of all ids, if there are more than `ids`.
    """
    shown = list(ids[:most])
    rest = (len(ids) if count is None else count) - len(shown)
    listed = ", ".join(shown)
    if rest <= 0:
        return listed
    return f"{listed} and {rest:,} more" if listed else f"{rest:,}"


@dataclass(frozen=True)
class Told:
    """An answer in words. Its text form, and the sentences of its structured form, are made from this.

    Args:
        said: our own sentences before the stored text.
        stored: text that is not ours, without a fence.
        then: our own sentences after it.
        chars: limit of the stored text.
        values: our own lines that only repeat fields of the structured form. They stand before `then`.
        confirm: the code for the next call.
        cursor: the cursor for the next page.
    """

    said: str = ""
    stored: str | Iterable[str] = ""
    then: str = ""
    confirm: str = ""
    cursor: str | None = None
    values: str = ""
    chars: int = FENCE_CHARS

    @property
    def text(self) -> str:
        """The text form."""
        code = f"confirm={self.confirm}" if self.confirm else ""
        return lines(
            self.said, fenced(self.stored, self.chars), self.values, self.then, code, more(self.cursor)
        )

    @property
    def own(self) -> str:
        """Our own sentences, for the structured form, which has stored text, code and cursor as fields."""
        return " ".join(lines(self.said, self.then).split("\n"))


def quoted(text: str, chars: int | None = None) -> str:
    """Put stored text into quotation marks, on one line.

    Args:
        chars: limit of characters; `None` for the whole text.
    """
    # What looks like a quotation mark in the text would end our quotation for a person.
    shown = _QUOTATION_MARKS.sub("'", " ".join(text.split()))
    if chars is not None and len(shown) > chars:
        shown = f"{shown[: chars - 1]}…"
    return f"“{shown}”"


def more(cursor: str | None) -> str:
    """How to continue a list; empty at its end."""
    return f"There is more: repeat this call with cursor={cursor}" if cursor else ""
