"""Audits traffic in one pass: numbers and findings."""

import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import anyio
import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import StoredRequest
from reflexio_mcp.results.answer_size import STRUCTURED_CHARS
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
from reflexio_mcp.results.base import NOTICE, at, shown_id, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress, Step, no_progress
from reflexio_mcp.results.reading import LearningRow, as_name
from reflexio_mcp.traffic.audit.calls import (
    Offer,
    call_for,
    call_for_learnings,
    call_for_run,
    calls_about,
)
from reflexio_mcp.traffic.audit.judged import NoProblem
from reflexio_mcp.traffic.audit.rules import (
    FINDINGS,
    NEWEST_ASKED,
    RULES,
    StatusChecks,
    judgement_of,
    rule_of,
    severity_of,
)
from reflexio_mcp.traffic.audit.rules.base import Finding, Rule, Session
from reflexio_mcp.traffic.audit.rules.duplicates import Duplicate
from reflexio_mcp.traffic.audit.stored_learnings import StoredLearningChecks
from reflexio_mcp.traffic.content import content_chars
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.select import as_learned
from reflexio_mcp.traffic.learnings.showing import LearningRows, backgrounds
from reflexio_mcp.traffic.reading.cursors import Cursor
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionPart
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import in_heavy_thread
from reflexio_mcp.traffic.turns import let_others

__all__ = ["run_audit"]

AUDIT_SECONDS: Final = 35.0
"""Clients give up after 60 s; a cursor continues the audit. A command has no limit."""

EVIDENCE_SECONDS: Final = 5.0
"""Time limit of finding what taught the learnings of one finding."""

REQUESTS_A_LOOK: Final = 100
CHARS_A_LOOK: Final = 2_000_000

IDS_KEPT: Final = 500
"""Maximum number of ids per finding; all are counted."""

PLACES: Final = (50, 20, 10, 5, 3, 1, 0)
"""Numbers of places that an audit shows of each finding: it takes the first number that has room."""

EXAMPLES: Final = 3
"""Number of bare places of a finding that stay while the places of other findings are cut (see `_is_bare`)."""

WORDS_CHARS: Final = 4_000
"""Space that the structured form reserves for our own sentences."""

AROUND_CHARS: Final = 260
"""Limit of the words around a finding; a passage of prompt injection is the longest."""

NAMES: Final = 10
"""Maximum length of a list of names, kinds or learnings."""

RUNS: Final = 5
"""Maximum number of runs of duplicates."""

NAMES_KEPT: Final = 20_000
"""Maximum number of users, sources or versions that are counted one by one."""

NEVER_LOOKED_FOR: Final = NotLooked(
    findings=["names of people", "passports", "postal addresses", "health"],
    because=Fact(code=FactCode.NO_RULE),
)
PART_LEFT_OUT: Final = Fact(code=FactCode.PART_LEFT_OUT)


@dataclass
class Gathered:
    """What a pass keeps of one finding: numbers, and the first places, one for each request.

    Args:
        from_one_session: no other session was compared for any of them, so a filter can select the finding.
    """

    count: int = 0
    ids: list[str] = field(default_factory=list[str])
    places: list[Finding] = field(default_factory=list[Finding])
    kinds: Counter[str] = field(default_factory=Counter[str])
    from_one_session: bool = True
    last_id: str = ""

    def add(self, finding: Finding) -> None:
        if finding.kind:
            self.kinds[finding.kind] += 1
        # A rule gives the findings of a request one after the other.
        if finding.request.request_id == self.last_id:
            return
        self.last_id = finding.request.request_id
        self.count += 1
        self.from_one_session &= finding.from_one_session
        if len(self.places) < PLACES[0]:
            self.places.append(finding)
        if len(self.ids) < IDS_KEPT:
            self.ids.append(finding.request.request_id)


