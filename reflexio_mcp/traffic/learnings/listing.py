"""Pages of learnings, with the words that taught each."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

import anyio.to_thread

from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import NOTICE, Row, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import (
    UNREADABLE_SHOWN,
    LearningPage,
    LearningRow,
    UserLearnings,
    learning_state,
)
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.cases import Window
from reflexio_mcp.traffic.learnings.find import Learned, LinkedLearning, learnings_of_user, words_in_others
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.learnings.shared import read_shared_rules, rule_rows, stored_rules, trace
from reflexio_mcp.traffic.learnings.showing import LearningRows, backgrounds
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor, question_of
from reflexio_mcp.traffic.scope import Scope

__all__ = ["list_learnings", "list_shared_rules"]

SELECTION_CHARS: Final = 300
USERS_SHOWN: Final = 10

COMPARED: Final = 20
"""Maximum number of learnings on a page whose words are looked for in other requests."""

MOST_COMPARED_WITH: Final = 1_000
"""Maximum number of requests of a user in which they are looked for."""

AnyRow = TypeVar("AnyRow", bound=Row)


async def list_learnings(
    scope: Scope,
    selection: Selection,
    *,
    limit: int,
    cursor: str = "",
    room: Callable[[], Room] = Room,
) -> LearningPage:
    """List selected learnings: current ones first, then by last change. Without a selection, those of every user.

    Args:
        room: how much fits into the answer.

    Raises:
        TrafficError: as `select_learnings`, or the cursor belongs to another list.
    """
    question = [selection.user_id, selection.request_id, selection.words, question_of(selection.wanted)]
    after = str(decode_cursor(cursor, "learnings", scope, question)) if cursor else ""
    everybodys = not (scope.user_id or selection.user_id or selection.by_requests)
    selected = await select_learnings(scope, selection, everybodys=everybodys)
    learned, beside = _without_window(selected.learned)
    left = sorted((linked for linked in learned.linked.values() if _key(linked) > after), key=_key)
    page = left[:limit]
    read = learned.read
    if everybodys:  # so far, only current learnings were read. A row also shows what its learning replaced
        users = {linked.learning.user_id for linked in page}
        read = [row for user in users for row in await learnings_of_user(scope, user)]
    background_of = await backgrounds(scope, [linked.learning for linked in page], read)
    said_once = set[str]()
    if not scope.masked:
        said_once = await _said_once(scope, scope.user(selection.user_id), page)
    showing = LearningRows(scope, background_of, names_user=bool(selection.user_id), said_once=said_once)
    rows = await anyio.to_thread.run_sync(_that_fit, map(showing.row, page), room())
    more = len(rows) < len(left)
    doubts: list[Fact] = []
    if learned.users_left_out:
        doubts.append(Fact(code=FactCode.USERS_NOT_READ, number=learned.users_left_out))
    if learned.unlinked:
        doubts.append(Fact(code=FactCode.LEARNINGS_NOT_LISTED, number=learned.unlinked))
    if not learned.count and (doubts or selected.unreadable):
        doubts.insert(0, Fact(code=FactCode.LEARNED_NOT_KNOWN))
    if beside:
        doubts.append(Fact(code=FactCode.LEARNED_BESIDE, number=beside))
    status = selected.status
    return LearningPage(
        notice=NOTICE if rows else "",
        of=shown_name(" ".join(selection.describe().split()), SELECTION_CHARS) or "every user",
        returned=len(rows),
        cut_by_size=len(rows) < len(page),
        total=learned.count,
        by_user=_by_user(scope, learned) if not scope.user_id and not selection.user_id else [],
        learnings=rows,
        users_not_read=learned.users_left_out,
        unlinked=learned.unlinked,
        learning=learning_state(status.status, status.reason, evaluation_only=False)
        if status and status.status != "done"
        else None,
        unreadable=list(selected.unreadable[:UNREADABLE_SHOWN]),
        cursor=encode_cursor("learnings", scope, question, _key(page[len(rows) - 1])) if more else None,
        facts=[*doubts, *_advice(rows), Fact(code=FactCode.KINDS_NOT_LISTED)],
    )


async def _said_once(scope: Scope, user_id: str, page: Sequence[LinkedLearning]) -> set[str]:
    """Return the ids of current learnings whose words are only in the requests that they quote.

    If a user has no other request, that proves nothing. This reads all requests of a user, so it is done for a short
    list of one user only. Of other learnings nothing is said.
    """
    current = [linked.learning for linked in page if linked.learning.state == "current"]
    if not user_id or len(current) > COMPARED:
        return set()
    one_by_one = {learning.learning_id: [learning] for learning in current if learning.quote}
    found = await words_in_others(scope, user_id, one_by_one, most_requests=MOST_COMPARED_WITH)
    return {name for name, elsewhere in found.items() if elsewhere.requests and not elsewhere.with_words}


def _advice(rows: Sequence[LearningRow]) -> list[Fact]:
    if any(row.evidence for row in rows):
        return [Fact(code=FactCode.SOURCES_IN_ONE_PLAN)]
    return []


def _without_window(learned: Learned) -> tuple[Learned, int]:
    """Leave out the learnings that were only learned at the same time, and return how many of them are in use."""
    from_selected: dict[str, LinkedLearning] = {}
    beside = 0
    for name, linked in learned.linked.items():
        if not isinstance(linked.case, Window):
            from_selected[name] = linked
        elif linked.learning.state == "current":
            beside += 1
    return replace(learned, linked=from_selected), beside


def _by_user(scope: Scope, learned: Learned) -> list[UserLearnings]:
    counts = Counter(linked.learning.user_id for linked in learned.linked.values())
    return [
        UserLearnings(user_id=scope.shown_id(user), learnings=count)
        for user, count in counts.most_common(USERS_SHOWN)
    ]


async def list_shared_rules(
    scope: Scope,
    selection: Selection,
    *,
    limit: int,
    cursor: str = "",
    room: Callable[[], Room] = Room,
) -> LearningPage:
    """List shared rules, the newest first.

    With a user, or inside a user's scope, these are only the rules that rest on that user's playbooks.
    Only a scope of every user shows on whom else a rule rests.

    Args:
        room: how much fits into the answer.

    Raises:
        InvalidInput: the selection has more than a user.
        TrafficError: the cursor belongs to another list.
    """
    if selection.by_requests or selection.words:
        raise InvalidInput("shared", "can be combined with user_id alone.")
    user_id = scope.user(selection.user_id)
    before = int(decode_cursor(cursor, "shared rules", scope, user_id)) if cursor else 0
    facts: list[Fact] = []
    if user_id:
        shared = await read_shared_rules(scope)
        everything = shared.of(user_id)
        total = len(everything)
        left = [rule for rule in everything if not before or rule.number < before]
        page = left[:limit]
        if not total:
            facts.append(Fact(code=FactCode.NO_SHARED_RULES_REST))
        if shared.untraced:
            facts.append(Fact(code=FactCode.SHARED_RULES_UNTRACED, number=shared.untraced))
        if shared.left_out:
            facts.append(Fact(code=FactCode.SHARED_RULES_NOT_READ, number=shared.left_out))
    else:
        stored = await stored_rules(scope)
        total = len(stored)
        left = [row for row in stored if not before or row.agent_playbook_id < before]
        page = await trace(scope, left[:limit])
    uses = await _uses(scope) if page else None
    rows = await anyio.to_thread.run_sync(_that_fit, rule_rows(scope, page, uses), room())
    more = len(rows) < len(left)
    return LearningPage(
        notice=NOTICE if rows else "",
        of=shown_name(f"shared rules of {user_id}" if user_id else "all shared rules", SELECTION_CHARS),
        returned=len(rows),
        cut_by_size=len(rows) < len(page),
        total=total,
        learnings=[],
        lists_rules=True,
        shared_rules=rows,
        cursor=encode_cursor("shared rules", scope, user_id, page[len(rows) - 1].number) if more else None,
        facts=[*facts, Fact(code=FactCode.SHARED_RULES_RETURN)] if total else facts,
    )


async def _uses(scope: Scope) -> dict[str, int] | None:
    """Return how often answers of the last 30 days cited each shared rule, by its number, in the whole organization.

    Old citations are not counted: they say `playbook` for a user playbook, too, which can have the same number.
    """
    if scope.user_id:
        return None
    stats = await scope.client.get_application_stats(days=30)
    return {stat.real_id: stat.applied_count for stat in stats if stat.kind == "agent_playbook"}


def _key(item: LinkedLearning) -> str:
    """Order learnings: current ones first, then the last changed."""
    learning = item.learning
    group = 0 if learning.state == "current" else 1
    return f"{group} {10**12 - learning.changed_at:013} {learning.learning_id}"


def _that_fit(rows: Iterable[AnyRow], room: Room) -> list[AnyRow]:
    """Return the first rows of a page, as many as an answer has room for, but at least one. The others are not made."""
    shown: list[AnyRow] = []
    for row in rows:
        if not room.take(row):
            break
        shown.append(row)
    return shown
