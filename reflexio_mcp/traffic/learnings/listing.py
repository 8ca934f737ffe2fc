"""Lists of what was learned, a page at a time, with the requests and interactions that each learning came from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio.to_thread

from reflexio_mcp.results.base import NOTICE, Room, at
from reflexio_mcp.results.learnings import FromRequest, LearningPage, LearningRow
from reflexio_mcp.results.reading import GAPS_SHOWN, learning_row
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import FedLearning, Learned
from reflexio_mcp.traffic.learnings.select import Selected, Selection, select_learnings
from reflexio_mcp.traffic.learnings.turns import FoundTurns, find_turns, with_last_requests
from reflexio_mcp.traffic.reading.cursors import question_of, read_place, write_place
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import clip, shown_id, shown_name

__all__ = ["list_learnings"]

NOT_LISTED: Final = "Agent playbooks and profiles past their time to live are not listed here."
REPLACED: Final = "A merged or superseded learning is kept for a while: another learning took its place."
NOT_KNOWN: Final = "Whether anything was learned is not known."

CONTENT_CHARS: Final = 1_000
QUOTE_CHARS: Final = 300
REQUESTS_NAMED: Final = 5


async def list_learnings(scope: Scope, selection: Selection, *, limit: int, cursor: str = "") -> LearningPage:
    """The learnings that a selection means, whatever their state: current ones first, then the last changed.

    Args:
        limit: rows at the most.
        cursor: from the page before.

    Raises:
        InvalidInput: the selection names nothing, or the cursor is not one of this list.
        NotStored: the request that it goes by is not stored, or not visible to this caller.
        Unreadable: the service fails to return that request.
    """
    question = [selection.user_id, selection.request_id, selection.words, question_of(selection.wanted)]
    after = _after(read_place(cursor, "learnings", scope, question)) if cursor else None
    selected = await select_learnings(scope, selection)
    ordered = sorted(selected.learned.fed.values(), key=_place)
    left = [one for one in ordered if after is None or _place(one) > after]
    page = await with_last_requests(scope, left[:limit])
    turns = await _turns_of(scope, page)
    # Looking for secrets takes time in long texts.
    rows = await anyio.to_thread.run_sync(_rows, scope, selection, page, turns)
    following = None
    if len(rows) < len(left):
        following = write_place("learnings", scope, question, list(_place(page[len(rows) - 1])))
    learned, status = selected.learned, selected.status
    return LearningPage(
        notice=NOTICE if rows or selected.not_found else "",
        of=shown_name(" ".join(selection.describe().split()), QUOTE_CHARS),
        returned=len(rows),
        total=len(ordered),
        learnings=rows,
        not_found=[shown_id(one) for one in selected.not_found[:REQUESTS_NAMED]],
        users_not_read=learned.users_left_out,
        unlinked=learned.unlinked,
        learning=learning_row(status.status, status.reason, evaluation_only=False)
        if status and status.status != "done"
        else None,
        unreadable=list(selected.gaps[:GAPS_SHOWN]),
        cursor=following,
        notes=_notes(selected, rows),
    )


def _place(item: FedLearning) -> tuple[bool, int, str]:
    one = item.learning
    return one.state != "current", -one.changed_at, one.learning_id


def _after(place: Any) -> tuple[bool, int, str]:
    match place:
        case [bool(state), int(changed), str(learning_id)]:
            return state, changed, learning_id
        case _:
            raise InvalidInput("cursor", "is not one that this call gave; start again without it.")


async def _turns_of(scope: Scope, page: Sequence[FedLearning]) -> dict[str, FoundTurns]:
    found: dict[str, FoundTurns] = {}
    for user_id in dict.fromkeys(one.learning.user_id for one in page):
        wanted = [
            turn for one in page if one.learning.user_id == user_id for turn in one.learning.interaction_ids
        ]
        found[user_id] = await find_turns(scope, user_id, wanted, quoting=[one.learning for one in page])
    return found


def _rows(
    scope: Scope, selection: Selection, page: Sequence[FedLearning], turns: Mapping[str, FoundTurns]
) -> list[LearningRow]:
    room = Room()
    rows: list[LearningRow] = []
    for item in page:
        found = turns.get(item.learning.user_id, FoundTurns(whole=False))
        row = _row(item, found, masked=scope.masked, names_user=bool(selection.user_id))
        if not room.take(row):
            break
        rows.append(row)
    return rows


def _row(item: FedLearning, found: FoundTurns, *, masked: bool, names_user: bool) -> LearningRow:
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    learning = item.learning
    places: defaultdict[str, list[int]] = defaultdict(list)
    for one in sorted(learning.interaction_ids):
        if turn := found.turns.get(one):
            places[turn.request_id].append(turn.place)
    missing = len(learning.interaction_ids) - sum(map(len, places.values()))
    saying = sorted(found.saying(learning, learning.interaction_ids))
    return LearningRow(
        learning_id=shown_id(learning.learning_id),
        state=shown_name(learning.state),
        changed_at=at(learning.changed_at) if learning.changed_at else None,
        user_id=None if names_user else shown_id(learning.user_id),
        content="" if masked else clip(redact(learning.content), CONTENT_CHARS),
        characters=len(learning.content) if masked else None,
        trigger="" if masked else clip(redact(learning.trigger), QUOTE_CHARS),
        quotes="" if masked else clip(redact(learning.quote), QUOTE_CHARS),
        source=item.how,
        from_requests=[
            FromRequest(request_id=shown_id(name), interactions=sorted(numbers))
            for name, numbers in list(places.items())[:REQUESTS_NAMED]
        ],
        more_requests=max(0, len(places) - REQUESTS_NAMED),
        said_in=[shown_id(name) for name in saying[:REQUESTS_NAMED]],
        interactions_deleted=missing if found.whole else 0,
        interactions_not_looked_up=0 if found.whole else missing,
        last_request="" if learning.interaction_ids else shown_id(learning.last_request_id),
    )


def _notes(selected: Selected, rows: Sequence[LearningRow]) -> list[str]:
    learned: Learned = selected.learned
    unknown = not learned.count and (learned.unlinked or learned.users_left_out or selected.gaps)
    replaced = any(row.state in ("merged", "superseded") for row in rows)
    return [
        *([NOT_KNOWN] if unknown else []),
        *(
            [f"The learnings of {learned.users_left_out:,} more users were not read."]
            if learned.users_left_out
            else []
        ),
        *(
            [
                f"{learned.unlinked:,} learnings of these users do not say what they came from; they are not listed."
            ]
            if learned.unlinked
            else []
        ),
        *([REPLACED] if replaced else []),
        NOT_LISTED,
    ]
