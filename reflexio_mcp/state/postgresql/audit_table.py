"""The audit log as rows of a table."""

import json
from collections.abc import Mapping
from typing import Any

from reflexio_mcp.state.audit_log import AuditLog
from reflexio_mcp.state.database import StateDatabase

__all__ = ["AuditTable"]


class AuditTable(AuditLog):
    """Rows that this server only ever adds; the database says when.

    Args:
        database: where they are.
    """

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def append(self, *lines: Mapping[str, Any]) -> None:
        with self._database.transaction() as transaction:
            for line in lines:
                transaction.execute("INSERT INTO audit_log (line) VALUES (?)", (json.dumps(line),))
