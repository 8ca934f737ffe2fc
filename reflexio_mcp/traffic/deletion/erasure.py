"""What recovery copies still hold of a set, and removing it from there."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.state.database import advice, why_not
from reflexio_mcp.state.recovery_copies import CopiedLearning, Found, RecoveryCopies, RecoveryCopy, is_of
from reflexio_mcp.traffic.deletion.alike import Likeness, Likenesses, likeness
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.deletion.plan import Plan, newest_first, planned_request
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.deletion.user_plan import UserPlan
from reflexio_mcp.traffic.errors import refusing
from reflexio_mcp.traffic.learnings.find import NOTHING
from reflexio_mcp.traffic.learnings.records import Sources, learning_of
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import find_request, read_set
from reflexio_mcp.traffic.reading.paging import SessionPager, place_of
from reflexio_mcp.traffic.scope import Scope

__all__ = ["erase_from_copies", "look_into_copies"]

NOT_ERASED: Final = (
    "{what} could not be read or changed (copy_id={names}), so some of it may still be in there. "
    "Ask the operator to {advice}."
)
AWAY: Final = "Nothing was deleted: recovery copies cannot be read now ({why}). Ask the operator to {advice}."
NOT_LOOKED_INTO: Final = (
    "Recovery copies could not be looked into ({why}), so some of it may still be in there. Ask the operator to "
    "{advice}, then repeat this call."
)
NAMED: Final = 5
"""Recovery copies that a sentence names."""


async def look_into_copies(scope: Scope, plan: Plan, copies: RecoveryCopies, owner: str) -> Plan:
    """Add to a plan what the recovery copies hold of its set.

    Where the set is to be erased, requests that only the copies still hold become part of it. Where nothing of it is
    stored any more, the plan says which copies hold it.

    Args:
        owner: whose copies, as `CodeMaker.scope`.

    Raises:
        ReflexioError: the sessions of what the copies hold could not be read.
        NotRecorded: it is not known which copies there are.
    """
    with refusing(AWAY):
        if plan.erase or not copies.days:
            # Those of before are kept until their days are over.
            there = await anyio.to_thread.run_sync(copies.of, owner)
            if not there:
                return plan
            plan = replace(plan, copies_until=max(copy.kept_until for copy in there))
        return await _looked_into(scope, plan, copies, owner)


async def _looked_into(scope: Scope, plan: Plan, copies: RecoveryCopies, owner: str) -> Plan:
    if isinstance(plan, TurnPlan):
        if not plan.turns:
            return await _with_copied_turns(scope, plan, copies, owner)
        return await _with_images(scope, plan) if plan.erase else plan
    if plan.erase:
        if plan.copied:
            plan = await _with_kept(scope, plan, copies, owner)
        return await _with_kept_learnings(plan, copies, owner)
    if isinstance(plan, LearningPlan):
        if plan.size or not plan.not_found:
            return plan
        found = await anyio.to_thread.run_sync(copies.learnings, owner, _meant(plan))
        return replace(plan, copies=found.copies, unreadable_copies=found.unreadable)
    if not plan.copied or plan.requests:
        return plan
    found = await _held(scope, plan, copies, owner)
    return replace(plan, copies=found.copies, unreadable_copies=found.unreadable)


async def _held(
    scope: Scope, plan: Plan, copies: RecoveryCopies, owner: str
) -> Found[RequestWithInteractions]:
    """What the copies hold of a set and is not stored."""
    missing, stored, wanted = set(plan.not_found), set(plan.ids), plan.wanted

    def named(item: RequestWithInteractions) -> RequestWithInteractions | None:
        request = item.request
        if request.request_id in stored or not scope.covers(request.user_id):
            return None
        if plan.ids_of and request.user_id != plan.ids_of:
            return None
        fits = wanted.matches_request(request) if wanted else is_of(item, missing)
        return item if fits else None

    found = await anyio.to_thread.run_sync(copies.search, owner, named)
    if not found.items or not (wanted and (wanted.contains or wanted.finding)):
        return found
    items = await _selected(scope, wanted, found.items)
    ids = {item.request.request_id for item in items}
    holding = await anyio.to_thread.run_sync(copies.holding, owner, ids)
    return replace(found, items=tuple(items), copies=holding.copies)


async def _with_kept(scope: Scope, plan: Plan, copies: RecoveryCopies, owner: str) -> Plan:
    found = await _held(scope, plan, copies, owner)
    items = found.items
    held = {
        one for item in items for one in (item.request.request_id, *(t.request_id for t in item.interactions))
    }
    return replace(
        plan,
        kept=newest_first(map(planned_request, items)),
        not_found=tuple(one for one in plan.not_found if one not in held),
        unreadable_copies=found.unreadable,
    )


async def _with_images(scope: Scope, plan: TurnPlan) -> TurnPlan:
    """The plan with the images that tell its turns without words from others, where the backend gives these out."""
    found: dict[int, Likeness] = {}

    async def take(items: list[RequestWithInteractions]) -> None:
        for turn in (turn for item in items for turn in item.interactions):
            found[turn.interaction_id] = await anyio.to_thread.run_sync(likeness, turn)

    if scope.exact and not all(turn.likeness.words for turn in plan.turns):
        await read_set(scope, [plan.request_id], take, whole=True)
    turns = (replace(turn, likeness=found.get(turn.interaction_id, turn.likeness)) for turn in plan.turns)
    return replace(plan, turns=tuple(turns))


async def _with_copied_turns(scope: Scope, plan: TurnPlan, copies: RecoveryCopies, owner: str) -> TurnPlan:
    wanted = {int(one) for one in plan.not_found}

    def named(item: RequestWithInteractions) -> tuple[str, Likenesses] | None:
        if not (scope.covers(item.request.user_id) and is_of(item, (plan.request_id,))):
            return None
        turns = [turn for turn in item.interactions if turn.interaction_id in wanted]
        # What stands alone in a turn, as an image, is not read of what is stored.
        known = (one for one in map(likeness, turns) if one.words or one.tools)
        return (item.request.request_id, Likenesses(known)) if turns else None

    found = await anyio.to_thread.run_sync(copies.search, owner, named)
    places: dict[str, list[str]] = {"copied_as": [], "stored_in": [], "stored_without": []}
    for request_id, known in found.items:
        stored = await find_request(scope, request_id)
        turns = stored.interactions if stored else []
        # What was published again has new ids.
        there = any(turn.interaction_id in wanted or known.have(turn) for turn in turns)
        place = "copied_as" if stored is None else "stored_in" if there else "stored_without"
        places[place].append(request_id)
    where = {place: tuple(ids) for place, ids in places.items()}
    return replace(plan, copies=found.copies, unreadable_copies=found.unreadable, **where)


def _meant(plan: LearningPlan | UserPlan) -> Callable[[CopiedLearning], bool]:
    return lambda row: plan.chooses(learning_of(row))


async def _with_kept_learnings(plan: Plan, copies: RecoveryCopies, owner: str) -> Plan:
    if not isinstance(plan, LearningPlan | UserPlan):
        return plan
    found = await anyio.to_thread.run_sync(copies.learnings, owner, _meant(plan))
    stored = plan.learned or NOTHING
    digests = {one.digest for one in stored.learnings}
    kept = {one.learning_id: one for one in map(learning_of, found.items) if one.digest not in digests}
    # An id that is stored with another text by now stands for what is stored.
    only_there = tuple(one for name, one in kept.items() if name not in stored.fed)
    return replace(
        plan,
        kept_learnings=only_there,
        not_found=tuple(one for one in plan.not_found if one not in kept),
        unreadable_copies=tuple(dict.fromkeys((*plan.unreadable_copies, *found.unreadable))),
    )


async def _selected(
    scope: Scope, wanted: TrafficFilter, kept: Sequence[RequestWithInteractions]
) -> list[RequestWithInteractions]:
    """Return those that `contains` and `finding` select, each judged as a part of its session."""
    sessions: defaultdict[str, dict[str, RequestWithInteractions]] = defaultdict(dict)
    for item in kept:
        sessions[item.request.session_id][item.request.request_id] = item
    selected: list[RequestWithInteractions] = []
    for session_id, of_session in sessions.items():
        items = list(of_session.values())
        if wanted.finding:
            # A duplicate is one only beside its original, which may still be stored.
            beside = replace(wanted, session_id=session_id, contains="", finding="")
            async for part in SessionPager(scope, beside).slices():
                items += [item for item in part.requests if beside.matches_request(item.request)]
        items.sort(key=place_of, reverse=True)
        picked = await wanted.pick_in_thread(items)
        selected += [item for item in picked if item.request.request_id in of_session]
    return selected


async def erase_from_copies(receipt: Receipt, owner: str, copies: RecoveryCopies) -> Receipt:
    """Remove from the recovery copies what is deleted, and what only they hold.

    Args:
        receipt: what became of the stored requests.
        owner: whose copies, as `CodeMaker.scope`.
    """
    try:
        return await _erased(receipt, owner, copies)
    except OSError as error:
        # What is deleted is deleted, and what only the copies hold is still there.
        kept = dict.fromkeys((item.request_id for item in receipt.plan.kept), "still_present")
        problem = NOT_LOOKED_INTO.format(why=why_not(error), advice=advice(error))
        return replace(receipt, outcomes={**receipt.outcomes, **kept}, problems=(*receipt.problems, problem))


async def _erased(receipt: Receipt, owner: str, copies: RecoveryCopies) -> Receipt:
    if isinstance(receipt.plan, TurnPlan):
        return await _erase_turns(receipt, receipt.plan, owner, copies)
    if isinstance(receipt.plan, LearningPlan | UserPlan):
        receipt = await _erase_learnings(receipt, receipt.plan, owner, copies)
    kept = [item.request_id for item in receipt.plan.kept]
    if receipt.failure is not None:
        # A repeat must still find them, to find what was learned from them.
        receipt = replace(receipt, outcomes={**receipt.outcomes, **dict.fromkeys(kept, "still_present")})
        kept = []
    gone = [one for outcome in ("deleted", "not_found", "changed") for one in receipt.ids(outcome)]
    if not kept and not gone:
        return receipt
    changed, failed = await anyio.to_thread.run_sync(
        copies.forget, owner, [*kept, *gone], _taught(receipt, gone)
    )
    outcomes = {**receipt.outcomes, **dict.fromkeys(kept, "erased_from_copies")}
    if failed and kept:
        held = await anyio.to_thread.run_sync(copies.holding, owner, kept)
        outcomes.update((one, "still_present") for one in held.items)
    forgotten = max(receipt.forgotten, changed)
    return _noting(replace(receipt, outcomes=outcomes, forgotten=forgotten), failed, copies)


def _taught(
    receipt: Receipt, gone: Sequence[str], turns: Collection[int] = ()
) -> Callable[[CopiedLearning, Collection[int]], bool]:
    """Whether a copied learning goes: it was deleted, or fed by what is."""
    digests = {one.digest for one in receipt.learned_gone.learnings}
    planned = {one.request_id: one.interaction_ids for one in receipt.plan.goes}
    own = frozenset(turns).union(*(planned.get(one, ()) for one in gone))

    def goes(row: CopiedLearning, of_copies: Collection[int]) -> bool:
        learning = learning_of(row)
        if learning.digest in digests:
            return True
        return Sources(frozenset(gone), own.union(of_copies)).fed(learning) is not None

    return goes


async def _erase_learnings(
    receipt: Receipt, plan: LearningPlan | UserPlan, owner: str, copies: RecoveryCopies
) -> Receipt:
    """Take learnings out of the copies: those that were deleted and, where nothing failed, all that were meant."""
    deleted = {one.digest for one in receipt.learned_gone.learnings}
    meant = _meant(plan) if receipt.failure is None else None

    def goes(row: CopiedLearning, _: Collection[int]) -> bool:
        return learning_of(row).digest in deleted or (meant is not None and meant(row))

    changed, failed = await anyio.to_thread.run_sync(copies.forget, owner, (), goes)
    held = await anyio.to_thread.run_sync(copies.learnings, owner, _meant(plan))
    left = {learning_of(row).learning_id for row in held.items}
    erased = sum(one.learning_id not in left for one in plan.kept_learnings) if not held.unreadable else 0
    return _noting(replace(receipt, learned_erased=erased, forgotten=changed), failed, copies)


async def _erase_turns(receipt: Receipt, plan: TurnPlan, owner: str, copies: RecoveryCopies) -> Receipt:
    # A request that was restored has new interaction ids, so an older copy is searched by what was said.
    # What a process that ended before deleted, or somebody else since the plan, was to be erased as well.
    deleted = {*receipt.ids("deleted"), *receipt.ids("not_found")}
    turns = [turn for turn in plan.turns if str(turn.interaction_id) in deleted]
    if not turns:
        return receipt
    gone = Likenesses(turn.likeness for turn in turns)

    def is_gone(turn: StoredInteraction) -> bool:
        return turn.interaction_id not in plan.twins and gone.have(turn)

    request_id = plan.requests[0].request_id
    taught = _taught(receipt, (), [int(one) for one in deleted])
    changed, failed = await anyio.to_thread.run_sync(copies.forget_turns, owner, request_id, is_gone, taught)
    return _noting(replace(receipt, forgotten=changed), failed, copies)


def _noting(receipt: Receipt, failed: Sequence[RecoveryCopy], copies: RecoveryCopies) -> Receipt:
    """The receipt, with the copies that could not be read or changed."""
    if not failed:
        return receipt
    what = "1 recovery copy" if len(failed) == 1 else f"{len(failed):,} recovery copies"
    names = ", ".join(copy.copy_id for copy in failed[:NAMED])
    said = NOT_ERASED.format(what=what, names=names, advice=copies.remedy)
    return replace(receipt, copies_left=True, problems=tuple(dict.fromkeys((*receipt.problems, said))))
