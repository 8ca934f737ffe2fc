"""What the server says about its work on stderr: one JSON object a line for each call and each refusal.

No content, no arguments, no keys: tools by their names, callers by a stand-in, Reflexio's answers by their
correlation ids. A library's record keeps only its place, because its text may repeat what was sent or stored.
"""

import json
import logging
import os
import queue
import threading
import time
import traceback
from contextlib import suppress
from typing import Any, Final

__all__ = ["EVENTS", "StderrHandler", "event", "flush", "log_to_stderr"]

EVENTS: Final = logging.getLogger("reflexio_mcp.events")
"""Where the structured lines go, as INFO for what went well and WARNING for what was refused."""

MOST_LINES: Final = 1000
"""Lines that wait for whoever reads stderr. Further lines are counted and lost."""

GATHER_SECONDS: Final = 0.05
"""How long a line may wait for others that are written with it: waking a thread costs more than a line."""

FLUSH_SECONDS: Final = 1.0
"""How long the end of the process waits for the last lines to be read."""

_ANSWERED_ELSEWHERE: Final = (
    "mcp.server.sse",
    "mcp.server.streamable_http",
    "mcp.server.streamable_http_manager",
    "mcp.server.transport_security",
    "uvicorn.error",
)
"""Loggers that warn of what this server's own `refused` lines say already."""


def log_to_stderr(level: str) -> None:
    """Send every record of this process to stderr; called before the SDK would add a handler of its own.

    Args:
        level: as `REFLEXIO_MCP_LOG_LEVEL` has it. Above DEBUG, libraries log no more than warnings.
    """
    logging.setLogRecordFactory(_Record)
    handler = StderrHandler()
    handler.setFormatter(_Lines(traces=level == "DEBUG"))
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("httpx", "httpcore", *(() if level == "DEBUG" else ("mcp", "uvicorn"))):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _ANSWERED_ELSEWHERE:
        logging.getLogger(name).setLevel(logging.ERROR)


class _Record(logging.LogRecord):
    """A record that withholds what a library says, whoever handles it."""

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


class StderrHandler(logging.Handler):
    """Writes lines to stderr from a thread of its own, so that no call waits for whoever reads them.

    A host that does not read leaves the pipe full, and writing into it would block for ever.

    Args:
        descriptor: where the lines go.
    """

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str] = queue.Queue(MOST_LINES)
        self._lost = 0
        # A daemon: the process can end while the thread is writing.
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._lost += 1
        except Exception:  # noqa: BLE001 - as logging's own handlers: a bad record must not fail who logs
            return

    def flush(self) -> None:
        """Wait for the lines to be written, `FLUSH_SECONDS` at most."""
        until = time.monotonic() + FLUSH_SECONDS
        while self._lines.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.001)

    def _write_all(self) -> None:
        told = 0
        while True:
            lines = [self._lines.get()]
            time.sleep(GATHER_SECONDS)
            with suppress(queue.Empty):
                while True:
                    lines.append(self._lines.get_nowait())
            self._write(lines)
            if lost := self._lost - told:
                told += lost
                self._write([f"{lost:,} lines were lost: nobody read stderr."])
            for _ in lines:
                self._lines.task_done()

    def _write(self, lines: list[str]) -> None:
        # Not through `sys.stderr`: its lock would be held while the pipe is full, and the interpreter needs it to end.
        left = memoryview("\n".join([*lines, ""]).encode("utf-8", "backslashreplace"))
        with suppress(OSError):  # closed: there is nobody left to tell
            while left:
                left = left[os.write(self._descriptor, left) :]


def flush() -> None:
    """Write what waits, before a process ends without the interpreter's own end."""
    for handler in logging.root.handlers:
        handler.flush()


class _Lines(logging.Formatter):
    """Structured lines as they are, everything else as text with its time, level and origin.

    A logged error is named by its kind: its text, as pydantic's, may repeat what was stored or sent.

    Args:
        traces: whether the places that the error came through follow.
    """

    def __init__(self, *, traces: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._traces = traces

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == EVENTS.name else super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        places = traceback.format_tb(ei[2]) if self._traces else []
        return "".join([f"({getattr(ei[0], '__name__', 'no error')})\n", *places]).rstrip()


def event(kind: str, level: int = logging.INFO, /, **facts: Any) -> None:
    """Write one line.

    Args:
        kind: what it is about (`call`, `refused`, `stopping`).
        level: as in `logging`.
        facts: the rest of the line; empty ones are left out.
    """
    if not EVENTS.isEnabledFor(level):
        return
    now = time.time()
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03d}Z"
    shown = {name: value for name, value in facts.items() if value not in ("", None)}
    line = json.dumps({"time": stamp, "event": kind} | shown, separators=(",", ":"))
    # Not `EVENTS.log`, which would look up the stack for the place of the call, that no line shows.
    EVENTS.handle(logging.LogRecord(EVENTS.name, level, __file__, 0, line, None, None))
