"""Resources: the status, the guide, the explorer's page, and a session or a request by its address.

The tools' own functions render stored text, so it is fenced, cut and scoped in the same way.
"""

from typing import Any, Final
from urllib.parse import unquote

from mcp.server.apps import APP_MIME_TYPE
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError
from mcp.types import Resource, ResourceTemplate, TextContent

from reflexio_mcp.explorer.document import document, uri
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.server.calls import GUIDE
from reflexio_mcp.toolkit.context import Call, app_of, scope_of, words_of
from reflexio_mcp.toolkit.parameters import describe
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, TrafficError, require_id

TEXT: Final = "text/plain"

RESOURCES: Final = (
    Resource(
        uri="reflexio://status",
        name="status",
        title="Status",
        description="The backend and whether it can be reached, the user in scope, the deletion policy.",
        mime_type=TEXT,
    ),
    Resource(
        uri=GUIDE,
        name="guide",
        title="Guide",
        description="What is stored, how to use the tools, and how to choose ids, source, version and flags.",
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
        description="One stored request and the state of its learning.",
        mime_type=TEXT,
    ),
)

TOOLS_OF: Final = {
    "status": {"get_status"},
    "guide": {"publish_interaction", "audit_traffic"},
    "session": {"list_requests"},
    "request": {"get_request"},
}
"""A caller sees a resource only with one of these tools."""

PAGE_META: Final[dict[str, Any]] = {"ui": {"csp": {}, "prefersBorder": False}}
"""The explorer's page loads nothing from any domain."""

MORE: Final = "Continue with list_requests: the same session_id, and that cursor."


def listed(tools: frozenset[str]) -> list[Resource]:
    found = [resource for resource in RESOURCES if tools & TOOLS_OF[resource.name]]
    if "explore_traffic" in tools:
        page = Resource(
            uri=uri(),
            name="explorer",
            title="Explorer",
            description="The page that explore_traffic shows.",
            mime_type=APP_MIME_TYPE,
            _meta=PAGE_META,
        )
        found.append(page)
    return found


def templates(tools: frozenset[str]) -> list[ResourceTemplate]:
    return [template for template in TEMPLATES if tools & TOOLS_OF[template.name]]


async def read(call: Call, address: str) -> ReadResourceContents:
    """Return the resource at an address.

    Raises:
        ResourceNotFoundError: this caller can see no resource there.
        ResourceError: the resource could not be read; the text says why.
    """
    tools = app_of(call).tools
    if "explore_traffic" in tools and address == uri():
        return ReadResourceContents(content=document(), mime_type=APP_MIME_TYPE, meta=PAGE_META)
    name, id_ = _named_by(address, tools)
    try:
        return ReadResourceContents(content=await _text(call, name, id_), mime_type=TEXT)
    except (NotStored, InvalidInput) as error:
        raise ResourceNotFoundError(describe(error, words_of(call), "read")) from None
    except (ReflexioError, TrafficError) as error:
        raise ResourceError(describe(error, words_of(call), "read")) from None


def _named_by(address: str, tools: frozenset[str]) -> tuple[str, str]:
    """Return the name of the resource or template at an address, and the id in the address; empty without one."""
    for template in templates(tools):
        start = template.uri_template.partition("{")[0]
        if address.startswith(start):
            return template.name, unquote(address.removeprefix(start))
    return {str(resource.uri): resource.name for resource in listed(tools)}.get(address, ""), ""


async def _text(call: Call, name: str, id_: str) -> str:
    # Few connections read resources, so their modules are imported late.
    if not name:
        raise NotStored("There is no such resource; resources/list and resources/templates/list name them.")
    if name == "guide":
        from reflexio_mcp.server.guide import guide

        return guide(app_of(call).tools, learns=scope_of(call).learns, confirm=app_of(call).settings.confirm)
    if name == "status":
        from reflexio_mcp.tools.status import get_status

        result = await get_status(call)
        return "\n".join(part.text for part in result.content if isinstance(part, TextContent))
    from reflexio_mcp.render.reading import one_request, request_page
    from reflexio_mcp.traffic.learnings.request_with_learnings import read_request
    from reflexio_mcp.traffic.reading.filters import make_filter
    from reflexio_mcp.traffic.reading.listing import list_requests

    scope = scope_of(call)
    stored = scope.stored_id(id_)
    if name == "request":
        return one_request(await read_request(scope, stored), words_of(call)).text
    wanted = make_filter({"user_id": scope.user_id, "session_id": require_id("session_id", stored)})
    page = await list_requests(scope, wanted, limit=100, detail="full")
    if not (page.returned or page.unreadable):
        raise NotStored("No such session is stored.", Fact(code=FactCode.FIND_SESSION))
    shown = request_page(page, words_of(call)).text
    return f"{shown}\n{MORE}" if page.cursor else shown
