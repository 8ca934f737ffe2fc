"""What a rule is, what it is shown, and what it finds."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import anyio.from_thread

from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest

__all__ = ["Finding", "Rule", "Session", "Severity", "excerpt", "stop_if_cancelled"]

Severity = Literal["high", "medium", "low"]

AROUND_CHARS = 24
"""Characters before and behind what was found, so that a reader knows the place again."""


@dataclass(frozen=True, slots=True)
class Session:
    """The requests of one session that the filter selects, newest first."""

    session_id: str
    requests: Sequence[RequestWithInteractions]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rule found in one request.

    Args:
        name: the finding, as the filter `finding` takes it.
        kind: what was found, such as the kind of a key; never the key.
        interaction_id: the interaction that it stands in, if it stands in one.
        around: a few characters around it, with what was found covered.
        repeats: the id of the request that has the same content and stays.
        alone: the session shows it without other sessions, so that the filter selects it.
    """

    name: str
    request: StoredRequest
    kind: str = ""
    interaction_id: int | None = None
    around: str = ""
    repeats: str = ""
    alone: bool = True


class Rule:
    """One rule. An object of it sees all sessions of one audit, or one session if it is used as a filter.

    Class attributes:
        name: the rule; it is also the finding unless `findings` names several.
        why: one sentence: why it matters.
        advice: what to do about it outside of the store, and next time.
        offers: whether the requests it finds may be deleted, or are only shown.
        selects: whether the finding can be used as a filter: one session shows it, or `asked`.
        asked: the service says it of single requests; what was said does not show it.
        whole_sessions: it judges by the newest request of a session, so that no filter may leave that out.
        of_content: it reads what was said.
    """

    name: ClassVar[str]
    findings: ClassVar[tuple[str, ...]] = ()
    severity: ClassVar[Severity] = "medium"
    why: ClassVar[str]
    advice: ClassVar[str]
    offers: ClassVar[Literal["delete", "look"]] = "look"
    selects: ClassVar[bool] = True
    asked: ClassVar[bool] = False
    whole_sessions: ClassVar[bool] = False
    of_content: ClassVar[bool] = False

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now
        self.left_out = ""
        """What the rule could not look at."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The findings of the rule."""
        return cls.findings or (cls.name,)

    def look(self, session: Session) -> Iterator[Finding]:
        """Look at one session."""
        yield from ()

    def finish(self) -> Iterator[Finding]:
        """Yield what only all sessions together show. Called once, after the last session."""
        yield from ()


def excerpt(text: str, place: tuple[int, int], kind: str, hidden: Sequence[tuple[int, int]]) -> str:
    """A few characters around what was found, which is replaced by its kind.

    Args:
        place: where it is.
        hidden: other places that must not be shown.
    """
    start, end = place

    def shown(first: int, last: int) -> str:
        return "".join(
            "·" if any(begin <= at < stop for begin, stop in hidden) else text[at]
            for at in range(first, last)
        )

    before = shown(max(0, start - AROUND_CHARS), start)
    behind = shown(end, min(len(text), end + AROUND_CHARS))
    return " ".join(f"{before}[{kind}]{behind}".split())


def stop_if_cancelled() -> None:
    """Give up if the call that this worker thread serves was cancelled; elsewhere do nothing.

    Raises:
        anyio.get_cancelled_exc_class(): the call was cancelled.
    """
    with contextlib.suppress(RuntimeError):  # this is no worker thread of anyio's
        anyio.from_thread.check_cancelled()
