"""The tables of the state, and the SQLite file of one machine. `postgresql` is the other engine.

SQL has `?` for a parameter and `main.` before a table. A parameter can be a list: `id IN ?`.
"""

import contextlib
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reflexio_mcp import private_files

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "VERSION",
    "SqliteDatabase",
    "StateUnusable",
    "holds_sealed",
]

FIRST_VERSION: Final = 12
"""The oldest version that can be upgraded. Its files have no mark, nor have those of 13, which nobody has used."""

TABLES: Final = """
CREATE TABLE {schema}deletions (
    id {identity},
    at double precision NOT NULL,
    account text NOT NULL,
    user_id text NOT NULL,
    caller text NOT NULL,
    code text UNIQUE,
    counted bigint NOT NULL,
    intention {bytes},
    gone bigint NOT NULL DEFAULT 0,
    finished double precision,
    outcome text NOT NULL DEFAULT '',
    receipt {bytes},
    erased_names text NOT NULL DEFAULT '',
    chain text NOT NULL DEFAULT ''
);
CREATE INDEX deletions_by_caller ON {schema}deletions (caller, at);
CREATE TABLE {schema}copies (
    id {identity},
    deletion bigint NOT NULL,
    at double precision NOT NULL,
    until double precision NOT NULL,
    account text NOT NULL,
    user_id text NOT NULL,
    kind text NOT NULL,
    names text NOT NULL,
    sealing_key text NOT NULL,
    sealed {bytes} NOT NULL
);
CREATE INDEX copies_by_account ON {schema}copies (account, id);
CREATE INDEX copies_by_deletion ON {schema}copies (deletion);
CREATE TABLE {schema}log (
    id {identity},
    at double precision NOT NULL DEFAULT ({now}),
    line text NOT NULL,
    chain text NOT NULL
)
"""
"""The tables of `FIRST_VERSION`. Users, accounts, callers, names and plan codes are keyed tags, and content is sealed;
only `log.line` is readable.

In `deletions`, `code` is that of the plan, which can be used once. `counted` is how many items the hourly cap counts,
and `gone` how many were deleted or restored. `erased_names` are the names of what an erasure has erased.
"""

UPGRADES: Final = (
    """
    ALTER TABLE {schema}deletions ADD COLUMN begun bigint NOT NULL DEFAULT 0;
    ALTER TABLE {schema}deletions ADD COLUMN ended bigint NOT NULL DEFAULT 0;
    ALTER TABLE {schema}deletions ADD COLUMN restores bigint NOT NULL DEFAULT 0;
    ALTER TABLE {schema}deletions ADD COLUMN stores_until double precision;
    CREATE TABLE {schema}must_go (
        id {identity},
        restore bigint NOT NULL,
        erasure bigint NOT NULL,
        account text NOT NULL,
        user_id text NOT NULL,
        sealing_key text NOT NULL,
        sealed {bytes} NOT NULL,
        settled double precision
    );
    CREATE INDEX must_go_by_restore ON {schema}must_go (restore);
    CREATE INDEX must_go_by_erasure ON {schema}must_go (erasure)
    """,
    """
    CREATE TABLE {schema}keys (key text PRIMARY KEY, at double precision NOT NULL);
    CREATE TABLE {schema}days (day bigint PRIMARY KEY);
    ALTER TABLE {schema}deletions ADD COLUMN seen bigint NOT NULL DEFAULT 0;
    ALTER TABLE {schema}copies ADD COLUMN seen_until bigint NOT NULL DEFAULT 0
    """,
    """
    ALTER TABLE {schema}deletions ADD COLUMN claims text NOT NULL DEFAULT '';
    ALTER TABLE {schema}deletions ADD COLUMN claims_alone bigint NOT NULL DEFAULT 0;
    ALTER TABLE {schema}deletions ADD COLUMN claimed_until double precision NOT NULL DEFAULT 0;
    ALTER TABLE {schema}deletions ADD COLUMN boot text NOT NULL DEFAULT '';
    ALTER TABLE {schema}deletions ADD COLUMN uptime double precision NOT NULL DEFAULT 0
    """,
    """
    CREATE TABLE {schema}judged (
        id {identity},
        at double precision NOT NULL,
        account text NOT NULL,
        caller text NOT NULL,
        place text NOT NULL
    );
    CREATE INDEX judged_by_account ON {schema}judged (account, place)
    """,
)
"""What each later version adds. Columns need a default, because servers of an earlier version may still be writing.

`deletions` has restores, too: `restores` is the deletion whose copy is restored, 0 for a deletion. `begun` and `ended`
are the numbers of their log lines, which tell the order of two jobs whatever the clock does. `finished` is NULL as long
as a restore may store something, which it does until `stores_until` at the longest.

`keys` has a known value under each key, and when a server began to seal with it. `days` are the days on which the state
was in use, by number since 1970. `seen` is how many there were when the job began. A copy is over when there are as
many as its `seen_until` says, and its `until` has passed.

`claims` are keyed tags of the learnings that a job is writing, until `claimed_until` at the longest, which is 0 once it
has ended them. `claims_alone` is 1 if nobody else may claim them. `boot` names the start of the machine that recorded
it, and `uptime` is how long that had run, in seconds.

`judged` has a row for each finding that somebody judged to be no problem: `place` is a tag of its name and request.
"""