@dataclass
class Pass:
    """A look at sessions, one after the other, with what was found so far.

    Args:
        until: when the pass has to end, in seconds of `time.monotonic`.
        make_gathered: makes what is kept of a finding.
        judged: what people judged to be no problem.
        no_problem: the ids of requests with a finding that people judged to be no problem, by finding.
        status_checks: what the service says of learning from the requests: it waits or has failed.
        stored_learnings: what the learnings themselves show: they are orphaned or old.
        last: the session that was looked at last.
    """

    wanted: TrafficFilter
    rules: Sequence[Rule]
    until: float
    requests: int = 0
    interactions: int = 0
    sessions: int = 0
    evaluation_only: int = 0
    oldest: int = 0
    newest: int = 0
    users: Counter[str] = field(default_factory=Counter[str])
    sources: Counter[str] = field(default_factory=Counter[str])
    versions: Counter[str] = field(default_factory=Counter[str])
    make_gathered: Callable[[], Gathered] = Gathered
    found: dict[str, Gathered] = field(default_factory=dict[str, Gathered])
    judged: NoProblem = field(default_factory=NoProblem)
    no_problem: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    status_checks: StatusChecks = field(default_factory=StatusChecks)
    stored_learnings: StoredLearningChecks = field(default_factory=StoredLearningChecks)
    last: SessionPart | None = None

    def look_at(self, parts: Sequence[SessionPart]) -> int:
        """Look at sessions until the time is over, but at least at one session; return their number."""
        for number, part in enumerate(parts, 1):
            self.last = part
            if items := self.wanted.pick(part.whole):
                self.sessions += 1
                for item in items:
                    self._count(item.request, len(item.interactions))
                    self.status_checks.note(item)
                    self.stored_learnings.note(item)
                session = Session(part.session_id, items)
                for rule in self.rules:
                    self.add(rule.look(session))
            if time.monotonic() >= self.until:
                return number
        return len(parts)

    def finish(self) -> None:
        for rule in self.rules:
            self.add(rule.finish())

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if self.judged.has(finding):
                self.no_problem.setdefault(finding.name, set()).add(finding.request.request_id)
                continue
            if finding.name not in self.found:
                self.found[finding.name] = self.make_gathered()
            self.found[finding.name].add(finding)

    def _count(self, request: StoredRequest, interactions: int) -> None:
        is_first = not self.requests
        self.requests += 1
        self.interactions += interactions
        if request.evaluation_only:
            self.evaluation_only += 1
        self.oldest = request.created_at if is_first else min(self.oldest, request.created_at)
        self.newest = max(self.newest, request.created_at)
        names = (
            (self.users, request.user_id),
            (self.sources, request.source),
            (self.versions, request.agent_version),
        )
        for counts, name in names:
            if name in counts or len(counts) < NAMES_KEPT:
                counts[name] += 1


async def run_audit(
    scope: Scope,
    asked: TrafficFilter,
    *,
    offer: Offer,
    after: Cursor | None = None,
    progress: Progress = no_progress,
    personal: bool = True,
    judged: NoProblem | None = None,
    to_the_end: bool = False,
) -> AuditResult:
    """Audit everything a filter selects, in one pass and bounded memory.

    Args:
        asked: the filter; the filter of `after` replaces it.
        offer: tools that follow-up calls may name.
        personal: look for personal data.
        judged: what people judged to be no problem, which is counted apart.
        to_the_end: take as long as it needs, for a caller who waits.
    """
    now = time.time()
    seconds = math.inf if to_the_end else AUDIT_SECONDS
    wanted = after.filter if after else asked
    narrow = bool(wanted.looks_inside or wanted.source or wanted.session_id)
    skipped = Skipped()
    rules = _rules(wanted, skipped, now, narrow=narrow, continues=after is not None, personal=personal)
    look = Pass(wanted, rules, time.monotonic() + seconds, judged=judged or NoProblem())
    pager = SessionPager(scope, wanted, after=after)
    stopped = await look_through(scope, pager, look, progress)
    whole = not stopped and after is None
    await in_heavy_thread(scope.owner, look.finish)
    if not whole:
        skipped.add(PART_LEFT_OUT, "duplicate in other sessions")
    for rule in rules:
        if rule.left_out:
            skipped.add(rule.left_out, rule.name)
    timed = wanted.start_time is not None or wanted.end_time is not None
    saw_everything = whole and not (narrow or timed or pager.unreadable)
    await _ask(scope, look, now, skipped, saw_everything=saw_everything)
    from reflexio_mcp.traffic.audit.rules.redaction import formats_unknown

    for fact in formats_unknown():
        skipped.add(fact, "probable-secret", "possible-secret")
    rows = await _finding_rows(scope, look, rules, offer, whole=whole)
    facts = [*look.judged.facts]
    if stopped and look.last:
        facts.append(Fact(code=FactCode.REST_NOT_AUDITED, until=at(look.last.newest)))
    if pager.unreadable:
        facts.append(Fact(code=FactCode.PARTS_NOT_AUDITED, number=len(pager.unreadable)))
    if not look.requests and not rows and not stopped:
        facts.append(Fact(code=FactCode.OTHER_FILTER))
    result = AuditResult(
        notice=NOTICE,
        filter=shown_name(filter_in_words(wanted, words=not scope.masked), 200),
        traffic=found_in(look, masked=scope.masked),
        findings=rows,
        no_problem=counted_apart(look),
        not_looked_for=[*skipped.rows, NEVER_LOOKED_FOR],
        facts=[*facts, *_what_rules_say(look, rows, skipped)],
        cursor=pager.cursor("audit", look.last, None).encode(scope, asked) if stopped and look.last else "",
    )
    return _cut_to_fit(result)


