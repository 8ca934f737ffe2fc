"""The schema of the store file, its version and its migrations."""

import sqlite3
from collections.abc import Callable
from typing import Final

from reflexio_mcp.embedded_store.errors import NOT_A_STORE, newer_schema

APPLICATION_ID: Final = 0x52464C58
"""Marks a file as ours, so that another program's database is never written to."""

SCHEMA_VERSION: Final = 1
"""Kept in the file's `user_version`."""

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


def _create(connection: sqlite3.Connection) -> None:
    for statement in _VERSION_1.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


MIGRATIONS: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {0: _create}
"""From a file's version to the step that migrates it to the next. Each runs in one transaction."""


def check(connection: sqlite3.Connection) -> int:
    """The file's schema version, 0 for an empty file.

    Raises:
        StoreFailed: the file belongs to another program, or to a newer version of this one.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == APPLICATION_ID:
        if version > SCHEMA_VERSION:
            raise newer_schema(version, SCHEMA_VERSION)
        return version
    (objects,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version or application or objects:
        raise NOT_A_STORE
    return 0


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to `SCHEMA_VERSION`. Safe when several processes do it at once.

    Raises:
        StoreFailed: see `check`.
        sqlite3.Error: as SQLite raised it; the file is then as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the write lock: another process may have been faster.
        version = check(connection)
        while version < SCHEMA_VERSION:
            MIGRATIONS[version](connection)
            version += 1
            connection.execute(f"PRAGMA user_version = {version}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
