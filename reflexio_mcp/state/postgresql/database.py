# The driver is an extra: where it is not installed, this file is not checked against it.
# pyright: basic, reportMissingImports=false
"""A PostgreSQL database that replicas share.

Each use takes a connection of a small pool for one short transaction at READ COMMITTED. Waiting is bounded everywhere:
for a connection, for a lock, for a statement. Everything here blocks and runs in worker threads.
"""

import contextlib
import functools
import logging
import re
import ssl
import threading
import time
from collections.abc import Generator, Sequence
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from reflexio_mcp.state.database import STOPPED, Cursor, StateDatabase, StateUnusable, Transaction
from reflexio_mcp.state.postgresql.migrations import ADVICE, GRANT, SCHEMA, TABLES, grant, migrate

__all__ = ["PostgresqlDatabase", "check_url", "connect", "make_tables"]

POOL_SIZE: Final = 8
"""Connections of one process. A transaction is short, so a few serve many calls."""

POOL_SECONDS: Final = 5.0
"""How long a call waits for a connection."""

AWAY_SECONDS: Final = 1.0
"""The same, where the last connection was refused: it is tried again all the same, and reading has to go on."""

RECONNECT_SECONDS: Final = 5.0
"""How long a failed connection is tried again before the next call starts anew."""

STATEMENT_MS: Final = 10_000
LOCK_MS: Final = 5_000
IDLE_MS: Final = 30_000
"""Limits of a statement, of the wait for a lock, and of a transaction in which nothing happens."""

SILENT_SECONDS: Final = 15.0
"""How long a database may say nothing: longer than it works on a statement."""

IN_USE: Final = "the state database: all of this server's connections are in use"

_CONNECTION: Final = {
    "connect_timeout": "5",
    "application_name": "reflexio-mcp",
    # A connection whose other end has vanished is given up, and not waited for.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Parameters of a connection, where the URL says nothing else."""

SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

URL_UNREADABLE: Final = "the URL of the state database cannot be read: "
NOT_ENCODED: Final = "its special characters have to be percent-encoded, and its parameters those of libpq"

# What holds for one transaction is set in it: a pooler between may serve the next one by another connection.
# Nothing is found by its bare name: where the role may not use the schema, that would be a temporary table of this
# connection, which counts nothing and keeps nothing.
# A database that does not wait for the disk is made to wait: what is recorded has to be durable before it is acted on.
_BEGIN: Final = (
    "SELECT set_config('search_path', 'pg_catalog, pg_temp', true), set_config('statement_timeout', %s, true), "
    "set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true), "
    "set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true), "
    "extract(epoch FROM clock_timestamp())::double precision"
)

_PROBLEMS: Final = {
    "28": "it refuses this server's role or password",
    "3D": "there is no such database",
    "3F": "its role lacks a right that this server needs",
    "42501": "its role lacks a right that this server needs",
    "42P01": "one of its tables is gone",
    "25006": "it can only be read now",
    "53": "it has no room left, or no free connection",
    "55P03": "it took too long",
    "57014": "it took too long",
    "57": "it is stopping or starting",
    "08P01": "a pooler before it takes transactions apart; PgBouncer needs pool_mode = transaction or session",
    "08": "it does not answer",
}
"""Beginnings of SQLSTATE, and what they mean of the state database."""

_RIGHTS_LACKING: Final = ("3F", "42501")

_CONNECTING: Final = (
    ("password authentication failed", _PROBLEMS["28"]),
    ("no pg_hba.conf entry", "it does not let this server in"),
    ("root certificate file", "the file of issuers that the URL names cannot be read"),
    ("does not match host name", "its certificate is made out to another name"),
    ("does not exist", "its role or database does not exist"),
    ("certificate", "its certificate is not trusted"),
    ("SSL", "it does not speak TLS as the URL asks"),
    ("too many", _PROBLEMS["53"]),
    ("remaining connection slots", _PROBLEMS["53"]),
    ("starting up", _PROBLEMS["57"]),
    ("invalid ", "a parameter of its URL has a value that it cannot have"),
)
"""A refused connection has no SQLSTATE: what its message says, and what that means."""


_ATTEMPTS: Final = (
    "UPDATE deletions SET number = number WHERE false",
    "DELETE FROM jobs WHERE false",
    "DELETE FROM recovery_copies WHERE false",
    "DELETE FROM recovery_lines WHERE false",
    "INSERT INTO audit_log (line) SELECT '{}' WHERE false",
)
"""What fails where the database can only be read, or the role lacks a right."""


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
                # The driver also comes by where nothing has happened, several times a second.
                if not ready and time.monotonic() > over:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("no answer")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


_TABLE: Final = re.compile(rf"\b(FROM|INTO|UPDATE|JOIN)\s+(?={'|'.join(TABLES)})\b")


@functools.cache
def _in_schema(sql: str) -> bytes:
    """A statement as PostgreSQL takes it, each table named with its schema."""
    return _TABLE.sub(rf"\1 {SCHEMA}.", sql).replace("?", "%s").encode()


class _PostgresqlTransaction(Transaction):
    def __init__(self, cursor: psycopg.Cursor[Any], now: float) -> None:
        super().__init__(now)
        self.cursor = cursor

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> Cursor:
        return self.cursor.execute(_in_schema(sql), [_storable(one) for one in parameters])

    def serialise(self, subject: str) -> None:
        self.cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (subject,))


