"""Which items a hold keeps: an item by its own names, a learning also by the requests that it came from, and a shared
rule also by those of the playbooks that it was made from."""

import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TypeAlias

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state.copies import Reading
from reflexio_mcp.state.keys import KEY_ADVICE
from reflexio_mcp.state.records import Name, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.deletion.items import Item, content_of
from reflexio_mcp.traffic.errors import ADVICE_CHARS, Unreadable, needing_state
from reflexio_mcp.traffic.learnings.evidence import QuotedWords, Turn
from reflexio_mcp.traffic.learnings.find import find_evidence, learnings_of_user, turns_of
from reflexio_mcp.traffic.learnings.records import Learning, listed_by
from reflexio_mcp.traffic.policy import Hold, Policy
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope

TurnsOfUsers: TypeAlias = Mapping[str, Mapping[int, Turn]]
"""Interactions, by user and id."""


async def holds_on(
    scope: Scope, items: Sequence[Item], state: State, owner: Owner, deleted: TurnsOfUsers | None = None
) -> dict[str, Hold]:
    """Return the holds on items, by the ids of the items. Items that may be deleted are left out.

    What learnings came from can take a while to read. If holds have changed meanwhile, they are looked at again.

    Args:
        deleted: interactions that are deleted by now, perhaps without a copy, and from which learnings may have come.

    Raises:
        NotRecorded: recovery copies cannot be read, or the state cannot tell whether a hold is over.
        Unreadable: what a learning may have come from cannot be read, from the service or from a recovery copy.
        ReflexioError: what is stored cannot be read.
    """
    await _ask_for_the_day(scope, state)
    while True:
        before, policy = scope.policy.holds_now(), scope.policy.now()
        held = await _held_under(policy, scope, items, state, owner, deleted or {})
        if scope.policy.holds_now() == before:
            return held


async def _held_under(
    policy: Policy,
    scope: Scope,
    items: Sequence[Item],
    state: State,
    owner: Owner,
    deleted: TurnsOfUsers,
) -> dict[str, Hold]:
    held = {item.id: hold for item in items if (hold := item.held_by(policy))}
    if not policy.holds_requests:
        return held
    by_user: dict[str, list[Learning]] = {}
    for item in items:
        if item.learning and item.id not in held:
            by_user.setdefault(item.user_id, []).append(item.learning)
    for user_id, learnings in by_user.items():
        held |= await _held_by_sources(
            policy, scope, user_id, learnings, state, owner, deleted.get(user_id, {})
        )
    rules = [item for item in items if item.rests_on and item.id not in held]
    return held | await _held_by_playbooks(policy, scope, rules, state, owner)


async def _ask_for_the_day(scope: Scope, state: State) -> None:
    """Ask the state what day it is if a hold is over by this machine's clock. Raises `NotRecorded`."""
    if scope.policy.any_end_uncertain:
        with needing_state(FactCode.NOTHING_DELETED, FactCode.HOLDS_UNKNOWN, FactCode.STATE_UNUSABLE):
            scope.policy.certain_day = await in_thread(state.certain_day)


async def _held_by_playbooks(
    policy: Policy, scope: Scope, rules: Sequence[Item], state: State, owner: Owner
) -> dict[str, Hold]:
    """Return the holds on shared rules, by their ids: those on requests that taught the playbooks behind a rule."""
    by_user: dict[str, set[str]] = {}
    for rule in rules:
        for playbook in rule.rests_on:
            by_user.setdefault(playbook.user_id, set()).add(playbook.learning_id)
    held: dict[str, Hold] = {}
    for user_id, ids in by_user.items():
        stored = await learnings_of_user(scope, user_id)
        playbooks = [learning for learning in stored if learning.learning_id in ids]
        holds = await _held_by_sources(policy, scope, user_id, playbooks, state, owner, {})
        for rule in rules:
            for playbook in rule.rests_on:
                if playbook.user_id == user_id and playbook.learning_id in holds:
                    held[rule.id] = holds[playbook.learning_id]
    return held


