"""Acting on a plan, and the receipt that says what came of it."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from reflexio_mcp.rest.errors import NotAuthorized, ReflexioError
from reflexio_mcp.rest.models import DeleteReply, RequestWithInteractions
from reflexio_mcp.traffic.learnings import Learned, delete_learned, find_learned
from reflexio_mcp.traffic.locating import Progress, read_set
from reflexio_mcp.traffic.plans import Plan
from reflexio_mcp.traffic.reach import Reach

__all__ = ["Outcome", "Receipt", "execute"]

BATCH: Final = 2_000
"""Ids in one call: few enough for a call's time limit, enough to cost no time themselves."""

Outcome = Literal["deleted", "not_found", "not_allowed", "still_present", "unknown"]
"""What became of one id. `unknown` is said only where the re-read itself failed."""


@dataclass(frozen=True)
class Receipt:
    """What a deletion did, from a re-read and not from the service's word.

    Args:
        plan: what was planned.
        outcomes: what became of each id, those not found included.
        failure: what stopped it half-way, if something did; its outcomes are as exact all the same.
        by_others: how many of those that are gone had already been deleted by somebody else when this
            deletion reached them. The service counts them and does not name them.
        learned_gone: learnings that were there and are gone.
        learned_left: learnings of the set that are (still) there; `None` when that could not be read.
        correlation_ids: the service's ids of the calls that deleted.
        copy_id, kept_until: the recovery copy, if there is one, and until when (epoch seconds).
        forgotten: older recovery copies from which the requests were taken out.
        problems: what else went wrong, as sentences.
    """

    plan: Plan
    outcomes: Mapping[str, Outcome]
    failure: ReflexioError | None = None
    by_others: int = 0
    learned_gone: Learned | None = None
    learned_left: Learned | None = None
    correlation_ids: tuple[str, ...] = ()
    copy_id: str = ""
    kept_until: int = 0
    forgotten: int = 0
    problems: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        return self._counts[outcome]

    @cached_property
    def _counts(self) -> Counter[Outcome]:
        return Counter(self.outcomes.values())

    def ids(self, outcome: Outcome) -> list[str]:
        return [request_id for request_id, became in self.outcomes.items() if became == outcome]

    @property
    def complete(self) -> bool:
        """Whether everything planned is gone."""
        left = self.count("still_present") + self.count("not_allowed") + self.count("unknown")
        learned = self.plan.include_learnings and (self.learned_left is None or self.learned_left.count > 0)
        return self.failure is None and left == 0 and not learned


async def execute(
    reach: Reach, plan: Plan, *, only: Collection[str] | None = None, progress: Progress | None = None
) -> Receipt:
    """Delete exactly the planned requests and read again what is there.

    Always by id: a call for a whole session would also take what has arrived since the plan, and everybody
    else's requests in it. Learnings go first: once its requests are gone, they could not be found any more.

    Args:
        plan: the set; those it did not find stay `not_found`.
        only: the planned ids that may go (all when `None`); the others were seen to be gone already.
        progress: told after every batch.

    Returns:
        The receipt. A failure of the service half-way does not raise: it is in the receipt, with what is gone
        and what is not.
    """
    ids = [one for one in plan.ids if only is None or one in only]
    act = _Act(reach, plan)
    if plan.include_learnings:
        await act.delete_learnings()
    for start in range(0, len(ids), BATCH):
        if act.failure:
            break
        await act.delete(ids[start : start + BATCH])
        if progress:
            await progress("deleted", min(start + BATCH, len(ids)), len(ids))
    outcomes = await act.outcomes(ids, progress)
    for one in plan.ids:
        outcomes.setdefault(one, "not_found")
    outcomes.update(dict.fromkeys(plan.not_found, "not_found"))
    if plan.include_learnings and act.failure is None:
        # What was still being learned when the requests went.
        await act.delete_learnings(late=True)
    return Receipt(
        plan,
        outcomes,
        act.failure,
        by_others=act.by_others,
        learned_gone=act.learned_gone,
        learned_left=act.learned_left,
        correlation_ids=tuple(act.correlation_ids),
    )


class _Act:
    def __init__(self, reach: Reach, plan: Plan) -> None:
        self._reach = reach
        self._plan = plan
        self._gone_before: set[str] = set()
        self.failure: ReflexioError | None = None
        self.by_others = 0
        self.learned_gone: Learned | None = None
        self.learned_left: Learned | None = None if plan.include_learnings else plan.learned
        self.correlation_ids: list[str] = []

    async def delete(self, ids: list[str]) -> None:
        try:
            reply = await self._reach.client.delete_requests_by_ids(ids)
        except ReflexioError as error:
            self.failure = error
            if error.correlation_id:
                self.correlation_ids.append(error.correlation_id)
            return
        self._note(reply, ids)

    def _note(self, reply: DeleteReply, ids: list[str]) -> None:
        if reply.correlation_id:
            self.correlation_ids.append(reply.correlation_id)
        if reply.deleted_count is None:
            return
        missing = len(ids) - reply.deleted_count
        if reply.deleted_count == 0:
            # Every one of them was gone before, so none of them is ours.
            self._gone_before.update(ids)
        elif missing > 0:
            self.by_others += missing

    async def outcomes(self, ids: list[str], progress: Progress | None) -> dict[str, Outcome]:
        if not ids:
            return {}
        present: set[str] = set()

        async def take(items: list[RequestWithInteractions]) -> None:
            present.update(item.request.request_id for item in items)

        try:
            await read_set(self._reach, ids, take, places=self._plan.places, progress=progress)
        except ReflexioError as error:
            self.failure = self.failure or error
            return dict.fromkeys(ids, "unknown")
        refused = isinstance(self.failure, NotAuthorized)
        left: Outcome = "not_allowed" if refused else "still_present"
        outcomes: dict[str, Outcome] = {}
        for one in ids:
            outcomes[one] = left if one in present else "not_found" if one in self._gone_before else "deleted"
        return outcomes

    async def delete_learnings(self, *, late: bool = False) -> None:
        planned = self._plan.learned or Learned()
        try:
            if late:
                planned = await find_learned(self._reach, self._plan.ids_by_user)
            self.learned_left = planned
            if planned.count:
                await delete_learned(self._reach, planned)
                self.learned_left = await find_learned(self._reach, self._plan.ids_by_user)
        except ReflexioError as error:
            self.failure = error
            self.learned_left = None
            return
        gone = planned.without(self.learned_left)
        self.learned_gone = gone.joined(self.learned_gone or Learned())
