"""Carrying out a plan, and the receipt that says what happened."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal, TypeAlias, get_args

from reflexio_mcp.rest.errors import NotAuthorized, ReflexioError
from reflexio_mcp.rest.models import DeleteReply
from reflexio_mcp.state.job_records import Promise
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.deletion.plan import USERS_COUNTED, Plan
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.deletion.user_plan import UserPlan
from reflexio_mcp.traffic.deletion.verify import read_again
from reflexio_mcp.traffic.learnings.find import NOTHING, Learned, find_learned, learnings_of_user
from reflexio_mcp.traffic.learnings.remove import TakenBack, take_back
from reflexio_mcp.traffic.learnings.select import unselected
from reflexio_mcp.traffic.learnings.settle import LEARNING_WAIT_SECONDS
from reflexio_mcp.traffic.learnings.turns import with_other_requests
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, untold
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope

__all__ = ["OUTCOMES", "Check", "Outcome", "Receipt", "execute"]

BATCH: Final = 2_000
"""Ids in one call: few enough to be deleted within its time limit, enough that the calls themselves cost little."""

CLEARINGS: Final = 3
"""Times that a user's data is cleared where more of it arrived meanwhile."""

FRESH_SECONDS: Final = 5.0
"""A reading that began longer ago is made again before anything is deleted because of it."""

Outcome = Literal[
    "deleted", "erased_from_copies", "still_present", "not_allowed", "changed", "unknown", "not_found"
]
"""What became of one id. `changed` is an id that another request has taken since the plan: that one is left alone.
`unknown` is said only where the re-read itself failed."""

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)


Check: TypeAlias = Callable[[], Awaitable[None]]
"""Raises `TakenOver` where a deletion is another process's by now."""


async def unchecked() -> None:
    """Of a deletion that nobody else could go on with."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What a deletion of everything of a user found afterwards, besides what was planned.

    Args:
        outcomes_left: session outcomes that are still there; `None` when that could not be read.
        arrived: requests of this user that are stored now and were not planned; `None` when that could not be read.
    """

    outcomes_left: int | None = None
    arrived: int | None = None


@dataclass(frozen=True)
class Receipt:
    """What a deletion did, as read again afterwards and not as the service claims.

    Args:
        plan: what was planned.
        outcomes: what became of each id, those not found included.
        failure: what ended it early, if something did; the outcomes are just as exact.
        by_others: how many of those that were sent the service did not count: somebody else had deleted them before,
            or its count is wrong. It does not name them.
        learned_gone: learnings that were deleted, with the stored requests that fed them too; of learnings that were
            chosen themselves, with all that fed them.
        learned_left: learnings of the set that are (still) there; `None` when that could not be read.
        still_learning: users for whom something was still being learned when learnings were deleted, each with the
            service's word for it.
        promise: what has to go on after it, on record.
        follow_up: the number of the job that does; 0 where none does.
        correlation_ids: the service's ids of the calls that deleted.
        copy_id, kept_until: the recovery copy, if there is one, and until when (epoch seconds).
        sent: ids in delete calls that took effect, or that may still do so.
        learned_sent: the same for learnings.
        forgotten: older recovery copies from which something was taken out.
        copies_left: some could not be read or changed, and may hold what was to be erased.
        learned_erased: learnings that only recovery copies held and that were taken out of them.
        not_copied: deleted learnings that the recovery copy does not hold, because they came up after it was made.
        interactions_left: how many interactions are left in the request of which some were chosen; `None` where no
            such request is stored.
        cleared: what else became of a whole user's data; `None` for every other deletion.
        logged: the audit log has its ids.
        number: the job whose record has all its ids; 0 where none has.
        problems: what else went wrong, as sentences.
    """

    plan: Plan
    outcomes: Mapping[str, Outcome]
    failure: ReflexioError | None = None
    by_others: int = 0
    learned_gone: Learned = NOTHING
    learned_left: Learned | None = None
    still_learning: Mapping[str, str] = field(default_factory=dict[str, str])
    promise: Promise | None = None
    follow_up: int = 0
    correlation_ids: tuple[str, ...] = ()
    sent: frozenset[str] = frozenset()
    learned_sent: frozenset[str] = frozenset()
    copy_id: str = ""
    kept_until: int = 0
    forgotten: int = 0
    copies_left: bool = False
    learned_erased: int = 0
    not_copied: int = 0
    interactions_left: int | None = None
    cleared: Cleared | None = None
    logged: bool = False
    number: int = 0
    problems: tuple[str, ...] = ()

    def count(self, *outcomes: Outcome) -> int:
        return sum(self._counts[one] for one in outcomes)

    @cached_property
    def _counts(self) -> Counter[Outcome]:
        return Counter(self.outcomes.values())

    def ids(self, outcome: Outcome) -> list[str]:
        return [request_id for request_id, became in self.outcomes.items() if became == outcome]

    @property
    def may_still_go(self) -> int:
        """How many were still there when they were read again, although a delete call may take effect on them."""
        return sum(self.outcomes.get(one) in ("still_present", "not_allowed") for one in self.sent)

    @property
    def complete(self) -> bool:
        """Whether everything planned is gone."""
        left = self.count("still_present", "not_allowed", "changed", "unknown")
        learned = self.plan.include_learnings and (
            self.learned_left is None
            or self.learned_left.count > 0
            or bool(self.learned_left.changed)
            or bool(self.still_learning)
        )
        cleared = self.cleared is None or self.cleared == Cleared(0, 0)
        erased = self.learned_erased == len(self.plan.kept_learnings)
        return self.failure is None and left == 0 and not learned and cleared and erased


