"""Follow-ups of deletions that were begun, and those whose process ended before they were through.

A follow-up lives as long as its process. What it was about stands in the file that all processes of this user share,
so that a later process can say that it was not finished. Everything here blocks and runs in worker threads.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from reflexio_mcp.state.audit_log import Entry
from reflexio_mcp.state.database import StateDatabase

__all__ = ["Abandoned", "FollowUps", "Promise"]

SILENT_SECONDS: Final = 300.0
"""A follow-up that gave no sign of life for so long has ended with its process."""

TOLD_SECONDS: Final = 7 * 86_400.0
"""For how long one that was not finished is told."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A follow-up that was not finished: what it was about, in words with ids, and when it began, epoch seconds."""

    what: str
    began: int


@dataclass(frozen=True, slots=True)
class Promise:
    """A follow-up that is on record and has not ended.

    Args:
        notes: where other processes look for it.
        number: what it is known by there.
        entry: its entry in the audit log, if there is one.
    """

    notes: "FollowUps"
    number: int
    entry: Entry | None

    def alive(self) -> None:
        """Note that it goes on."""
        self.notes.alive(self.number)

    def end(self, outcome: str, **facts: Any) -> None:
        """Note how it ended, `interrupted` when it was not through."""
        if self.entry:
            self.entry.close(outcome, **facts)
        if outcome == "interrupted":
            self.notes.stopped(self.number)
        else:
            self.notes.finished(self.number)


class FollowUps:
    """The follow-ups of every process of this user.

    Args:
        database: the shared file.
        clock: epoch seconds.
    """

    def __init__(self, database: StateDatabase | None = None, clock: Callable[[], float] = time.time) -> None:
        self._database = database or StateDatabase()
        self._clock = clock

    def begin(self, owner: str, what: str) -> int:
        """Note a follow-up; returns the number it is known by, or 0 where it could not be noted."""
        now = self._clock()
        with contextlib.suppress(OSError), self._database.transaction() as connection:
            connection.execute("DELETE FROM follow_ups WHERE began < ?", (now - TOLD_SECONDS,))
            added = connection.execute(
                "INSERT INTO follow_ups (owner, what, began, alive) VALUES (?, ?, ?, ?)",
                (owner, what, now, now),
            )
            return added.lastrowid or 0
        return 0

    def alive(self, number: int) -> None:
        """Note that it goes on."""
        self._set("UPDATE follow_ups SET alive = ? WHERE id = ?", self._clock(), number)

    def stopped(self, number: int) -> None:
        """Note that it ends before it is through."""
        self._set("UPDATE follow_ups SET alive = ? WHERE id = ?", 0.0, number)

    def finished(self, number: int) -> None:
        """Forget one that is through."""
        self._set("DELETE FROM follow_ups WHERE id = ?", number)

    def abandoned(self, owner: str) -> list[Abandoned]:
        """Those of this owner that ended with their process, the newest first."""
        if not self._database.exists():
            return []
        now = self._clock()
        with contextlib.suppress(OSError), self._database.transaction() as connection:
            rows = connection.execute(
                "SELECT what, began FROM follow_ups WHERE owner = ? AND alive < ? AND began >= ? ORDER BY began DESC",
                (owner, now - SILENT_SECONDS, now - TOLD_SECONDS),
            )
            return [Abandoned(str(what), int(began)) for what, began in rows]
        return []

    def _set(self, change: str, *values: float) -> None:
        with contextlib.suppress(OSError), self._database.transaction() as connection:
            connection.execute(change, values)
