"""Reading what was planned again: what is still stored as planned, and which ids another request has taken."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from reflexio_mcp.rest.errors import ServerFault
from reflexio_mcp.rest.models import RequestWithInteractions, UnreadableRequest
from reflexio_mcp.traffic.content import turn_digest
from reflexio_mcp.traffic.deletion.plan import Plan, mark_of
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.reading.lookup import Progress, read_set, untold
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Reread", "read_again"]


@dataclass
class Reread:
    """What is there now.

    Args:
        same: ids whose request, or interaction, is the planned one.
        changed: ids that another request has taken since, or the same one, put back.
        interactions: how many interactions the one request has of which some were planned; `None` where no such
            request is stored.
    """

    same: set[str] = field(default_factory=set[str])
    changed: set[str] = field(default_factory=set[str])
    interactions: int | None = None


async def read_again(
    scope: Scope,
    plan: Plan,
    *,
    keep: Callable[[list[RequestWithInteractions]], Awaitable[None]] | None = None,
    progress: Progress = untold,
) -> Reread:
    """Read what is stored of a plan again. For an id in neither set, this caller can see nothing.

    Args:
        keep: receives the requests that are the same, a few at a time, whole where the backend gives them out so.
    """
    if isinstance(plan, TurnPlan):
        return await _turns_again(scope, plan, keep)
    found = Reread()
    marks = plan.marks

    async def take(items: list[RequestWithInteractions]) -> None:
        same: list[RequestWithInteractions] = []
        for item in items:
            one = item.request.request_id
            if not scope.covers(item.request.user_id):
                continue
            if mark_of(item) == marks[one]:
                found.same.add(one)
                same.append(item)
            else:
                found.changed.add(one)
        if keep and same:
            await keep(same)

    if plan.requests:
        whole = keep is not None
        await read_set(scope, plan.ids, take, places=plan.places, whole=whole, progress=progress)
    return found


async def _turns_again(
    scope: Scope, plan: TurnPlan, keep: Callable[[list[RequestWithInteractions]], Awaitable[None]] | None
) -> Reread:
    found = Reread()
    planned = plan.requests[0]
    stored: list[RequestWithInteractions] = []

    async def take(items: list[RequestWithInteractions]) -> None:
        stored.extend(items)

    await read_set(scope, [planned.request_id], take, whole=keep is not None)
    item = stored[0] if stored else None
    if isinstance(item, UnreadableRequest):
        raise ServerFault("the service fails to return the request")
    if item is None or item.request.user_id != planned.user_id:
        return found
    found.interactions = len(item.interactions)
    digests = {turn.interaction_id: turn.digest for turn in plan.turns}
    if item.request.arrival != plan.arrival:
        # The request was put back, and its interactions have the ids that they had.
        found.changed = {
            str(one.interaction_id) for one in item.interactions if one.interaction_id in digests
        }
        return found
    # The service never uses an interaction id again.
    same = [one for one in item.interactions if digests.get(one.interaction_id) == turn_digest(one)]
    found.same = {str(one.interaction_id) for one in same}
    if keep and same:
        await keep([RequestWithInteractions(request=item.request, interactions=same)])
    return found
