"""Findings that people judged to be no problem: an audit counts them apart."""

from collections.abc import Awaitable, Callable
from typing import Final

from reflexio_mcp.results.facts import Fact
from reflexio_mcp.state.judgements import Judged, StoredAt
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.audit.rules import FINDINGS, FINDINGS_FROM_SERVICE
from reflexio_mcp.traffic.audit.rules.base import Finding
from reflexio_mcp.traffic.errors import state_facts
from reflexio_mcp.traffic.reading.filters import EXPIRED

__all__ = ["JUDGED_BY_PEOPLE", "NoProblem", "judged_in"]

JUDGED_BY_PEOPLE: Final = tuple(name for name in FINDINGS if name not in {EXPIRED, *FINDINGS_FROM_SERVICE})
"""The others are what the operator's policy or the service says."""


class NoProblem:
    """What was judged, for looking up findings.

    Args:
        facts: why nothing is known, if the state cannot be read. Every finding counts then.
    """

    def __init__(self, judged: Judged | None = None, facts: list[Fact] | None = None) -> None:
        self._judged = judged or Judged()
        self.facts = facts or []

    def has(self, finding: Finding) -> bool:
        request = finding.request
        return self._judged.has(finding.name, StoredAt(request.request_id, request.created_at))


async def judged_in(state: State, owner: Callable[[], Awaitable[Owner]]) -> NoProblem:
    """Read what was judged. If the state cannot be read, the result says so and has no judgement."""
    try:
        return NoProblem(await in_thread(state.judgements.of, await owner()))
    except StateUnusable as error:
        return NoProblem(facts=state_facts(error))