class Skipped:
    """What an audit did not look for, by reason."""

    def __init__(self) -> None:
        self._by_reason: dict[FactCode, NotLooked] = {}

    def add(self, reason: Fact, *names: str) -> None:
        known = self._by_reason.get(reason.code)
        findings = [*known.findings, *names] if known else [*names]
        self._by_reason[reason.code] = NotLooked(findings=findings, because=reason)

    @property
    def rows(self) -> list[NotLooked]:
        return list(self._by_reason.values())

    @property
    def names(self) -> set[str]:
        return {name for row in self.rows for name in row.findings}


def _rules(
    wanted: TrafficFilter, skipped: Skipped, now: float, *, narrow: bool, continues: bool, personal: bool
) -> list[Rule]:
    """Return the rules that make sense with a filter.

    Args:
        narrow: the filter leaves out requests of a session, or all other sessions.
        continues: an earlier part of the audit has looked at other sessions.
    """
    rules: list[Rule] = []
    for rule in RULES:
        if not rule.applies():
            continue
        may_lack_newest = rule.needs_newest and (wanted.may_leave_out_newest or continues)
        may_lack_neighbours = rule.name == "split-conversation" and narrow
        if rule.name == "personal-data" and not personal:
            skipped.add(Fact(code=FactCode.RULE_OFF), rule.name)
        elif may_lack_newest or may_lack_neighbours:
            skipped.add(PART_LEFT_OUT, rule.name)
        else:
            rules.append(rule(now))
    return rules


async def _finding_rows(
    scope: Scope, look: Pass, rules: Sequence[Rule], offer: Offer, *, whole: bool
) -> list[FindingRow]:
    from reflexio_mcp.traffic.audit.rules.redaction import without_key

    rows: list[FindingRow] = []
    in_order_of_rules = [name for rule in RULES for name in rule.names() if name in look.found]
    for name in in_order_of_rules:
        gathered = look.found[name]
        places = [
            place_of(place, masked=scope.masked, kinds=gathered.kinds).model_copy(
                update={
                    "session_id": shown_id(without_key(place.request.session_id)),
                    "user_id": "" if look.wanted.user_id else shown_id(without_key(place.request.user_id)),
                    "created_at": at(place.request.created_at),
                }
            )
            for place in gathered.places
        ]
        row = finding_row(name, gathered, places, gathered.ids, look, offer, learns=scope.learns)
        more: dict[str, object] = {}
        if name == "learning-waiting":
            more["act"] = _call_to_finish(gathered, offer)
        # The call of a run would also delete what was judged to be no problem.
        if name == Duplicate.name and name not in look.no_problem:
            more["runs"] = runs_of(rules, look.wanted, offer, whole=whole)
        rows.append(row.model_copy(update=more))
    return rows + await _learning_rows(scope, look.stored_learnings, offer)


