"""Acting on a plan, and the receipt that says what came of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from reflexio_mcp.rest.errors import NotAuthorized, ReflexioError
from reflexio_mcp.traffic.plans import Plan, Progress, find_present
from reflexio_mcp.traffic.reach import Reach

__all__ = ["Outcome", "Receipt", "execute"]

BATCH: Final = 500
"""Ids in one call: small enough for a sign of life between two, large enough to cost no time."""

Outcome = Literal["deleted", "not_found", "not_allowed", "still_present", "unknown"]
"""What became of one id. `unknown` is said only where the re-read itself failed."""


@dataclass(frozen=True)
class Receipt:
    """What a deletion did, from a re-read and not from the service's word.

    Args:
        plan: what was planned.
        outcomes: what became of each id, those not found included.
        failure: what stopped it half-way, if something did; its outcomes are as exact all the same.
    """

    plan: Plan
    outcomes: Mapping[str, Outcome]
    failure: ReflexioError | None = None

    def count(self, outcome: Outcome) -> int:
        return Counter(self.outcomes.values())[outcome]

    def ids(self, outcome: Outcome) -> list[str]:
        return [request_id for request_id, became in self.outcomes.items() if became == outcome]

    @property
    def complete(self) -> bool:
        """Whether everything planned is gone."""
        return self.failure is None and self.count("deleted") == len(self.plan.ids)


async def execute(reach: Reach, plan: Plan, *, progress: Progress | None = None) -> Receipt:
    """Delete exactly the planned requests and read again what is there.

    Always by id: a call for a whole session would also take what has arrived since the plan, and everybody
    else's requests in it.

    Args:
        plan: the set; those it did not find stay `not_found`.
        progress: told after every batch.

    Returns:
        The receipt. A failure of the service half-way does not raise: it is in the receipt, with what is gone
        and what is not.
    """
    failure: ReflexioError | None = None
    ids = plan.ids
    for start in range(0, len(ids), BATCH):
        try:
            await reach.client.delete_requests_by_ids(list(ids[start : start + BATCH]))
        except ReflexioError as error:
            failure = error
            break
        if progress:
            await progress("deleted", min(start + BATCH, len(ids)), len(ids))
    outcomes: dict[str, Outcome] = {}
    try:
        present = await find_present(reach, plan, progress=progress) if ids else set[str]()
    except ReflexioError as error:
        failure = failure or error
        outcomes.update(dict.fromkeys(ids, "unknown"))
    else:
        refused = isinstance(failure, NotAuthorized)
        for request_id in ids:
            if request_id not in present:
                outcomes[request_id] = "deleted"
            else:
                outcomes[request_id] = "not_allowed" if refused else "still_present"
    outcomes.update(dict.fromkeys(plan.not_found, "not_found"))
    return Receipt(plan, outcomes, failure)
