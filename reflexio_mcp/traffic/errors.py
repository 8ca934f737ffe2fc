"""Refusals: what happened, and advice in the words of each reader."""

from collections.abc import Generator
from contextlib import contextmanager

from reflexio_mcp.results.base import label
from reflexio_mcp.results.facts import Fact
from reflexio_mcp.state.tables import StateUnusable

__all__ = [
    "CapReached",
    "CodeSpent",
    "InvalidInput",
    "NotRecorded",
    "NotStored",
    "Stopping",
    "TrafficError",
    "Unreadable",
    "quoted",
    "refusing",
    "require_id",
]


def quoted(text: str) -> str:
    """Quote what a caller named: a single word in quotation marks, otherwise only its length."""
    shown = label(text)
    return f"'{text}'" if text and shown == text else shown


class TrafficError(Exception):
    """Base class.

    Args:
        happened: what happened and whether anything changed. It names arguments, and no tool or command.
        advice: what to do next; each reader has own words for it.
    """

    def __init__(self, happened: str = "", advice: Fact | None = None) -> None:
        super().__init__(happened)
        self.advice = advice


class InvalidInput(TrafficError):
    """An argument cannot be used.

    Args:
        problem: what the argument accepts, or what is wrong, without the value itself.
    """

    def __init__(self, field: str, problem: str, advice: Fact | None = None) -> None:
        super().__init__(f"{field} {problem}", advice)
        self.field = field
        self.problem = problem


def require_id(field: str, text: str) -> str:
    """Return an id without surrounding blanks; refuse an empty one."""
    if not (text := text.strip()):
        raise InvalidInput(field, "must not be blank.")
    return text


class NotStored(TrafficError):
    """Nothing with that id is visible to this caller."""


class Unreadable(TrafficError):
    """Stored data cannot be read."""


class CapReached(TrafficError):
    """The deletion is larger than the hourly cap allows; nothing was deleted.

    Args:
        said: how much is allowed, and how much was asked for.
        never_fits: waiting does not help.
        advice: what a caller who is not the operator can do.
    """

    def __init__(self, said: str, advice: str, *, never_fits: bool) -> None:
        super().__init__(f"{said} {advice}")
        self.said = said
        self.never_fits = never_fits


class CodeSpent(TrafficError):
    """The plan code was used already; nothing was deleted."""


class NotRecorded(TrafficError):
    """The state failed, or no copy can be made; the items were not deleted."""


class Stopping(TrafficError):
    """The server is stopping; nothing was deleted."""


class OutcomeUnclear(TrafficError):
    """The answer to a publish was lost, and the request was not found. It may be stored."""


@contextmanager
def refusing(sentence: str, kind: type[TrafficError] = NotRecorded) -> Generator[None]:
    """Turn a failure to read or write the state into a refusal. `sentence` contains `{why}` and `{advice}`."""
    try:
        yield
    except StateUnusable as error:
        raise kind(sentence.format(why=error.strerror, advice=error.advice)) from error
