"""Lists every place of one finding, for somebody who judges them."""

import functools
import math
import sys
import time
import zlib
from bisect import insort
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from reflexio_mcp.results.answer_size import PAGE_CHARS, Room
from reflexio_mcp.results.audit import AuditResult, FindingRow, NotLooked, Place
from reflexio_mcp.results.base import NOTICE, at, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress, no_progress
from reflexio_mcp.traffic.audit import run
from reflexio_mcp.traffic.audit.calls import Offer
from reflexio_mcp.traffic.audit.judged import NoProblem
from reflexio_mcp.traffic.audit.rules import rule_of
from reflexio_mcp.traffic.audit.rules.base import Finding
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor, question_of
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import in_heavy_thread

__all__ = ["list_places"]

LISTING: Final = "places"

PAGE: Final = 50

OVERHEAD: Final = 3_500
"""Space that the text and the structured content each keep for everything but the places."""

Rank = tuple[int, int, str, int, int]
"""The most points first, then the newest; then what tells places of one request apart.

Places that say the same of one interaction have the same rank, and stay in the order in which they are read.
"""


def _rank(finding: Finding) -> Rank:
    words = zlib.crc32(f"{finding.kind} {finding.around}".encode("utf-8", "replace"))
    request = finding.request
    return -finding.points, -request.created_at, request.request_id, finding.interaction_id or 0, words


@dataclass(frozen=True)
class _Shown:
    """What the pages before have shown.

    Args:
        places: how many places.
        last: the rank of the last of them.
        as_last: how many of them have that rank.
    """

    places: int = 0
    last: Rank | None = None
    as_last: int = 0


@dataclass(kw_only=True)
class _Ranked(run.Gathered):
    """Counts all places in one pass, and keeps those of one page.

    Args:
        shown: what the pages before have shown.
        left: how many places come after these, those of this page included.
        most: how many places a page has.
    """

    shown: _Shown
    most: int = PAGE
    total: int = 0
    left: int = 0
    page: list[Finding] = field(default_factory=list[Finding])
    _as_last_shown: int = 0
    """How many places of the same rank as the last that was shown have been read."""

    def add(self, finding: Finding) -> None:
        super().add(finding)
        self.total += 1
        if not self._was_shown(_rank(finding)):
            self.left += 1
            insort(self.page, finding, key=_rank)
            del self.page[self.most :]

    def _was_shown(self, rank: Rank) -> bool:
        if self.shown.last is None or rank > self.shown.last:
            return False
        if rank < self.shown.last:
            return True
        self._as_last_shown += 1
        return self._as_last_shown <= self.shown.as_last

    def shown_with(self, places: int) -> _Shown:
        """Return what has been shown together with the first places of this page, of which there is at least one."""
        ranks = [_rank(finding) for finding in self.page[:places]]
        as_last = ranks.count(ranks[-1])
        if ranks[-1] == self.shown.last:
            as_last += self.shown.as_last
        return _Shown(self.shown.places + places, ranks[-1], as_last)


