"""Resources: the status, the guide, and a session or a request by its address.

Stored text is fenced, cut and scoped exactly as the tools do it, since the tools' own functions render it. Each is
offered where a tool is that tells the same.
"""

from typing import Final
from urllib.parse import unquote

from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import Resource, ResourceTemplate, TextContent

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.toolkit.arguments import describe
from reflexio_mcp.toolkit.context import Call, app_of, scope_of
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, TrafficError

__all__ = ["RESOURCES", "TEMPLATES", "listed", "read", "templates"]

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
        title="Guide",
        description="What is stored, the way through the tools, and how to choose ids, source, version and flags.",
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

TOOLS_OF: Final = {
    "reflexio://status": {"get_status"},
    "reflexio://guide": {"publish_interaction", "audit_traffic"},
    "reflexio://sessions/{session_id}": {"list_requests"},
    "reflexio://requests/{request_id}": {"get_request"},
}
"""The tools that tell what a resource tells; it is offered where one of them is."""

SESSION_REQUESTS: Final = 100

MORE: Final = "Go on with list_requests: the same session_id, detail and that cursor."


def listed(tools: frozenset[str]) -> list[Resource]:
    """The resources that are offered beside these tools."""
    return [one for one in RESOURCES if tools & TOOLS_OF[str(one.uri)]]


def templates(tools: frozenset[str]) -> list[ResourceTemplate]:
    """The templates that are offered beside these tools."""
    return [one for one in TEMPLATES if tools & TOOLS_OF[one.uri_template]]


def _id_in(uri: str, template: str) -> str:
    """The id in an address of this template, unescaped; empty if the address is not one of it."""
    start = template.partition("{")[0]
    return unquote(uri[len(start) :]) if uri.startswith(start) else ""


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
    tools = app_of(call).tools
    scope = scope_of(call)
    ids = {
        one.name: scope.stored_id(found)
        for one in templates(tools)
        if (found := _id_in(uri, one.uri_template))
    }
    if not ids and not any(uri == str(one.uri) for one in listed(tools)):
        raise NotStored("There is no such resource; resources/list and resources/templates/list name them.")
    if uri == "reflexio://status":
        from reflexio_mcp.tools.status import get_status

        return "\n".join(
            part.text for part in (await get_status(call)).content if isinstance(part, TextContent)
        )
    if uri == "reflexio://guide":
        from reflexio_mcp.server.guide import guide

        return guide(learns=scope.learns, confirm=app_of(call).settings.confirm)
    if "session" in ids:
        return await _session(call, ids["session"])
    from reflexio_mcp.render.reading import one_request
    from reflexio_mcp.traffic.reading.lookup import read_request

    return one_request(await read_request(scope, ids["request"]))


async def _session(call: Call, session_id: str) -> str:
    from reflexio_mcp.render.reading import request_page
    from reflexio_mcp.traffic.reading.filters import make_filter
    from reflexio_mcp.traffic.reading.listing import list_requests
    from reflexio_mcp.traffic.reading.lookup import require_id

    scope = scope_of(call)
    wanted = make_filter(user_id=scope.user_id, session_id=require_id("session_id", session_id))
    page = await list_requests(scope, wanted, limit=SESSION_REQUESTS, detail="full")
    if not page.returned:
        raise NotStored("No such session is stored. Find sessions with list_sessions.")
    return f"{request_page(page)}\n{MORE}" if page.cursor else request_page(page)
