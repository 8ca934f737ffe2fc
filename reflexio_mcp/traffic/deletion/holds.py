"""Which items a hold keeps: an item by its own names, and a learning also by the requests that it came from."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state.records import Name, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.deletion.items import Item, interaction_name, opened
from reflexio_mcp.traffic.errors import Unreadable, needing_state
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.policy import Hold
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope


async def holds_on(scope: Scope, items: Sequence[Item], state: State, owner: Owner) -> dict[str, Hold]:
    """Return the holds on items, by the ids of the items. Items that may be deleted are left out.

    Raises:
        NotRecorded: recovery copies cannot be read.
        Unreadable: the service fails to return what a learning may have come from.
        ReflexioError: what is stored cannot be read.
    """
    policy = scope.policy.now()
    held = {one.id: hold for one in items if (hold := one.held_by(policy))}
    if not policy.holds_requests:
        return held
    by_user: dict[str, list[Learning]] = {}
    for one in items:
        if one.learning and one.id not in held:
            by_user.setdefault(one.user_id, []).append(one.learning)
    for user_id, learnings in by_user.items():
        async with aclosing(_sources_of(scope, user_id, learnings, state, owner)) as sources:
            async for source in sources:
                request = source.request
                if hold := policy.held_by(request.user_id, request.session_id, request.source):
                    held |= {one.learning_id: hold for one in learnings if _came_from(one, source)}
    return held


def _came_from(learning: Learning, source: RequestWithInteractions) -> bool:
    """Whether a learning came from a request: whether any of its interactions was in the learning's window."""
    interactions = frozenset(one.interaction_id for one in source.interactions)
    return Sources(frozenset({source.request.request_id}), interactions).link_of(learning) is not None


async def _sources_of(
    scope: Scope, user_id: str, learnings: Sequence[Learning], state: State, owner: Owner
) -> AsyncGenerator[RequestWithInteractions]:
    """Yield requests of a user, in recovery copies and stored, until the sources of the learnings are among them."""
    left = {interaction_name(user_id, one) for learning in learnings for one in learning.interaction_ids}
    left |= {Name.of("request", one.last_request_id) for one in learnings if not one.interaction_ids}
    with needing_state(FactCode.NOTHING_DELETED, FactCode.HOLDS_UNKNOWN, FactCode.STATE_UNUSABLE):
        copies = await in_thread(lambda: [opened(one) for one in state.copies.read(owner, having=left)])
    for content in copies:
        if isinstance(content, RequestWithInteractions) and content.request.user_id == user_id:
            yield content
    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.parts()) as parts:
        while left and (part := await anext(parts, None)):
            for one in part.requests:
                left.discard(Name.of("request", one.request.request_id))
                left.difference_update(
                    interaction_name(user_id, interaction.interaction_id) for interaction in one.interactions
                )
                yield one
    if left and pager.unreadable:
        raise Unreadable(
            Fact(code=FactCode.NOTHING_DELETED),
            Fact(code=FactCode.HOLDS_UNKNOWN),
            Fact(code=FactCode.PARTS_UNREADABLE),
        )
