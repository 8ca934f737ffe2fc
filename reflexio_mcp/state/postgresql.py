# The driver is an optional dependency, so types are not checked strictly. pyright: basic, reportMissingImports=false
"""A PostgreSQL database that replicas share.

A connection is kept for the next transaction: opening one costs more than ten transactions.
Every wait is limited.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Generator, Mapping
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reflexio_mcp.state.tables import OTHER_VERSION, VERSION, Database, StateUnusable, Transaction, statements

__all__ = ["SERVERS", "PostgresqlDatabase", "SetUp"]

SERVERS: Final = "reflexio_mcp_server"

REPLY_SECONDS: Final = 15.0
"""How long a call waits for an answer."""

CONNECTION: Final = {
    "connect_timeout": "5",
    "application_name": "reflexio-mcp",
    "client_encoding": "UTF8",  # a database without an encoding gives bytes instead of text
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
"""Defaults for parameters that the URL does not set."""

NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::double precision"
# The first statement of a transaction. Its settings end with the transaction, because a pooler gives the connection to
# others. `search_path`: temporary tables come last, so they cannot shadow tables of the state. `synchronous_commit`: a
# record is on disk before anything is deleted.
TIME_AND_SETTINGS: Final = (
    f"{NOW}, set_config('search_path', 'pg_catalog, pg_temp', true), set_config('statement_timeout', '10000', true), "
    "set_config('lock_timeout', '10000', true), set_config('idle_in_transaction_session_timeout', '30000', true), "
    "set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), true)"
)

ROLES: Final = (
    "SELECT current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = 'reflexio_mcp_server'), "
    "has_database_privilege(current_database(), 'CREATE')"
)
OWNER: Final = (
    "SELECT pg_get_userbyid(nspowner), pg_has_role(nspowner, 'USAGE') FROM pg_namespace "
    "WHERE nspname = 'reflexio_mcp'"
)
ELSEWHERE: Final = (
    "SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' "
    "AND n.nspname <> 'reflexio_mcp' AND c.relname IN ('deletions', 'copies', 'log') "
    "GROUP BY 1 HAVING count(*) = 3 ORDER BY 1"
)
FOUND_VERSION: Final = (
    "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = 'reflexio_mcp' AND c.relname = 'deletions'"
)
# `CREATE SCHEMA IF NOT EXISTS` needs the right to create schemas even if the schema exists.
MAKE_SCHEMA: Final = (
    "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'reflexio_mcp') THEN "
    "CREATE SCHEMA reflexio_mcp; END IF; END $$"
)
ENGINE: Final = {
    "schema": "reflexio_mcp.",
    "identity": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    "bytes": "bytea",
    "now": "extract(epoch FROM clock_timestamp())::double precision",
}
NOTE_VERSION: Final = f"COMMENT ON TABLE reflexio_mcp.deletions IS '{VERSION}'"
ALL_ROWS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")
SCHEMA: Final = "schema reflexio_mcp"
RIGHTS: Final[dict[str, tuple[str, ...]]] = {
    "deletions": ALL_ROWS,
    "copies": ALL_ROWS,
    "must_go": ALL_ROWS,
    "judged": ALL_ROWS,
    "keys": ("SELECT", "INSERT", "UPDATE"),
    "days": ("SELECT", "INSERT"),
    # No time or number of a line can be chosen, and no line changed or removed.
    "log": ("SELECT", "INSERT (line)", "INSERT (chain)"),
}
"""What the servers' role may do with each table, and nothing else."""

FOUND_TABLES: Final = (
    "SELECT c.relname, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE c.relkind IN ('r', 'p') AND c.relname IN ? AND n.nspname !~ '^pg_' ORDER BY 1, 2"
)
# A privilege that the role has on a whole table is one row, else one for each column on which the role has it.
FOUND_RIGHTS: Final = """
    WITH servers AS (SELECT oid FROM pg_roles WHERE rolname = ?),
        found AS (SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'reflexio_mcp' AND c.relname IN ?)
    SELECT p.name, relname FROM found, servers,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (name)
        WHERE has_table_privilege(servers.oid, found.oid, p.name)
    UNION ALL SELECT p.name || ' (' || attname || ')', relname
        FROM found JOIN pg_attribute ON attrelid = found.oid AND attnum > 0 AND NOT attisdropped, servers,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p (name)
        WHERE NOT has_table_privilege(servers.oid, found.oid, p.name)
        AND has_column_privilege(servers.oid, found.oid, attnum, p.name)
    UNION ALL SELECT 'USAGE', 'schema ' || nspname FROM pg_namespace, servers
        WHERE nspname = 'reflexio_mcp' AND has_schema_privilege(servers.oid, pg_namespace.oid, 'USAGE')
"""

ADVICE: Final = "look at PostgreSQL and its server log, or correct REFLEXIO_MCP_STATE"
RIGHTS_ADVICE: Final = "run `reflexio-mcp state check`, which names the role and what it lacks"
UNREADABLE: Final = (
    "the URL of the state database cannot be read: special characters in it have to be percent-encoded, and its "
    "parameters are those of libpq"
)

