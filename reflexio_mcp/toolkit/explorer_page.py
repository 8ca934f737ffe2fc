"""Calls that the explorer's page makes, told apart from the model's.

The page gets a pass with the results that it asks for, in `_meta`, which hosts keep from the model; it sends the
pass back with every call. What a person decided in the page then counts as a plan that was shown and agreed to, and
the model is told afterwards what the person did. A host that drops `_meta` loses both and nothing else: the call is
then treated like any other.
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from reflexio_mcp.traffic.deletion.codes import CodeMaker

__all__ = ["PAGE_KEY", "PageNotes", "has_pass", "make_pass"]

PAGE_KEY: Final = "reflexio-mcp/page"
"""Key of `_meta`, in results and in calls."""

_PURPOSE: Final = "explorer page"

NOTES_KEPT: Final = 20


def make_pass(codes: CodeMaker) -> dict[str, Any]:
    """The pass for a page of this scope, as the `_meta` of a result."""
    return {PAGE_KEY: codes.make(_PURPOSE, count=1, now=time.time())}


def has_pass(codes: CodeMaker, meta: Mapping[str, Any] | None) -> bool:
    """Whether a call's `_meta` brings a pass of this scope that is not older than a day."""
    given = (meta or {}).get(PAGE_KEY)
    return isinstance(given, str) and codes.check(given, _PURPOSE, now=time.time()).good


class PageNotes:
    """What people did in the page since the model was last answered, by the scope's owner."""

    def __init__(self) -> None:
        self._notes: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, owner: str, done: str) -> None:
        """Note something, such as `3 requests were deleted`."""
        notes = self._notes[owner]
        notes.append(done)
        del notes[:-NOTES_KEPT]

    def take(self, owner: str) -> str:
        """What was noted, as one sentence; empty where nothing was. It is told once."""
        notes = self._notes.pop(owner, [])
        return f"Since then, {' and '.join(notes)} in the explorer." if notes else ""