def _what_rules_say(look: Pass, rows: Sequence[FindingRow], skipped: Skipped) -> list[Fact]:
    """Return what to do about the findings, and what the rules that looked can know."""
    if not look.requests:
        return advice_about(rows)
    seen = {row.finding for row in rows}
    # What was found was looked for, if only in a part.
    not_looked_for = skipped.names - seen
    looked = [
        rule for rule in RULES if rule.applies() and any(name not in not_looked_for for name in rule.names())
    ]
    no_match = [] if rows else [Fact(code=FactCode.NO_MATCH)]
    return [*no_match, *advice_about(rows), *limits_of(looked, seen)]


def runs_of(rules: Sequence[Rule], wanted: TrafficFilter, offer: Offer, *, whole: bool) -> list[DuplicateRun]:
    """Return the longest runs of duplicates, each with the call that deletes it alone.

    Args:
        rules: after their `finish`.
        whole: everything that `wanted` selects was looked at.
    """
    from reflexio_mcp.traffic.audit.rules.redaction import without_key

    return [
        DuplicateRun(
            source=shown_name(without_key(run.source), 80),
            requests=len(run.requests),
            sessions=len({request.session_id for request in run.requests}),
            users=len({request.user_id for request in run.requests}),
            first=at(run.requests[0].created_at),
            last=at(run.requests[-1].created_at),
            stays_source=shown_name(without_key(run.stay[0].source), 80),
            stays_first=at(min(request.created_at for request in run.stay)),
            stays_last=at(max(request.created_at for request in run.stay)),
            act=call_for_run(run, wanted, offer, whole=whole and not rule.left_out),
        )
        for rule in rules
        if isinstance(rule, Duplicate)
        for run in rule.runs[:RUNS]
    ]


def advice_about(rows: Sequence[FindingRow]) -> list[Fact]:
    """Return what to do about findings: show them before a deletion, and judge those that are only possible."""
    facts: list[Fact] = []
    if any(row.act for row in rows):
        facts.append(Fact(code=FactCode.SHOW_FINDINGS))
    judgements = (judgement_of(row.finding) for row in rows)
    return [*facts, *(Fact(code=code) for code in judgements if code)]


def limits_of(rules: Sequence[type[Rule]], found: Collection[str]) -> list[Fact]:
    """Return what these rules can and cannot know. Several rules can have the same limit.

    Args:
        found: the findings that were found.
    """
    codes = (rule.limit_of(found=any(name in found for name in rule.names())) for rule in rules)
    return [Fact(code=code) for code in dict.fromkeys(codes)]


def _cut_to_fit(result: AuditResult) -> AuditResult:
    """Leave out places until an answer has room: first bare ones, then those of every finding, and then findings."""
    for most in (number for number in PLACES if number >= EXAMPLES):
        if _has_room(result):
            return result
        rows = [_with_places(row, most) if _is_bare(row) else row for row in result.findings]
        result = result.model_copy(update={"findings": rows})
    for most in PLACES:
        if _has_room(result):
            return result
        rows = [_with_places(row, most) for row in result.findings]
        result = result.model_copy(update={"findings": rows})
    while result.findings and not _has_room(result):
        result = result.model_copy(
            update={"findings": result.findings[:-1], "findings_left_out": result.findings_left_out + 1}
        )
    return result


def _has_room(result: AuditResult) -> bool:
    return len(result.model_dump_json(exclude_defaults=True)) <= STRUCTURED_CHARS - WORDS_CHARS


def _with_places(row: FindingRow, most: int) -> FindingRow:
    return row.model_copy(update={"places": row.places[:most], "learnings": row.learnings[:most]})


def _is_bare(row: FindingRow) -> bool:
    """Whether the places of a finding say only where they are, and a call shows them too."""
    says_more = any(place.around or place.points or place.repeats for place in row.places)
    return bool(row.show) and not says_more


