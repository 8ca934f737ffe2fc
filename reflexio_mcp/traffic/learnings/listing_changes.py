"""Lists what has changed in what is known since a time."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import anyio.to_thread

from reflexio_mcp.rest.models import UserPlaybook, UserProfile
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import NOTICE, at, shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import ChangeRow, LearningPage
from reflexio_mcp.state.log import said_in
from reflexio_mcp.state.records import LearningDeed, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.deletion.items import content_of
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.changes import Change, Records, Rows, changes_of
from reflexio_mcp.traffic.learnings.find import MOST_REQUESTS, USERS_AT_ONCE
from reflexio_mcp.traffic.learnings.records import Learning, learning_of
from reflexio_mcp.traffic.learnings.select import Selection
from reflexio_mcp.traffic.learnings.showing import CONTENT_CHARS, QUOTE_CHARS, LearningRows
from reflexio_mcp.traffic.reading.cursors import decode_cursor, encode_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["list_changes"]

LISTING: Final = "changes"

MOST_USERS: Final = 500
"""Maximum number of users whose learnings are read."""

MOST_EXPORTS: Final = 1_000

DAY: Final = 86_400

LEARNED_WITHIN: Final = DAY
"""Seconds from the arrival of a request to the end of learning from it. Learning begins after six idle hours at the
latest."""

KEPT_DAYS: Final = 90
"""How long Reflexio keeps replaced learnings."""

OLD_SHOWN: Final = 3
"""Maximum number of earlier texts that a row shows."""


@dataclass(frozen=True)
class Recorded:
    """This server's own records.

    Args:
        of_users: what was done to learnings, by user.
        facts: that the records could not be read.
    """

    of_users: Mapping[str, Records] = field(default_factory=dict[str, Records])
    exports: Sequence[Change] = ()
    facts: Sequence[Fact] = ()


@dataclass(frozen=True)
class Found:
    """What was read of users, by user.

    Args:
        facts: why others may be missing.
    """

    rows: Mapping[str, Rows]
    facts: Sequence[Fact] = ()


async def list_changes(
    scope: Scope,
    state: State,
    owner: Owner,
    selection: Selection,
    since: int,
    *,
    limit: int,
    cursor: str = "",
    room: Callable[[], Room] = Room,
) -> LearningPage:
    """List what has changed for a user, or for every user of the scope, the latest change first.

    Args:
        owner: the owner of the records in this scope.
        room: how much fits into the answer.
        since: epoch seconds. The time of a cursor replaces it: "7 days" begins a little later at each call.

    Raises:
        InvalidInput: the selection has more than a user, or the cursor belongs to another list.
    """
    if selection.by_requests or selection.words:
        raise InvalidInput("The time of changes", "can be combined with user_id alone.")
    user_id, now = scope.user(selection.user_id), int(time.time())
    after = ""
    if cursor:
        since, after = decode_cursor(cursor, LISTING, scope, user_id)
    recorded = await _recorded(state, owner, user_id, since)
    found = await (
        _rows_of_user(scope, user_id, since) if user_id else _rows_of_all(scope, recorded, since, now)
    )
    compared = await anyio.to_thread.run_sync(partial(_compared, found.rows, recorded.of_users, since, now))
    changes = sorted([*compared, *recorded.exports], key=lambda change: change.key)
    left = [change for change in changes if change.key > after]
    one_user = bool(user_id)
    rows = await anyio.to_thread.run_sync(_shown, scope, left[:limit], one_user, room())
    more = len(rows) < len(left)
    return LearningPage(
        notice=NOTICE if rows else "",
        of=shown_name(f"user {user_id}" if user_id else "every user"),
        returned=len(rows),
        cut_by_size=len(rows) < len(left[:limit]),
        total=len(changes),
        learnings=[],
        changed_since=at(since),
        changes=rows,
        cursor=encode_cursor(LISTING, scope, user_id, [since, left[len(rows) - 1].key]) if more else None,
        facts=[*recorded.facts, *found.facts, *_limits(changes, since, now)],
    )


def _limits(changes: Sequence[Change], since: int, now: int) -> list[Fact]:
    """Return what the list cannot know."""
    facts: list[Fact] = []
    if doubtful := sum(change.maybe_deleted for change in changes):
        facts.append(Fact(code=FactCode.FORGOTTEN_OR_DELETED, number=doubtful))
    if now - since > KEPT_DAYS * DAY:
        facts.append(Fact(code=FactCode.CHANGES_TOO_OLD, number=KEPT_DAYS))
    return [*facts, Fact(code=FactCode.CHANGES_ELSEWHERE)]


async def _recorded(state: State, owner: Owner, user_id: str, since: int) -> Recorded:
    def read() -> Recorded:
        whose = replace(owner, user=user_id)
        deeds = state.learning_deeds(whose, since)
        copied = {
            (number, copy.id): learning
            for number, copy in state.copies.of_learnings(whose, {deed.job for deed in deeds})
            if isinstance(learning := content_of(copy), Learning)
        }
        exports = [
            _export(noted.at, said_in(noted.line))
            for noted in state.noted(owner, MOST_EXPORTS, events=("exported",), since=since)
        ]
        return Recorded(
            _by_user(deeds, copied), [export for export in exports if export and _concerns(export, user_id)]
        )

    try:
        return await in_thread(read)
    except StateUnusable:
        return Recorded(facts=[Fact(code=FactCode.CHANGES_UNRECORDED)])


def _export(moment: float, line: Mapping[str, Any]) -> Change | None:
    """Return the export that a line tells of; `None` if it tells of none, or was changed."""
    try:
        if line["event"] != "exported":
            return None
        learnings = line["counts"].get("learnings", 0)
        return Change("exported", int(moment), line["user_id"], selected=line["target"], exported=learnings)
    except (AttributeError, KeyError, TypeError):
        return None


def _concerns(export: Change, user_id: str) -> bool:
    of_everybody = not export.user_id
    return not user_id or of_everybody or export.user_id == user_id


def _by_user(deeds: Sequence[LearningDeed], copied: Mapping[tuple[int, str], Learning]) -> dict[str, Records]:
    deeds_of = defaultdict[str, list[LearningDeed]](list)
    copied_of = defaultdict[str, dict[tuple[int, str], Learning]](dict)
    for deed in deeds:
        deeds_of[deed.user].append(deed)
    for key, learning in copied.items():
        copied_of[learning.user_id][key] = learning
    return {user: Records(of_user, copied_of[user]) for user, of_user in deeds_of.items()}


async def _rows_of_user(scope: Scope, user_id: str, since: int) -> Found:
    client = scope.client
    # `get_profiles` returns every state, but nothing past its expiry, which `get_all_profiles` returns.
    current = await client.get_all_profiles(user_id)
    created = await client.get_all_profiles(user_id, created_since=since)
    rows = _rows(
        user_id,
        await client.get_profiles(user_id),
        await client.get_user_playbooks(user_id),
        current,
        created,
    )
    return Found({user_id: rows})


async def _rows_of_all(scope: Scope, recorded: Recorded, since: int, now: int) -> Found:
    """Read the rows of every user who may have changes. The service has no list of users, and none of changes."""
    client = scope.client
    current = await client.get_all_profiles(None)
    created = await client.get_all_profiles(None, created_since=since)
    playbooks = await client.get_user_playbooks(None)
    talking, read_all = await _talking(scope, since - LEARNED_WITHIN)
    changed = {profile.user_id for profile in current if _may_have_changed(profile, since, now)}
    changed |= {
        playbook.user_id for playbook in playbooks if playbook.created_at >= since and playbook.user_id
    }
    users = sorted(changed | talking | recorded.of_users.keys())
    found: dict[str, Rows] = {}

    async def read(user_id: str) -> None:
        profiles = await client.get_profiles(user_id)
        found[user_id] = _rows(user_id, profiles, playbooks, current, created)

    await for_each(users[:MOST_USERS], read, at_once=USERS_AT_ONCE)
    facts: list[Fact] = []
    if left := len(users) - len(found):
        facts.append(Fact(code=FactCode.USERS_NOT_READ, number=left))
    if not read_all:
        facts.append(Fact(code=FactCode.CHANGES_PARTLY_READ))
    return Found(found, facts)


async def _talking(scope: Scope, since: int) -> tuple[set[str], bool]:
    """Return the users with requests since a time, and whether all requests were read.

    Learning from these requests may have replaced learnings of the users, or forgotten them.
    """
    users: set[str] = set()
    pager = SessionPager(scope, TrafficFilter(start_time=max(0, since)))
    below_limit = True
    async with aclosing(pager.parts()) as parts:
        while below_limit and (part := await anext(parts, None)):
            users |= {item.request.user_id for item in part.requests}
            below_limit = pager.requests_seen < MOST_REQUESTS
    return users, below_limit and not pager.unreadable


def _may_have_changed(profile: UserProfile, since: int, now: int) -> bool:
    return profile.last_modified_timestamp >= since or since <= profile.expiration_timestamp <= now


def _rows(
    user_id: str,
    profiles: Iterable[UserProfile],
    playbooks: Iterable[UserPlaybook],
    current: Iterable[UserProfile],
    created: Iterable[UserProfile],
) -> Rows:
    """Return a user's rows.

    Args:
        profiles: of every state, without those past their expiry.
        current: also those past their expiry.
        created: first stored since the time in question.
    """
    learnings = [learning_of(row) for row in (*profiles, *playbooks) if row.user_id == user_id]
    listed = {learning.number for learning in learnings if learning.kind == "profile"}
    expired = [row for row in current if row.user_id == user_id and row.profile_id not in listed]
    return Rows(
        learnings, frozenset(row.profile_id for row in created), [learning_of(row) for row in expired]
    )


def _compared(
    found: Mapping[str, Rows], recorded: Mapping[str, Records], since: int, now: int
) -> list[Change]:
    return [
        change
        for user_id, rows in found.items()
        for change in changes_of(user_id, rows, recorded.get(user_id, Records()), since, now)
    ]


def _shown(scope: Scope, changes: Sequence[Change], one_user: bool, room: Room) -> list[ChangeRow]:
    """Return as many rows as have room. `one_user`: all changes are of the user whom the list names, so no row does."""
    from reflexio_mcp.traffic.audit.rules.redaction import without_key  # its patterns take a while to compile

    texts = LearningRows(scope, {})
    shown: list[ChangeRow] = []
    for change in changes:
        learning = change.learning
        row = ChangeRow(
            change=change.kind,
            at=at(change.at),
            learning_id=scope.shown_id(change.learning_id),
            user_id=None if one_user or not change.user_id else scope.shown_id(change.user_id),
            content=texts.text(learning.content, CONTENT_CHARS) if learning else "",
            trigger=texts.text(learning.trigger, QUOTE_CHARS) if learning else "",
            old=[]
            if texts.masked
            else [texts.text(old.content, QUOTE_CHARS) for old in change.old[:OLD_SHOWN]],
            more_old=max(0, len(change.old) - OLD_SHOWN),
            elsewhere=change.elsewhere,
            maybe_deleted=change.maybe_deleted,
            job=change.job,
            selected=shown_name(without_key(change.selected)),
            exported=change.exported,
        )
        if not room.take(row):
            break
        shown.append(row)
    return shown
