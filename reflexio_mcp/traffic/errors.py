"""What `traffic/` refuses, as sentences a model can act on."""

from collections.abc import Generator
from contextlib import contextmanager

from reflexio_mcp.results.base import label
from reflexio_mcp.state.tables import StateUnusable

__all__ = [
    "CapReached",
    "CodeSpent",
    "InvalidInput",
    "NotRecorded",
    "NotStored",
    "OutcomeUnclear",
    "Stopping",
    "TrafficError",
    "Unreadable",
    "quoted",
    "refusing",
]


def quoted(text: str) -> str:
    """What a caller named, in a sentence of ours: a single word in quotation marks, or only its length."""
    shown = label(text)
    return f"'{text}'" if text and shown == text else shown


class TrafficError(Exception):
    """Base. The text is complete: what happened, whether anything changed, what to do next."""


class InvalidInput(TrafficError):
    """An argument cannot be used.

    Args:
        field: the argument, as the caller wrote it.
        problem: what it accepts, or what is wrong, without the value itself.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field} {problem}")
        self.field = field
        self.problem = problem


class NotStored(TrafficError):
    """Nothing with that id is visible to this caller."""


class Unreadable(TrafficError):
    """It is stored, but the service fails to return it."""


class CapReached(TrafficError):
    """More deletions than an hour may have; nothing was deleted."""


class CodeSpent(TrafficError):
    """A plan code that was used already; nothing was deleted."""


class NotRecorded(TrafficError):
    """A record that a deletion needs could not be written; nothing was deleted."""


class Stopping(TrafficError):
    """The server is about to end; nothing was deleted."""


class OutcomeUnclear(TrafficError):
    """A publish whose answer was lost and that could not be looked up; it may be stored."""


@contextmanager
def refusing(sentence: str, kind: type[TrafficError] = NotRecorded) -> Generator[None]:
    """Turn a failure to read or write the state into a refusal.

    Args:
        sentence: what is refused, with `{why}` and `{advice}`.
        kind: the refusal.
    """
    try:
        yield
    except StateUnusable as error:
        raise kind(sentence.format(why=error.strerror, advice=error.advice)) from error
