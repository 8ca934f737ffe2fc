"""Making sure that what was deleted is in no file any more.

Three places can hold deleted content, and each has its cure:

* the cells it was stored in: SQLite overwrites them with zeros as part of the deletion (`secure_delete`);
* the write-ahead log, which keeps old pages until it is emptied. That is done right after each deletion, and
  again later when somebody was reading at that moment;
* old copies in the unused middle of a page, left when SQLite moved rows to a neighbouring page some time before
  the deletion. `secure_delete` knows nothing of them. Only rewriting the file (`VACUUM`) drops them, some 6 ms
  a megabyte; it follows within a second of the deletion, in the background.

The table `upkeep` counts deletions and how many of them a rewriting has covered, so that one that was cut short
by the end of the process is made up for by the next.
"""

import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Final

PURGE_PATIENCE_SECONDS: Final = 1.0
"""How long a deletion waits for readers before the log is emptied behind its back."""

TRY_SECONDS: Final = 0.1
"""How long one attempt waits for other processes. They wait for us meanwhile, so it is short."""

SCRUB_DELAY_SECONDS: Final = 0.5
"""Collects the deletions of one clean-up into one rewriting."""

OPENING_DELAY_SECONDS: Final = 2.0
SCRUB_SHARE: Final = 0.05
"""Largest part of the time that rewriting a big file may take while deletions go on."""

RETRY_SECONDS: Final = 1.0
MAX_RETRY_SECONDS: Final = 60.0
CLOSING_SCRUB_BYTES: Final = 64 * 1024 * 1024
"""A larger file is not rewritten while a process is ending, but by the next one that opens it."""


class Alarm:
    """Runs one function on a daemon thread at the earliest time asked for.

    Args:
        ring: called without arguments; returns after how many seconds to be called again, or `None`.
    """

    def __init__(self, ring: Callable[[], float | None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._due = 0.0

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, or earlier if that was asked for before."""
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
        """Do not ring any more, until it is set again. A call that is under way goes on."""
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
    """Move the write-ahead log into the file and cut it to nothing. False when somebody still uses it."""

    def attempt() -> bool:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    return _patiently(connection, wait_seconds, attempt)


def empty_log_soon(connection: sqlite3.Connection) -> bool:
    """Empty the log, giving readers a moment to finish. False when that was not enough."""
    deadline = time.monotonic() + PURGE_PATIENCE_SECONDS
    while not empty_log(connection, TRY_SECONDS):
        if time.monotonic() > deadline:
            return False
        # Between attempts readers and other processes get their turn.
        time.sleep(0.02)
    return True


def count_deletion(connection: sqlite3.Connection) -> None:
    """Note, inside the deleting transaction, that the file needs rewriting."""
    connection.execute("UPDATE upkeep SET deletions = deletions + 1")


def scrub_is_due(connection: sqlite3.Connection) -> bool:
    (due,) = connection.execute("SELECT deletions <> scrubbed FROM upkeep").fetchone()
    return bool(due)


def scrub(connection: sqlite3.Connection) -> bool:
    """Rewrite the file without anything that is not stored any more. False when it was not possible now.

    Needs as much free disk space again as the file takes. Other processes can read meanwhile, and wait to write.
    """

    def attempt() -> bool:
        (deletions,) = connection.execute("SELECT deletions FROM upkeep").fetchone()
        connection.execute("VACUUM")
        connection.execute("UPDATE upkeep SET scrubbed = max(scrubbed, ?)", (deletions,))
        return True

    # In memory the copy would take as much as the file. On disk it holds nothing that was deleted.
    connection.execute("PRAGMA temp_store = FILE")
    try:
        return _patiently(connection, TRY_SECONDS, attempt)
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")


def file_bytes(connection: sqlite3.Connection) -> int:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    return pages * size


def _patiently(connection: sqlite3.Connection, wait_seconds: float, attempt: Callable[[], bool]) -> bool:
    (usual,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute(f"PRAGMA busy_timeout = {int(wait_seconds * 1000)}")
    try:
        return attempt()
    except sqlite3.Error:
        # In use, or no space for a copy. What was committed before stands, and there is a next time.
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {usual}")
