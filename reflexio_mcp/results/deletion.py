"""What a deletion would take, what it did, and what was put back."""

from typing import Annotated, Literal

from pydantic import Field

from reflexio_mcp.results.base import Moment, Result, Row

__all__ = [
    "Counts",
    "Deletion",
    "Example",
    "Excepted",
    "Outcome",
    "Part",
    "PastDeletion",
    "Plan",
    "PlanStatus",
    "Receipt",
    "Restored",
    "WayBack",
]

PlanStatus = Literal[
    "planned",
    "scheduled",
    "changed",
    "not_found",
    "declined",
    "wrong_number",
    "cannot_ask",
]
Status = Literal[PlanStatus, "complete", "incomplete"]

Outcome = Literal[
    "still_present",
    "not_allowed",
    "changed",
    "unknown",
    "gone_before",
    "not_found",
    "already_there",
    "id_taken",
    "not_restorable",
    "left",
]
"""Why something was not deleted, or not restored."""

WayBackState = Literal["whole", "words", "none", "off", "erased", "unknown"]


class Counts(Row):
    """How many of each kind. A plan and its receipt count the same things by the same names."""

    requests: int = 0
    interactions: int = 0
    learnings: int = 0
    session_outcomes: int = 0
    only_in_copies: Annotated[int, Field(description="what only recovery copies hold")] = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in Counts.model_fields})


class Part(Row):
    """How much of a set belongs to one user or session."""

    name: str
    count: int


class Example(Row):
    """One of what would go, or be put back, as plans show the first ones."""

    id: str
    user_id: str = ""
    created_at: Moment | None = None
    first_words: str = ""


class WayBack(Row):
    """Whether the deletion can be undone.

    Args:
        state: `whole` and `words` can be undone, the latter without times, base64 images and citations.
    """

    state: WayBackState
    sentence: str
    until: Moment | None = None


class Plan(Row):
    """What a deletion would take. Nothing of it is deleted yet."""

    why: Annotated[str, Field(description="that nothing is deleted, and why")]
    target: str
    goes: Counts
    users: list[Part] = []
    sessions: list[Part] = []
    first: Moment | None = None
    last: Moment | None = None
    examples: list[Example] = []
    not_found: list[str] = []
    not_found_count: int = 0
    remains: Annotated[list[str], Field(description="what stays, and what is not known")] = []
    way_back: WayBack | None = None
    confirm: Annotated[str, Field(description="the code that the next call brings")] = ""
    confirm_until: Moment | None = None
    number: Annotated[int, Field(description="of the scheduled deletion")] = 0
    next: str = ""


class Excepted(Row):
    """What was not deleted, or not restored, for one reason."""

    why: Outcome
    count: int
    ids: Annotated[list[str], Field(description="the first of them")] = []


class Receipt(Row):
    """What a deletion did, as read again afterwards. `deleted` and `not_deleted` add up to `planned`."""

    number: int
    planned: Counts
    deleted: Counts
    not_deleted: list[Excepted] = []
    remains: Annotated[list[str], Field(description="what is left, and what went wrong")] = []
    way_back: WayBack | None = None
    log: Annotated[str, Field(description="the value of the audit log's chain after this deletion")] = ""
    next: str = ""


class Deletion(Result):
    """The answer of a tool that deletes: its plan, or its receipt."""

    status: Status
    plan: Plan | None = None
    receipt: Receipt | None = None


class PastDeletion(Row):
    """One of the last deletions, as the state has it."""

    number: int
    at: Moment
    target: str
    status: Literal["running", "unfinished", "complete", "incomplete"]
    asked: int
    gone: int
    copied: Annotated[Counts | None, Field(description="what its recovery copy holds")] = None
    until: Annotated[Moment | None, Field(description="how long that copy is kept")] = None
    receipt: Receipt | None = None


class Restored(Result):
    """The deletions that can be undone, what a restore would put back, or what it did."""

    status: Literal["listed", "planned", "complete", "incomplete"]
    deletions: list[PastDeletion] = []
    number: int = 0
    planned: Counts | None = None
    restored: Counts | None = None
    not_restored: list[Excepted] = []
    examples: list[Example] = []
    remains: list[str] = []
    confirm: str = ""
    next: str = ""
