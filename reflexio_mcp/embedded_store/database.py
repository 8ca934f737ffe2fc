"""The SQLite file: private, durable, shared between processes, and free of what was deleted.

Each call opens its own connection, so that no call uses a file that was moved.

SQLite overwrites deleted rows (`secure_delete`), but not copies of rows that it moved to another page. So a thread
rewrites the file (`VACUUM`) soon after a deletion. The table `upkeep` counts all deletions, and the
deletions before the last rewrite.
"""

import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from reflexio_mcp import private_files


class StoreError(Exception):
    """Base of the store's errors. A message contains no path and ends with what to do.

    Args:
        reason: a stable word for programs.
        message: one line for people.
        unchanged: nothing was changed.
    """

    def __init__(self, reason: str, message: str, *, unchanged: bool = True) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.unchanged = unchanged


class StoreBusy(StoreError):
    """Another process used the file for too long. The call can be repeated."""


class StoreFailed(StoreError):
    """The message says what must change before a repeat."""


def not_a_store() -> StoreFailed:
    return StoreFailed(
        "not_a_store",
        "The store file is a database of another program and was left alone."
        " Name another file in REFLEXIO_MCP_STORE.",
    )


def file_changed() -> StoreFailed:
    return StoreFailed(
        "file_changed",
        "The store file was moved, replaced or removed while in use; the next call uses or makes the file at that path."
        " Look at what it contains first. Stop the server before you move its file.",
    )


def written_elsewhere() -> StoreFailed:
    return StoreFailed(
        "file_changed",
        "The store file was moved, replaced or removed during this call, which changed the old file; the next call"
        " uses or makes the file at that path. Stop the server before you move its file.",
        unchanged=False,
    )


def newer_schema(found: int, known: int) -> StoreFailed:
    return StoreFailed(
        "newer_schema",
        f"The store file was written by a newer reflexio-mcp (schema {found}, this version knows {known})."
        " Upgrade reflexio-mcp, or name another file in REFLEXIO_MCP_STORE.",
    )


_BUSY = (
    "store_busy",
    "The store is in use by another process; nothing was changed. Try again in a few seconds.",
)
_CANNOT_OPEN = (
    "cannot_open",
    "The store file cannot be opened. Check that its folder exists and can be written.",
)
_OTHER = ("store_failed", "The store file could not be used. Check the disk.")
_BY_CODE = {
    sqlite3.SQLITE_FULL: ("disk_full", "The disk is full. Free some space and try again."),
    sqlite3.SQLITE_READONLY: ("read_only", "The store file cannot be written. Check its permissions."),
    sqlite3.SQLITE_CANTOPEN: _CANNOT_OPEN,
    sqlite3.SQLITE_NOTADB: (
        "not_a_database",
        "The store file is not a database and was left alone. Name another file in REFLEXIO_MCP_STORE.",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "corrupt",
        "The store file is damaged. Stop every server that uses it; then restore it, or move it away to start anew.",
    ),
    sqlite3.SQLITE_TOOBIG: ("too_large", "A value is larger than the store can hold. Shorten it."),
}


def store_error(error: sqlite3.Error | OSError | OverflowError) -> StoreError:
    """Translate an error of SQLite or the file system. Its own text may contain a path."""
    if isinstance(error, OverflowError):
        return StoreFailed("out_of_range", "A number is larger than 64 bits. Use a smaller one.")
    if isinstance(error, OSError):
        return StoreFailed(*_CANNOT_OPEN)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # extended codes add higher bits
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(*_BUSY)
    return StoreFailed(*_BY_CODE.get(code, _OTHER))


logger = logging.getLogger(__name__)

IN_MEMORY: Final = ":memory:"
BUSY_SECONDS: Final = 10.0
"""Maximum wait for another process."""

REWRITE_SECONDS: Final = 0.5
"""Delay of a rewrite, so that it covers several deletions."""

REWRITE_SHARE: Final = 0.05
"""Maximum share of time for rewriting a large file."""

CLOSING_REWRITE_BYTES: Final = 64 * 1024 * 1024
"""A larger file is rewritten by the next process, not at the end of this one."""

_SETTINGS: Final = """
PRAGMA synchronous = FULL;
PRAGMA fullfsync = ON;
PRAGMA secure_delete = ON;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
"""

APPLICATION_ID: Final = 0x52464C58

SCHEMA_VERSION: Final = 2

_VERSION_1 = """
CREATE TABLE requests (
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    request_id TEXT NOT NULL UNIQUE,
    session_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    agent_version TEXT NOT NULL,
    evaluation_only INTEGER NOT NULL
);
CREATE TABLE interactions (
    interaction_id INTEGER PRIMARY KEY AUTOINCREMENT,
    request INTEGER NOT NULL REFERENCES requests (arrival) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    user_action TEXT NOT NULL,
    user_action_description TEXT NOT NULL,
    interacted_image_url TEXT NOT NULL,
    shadow_content TEXT NOT NULL,
    expert_content TEXT NOT NULL,
    tools_used TEXT NOT NULL,
    retrieved_learnings TEXT NOT NULL,
    citations TEXT NOT NULL,
    image_encoding TEXT NOT NULL
);
CREATE TABLE upkeep (
    deletions INTEGER NOT NULL,
    scrubbed INTEGER NOT NULL
);
INSERT INTO upkeep VALUES (0, 0);
CREATE INDEX interactions_by_request ON interactions (request);
CREATE INDEX requests_by_session ON requests (session_id, created_at);
CREATE INDEX requests_by_time ON requests (created_at, session_id);
CREATE INDEX requests_by_user ON requests (user_id, created_at, session_id);
CREATE INDEX requests_by_source ON requests (source, created_at, session_id);
CREATE INDEX requests_by_user_and_source ON requests (user_id, source, created_at, session_id);
"""


