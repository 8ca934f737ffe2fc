"""What was learned from a selection of requests, and what their deletion means for each learning."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from heapq import nlargest
from typing import Final

import anyio.to_thread

from reflexio_mcp.traffic.learnings.cases import Replace, judge
from reflexio_mcp.traffic.learnings.evidence import QuotedWords, Turn, Turns
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
from reflexio_mcp.traffic.learnings.records import Learning, Sources, how_recorded, listed_by
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import for_each

__all__ = ["judge_learned"]

NEWEST_READ: Final = 200
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
        before: an earlier reading. Interactions of the set that it found may not be stored any more.
        named: learnings of these users that go whatever they came from.
        most_users: how many users are read, those with the most requests first.
    """
    if not scope.learns:
        return Learned(learns=False)
    users = sorted(sources_by_user, key=lambda user: -len(sources_by_user[user].request_ids))
    chosen = users if most_users is None else users[:most_users]
    before = before or Learned()
    # The first reading looks for what learnings quote in all interactions of the set. What it finds is in `before` of
    # later readings, which look only in the newest.
    looks_in_all = not before.linked
    linked: dict[str, LinkedLearning] = {}
    changed: set[str] = set()
    inside: dict[str, Mapping[int, Turn]] = {}
    of_all_users: list[Learning] = []
    unlinked = 0

    async def read(user_id: str) -> None:
        nonlocal unlinked
        sources = sources_by_user[user_id]
        everything = await learnings_of_user(scope, user_id)
        of_all_users.extend(everything)
        changed.update(learning.learning_id for learning in everything if before.differs_from(learning))
        found = [
            learning
            for learning in everything
            if (sources.link_of(learning) or learning.learning_id in named)
            and learning.learning_id not in changed
        ]
        others = [learning for learning in sources.listing_only_others(everything) if learning not in found]
        known = before.inside.get(user_id, {})
        turns = await _turns(scope, user_id, found, others, sources, known, looks_in_all=looks_in_all)
        quoting = await lacking_and_quoting(scope, user_id, others, sources.among(turns.by_id))
        found += [learning for learning in quoting if learning.learning_id not in changed]
        if quoting:  # their interactions were not looked up yet
            turns = await _turns(scope, user_id, found, (), sources, turns.by_id)
        turns = await with_quoted(scope, user_id, found, turns)
        inside[user_id] = sources.among({**turns.quoted, **turns.by_id})
        without_sources = [learning for learning in everything if not learning.interaction_ids]
        unlinked += sum(learning not in found for learning in without_sources)
        judged = await anyio.to_thread.run_sync(_judged, everything, found, turns, sources, named)
        linked.update((linked_learning.learning.learning_id, linked_learning) for linked_learning in judged)

    await for_each(chosen, read, at_once=USERS_AT_ONCE)
    return Learned(
        linked,
        unlinked=unlinked,
        users_left_out=len(users) - len(chosen),
        changed=frozenset(changed),
        read=tuple(of_all_users),
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
    looks_in_all: bool = False,
) -> Turns:
    """Return the interactions that learnings list, and the newest selected ones.

    Args:
        others: learnings that list no selected interaction. The selected interactions that they quote are returned too.
        looks_in_all: look for what `others` quote in all selected interactions, however old, not only in the newest.
    """
    newest = nlargest(NEWEST_READ, sources.interaction_ids)
    stored = await find_interactions(
        scope,
        user_id,
        listed_by(found).union(newest).difference(known),
        among=sources.interaction_ids.difference(known) if looks_in_all else (),
        quoted=QuotedWords(others),
    )
    return Turns({**known, **stored.by_id}, stored.missing_are_gone)


def _judged(
    everything: Sequence[Learning],
    found: Sequence[Learning],
    turns: Turns,
    sources: Sources,
    named: Collection[str],
) -> list[LinkedLearning]:
    lineage = Lineage(everything)

    def link(learning: Learning) -> LinkedLearning:
        case = judge(learning, lineage, turns, sources.interaction_ids)
        said_in = learning.interaction_ids.union(turn.interaction_id for turn in case.evidence.unlisted)
        return LinkedLearning(
            learning,
            # Learnings that were named, or that quote the set without listing it, have no link.
            how=sources.link_of(learning) or how_recorded(learning),
            others=said_in - sources.interaction_ids,
            case=case,
            named=learning.learning_id in named,
        )

    linked = [link(learning) for learning in found]
    going = {linked_learning.learning.learning_id for linked_learning in linked if linked_learning.goes}
    return [_with_what_returns(linked_learning, lineage, going) for linked_learning in linked]


def _with_what_returns(linked: LinkedLearning, lineage: Lineage, going: Collection[str]) -> LinkedLearning:
    """Leave out the earlier learnings that do not become current again.

    They go too, or another current learning that stays has taken them in.
    """
    if not isinstance(linked.case, Replace):
        return linked
    back = tuple(
        earlier
        for earlier in linked.case.earlier
        if earlier.learning_id not in going
        and all(later.learning_id in going for later in lineage.current_successors(earlier))
    )
    return replace(linked, case=replace(linked.case, earlier=back))
