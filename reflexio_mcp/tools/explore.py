"""The explorer: a page in the conversation, and the data it asks for."""

from typing import Annotated, Literal, TypedDict

from mcp.server.apps import client_supports_apps
from mcp.types import CallToolResult
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.render.lists import SessionBudget, SessionsFacts, page_of_sessions
from reflexio_mcp.render.result import Rendered, Unlisted
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, hides, old_answer, page_pass, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.traffic.reading.listing import list_sessions

__all__ = ["SPECS"]

SESSIONS_TOLD = 10
"""Sessions that the model reads of; the page shows all of them."""

NO_PAGE = "This client does not say that it shows pages: the person sees only what you tell them."


async def explore_traffic(
    call: Call,
    wanted: parameters.AskedFilter,
    user_id: parameters.UserId = "",
    session_id: parameters.SessionId = "",
    source: parameters.Source = "",
    agent_version: parameters.AgentVersion = "",
    start_time: parameters.StartTime = "",
    end_time: parameters.EndTime = "",
    contains: parameters.Contains = "",
    finding: parameters.Finding = "",
    detail: parameters.ListDetail = "summary",
) -> CallToolResult:
    import uuid

    scope = scope_of(call)
    budget = SessionBudget(masked=hides(call, detail))
    async with ProgressReporter(call).steady("looking through"):
        page = await list_sessions(scope, wanted, limit=SESSIONS_TOLD, budget=budget)
        await budget.redact(page.rows)
    # This tool takes no cursor.
    told = page_of_sessions(budget, page, wanted, "list_sessions")
    # Without a session a connection of 2025 does not say again what its client can.
    if call.client_capabilities is not None and not client_supports_apps(call):
        notes = [*told.structured.get("notes", ()), NO_PAGE]
        told = Rendered(f"{told.text}\n{NO_PAGE}", {**told.structured, "notes": notes})
    result = old_answer(told)
    # Under this name the page keeps where it was, for when the conversation is opened again.
    result.meta = {"viewUUID": str(uuid.uuid4()), **page_pass(call)}
    return result


async def explorer_data(
    call: Call,
    asked: parameters.AskedWords,
    view: Literal["rows", "findings", "across", "learning", "request", "plan", "export"],
    user_id: str = "",
    session_id: str = "",
    source: str = "",
    agent_version: str = "",
    start_time: str = "",
    end_time: str = "",
    contains: str = "",
    request_id: str = "",
    request_ids: list[str] | SkipJsonSchema[None] = None,
    include_learnings: bool = False,
    uncovered: bool = False,
    limit: Annotated[int, Field(ge=1, le=10_000)] = 1000,
    cursor: str = "",
) -> CallToolResult:
    from reflexio_mcp.tools import explorer_views

    match view:
        case "rows" if request_ids is not None:
            facts = await explorer_views.rows_by_id(call, request_ids, uncovered=uncovered)
        case "rows":
            facts = await explorer_views.rows(call, asked, limit, cursor, uncovered=uncovered)
        case "request":
            facts = await explorer_views.one_request(call, request_id, cursor, uncovered=uncovered)
        case "plan":
            facts = await explorer_views.plan(call, request_ids or [], include_learnings=include_learnings)
        case "export":
            facts = await explorer_views.export(call, request_ids or [], uncovered=uncovered)
        case "findings":
            facts = await explorer_views.findings(call, asked, limit, cursor)
        case "across":
            facts = await explorer_views.across(call, asked, limit)
        case "learning":
            facts = await explorer_views.learning(call, request_ids or [])
    return explorer_views.data(call, view, facts)


class ExplorerData(TypedDict, total=False):
    """What the page asked for; the rest of it is between the page and `explorer_views`."""

    notice: Unlisted[str]
    view: Unlisted[str]


SPECS = (
    ToolSpec(
        explore_traffic,
        "Explore traffic",
        "Show the person a page of what is remembered, to look through, select and delete themselves; "
        "you get the newest sessions.",
        SessionsFacts,
        read_only=True,
        opens_page=True,
    ),
    ToolSpec(
        explorer_data,
        "Data of the explorer",
        "For the page of explore_traffic alone.",
        ExplorerData,
        read_only=True,
        opened_by="explore_traffic",
    ),
)
