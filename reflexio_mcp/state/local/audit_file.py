"""The audit log as a file of JSON Lines."""

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from reflexio_mcp import private_files
from reflexio_mcp.state.audit_log import AuditLog

__all__ = ["AuditFile"]


class AuditFile(AuditLog):
    """A file that only its owner can read.

    Several processes can write to one file: lines that belong together are a single write at its end.

    Args:
        path: the file; made when it does not exist.
        clock: epoch seconds.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = Path(path)
        self._clock = clock
        self._lock = threading.Lock()

    def append(self, *lines: Mapping[str, Any]) -> None:
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
