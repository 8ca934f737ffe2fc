"""The audit log as rows of a table."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from reflexio_mcp.state.audit_log import AuditLog
from reflexio_mcp.state.database import StateDatabase

__all__ = ["AuditTable"]

_BACKSLASH_OR_NUL: Final = re.compile(r"(\\\\)|\\u0000")


class AuditTable(AuditLog):
    """Rows that this server only ever adds; the database says when."""

    def __init__(self, database: StateDatabase) -> None:
        self._database = database

    def append(self, *lines: Mapping[str, Any]) -> None:
        with self._database.transaction() as transaction:
            for line in lines:
                transaction.execute("INSERT INTO audit_log (line) VALUES (?)", (_written(line),))


def _written(line: Mapping[str, Any]) -> str:
    """A line as JSON that every function of PostgreSQL reads: one NUL would end a query over the whole log."""
    text = json.dumps(line, ensure_ascii=False)
    return _BACKSLASH_OR_NUL.sub(lambda found: found[1] or "\ufffd", text)
