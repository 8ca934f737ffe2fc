"""Refusals, as facts, or as a sentence with advice in the words of each reader."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import label, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.failures import Action, failure_facts
from reflexio_mcp.state.tables import StateUnusable

__all__ = [
    "ADVICE_CHARS",
    "BeingChanged",
    "CapReached",
    "CodeSpent",
    "InvalidInput",
    "NotRecorded",
    "NotStored",
    "Stopping",
    "TrafficError",
    "Unreadable",
    "facts_of",
    "needing_state",
    "quoted",
    "require_id",
    "state_facts",
]


ADVICE_CHARS: Final = 400


def quoted(text: str) -> str:
    """Quote what a caller named: a single word in quotation marks, otherwise only its length."""
    shown = label(text)
    return f"'{text}'" if text and shown == text else shown


class TrafficError(Exception):
    """Base class. It says what happened, whether anything changed, and what to do next.

    Args:
        said: facts, or a sentence followed by facts. A sentence names arguments, and no tool or command.
    """

    def __init__(self, *said: Fact | str | None) -> None:
        super().__init__(*(fact for fact in said if isinstance(fact, str)))
        self.facts = [fact for fact in said if isinstance(fact, Fact)]


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
    """The deletion is larger than the hourly cap allows; nothing was deleted."""


class CodeSpent(TrafficError):
    """The plan code was used already; nothing was deleted."""


class NotRecorded(TrafficError):
    """The state failed, or no copy can be made; the items were not deleted."""


class ErasureNotOver(TrafficError):
    """The request was erased before, and the erasure, which is not over, would delete it again; nothing was stored."""


class BeingChanged(TrafficError):
    """Another call is changing one of these; they were left as they are."""


class Stopping(TrafficError):
    """The server is stopping; nothing was deleted."""


class OutcomeUnclear(TrafficError):
    """The answer to a publish was lost, and the request was not found. It may be stored."""


@contextmanager
def needing_state(
    *happened: FactCode, advice: FactCode = FactCode.MEND_STATE, kind: type[TrafficError] = NotRecorded
) -> Generator[None]:
    """Turn a failure to read or write the state into a refusal.

    Args:
        happened: what happened. The last fact gets the reason.
        advice: what to do about it. The fact gets what the state itself advises.
    """
    try:
        yield
    except StateUnusable as error:
        raise kind(*state_facts(error, *happened, advice=advice)) from error


def state_facts(
    error: StateUnusable, *happened: FactCode, advice: FactCode = FactCode.MEND_STATE
) -> list[Fact]:
    """Return what happened because of an unusable state, and what the state advises.

    The last fact of what happened names the reason.
    """
    *first, last = happened or [FactCode.STATE_UNUSABLE]
    return [
        *(Fact(code=code) for code in first),
        Fact(code=last, names=[shown_name(error.problem)]),
        Fact(code=advice, names=[shown_name(error.advice, ADVICE_CHARS)]),
    ]


def facts_of(error: ReflexioError | TrafficError, action: Action = "read") -> list[Fact]:
    """Return what happened and what to do about it."""
    return failure_facts(error, action) if isinstance(error, ReflexioError) else error.facts