async def look_through(scope: Scope, pager: SessionPager, look: Pass, progress: Progress) -> bool:
    """Look at all sessions. Return whether the time ended first."""

    async def ends_in(batch: Sequence[SessionPart]) -> bool:
        looked_at = await in_heavy_thread(scope.owner, partial(look.look_at, batch))
        return looked_at < len(batch)

    waiting: list[SessionPart] = []
    requests = chars = 0
    async with aclosing(pager.parts()) as parts:
        async for part in parts:
            if time.monotonic() >= look.until and look.last:
                return True
            waiting.append(part)
            requests += len(part.requests)
            chars += sum(map(content_chars, part.requests))
            if requests >= REQUESTS_A_LOOK or chars >= CHARS_A_LOOK:
                if await ends_in(waiting):
                    return True
                waiting = []
                requests = chars = 0
                await progress(Step.REQUESTS_AUDITED, look.requests, None)
                await let_others()
    return bool(waiting) and await ends_in(waiting)


async def _ask(scope: Scope, look: Pass, now: float, skipped: Skipped, *, saw_everything: bool) -> None:
    """Add the findings that the service knows, and those about stored learnings.

    Args:
        saw_everything: all requests of these users were looked at. Otherwise no learning can be called orphaned.
    """
    if not scope.learns:
        skipped.add(
            Fact(code=FactCode.NO_LEARNING_HERE),
            "learning-failed",
            "learning-waiting",
            "orphaned-learning",
            "stale-learning",
        )
        return
    if reason := await look.status_checks.ask(scope):
        skipped.add(reason, "learning-failed", "learning-waiting")
    elif look.status_checks.more:
        skipped.add(Fact(code=FactCode.NEWEST_ASKED, number=NEWEST_ASKED), "learning-failed")
    look.add(look.status_checks.findings)
    whose = look.wanted.user_id or scope.user_id
    if not saw_everything:
        skipped.add(PART_LEFT_OUT, "orphaned-learning")
    elif not whose:
        skipped.add(Fact(code=FactCode.ONLY_STORED_USERS), "learnings of other users")
    users = [whose] if whose else [user for user, _ in look.users.most_common()]
    if reason := await look.stored_learnings.read(scope, users, now, whole=saw_everything):
        if saw_everything:  # otherwise it was added above
            skipped.add(reason, "orphaned-learning")
        skipped.add(reason, "stale-learning")


def _window(look: Pass, rule: type[Rule]) -> TrafficFilter:
    """Return the filter for follow-up calls.

    Its end time leaves out what arrives later. For rules about the newest request of a session it has none, because a
    later arrival becomes the newest one. Then it gets a start time, only because a deletion needs some filter.
    """
    if rule.needs_newest:
        return replace(look.wanted, start_time=look.wanted.start_time or look.oldest, end_time=None)
    return replace(look.wanted, end_time=look.newest)


def finding_row(
    name: str,
    gathered: Gathered,
    places: list[Place],
    ids: Iterable[str],
    look: Pass,
    offer: Offer,
    *,
    learns: bool,
) -> FindingRow:
    """Return the row of a finding, with the calls that follow.

    Args:
        ids: the requests that a call may name if no filter selects them.
        look: the pass that found it.
        learns: the backend learns from requests.
    """
    rule = rule_of(name)
    wanted = _window(look, rule)
    judged = name in look.no_problem
    # The calls name a filter only if it selects just these requests. These conditions make sure of it. Words are one of
    # them because an audit looks for words first, and then for the finding in what has them. A filter looks for the
    # finding first, so it would also select requests that only together with others have it.
    selected = gathered.from_one_session and not judged and not wanted.contains and name in FINDINGS
    show, act = calls_about(name, list(dict.fromkeys(ids)), wanted, offer, selected=selected)
    return FindingRow(
        finding=name,
        severity=severity_of(name),
        count=gathered.count,
        kinds=[
            Count(name=shown_name(kind, 80), count=many) for kind, many in gathered.kinds.most_common(NAMES)
        ],
        why=rule.why,
        advice=rule.advice,
        places=places,
        learned=call_for_learnings(name, look.wanted, offer) if learns else None,
        show=show,
        act=act,
    )


