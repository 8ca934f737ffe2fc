"""The audit log: one line before a deletion and one after it, which can only be added to.

A line names what is deleted and who agreed. It never holds stored text or a key. Each line has a chain value, a keyed
digest of the line and of the chain value before it, so a line that was changed or taken out is found. A log cannot
see that its own end was cut off: a receipt notes the chain value of its line for that.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from reflexio_mcp.state.sealing import Keys
from reflexio_mcp.state.tables import Database, Transaction

__all__ = ["AuditLog", "Entry", "Verified", "named_call"]

LINES_AT_ONCE: Final = 500

_call: ContextVar[Mapping[str, str] | None] = ContextVar("reflexio_mcp_audited_call", default=None)


@contextmanager
def named_call(caller: str, call_id: str) -> Generator[None]:
    """Name the call in every line that is added inside this context, in tasks started there too.

    Args:
        caller: stands for who called.
        call_id: the same id as in the call's own log line.
    """
    token = _call.set({"caller": caller, "call_id": call_id})
    try:
        yield
    finally:
        _call.reset(token)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log.

    Args:
        number: increases with time; a number can be missing although no line is.
        at: epoch seconds, as the database saw them.
        line: the JSON text whose chain value is `chain`.
    """

    number: int
    at: float
    line: str
    chain: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading the whole log found.

    Args:
        lines: how many lines there are.
        wrong: the number of the first line that does not fit the one before it; `None` if all fit.
        missing: chain values that a receipt noted and that no line has: the end of the log was cut off.
        last: the chain value of the last line.
    """

    lines: int
    wrong: int | None
    missing: frozenset[str]
    last: str


class AuditLog:
    """The log of all processes that share a database."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    def append(self, facts: Mapping[str, Any]) -> None:
        """Write a line of its own, such as a refusal."""
        with self._database.transaction() as transaction:
            self.add(transaction, facts)

    def add(self, transaction: Transaction, facts: Mapping[str, Any]) -> str:
        """Write a line in a transaction, and return its chain value."""
        transaction.serialise("log")
        last = transaction.execute("SELECT chain FROM main.log ORDER BY id DESC LIMIT 1").fetchone()
        time = datetime.fromtimestamp(transaction.now, UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": time, **(_call.get() or {}), **facts})
        chain = self._keys.mark("log", last[0] if last else "", line)
        transaction.execute("INSERT INTO main.log (line, chain) VALUES (?, ?)", [line, chain])
        return chain

    def entries(self) -> Iterator[Entry]:
        """All lines, the oldest first."""
        number = 0
        while True:
            with self._database.transaction(writes=False) as transaction:
                rows = transaction.execute(
                    "SELECT id, at, line, chain FROM main.log WHERE id > ? ORDER BY id LIMIT ?",
                    [number, LINES_AT_ONCE],
                ).fetchall()
            for row in rows:
                yield (entry := Entry(*row))
                number = entry.number
            if not rows:
                return

    def verify(self, noted: str = "") -> Verified:
        """Read the whole log and check that no line was changed or taken out.

        Args:
            noted: a chain value from a receipt, or empty.
        """
        with self._database.transaction(writes=False) as transaction:
            finished = transaction.execute("SELECT chain FROM main.deletions").fetchall()
        missing = {noted, *(row[0] for row in finished)} - {""}
        lines, wrong, last = 0, None, ""
        for entry in self.entries():
            lines += 1
            if wrong is None and entry.chain not in self._keys.marks("log", last, entry.line):
                wrong = entry.number
            last = entry.chain
            missing.discard(last)
        return Verified(lines, wrong, frozenset(missing), last)
