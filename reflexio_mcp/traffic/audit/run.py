"""One pass over a filter's traffic: what it holds, and what is wrong with it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.traffic.audit.findings import Finding, NotRun
from reflexio_mcp.traffic.audit.learning import LearningChecks
from reflexio_mcp.traffic.audit.next_call import Offer, next_call
from reflexio_mcp.traffic.audit.overview import DAY, Overview
from reflexio_mcp.traffic.content import content_chars
from reflexio_mcp.traffic.reading.filters import PART_OF_SESSIONS, TrafficFilter, is_part_of_sessions
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionSlice
from reflexio_mcp.traffic.rules import secrets
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen, stop_if_cancelled
from reflexio_mcp.traffic.rules.duplicates import CopiedSessions, Duplicates
from reflexio_mcp.traffic.rules.found import Found
from reflexio_mcp.traffic.rules.nearly_empty import NearlyEmpty
from reflexio_mcp.traffic.rules.personal import NOT_LOOKED_FOR, PersonalData
from reflexio_mcp.traffic.rules.planted import Planted
from reflexio_mcp.traffic.rules.sessions import SharedSessions, SplitConversations, TemporarySessions
from reflexio_mcp.traffic.rules.sources import TestTraffic, Unversioned, VolatileSources
from reflexio_mcp.traffic.rules.table import RULES
from reflexio_mcp.traffic.scope import Scope

__all__ = ["DEFAULT_SECONDS", "Audit", "run_audit"]

DEFAULT_SECONDS: Final = 7 * DAY

SESSIONS_AT_ONCE: Final = 100
"""Sessions read at a time: what is held in memory besides the counters."""

REQUESTS_A_REPORT: Final = 100
"""Requests between two reports of progress."""

Progress = Callable[[str, int, int | None], Awaitable[None]]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        filter: what was looked at, its times resolved and its end frozen.
        overview: the numbers.
        findings: the gravest first.
        not_run: rules that could not be applied.
    """

    filter: TrafficFilter
    overview: Overview
    findings: tuple[Finding, ...]
    not_run: tuple[NotRun, ...]


async def run_audit(
    scope: Scope,
    wanted: TrafficFilter,
    *,
    offer: Offer,
    progress: Progress | None = None,
    personal: bool = True,
    now: float | None = None,
) -> Audit:
    """Audit everything a filter selects, in one pass and bounded memory.

    Args:
        wanted: the filter; without a start it begins 7 days ago.
        offer: the tools that following calls may name.
        progress: told how many requests were looked at.
        personal: whether to look for personal data.
        now: the present, epoch seconds (the clock when `None`).
    """
    moment = int(time.time() if now is None else now)
    if wanted.start is None:
        wanted = replace(wanted, start=max(0, (wanted.end or moment) - DEFAULT_SECONDS))
    overview = Overview()
    learning = LearningChecks(moment)
    copied = CopiedSessions()
    detectors: list[Detector] = [
        TestTraffic(), VolatileSources(), Unversioned(), SharedSessions(), SplitConversations(),
        NearlyEmpty(), Planted(), Duplicates(), secrets.Secrets(),
    ]  # fmt: skip
    not_run: list[NotRun] = []
    if personal:
        detectors.append(PersonalData())
        not_run.append(NotRun("personal-data", NOT_LOOKED_FOR))
    else:
        not_run.append(NotRun("personal-data", "REFLEXIO_MCP_PERSONAL_DATA=0"))
    if not secrets.available():
        not_run.append(NotRun("probable-secret", secrets.MISSING))
    if is_part_of_sessions(wanted):
        not_run += [NotRun(one, PART_OF_SESSIONS) for one in ("copied-session", "temporary-session")]
    else:
        detectors += [TemporarySessions(moment), copied]
    if wanted.user_id:
        not_run.append(NotRun("shared-session", "only one user's traffic is looked at"))
    await _pass(scope, wanted, overview, learning, detectors, progress)
    if copied.left_out:
        not_run.append(NotRun("copied-session", f"{copied.left_out:,} requests were too many to compare"))
    if progress:
        await progress("checked the learning of", 0, None)
    if learning.candidates and (reason := await learning.ask(scope, overview)):
        not_run += [NotRun(found.rule.id, reason) for found in learning.founds]
    founds = {found.rule.id: found for one in detectors for found in one.founds}
    founds |= {found.rule.id: found for found in learning.founds}
    frozen = replace(wanted, end=overview.last if overview.requests else wanted.end)
    findings = [
        _finding(scope, founds[one.id], frozen, offer)
        for one in RULES
        if one.id in founds and founds[one.id].count
    ]
    return Audit(frozen, overview, tuple(findings), tuple(not_run))


async def _pass(
    scope: Scope,
    wanted: TrafficFilter,
    overview: Overview,
    learning: LearningChecks,
    detectors: list[Detector],
    progress: Progress | None,
) -> None:
    pager = SessionPager(scope, wanted, batch=SESSIONS_AT_ONCE)
    reported = 0
    async for session_slice in pager.slices():
        # Looking at texts takes a while: a worker thread leaves this one free for other calls.
        await anyio.to_thread.run_sync(_look, wanted, session_slice, overview, learning, detectors)
        if progress and overview.requests >= reported + REQUESTS_A_REPORT:
            reported = overview.requests
            await progress("looked at", reported, None)
    for detector in detectors:
        detector.finish()


def _look(
    wanted: TrafficFilter,
    session_slice: SessionSlice,
    overview: Overview,
    learning: LearningChecks,
    detectors: list[Detector],
) -> None:
    matching = wanted.pick(session_slice.requests)
    if not matching:
        return
    overview.sessions += 1
    for item in matching:
        overview.add(item, content_chars(item))
        learning.request(item)
        for detector in detectors:
            stop_if_cancelled()
            detector.request(item)
    seen = SessionSeen(session_slice.session_id, matching)
    for detector in detectors:
        detector.session(seen)


def _finding(scope: Scope, found: Found, wanted: TrafficFilter, offer: Offer) -> Finding:
    return Finding(
        rule=found.rule,
        count=found.count,
        subjects=tuple(found.subjects),
        examples=tuple(
            replace(one, fingerprint=scope.fingerprints.of_digest(one.digest)) for one in found.examples
        ),
        notes=tuple(f"{count:,} {note}" for note, count in found.notes.items()),
        next=next_call(found, wanted, offer),
        start=found.start,
        end=found.end,
    )
