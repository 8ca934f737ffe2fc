"""What a detector gathers, in bounded memory: counts, the first ids, and examples without content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.catalog import Rule

__all__ = ["EXAMPLES", "NOTES_KEPT", "Example", "Found", "Group", "Next", "example"]

EXAMPLES: Final = 3
"""Requests a finding shows: enough to judge it by, few enough to read."""

SUBJECTS_KEPT: Final = 500
"""Ids or names a finding remembers; what is beyond is counted and found by the next audit."""

NOTES_KEPT: Final = 200
"""Kinds that are counted one by one; an answer shows the most frequent of them."""

REST: Final = "of further kinds"
"""The note for what is beyond `NOTES_KEPT`."""


@dataclass(frozen=True, slots=True)
class Example:
    """One request without its content. `created_at` is epoch seconds."""

    request_id: str
    session_id: str
    user_id: str
    source: str
    created_at: int
    copy_of: str = ""
    """Id of the request or session that it repeats, which stays."""
    note: str = ""
    """What was found in it, such as the kind of a secret."""


def example(item: RequestWithInteractions, *, copy_of: str = "", note: str = "") -> Example:
    request = item.request
    return Example(
        request_id=request.request_id,
        session_id=request.session_id,
        user_id=request.user_id,
        source=request.source,
        created_at=request.created_at,
        copy_of=copy_of,
        note=note,
    )


@dataclass(frozen=True, slots=True)
class Group:
    """What a filter selects of a finding: one caller's requests between two times, both inclusive."""

    user_id: str
    source: str
    agent_version: str
    start: int
    end: int
    count: int


@dataclass(frozen=True, slots=True)
class Next:
    """A call that follows from a finding.

    Args:
        tool: its name.
        arguments: exactly what to call it with.
        selects: how many of the finding's units it covers.
    """

    tool: str
    arguments: Mapping[str, Any]
    selects: int


@dataclass
class Found:
    """Gathers what one rule finds, in bounded memory.

    Args:
        count: how many units of it (requests, sessions, sources).
        subjects: their ids or names, the first of them only when there are very many.
        examples: requests of it, without content.
        notes: kinds and how many of each, never content.
        next, look: the call to make about it, and the one that shows what that would delete; set when all was seen.
    """

    rule: Rule
    count: int = 0
    subjects: list[str] = field(default_factory=list[str])
    examples: list[Example] = field(default_factory=list[Example])
    notes: dict[str, int] = field(default_factory=dict[str, int])
    kept: int = SUBJECTS_KEPT
    group: Group | None = None
    parts: dict[str, tuple[Sequence[str], bool]] = field(
        default_factory=dict[str, tuple[Sequence[str], bool]]
    )
    """Of sessions: the ids of the requests that go of each, and whether these are all that were seen of it."""
    owner: str = ""
    """Of learnings: whose the first `owned` subjects are."""
    owned: int = 0
    next: Next | None = None
    look: Next | None = None

    def add(
        self, subject: str, item: RequestWithInteractions | None = None, *, note: str = "", copy_of: str = ""
    ) -> None:
        """Count one unit; `item` is a request of it and `copy_of` what it repeats."""
        self._count(subject)
        if item is not None and len(self.examples) < EXAMPLES:
            self.examples.append(example(item, copy_of=copy_of, note=note))
        if note:
            known = note in self.notes or len(self.notes) < NOTES_KEPT
            note = note if known else REST
            self.notes[note] = self.notes.get(note, 0) + 1

    def note_example(self, one: Example, *, subject: str = "") -> None:
        """Count one unit of which only this request is left; the request itself unless `subject` names another."""
        self._count(subject or one.request_id)
        self.show(one)

    def show(self, one: Example) -> None:
        """Take a request as an example, without counting it."""
        if len(self.examples) < EXAMPLES:
            self.examples.append(one)

    def _count(self, subject: str) -> None:
        self.count += 1
        if len(self.subjects) < self.kept:
            self.subjects.append(subject)

    def clear(self) -> None:
        """Forget everything: what looked like the rule's is too little to be."""
        self.count = 0
        for gathered in (self.subjects, self.examples, self.notes):
            gathered.clear()