class Database:
    def __init__(self, path: str, *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._in_memory = path == IN_MEMORY
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        """Held by writes, and by every call of a store in memory."""
        self._opening = threading.Lock()
        self._memory: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the file in use; `None` before the first call, and in memory."""
        self._rewriting: threading.Timer | None = None
        self._pause = REWRITE_SECONDS
        self._closed = False

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Open a connection with one consistent view. Raises `StoreError` if the file cannot be used."""
        with _translated(), self._open() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, *, deletes: bool = False) -> Generator[sqlite3.Connection]:
        """Open a write transaction, which is on disk when the block ends.

        Raises:
            StoreError: nothing was changed unless the error says otherwise.
        """
        with _translated(), self._lock:
            with self._open() as connection:
                connection.execute("BEGIN IMMEDIATE")
                before = connection.total_changes
                try:
                    yield connection
                    changed = connection.total_changes != before
                    if deletes and changed:
                        connection.execute("UPDATE upkeep SET deletions = deletions + 1")
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            if self._in_memory:
                return
            if self._file != _id_of(self._path):
                raise written_elsewhere()
            if deletes and changed:
                self._rewrite_soon()

    def close(self) -> None:
        """Rewrite the file if that is due. Later calls fail."""
        with self._lock:
            if self._rewriting:
                self._rewriting.cancel()
            with suppress(OSError):
                if self._file and Path(self._path).stat().st_size <= CLOSING_REWRITE_BYTES:
                    self._rewrite()
            if self._memory:
                self._memory.close()
            self._closed = True

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        if self._closed:
            raise sqlite3.ProgrammingError("the store was closed")
        if self._in_memory:
            with self._lock:
                if self._memory is None:
                    self._memory = self._connect()
                    migrate(self._memory)
                yield self._memory
            return
        with self._opening:
            if self._file is None:
                self._file = self._prepare()
            elif self._file != _id_of(self._path):
                self._file = None
                logger.warning("the store file was moved, replaced or removed while it was in use")
                raise file_changed()
        with closing(self._connect()) as connection:
            yield connection

    def _prepare(self) -> tuple[int, int] | None:
        """Create or migrate the file, and return its device and inode."""
        path = Path(os.path.realpath(self._path))
        private_files.make_folder(path.parent)
        private_files.make_empty(path)
        with closing(self._connect()) as connection:
            version = check(connection)
            # The check comes first, because another program's file must not be changed.
            private_files.restrict(path)
            if version < SCHEMA_VERSION:
                migrate(connection)
            with suppress(sqlite3.OperationalError):
                # Earlier versions used a write-ahead log, and may still be running.
                connection.execute("PRAGMA journal_mode = DELETE")
            if _rewrite_is_due(connection):
                self._rewrite_soon()
        return _id_of(self._path)

    def _connect(self) -> sqlite3.Connection:
        # This mode does not create a removed file again.
        name = IN_MEMORY if self._in_memory else f"{Path(self._path).absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            name, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False, uri=True
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.executescript(_SETTINGS)
        except BaseException:
            connection.close()
            raise
        return connection

    def _rewrite_soon(self) -> None:
        if self._rewriting is None:
            self._rewriting = threading.Timer(self._pause, self._rewrite)
            self._rewriting.daemon = True
            self._rewriting.start()

    def _rewrite(self) -> None:
        began = time.monotonic()
        with self._lock:
            self._rewriting = None
            with suppress(sqlite3.Error, OSError, StoreError), self._open() as connection:
                (deletions,) = connection.execute("SELECT deletions FROM upkeep").fetchone()
                if _rewrite_is_due(connection):
                    connection.execute("VACUUM")
                    connection.execute("UPDATE upkeep SET scrubbed = max(scrubbed, ?)", [deletions])
        self._pause = max(REWRITE_SECONDS, (time.monotonic() - began) / REWRITE_SHARE)


def _rewrite_is_due(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("SELECT deletions <> scrubbed FROM upkeep").fetchone()[0])


def _id_of(path: str) -> tuple[int, int] | None:
    try:
        about = Path(path).stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise store_error(error) from error


def _create(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_1.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _identify(connection: sqlite3.Connection) -> None:
    """Give the store a random id.

    `had_none` is true if the store had requests before it had an id: `sqlite_sequence` has counted some then. There may
    be recovery copies of them, which do not name the store.
    """
    connection.execute("CREATE TABLE identity (id TEXT NOT NULL, had_none INTEGER NOT NULL)")
    connection.execute(
        "INSERT INTO identity VALUES (?, EXISTS (SELECT 1 FROM sqlite_sequence))", [secrets.token_hex(16)]
    )


MIGRATIONS: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {0: _create, 1: _identify}


def check(connection: sqlite3.Connection) -> int:
    """Return the schema version of a store, 0 for an empty file. Raises `StoreFailed` for any other file."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise newer_schema(version, SCHEMA_VERSION)
        return version
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version or application or objects:
        raise not_a_store()
    return 0


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to `SCHEMA_VERSION`. Several processes may try at once."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the write lock.
        version = check(connection)
        while version < SCHEMA_VERSION:
            MIGRATIONS[version](connection)
            version += 1
            connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
