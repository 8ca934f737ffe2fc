"""One pass over a filter's traffic: what it holds, and what is wrong with it."""

import time
from dataclasses import dataclass, field, replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.learned import LearnedChecks
from reflexio_mcp.traffic.audit.learning_status import DOES_NOT_LEARN, LearningChecks
from reflexio_mcp.traffic.audit.next_call import Offer, go_on_call, look_at, look_first, next_call
from reflexio_mcp.traffic.audit.overview import Overview
from reflexio_mcp.traffic.content import content_chars, texts_of
from reflexio_mcp.traffic.reading.cursors import Cursor
from reflexio_mcp.traffic.reading.filters import PART_OF_SESSIONS, WHOLE_SESSIONS, TrafficFilter
from reflexio_mcp.traffic.reading.gaps import Gap
from reflexio_mcp.traffic.reading.lookup import Progress, untold
from reflexio_mcp.traffic.reading.paging import SessionPager, SessionSlice
from reflexio_mcp.traffic.rules import secrets
from reflexio_mcp.traffic.rules.catalog import RULES
from reflexio_mcp.traffic.rules.detector import SCANNED_CHARS, Detector, Need, SessionSeen, stop_if_cancelled
from reflexio_mcp.traffic.rules.duplicates import CopiedSessions, Twin
from reflexio_mcp.traffic.rules.found import Found, Next
from reflexio_mcp.traffic.rules.personal_data import NOT_LOOKED_FOR
from reflexio_mcp.traffic.rules.selection import detector_types
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.times import iso

__all__ = ["Audit", "run_audit"]

AUDIT_SECONDS: Final = 35.0
"""For the traffic. Clients give up on a call after 60 s: an audit stops before, with what learning takes on top, and
says where it stopped and how to go on. All of a small store is looked at within it, and the newest of a large one."""

SESSION_SECONDS: Final = 10.0
"""More, for a session that is looked at when that time is over: of one with very much in it a part is compared."""

SAYABLE_SECONDS: Final = 5.0
"""For getting past sessions and requests whose id is a key: a cursor holds the ids of its place, and shows them to
whoever takes it apart."""

OTHER_TWINS: Final = "other requests in two sessions"
"""What is counted beside `copied-session` and `copied-request`."""

COMPARING: Final = ("copied-session", "copied-request", "split-conversation")
"""Rules that compare sessions with each other."""

OF_THIS_CALL: Final = "between the sessions of this call and those of others that go on or went before"

BY_A_LIST: Final = "; list_requests with that finding looks at all sessions"
"""For rules that a filter selects: a list reads sessions in one go, for nothing but this."""

OF_ALL: Final = ("only-evaluation", "one-version", "user-per-session", "version-per-session")
"""Rules that say something of all the traffic, so that a part of it shows them neither there nor missing."""

OF_TOTALS: Final = (
    "anonymous-user",
    "many-sources",
    "no-source",
    "repeated-prompt",
    "unversioned",
    "volatile-source",
)
"""Rules that only much of it makes a finding: what a part shows is there, and what it does not show may be."""

OF_SECRETS: Final = ("probable-secret", "possible-secret")

OF_CUT_SESSION: Final = "in a session that this call did not read to its end"

OF_A_PART: Final = "judged by all of the traffic, of which this call looked at a part"

MAY_GO_ON: Final = (
    "a session may have gone on since this audit's first call, which a call that goes on does not see"
)

PART_OF_TRAFFIC: Final = "a filter by source, session, version or words selects a part of what was said"
OF_NOBODY_SEEN: Final = "of users without a request here; list_learnings has each user's"
ONE_USER: Final = "only one user's traffic is looked at"
MAY_BE_HIDDEN: Final = "the filter may hide what is asked or answered in between"
ONE_SESSION: Final = "only one session is looked at"
UNREAD: Final = "what could not be read is compared with nothing"

LEARNED_SECONDS: Final = 8.0
"""For reading what was learned, when the traffic has been read."""

REQUESTS_A_LOOK: Final = 100
"""Requests that are handed to a worker thread at a time; then progress is reported."""


