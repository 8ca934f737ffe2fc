# The driver is an extra: if it is not installed, this file is not checked against it.
# pyright: basic, reportMissingImports=false
"""A PostgreSQL database that replicas share.

Each use takes a connection for one short transaction at READ COMMITTED. Every wait has an end: for a connection, for a
lock, for a statement, and for a server that accepts connections and says nothing.

`python3 -m reflexio_mcp.state.postgresql` makes the tables with the role that owns them and lets the servers' role use
them. The URL of the owner is in `REFLEXIO_MCP_STATE`.
"""

import contextlib
import os
import ssl
import sys
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reflexio_mcp.state.tables import TABLES, VERSION, Cursor, Database, StateUnusable, Transaction

__all__ = ["SERVERS", "PostgresqlDatabase"]

SCHEMA: Final = "reflexio_mcp"
SERVERS: Final = "reflexio_mcp_server"
"""A role that uses the tables and cannot change them."""

CONNECTIONS: Final = 8
"""Connections of one process. A transaction is short, so a few serve many calls."""

WAIT_SECONDS: Final = 5.0
"""How long a call waits for a connection."""

SILENT_SECONDS: Final = 15.0
"""How long a database may say nothing."""

TYPES: Final = {
    "schema": f"{SCHEMA}.",
    "identity": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "bytes": "bytea",
    "now": "extract(epoch FROM clock_timestamp())::double precision",
}

RIGHTS: Final = (
    f"USAGE ON SCHEMA {SCHEMA}",
    f"SELECT ON {SCHEMA}.state_version",
    f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.deletions, {SCHEMA}.copies",
    # A line can be added, and neither its time nor its number chosen; no line can be read or changed.
    f"SELECT (id, chain), INSERT (line, chain) ON {SCHEMA}.log",
)