async def _held_by_sources(
    policy: Policy,
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    state: State,
    owner: Owner,
    deleted: Mapping[int, Turn],
) -> dict[str, Hold]:
    """Return the holds on learnings, by their ids: those on requests that they came from, or may have come from."""
    copied = await _copied_requests(user_id, learnings, state, owner)
    known = {**deleted, **turns_of(copied)}
    evidence = await find_evidence(scope, user_id, learnings, known=known, most_requests=math.inf)
    if any(found.unread for found in evidence.values()):
        raise _holds_unknown(Fact(code=FactCode.PARTS_UNREADABLE))
    held: dict[str, Hold] = {}
    for learning_id, found in evidence.items():
        sources = (turn.request for turn in found.possible_turns)
        if hold := next(filter(None, map(policy.hold_on, sources)), None):
            held[learning_id] = hold
    # A learning that lists no interactions may have come from any request of its user.
    unlinked = [
        learning.learning_id
        for learning in learnings
        if not learning.interaction_ids and learning.learning_id not in held
    ]
    if unlinked and (hold := await _first_hold(policy, scope, user_id, copied)):
        held |= dict.fromkeys(unlinked, hold)
    free = evidence.keys() - held.keys()
    # A request that is not stored and that these learnings may have come from can be in a copy that nobody can open.
    if any(evidence[learning_id].gone or learning_id in unlinked for learning_id in free):
        await _require_opened_copies(state)
    return held


async def _require_opened_copies(state: State) -> None:
    """Refuse if this server lacks the key of any copy: a request in it may be on hold, and nobody sees whose it is."""
    with needing_state(FactCode.NOTHING_DELETED, FactCode.HOLDS_UNKNOWN, FactCode.STATE_UNUSABLE):
        sealed = await in_thread(state.copies.count_unreadable)
    if sealed:
        raise _holds_unknown(
            Fact(code=FactCode.COPIES_SEALED, number=sealed),
            Fact(code=FactCode.MEND_STATE, names=[shown_name(KEY_ADVICE, ADVICE_CHARS)]),
        )


async def _copied_requests(
    user_id: str, learnings: Sequence[Learning], state: State, owner: Owner
) -> list[RequestWithInteractions]:
    """Return the requests of a user in recovery copies that the learnings may have come from.

    A learning lists interactions by their ids. A request that was restored and deleted again had other ids, so its
    words count, too. A learning without interactions may have come from any request.
    """
    listed, quoted = listed_by(learnings), QuotedWords(learnings)
    any_request = not all(learning.interaction_ids for learning in learnings)

    def may_have_taught(request: RequestWithInteractions) -> bool:
        turns = turns_of([request])
        return any_request or any(number in listed or quoted.said_in(turn) for number, turn in turns.items())

    def chosen(reading: Reading) -> list[RequestWithInteractions]:
        return [
            copy
            for copy in map(content_of, reading)
            if isinstance(copy, RequestWithInteractions)
            and copy.request.user_id == user_id
            and may_have_taught(copy)
        ]

    with needing_state(FactCode.NOTHING_DELETED, FactCode.HOLDS_UNKNOWN, FactCode.STATE_UNUSABLE):
        reading = state.copies.read(owner, having={Name.of("user", user_id)})
        copied = await in_thread(chosen, reading)
    if reading.damaged:
        raise _holds_unknown(Fact(code=FactCode.COPIES_DAMAGED, number=reading.damaged))
    return copied


async def _first_hold(
    policy: Policy, scope: Scope, user_id: str, copied: Sequence[RequestWithInteractions]
) -> Hold | None:
    """Return a hold on any request of a user, copied or stored."""
    if hold := next(filter(None, (policy.hold_on(item.request) for item in copied)), None):
        return hold
    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.parts()) as parts:
        async for part in parts:
            if hold := next(
                filter(None, (policy.hold_on(request.request) for request in part.requests)), None
            ):
                return hold
    if pager.unreadable:
        raise _holds_unknown(Fact(code=FactCode.PARTS_UNREADABLE))
    return None


def _holds_unknown(*why: Fact) -> Unreadable:
    return Unreadable(Fact(code=FactCode.NOTHING_DELETED), Fact(code=FactCode.HOLDS_UNKNOWN), *why)
