"""The correlation ids that Reflexio answered a piece of work with."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["correlation_ids", "note"]

_noted: ContextVar[list[str] | None] = ContextVar("reflexio_mcp_correlation_ids", default=None)


@contextmanager
def correlation_ids() -> Generator[list[str]]:
    """Collect the ids of every answer inside this context, tasks started in it included, in order."""
    ids: list[str] = []
    token = _noted.set(ids)
    try:
        yield ids
    finally:
        _noted.reset(token)


def note(correlation_id: str | None) -> None:
    """Remember an answer's id for whoever collects them."""
    ids = _noted.get()
    if ids is not None and correlation_id:
        ids.append(correlation_id)
