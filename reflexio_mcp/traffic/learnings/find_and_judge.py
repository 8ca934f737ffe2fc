"""What was learned from a selection of requests, and what their deletion means for each learning."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from heapq import nlargest
from typing import Final

import anyio.to_thread

from reflexio_mcp.traffic.learnings.cases import Replace, judge
from reflexio_mcp.traffic.learnings.evidence import Quoted, Turn, Turns
from reflexio_mcp.traffic.learnings.find import (
    USERS_AT_ONCE,
    Learned,
    LinkedLearning,
    find_interactions,
    lacking_and_quoting,
    learnings_of_user,
    with_quoted,
)
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning, Sources, listed_by
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["judge_learned"]

NEWEST: Final = 200
"""Number of a user's newest selected interactions that are read although no learning lists them yet: a run that learns
from them may end between the plan and the deletion."""


async def judge_learned(
    scope: Scope,
    sources_by_user: Mapping[str, Sources],
    *,
    before: Learned | None = None,
    named: Collection[str] = (),
    most_users: int | None = None,
) -> Learned:
    """Find all learnings from a set of requests, and judge what the deletion of the set means for them.

    Args:
        before: an earlier reading. Its selected interactions may not be stored any more.
        named: learnings of these users that go whatever they came from.
        most_users: how many users are read, those with the most requests first.
    """
    if not scope.learns:
        return Learned(learns=False)
    users = sorted(sources_by_user, key=lambda user: -len(sources_by_user[user].request_ids))
    chosen = users if most_users is None else users[:most_users]
    before = before or Learned()
    linked: dict[str, LinkedLearning] = {}
    changed: set[str] = set()
    inside: dict[str, Mapping[int, Turn]] = {}
    every: list[Learning] = []
    unlinked = 0

    async def read(user_id: str) -> None:
        nonlocal unlinked
        sources = sources_by_user[user_id]
        everything = await learnings_of_user(scope, user_id)
        every.extend(everything)
        changed.update(learning.learning_id for learning in everything if before.differs_from(learning))
        found = [
            learning
            for learning in everything
            if (sources.link_of(learning) or learning.learning_id in named)
            and learning.learning_id not in changed
        ]
        others = [learning for learning in sources.unlisted(everything) if learning not in found]
        known = before.inside.get(user_id, {})
        turns = await _turns(scope, user_id, found, others, sources, known, reads_all=not before.linked)
        quoting = await lacking_and_quoting(scope, user_id, others, sources.among(turns.by_id))
        found += [learning for learning in quoting if learning.learning_id not in changed]
        if quoting:
            turns = await _turns(scope, user_id, found, (), sources, turns.by_id)
        turns = await with_quoted(scope, user_id, found, turns)
        inside[user_id] = sources.among({**turns.quoted, **turns.by_id})
        unlinked += sum(not learning.interaction_ids for learning in everything) - sum(
            not learning.interaction_ids for learning in found
        )
        judged = await anyio.to_thread.run_sync(_judged, everything, found, turns, sources, named)
        linked.update((linked_learning.learning.learning_id, linked_learning) for linked_learning in judged)

    await for_each(chosen, read, at_once=USERS_AT_ONCE)
    return Learned(
        linked,
        unlinked,
        len(users) - len(chosen),
        changed=frozenset(changed),
        read=tuple(every),
        inside=inside,
    )


async def _turns(
    scope: Scope,
    user_id: str,
    found: Sequence[Learning],
    others: Sequence[Learning],
    sources: Sources,
    known: Mapping[int, Turn],
    *,
    reads_all: bool = False,
) -> Turns:
    """Return the interactions that learnings list, and the newest selected ones.

    Args:
        others: learnings that list no selected interaction; the selected ones that they quote are returned too.
        reads_all: the selected ones that are not known are read, however old.
    """
    newest = nlargest(NEWEST, sources.interaction_ids)
    stored = await find_interactions(
        scope,
        user_id,
        listed_by(found).union(newest).difference(known),
        among=sources.interaction_ids.difference(known) if reads_all else (),
        quoted=Quoted(others),
    )
    return Turns({**known, **stored.by_id}, stored.everything)


def _judged(
    everything: Sequence[Learning],
    found: Sequence[Learning],
    turns: Turns,
    sources: Sources,
    named: Collection[str],
) -> list[LinkedLearning]:
    lineage = Lineage(everything)
    judged = [
        LinkedLearning(
            learning,
            sources.link_of(learning) or ("recorded" if learning.interaction_ids else "not_known"),
            learning.interaction_ids.union(turn.interaction_id for turn in case.evidence.unlisted)
            - sources.interaction_ids,
            case,
            named=learning.learning_id in named,
        )
        for learning in found
        for case in [judge(learning, lineage, turns, sources.interaction_ids)]
    ]
    going = {linked_learning.learning.learning_id for linked_learning in judged if linked_learning.goes}
    return [_without_doubles(linked_learning, lineage, going) for linked_learning in judged]


def _without_doubles(linked: LinkedLearning, lineage: Lineage, going: Collection[str]) -> LinkedLearning:
    """Leave out the earlier learnings that live on in another learning, or that go too."""
    if not isinstance(linked.case, Replace):
        return linked
    back = tuple(
        earlier
        for earlier in linked.case.earlier
        if earlier.learning_id not in going
        and all(later.learning_id in going for later in lineage.current(earlier))
    )
    return replace(linked, case=replace(linked.case, earlier=back))
