"""Pages of learnings, with the words that taught each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio.to_thread

from reflexio_mcp.results.base import NOTICE, Room, at, clip, shown_name, visible
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import (
    UNREADABLE_SHOWN,
    LearningPage,
    LearningRow,
    SharedRuleRow,
    learning_row,
)
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import LinkedLearning
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.learnings.shared import SharedRule, read_shared_rules
from reflexio_mcp.traffic.learnings.showing import LearningRows, backgrounds
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor, question_of
from reflexio_mcp.traffic.scope import Scope

__all__ = ["list_learnings", "list_shared_rules"]

OF_CHARS: Final = 300
RULE_CHARS: Final = 1_000
USERS_SHOWN: Final = 10


async def list_learnings(
    scope: Scope,
    selection: Selection,
    *,
    limit: int,
    cursor: str = "",
    room: Callable[[], Room] = Room,
) -> LearningPage:
    """List selected learnings: current ones first, then by last change.

    Args:
        room: how much fits into the answer.

    Raises:
        TrafficError: as `select_learnings`, or the cursor belongs to another list.
    """
    question = [selection.user_id, selection.request_id, selection.words, question_of(selection.wanted)]
    after = str(decode_cursor(cursor, "learnings", scope, question)) if cursor else ""
    selected = await select_learnings(scope, selection)
    learned, status = selected.learned, selected.status
    left = sorted((linked for linked in learned.linked.values() if _key(linked) > after), key=_key)
    page = left[:limit]
    against = await backgrounds(scope, [linked.learning for linked in page], learned.read)
    showing = LearningRows(scope, against, names_user=bool(selection.user_id))
    rows = await anyio.to_thread.run_sync(_rows, showing, page, room())
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


async def list_shared_rules(scope: Scope, selection: Selection, *, limit: int) -> LearningPage:
    """List the newest shared rules; of a user, or inside a user's scope, those that rest on the user's playbooks.

    Only a scope of every user shows on whom else a rule rests.

    Raises:
        InvalidInput: the selection has more than a user.
    """
    if selection.by_requests or selection.words:
        raise InvalidInput("shared", "can be combined with user_id alone.")
    shared = await read_shared_rules(scope)
    user_id = scope.user(selection.user_id)
    rules = shared.of(user_id) if user_id else shared.rules
    uses: dict[str, int] = {}
    if rules and not scope.user_id:  # the counts are those of the organization
        stats = await scope.client.get_application_stats(days=30)
        uses = {
            stat.real_id: stat.applied_count for stat in stats if stat.kind in ("agent_playbook", "playbook")
        }
    rows = await anyio.to_thread.run_sync(_shared_rows, scope, rules[:limit], uses)
    facts = [Fact(code=FactCode.SHARED_RULES_RETURN)] if rules else []
    if shared.untraced and user_id:
        facts.insert(0, Fact(code=FactCode.SHARED_RULES_UNTRACED, number=shared.untraced))
    return LearningPage(
        notice=NOTICE if rows else "",
        of=shown_name(f"shared rules of {user_id}" if user_id else "all shared rules", OF_CHARS),
        returned=len(rows),
        total=len(rules) + (0 if user_id else shared.left_out),
        learnings=[],
        shared_rules=rows,
        facts=facts,
    )


def _shared_rows(scope: Scope, rules: Sequence[SharedRule], uses: Mapping[str, int]) -> list[SharedRuleRow]:
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    def shown(text: str) -> str:
        return "" if scope.masked else visible(clip(redact(text), RULE_CHARS))

    def row(rule: SharedRule) -> SharedRuleRow:
        users = [] if scope.user_id else sorted(rule.users)
        return SharedRuleRow(
            rule_id=f"agent_playbook:{rule.number}",
            content=shown(rule.row.content),
            trigger=shown(rule.row.trigger),
            approval=rule.row.playbook_status,
            made_at=at(rule.row.created_at) if rule.row.created_at else None,
            applied=None if scope.user_id else uses.get(str(rule.number), 0),
            playbooks=0 if scope.user_id else rule.playbooks,
            users=[scope.shown_id(user) for user in users[:USERS_SHOWN]],
            more_users=max(0, len(users) - USERS_SHOWN),
            traced=rule.traced,
        )

    return [row(rule) for rule in rules]


def _key(item: LinkedLearning) -> str:
    learning = item.learning
    return f"{learning.state != 'current':d} {10**12 - learning.changed_at:013} {learning.learning_id}"


def _rows(rows: LearningRows, page: Sequence[LinkedLearning], room: Room) -> list[LearningRow]:
    shown: list[LearningRow] = []
    for item in page:
        row = rows.row(item)
        if not room.take(row):
            break
        shown.append(row)
    return shown
