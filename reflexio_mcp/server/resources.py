"""Resources: the status, the guide, and a session or a request by its address.

Stored text is fenced, cut and scoped exactly as the tools do it, since the tools' own functions render it.
"""

from typing import Final

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import Resource, ResourceTemplate, TextContent

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.toolkit.context import Call, hides, scope_of
from reflexio_mcp.toolkit.errors import describe
from reflexio_mcp.toolkit.subscriptions import name_of
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, TrafficError

__all__ = ["RESOURCES", "TEMPLATES", "read"]

TEXT: Final = "text/plain"

RESOURCES: Final = (
    Resource(
        uri="reflexio://status",
        name="status",
        title="Status",
        description="Where memory is stored, whether it answers, whose it is, the deletion policy.",
        mime_type=TEXT,
    ),
    Resource(
        uri="reflexio://guide",
        name="guide",
        title="Guide to publishing",
        description="How to choose session id, source, agent version and flags.",
        mime_type=TEXT,
    ),
)

TEMPLATES: Final = (
    ResourceTemplate(
        uri_template="reflexio://sessions/{session_id}",
        name="session",
        title="Session",
        description="The stored requests of one session, newest first.",
        mime_type=TEXT,
    ),
    ResourceTemplate(
        uri_template="reflexio://requests/{request_id}",
        name="request",
        title="Request",
        description="One stored request and where its learning stands.",
        mime_type=TEXT,
    ),
)

SESSION_REQUESTS: Final = 100

MORE: Final = "Go on with list_requests: the same session_id, detail and that cursor."


async def read(call: Call, uri: str) -> list[ReadResourceContents]:
    """The resource at an address.

    Raises:
        ResourceNotFoundError: there is none that this caller may see.
        ResourceError: it could not be read; the text says why.
    """
    try:
        text = await _text(call, uri)
    except (NotStored, InvalidInput) as error:
        raise ResourceNotFoundError(str(error)) from None
    except (ReflexioError, TrafficError) as error:
        raise ResourceError(describe(error, "read")) from None
    return [ReadResourceContents(content=text, mime_type=TEXT)]


async def _text(call: Call, uri: str) -> str:
    if uri == "reflexio://status":
        from reflexio_mcp.tools.status import get_status

        return "\n".join(
            part.text for part in (await get_status(call)).content if isinstance(part, TextContent)
        )
    if uri == "reflexio://guide":
        from reflexio_mcp.server.guide import guide

        return guide()
    name = name_of(uri)
    if name is None:
        raise NotStored("There is no such resource; resources/list and resources/templates/list name them.")
    if name.kind == "sessions":
        return await _session(call, name.id)
    from reflexio_mcp.render.request_page import inspected
    from reflexio_mcp.traffic.reading.lookup import get_request

    item, learning = await get_request(scope_of(call), name.id)
    return inspected(item, learning, masked=hides(call)).text


async def _session(call: Call, session_id: str) -> str:
    from reflexio_mcp.render.lists import RequestBudget, page_of_requests
    from reflexio_mcp.traffic.reading.filters import make_filter
    from reflexio_mcp.traffic.reading.listing import list_requests
    from reflexio_mcp.traffic.reading.lookup import require_id

    scope = scope_of(call)
    wanted = make_filter(scope, session_id=require_id("session_id", session_id))
    budget = RequestBudget(full=True, masked=hides(call))
    page = await list_requests(
        scope, wanted, limit=SESSION_REQUESTS, budget=budget, detail="masked" if hides(call) else "full"
    )
    if not page.rows:
        raise NotStored("No such session is stored. Find sessions with list_sessions.")
    text = page_of_requests(budget, page, wanted).text
    return f"{text}\n{MORE}" if page.cursor else text
