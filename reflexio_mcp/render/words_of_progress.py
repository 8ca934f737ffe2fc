"""The words of progress, which hosts show to a person."""

from collections.abc import Mapping
from typing import Final

from reflexio_mcp.results.progress import Step

__all__ = ["progress_words"]

_STEPS: Final[Mapping[Step, str]] = {
    Step.WORKING: "working",
    Step.LOOKING_THROUGH: "looking through",
    Step.LOOKING_UP: "looking up",
    Step.READING: "reading",
    Step.EXPORTING: "exporting",
    Step.STORING: "storing and learning",
    Step.DELETING: "deleting",
    Step.RESTORING: "restoring",
    Step.WAITING_FOR_ANSWER: "waiting for the person's answer",
    Step.REQUESTS_LOOKED_UP: "requests looked up",
    Step.REQUESTS_AUDITED: "requests looked at",
    Step.ITEMS_DELETED: "deleted",
    Step.REQUESTS_RESTORED: "requests restored",
    Step.REQUESTS_IMPORTED: "requests imported",
    Step.ROWS_EXPORTED: "exported",
    Step.USERS_LEARNED: "users from whom Reflexio has finished learning",
}


def progress_words(step: Step, done: int | None = None, total: int | None = None) -> str:
    """Return `requests looked up: 2,000 of 3,000`, or the step alone if nothing is counted."""
    if done is None:
        return _STEPS[step]
    return f"{_STEPS[step]}: {done:,}{f' of {total:,}' if total is not None else ''}"
