"""What `traffic/` refuses, as sentences a model can act on.

TrafficError
├── InvalidInput   an argument that cannot be used; nothing was sent
├── NotStored      nothing with that id is visible to this caller
├── Unreadable     it is stored, but the service fails to return it
├── CapReached     more deletions than an hour may have; nothing was deleted
├── CodeSpent      a plan code that was used already; nothing was deleted
├── NotRecorded    a record that has to stand before a deletion could not be written; nothing was deleted
├── Stopping       the server is about to end; nothing was deleted
└── OutcomeUnclear a publish whose answer was lost; says how to repeat it
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

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
    "label",
    "quoted",
    "refusing",
]

_LABEL: Final = re.compile(r"[\w.:/@+-]{1,64}")


def label(text: str) -> str:
    """An id, a status or a name that is not ours, in a sentence of ours: one word, or its length.

    What is not a single word could be anything, so only its length is shown.
    """
    return text if _LABEL.fullmatch(text) else f"[{len(text):,} characters, not a name]" if text else ""


def quoted(text: str) -> str:
    """What a caller named, in a sentence of ours: as `label`, one word in quotation marks."""
    return f"'{text}'" if _LABEL.fullmatch(text) else label(text)


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
    """A record that has to stand before a deletion could not be written; nothing was deleted."""


class Stopping(TrafficError):
    """The server is about to end; nothing was deleted."""


class OutcomeUnclear(TrafficError):
    """A publish whose answer was lost and that could not be looked up; it may be stored."""


@contextmanager
def refusing(sentence: str, kind: type[TrafficError] = NotRecorded) -> Generator[None]:
    """Turn a failure to read or write what is kept into a refusal.

    Args:
        sentence: what is refused, with `{why}` and `{advice}`.
        kind: the refusal.
    """
    try:
        yield
    except StateUnusable as error:
        raise kind(sentence.format(why=error.strerror, advice=error.advice)) from error
