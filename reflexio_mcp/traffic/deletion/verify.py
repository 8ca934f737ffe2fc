"""Reading planned requests again: which are still stored as planned, and which ids another request has taken."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.deletion.plan import Plan, mark_of
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Reread", "read_again"]


@dataclass
class Reread:
    """What is there now.

    Args:
        same: ids whose request is the planned one.
        changed: ids that another request has taken since.
    """

    same: set[str] = field(default_factory=set[str])
    changed: set[str] = field(default_factory=set[str])


async def read_again(
    scope: Scope,
    plan: Plan,
    *,
    keep: Callable[[list[RequestWithInteractions]], Awaitable[None]] | None = None,
    progress: Progress | None = None,
) -> Reread:
    """Read the stored requests of a plan again. For an id in neither set, this caller can see nothing.

    Args:
        keep: receives the requests that are the same, a few at a time.

    Raises:
        ReflexioError: as the client raises it.
    """
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
        await read_set(scope, plan.ids, take, places=plan.places, progress=progress)
    return found
