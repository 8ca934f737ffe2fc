"""What `audit_traffic` answers with, apart from what builds it: the rules are imported when the first audit runs."""

from typing import Any, Required, TypedDict

from reflexio_mcp.render.result import Facts, GapFacts, Unlisted

__all__ = ["AuditFacts", "OverviewFacts"]

_Window = TypedDict("_Window", {"from": Unlisted[str], "to": Unlisted[str]}, total=False)
"""What was looked at; without `from`, everything before `to`."""


class OverviewFacts(_Window, total=False):
    """The numbers of a period."""

    oldest: Unlisted[str]
    newest: Unlisted[str]
    requests: Required[int]
    interactions: int
    sessions: int
    users: int
    evaluation_only: int
    each: Unlisted[Facts]
    per_day: Unlisted[Facts]
    by_source: Facts
    by_agent_version: Unlisted[Facts]
    by_user: Facts
    learning: Facts


class AuditFacts(OverviewFacts, GapFacts, total=False):
    """The numbers of a period, and what is wrong in it, in rows that `tabled` made. A finding's `next` takes as many as
    it counts where it has no `selects`. `each` holds what all requests have in common, that of a finding what its
    examples have: these are complete together with both."""

    notice: Unlisted[str]
    columns: Unlisted[dict[str, list[str]]]
    findings: Required[list[list[Any]]]
    complete: Unlisted[bool]
    filter: Unlisted[str]
    times: Unlisted[str]
    findings_left_out: Unlisted[int]
    not_run: list[Facts]
    speak_of_secrets: Unlisted[Facts]
    nothing_found: Unlisted[str]
    look_first: Unlisted[str]
    word_for_word_in_two_sessions: Unlisted[Facts]
    rest_of: Unlisted[str]
    left_out: str
    go_on: Facts
    next: str