@dataclass(frozen=True, slots=True)
class NotRun:
    """A rule that could not be applied, and why."""

    rule_id: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Args:
        filter: what was looked at, its times resolved and its end frozen.
        start, end: the window that was looked at, epoch seconds; no start where all before the end was.
        other_twins, twins: requests with question and answer that repeat one of another session of their user and that
            no rule counts, and the first of them; `None` where not everything was compared.
        look_at_twins: the call that shows the first of these.
        speak_of_secrets, speaking: requests with a word for a secret and none in them, and the first of their ids.
        overview: the numbers.
        findings: the gravest first.
        not_run: rules that could not be applied.
        left_out: which of the traffic was not looked at, and why; empty when all of it was.
        go_on: the call that looks at it.
        gaps: what the service could not return. No rule was applied to it.
        goes_on: whether it went on from a cursor: what came before is not in it.
        learns: whether the store learns: then what was learned outlives the traffic.
    """

    filter: TrafficFilter
    overview: Overview
    findings: tuple[Found, ...]
    not_run: tuple[NotRun, ...]
    left_out: str = ""
    go_on: Next | None = None
    gaps: tuple[Gap, ...] = ()
    start: int | None = None
    end: int = 0
    other_twins: int | None = None
    twins: tuple[Twin, ...] = ()
    look_at_twins: Next | None = None
    speak_of_secrets: int = 0
    speaking: tuple[str, ...] = ()
    goes_on: bool = False
    learns: bool = False


async def run_audit(
    scope: Scope,
    asked: TrafficFilter,
    *,
    offer: Offer,
    after: Cursor | None = None,
    progress: Progress = untold,
    personal: bool = True,
) -> Audit:
    """Audit everything a filter selects, in one pass and bounded memory.

    Args:
        asked: the filter as the caller gave it; where an audit goes on, that of `after` counts.
        offer: the tools that following calls may name.
        after: where the call before stopped. Nothing is skipped. No request is looked at by both, unless its session
            falls behind that place because its newest requests were deleted meanwhile. What came since the first call
            is not seen, so that nothing is judged by its being the last of a session.
        progress: told how many requests were looked at.
        personal: whether to look for personal data.
    """
    moment = int(time.time())
    wanted = after.filter if after else asked
    overview = Overview()
    learning = LearningChecks(moment)
    narrow = wanted.looks_inside or wanted.source or wanted.session_id
    missing: set[Need] = set()
    if not personal:
        missing.add("personal data")
    if wanted.may_leave_out_newest or after:
        missing.add("whole sessions")
    if narrow:
        missing.add("all traffic")
    detectors: list[Detector] = []
    not_run: list[NotRun] = []
    by_a_list = BY_A_LIST * ("list_requests" in offer.tools)
    for detector in (made() for made in detector_types()):
        detector.now = moment
        detector.until = time.monotonic() + AUDIT_SECONDS + SESSION_SECONDS
        if detector.needs not in missing:
            detectors.append(detector)
        elif detector.needs != "personal data":
            reason = PART_OF_TRAFFIC
            if detector.needs == "whole sessions":
                reason = PART_OF_SESSIONS if wanted.may_leave_out_newest else MAY_GO_ON
            for rule in (found.rule for found in detector.founds):
                more = ""
                if reason == MAY_GO_ON:
                    more = by_a_list if rule.selects else "; audit one user for it" * (not wanted.user_id)
                not_run.append(NotRun(rule.id, reason + more))
    if wanted.session_id:
        known = {one.rule_id for one in not_run}
        not_run += [NotRun(one, ONE_SESSION) for one in COMPARING if one not in known]
    if wanted.selects_in_sessions:
        not_run.append(NotRun("duplicate where each turn is a request of its own", MAY_BE_HIDDEN))
    if wanted.user_id:
        not_run += [NotRun(one, ONE_USER) for one in ("shared-session", "user-per-session")]
    if personal:
        not_run.append(NotRun("health and names of people", NOT_LOOKED_FOR))
    else:
        not_run.append(NotRun("personal-data", "REFLEXIO_MCP_PERSONAL_DATA=0"))
    look = _Pass(wanted, overview, learning, detectors, progress)
    stop, gaps = await look.run(scope, after)
    whole = stop is None and after is None
    if not secrets.available():
        not_run[:0] = [NotRun(one, secrets.MISSING) for one in OF_SECRETS]
    left_out, go_on = "", None
    if stop:
        left_out = f"{stop.left_out}, because the time for one call ({AUDIT_SECONDS:.0f} s) was over"
        if stop.cursor:
            go_on = go_on_call(stop.cursor.encode(scope, asked), offer)
        else:
            left_out += "; no cursor goes on from there, as it would hold an id that is a key: audit up to an end_time"
    if not whole:
        told = {one.rule_id for one in not_run}
        by_session = [one for one in detectors if look.rest and type(one).session is not Detector.session]
        cut = [found.rule.id for one in by_session for found in one.founds]
        for reason, ids in (
            (OF_THIS_CALL + by_a_list, [one for one in COMPARING if one in WHOLE_SESSIONS]),
            (OF_THIS_CALL, (*COMPARING, OTHER_TWINS)),
            (OF_A_PART, (*OF_ALL, *OF_TOTALS)),
            (OF_CUT_SESSION, cut),
        ):
            not_run += [NotRun(one, reason) for one in ids if one not in told]
            told.update(ids)
    if long := overview.long_texts:
        reason = f"of {long:,} texts only the first {SCANNED_CHARS:,} characters were read"
        not_run += [NotRun(one, reason) for one in OF_SECRETS]
    not_run += [
        NotRun(found.rule.id, one.left_out) for one in detectors if one.left_out for found in one.founds
    ]
    twins = next((one for one in detectors if isinstance(one, CopiedSessions)), None)
    if narrow or any(one.rule_id == OTHER_TWINS for one in not_run):
        twins = None
    if twins and (twins.left_out or gaps):
        not_run.append(NotRun(OTHER_TWINS, twins.left_out or UNREAD))
        twins = None
    await progress("requests whose learning was looked up", 0, None)
    if learning.candidates and (reason := await learning.ask(scope, overview)):
        not_run += [NotRun(found.rule.id, reason) for found in learning.founds]
    learned = LearnedChecks(moment)
    if narrow:
        reason = PART_OF_TRAFFIC
    elif not scope.learns:
        reason = DOES_NOT_LEARN
    else:
        users = [user for user, _ in overview.users.counts.most_common()]
        reason = await learned.read(scope, users, LEARNED_SECONDS)
        if not wanted.user_id and not reason:
            reason = OF_NOBODY_SEEN
    if reason:
        not_run += [NotRun(found.rule.id, reason) for found in learned.founds]
    founds = {found.rule.id: found for one in (*detectors, learning, learned) for found in one.founds}
    # A deletion refuses a filter without a user, session, source, version or time.
    frozen = replace(wanted, end=overview.last) if overview.requests else wanted
    unknown = () if whole else OF_ALL
    findings = [
        founds[one.id] for one in RULES if one.id in founds and founds[one.id].count and one.id not in unknown
    ]
    shown = {found.rule.id for found in findings}
    not_run = [one for one in not_run if one.reason != OF_A_PART or one.rule_id not in shown]
    in_part = {found.rule.id for one in detectors if one.left_out for found in one.founds}
    for found in findings:
        seen = whole and found.rule.id not in in_part
        found.next = next_call(found, frozen, overview.first, offer, whole=seen)
        found.look = look_first(found.next, offer)
    start = stop.before if stop else wanted.start
    # A clock that runs ahead gives requests of the future.
    end = max(moment, overview.last) if wanted.end is None else wanted.end
    if after:
        end = min(end, after.newest)
    (told,) = [one for one in detectors if isinstance(one, secrets.Secrets)]
    return Audit(
        frozen,
        overview,
        tuple(findings),
        tuple(not_run),
        left_out,
        go_on,
        gaps,
        start,
        end,
        twins.other_twins if twins else None,
        tuple(twins.twins) if twins else (),
        look_at([one.request_id for one in twins.twins], offer) if twins else None,
        told.speak_of_secrets,
        tuple(told.speaking),
        goes_on=after is not None,
        learns=scope.learns,
    )


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where the time of a call ran out, times in epoch seconds.

    Args:
        cursor: the place from which the next call goes on; `None` where it would hold a key.
        session: the last request of the first session that was not looked at.
        is_tied: whether sessions of that second were looked at, too.
        request: the last request that was looked at of a session with more.
        rest: how many of its requests were not.
    """

    cursor: Cursor | None
    session: int | None
    is_tied: bool
    request: int | None
    rest: int

    @property
    def before(self) -> int:
        """From here on back, not all was looked at."""
        return max(at for at in (self.session, self.request) if at is not None)

    @property
    def left_out(self) -> str:
        parts: list[str] = []
        if self.session is not None:
            at = iso(self.session)
            some = f"some sessions whose last request is from {at} and all older ones"
            these = some if self.is_tied else f"sessions whose last request is from {at} or before"
            parts.append(f"{these} were not looked at")
        if self.rest:
            parts.append(f"of a session with long texts the {self.rest:,} oldest requests were not")
        return " and ".join(parts)


