"""The audit log: one JSON line before a destructive call and one after it.

A line names what is deleted and who agreed, never what it said and never a key. The first line is on the disk
before anything goes, so a crash in between leaves an entry that is open, and when it cannot be written, nothing
is deleted.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from reflexio_mcp.traffic.errors import NotRecorded

__all__ = ["AuditLog", "Entry", "named_call"]

REFUSAL = (
    "Nothing was deleted: the audit log (REFLEXIO_MCP_AUDIT_LOG) cannot be written ({why}). "
    "Ask the operator to make room or correct the file's permissions, then try again."
)


_call: ContextVar[Mapping[str, str] | None] = ContextVar("reflexio_mcp_audited_call", default=None)


@contextmanager
def named_call(caller: str, call_id: str) -> Generator[None]:
    """Name the call that every entry opened inside this context, tasks started in it included, came from.

    Args:
        caller: stands for who called.
        call_id: as the call's own line in the log has it.
    """
    token = _call.set({"caller": caller, "call_id": call_id})
    try:
        yield
    finally:
        _call.reset(token)


class Entry:
    """An entry that has been opened; `close` says what came of it."""

    def __init__(self, journal: "AuditLog", correlation_id: str) -> None:
        self._journal = journal
        self.correlation_id = correlation_id

    def close(self, outcome: str, **facts: Any) -> bool:
        """Write the second line. The deletion is done by then: returns whether it could be written."""
        line = {"event": "end", "correlation_id": self.correlation_id, "outcome": outcome, **facts}
        try:
            self._journal.append(line)
        except OSError:
            return False
        return True


class AuditLog:
    """An append-only file that only its owner can read.

    Several processes may write to one file: each line is one write at the file's end.

    Args:
        path: the file; made when it does not exist.
        clock: epoch seconds.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()

    def open(self, facts: Mapping[str, Any]) -> Entry:
        """Write the first line of an entry and make sure that it is on the disk.

        Raises:
            NotRecorded: it could not be written; nothing may be deleted.
        """
        correlation_id = secrets.token_hex(8)
        try:
            self.append({"event": "begin", "correlation_id": correlation_id, **(_call.get() or {}), **facts})
        except OSError as error:
            raise NotRecorded(REFUSAL.format(why=error.strerror or "an input/output error")) from error
        return Entry(self, correlation_id)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line and wait for the disk.

        Raises:
            OSError: it could not be written in full.
        """
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        data = json.dumps({"time": moment, **line}, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if os.write(file, data) != len(data):
                    # What follows must not be glued to the half of a line.
                    os.write(file, b"\n")
                    raise OSError(28, "no space left")
                os.fsync(file)
            finally:
                os.close(file)