VERSION: Final = FIRST_VERSION + len(UPGRADES)

LATEST: Final = 253_402_300_799
"""The last second of the year 9999, the latest time that can be shown."""

MOST: Final = 2**63
"""No number in the state is as large."""

BEHIND_ALL_LINES: Final = MOST - 1
"""Stands for a line of the log that comes after all others."""

APPLICATION_ID: Final = 0x52465354
"""Marks a SQLite file as a state, since version 14."""

WAIT_SECONDS: Final = 10.0
"""Maximum wait for another process."""

ADVICE: Final = (
    "check state.db (next to the store's file, or in the server's data folder), and that its folder can be written and "
    "has room; the next start creates a removed file again"
)
OTHER_VERSION: Final = (
    "the state was made by another version of reflexio-mcp",
    "start that version, or remove the state with its recovery copies and its audit log",
)
OLD_COPIES: Final = (
    "recovery copies of an earlier version are in the folder `recovery`, and this version cannot read or erase them",
    "restore what is needed with the earlier version, and remove the folder",
)

NOT_OURS: Final = (
    "the file state.db was made by another program, or by an early version of reflexio-mcp, and was left alone",
    "move it to another folder, or name another file in REFLEXIO_MCP_STORE; a new state.db is made next to the store",
)

SQLITE: Final = {
    "schema": "",
    "identity": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "bytes": "blob",
    "now": "(julianday('now') - 2440587.5) * 86400.0",
}


def statements(found: int, engine: Mapping[str, str]) -> list[str]:
    """Return the statements that make the tables (`found` is 0), or bring them from version `found` to `VERSION`.

    Raises `StateUnusable` for a version that cannot be upgraded.
    """
    if found and not FIRST_VERSION <= found <= VERSION:
        raise StateUnusable(*OTHER_VERSION)
    steps = UPGRADES[found - FIRST_VERSION :] if found else (TABLES, *UPGRADES)
    return [statement for step in steps for statement in step.format(**engine).split(";")]


Value = str | float | bytes | None


class StateUnusable(OSError):
    """The state cannot be used; nothing was changed. Code that handles errors of files handles this, too.

    Args:
        problem: why, without a path, an address or a secret.
        advice: the end of a sentence that begins with "Ask the operator to".
    """

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(0, problem)
        self.problem = problem
        self.advice = advice


class Transaction:
    """Statements that take effect together or not at all. `now` is the time by the clock of the state."""

    def __init__(self, cursor: Any, now: float) -> None:
        self.now = now
        self.afterwards: list[Callable[[], None]] = []
        """Called by `KeyedDatabase` when the statements have taken effect."""
        self._cursor = cursor

    def execute(self, sql: str, *parameters: Value | list[str] | list[int]) -> list[Any]:
        """Execute a statement and return its rows.

        SQLite takes no lists, so `?` becomes `(?, ?)` for a list of two values. It becomes `(?)` for a single value,
        which means the same.
        """
        parts, values = sql.split("?"), list[Value]()
        for place, parameter in enumerate(parameters):
            several = parameter if isinstance(parameter, list) else [parameter]
            parts[place] += f"({', '.join('?' * len(several))})"
            values += several
        done = self._cursor.execute(self._translated("".join(parts)), values)
        return done.fetchall() if done.description else []

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self._cursor.executemany(self._translated(sql), rows)

    def serialise(self, subject: str) -> None:
        """Block other transactions on this subject until this one ends."""
        # A write transaction of SQLite locks the whole file.

    def _translated(self, sql: str) -> Any:
        return sql


class Database(ABC):
    """A database that all processes of one state share. Calls block.

    Attributes:
        name: tells it from others of this machine.
        has_clock: the times of its transactions come from one clock, not from that of each process.
    """

    name: str = "state"
    has_clock: bool = False

    @abstractmethod
    def transaction(self, *, writes: bool = True) -> AbstractContextManager[Transaction]:
        """Run the block in one transaction, which is on disk afterwards."""

    def read(self, sql: str, *parameters: Value | list[str] | list[int]) -> list[Any]:
        with self.transaction(writes=False) as transaction:
            return transaction.execute(sql, *parameters)

    def last_number(self, table: str) -> int:
        """Return the last number that a row of a table was given, also if the row is gone; 0 if that is not known.

        A database that tells it leaves out no number and gives none twice: if a number is missing, its row was removed.
        """
        return 0

    def fits(self) -> bool:
        """Whether tables, roles and rights are as this version makes them."""
        return True  # a file has no roles, and whoever opens it makes its tables

    def close(self) -> None:
        return