class PostgresqlDatabase(StateDatabase):
    """The database at a URL. Nothing is opened before the first use.

    Args:
        url: as libpq takes it.
        pool_size: how many connections are open at the most.
        wait: seconds that a call waits for one.
    """

    def __init__(self, url: str, *, pool_size: int = POOL_SIZE, wait: float = POOL_SECONDS) -> None:
        self._url = url
        self._pool_size = pool_size
        self._wait = wait
        self._lock = threading.Lock()
        self._pool: ConnectionPool[Any] | None = None
        self._migrated = False
        self._refusal: psycopg.Error | None = None

    def exists(self) -> bool:
        return True

    @contextlib.contextmanager
    def transaction(self) -> Generator[Transaction]:
        connection = self._connection()
        committing = False
        try:
            with connection.cursor() as cursor:
                now = _begin(cursor)
                if not self._migrated:
                    migrate(cursor)
                    connection.commit()
                    self._migrated = True
                    now = _begin(cursor)
                yield self._made(cursor, now)
            committing = True
            connection.commit()
        except psycopg.Error as error:
            lost = committing and connection.broken
            # The driver's words may name hosts and roles.
            raise _unusable(error, unknown=lost) from None
        finally:
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
            self._give_back(connection)

    def check(self) -> None:
        with self.transaction() as transaction:
            for attempt in _ATTEMPTS:
                transaction.execute(attempt)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(timeout=1)

    def _made(self, cursor: psycopg.Cursor[Any], now: float) -> Transaction:
        return _PostgresqlTransaction(cursor, now)

    def _connection(self) -> psycopg.Connection[Any]:
        try:
            wait = min(self._wait, AWAY_SECONDS) if self._refusal else self._wait
            return self._opened().getconn(wait)
        except (PoolTimeout, TooManyRequests):
            raise (_unusable(self._refusal) if self._refusal else StateUnusable(IN_USE, ADVICE)) from None
        except psycopg.Error as error:
            raise _unusable(error) from None

    def _give_back(self, connection: psycopg.Connection[Any]) -> None:
        with self._lock:
            pool = self._pool
        try:
            if pool is not None:
                pool.putconn(connection)
                return
        except (psycopg.Error, ValueError):  # it is of a pool that has been closed meanwhile
            pass
        connection.close()

    def _opened(self) -> ConnectionPool[Any]:
        with self._lock:
            if self._closed:
                raise StateUnusable(STOPPED, ADVICE)
            if self._pool is None:
                # Its messages name hosts and roles, and repeat what a refused call says.
                logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
                self._pool = ConnectionPool(
                    _conninfo(self._url),
                    connection_class=self._noting(),
                    # At a PgBouncer, the next transaction may have another connection.
                    kwargs={"prepare_threshold": None},
                    min_size=0,
                    max_size=self._pool_size,
                    max_waiting=16 * self._pool_size,
                    reconnect_timeout=RECONNECT_SECONDS,
                    check=ConnectionPool.check_connection,
                    open=True,
                )
            return self._pool

    def _noting(self) -> type[psycopg.Connection[Any]]:
        """A connection that notes why the last one was refused: the pool only says that it has none."""
        database = self

        class Noting(_Connection):
            @classmethod
            def connect(cls, conninfo: str = "", **parameters: Any) -> Any:
                try:
                    made = super().connect(conninfo, **parameters)
                except psycopg.Error as error:
                    database._refusal = error
                    raise
                database._refusal = None
                return made

        return Noting


