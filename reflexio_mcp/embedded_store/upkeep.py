"""Upkeep of the store file: deleted content is removed from every file, and the log is emptied.

Deleted content can remain in three places:

* The cells it was stored in. SQLite overwrites them with zeros as part of the deletion (`secure_delete`).
* The write-ahead log, which keeps old pages until it is emptied. A deletion empties it, and tries again later if
  somebody was reading at that moment.
* Unused space inside a page, where SQLite left a copy when it moved rows to a neighbouring page. `secure_delete`
  does not reach it. Only rewriting the file (`VACUUM`) does, at some 6 ms a megabyte; this follows within a second
  of the deletion, in the background.

The table `upkeep` counts deletions and how many of them a rewrite has covered, so that the next process does
a rewrite for which this one had no time.

The log is also emptied a second after the last write. From then on the file alone holds everything, so a copy of
it is complete and nothing is lost when it is moved.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final

PURGE_PATIENCE_SECONDS: Final = 1.0
"""How long a deletion waits for readers. After that the log is emptied in the background."""

TRY_SECONDS: Final = 0.1
"""How long one attempt waits for other processes; short, because they wait for this one meanwhile."""

LOG_DELAY_SECONDS: Final = 1.0
"""How long after a write the log is emptied."""

SCRUB_DELAY_SECONDS: Final = 0.5
"""How long after a deletion the file is rewritten; one rewrite covers all deletions of that time."""

OPENING_DELAY_SECONDS: Final = 2.0
SCRUB_SHARE: Final = 0.05
"""The share of time that rewriting a large file may take while deletions go on."""

RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
CLOSING_SCRUB_BYTES: Final = 64 * 1024 * 1024
"""A larger file is not rewritten when the process ends; the next process does it."""


class Alarm:
    """Runs a function on a daemon thread at the earliest time asked for.

    Args:
        ring: takes no arguments and returns the seconds until it wants to run again, or `None`.
    """

    def __init__(self, ring: Callable[[], float | None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._due = 0.0

    def set(self, seconds: float) -> None:
        """Run in so many seconds, or earlier if an earlier call asked for that."""
        due = time.monotonic() + seconds
        with self._lock:
            if self._timer is not None:
                if self._due <= due:
                    return
                self._timer.cancel()
            self._due = due
            self._timer = threading.Timer(seconds, self._run)
            self._timer.daemon = True
            self._timer.start()

    def stop(self) -> None:
        """Forget what was asked for. A run that has begun goes on."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _run(self) -> None:
        with self._lock:
            self._timer = None
        again = self._ring()
        if again is not None:
            self.set(again)


def empty_log(connection: sqlite3.Connection, wait_seconds: float) -> bool:
    """Move the write-ahead log into the file and truncate it. False when somebody still uses it."""

    def attempt() -> bool:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    return _with_patience(connection, wait_seconds, attempt)


def empty_log_soon(connection: sqlite3.Connection) -> bool:
    """Empty the log once readers have finished. False when they take too long."""
    deadline = time.monotonic() + PURGE_PATIENCE_SECONDS
    while not empty_log(connection, TRY_SECONDS):
        if time.monotonic() > deadline:
            return False
        # Readers and other processes get a turn between attempts.
        time.sleep(0.02)
    return True


def count_deletion(connection: sqlite3.Connection) -> None:
    """Record, inside the deleting transaction, that the file needs a rewrite."""
    connection.execute("UPDATE upkeep SET deletions = deletions + 1")


def scrub_is_due(connection: sqlite3.Connection) -> bool:
    (due,) = connection.execute("SELECT deletions <> scrubbed FROM upkeep").fetchone()
    return bool(due)


def scrub(connection: sqlite3.Connection) -> bool:
    """Rewrite the file without anything that is no longer stored. False when that is not possible now.

    Needs free disk space of the file's size. Other processes can read meanwhile, and wait to write.
    """

    def attempt() -> bool:
        (deletions,) = connection.execute("SELECT deletions FROM upkeep").fetchone()
        connection.execute("VACUUM")
        connection.execute("UPDATE upkeep SET scrubbed = max(scrubbed, ?)", (deletions,))
        return True

    # In memory the copy would take as much as the file. On disk it holds nothing that was deleted.
    connection.execute("PRAGMA temp_store = FILE")
    try:
        return _with_patience(connection, TRY_SECONDS, attempt)
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")


def file_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return pages * size


def _with_patience(connection: sqlite3.Connection, wait_seconds: float, attempt: Callable[[], bool]) -> bool:
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(wait_seconds * 1000)}")
    try:
        return attempt()
    except sqlite3.Error:
        # In use, or no space for a copy. Nothing that was committed is lost, and there is another attempt.
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")
