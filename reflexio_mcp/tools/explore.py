"""The explorer: a page in the conversation, and the data it asks for."""

from typing import Annotated, Final, Literal

from mcp.server.apps import client_supports_apps
from mcp.types import CallToolResult
from pydantic import BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.render import reading as text
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Step
from reflexio_mcp.results.reading import ExplorerData, SessionPage
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, ProgressReporter, answer, page_pass, scope_of, words_of
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_sessions

SESSIONS_LISTED: Final = 10
"""Number of sessions in the text for the model. The explorer, which opens beside it, reads all by itself."""


@parameters.filtered()
async def explore_traffic(
    call: Call, asked: TrafficFilter, detail: parameters.ListDetail = "summary"
) -> Annotated[CallToolResult, SessionPage]:
    async with ProgressReporter(call).steady(Step.LOOKING_THROUGH):
        page = await list_sessions(scope_of(call), asked, limit=SESSIONS_LISTED, detail=detail)
    # Without an MCP session, the capabilities of a client of protocol 2025 are not known.
    shows_no_pages = call.client_capabilities is not None and not client_supports_apps(call)
    facts = [*page.facts]
    if page.cursor:
        facts.append(Fact(code=FactCode.MORE_SESSIONS))
    if shows_no_pages:
        facts.append(Fact(code=FactCode.NO_PAGE_SHOWN))
    page = page.model_copy(update={"facts": facts, "cursor": None})
    result = answer(page, text.session_page(page, words_of(call)))
    result.meta = page_pass(call)
    return result


@parameters.filtered(without=("finding", "evaluation_only"))
async def explorer_data(
    call: Call,
    asked: TrafficFilter,
    view: Literal["rows", "findings", "request", "plan"],
    request_id: str = "",
    request_ids: list[str] | SkipJsonSchema[None] = None,
    erase: bool = False,
    uncovered: bool = False,
    hurried: bool = False,
    limit: Annotated[int, BeforeValidator(parameters.refuse_boolean), Field(ge=1, le=10_000)] = 1000,
    cursor: str = "",
) -> Annotated[CallToolResult, ExplorerData]:
    from reflexio_mcp.tools import explorer_views

    match view:
        case "rows" if request_ids is not None:
            data = await explorer_views.rows_by_id(call, request_ids)
        case "rows":
            data = await explorer_views.rows(call, asked, limit, cursor, hurried=hurried)
        case "request":
            data = await explorer_views.one_request(call, request_id, cursor, uncovered=uncovered)
        case "plan":
            data = await explorer_views.plan(call, request_ids or [], erase=erase)
        case "findings":
            data = await explorer_views.findings(call, asked, limit, cursor)
    result = answer(data, f"Data for the explorer page: {view}.")
    result.meta = page_pass(call)
    return result


async def judge_finding(
    call: Call, finding: str, request_ids: list[str], take_back: bool = False
) -> Annotated[CallToolResult, ExplorerData]:
    from reflexio_mcp.tools import explorer_views

    data = await explorer_views.judge(call, finding, request_ids, no_problem=not take_back)
    return answer(data, "Remembered.")