async def execute(
    scope: Scope,
    plan: Plan,
    *,
    only: Collection[str] | None = None,
    changed: Collection[str] = (),
    check: Check = unchecked,
    read_at: float | None = None,
    progress: Progress = untold,
    clock: Callable[[], float] = time.monotonic,
) -> Receipt:
    """Delete exactly the planned requests and read again what is there.

    Always by id: a call for a whole session would also take what has arrived since the plan, and everybody
    else's requests in it. An id may have been taken by another request since, so nothing is deleted on the word
    of a reading that is not fresh. Learnings go last, once nothing is being learned from their users any more: what
    is extracted from a deleted request is thrown away, but a learning that is deleted during a merge comes back.

    Args:
        plan: the set; those it did not find stay `not_found`.
        only: the planned ids that may go (all when `None`); the others were seen to be gone already.
        changed: the planned ids that were seen to be another request's.
        check: awaited right before each call that deletes.
        read_at: when the reading that found them began, by `clock`; `None` when somebody else had time since.
        progress: told after every batch.
        clock: monotonic seconds.

    Returns:
        The receipt. A failure of the service half-way does not raise: it is in the receipt, with what is gone
        and what is not.

    Raises:
        ReflexioError: what is there could not be read again; nothing was deleted.
        TakenOver: another process goes on with it.
    """
    ids = [one for one in plan.ids if only is None or one in only]
    act = Execution(scope, plan, changed, check)
    if isinstance(plan, UserPlan):
        return await act.clear(plan, progress)
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    for number, batch in enumerate(batches):
        if act.failure:
            break
        if read_at is None or clock() - read_at > FRESH_SECONDS:
            batch = await act.still_same(batch)
        if batch:
            await act.delete(batch)
        await progress(f"{plan.noun}s deleted", min((number + 1) * BATCH, len(ids)), len(ids))
    # Where no request is planned there is none to read again.
    outcomes = await act.outcomes(ids, progress) if plan.requests or plan.kept else {}
    taken = await act.take_back_learnings(progress)
    gone = taken.gone
    if gone.count:
        # A request that fed them may be gone since the plan.
        chosen = isinstance(plan, LearningPlan)
        gone = await with_other_requests(scope, unselected(gone.learnings) if chosen else gone)
    return Receipt(
        plan,
        outcomes,
        act.failure or taken.failure,
        by_others=act.by_others,
        learned_gone=gone,
        learned_left=taken.left,
        still_learning=taken.still_learning,
        correlation_ids=tuple(act.correlation_ids),
        sent=frozenset(act.sent),
        learned_sent=taken.sent,
        interactions_left=act.interactions_left,
    )


