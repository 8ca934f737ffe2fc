import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import anyio.from_thread

from reflexio_mcp.rest.models import RequestWithInteractions, StoredRequest
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["Finding", "Rule", "Session"]

Severity = Literal["high", "medium", "low"]

AROUND_CHARS = 24


@dataclass(frozen=True, slots=True)
class Session:
    """The requests of one session that the filter selects, newest first."""

    session_id: str
    requests: Sequence[RequestWithInteractions]


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding in one request.

    Args:
        kind: what was found, such as the kind of a key or a sign of prompt injection, never its text.
        around: a few nearby characters, with the finding redacted; the words of a prompt injection.
        role, points: of a prompt injection: who said it, and how suspicious it is.
        repeats: the kept request with the same content.
        from_one_session: no other session was compared, so a filter can select the finding.
    """

    name: str
    request: StoredRequest
    kind: str = ""
    interaction_id: int | None = None
    around: str = ""
    role: str = ""
    points: int = 0
    repeats: str = ""
    from_one_session: bool = True


class Rule:
    """An audit uses one object for all sessions, which come newest first. A filter makes a new object for each session.

    Class attributes:
        name: the rule, and its finding unless `findings` names several.
        why, advice: why it matters; what to do besides deleting.
        limit: what the rule can and cannot know.
        limit_if_nothing: the same for a rule that found nothing, if that needs other words.
        possible: the finding that somebody has to judge: it is less severe, and its requests are only shown.
        judge: how to judge it.
        offers: whether its requests may be deleted, or are only shown.
        selects: the finding can be used as a filter.
        from_service: the service is asked for the finding.
        needs_newest: the rule needs the newest request of a session, which not every filter selects.
    """

    name: ClassVar[str]
    findings: ClassVar[tuple[str, ...]] = ()
    possible: ClassVar[str] = ""
    judge: ClassVar[FactCode | None] = None
    severity: ClassVar[Severity] = "medium"
    why: ClassVar[str]
    advice: ClassVar[str]
    limit: ClassVar[FactCode]
    limit_if_nothing: ClassVar[FactCode | None] = None
    offers: ClassVar[Literal["delete", "look"]] = "look"
    selects: ClassVar[bool] = True
    from_service: ClassVar[bool] = False
    needs_newest: ClassVar[bool] = False

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now
        self.left_out: Fact | None = None
        """Why the rule did not look at everything; `None` if it did."""

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return cls.findings or (cls.name,)

    @classmethod
    def limit_of(cls, *, found: bool) -> FactCode:
        return cls.limit if found or cls.limit_if_nothing is None else cls.limit_if_nothing

    @classmethod
    def applies(cls) -> bool:
        return True

    def look(self, session: Session) -> Iterator[Finding]:
        yield from ()

    def finish(self) -> Iterator[Finding]:
        """Called once, after the last session."""
        yield from ()


def excerpt(letters: Sequence[str], start: int, end: int, kind: str) -> str:
    """Return the text around a match, which is replaced by its kind."""
    before, behind = letters[max(0, start - AROUND_CHARS) : start], letters[end : end + AROUND_CHARS]
    return " ".join("".join((*before, f"[{kind}]", *behind)).split())


def stop_if_cancelled() -> None:
    with contextlib.suppress(RuntimeError):  # not a worker thread of anyio
        anyio.from_thread.check_cancelled()
