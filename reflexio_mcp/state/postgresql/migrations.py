"""The tables, and what makes each version of them out of the one before."""

from typing import TYPE_CHECKING, Any, Final

from reflexio_mcp.state.database import StateUnusable

if TYPE_CHECKING:
    import psycopg

__all__ = ["ADVICE", "GRANT", "SCHEMA", "SERVERS", "TABLES", "grant", "migrate"]

SCHEMA: Final = "reflexio_mcp"
"""The schema that holds everything; nothing else is read or written."""

ADVICE: Final = (
    "look at the state database, its log and the rights of the role, or correct REFLEXIO_MCP_STATE"
)

TABLES: Final = ("state_version", "deletions", "jobs", "recovery_copies", "recovery_lines", "audit_log")
"""All that stands in the schema."""

# A table without its schema would be one of this connection alone, and temporary, where the role may not use ours.
_MIGRATIONS: Final = (
    f"""
    CREATE TABLE {SCHEMA}.deletions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        owner text NOT NULL,
        at double precision NOT NULL,
        number bigint NOT NULL,
        job bigint NOT NULL DEFAULT 0
    );
    CREATE INDEX deletions_by_owner ON {SCHEMA}.deletions (owner, at);
    CREATE INDEX deletions_by_time ON {SCHEMA}.deletions (at);
    CREATE TABLE {SCHEMA}.jobs (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        account text NOT NULL,
        owner text NOT NULL,
        caller text NOT NULL,
        number bigint NOT NULL,
        what text NOT NULL,
        follows integer NOT NULL,
        tool text NOT NULL,
        job_order text NOT NULL,
        state text NOT NULL,
        told text NOT NULL DEFAULT '',
        worker text NOT NULL,
        began double precision NOT NULL,
        alive double precision NOT NULL,
        tries integer NOT NULL DEFAULT 0,
        UNIQUE (owner, number)
    );
    CREATE INDEX jobs_unfinished ON {SCHEMA}.jobs (account, alive) WHERE state = 'running';
    CREATE TABLE {SCHEMA}.recovery_copies (
        copy_id text PRIMARY KEY,
        owner text NOT NULL,
        made_at bigint NOT NULL,
        kept_until bigint NOT NULL,
        requests integer NOT NULL DEFAULT 0,
        learnings integer NOT NULL DEFAULT 0,
        finished boolean NOT NULL DEFAULT false
    );
    CREATE INDEX recovery_copies_by_owner ON {SCHEMA}.recovery_copies (owner, made_at);
    CREATE TABLE {SCHEMA}.recovery_lines (
        copy_id text NOT NULL REFERENCES {SCHEMA}.recovery_copies ON DELETE CASCADE,
        place bigint NOT NULL,
        sealed bytea NOT NULL,
        PRIMARY KEY (copy_id, place)
    );
    CREATE TABLE {SCHEMA}.audit_log (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        line json NOT NULL
    );
    CREATE INDEX audit_log_by_time ON {SCHEMA}.audit_log (at);
    """,
    f"ALTER TABLE {SCHEMA}.jobs ADD COLUMN ids text NOT NULL DEFAULT ''",
)
"""What makes each version. A version only adds, so that replicas of an earlier one go on meanwhile."""

SERVERS: Final = "reflexio_mcp_server"
"""A role that uses the tables and cannot change them."""

GRANT: Final = (
    f"let its role own the schema {SCHEMA} (CREATE SCHEMA {SCHEMA} AUTHORIZATION the role, or ALTER SCHEMA {SCHEMA} "
    f"OWNER TO the role), or, where the role is {SERVERS}, run python3 -m reflexio_mcp.state.postgresql with the "
    "owner's URL"
)
"""What to do for a role that lacks a right."""

_RIGHTS: Final = (
    f"USAGE ON SCHEMA {SCHEMA}",
    f"SELECT ON {SCHEMA}.state_version",
    f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.deletions, {SCHEMA}.jobs",
    f"SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.recovery_copies, {SCHEMA}.recovery_lines",
    f"INSERT ON {SCHEMA}.audit_log",
)
"""What a server does there. It adds to the audit log and changes nothing in it."""


def migrate(cursor: "psycopg.Cursor[Any]") -> None:
    """Bring the tables to the newest version; another replica may be doing the same.

    Raises:
        StateUnusable: they were made by a newer version.
        psycopg.Error: they cannot be made.
    """
    if _version(cursor) == len(_MIGRATIONS):
        return
    # Freed with the end of the transaction.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('reflexio-mcp migrations', 0))")
    version = _version(cursor)
    if version == 0:
        # Looked at first: `IF NOT EXISTS` asks for the right to make schemas also where there is one.
        if not cursor.execute(
            "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = %s", (SCHEMA,)
        ).fetchone():
            cursor.execute(f"CREATE SCHEMA {SCHEMA}")
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {SCHEMA}.state_version (version integer NOT NULL)")
    for number, script in enumerate(_MIGRATIONS[version:], version + 1):
        cursor.execute(script)
        cursor.execute(f"INSERT INTO {SCHEMA}.state_version VALUES (%s)", (number,))  # noqa: S608 - a constant


def grant(cursor: "psycopg.Cursor[Any]") -> bool:
    """Let the servers' role use the tables, and return whether there is such a role.

    Raises:
        psycopg.Error: the tables are another role's.
    """
    if not cursor.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (SERVERS,)).fetchone():
        return False
    for right in _RIGHTS:
        cursor.execute(f"GRANT {right} TO {SERVERS}")
    return True


def _version(cursor: "psycopg.Cursor[Any]") -> int:
    """The version of the tables; 0 where there are none.

    Raises:
        StateUnusable: they were made by a newer version.
        psycopg.Error: they cannot be read.
    """
    # `to_regclass` would answer from what this connection has seen before it waited for the lock.
    there = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = %s AND tablename = 'state_version'"
    if not cursor.execute(there, (SCHEMA,)).fetchone():
        return 0
    newest = f"SELECT coalesce(max(version), 0) FROM {SCHEMA}.state_version"  # noqa: S608 - a constant
    row = cursor.execute(newest).fetchone()
    assert row
    if row[0] > len(_MIGRATIONS):
        raise StateUnusable(
            "the state database: its tables were made by a newer version of reflexio-mcp",
            "start the same version on every replica",
        )
    return row[0]