async def list_places(
    scope: Scope,
    asked: TrafficFilter,
    *,
    offer: Offer,
    cursor: str = "",
    progress: Progress = no_progress,
    judged: NoProblem | None = None,
    to_the_end: bool = False,
) -> AuditResult:
    """List the places of the finding that a filter names, the most suspicious first.

    Unlike an audit, it shows each place in a request, and a cursor continues the list. Each page reads everything.

    Args:
        offer: tools that follow-up calls may name.
        judged: what people judged to be no problem, which is counted apart.
        to_the_end: take as long as it needs, and list every place on one page, for a caller who waits and scrolls.

    Raises:
        InvalidInput: the cursor belongs to another list.
    """
    question = question_of(asked)
    shown = _opened(scope, cursor, question)
    rule = rule_of(asked.finding)
    inside = replace(asked, finding="")
    now, until = time.time(), time.monotonic() + (math.inf if to_the_end else run.AUDIT_SECONDS)
    rules = [] if rule.from_service else [rule(now)]  # the service is asked below
    ranked = partial(_Ranked, shown=shown, most=sys.maxsize if to_the_end else PAGE)
    room = sys.maxsize if to_the_end else PAGE_CHARS - OVERHEAD
    look = run.Pass(inside, rules, until, make_gathered=ranked, judged=judged or NoProblem())
    pager = SessionPager(scope, inside)
    stopped = await run.look_through(scope, pager, look, progress)
    await in_heavy_thread(scope.owner, look.finish)
    doubts = [used_rule.left_out for used_rule in rules if used_rule.left_out]
    if rule.from_service:
        if doubt := await look.status_checks.ask(scope):
            doubts.append(doubt)
        look.add(look.status_checks.findings)
    rows: list[FindingRow] = []
    next_cursor = ""
    gathered = look.found.get(asked.finding)
    if gathered:
        assert isinstance(gathered, _Ranked)  # `make_gathered` makes no other
        places = _places(scope, gathered, Room(room, room))
        ids = [finding.request.request_id for finding in gathered.page[: len(places)]]
        row = run.finding_row(asked.finding, gathered, places, ids, look, offer, learns=scope.learns)
        judged_apart = asked.finding in look.no_problem
        more: dict[str, object] = {
            "place_count": gathered.total,
            # The call of a run would also delete what was judged to be no problem.
            "runs": [] if judged_apart else run.runs_of(rules, inside, offer, whole=not stopped),
        }
        rows.append(row.model_copy(update=more))
        if len(places) < gathered.left:
            now_shown = gathered.shown_with(len(places))
            next_cursor = encode_cursor(LISTING, scope, question, [*astuple(now_shown)])
    limits = run.limits_of([rule], {row.finding for row in rows}) if look.requests else []
    return AuditResult(
        notice=NOTICE,
        filter=shown_name(filter_in_words(asked, words=not scope.masked), 200),
        traffic=run.found_in(look, masked=scope.masked),
        findings=rows,
        no_problem=run.counted_apart(look),
        not_looked_for=[NotLooked(findings=[asked.finding], because=doubt) for doubt in doubts],
        facts=[*look.judged.facts, *_unread(look, pager, stopped=stopped), *run.advice_about(rows), *limits],
        cursor=next_cursor,
    )


def _unread(look: run.Pass, pager: SessionPager, *, stopped: bool) -> list[Fact]:
    """Return what the list lacks, because the time was over or the service failed to return it."""
    facts: list[Fact] = []
    if stopped and look.last:
        facts += [
            Fact(code=code, until=at(look.last.newest))
            for code in (FactCode.REST_NOT_AUDITED, FactCode.LIST_OLDER)
        ]
    if pager.unreadable:
        facts.append(Fact(code=FactCode.PARTS_NOT_AUDITED, number=len(pager.unreadable)))
    return facts


def _opened(scope: Scope, cursor: str, question: list[Any]) -> _Shown:
    """Return what the pages before a cursor have shown."""
    if not cursor:
        return _Shown()
    try:
        return _Shown(*_position().validate_python(decode_cursor(cursor, LISTING, scope, question)))
    except ValidationError:
        raise InvalidInput("cursor", "is not a cursor of this call; start again without it.") from None


@functools.cache
def _position() -> TypeAdapter[tuple[int, Rank, int]]:
    return TypeAdapter(tuple[int, Rank, int])  # built late: few calls continue a list


def _places(scope: Scope, gathered: _Ranked, room: Room) -> list[Place]:
    places: list[Place] = []
    for number, finding in enumerate(gathered.page, gathered.shown.places + 1):
        place = run.place_of(finding, masked=scope.masked, kinds=gathered.kinds)
        place = place.model_copy(update={"number": number})
        if not room.take(place):
            break
        places.append(place)
    return places
