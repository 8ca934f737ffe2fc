"""An audit: the numbers of a period, and findings that can be acted on. Never a stored content."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from reflexio_mcp.render.audit_facts import AuditFacts, OverviewFacts
from reflexio_mcp.render.gaps import gap_facts, gap_lines
from reflexio_mcp.render.result import BUDGET, Facts, Rendered, compact_json, counted, dense, joined, tabled
from reflexio_mcp.render.stored_text import NOTICE, fence, shown_id, shown_name
from reflexio_mcp.traffic.audit.overview import DAY, Overview, Tally
from reflexio_mcp.traffic.audit.run import Audit
from reflexio_mcp.traffic.reading.filters import ASSUMED_UTC
from reflexio_mcp.traffic.reading.listing import in_words as asked
from reflexio_mcp.traffic.reading.listing import nothing_stored
from reflexio_mcp.traffic.rules.catalog import RULES
from reflexio_mcp.traffic.rules.duplicates import WORD_FOR_WORD
from reflexio_mcp.traffic.rules.found import Example, Found, Next
from reflexio_mcp.traffic.rules.name_heuristics import VOLATILE_SOURCES, shape_of_source
from reflexio_mcp.traffic.rules.secrets import without_key
from reflexio_mcp.traffic.rules.told_secrets import SENSITIVE_WORDS
from reflexio_mcp.traffic.showing import as_name
from reflexio_mcp.traffic.times import iso

__all__ = ["audited"]

TOP: Final = 10
BARS: Final = 14
"""Bars of the line of days: two weeks; longer periods have several days a bar."""

NAME_SHOWN: Final = 60

LESS: Final = "audit a shorter time, one source or one user."

REST: Final = (
    "This is the rest of an audit: what came before is in the answers before this one. Of a session in which something "
    "was deleted meanwhile, both may count a request."
)

SUBJECTS: Final = 5

NOTES_SHOWN: Final = 8

OTHER_TWINS: Final = "ther requests with question and answer, word for word in two sessions of one user"

WHICH_CHARS: Final = 1_200
"""For the ids of sessions that are deleted one by one: the call about them names one."""

_LEVELS: Final = (
    (2, TOP, SUBJECTS, True),
    (2, 6, 3, True),
    (1, 4, 2, True),
    (0, 3, 1, True),
    (0, 3, 1, False),
)
"""Examples a finding, names a count, names of a finding, and whether it says why it matters and what to do instead:
less of each where the answer would be too long."""


def audited(audit: Audit) -> Rendered:
    """An audit in both forms; fewer examples and names first, then fewer findings, until it fits."""
    rendered = Rendered("", {})
    for examples, top, subjects, reasons in _LEVELS:
        rendered = _render(audit, examples, top, subjects, reasons, len(audit.findings))
        if len(rendered.text) <= BUDGET:
            return rendered
    for shown in range(len(audit.findings) - 1, -1, -1):
        rendered = _render(audit, 0, 3, 1, False, shown)
        if len(rendered.text) <= BUDGET:
            break
    return rendered


def _render(audit: Audit, examples: int, top: int, subjects: int, explained: bool, shown: int) -> Rendered:
    overview = audit.overview
    if not overview.requests:
        return _nothing(audit)
    findings = [
        _finding_facts(
            one, examples, subjects, one.rule.reasons(learns=audit.learns) if explained else ("", "")
        )
        for one in audit.findings[:shown]
    ]
    overview_facts = _overview_facts(audit, top)
    for one in findings:
        _put_once(one, overview_facts.get("each", {}))
    facts: AuditFacts = {"notice": NOTICE, **overview_facts, "findings": []}
    reasons: dict[str, list[str]] = {}
    for one in audit.not_run:
        reasons.setdefault(one.reason, []).append(one.rule_id)
    count = len(audit.findings)
    window = f"from {facts.get('from', 'the beginning')} to {iso(audit.end)}"
    if audit.filter.assumed_utc:
        facts["times"] = ASSUMED_UTC
        window += f" ({ASSUMED_UTC})"
    facts["complete"] = not (audit.left_out or audit.gaps or audit.goes_on)
    whole = "all " * (facts["complete"] and overview.requests > 1)
    if about := asked(replace(audit.filter, start=None, end=None)):
        facts["filter"] = about
        window = f"({about}) {window}"
    found = f": {counted(count, 'finding')}" if count else ""
    head = f"Audit of {whole}{counted(overview.requests, 'request')} {window}{found}."
    # First what was not looked for: what was found, or not, is read in its light.
    before = gap_lines(audit.gaps)
    if reasons:
        missed = "; ".join(f"{', '.join(ids)} ({reason})" for reason, ids in reasons.items())
        before.append(f"Not looked for: {missed}.")
    if audit.goes_on:
        facts["rest_of"] = REST
        before.insert(0, REST)
    if audit.left_out:
        facts["left_out"] = audit.left_out
        before.insert(0, f"Not all: {audit.left_out}.{_go_on(audit, facts)}")
    if not count:
        before.append("Nothing was found of what was looked for.")
    facts = {**facts, **gap_facts(audit.gaps)}
    if reasons:
        facts["not_run"] = [{"ids": ids, "reason": reason} for reason, ids in reasons.items()]
    if audit.speak_of_secrets:
        facts["speak_of_secrets"] = {
            "words": SENSITIVE_WORDS,
            "requests": audit.speak_of_secrets,
            "first": [shown_id(one) for one in audit.speaking],
        }
    lines = _overview_lines(facts)
    for one in findings:
        lines += _finding_lines(one)
    if audit.other_twins is not None:
        facts["word_for_word_in_two_sessions"] = twins = _twin_facts(audit)
        lines += _twin_lines(twins)
    after: list[str] = []
    if said := _look_first(audit.findings[:shown]):
        facts["look_first"] = said
        after.append(said)
    after += _nothing_found(audit, facts)
    if audit.other_twins == 0:
        after.append(f"O{OTHER_TWINS}: none. Two users are not compared.")
    if left := len(audit.findings) - shown:
        facts["findings_left_out"] = left
        facts["next"] = LESS
        after.append(f"{counted(left, 'finding')} left out: {LESS}")
    text = "\n".join([head, *before, fence("\n".join(lines)), *after])
    others = {key: value for key, value in facts.items() if key != "findings"}
    return Rendered(text, tabled({**others, "findings": findings}, "top", "findings", "examples"))


def _nothing(audit: Audit) -> Rendered:
    """An audit without a request. Only one that looked at everything says that there is none."""
    about = asked(audit.filter)
    where = f" ({about})" if about else ""
    facts: AuditFacts = {"requests": 0, "findings": []}
    first: list[str] = []
    if audit.left_out or audit.goes_on or audit.gaps:
        facts["complete"] = False
    if audit.left_out:
        facts["left_out"] = audit.left_out
        first.append(f"Not all: {audit.left_out}.{_go_on(audit, facts)}")
        text = f"Nothing to audit{where} in what this call looked at."
    elif audit.goes_on:
        text = f"Nothing more to audit{where}" + (
            " in what could be read." if audit.gaps else ": what there was is in the answers before this one."
        )
    else:
        text = f"Nothing to audit{where}."
        if not (audit.filter.narrows or audit.gaps):
            text = nothing_stored(audit.filter)
        if audit.filter.start is not None:
            text += " Try an earlier start_time."
        if audit.learns:
            text += " What was learned may still be there: list_learnings has it, of each user."
    facts = {**facts, "next": text, **gap_facts(audit.gaps)}
    return Rendered("\n".join([*first, text, *gap_lines(audit.gaps)]), facts)


def _nothing_found(audit: Audit, facts: AuditFacts) -> list[str]:
    """The rules that were looked for in vain."""
    known = {one.rule.id for one in audit.findings} | {one.rule_id for one in audit.not_run}
    if "personal-data" in known:
        known |= {rule.id for rule in RULES if rule.id.startswith("personal-")}
    unfound = [rule for rule in RULES if rule.id not in known]
    if not unfound:
        return []
    named = [f"{rule.id} ({rule.within})" if rule.within else rule.id for rule in unfound]
    facts["nothing_found"] = ", ".join(named)
    return [f"Looked for and not found: {facts['nothing_found']}."]


def _twin_facts(audit: Audit) -> Facts:
    """What repeats a request of another session and is no finding."""
    examples = [
        {
            "request_id": shown_id(one.request_id),
            "session_id": shown_id(without_key(one.session_id)),
            "same_as": shown_id(one.older_request_id),
            "in_session": shown_id(without_key(one.older_session_id)),
        }
        for one in audit.twins
    ]
    return dense(
        {"beside_findings": audit.other_twins, "examples": examples, "look": _call_facts(audit.look_at_twins)}
    )


def _twin_lines(facts: Facts) -> list[str]:
    """None for none: that is said behind what was stored."""
    if not facts["beside_findings"]:
        return []
    told = [
        f"{one['request_id']} of {one['session_id']} as {one['same_as']} of {one['in_session']}"
        for one in facts.get("examples", ())
    ]
    lines = [f"o{OTHER_TWINS}: {facts['beside_findings']:,} ({'; '.join(told)}); people ask the same again"]
    if look := facts.get("look"):
        lines.append(f" look: {look['tool']} {compact_json(look['arguments'])}")
    return lines


def _go_on(audit: Audit, facts: AuditFacts) -> str:
    if audit.go_on is None:
        return ""
    # Not as an id is shown: those are cut.
    facts["go_on"] = call = {"tool": audit.go_on.tool, "arguments": dict(audit.go_on.arguments)}
    return f" Go on with {call['tool']} {compact_json(call['arguments'])}"


def _overview_facts(audit: Audit, top: int) -> OverviewFacts:
    overview = audit.overview
    facts: OverviewFacts = {
        "to": iso(audit.end),
        "oldest": iso(overview.first),
        "newest": iso(overview.last),
        "requests": overview.requests,
        "interactions": overview.interactions,
        "sessions": overview.sessions,
        "users": overview.users.distinct,
        "evaluation_only": overview.evaluation_only,
        "per_day": _days(overview),
    }
    each: Facts = {}
    if (source := _only(overview.sources)) is None:
        facts["by_source"] = _top(_by_shape(overview.sources), top, str)
    else:
        each["source"] = shown_name(without_key(source)) or "(none)"
    if (version := _only(overview.agent_versions)) is None:
        facts["by_agent_version"] = _top(overview.agent_versions, top, as_name)
    else:
        each["agent_version"] = shown_name(without_key(as_name(version))) or "(none)"
    if (user := _only(overview.users)) is None:
        facts["by_user"] = _top(overview.users, top, str)
    else:
        each["user_id"] = shown_id(without_key(user)) or "(none)"
    if each:
        facts["each"] = each
    if audit.start is not None:
        facts["from"] = iso(audit.start)
    if overview.learning_checked and overview.learning_tracked:
        facts["learning"] = {
            "asked_about": overview.learning_checked,
            "pending": overview.learning_pending,
            "failed": overview.learning_failed,
        }
    return facts


def _only(tally: Tally) -> str | None:
    """The name that all requests have: a table of one would say nothing else."""
    return next(iter(tally.counts)) if tally.distinct == 1 and not tally.beyond else None


def _by_shape(sources: Tally) -> Tally:
    """Sources that differ in a date, a time or an id only, counted as one: `job-*`."""
    shapes: dict[str, list[str]] = {}
    for name in sources.counts:
        shapes.setdefault(shape_of_source(name), []).append(name)
    grouped = Tally()
    grouped.beyond = sources.beyond
    for shape, names in shapes.items():
        for name in names:
            grouped.counts[shape if len(names) >= VOLATILE_SOURCES else name] += sources.counts[name]
    return grouped


def _top(tally: Tally, top: int, named: Any) -> Facts:
    most = tally.counts.most_common(top)
    # A list: names that look alike when they are clipped are still counted apart.
    facts: Facts = {
        "top": [
            {"name": shown_name(without_key(named(name)), NAME_SHOWN) or "(none)", "count": count}
            for name, count in most
        ]
    }
    others = tally.distinct - len(most)
    if others or tally.beyond:
        facts["others"] = others
        facts["others_requests"] = tally.counts.total() - sum(count for _, count in most) + tally.beyond
    return facts


def _days(overview: Overview) -> Facts:
    first, last = overview.first // DAY, overview.last // DAY
    width = -(-(last - first + 1) // BARS)
    bars = [0] * ((last - first) // width + 1)
    for day, count in overview.days.items():
        bars[(day - first) // width] += count
    return {
        "first_day": datetime.fromtimestamp(first * DAY, UTC).strftime("%Y-%m-%d"),
        "days_a_bar": width,
        "requests": bars,
    }


def _overview_lines(facts: Mapping[str, Any]) -> list[str]:
    days = facts["per_day"]
    bar = "per day" if days["days_a_bar"] == 1 else f"per {days['days_a_bar']} days"
    numbers = ", ".join(f"{count:,}" for count in days["requests"])
    lines = [
        joined(
            (
                counted(facts["interactions"], "interaction"),
                counted(facts["sessions"], "session"),
                counted(facts["users"], "user"),
                f"evaluation-only {facts['evaluation_only']:,}",
                f"oldest {facts['oldest']}, newest {facts['newest']}",
            )
        ),
        f"{bar} from {days['first_day']}: {numbers}",
    ]
    if spoken := facts.get("speak_of_secrets"):
        more = ", ..." if spoken["requests"] > len(spoken["first"]) else ""
        lines.append(
            f"with one of the words {spoken['words']} and no secret found: "
            f"{spoken['requests']:,} ({', '.join(spoken['first'])}{more})"
        )
    if each := facts.get("each"):
        lines.append(f"each: {joined(_said(each))}")
    for key, noun in (("by_source", "sources"), ("by_agent_version", "agent versions"), ("by_user", "users")):
        if not (counts := facts.get(key)):
            continue
        named = [f"{one['name']} ({one['count']:,})" for one in counts["top"]]
        if "others" in counts:
            named.append(f"{counts['others']:,} others ({counts['others_requests']:,})")
        lines.append(f"{noun}: {', '.join(named)}")
    if learning := facts.get("learning"):
        lines.append(
            f"learning: {learning['asked_about']:,} asked about, {learning['pending']:,} pending, "
            f"{learning['failed']:,} failed"
        )
    return lines


def _finding_facts(finding: Found, examples: int, subjects: int, reasons: tuple[str, str]) -> Facts:
    rule, (why, advice) = finding.rule, reasons
    following = _call_facts(finding.next)
    if following and finding.next and finding.next.selects != finding.count:
        following["selects"] = finding.next.selects
    return dense(
        {
            "id": rule.id,
            "severity": rule.severity,
            "count": finding.count,
            "unit": rule.unit,
            "finds": rule.finds,
            "notes": _notes(finding),
            "why": why,
            "advice": advice,
            "which": _which(finding, subjects),
            "next": following,
            **_look_facts(finding),
            "no_next": "" if following else "no call here selects exactly these",
            "examples": [
                _example_facts(one, stays=rule.remedy == "delete") for one in _examples(finding, examples)
            ],
        }
    )


def _notes(finding: Found) -> list[str]:
    """The most frequent kinds of what was found, and how many others there are."""
    kinds = sorted(finding.notes.items(), key=lambda one: -one[1])
    shown = [shown_name(f"{count:,} {without_key(note)}") for note, count in kinds[:NOTES_SHOWN]]
    if others := kinds[NOTES_SHOWN:]:
        shown.append(f"{len(others):,} others ({sum(count for _, count in others):,})")
    return shown


def _is_looked_at_alike(finding: Found) -> bool:
    """Whether a list with the arguments of the deletion, and no more, shows what it takes."""
    look, following = finding.look, finding.next
    if look is None or following is None or look.tool not in ("list_requests", "list_sessions"):
        return False
    return following.arguments == look.arguments


def _look_first(findings: Sequence[Found]) -> str:
    """What shows the sets of the deletions that can be shown with the same arguments; empty where none can."""
    alike = {
        one.next.tool: one.look.tool for one in findings if one.next and one.look and _is_looked_at_alike(one)
    }
    if not alike:
        return ""
    # All of them look with the same tool: the first list that the caller has.
    other = any(
        one.next and one.next.tool in alike and one.look and not _is_looked_at_alike(one) for one in findings
    )
    where = ", where there is no look" * other
    return (
        f"{next(iter(alike.values()))} with the same arguments shows what {' or '.join(alike)} takes{where}."
    )


def _look_facts(finding: Found) -> Facts:
    """The call that shows what the next one takes, unless `look_first` of the whole audit says it."""
    if finding.look is None or _is_looked_at_alike(finding):
        return {}
    return {"look": _call_facts(finding.look)}


def _call_facts(call: Next | None) -> Facts | None:
    if call is None:
        return None
    return {
        "tool": call.tool,
        "arguments": {name: _argument(value) for name, value in call.arguments.items()},
    }


def _which(finding: Found, subjects: int) -> list[str]:
    # Requests are named by the examples.
    if finding.rule.unit in ("request", "period"):
        return []
    safe = finding.rule.unit in ("session", "learning")  # what a call takes
    names = [shown_id(one if safe else without_key(one)) or "(none)" for one in finding.subjects]
    following = finding.next
    one_by_one = following and (following.tool == "delete_session" or "request_ids" in following.arguments)
    if one_by_one and subjects == SUBJECTS:
        ends = itertools.accumulate(len(name) + 2 for name in names)
        subjects = max(subjects, sum(end <= WHICH_CHARS for end in ends))
    return names[:subjects]


def _examples(finding: Found, most: int) -> Sequence[Example]:
    """Some of its requests, and all where one more than `most` would be all.

    Sessions, users and sources are named already: there an example only says which one stays.
    """
    if finding.rule.unit not in ("request", "period"):
        return [one for one in finding.examples if one.copy_of or one.session_id in finding.parts][:most]
    return finding.examples[: most + (most > 0 and finding.count == most + 1)]


def _argument(value: Any) -> Any:
    if isinstance(value, str):
        return shown_id(value)
    return [shown_id(str(one)) for one in value]


def _example_facts(one: Example, *, stays: bool) -> Facts:
    copied = "word_for_word_in_kept"
    if not stays:
        copied = "repeats" if one.note == WORD_FOR_WORD else "nearly_repeats"
    return dense(
        {
            "request_id": shown_id(one.request_id),
            "user_id": shown_id(without_key(one.user_id)),
            "session_id": shown_id(without_key(one.session_id)),
            "created_at": iso(one.created_at),
            "source": shown_name(without_key(one.source)),
            # Of personal data the notes count whose it is, which is the user.
            "note": shown_name(without_key(one.note)) if one.note != f"of {one.user_id}" else "",
            copied: shown_id(one.copy_of) if one.copy_of else "",
        }
    )


def _put_once(finding: Facts, each: Facts) -> None:
    """Take out of a finding's examples what all requests of the audit have in common, what the finding's one note
    says already, and into its own `each` what its examples have in common."""
    examples = finding.get("examples", [])
    notes = finding.get("notes", [])
    for one in examples:
        if notes == [f"{finding['count']:,} {one.get('note')}"]:
            del one["note"]
        for key in each.keys() & one.keys():
            del one[key]
    if len(examples) < 2:
        return
    first, *others = examples
    shared = {
        key: value
        for key, value in first.items()
        if key not in ("request_id", "created_at") and all(one.get(key) == value for one in others)
    }
    if shared:
        finding["each"] = shared
        finding["examples"] = [{key: one[key] for key in one if key not in shared} for one in examples]


def _finding_lines(facts: Facts) -> list[str]:
    unit = "" if facts["unit"] == "period" else f" {counted(facts['count'], facts['unit'])}:"
    notes = f" ({', '.join(facts['notes'])})" if "notes" in facts else ""
    reasons = f" {facts['why']} {facts['advice']}" if "why" in facts else ""
    # "3 requests that repeat another", not "3 requests: requests that repeat another".
    if facts["count"] > 1 and facts["finds"].startswith(f"{facts['unit']}s "):
        unit = unit.removesuffix(f"{facts['unit']}s:").rstrip()
    lines = [f"[{facts['severity']}] {facts['id']}:{unit} {facts['finds']}{notes}.{reasons}"]
    if "which" in facts:
        left = facts["count"] - len(facts["which"])
        more = f" and {left:,} more" if left else ""
        lines.append(f" {facts['unit']}s: {', '.join(facts['which'])}{more}")
    if following := facts.get("next"):
        if look := facts.get("look"):
            lines.append(f" look: {look['tool']} {compact_json(look['arguments'])}")
        covers = f" (for {following['selects']:,} of them)" if "selects" in following else ""
        lines.append(f" next: {following['tool']} {compact_json(following['arguments'])}{covers}")
    else:
        lines.append(f" next: {facts['no_next']}")
    if examples := facts.get("examples"):
        told = [joined((one.get("request_id", ""), *_said(one))) for one in examples]
        shared = f"each {joined(_said(facts['each']))}: " if "each" in facts else ""
        lines.append(f" e.g. {shared}{'; '.join(told)}")
    return lines


_WORDS: Final = {
    "user_id": "user {}",
    "session_id": "session {}",
    "created_at": "{}",
    "source": "source {}",
    "agent_version": "agent {}",
    "note": "{}",
    "word_for_word_in_kept": "word for word in {}, which stays",
    "nearly_repeats": "nearly repeats {}",
    "repeats": "repeats {}",
}


def _said(facts: Facts) -> list[str]:
    """What is known of one request, or what several have in common, in words."""
    return [words.format(facts[key]) for key, words in _WORDS.items() if key in facts]
