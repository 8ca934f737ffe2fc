"""Recovery copies as rows, sealed with the state key."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.database import StateDatabase, Transaction
from reflexio_mcp.state.postgresql.sealing import Sealer
from reflexio_mcp.state.recovery_copies import (
    DAY,
    UNFINISHED_SECONDS,
    CopyWriter,
    Line,
    RecoveryCopies,
    RecoveryCopy,
    label_of,
    line_of,
    new_copy_id,
    parsed,
)

__all__ = ["CopyTable"]

READ_AT_ONCE: Final = 100
BYTES_AT_ONCE: Final = 1024 * 1024
"""Lines that are held in memory while a copy is read: so many, and of so many bytes unless a single one has more."""


@dataclass(frozen=True, slots=True)
class CopyRow(RecoveryCopy):
    """A copy and whose it is."""

    label: str = ""


class _TableWriter(CopyWriter):
    def __init__(self, copies: "CopyTable", label: str, copy_id: str, kept_until: int) -> None:
        super().__init__(copy_id, kept_until)
        self._copies = copies
        self._label = label
        self._places = itertools.count()
        self._finished = False

    def _write(self, lines: Sequence[bytes]) -> None:
        # Several threads write parts of one copy.
        placed = [(next(self._places), line) for line in lines]
        with self._copies.database.transaction() as transaction:
            for place, line in placed:
                transaction.execute(
                    "INSERT INTO recovery_lines (copy_id, place, sealed) VALUES (?, ?, ?)",
                    (self.copy_id, place, self._copies.sealed(self._label, self.copy_id, place, line)),
                )

    def finish(self) -> None:
        with self._copies.database.transaction() as transaction:
            finished = transaction.execute(
                "UPDATE recovery_copies SET finished = true, requests = ?, learnings = ? WHERE copy_id = ?",
                (len(self.ids), self.learnings, self.copy_id),
            )
            if not finished.rowcount:
                raise OSError(0, "it took too long and was removed as unfinished")
        self._finished = True

    def discard(self) -> None:
        if not self._finished:
            with contextlib.suppress(OSError), self._copies.database.transaction() as transaction:
                # Also where the connection was lost while it was finished: nothing is deleted without knowing.
                transaction.execute("DELETE FROM recovery_copies WHERE copy_id = ?", (self.copy_id,))


class CopyTable(RecoveryCopies):
    """The recovery copies in a database.

    Args:
        days: how long a new copy is kept; 0 means that none are made.
        sealer: seals each line.
    """

    remedy = (
        "see that REFLEXIO_MCP_STATE_KEYS still has the key they were sealed with, or to remove these rows of "
        "reflexio_mcp.recovery_copies"
    )

    def __init__(self, database: StateDatabase, days: int, sealer: Sealer) -> None:
        super().__init__(days)
        self.database = database
        self._sealer = sealer

    def prune(self) -> None:
        with contextlib.suppress(OSError), self.database.transaction() as transaction:
            transaction.execute(
                "DELETE FROM recovery_copies WHERE copy_id IN (SELECT copy_id FROM recovery_copies WHERE "
                "kept_until <= ? OR (NOT finished AND made_at < ?) FOR UPDATE SKIP LOCKED)",
                (transaction.now, transaction.now - UNFINISHED_SECONDS),
            )

    def begin(self, owner: str) -> CopyWriter:
        with self.database.transaction() as transaction:
            now, copy_id = int(transaction.now), new_copy_id(transaction.now)
            until = now + self.days * DAY
            transaction.execute(
                "INSERT INTO recovery_copies (copy_id, owner, made_at, kept_until) VALUES (?, ?, ?, ?)",
                (copy_id, label := label_of(owner), now, until),
            )
        return _TableWriter(self, label, copy_id, until)

    def of(self, owner: str) -> list[CopyRow]:
        label = label_of(owner)
        with self.database.transaction() as transaction:
            rows = transaction.execute(
                "SELECT copy_id, made_at, kept_until, requests, learnings FROM recovery_copies WHERE owner = ? AND "
                "finished AND kept_until > ? ORDER BY made_at DESC, copy_id DESC",
                (label, transaction.now),
            ).fetchall()
        return [CopyRow(*row, label=label) for row in rows]

    def remove(self, owner: str, copy_id: str) -> None:
        with contextlib.suppress(OSError), self.database.transaction() as transaction:
            transaction.execute(
                "DELETE FROM recovery_copies WHERE copy_id = ? AND owner = ?", (copy_id, label_of(owner))
            )

    def read_at(self, copy: RecoveryCopy, place: int) -> RequestWithInteractions:
        assert isinstance(copy, CopyRow)
        with self.database.transaction() as transaction:
            row = transaction.execute(
                "SELECT sealed FROM recovery_lines WHERE copy_id = ? AND place = ?", (copy.copy_id, place)
            ).fetchone()
        if row is None or not isinstance(line := self._opened(copy, place, row[0]), RequestWithInteractions):
            raise ValueError("no stored request is there")
        return line

    def sealed(self, label: str, copy_id: str, place: int, line: bytes) -> bytes:
        """A line as it stands at its place. Whose it is belongs to it: nobody else's copy opens as one's own."""
        return self._sealer.seal(line, f"{label} {copy_id} {place}")

    def _opened(self, copy: CopyRow, place: int, sealed: bytes) -> Line:
        return parsed(self._sealer.open(sealed, f"{copy.label} {copy.copy_id} {place}"))

    def first(self, copy: RecoveryCopy) -> Line | None:
        assert isinstance(copy, CopyRow)
        with contextlib.suppress(OSError, ValueError):
            with self.database.transaction() as transaction:
                rows = self._some(transaction, copy.copy_id, -1, 1)
            return next((self._opened(copy, *row) for row in rows), None)
        return None

    def _lines(self, copy: RecoveryCopy) -> Iterator[tuple[int, Line]]:
        assert isinstance(copy, CopyRow)
        place, count = -1, 0
        while True:
            with self.database.transaction() as transaction:
                rows = self._some(transaction, copy.copy_id, place)
            for place, sealed in rows:
                yield place, self._opened(copy, place, sealed)
            count += len(rows)
            if not rows:
                break
        if not count and (copy.requests or copy.learnings):
            raise OSError(0, "it was removed meanwhile")

    def _some(
        self, transaction: Transaction, copy_id: str, after: int, most: int = READ_AT_ONCE
    ) -> list[tuple[int, bytes]]:
        return transaction.execute(
            "SELECT place, sealed FROM (SELECT place, sealed, row_number() OVER up AS number, "
            "sum(octet_length(sealed)) OVER up AS bytes FROM recovery_lines WHERE copy_id = ? AND place > ? "
            "WINDOW up AS (ORDER BY place) LIMIT ?) AS lines WHERE number = 1 OR bytes <= ? ORDER BY place",
            (copy_id, after, most, BYTES_AT_ONCE),
        ).fetchall()

    def _rewrite(self, owner: str, copy: RecoveryCopy, edited: Callable[[Line], Line | None]) -> None:
        assert isinstance(copy, CopyRow)
        with self.database.transaction() as transaction:
            # Two that take something out of one copy, or remove it, do it one after the other.
            transaction.execute("SELECT 1 FROM recovery_copies WHERE copy_id = ? FOR UPDATE", (copy.copy_id,))
            requests, learnings, place = set[str](), 0, -1
            while rows := self._some(transaction, copy.copy_id, place):
                for place, sealed in rows:
                    line = self._opened(copy, place, sealed)
                    kept, at = edited(line), (copy.copy_id, place)
                    if kept is None:
                        transaction.execute("DELETE FROM recovery_lines WHERE copy_id = ? AND place = ?", at)
                    elif kept is not line:
                        resealed = self.sealed(copy.label, *at, line_of(kept))
                        transaction.execute(
                            "UPDATE recovery_lines SET sealed = ? WHERE copy_id = ? AND place = ?",
                            (resealed, *at),
                        )
                    if isinstance(kept, RequestWithInteractions):
                        requests.add(kept.request.request_id)
                    elif kept is not None:
                        learnings += 1
            if requests or learnings:
                transaction.execute(
                    "UPDATE recovery_copies SET requests = ?, learnings = ? WHERE copy_id = ?",
                    (len(requests), learnings, copy.copy_id),
                )
            else:
                transaction.execute("DELETE FROM recovery_copies WHERE copy_id = ?", (copy.copy_id,))