REFUSED: Final = {
    "password authentication failed": "it refuses {role} or the password in its URL",
    "no password supplied": "its URL has no password for {role}",
    "pg_hba.conf": "its pg_hba.conf does not let {role} in from here",
    "permission denied for database": "{role} may not connect to the database in its URL",
    "not permitted to log in": "{role} may not log in",
    "certificate": "its certificate, or the file of issuers that the URL names, cannot be used",
    "SSL": "it does not speak TLS as the URL asks",
    'role "': "{role} does not exist",
    "does not exist": "the database in its URL does not exist",
    "too many": "it has no free connection",
    "invalid ": "a parameter of its URL has a wrong value",
    "resolve": "the host in its URL is not known",
    "translate host name": "the host in its URL is not known",
    "Connection refused": "nothing answers at the host and port in its URL",
}
"""The message of a refused connection contains addresses, so it is translated. The first that fits counts."""


class _Connection(psycopg.Connection[Any]):
    """A connection that gives up on a server that does not answer."""

    def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **named: Any) -> Any:
        return super().wait(self._bounded(gen), *arguments, **named)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        over = time.monotonic() + REPLY_SECONDS
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > over:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("no answer")
                wanted = gen.send(ready)
        except StopIteration as done:
            return done.value


def _address(given: Mapping[str, Any]) -> str:
    """Return which database a URL means, so that no other database gets the same name.

    Args:
        given: the parameters of the URL. libpq takes others from the environment, and a database without a name has
            that of the user.
    """
    variables = {"host": "PGHOST", "port": "PGPORT", "dbname": "PGDATABASE"}
    address = [given.get(part) or os.environ.get(variable) for part, variable in variables.items()]
    service = given.get("service") or os.environ.get("PGSERVICE")
    if service or not address[-1]:
        address += [service, given.get("user") or os.environ.get("PGUSER")]
    return repr(address)


class _PostgresqlTransaction(Transaction):
    def serialise(self, subject: str) -> None:
        self.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", f"reflexio-mcp {subject}")
        self.now = self.execute(NOW)[0][0]  # it may have waited for the lock

    def _translated(self, sql: str) -> Any:
        return sql.replace("main.", "reflexio_mcp.").replace("?", "%s")


class SetUp(NamedTuple):
    """What a role finds in the database before anything is made.

    Args:
        role: the role of the URL.
        has_servers: whether the servers' role exists.
        superuser: whether the servers' role is a superuser, from whom no right can be taken.
        may_create: whether the role of the URL can create a schema.
        owner: of the schema; empty if there is no schema.
        owns: whether the role of the URL has the owner's rights.
        version: of the tables, which `deletions` is marked with; `None` without that table, empty without the mark.
        elsewhere: other schemas with tables of the same names.
        missing: the tables that are not in the schema, with the other schemas that have a table of that name.
        lacking: rights that the servers' role needs and does not have: `INSERT on deletions`.
        beyond: rights on tables that the servers' role has and must not have.
    """

    role: str
    has_servers: bool
    superuser: bool
    may_create: bool
    owner: str
    owns: bool
    version: str | None
    elsewhere: list[str]
    missing: dict[str, list[str]]
    lacking: list[str]
    beyond: list[str]

    @property
    def incomplete(self) -> bool:
        """Whether some tables of this version are in the schema, and others are not."""
        if self.version is None:  # the table `deletions`, which is marked, is missing
            return 0 < len(self.missing) < len(RIGHTS)
        return bool(self.missing) and self.version == str(VERSION)

    @property
    def fits(self) -> bool:
        """Whether nothing is wrong for servers of this version."""
        marked = self.version == str(VERSION) and not self.missing
        return marked and self.role == SERVERS and not self.lacking and not self.beyond


