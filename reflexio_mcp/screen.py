"""How commands print: tables, lines, JSON, and how far a long command has come.

At a terminal, a table has a header and fits the width. Into a pipe or a file, a list is tab-separated lines without a
header, so that other programs can read it; what is said about the list goes to stderr.
"""

import json
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TextIO

from reflexio_mcp.render.words_of_progress import progress_words
from reflexio_mcp.results.base import Row, structured, visible
from reflexio_mcp.results.progress import Step

__all__ = ["TerminalProgress"]

Refusal = Literal["declined", "unanswered", "wrong_number"]
"""How a person did not agree."""

PROGRESS_SECONDS: Final = 2.0
"""A command that takes longer says how far it is."""

SHOWN_EVERY_SECONDS: Final = 0.5

GAP: Final = "  "
LEAST_CELLS: Final = 16
"""Fewest cells to which a text is cut."""

BOLD: Final = "1"
DIM: Final = "2"


class Table:
    """Rows of cells. At a narrow terminal, texts that may be cut are cut; ids stay whole, so that they can be copied.

    Args:
        names: of the columns.
        cut: the columns whose text may be cut.
    """

    def __init__(self, names: Sequence[str], cut: frozenset[str] = frozenset()) -> None:
        self.names = list(names)
        self._cut = cut
        self.rows: list[list[str]] = []

    def add(self, cells: Sequence[str]) -> None:
        # Blanks stay: an id can have several, or begin with one.
        self.rows.append([visible(" ".join(cell.splitlines()).replace("\t", " ")) for cell in cells])

    def tab_separated(self) -> str:
        return "\n".join("\t".join(row) for row in self.rows)

    def fitted(self, width: int | None, *, header: str = "") -> str:
        """Return aligned columns, without empty ones; where these do not fit, a block of lines for each row.

        Args:
            width: cells of the terminal; `None` for no limit.
            header: style of the header, a number of ECMA-48; empty for none.
        """
        used = [at for at, _ in enumerate(self.names) if any(row[at] for row in self.rows)]
        names = [self.names[at] for at in used]
        titles = [name.replace("_", " ") for name in names]
        rows = [[row[at] for at in used] for row in self.rows]
        widths = [max(map(_cells, column)) for column in zip(titles, *rows, strict=True)]
        if width is not None:
            excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
            for at, name in enumerate(names):
                if excess > 0 and name in self._cut and widths[at] > LEAST_CELLS:
                    less = min(excess, widths[at] - LEAST_CELLS)
                    widths[at] -= less
                    excess -= less
            if excess > 0:
                return "\n\n".join(_block(titles, row) for row in rows)
        lines = [_styled(_line(titles, widths), header), *(_line(row, widths) for row in rows)]
        return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [_padded(_shortened(cell, width), width) for cell, width in zip(cells, widths, strict=True)]
    return GAP.join(padded).rstrip()


def _block(titles: Sequence[str], row: Sequence[str]) -> str:
    return "\n".join(f"{title}: {cell}" for title, cell in zip(titles, row, strict=True) if cell)


def _cells(text: str) -> int:
    """The cells of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _cells(text))


def _shortened(text: str, width: int) -> str:
    if _cells(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += _cells_of(character)
        if used > width - 1:
            break
        kept += character
    return f"{kept}…"


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style else text


class Output:
    """Writes to stdout as it is: a terminal, or a pipe or file."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", None)
        self._styles = self.is_terminal and not plain

    def say(self, text: str, style: str = "") -> None:
        """Print our own or stored text; nothing in it reaches a terminal as a command."""
        if text:
            print(_styled(visible(text), style if self._styles else ""))

    def table(self, table: Table) -> None:
        width = shutil.get_terminal_size().columns if self.is_terminal else None
        print(table.fitted(width, header=BOLD if self._styles else ""))

    def rows(self, table: Table) -> None:
        """Print the rows of a list, for a person or for another program."""
        if self.is_terminal:
            self.table(table)
        elif table.rows:
            print(table.tab_separated())

    def about(self, text: str, style: str = "") -> None:
        """Say something about a list: below it at a terminal, else on stderr, since a program reads stdout."""
        if self.is_terminal:
            self.say(text, style)
        elif text:
            print(visible(text), file=sys.stderr)


def refusal_of(verb: str, number: int | None) -> Refusal | None:
    """Ask a person at the terminal. Return how they did not agree; `None` if they did.

    Args:
        number: what has to be typed; `None` if a yes is enough.
    """
    question = f"{verb}? [y/N] " if number is None else f"Type {number:,} to {verb.lower()}: "
    try:
        answer = input(f"\n{question}").strip().lower()
    except EOFError:
        sys.stderr.write("\nreflexio-mcp: No input. In scripts, add --yes.\n")
        return "unanswered"
    if number is None:
        return None if answer in ("y", "yes") else "declined"
    return None if answer.replace(",", "") == str(number) else "wrong_number"


def agreed(verb: str) -> bool:
    """Ask a person at the terminal, where a yes is enough and a no is not recorded."""
    return refusal_of(verb, None) is None


def print_json(shown: object) -> None:
    """Print a result, or other facts, as JSON."""
    document = structured(shown) if isinstance(shown, Row) else shown
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_written(files: Iterable[Path], *, as_json: bool) -> None:
    """Print the names of new files."""
    if as_json:
        print_json({"files": [str(path) for path in files]})
    else:
        print(visible("\n".join(map(str, files))))


class TerminalProgress:
    """Says on stderr, if that is a terminal, how far a command is. Keeps the last numbers, to be said after Ctrl-C.

    An instance can be given wherever an activity takes a `Progress`.

    Args:
        seconds: after which it begins to say something.
    """

    def __init__(self, stream: TextIO | None = None, seconds: float = PROGRESS_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._seconds = seconds
        self.last = ""
        """The last activity with its numbers, such as `1,500 of 6,000 deleted`; empty before the first."""

    async def __call__(self, step: Step, done: int, total: int | None) -> None:
        """Take note that `done` of `total` things are done; `total` is `None` if it is not known."""
        number = f"{done:,}" if total is None else f"{min(done, total):,} of {total:,}"
        self.last = f"{number} {progress_words(step)}"

    @contextmanager
    def shown(self) -> Generator[None]:
        """Show how far the block is, and for how long it has run if it counts nothing. Nothing of it stays."""
        if not self._stream.isatty():
            yield
            return
        ended = threading.Event()
        # A thread, because much of what takes long does not return to an event loop.
        thread = threading.Thread(target=self._show, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _show(self, ended: threading.Event) -> None:
        began, pause, wrote = time.monotonic(), self._seconds, False
        while not ended.wait(pause):
            pause, wrote = SHOWN_EVERY_SECONDS, True
            activity = self.last or progress_words(Step.WORKING)
            self._stream.write(f"\r\x1b[K{activity} … {time.monotonic() - began:.0f} s")
            self._stream.flush()
        if wrote:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
