"""The log on stderr: one JSON object per call and refusal, and warnings as text.

It has no content, arguments or keys. The text of a library's record is dropped, because it may repeat what was sent or
stored.
"""

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

__all__ = ["audited_call", "event", "flush", "named_call"]

EVENTS: Final = logging.getLogger("reflexio_mcp.events")

MOST_LINES: Final = 1000
"""Maximum number of waiting lines. Further lines are lost."""

GATHER_SECONDS: Final = 0.05
"""Lines are written together: waking a thread costs more than a line."""

FLUSH_SECONDS: Final = 1.0

audited_call: ContextVar[Mapping[str, str] | None] = ContextVar("reflexio_mcp_call", default=None)
"""The caller, its person and the id of the current call, for lines of the audit log."""


@contextmanager
def named_call(caller: str, call_id: str, person: str = "") -> Generator[None]:
    """Name the call inside this context and tasks started there. `person` is empty if the caller is no single user."""
    named = {"caller": caller, "call_id": call_id}
    token = audited_call.set(named | {"person": person} if person else named)
    try:
        yield
    finally:
        audited_call.reset(token)


def log_to_stderr(level: str) -> None:
    """Send all records to stderr. Call this before the SDK adds its own handler."""
    logging.setLogRecordFactory(_Record)
    handler = StderrHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("httpx", "httpcore", "mcp", "uvicorn"):
        # This server's `refused` lines already say what libraries warn of.
        logging.getLogger(name).setLevel(logging.INFO if level == "DEBUG" else logging.ERROR)


class _Record(logging.LogRecord):
    """Hides the text of libraries and errors from every handler."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if not self.name.startswith("reflexio_mcp"):
            self.msg = (
                f"at {self.filename}:{self.lineno} (text withheld: it may repeat what was sent or stored)"
            )
            self.args = None
        if self.exc_info and self.exc_info[0]:
            self.exc_text = f"({self.exc_info[0].__name__})"
        self.exc_info = None


class _Lines(logging.Formatter):
    """Leaves an event as it is, and puts time, level and name before a warning."""

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == EVENTS.name else super().format(record)


class StderrHandler(logging.Handler):
    """Writes in its own thread, because a host may not read stderr."""

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(MOST_LINES)
        self._lost = 0
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1

    def flush(self) -> None:
        until = time.monotonic() + FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.001)

    def _write_all(self) -> None:
        reported = 0
        while True:
            lines = [self._lines.get()]
            time.sleep(GATHER_SECONDS)
            lines += [self._lines.get() for _ in range(self._lines.qsize())]
            self._write(lines)
            if lost := self._lost - reported:
                reported += lost
                self._write([f"{lost:,} lines were lost: nobody read stderr."])
            for _ in lines:
                self._lines.task_done()

    def _write(self, lines: list[str]) -> None:
        # At exit the interpreter needs the lock of `sys.stderr`, so a full pipe must not hold it.
        left = memoryview("\n".join([*lines, ""]).encode("utf-8", "backslashreplace"))
        with suppress(OSError):
            while left:
                left = left[os.write(self._descriptor, left) :]


def flush() -> None:
    """Write waiting lines before `os._exit`."""
    for handler in logging.root.handlers:
        handler.flush()


def event(kind: str, level: int = logging.INFO, /, **facts: Any) -> None:
    """Log an event with its facts, except empty ones. A fact may be named `kind` or `level`, too."""
    stamp = f"{datetime.now(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
    shown = {name: value for name, value in facts.items() if value not in ("", None)}
    EVENTS.log(level, json.dumps({"time": stamp, "event": kind} | shown, separators=(",", ":")))