CONNECTION: Final = {
    "connect_timeout": "5",
    "application_name": "reflexio-mcp",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Parameters of a connection, if the URL does not say otherwise."""

# Set for one transaction: behind a pooler the next one may use another connection. Tables are named with their schema,
# and temporary tables come last, so none of this connection can take the place of ours. What is recorded is on the disk
# before it is acted on.
BEGIN: Final = (
    "SELECT set_config('search_path', 'pg_catalog, pg_temp', true), set_config('statement_timeout', '10000', true), "
    "set_config('lock_timeout', '10000', true), set_config('idle_in_transaction_session_timeout', '30000', true), "
    "set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true)"
)
NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"

ADVICE: Final = "look at the state database, its log and its rights, or correct REFLEXIO_MCP_STATE"
GRANT: Final = (
    f"run python3 -m reflexio_mcp.state.postgresql with the URL of the role that owns the schema {SCHEMA}, which makes "
    f"the tables and lets {SERVERS} use them"
)
IN_USE: Final = "the state database: all of this server's connections are in use"
UNREADABLE: Final = (
    "the URL of the state database cannot be read: special characters in it have to be percent-encoded, and its "
    "parameters are those of libpq"
)
NEWER: Final = (
    "the state database: its tables were made by a newer version of reflexio-mcp",
    "start the same version on every replica",
)
OLD_COPIES: Final = (
    "the state database: recovery copies of an earlier version are in it, which this version cannot read or erase",
    f"restore what is needed with the earlier version, and to empty {SCHEMA}.recovery_copies",
)

PROBLEMS: Final = {
    "28": "it refuses this server's role or password",
    "3D": "there is no such database",
    "3F": "its role lacks a right, or its tables are not there",
    "42501": "its role lacks a right, or its tables are not there",
    "42704": f"there is no role {SERVERS}",
    "42P01": "its role lacks a right, or its tables are not there",
    "25006": "it can only be read now",
    "53": "it has no room left, or no free connection",
    "55P03": "it took too long",
    "57014": "it took too long",
    "57": "it is stopping or starting",
    "08P01": "a pooler before it takes transactions apart; PgBouncer needs pool_mode = transaction or session",
}
"""Beginnings of SQLSTATE, and what they mean."""

REFUSED: Final = {
    "password authentication failed": PROBLEMS["28"],
    "no pg_hba.conf entry": "it does not let this server in",
    "certificate": "its certificate, or the file of issuers that the URL names, cannot be used",
    "does not exist": "its role or database does not exist",
    "SSL": "it does not speak TLS as the URL asks",
    "too many": PROBLEMS["53"],
    "remaining connection slots": PROBLEMS["53"],
    "starting up": PROBLEMS["57"],
    "invalid ": "a parameter of its URL has a wrong value",
}
"""What the message of a refused connection has in it, and what that means. The message itself names addresses."""


class _Connection(psycopg.Connection[Any]):
    """A connection that waits for no answer for ever: a server can hold one open and say nothing."""

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **named: Any) -> Any:
        return super().wait(self._bounded(gen), *arguments, **named)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        over = time.monotonic() + SILENT_SECONDS
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                # The driver also comes by if nothing has happened, several times a second.
                if not ready and time.monotonic() > over:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("no answer")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


class _PostgresqlTransaction(Transaction):
    def __init__(self, cursor: psycopg.Cursor[Any], now: float) -> None:
        super().__init__(now)
        self._cursor = cursor

    def run(self, sql: str, parameters: Sequence[object]) -> Cursor:
        return self._cursor.execute(_translated(sql), parameters)

    def execute_many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._cursor.executemany(_translated(sql), rows)

    def serialise(self, subject: str) -> None:
        self.run("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", [f"reflexio-mcp {subject}"])
        # The wait may have been long: what happens from here on is later than what it waited for.
        self.now = _one(self._cursor.execute(NOW))


class PostgresqlDatabase(Database):
    """The database at a URL. Nothing is opened before the first use.

    Args:
        url: as libpq takes it.

    Raises:
        StateUnusable: it cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._conninfo = _conninfo(url)
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self._idle: list[psycopg.Connection[Any]] = []
        self._migrated = False

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Generator[Transaction]:
        if not self._free.acquire(timeout=WAIT_SECONDS):
            raise StateUnusable(IN_USE, ADVICE)
        connection = None
        try:
            connection = self._begun()
            with connection.cursor() as cursor:
                transaction = _PostgresqlTransaction(cursor, _one(cursor.execute(NOW)))
                if not self._migrated:
                    _migrate(transaction)
                yield transaction
            connection.commit()
            self._migrated = True
        except psycopg.Error as error:
            # The driver's words may name hosts and roles.
            raise _unusable(error) from None
        finally:
            if connection:
                with contextlib.suppress(psycopg.Error):
                    connection.rollback()
                    self._idle.append(connection)
            self._free.release()

    def close(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _begun(self) -> psycopg.Connection[Any]:
        """A connection in a new transaction."""
        with contextlib.suppress(IndexError, psycopg.Error):
            return _begin(self._idle.pop())
        # What else was idle may have been cut off too.
        self.close()
        # At a PgBouncer, the next transaction may have another connection: nothing is prepared.
        return _begin(_Connection.connect(self._conninfo, prepare_threshold=None))


def _begin(connection: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    try:
        connection.execute(BEGIN)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(transaction: Transaction) -> None:
    """Make the tables if they are not there; another replica may be doing the same."""
    if _version(transaction) == VERSION:
        return
    transaction.serialise("migrations")
    version = _version(transaction)
    if version == VERSION:
        return
    if version > VERSION:
        raise StateUnusable(*NEWER)
    if version:
        if transaction.execute(f"SELECT 1 FROM {SCHEMA}.recovery_copies LIMIT 1").fetchone():  # noqa: S608 - a constant
            raise StateUnusable(*OLD_COPIES)
        # What earlier versions counted and noted is over within a week. Their audit_log stays.
        for table in ("recovery_lines", "recovery_copies", "jobs", "deletions"):
            transaction.execute(f"DROP TABLE {SCHEMA}.{table}")
    else:
        # Looked at first: `IF NOT EXISTS` asks for the right to make schemas even if there is one.
        if not transaction.execute(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = ?", [SCHEMA]
        ).fetchone():
            transaction.execute(f"CREATE SCHEMA {SCHEMA}")
        transaction.execute(f"CREATE TABLE {SCHEMA}.state_version (version integer NOT NULL)")
    for statement in TABLES.format(**TYPES).split(";"):
        transaction.execute(statement)
    transaction.execute(f"INSERT INTO {SCHEMA}.state_version VALUES (?)", [VERSION])  # noqa: S608 - a constant


def _version(transaction: Transaction) -> int:
    """The version of the tables; 0 if there are none."""
    # `to_regclass` would answer from what this connection has seen before it waited for the lock.
    there = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = ? AND tablename = 'state_version'"
    if not transaction.execute(there, [SCHEMA]).fetchone():
        return 0
    newest = f"SELECT coalesce(max(version), 0) FROM {SCHEMA}.state_version"  # noqa: S608 - a constant
    return transaction.execute(newest).fetchone()[0]


def _conninfo(url: str) -> str:
    try:
        named = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise StateUnusable(UNREADABLE, ADVICE) from None
    if named.get("sslrootcert") == "system":
        # The driver's wheels bring a TLS library of their own, which does not know where this system's issuers are.
        trusted = ssl.get_default_verify_paths().cafile
        named |= {"sslmode": "verify-full", "sslrootcert": trusted or "system"}
    return make_conninfo(**{**CONNECTION, **{name: value for name, value in named.items() if value}})


def _translated(sql: str) -> bytes:
    return sql.replace("main.", f"{SCHEMA}.").replace("?", "%s").encode()


def _one(cursor: Cursor) -> Any:
    return cursor.fetchone()[0]


def _unusable(error: psycopg.Error) -> StateUnusable:
    state = error.sqlstate or ""
    if state:
        problem = PROBLEMS.get(state) or PROBLEMS.get(state[:2]) or f"it failed with SQLSTATE {state}"
    else:
        said = str(error)
        problem = next((meaning for words, meaning in REFUSED.items() if words in said), "it does not answer")
    advice = GRANT if problem == PROBLEMS["42501"] else ADVICE
    return StateUnusable(f"the state database: {problem}", advice)


def main() -> int:
    """Return the exit code: 0 if the tables are there, 1 if not, and 2 if no database is named."""
    url = os.environ.get("REFLEXIO_MCP_STATE", "")
    if not url:
        return _said("REFLEXIO_MCP_STATE has to name the database, with the role that owns the tables", 2)
    try:
        with contextlib.closing(PostgresqlDatabase(url)) as database, database.transaction() as transaction:
            for right in RIGHTS:
                transaction.execute(f"GRANT {right} TO {SERVERS}")
    except StateUnusable as error:
        return _said(f"{error.strerror}; {error.advice}", 1)
    return _said(f"the tables are there, and {SERVERS} can use them", 0)


def _said(text: str, code: int) -> int:
    sys.stderr.write(f"reflexio-mcp: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
