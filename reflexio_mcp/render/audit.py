"""Audits as text: first what was not searched, then findings, then what was not found."""

import json
from typing import Final

from reflexio_mcp.render.blocks import Told, counted, lines, moment, row, sentence
from reflexio_mcp.render.words import Words
from reflexio_mcp.results.audit import AuditResult, Call, Count, FindingRow, Found, Place
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["audit_text"]


BEFORE: Final = frozenset({FactCode.REST_NOT_AUDITED, FactCode.PARTS_NOT_AUDITED})
"""Facts that stand before the findings: what was not searched."""


def audit_text(audit: AuditResult, words: Words) -> Told:
    traffic = audit.traffic
    about = f"looked at: {audit.filter}" if audit.filter else ""
    left_out = [fact for fact in audit.facts if fact.code in BEFORE]
    if traffic.requests or audit.findings:
        whole = "" if left_out or traffic.requests == 1 else "all "
        count = len(audit.findings) + audit.findings_left_out
        heading = f"Audit of {whole}{counted(traffic.requests, 'request')}: {counted(count, 'finding')}."
    else:
        heading = "Nothing to audit."
    return Told(
        lines(heading, words.say(left_out), _not_looked_for(audit, words)),
        [about, *_numbers(traffic), *(line for one in audit.findings for line in _finding(one))],
        lines(
            words.say(fact for fact in audit.facts if fact.code not in BEFORE),
            words.say([Fact(code=FactCode.FINDINGS_LEFT_OUT, number=audit.findings_left_out)])
            if audit.findings_left_out
            else "",
        ),
        cursor=audit.cursor,
        values=f"Looked for in the stored requests and not found: {', '.join(audit.not_found_in_requests)}."
        if audit.not_found_in_requests and traffic.requests
        else "",
    )


def _not_looked_for(audit: AuditResult, words: Words) -> list[str]:
    return [
        f"Not looked for: {', '.join(one.findings)}. {words.of(one.because)}" for one in audit.not_looked_for
    ]


def _numbers(traffic: Found) -> list[str]:
    return [
        row(
            counted(traffic.interactions, "interaction"),
            counted(traffic.sessions, "session"),
            counted(traffic.users, "user"),
            f"{counted(traffic.evaluation_only, 'request')} for evaluation only"
            if traffic.evaluation_only
            else "",
            f"{moment(traffic.oldest)} to {moment(traffic.newest)}" if traffic.oldest else "",
        ),
        _most("users", traffic.by_user),
        _most("sources", traffic.by_source),
        _most("agent versions", traffic.by_agent_version),
    ]


def _most(what: str, counts: list[Count]) -> str:
    return f"{what}: {', '.join(f'{one.name} {one.count:,}' for one in counts)}" if counts else ""


def _finding(one: FindingRow) -> list[str]:
    unit = "learning" if one.finding in ("orphaned-learning", "stale-learning") else "request"
    kinds = ", ".join(f"{kind.name} {kind.count:,}" for kind in one.kinds)
    kinds = f" ({kinds})" if kinds else ""
    return [
        f"{one.severity}: {one.finding}, {counted(one.count, unit)}{kinds}",
        f"  {sentence(one.why, one.advice)}",
        *(f"  - {_place(place)}" for place in one.places),
        f"  show: {_call(one.show)}" if one.show else "",
        f"  then: {_call(one.act)}" if one.act else "",
    ]


def _place(place: Place) -> str:
    return row(
        place.request_id or place.learning_id,
        f"interaction {place.interaction_id}" if place.interaction_id is not None else "",
        f"session {place.session_id}" if place.session_id else "",
        f"user {place.user_id}" if place.user_id else "",
        f"{place.created_at:%Y-%m-%d %H:%M}" if place.created_at else "",
        place.kind,
        place.around,
        f"repeats {place.repeats}, which stays" if place.repeats else "",
    )


def _call(call: Call) -> str:
    return f"{call.tool} {json.dumps(call.arguments, ensure_ascii=False, separators=(',', ':'))}"
