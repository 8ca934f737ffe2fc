"""What the tools that delete answer with."""

from typing import Any, Final, Literal, Required, TypedDict

from reflexio_mcp.render.result import Facts, GapFacts, Unlisted, counted, sentences
from reflexio_mcp.traffic.deletion.execute import Outcome
from reflexio_mcp.traffic.times import iso

__all__ = [
    "ALL_OF_IT",
    "CHECKED",
    "FINAL",
    "DeletionFacts",
    "LearningDeletionFacts",
    "PlanFacts",
    "ReceiptFacts",
    "Status",
    "earlier_copies",
    "undo_in_words",
]

Status = Literal[
    "planned",
    "changed",
    "not_found",
    "declined",
    "cancelled",
    "wrong_number",
    "unanswered",
    "cannot_ask",
    "scheduled",
    "complete",
    "incomplete",
]
"""How a deletion stands: as a plan that was not carried out, and why, or as a receipt."""


CHECKED: Final = "by reading again"
FINAL: Final = "This cannot be undone: no recovery copy was kept of it."
ALL_OF_IT: Final = ", times, images and citations included"
EARLIER: Final = "Recovery copies of earlier deletions are kept, the last until"


def earlier_copies(until: int, and_more: str = "") -> str:
    """That copies of before are kept though none is made any more; empty where there is none.

    Args:
        until: when the last one goes, epoch seconds; 0 where there is none.
        and_more: how the sentence goes on.
    """
    return f"{EARLIER} {iso(until)}{and_more}." if until else ""


def undo_in_words(recovery_days: int, copies_until: int = 0, *, exact: bool = False) -> str:
    """Whether deletions on this server can be undone, as sentences.

    Args:
        copies_until: as `earlier_copies` takes it.
        exact: as `Scope.exact`.
    """
    if not recovery_days:
        more = "; a deletion with erase=true takes what it deletes out of those of the same requests and learnings"
        return sentences("Deletions are final.", earlier_copies(copies_until, more))
    how = ALL_OF_IT if exact else ""
    return f"Deletions can be undone with restore_requests for {counted(recovery_days, 'day')}{how}."


class _Done(GapFacts, total=False):
    status: Required[Status]
    deleted: Required[int]
    ids_named: Unlisted[dict[Outcome, str]]
    other_ids: Unlisted[str]
    checked: Unlisted[str]
    deleted_by_others: Unlisted[int | None]
    may_still_go: Unlisted[int | None]
    interactions_left: Unlisted[int | None]
    learned_deleted: Facts | None
    learned_left: Unlisted[Facts | None]
    learnings_still_there: Unlisted[list[str]]
    still_learning: Unlisted[int | None]
    follow_up: Unlisted[int | None]
    session_outcomes_left: Unlisted[int | None]
    arrived: Unlisted[int | None]
    copy_id: str
    copy_kept_until: Unlisted[str | None]
    not_copied: Unlisted[int | None]
    learnings_erased_from_copies: Unlisted[int | None]
    copies_changed: Unlisted[int | None]
    problems: Unlisted[list[str]]
    failure: Unlisted[str]


class ReceiptFacts(_Done, total=False):
    """What a deletion did."""

    counts: Required[dict[Outcome, int]]
    outcomes: Required[dict[Outcome, list[str]]]


class PlanFacts(TypedDict, total=False):
    """What a plan would take: these, and what `render/deletion.py` puts beside them."""

    requests: int
    interactions: int
    users: Facts
    sessions: Facts
    sources: Facts
    learned: Facts
    examples: list[Any]
    not_found: list[str]


class LearningPlanFacts(TypedDict, total=False):
    """What a plan would take: these, and what `render/learning_deletion.py` puts beside them."""

    learnings: int
    users: Facts
    learned: Facts
    source_requests: list[str]


class _Deletion(_Done, total=False):
    notice: Unlisted[str]
    counts: dict[Outcome, int]
    changed_ids: Unlisted[list[str]]
    not_found: Unlisted[list[str]]
    living_sources: Unlisted[int | None]
    source_requests: Unlisted[list[str]]
    changed: Unlisted[Facts]
    why: Unlisted[str]
    survives: str
    undo: str
    confirm: str
    next: str


class DeletionFacts(_Deletion, total=False):
    """A plan that was not carried out, or a receipt."""

    outcomes: dict[Outcome, list[str]]
    deleted_ids: Unlisted[list[str]]
    plan: PlanFacts


class LearningDeletionFacts(_Deletion, total=False):
    """The same of learnings, as `delete_learnings` answers."""

    deleted_ids: list[str]
    plan: LearningPlanFacts