def check_url(url: str) -> None:
    """Check what can be told of a URL without connecting.

    Raises:
        StateUnusable: it cannot be read; the text repeats nothing of it.
    """
    _conninfo(url)


def connect(url: str) -> None:
    """Connect once and try what a deletion does, without leaving anything behind.

    Raises:
        StateUnusable: why that does not work.
    """
    with _migrated(url) as cursor:
        for attempt in _ATTEMPTS:
            cursor.execute(_in_schema(attempt))
        cursor.connection.rollback()


def make_tables(url: str) -> bool:
    """Make the tables, and let the servers' role use them where there is one.

    Args:
        url: of the role that owns them.

    Returns:
        Whether there is that role.

    Raises:
        StateUnusable: why that does not work.
    """
    with _migrated(url) as cursor:
        return grant(cursor)


@contextlib.contextmanager
def _migrated(url: str) -> Generator[psycopg.Cursor[Any]]:
    """One connection in which the tables are made, kept at the end unless it was rolled back."""
    try:
        with _Connection.connect(_conninfo(url)) as connection, connection.cursor() as cursor:
            _begin(cursor)
            migrate(cursor)
            yield cursor
    except psycopg.Error as error:
        raise _unusable(error) from None


def _conninfo(url: str) -> str:
    try:
        named = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise StateUnusable(URL_UNREADABLE + NOT_ENCODED, ADVICE) from None
    if (mode := named.get("sslmode")) and mode not in SSL_MODES:
        raise StateUnusable(f"{URL_UNREADABLE}sslmode is one of {', '.join(SSL_MODES)}", ADVICE)
    if named.get("sslrootcert") == "system":
        # The driver's wheels bring a TLS library of their own, which does not know where this system's issuers are.
        trusted = ssl.get_default_verify_paths().cafile
        named |= {"sslmode": "verify-full", "sslrootcert": trusted or "system"}
    return make_conninfo(**{**_CONNECTION, **{name: value for name, value in named.items() if value}})


def _begin(cursor: psycopg.Cursor[Any]) -> float:
    row = cursor.execute(_BEGIN, (str(STATEMENT_MS), str(LOCK_MS), str(IDLE_MS))).fetchone()
    assert row
    return row[-1]


def _unusable(error: psycopg.Error, *, unknown: bool = False) -> StateUnusable:
    advice = GRANT if (error.sqlstate or "").startswith(_RIGHTS_LACKING) else ADVICE
    return StateUnusable(_problem(error), advice, unknown=unknown)


def _problem(error: psycopg.Error) -> str:
    state = error.sqlstate or ""
    for length in (5, 2):
        if found := _PROBLEMS.get(state[:length]):
            return f"the state database: {found}"
    if state:
        return f"the state database: it failed with SQLSTATE {state}"
    text = str(error)
    said = next((meaning for words, meaning in _CONNECTING if words in text), _PROBLEMS["08"])
    return f"the state database: {said}"


def _storable(value: object) -> object:
    # A text of PostgreSQL holds no NUL and no half of a character.
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return value