def _call_to_finish(gathered: Gathered, offer: Offer) -> Call | None:
    """Return the call that ends the wait of the newest request; `None` if it is not possible."""
    if not gathered.places:
        return None
    request = gathered.places[0].request
    user = {"user_id": request.user_id} if offer.takes_user else {}
    return call_for(offer, "finish_session", {**user, "session_id": request.session_id})


def place_of(finding: Finding, *, masked: bool, kinds: Collection[str]) -> Place:
    """Return a place without its session, user and time.

    Args:
        kinds: the kinds of the finding. A single one is not repeated at each place.
    """
    from reflexio_mcp.traffic.audit.rules.redaction import without_key

    return Place(
        request_id=shown_id(without_key(finding.request.request_id)),
        interaction_id=finding.interaction_id,
        role=shown_name(without_key(finding.role), 20),
        points=finding.points,
        kind=shown_name(finding.kind, 80) if len(kinds) > 1 else "",
        around="" if masked else shown_name(finding.around, AROUND_CHARS),
        repeats=shown_id(without_key(finding.repeats)),
    )


async def _learning_rows(scope: Scope, checks: StoredLearningChecks, offer: Offer) -> list[FindingRow]:
    """Count all learnings, but name those of the user who has most: a call deletes only one user's learnings."""
    from reflexio_mcp.traffic.audit.rules.redaction import without_key

    rows: list[FindingRow] = []
    for name, found in (("orphaned-learning", checks.orphaned), ("stale-learning", checks.stale)):
        if found:
            rule, users = rule_of(name), Counter(learning.user_id for learning in found)
            [(owner, _)] = users.most_common(1)
            of_owner = [learning for learning in found if learning.user_id == owner]
            user = {"user_id": owner} if offer.takes_user else {}
            ids = [learning.learning_id for learning in of_owner[:NAMES]]
            rows.append(
                FindingRow(
                    finding=name,
                    severity=rule.severity,
                    count=len(found),
                    why=rule.why,
                    advice=rule.advice,
                    places=[
                        Place(
                            user_id=shown_id(without_key(learning.user_id)),
                            learning_id=shown_id(without_key(learning.learning_id)),
                        )
                        for learning in of_owner[:NAMES]
                    ],
                    learnings=await _with_evidence(scope, owner, of_owner[:NAMES], checks.read_of(owner)),
                    show=call_for(offer, "list_learnings", user),
                    act=call_for(offer, "delete_learnings", {**user, "learning_ids": ids}),
                )
            )
    return rows


async def _with_evidence(
    scope: Scope, user_id: str, found: Sequence[Learning], everything: Sequence[Learning]
) -> list[LearningRow]:
    """Return the rows of learnings of a user; none if what they came from cannot be read now."""
    try:
        with anyio.fail_after(EVIDENCE_SECONDS):
            background_of = await backgrounds(scope, found, everything)
    except (ReflexioError, TimeoutError):
        return []
    showing = LearningRows(scope, background_of)
    linked = as_learned(found).linked.values()
    return await anyio.to_thread.run_sync(lambda: [showing.row(learning) for learning in linked])


def counted_apart(look: Pass) -> list[Count]:
    """Return how many requests were judged to be no problem, by finding."""
    return [Count(name=name, count=len(requests)) for name, requests in look.no_problem.items()]


def found_in(look: Pass, *, masked: bool) -> Found:
    """Return the traffic that a pass looked at, in numbers."""
    from reflexio_mcp.traffic.audit.rules.redaction import without_key

    def most(counts: Counter[str]) -> list[Count]:
        return [
            Count(
                name=shown_name(without_key(as_name(name) if masked else name), 60) or "(none)", count=count
            )
            for name, count in counts.most_common(NAMES)
        ]

    return Found(
        requests=look.requests,
        interactions=look.interactions,
        sessions=look.sessions,
        evaluation_only=look.evaluation_only,
        oldest=at(look.oldest) if look.requests else None,
        newest=at(look.newest) if look.requests else None,
        users=len(look.users),
        by_user=most(look.users),
        by_source=most(look.sources),
        by_agent_version=most(look.versions),
    )
