"""The audit log: one JSON line before a deletion and one after it.

A line names what is deleted and who agreed. It never holds stored text or a key. The first line is on the disk
before anything is deleted, so a crash in between leaves an open entry.
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

__all__ = ["AuditLog", "Entry", "named_call"]

_call: ContextVar[Mapping[str, str] | None] = ContextVar("reflexio_mcp_audited_call", default=None)


@contextmanager
def named_call(caller: str, call_id: str) -> Generator[None]:
    """Name the call in every entry that is opened inside this context, in tasks started there too.

    Args:
        caller: stands for who called.
        call_id: the same id as in the call's own log line.
    """
    token = _call.set({"caller": caller, "call_id": call_id})
    try:
        yield
    finally:
        _call.reset(token)


class Entry:
    """An open entry; `close` says how the deletion ended."""

    def __init__(self, log: "AuditLog", correlation_id: str) -> None:
        self._log = log
        self.correlation_id = correlation_id

    def close(self, outcome: str, **facts: Any) -> bool:
        """Write the second line.

        Returns:
            Whether it could be written. The deletion is over by then, so a failure does not raise.
        """
        line = {"event": "end", "correlation_id": self.correlation_id, "outcome": outcome, **facts}
        try:
            self._log.append(line)
        except OSError:
            return False
        return True


class AuditLog:
    """An append-only file that only its owner can read.

    Several processes can write to one file: each line is a single write at its end.

    Args:
        path: the file; made when it does not exist.
        clock: epoch seconds.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()

    def open(self, facts: Mapping[str, Any]) -> Entry:
        """Write the first line of an entry and wait until it is on the disk.

        Raises:
            OSError: it could not be written; nothing may be deleted.
        """
        correlation_id = secrets.token_hex(8)
        self.append({"event": "begin", "correlation_id": correlation_id, **(_call.get() or {}), **facts})
        return Entry(self, correlation_id)

    def append(self, line: Mapping[str, Any]) -> None:
        """Write one line and wait until it is on the disk.

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
