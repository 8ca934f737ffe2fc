"""What the server says about its work on stderr: one JSON object a line for each call and each refusal.

No content, no arguments, no keys: tools by their names, callers by a stand-in, Reflexio's answers by their
correlation ids. Of a library's record only its place stays, since its text may repeat what was sent or stored.
"""

import json
import logging
import os
import threading
import time
import traceback
from collections import deque
from contextlib import suppress
from typing import Any, Final

__all__ = [
    "EVENTS",
    "StderrHandler",
    "event",
    "flush",
    "log_to_stderr",
    "withhold",
    "withhold_from_libraries",
]

EVENTS: Final = logging.getLogger("reflexio_mcp.events")
"""Where the structured lines go, as INFO for what went well and WARNING for what was refused."""

MOST_LINES: Final = 1000
"""Lines that wait for whoever reads stderr; what comes after them is counted and lost."""

LINES_AT_ONCE: Final = 64
GATHER_SECONDS: Final = 0.05
"""How long a line may wait for others that are written with it."""

FLUSH_SECONDS: Final = 1.0
"""How long the end of the process waits for the last lines to be read."""

_LIBRARIES: Final = ("mcp", "sse_starlette", "uvicorn", "starlette", "httpx", "httpcore", "asyncio", "anyio")

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
        level: as `REFLEXIO_MCP_LOG_LEVEL` has it. Below DEBUG, libraries tell no more than warnings.
    """
    handler = StderrHandler()
    handler.addFilter(withhold)
    handler.setFormatter(Lines(traces=level == "DEBUG"))
    logging.basicConfig(level=level, handlers=[handler])
    for name in ("httpx", "httpcore", *(() if level == "DEBUG" else ("mcp", "uvicorn"))):
        logging.getLogger(name).setLevel(logging.WARNING)


def withhold(record: logging.LogRecord) -> bool:
    """A filter that takes the text out of a library's record, and the text of its error."""
    if not record.name.startswith("reflexio_mcp"):
        place = f"{record.filename}:{record.lineno}"
        record.msg, record.args = f"at {place} (text withheld: it may repeat what was sent or stored)", None
        if record.exc_info and record.exc_info[0]:
            record.exc_text = f"({record.exc_info[0].__name__})"
    return True


def withhold_from_libraries() -> None:
    """Take the text out of the records of the libraries that serve HTTP, whoever handles them.

    A filter of a logger does not hold for the loggers below it, so each one that exists gets it.
    """
    for name in _ANSWERED_ELSEWHERE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in _LIBRARIES:
            logging.getLogger(name).addFilter(withhold)


class StderrHandler(logging.Handler):
    """Writes lines to stderr from a thread of its own, so that no call waits for whoever reads them.

    A host that does not read leaves the pipe full, and writing into it would block for ever.

    Args:
        descriptor: where the lines go.
    """

    def __init__(self, descriptor: int = 2) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: deque[str] = deque()
        self._any = threading.Event()
        self._hurried = threading.Event()
        self._taken = self._done = self._lost = 0
        # A daemon: the process ends although it is writing.
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - as logging's own handlers: a bad record must not fail who logs
            return
        if len(self._waiting) >= MOST_LINES:
            self._lost += 1
            return
        self._taken += 1
        self._waiting.append(line)
        if not self._any.is_set():
            self._any.set()

    def flush(self) -> None:
        """Wait for the lines to be written, `FLUSH_SECONDS` at most."""
        last, until = self._taken, time.monotonic() + FLUSH_SECONDS
        self._hurried.set()
        while self._done < last and time.monotonic() < until:
            time.sleep(0.001)
        self._hurried.clear()

    def _write_all(self) -> None:
        while True:
            self._any.wait()
            # Waking this thread costs a busy server more than the line does, so lines are gathered for a moment.
            self._hurried.wait(GATHER_SECONDS)
            self._any.clear()
            while self._waiting:
                lines = [self._waiting.popleft() for _ in range(min(LINES_AT_ONCE, len(self._waiting)))]
                self._write(lines)
                self._done += len(lines)
            if self._lost:
                self.acquire()  # `emit` counts under it, and never holds it for long
                lost, self._lost = self._lost, 0
                self.release()
                self._write([f"{lost:,} lines were lost: nobody read stderr."])

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


class Lines(logging.Formatter):
    """Structured lines as they are, everything else as text with its time, level and origin.

    An error that is logged is named by its kind: its text, as pydantic's, may repeat what was stored or sent.

    Args:
        traces: whether the places an error came through follow.
    """

    def __init__(self, *, traces: bool = False) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._traces = traces

    def format(self, record: logging.LogRecord) -> str:
        return record.getMessage() if record.name == EVENTS.name else super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name is logging's
        kind = f"({ei[0].__name__})" if ei[0] else "(no error)"
        return "".join([kind, "\n", *traceback.format_tb(ei[2])]).rstrip() if self._traces else kind


_json: Final = json.JSONEncoder(separators=(",", ":"))


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
    line = {"time": stamp, "event": kind} | {
        key: value for key, value in facts.items() if value not in ("", None)
    }
    # Not `EVENTS.log`, which would look up the stack for the place of the call, that no line shows.
    EVENTS.handle(logging.LogRecord(EVENTS.name, level, __file__, 0, _json.encode(line), None, None))