@dataclass
class _Pass:
    """The way through the sessions, the newest first, and what it fills."""

    wanted: TrafficFilter
    overview: Overview
    learning: LearningChecks
    detectors: list[Detector]
    progress: Progress
    until: float = field(default_factory=lambda: time.monotonic() + AUDIT_SECONDS)
    last: tuple[SessionSlice, RequestWithInteractions | None] | None = None
    """The last session that was looked at, and its last request that was, where it has more. No call stops before
    there is one: each gets further than the one before."""
    rest: int = 0
    """How many more it has."""

    async def run(self, scope: Scope, after: Cursor | None) -> tuple[_Stop | None, tuple[Gap, ...]]:
        """Look at the sessions.

        Returns:
            Where time ran out; `None` when all were looked at. And what the service could not return.
        """
        pager = SessionPager(scope, self.wanted, after=after)
        waiting: list[SessionSlice] = []
        async for session_slice in pager.slices():
            waiting.append(session_slice)
            if self._is_over():
                break
            if sum(len(one.requests) for one in waiting) >= REQUESTS_A_LOOK:
                waiting = await self._look(waiting)
        if not self._is_over():
            waiting = await self._look(waiting)
        await anyio.to_thread.run_sync(self._finish)
        if self.last is None or not (waiting or self.rest):
            return None, pager.gaps
        session_slice, request = self.last
        unseen = waiting[0].newest if waiting else None
        stop = _Stop(
            None if _names_key(session_slice, request) else pager.cursor("audit", session_slice, request),
            unseen,
            unseen == session_slice.newest,
            request.request.created_at if request else None,
            self.rest,
        )
        return stop, pager.gaps

    def _finish(self) -> None:
        for detector in self.detectors:
            detector.finish()

    def _is_over(self, request: RequestWithInteractions | None = None) -> bool:
        """Whether to stop behind a request of the last session, or behind all of it."""
        late = time.monotonic() - self.until
        if self.last is None or late < 0:
            return False
        return late >= SAYABLE_SECONDS or not _names_key(self.last[0], request)

    async def _look(self, waiting: list[SessionSlice]) -> list[SessionSlice]:
        # Detectors read every text: in a worker thread, so that other calls go on meanwhile.
        looked = await anyio.to_thread.run_sync(self._look_until, waiting)
        await self.progress("requests looked at", self.overview.requests, None)
        return waiting[looked:]

    def _look_until(self, slices: list[SessionSlice]) -> int:
        """Look at sessions until the time is over, at one request at the least; how many were looked at."""
        for number, session_slice in enumerate(slices, 1):
            self._look_at(session_slice)
            if self._is_over():
                return number
        return len(slices)

    def _look_at(self, session_slice: SessionSlice) -> None:
        goes_on = len(session_slice.requests) < len(session_slice.whole)
        whole = self.wanted.pick(session_slice.whole)
        left = {id(item) for item in session_slice.requests}
        matching = [item for item in whole if id(item) in left] if goes_on else whole
        self.last, self.rest = (session_slice, None), 0
        self.overview.sessions += bool(matching) and not goes_on
        for number, item in enumerate(matching, 1):
            self.overview.add(item)
            if content_chars(item) > SCANNED_CHARS:
                self.overview.long_texts += sum(
                    len(text) > SCANNED_CHARS for turn in item.interactions for text in texts_of(turn)
                )
            self.learning.request(item)
            stop_if_cancelled()
            for detector in self.detectors:
                detector.request(item)
            if number < len(matching) and self._is_over(item):
                # What shows only in a whole session is found by the call that comes to its end.
                self.last, self.rest = (session_slice, item), len(matching) - number
                return
        if whole:
            seen = SessionSeen(session_slice.session_id, whole, is_part=self.wanted.selects_in_sessions)
            for detector in self.detectors:
                detector.session(seen)


def _names_key(session_slice: SessionSlice, request: RequestWithInteractions | None) -> bool:
    """Whether an id of that place is a key."""
    ids = (session_slice.session_id, request.request.request_id if request else "")
    return any(map(secrets.secret_in_name, ids))
