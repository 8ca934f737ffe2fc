"""Pages of learnings, with the requests and interactions of each."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import anyio.to_thread

from reflexio_mcp.results.base import NOTICE, Room, at, clip, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import (
    UNREADABLE_SHOWN,
    FromRequest,
    LearningPage,
    LearningRow,
    learning_row,
)
from reflexio_mcp.traffic.learnings.evidence import Turns, evidence_of
from reflexio_mcp.traffic.learnings.find import LinkedLearning, find_interactions
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor, question_of
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import held_row

__all__ = ["list_learnings"]

CONTENT_CHARS: Final = 1_000
QUOTE_CHARS: Final = 300
REQUESTS_NAMED: Final = 5


async def list_learnings(scope: Scope, selection: Selection, *, limit: int, cursor: str = "") -> LearningPage:
    """List selected learnings: current ones first, then by last change.

    Raises:
        TrafficError: as `select_learnings`, or the cursor belongs to another list.
    """
    question = [selection.user_id, selection.request_id, selection.words, question_of(selection.wanted)]
    after = str(decode_cursor(cursor, "learnings", scope, question)) if cursor else ""
    selected = await select_learnings(scope, selection)
    learned, status = selected.learned, selected.status
    left = sorted((one for one in learned.linked.values() if _key(one) > after), key=_key)
    page = left[:limit]
    wanted = defaultdict[str, set[int]](set)
    for one in page:
        wanted[one.learning.user_id] |= one.learning.interaction_ids
    found = {user: await find_interactions(scope, user, ids) for user, ids in wanted.items()}
    rows = await anyio.to_thread.run_sync(_rows, scope, selection, page, found)
    more = len(rows) < len(left)
    doubts: list[Fact] = []
    if learned.users_left_out:
        doubts.append(Fact(code=FactCode.USERS_NOT_READ, number=learned.users_left_out))
    if learned.unlinked:
        doubts.append(Fact(code=FactCode.LEARNINGS_NOT_LISTED, number=learned.unlinked))
    if not learned.count and (doubts or selected.unreadable):
        doubts.insert(0, Fact(code=FactCode.LEARNED_NOT_KNOWN))
    return LearningPage(
        notice=NOTICE if rows else "",
        of=shown_name(" ".join(selection.describe().split()), QUOTE_CHARS),
        returned=len(rows),
        cut_by_size=len(rows) < len(page),
        total=learned.count,
        learnings=rows,
        users_not_read=learned.users_left_out,
        unlinked=learned.unlinked,
        learning=learning_row(status.status, status.reason, evaluation_only=False)
        if status and status.status != "done"
        else None,
        unreadable=list(selected.unreadable[:UNREADABLE_SHOWN]),
        cursor=encode_cursor("learnings", scope, question, _key(page[len(rows) - 1])) if more else None,
        facts=[*doubts, Fact(code=FactCode.KINDS_NOT_LISTED)],
    )


def _key(item: LinkedLearning) -> str:
    one = item.learning
    return f"{one.state != 'current':d} {10**12 - one.changed_at:013} {one.learning_id}"


def _rows(
    scope: Scope, selection: Selection, page: Sequence[LinkedLearning], found: Mapping[str, Turns]
) -> list[LearningRow]:
    room = Room()
    rows: list[LearningRow] = []
    for item in page:
        row = _row(item, found[item.learning.user_id], scope, names_user=bool(selection.user_id))
        if not room.take(row):
            break
        rows.append(row)
    return rows


def _row(item: LinkedLearning, found: Turns, scope: Scope, *, names_user: bool) -> LearningRow:
    from reflexio_mcp.traffic.audit.rules.redaction import redact

    learning = item.learning
    evidence = evidence_of(learning, found)
    places = defaultdict[str, list[int]](list)
    for turn in evidence.listed:
        places[turn.request_id].append(turn.place)
    quoting = dict.fromkeys(turn.request_id for turn in evidence.quoted_turns)

    policy = scope.policy.now()
    sources = [turn.request for turn in evidence.listed]
    holds = (policy.held_by(one.user_id, one.session_id, one.source) for one in sources)
    hold = policy.held_by(learning.user_id) or next(filter(None, holds), None)

    def shown(text: str, most: int) -> str:
        return "" if scope.masked else clip(redact(text), most)

    return LearningRow(
        learning_id=scope.shown_id(learning.learning_id),
        state=shown_name(learning.state),
        held=held_row(hold) if hold else None,
        changed_at=at(learning.changed_at) if learning.changed_at else None,
        user_id=None if names_user else scope.shown_id(learning.user_id),
        content=shown(learning.content, CONTENT_CHARS),
        characters=len(learning.content) if scope.masked else None,
        trigger=shown(learning.trigger, QUOTE_CHARS),
        quotes=shown(learning.quote, QUOTE_CHARS),
        source=item.how,
        from_requests=[
            FromRequest(request_id=scope.shown_id(name), interactions=numbers)
            for name, numbers in list(places.items())[:REQUESTS_NAMED]
        ],
        more_requests=max(0, len(places) - REQUESTS_NAMED),
        said_in=[scope.shown_id(name) for name in list(quoting)[:REQUESTS_NAMED]],
        interactions_deleted=len(evidence.gone),
        interactions_not_looked_up=len(evidence.unread),
        last_request="" if learning.interaction_ids else scope.shown_id(learning.last_request_id),
    )