class Execution:
    """One deletion on its way.

    Args:
        changed: the planned ids that were seen to be another request's.
        check: as `execute` takes it.
    """

    def __init__(self, scope: Scope, plan: Plan, changed: Collection[str], check: Check) -> None:
        self._scope = scope
        self._plan = plan
        self._check = check
        self._changed = set(changed)
        self._gone_before: set[str] = set()
        self._begun = False
        self.sent: set[str] = set()
        self.failure: ReflexioError | None = None
        self.by_others = 0
        self.interactions_left: int | None = None
        self.correlation_ids: list[str] = []

    async def still_same(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` that are still what was planned.

        Raises:
            ReflexioError: it could not be read, and nothing was deleted so far.
        """
        try:
            found = await read_again(self._scope, self._plan.part(set(ids)))
        except ReflexioError as error:
            if not self._begun:
                raise
            self.failure = error
            return []
        self._changed |= found.changed
        self._gone_before.update(one for one in ids if one not in found.same and one not in found.changed)
        return [one for one in ids if one in found.same]

    async def delete(self, ids: list[str]) -> None:
        client = self._scope.client
        if not isinstance(self._plan, TurnPlan):
            await self._check()
            await self._send(ids, client.delete_requests_by_ids(ids))
            return
        user_id = self._plan.requests[0].user_id
        for one in ids:
            # The API takes one interaction a call.
            if self.failure is None:
                await self._check()
                await self._send([one], client.delete_interaction(user_id, int(one)))

    async def clear(self, plan: UserPlan, progress: Progress) -> Receipt:
        """Delete everything of a user, and again where something arrived meanwhile."""
        client, user_id = self._scope.client, plan.user_id
        ids = list(plan.ids)
        for _ in range(CLEARINGS):
            await self._send(ids, client.clear_user_data(user_id))
            if self.failure or not await self._arrived(plan):
                break
        outcomes = await self.outcomes(ids, progress) if plan.goes else {}
        taken = await self.take_back_learnings(progress)
        # What the plan named and nobody lists any more is gone, by this call or by another.
        planned = plan.learned or NOTHING
        gone = planned.joined(taken.gone).without(taken.left) if taken.left is not None else NOTHING
        return Receipt(
            # What the service could not return went too, or is what cannot be read now.
            replace(plan, gaps=()),
            outcomes,
            self.failure or taken.failure,
            learned_gone=gone,
            learned_left=taken.left,
            still_learning=taken.still_learning,
            correlation_ids=tuple(self.correlation_ids),
            sent=frozenset(self.sent),
            learned_sent=frozenset(planned.fed) | taken.sent,
            cleared=Cleared(await self._outcomes_left(user_id), await self._arrived(plan)),
        )

    async def _arrived(self, plan: UserPlan) -> int | None:
        """How many requests of the user are stored that were not planned."""
        planned, found = set(plan.ids), 0
        pager = SessionPager(self._scope, TrafficFilter(user_id=plan.user_id))
        try:
            async for part in pager.slices():
                found += sum(one.request.request_id not in planned for one in part.requests)
        except ReflexioError:
            return None
        return None if pager.gaps else found

    async def _outcomes_left(self, user_id: str) -> int | None:
        try:
            outcomes = await self._scope.client.get_session_outcomes(user_id)
        except ReflexioError:
            return None
        return sum(one.user_id == user_id for one in outcomes)

    async def _send(self, ids: list[str], call: Awaitable[DeleteReply]) -> None:
        self._begun = True
        self.sent.update(ids)
        try:
            reply = await call
        except ReflexioError as error:
            self.failure = error
            if error.effect == "none":
                # It never left this process.
                self.sent.difference_update(ids)
            if error.correlation_id:
                self.correlation_ids.append(error.correlation_id)
            return
        if reply.correlation_id:
            self.correlation_ids.append(reply.correlation_id)
        if reply.deleted_count is not None and 0 <= reply.deleted_count <= len(ids):
            self.by_others += len(ids) - reply.deleted_count

    async def outcomes(self, ids: list[str], progress: Progress) -> dict[str, Outcome]:
        """What became of each planned id, in the plan's order, those not found last."""
        left: Outcome = "not_allowed" if isinstance(self.failure, NotAuthorized) else "still_present"
        became: dict[str, Outcome] = dict.fromkeys(self._plan.ids, "not_found")
        try:
            found = await read_again(self._scope, self._plan.part(set(ids)), progress=progress)
            self._changed |= found.changed
            self.interactions_left = found.interactions
            for one in ids:
                if one in found.same:
                    became[one] = left
                elif one in self.sent and one not in self._gone_before:
                    became[one] = "deleted"
        except ReflexioError as error:
            self.failure = self.failure or error
            became.update((one, "unknown") for one in ids if one not in self._gone_before)
        became.update((one, "changed") for one in self._plan.ids if one in self._changed)
        became.update(dict.fromkeys(self._plan.not_found, "not_found"))
        return became

    async def take_back_learnings(self, progress: Progress) -> TakenBack:
        """Delete what the requests fed where that was agreed to, else read what stays."""
        # What was learned from a request that took an id is not among them.
        sources = self._plan.sources(taken=self._changed)
        users = [self._plan.user_id] if isinstance(self._plan, UserPlan) else list(sources)
        planned = self._plan.learned or NOTHING

        async def look() -> Learned:
            if isinstance(self._plan, UserPlan):
                return unselected(await learnings_of_user(self._scope, self._plan.user_id))
            most = None if self._plan.include_learnings else USERS_COUNTED
            return await find_learned(self._scope, sources, before=planned.fed, most_users=most)

        async def look_once_more() -> Learned:
            # What was found is deleted next.
            found = await look()
            await self._check()
            return found

        if self._plan.include_learnings and self.failure is None:
            return await take_back(
                self._scope, users, look_once_more, seconds=LEARNING_WAIT_SECONDS, progress=progress
            )
        try:
            return TakenBack(left=await look())
        except ReflexioError:
            return TakenBack(left=None)
