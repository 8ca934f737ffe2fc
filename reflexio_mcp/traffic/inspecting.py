"""One request, and where its learning stands."""

from reflexio_mcp.rest.errors import NotFound
from reflexio_mcp.rest.models import LearningStatus, RequestQuery, RequestWithInteractions
from reflexio_mcp.traffic.errors import InvalidInput, NotStored
from reflexio_mcp.traffic.reach import Reach

__all__ = ["find_request", "get_request", "learning_of", "require_id"]


def require_id(field: str, text: str) -> str:
    """An id without surrounding blanks.

    Raises:
        InvalidInput: nothing is left.
    """
    if not (text := text.strip()):
        raise InvalidInput(field, "must not be blank.")
    return text


async def find_request(reach: Reach, request_id: str) -> RequestWithInteractions | None:
    """The stored request with that id if this caller may see it, else `None`."""
    query = RequestQuery(request_id=request_id, user_id=reach.user_id or None, top_k=1)
    page = await reach.client.get_requests(query)
    for group in page.sessions:
        for item in group.requests:
            if item.request.request_id == request_id and reach.covers(item.request.user_id):
                return item
    return None


async def learning_of(reach: Reach, request_id: str) -> LearningStatus | None:
    """Where the learning of a request stands; `None` when the service does not know."""
    try:
        return await reach.client.learning_status(request_id)
    except NotFound:
        return None


async def get_request(reach: Reach, request_id: str) -> tuple[RequestWithInteractions, LearningStatus | None]:
    """One request with its interactions, and where its learning stands.

    Raises:
        InvalidInput: the id is blank.
        NotStored: nothing with that id is visible to this caller.
    """
    request_id = require_id("request_id", request_id)
    item = await find_request(reach, request_id)
    if item is None:
        raise NotStored(
            f"No request {request_id[:80]!r} is stored{_whose(reach)}. Find ids with list_requests."
        )
    return item, await learning_of(reach, request_id)


def _whose(reach: Reach) -> str:
    return f" for user {reach.user_id!r}" if reach.user_id else ""