class PostgresqlDatabase(Database):
    """The database at a URL of libpq. Raises `StateUnusable` for an unreadable URL."""

    has_clock = True

    def __init__(self, url: str) -> None:
        try:
            given = conninfo_to_dict(url)
            self._conninfo = make_conninfo("", **(CONNECTION | given))
        except psycopg.ProgrammingError:
            raise StateUnusable(UNREADABLE, ADVICE) from None
        self._role = f"the role {given['user']}" if given.get("user") else "this system's user as its role"
        self.name = f"state-{hashlib.sha256(_address(given).encode()).hexdigest()[:12]}"
        self._made = False
        self._kept: list[psycopg.Connection[Any]] = []
        self._closed = False

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Generator[Transaction]:
        with self._transaction() as transaction:
            if not self._made:
                _make_tables(transaction)
            yield transaction
        self._made = True

    def look(self) -> SetUp:
        """Return what is there, and make nothing."""
        with self._transaction() as transaction:
            ((role, superuser, may_create),) = transaction.execute(ROLES)
            has_servers = superuser is not None  # NULL without the role
            ((owner, owns),) = transaction.execute(OWNER) or [("", False)]
            marks = transaction.execute(FOUND_VERSION)
            version = (marks[0][0] or "") if marks else None
            elsewhere = [name for (name,) in transaction.execute(ELSEWHERE)]
            missing = _missing_tables(transaction)
            lacking, beyond = _wrong_rights(transaction) if has_servers else ([], [])
            return SetUp(
                role=role,
                has_servers=has_servers,
                superuser=bool(superuser),
                may_create=may_create,
                owner=owner,
                owns=owns,
                version=version,
                elsewhere=elsewhere,
                missing=missing,
                lacking=lacking,
                beyond=beyond,
            )

    def fits(self) -> bool:
        return self.look().fits

    def set_up(self) -> None:
        """Make the tables or bring them up to date, and give the servers' role its rights and no others."""
        with self.transaction() as transaction:
            transaction.execute(f"GRANT USAGE ON SCHEMA reflexio_mcp TO {SERVERS}")
            for table, rights in RIGHTS.items():
                transaction.execute(f"REVOKE ALL ON reflexio_mcp.{table} FROM PUBLIC, {SERVERS}")
                transaction.execute(f"GRANT {', '.join(rights)} ON reflexio_mcp.{table} TO {SERVERS}")

    @contextlib.contextmanager
    def _transaction(self) -> Generator[Transaction]:
        try:
            with contextlib.ExitStack() as unless_kept:
                cursor, now = self._begin()
                unless_kept.callback(cursor.connection.close)
                yield _PostgresqlTransaction(cursor, now)
                cursor.connection.commit()
                self._kept.append(cursor.connection)
                unless_kept.pop_all()
                if self._closed:  # this call outlasted `close`
                    self.close()
        except psycopg.Error as error:
            raise _unusable(error, self._role) from None

    def close(self) -> None:
        self._closed = True
        self._end_kept()

    def _end_kept(self) -> None:
        while self._kept:
            self._kept.pop().close()

    def _begin(self) -> tuple[psycopg.Cursor[Any], float]:
        """Begin a transaction on a kept connection, or on a new one if the server has ended the kept ones."""
        with contextlib.suppress(IndexError, psycopg.OperationalError):
            return _begin_on(self._kept.pop())
        self._end_kept()
        # Behind PgBouncer, another client may have prepared a statement with the same name.
        connection = _Connection.connect(self._conninfo, prepare_threshold=None)
        # With another default of the database, a transaction would not see what was written while it waited for a lock.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return _begin_on(connection)


def _begin_on(connection: psycopg.Connection[Any]) -> tuple[psycopg.Cursor[Any], float]:
    try:
        cursor = connection.cursor()
        ((now, *_),) = cursor.execute(TIME_AND_SETTINGS).fetchall()
    except BaseException:
        connection.close()
        raise
    return cursor, now


def _missing_tables(transaction: Transaction) -> dict[str, list[str]]:
    schemas: dict[str, list[str]] = {table: [] for table in RIGHTS}
    for table, schema in transaction.execute(FOUND_TABLES, list(RIGHTS)):
        schemas[table].append(schema)
    return {table: found for table, found in schemas.items() if "reflexio_mcp" not in found}


def _wrong_rights(transaction: Transaction) -> tuple[list[str], list[str]]:
    """Return the rights that the servers' role lacks, and those that it must not have."""
    places = {SCHEMA: ("USAGE",), **RIGHTS}
    wanted = {f"{right} on {place}" for place, rights in places.items() for right in rights}
    held = {
        f"{right} on {place}" for right, place in transaction.execute(FOUND_RIGHTS, SERVERS, list(RIGHTS))
    }
    lacking = {right for right in wanted if right not in held and _on_all_columns(right) not in held}
    return sorted(lacking), sorted(held - wanted)


def _on_all_columns(right: str) -> str:
    """`INSERT (line) on log` is contained in `INSERT on log`."""
    return re.sub(r" \(\w+\)", "", right)


def _make_tables(transaction: Transaction) -> None:
    transaction.serialise("tables")
    found = transaction.execute(FOUND_VERSION)
    if found == [(str(VERSION),)]:
        return
    if not found:
        transaction.execute(MAKE_SCHEMA)
    elif not str(found[0][0]).isdecimal():
        raise StateUnusable(*OTHER_VERSION)
    for statement in (*statements(int(found[0][0]) if found else 0, ENGINE), NOTE_VERSION):
        transaction.execute(statement)


def _unusable(error: psycopg.Error, role: str) -> StateUnusable:
    # The driver's message may name hosts and other addresses.
    if error.sqlstate:
        problem = re.sub("(?<=[a-z])[A-Z]", r" \g<0>", type(error).__name__).lower()
    else:
        said = str(error)
        problem = next((meaning for words, meaning in REFUSED.items() if words in said), "it does not answer")
    advice = RIGHTS_ADVICE if isinstance(error, psycopg.errors.InsufficientPrivilege) else ADVICE
    return StateUnusable(f"the state database: {problem.format(role=role)}", advice)
