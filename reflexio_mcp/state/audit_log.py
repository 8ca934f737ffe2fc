"""The audit log: one JSON line before a deletion and one after it.

A line names what is deleted and who agreed. It never holds stored text or a key. The first line is on the disk
before anything is deleted, so a crash in between leaves an open entry.
"""

import contextlib
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from io import FileIO
from pathlib import Path
from typing import Any

from reflexio_mcp import private_files

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
        try:
            self._log.append(self._end(outcome, facts))
        except OSError:
            return False
        return True

    def hand_over(
        self, outcome: str, closing: Mapping[str, Any], opening: Mapping[str, Any]
    ) -> "Entry | None":
        """Write the second line together with the first one of what goes on afterwards: both are there or neither.

        Args:
            outcome: how the deletion ended.
            closing: what else the second line says.
            opening: what the first line of the next entry says.

        Returns:
            The next entry; `None` when the lines could not be written.
        """
        try:
            return self._log.open(opening, after=self._end(outcome, closing))
        except OSError:
            return None

    def _end(self, outcome: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        return {"event": "end", "correlation_id": self.correlation_id, "outcome": outcome, **facts}


class AuditLog:
    """An append-only file that only its owner can read.

    Several processes can write to one file: lines that belong together are a single write at its end.

    Args:
        path: the file; made when it does not exist.
        clock: epoch seconds.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()

    def open(self, facts: Mapping[str, Any], *, after: Mapping[str, Any] | None = None) -> Entry:
        """Write the first line of an entry and wait until it is on the disk.

        Args:
            facts: what the line says.
            after: a line that is written in the same step, before it.

        Raises:
            OSError: it could not be written; nothing may be deleted.
        """
        correlation_id = secrets.token_hex(8)
        line = {"event": "begin", "correlation_id": correlation_id, **(_call.get() or {}), **facts}
        self.append(*([after] if after else []), line)
        return Entry(self, correlation_id)

    def append(self, *lines: Mapping[str, Any]) -> None:
        """Write lines in one step and wait until they are on the disk.

        Raises:
            OSError: they could not be written in full; then none of them is there.
        """
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock()))
        data = b"".join(
            json.dumps({"time": moment, **line}, ensure_ascii=True).encode() + b"\n" for line in lines
        )
        with self._lock:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Opening a pipe this way does not wait for somebody who reads it.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)
            with os.fdopen(os.open(self._path, flags, 0o600), "r+b", buffering=0) as file:
                private_files.lock(file.fileno())
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise PermissionError(1, "not a regular file")
                private_files.restrict(self._path)
                _write(file, data)


def _write(file: FileIO, data: bytes) -> None:
    """Write lines at the end of the file, or nothing.

    Raises:
        OSError: it could not be written in full.
    """
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
        if file.read(1) != b"\n":
            # Another program, or a crash, left half a line: these must not become a part of it.
            data = b"\n" + data
    try:
        if file.write(data) != len(data):
            raise OSError(28, "no space left on device")
        os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise
