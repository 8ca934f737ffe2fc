"""How far a call is: a step and its numbers, without words."""

from collections.abc import Awaitable, Callable
from enum import StrEnum

__all__ = ["Progress", "Step", "no_progress"]


class Step(StrEnum):
    """What a call does just now, or counts. A step keeps its meaning in all versions."""

    WORKING = "working"
    LOOKING_THROUGH = "looking_through"
    LOOKING_UP = "looking_up"
    READING = "reading"
    EXPORTING = "exporting"
    STORING = "storing"
    DELETING = "deleting"
    RESTORING = "restoring"
    WAITING_FOR_ANSWER = "waiting_for_answer"
    # These count.
    REQUESTS_LOOKED_UP = "requests_looked_up"
    REQUESTS_AUDITED = "requests_audited"
    ITEMS_DELETED = "items_deleted"
    REQUESTS_RESTORED = "requests_restored"
    REQUESTS_IMPORTED = "requests_imported"
    ROWS_EXPORTED = "rows_exported"
    USERS_LEARNED = "users_learned"


Progress = Callable[[Step, int, int | None], Awaitable[None]]
"""Takes a step, how many are done, and of how many if that is known."""


async def no_progress(step: Step, done: int, total: int | None) -> None:
    """Report nothing."""
