"""Audits as text: first what was not searched, then findings, then what was not found."""

import json

from reflexio_mcp.render.blocks import counted, fenced, lines, moment, row, sentence
from reflexio_mcp.results.audit import AuditResult, Call, Count, FindingRow, Found, Place

__all__ = ["audit_text"]


def audit_text(audit: AuditResult) -> str:
    traffic = audit.traffic
    about = f"looked at: {audit.filter}" if audit.filter else ""
    if not traffic.requests and not audit.findings:
        return lines(
            _left_out(audit),
            "Nothing to audit.",
            fenced(about),
            "" if audit.left_out else "Try other filters or an earlier start_time.",
            _not_looked_for(audit),
        )
    whole = "" if audit.left_out or audit.unreadable or traffic.requests == 1 else "all "
    count = len(audit.findings) + audit.findings_left_out
    return lines(
        f"Audit of {whole}{counted(traffic.requests, 'request')}: {counted(count, 'finding')}.",
        _left_out(audit),
        _not_looked_for(audit),
        fenced([about, *_numbers(traffic), *(line for one in audit.findings for line in _finding(one))]),
        f"{counted(audit.findings_left_out, 'finding')} left out: audit a shorter time or one user."
        if audit.findings_left_out
        else "",
        f"Looked for in the stored requests and not found: {', '.join(audit.not_found_in_requests)}."
        if audit.not_found_in_requests
        else "",
        "Show the person what was found before anything is deleted."
        if any(one.act for one in audit.findings)
        else "",
    )


def _left_out(audit: AuditResult) -> str:
    return sentence(
        f"Not audited: {audit.left_out}." if audit.left_out else "",
        f"Continue with audit_traffic cursor={audit.cursor}" if audit.cursor else "",
        f"The service could not return {counted(audit.unreadable, 'part')} of the traffic."
        if audit.unreadable
        else "",
    )


def _not_looked_for(audit: AuditResult) -> str:
    parts = [f"{', '.join(one.findings)} ({one.reason})" for one in audit.not_looked_for]
    return f"Not looked for: {'; '.join(parts)}." if parts else ""


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
