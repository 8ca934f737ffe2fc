"""Errors of the store file. Their messages have no path and end in what to do.

StoreError
├── StoreBusy     another process uses the file
└── StoreFailed   the file cannot be used
"""

import sqlite3


class StoreError(Exception):
    """Base of the tree.

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
    """The file cannot be used. A repeat does not help."""


NOT_A_STORE = StoreFailed(
    "not_a_store",
    "The store file is a database of another program and was left alone."
    " Name another file in REFLEXIO_MCP_STORE.",
)


def file_changed() -> StoreFailed:
    return StoreFailed(
        "file_changed",
        "The store file was moved, replaced or removed while in use; the next call uses the file that is there now."
        " Look at what it contains first. Stop the server before you move its file.",
    )


def written_elsewhere() -> StoreFailed:
    return StoreFailed(
        "file_changed",
        "The store file was moved, replaced or removed during this call, which changed the old file; the next call"
        " uses the file that is there now. Stop the server before you move its file.",
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
    """Translate an error of SQLite or the file system. Its own text may have a path."""
    if isinstance(error, OverflowError):
        return StoreFailed("out_of_range", "A number is larger than 64 bits. Use a smaller one.")
    if isinstance(error, OSError):
        return StoreFailed(*_CANNOT_OPEN)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what extended codes add
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(*_BUSY)
    return StoreFailed(*_BY_CODE.get(code, _OTHER))
