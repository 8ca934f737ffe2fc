"""The audit log: one line before a deletion and one after it.

A line names what is deleted and who agreed. It never holds stored text or a key. The first line is on the disk
before anything is deleted, so a crash in between leaves an open entry.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
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


class AuditLog(ABC):
    """Lines that are only ever added, by all processes that share it. Everything here blocks."""

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

    @abstractmethod
    def append(self, *lines: Mapping[str, Any]) -> None:
        """Write lines in one step and wait until they are on the disk.

        Raises:
            OSError: they could not be written in full; then none of them is there.
        """
