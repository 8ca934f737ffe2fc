"""Audits as text: first what was not searched, then findings, then what each rule can and cannot know."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from reflexio_mcp.render.blocks import PAGE_FENCE_CHARS, Told, counted, lines, moment, row, sentence
from reflexio_mcp.render.reading import learning_lines
from reflexio_mcp.render.words import Words
from reflexio_mcp.results.audit import (
    AuditResult,
    Call,
    Count,
    DuplicateRun,
    FindingRow,
    Found,
    NotLooked,
    Place,
)
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["audit_text"]


SAID_FIRST: Final = frozenset({FactCode.REST_NOT_AUDITED, FactCode.PARTS_NOT_AUDITED})
"""Facts that stand before the findings: what was not searched."""


def audit_text(audit: AuditResult, words: Words) -> Told:
    traffic = audit.traffic
    about = f"looked at: {audit.filter}" if audit.filter else ""
    left_out = [fact for fact in audit.facts if fact.code in SAID_FIRST]
    if traffic.requests or audit.findings:
        whole = "" if left_out or traffic.requests == 1 else "all "
        kinds = len(audit.findings) + audit.findings_left_out
        count = f": {counted(kinds, 'kind')} of finding" if kinds else ""
        heading = f"Audit of {whole}{counted(traffic.requests, 'request')}{count}."
    else:
        heading = "Nothing to audit."
    return Told(
        lines(heading, words.say(left_out), not_looked_for(audit.not_looked_for, words)),
        [
            about,
            *_numbers(traffic),
            _names_with_counts(
                "judged by a person to be no problem, and not counted below", audit.no_problem
            ),
            *(line for finding in audit.findings for line in _finding(finding)),
        ],
        lines(
            words.say(fact for fact in audit.facts if fact.code not in SAID_FIRST),
            words.say([Fact(code=FactCode.FINDINGS_LEFT_OUT, number=audit.findings_left_out)])
            if audit.findings_left_out
            else "",
        ),
        cursor=audit.cursor,
        chars=PAGE_FENCE_CHARS,
    )


def not_looked_for(rows: Sequence[NotLooked], words: Words) -> list[str]:
    return [f"Not looked for: {', '.join(row.findings)}. {words.of(row.because)}" for row in rows]


def _numbers(traffic: Found) -> list[str]:
    return [
        row(
            counted(traffic.interactions, "interaction"),
            counted(traffic.sessions, "session"),
            counted(traffic.users, "user"),
            f"{counted(traffic.evaluation_only, 'request')} for evaluation only, from which Reflexio does not learn"
            if traffic.evaluation_only
            else "",
            f"{moment(traffic.oldest)} to {moment(traffic.newest)}" if traffic.oldest else "",
        ),
        _names_with_counts("users", traffic.by_user),
        _names_with_counts("sources", traffic.by_source),
        _names_with_counts("agent versions", traffic.by_agent_version),
    ]


def _names_with_counts(what: str, counts: list[Count]) -> str:
    return f"{what}: {', '.join(f'{count.name} {count.count:,}' for count in counts)}" if counts else ""


def unit_of(finding: str) -> str:
    return "learning" if finding in ("orphaned-learning", "stale-learning") else "request"


def _finding(finding: FindingRow) -> list[str]:
    unit = unit_of(finding.finding)
    kinds = ", ".join(f"{kind.name} {kind.count:,}" for kind in finding.kinds)
    kinds = f" ({kinds})" if kinds else ""
    places = f"{counted(finding.place_count, 'place')} in " if finding.place_count else ""
    shown = f"; {len(finding.places)} shown" if finding.places and len(finding.places) < finding.count else ""
    return [
        f"{finding.severity}: {finding.finding}, {places}{counted(finding.count, unit)}{kinds}{shown}",
        f"  {sentence(finding.why, finding.advice)}",
        # The first places belong to the learnings below. A learning's row says more than its place.
        *(f"  - {_place(place)}" for place in finding.places[len(finding.learnings) :]),
        *("  - " + learning_lines(learning).replace("\n", "\n    ") for learning in finding.learnings),
        *(line for run in finding.runs for line in _run(run)),
        f"  learned from these: {_call(finding.learned)}" if finding.learned else "",
        f"  show: {_call(finding.show)}" if finding.show else "",
        f"  then: {_call(finding.act)}" if finding.act else "",
    ]


def _run(run: DuplicateRun) -> list[str]:
    users = f" of {run.users:,} users" if run.users > 1 else ""
    return [
        row(
            f"  run of {counted(run.requests, 'request')} in {counted(run.sessions, 'session')}{users}",
            _source(run.source),
            _between(run.first, run.last),
            f"what it repeats stays: {_source(run.stays_source)}, {_between(run.stays_first, run.stays_last)}",
        ),
        f"    this run alone: {_call(run.act)}" if run.act else "",
    ]


def _source(source: str) -> str:
    return f"source {source}" if source else "no source"


def _between(first: datetime, last: datetime) -> str:
    return moment(first) if first == last else f"{moment(first)} to {moment(last)}"


def _place(place: Place) -> str:
    return row(
        str(place.number or ""),
        place.request_id or place.learning_id,
        f"interaction {place.interaction_id}" if place.interaction_id is not None else "",
        f"session {place.session_id}" if place.session_id else "",
        f"user {place.user_id}" if place.user_id else "",
        f"{place.created_at:%Y-%m-%d %H:%M}" if place.created_at else "",
        place.role,
        f"{place.points} points" if place.points else "",
        place.kind,
        place.around,
        f"repeats {place.repeats}, which stays" if place.repeats else "",
    )


def _call(call: Call) -> str:
    return f"{call.tool} {json.dumps(call.arguments, ensure_ascii=False, separators=(',', ':'))}"
