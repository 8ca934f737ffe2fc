"""Pages of learnings, with the words that taught each."""

from collections.abc import Sequence
from typing import Final

import anyio.to_thread

from reflexio_mcp.results.base import NOTICE, Room, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import (
    UNREADABLE_SHOWN,
    LearningPage,
    LearningRow,
    learning_row,
)
from reflexio_mcp.traffic.learnings.find import LinkedLearning
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.learnings.showing import LearningRows, backgrounds
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor, question_of
from reflexio_mcp.traffic.scope import Scope

__all__ = ["list_learnings"]

OF_CHARS: Final = 300


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
    against = await backgrounds(scope, [one.learning for one in page], learned.read)
    showing = LearningRows(scope, against, names_user=bool(selection.user_id))
    rows = await anyio.to_thread.run_sync(_rows, showing, page)
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
        of=shown_name(" ".join(selection.describe().split()), OF_CHARS),
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


def _rows(rows: LearningRows, page: Sequence[LinkedLearning]) -> list[LearningRow]:
    room = Room()
    shown: list[LearningRow] = []
    for item in page:
        row = rows.row(item)
        if not room.take(row):
            break
        shown.append(row)
    return shown
