"""Reports what happened since a time, from the lists that tell of it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.audit import AuditResult, NotLooked
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import PastDeletion, Who
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import LearningPage
from reflexio_mcp.results.report import FindingCount, Report
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.state import RECORD_DAYS, State, in_thread
from reflexio_mcp.traffic.audit.calls import Offer
from reflexio_mcp.traffic.audit.judged import NoProblem
from reflexio_mcp.traffic.audit.rules.redaction import without_key
from reflexio_mcp.traffic.audit.run import run_audit
from reflexio_mcp.traffic.deletion.past import last_deletions, last_logged
from reflexio_mcp.traffic.learnings.listing_changes import list_changes
from reflexio_mcp.traffic.learnings.select import Selection
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filters import EXPIRED, TrafficFilter
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Span", "make_report"]

DAY: Final = 86_400


@dataclass(frozen=True)
class Span:
    """From one second to another, which is not part of it, in epoch seconds."""

    since: int
    until: int

    def has(self, moment: datetime) -> bool:
        return self.since <= moment.timestamp() < self.until


async def make_report(scope: Scope, state: State, owner: Owner, span: Span, *, personal: bool) -> Report:
    """Report everything of a scope. Raises `StateUnusable`.

    Args:
        owner: the owner of the records in this scope.
        personal: look for personal data.
    """
    judged = NoProblem(await in_thread(state.judgements.of, owner))
    audits = await _audits(scope, span, judged, personal=personal)
    changes = await _changes(scope, state, owner, span)
    deletions = [
        _redacted(deletion)
        for deletion in await last_deletions(scope, state, owner, since=span.since)
        if span.has(deletion.at)
    ]
    logged = [
        line.model_copy(update={"target": without_key(line.target)})
        for line in await last_logged(state, owner, since=span.since)
        if span.has(line.at)
    ]
    recorded_since = span.until - RECORD_DAYS * DAY
    return Report(
        since=at(span.since),
        until=at(span.until),
        changes=[change for change in changes.changes if span.has(change.at)] if changes else [],
        requests=sum(audit.traffic.requests for audit in audits),
        findings=_counted(audits),
        not_looked_for=_not_looked_for(audits),
        expired=[deletion for deletion in deletions if _is_expiry(deletion)],
        deletions=[deletion for deletion in deletions if not _is_expiry(deletion)],
        recorded_since=at(recorded_since) if span.since < recorded_since else None,
        logged=logged,
        facts=[*(changes.facts if changes else []), *_limits(audits)],
    )


async def _audits(scope: Scope, span: Span, judged: NoProblem, *, personal: bool) -> list[AuditResult]:
    """Audit what was stored in this time, in as many parts as it takes."""
    asked = TrafficFilter(user_id=scope.user_id, start_time=span.since, end_time=span.until - 1)
    audit = partial(
        run_audit, scope, asked, offer=Offer(frozenset(), scope), personal=personal, judged=judged
    )
    audits = [await audit()]
    while cursor := audits[-1].cursor:
        after = open_cursor(scope, cursor, "audit", asked)
        audits.append(await audit(after=after))
    return audits


async def _changes(scope: Scope, state: State, owner: Owner, span: Span) -> LearningPage | None:
    """List the changes in what is believed; `None` if nothing learns."""
    if not scope.learns:
        return None
    everything = Selection(scope.user_id)
    return await list_changes(
        scope,
        state,
        owner,
        everything,
        span.since,
        limit=sys.maxsize,
        room=lambda: Room(sys.maxsize, sys.maxsize),
    )


def _counted(audits: Sequence[AuditResult]) -> list[FindingCount]:
    counted: dict[str, FindingCount] = {}
    for audit in audits:
        for row in audit.findings:
            before = counted[row.finding].count if row.finding in counted else 0
            counted[row.finding] = FindingCount(
                finding=row.finding, severity=row.severity, count=before + row.count
            )
    return list(counted.values())


def _not_looked_for(audits: Sequence[AuditResult]) -> list[NotLooked]:
    """Return what at least one part of the audit did not look for, by reason."""
    by_reason: dict[FactCode, NotLooked] = {}
    for audit in audits:
        for row in audit.not_looked_for:
            known = by_reason.get(row.because.code)
            findings = dict.fromkeys([*known.findings, *row.findings] if known else row.findings)
            by_reason[row.because.code] = row.model_copy(update={"findings": list(findings)})
    return list(by_reason.values())


def _limits(audits: Sequence[AuditResult]) -> list[Fact]:
    """Return what the parts of an audit could not read."""
    unread = sum(
        fact.number or 0
        for audit in audits
        for fact in audit.facts
        if fact.code is FactCode.PARTS_NOT_AUDITED
    )
    return [Fact(code=FactCode.PARTS_NOT_AUDITED, number=unread)] if unread else []


def _is_expiry(deletion: PastDeletion) -> bool:
    return deletion.by is not None and deletion.by.finding == EXPIRED


def _redacted(deletion: PastDeletion) -> PastDeletion:
    """Leave out what may repeat a stored text, and redact what people typed."""
    by = deletion.by
    if by:
        by = Who(**{name: without_key(text) for name, text in by.model_dump().items()})
    return deletion.model_copy(update={"receipt": None, "target": without_key(deletion.target), "by": by})