class SqliteDatabase(Database):
    """A private file, created at the first use. Each transaction opens it.

    Args:
        path: returns the path, or `None` to keep the state in memory.
        old_copies: returns the folder in which earlier versions kept recovery copies.
    """

    def __init__(
        self, path: Callable[[], Path | None], old_copies: Callable[[], Path | None] = lambda: None
    ) -> None:
        self._path = path
        self._old_copies = old_copies
        self._lock = threading.Lock()
        self._made = False
        self._memory: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Generator[Transaction]:
        import sqlite3

        with self._lock:
            try:
                connection = self._connected()
                try:
                    connection.execute("PRAGMA secure_delete = ON")
                    connection.execute("BEGIN IMMEDIATE" if writes or not self._made else "BEGIN")
                    transaction = Transaction(connection, time.time())
                    if not self._made:
                        _make_tables(transaction)
                        self._restrict()
                    yield transaction
                    connection.commit()
                    self._made = True
                finally:
                    connection.rollback()
                    if connection is not self._memory:
                        connection.close()
            except StateUnusable:
                raise
            except (sqlite3.Error, OSError) as error:
                raise StateUnusable("the state file cannot be used", ADVICE) from error

    def last_number(self, table: str) -> int:
        rows = self.read("SELECT seq FROM sqlite_sequence WHERE name = ?", table)
        return max((number for (number,) in rows if is_number(number)), default=0)

    def close(self) -> None:
        with self._lock:
            if self._memory:
                self._memory.close()
                self._memory, self._made = None, False

    def _restrict(self) -> None:
        if path := self._path():
            private_files.restrict(path)

    def _connected(self) -> "sqlite3.Connection":
        import sqlite3

        path = self._path()
        if path is None:
            if self._memory is None:
                self._memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                # A thread that nobody waits for may open the database after `close`.
                weakref.finalize(self, self._memory.close)
            return self._memory
        if not self._made:
            if (folder := self._old_copies()) and folder.is_dir() and any(folder.iterdir()):
                raise StateUnusable(*OLD_COPIES)
            private_files.make_folder(path.parent)
            private_files.make_empty(path)
            _check_ours(path)
        # A removed file is not recreated: its cap and copies would be lost without notice.
        address = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=WAIT_SECONDS)
        # Otherwise, a single text that is not UTF-8 would end the reading of all rows. Its replacement matches no tag
        # and no digest.
        connection.text_factory = _text
        return connection


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


class _Marks(NamedTuple):
    """What a SQLite file says of the program that made it; 0 if it says nothing."""

    application: int
    version: int


def _marks(connection: "sqlite3.Connection | Transaction") -> _Marks:
    [(application,)] = connection.execute("PRAGMA application_id")
    [(version,)] = connection.execute("PRAGMA user_version")
    return _Marks(application, version)


def _check_ours(path: Path) -> None:
    """Refuse the file of another program. SQLite would change its journal or its permissions by opening it to write.

    It is read through SQLite, because closing it here would drop the locks that this process has on it. With
    `immutable`, SQLite looks at no journal and waits for no lock. So it may find no marks, for example while another
    process writes the first page; then the transaction that comes next waits, and `_make_tables` looks again.
    """
    import sqlite3

    if not path.is_file():  # reading a pipe could take for ever
        raise OSError("it is no file")
    if not path.stat().st_size:  # made a moment ago
        return
    address = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as file:
            marks = _marks(file)
    except sqlite3.Error:
        return
    if marks.application != APPLICATION_ID and marks != (0, FIRST_VERSION):
        raise StateUnusable(*NOT_OURS)


def _make_tables(transaction: Transaction) -> None:
    application, version = _marks(transaction)
    if application != APPLICATION_ID and not (application == 0 and _is_unmarked_state(transaction, version)):
        raise StateUnusable(*NOT_OURS)
    for statement in statements(version, SQLITE):
        transaction.execute(statement)
    if version != VERSION:
        transaction.execute(f"PRAGMA user_version = {VERSION}")
        transaction.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _is_unmarked_state(transaction: Transaction, version: int) -> bool:
    """Whether the file is empty, or has the tables of `FIRST_VERSION`, whose files have no mark."""
    made = transaction.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    if version == 0:
        return not made
    wanted = [part for part in TABLES.format(**SQLITE).split(";") if "CREATE TABLE" in part]
    return version == FIRST_VERSION and sorted(sql for (sql,) in made) == sorted(
        part.strip() for part in wanted
    )


def holds_sealed(path: Path) -> bool:
    """Whether a state file has anything that its key has sealed. An unreadable file counts as such.

    The file is opened to be written, because SQLite first has to take back what a process that ended left half written,
    and cannot always tell that from what another one is writing at this moment.
    """
    import sqlite3

    try:
        if not path.stat().st_size:
            return False
    except FileNotFoundError:
        return False
    try:
        _check_ours(path)
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as file:
            made = {name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            return any(
                file.execute(f"SELECT EXISTS (SELECT 1 FROM {table})").fetchone()[0]  # noqa: S608
                for table in ("keys", "copies", "deletions", "log")
                if table in made
            )
    except (sqlite3.Error, OSError):
        return True


def is_time(value: Any) -> bool:
    """Whether a value of a column of times is one. SQLite keeps others there, too."""
    return isinstance(value, int | float) and 0 <= value <= LATEST


def is_number(value: Any) -> bool:
    """Whether a value of a column of whole numbers is one. SQLite keeps others there, too."""
    return isinstance(value, int) and abs(value) < MOST
