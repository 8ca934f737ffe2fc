"""What the server says about its work on stderr: one JSON object a line for each call and each refusal.

No content, no arguments, no keys: tools by their names, callers by a stand-in, Reflexio's answers by their
correlation ids.
"""

import json
import logging
import time
import traceback
from typing import Any, Final

__all__ = ["EVENTS", "Lines", "event", "keep_discreet"]

EVENTS: Final = logging.getLogger("reflexio_mcp.events")
"""Where the structured lines go, as INFO for what went well and WARNING for what was refused."""


_INDISCREET: Final = (
    "mcp.server.sse",
    "mcp.server.streamable_http",
    "mcp.server.streamable_http_manager",
    "mcp.server.transport_security",
    "uvicorn.error",
)
"""Loggers that repeat what was sent: session ids, Host headers, at DEBUG whole bodies."""


def keep_discreet() -> None:
    """Keep what was sent to an HTTP server out of its log, at every level; a refusal has its own line."""
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.ERROR)


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
    EVENTS.log(level, "%s", json.dumps(line, separators=(",", ":")))
