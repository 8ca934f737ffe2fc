"""What an audit gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reflexio_mcp.traffic.rules.found import Example
from reflexio_mcp.traffic.rules.table import Rule

__all__ = ["Finding", "Next", "NotRun"]


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


@dataclass(frozen=True)
class Finding:
    """One rule's result.

    Args:
        rule: the rule.
        count: how many units of it (requests, sessions, sources).
        subjects: their ids or names, the first of them only when there are very many.
        examples: requests of it, without content.
        notes: kinds and counts, never content.
        next: the call to make.
        look: the call that shows what `next` would delete.
        start, end: first and last time among the requests that were found, epoch seconds.
    """

    rule: Rule
    count: int
    subjects: tuple[str, ...]
    examples: tuple[Example, ...]
    notes: tuple[str, ...]
    next: Next | None
    look: Next | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NotRun:
    """A rule that could not be applied, and why."""

    rule_id: str
    reason: str
