"""Reading traffic: lists, and one request."""

from typing import Annotated, Final, Literal

from mcp.types import CallToolResult
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.render.lists import (
    RequestBudget,
    RequestsFacts,
    SessionBudget,
    SessionsFacts,
    page_of_requests,
    page_of_sessions,
    whole_where_short,
)
from reflexio_mcp.render.request_page import RequestPageFacts, inspected
from reflexio_mcp.render.result import Rendered, tabled
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, hides, old_answer, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests as list_page_of_requests
from reflexio_mcp.traffic.reading.listing import list_sessions as list_page_of_sessions
from reflexio_mcp.traffic.reading.lookup import get_request as get_one
from reflexio_mcp.traffic.reading.search import judges_alone

__all__ = ["SPECS"]

BESIDE_OTHERS: Final = (
    "does not go with finding {finding}, which shows beside other requests alone: leave request_id out."
)


@parameters.filtered()
async def list_sessions(
    call: Call,
    asked: TrafficFilter,
    detail: parameters.ListDetail = "summary",
    order: Annotated[
        Literal["newest", "longest"], Field(description="longest: most characters of text")
    ] = "newest",
    limit: parameters.Limit = 20,
    cursor: parameters.Cursor = "",
) -> CallToolResult:
    scope = scope_of(call)
    if cursor and order != "newest":
        raise InvalidInput("cursor", "goes with order=newest alone; the longest are one page.")
    after = open_cursor(scope, cursor, "sessions", asked, detail) if cursor else None
    wanted, shown = (after.filter, after.detail) if after else (asked, detail)
    budget = SessionBudget(masked=hides(call, shown))
    async with ProgressReporter(call).steady("looking through"):
        page = await list_page_of_sessions(
            scope, asked, limit=limit, budget=budget, order=order, detail=shown, after=after
        )
        await budget.redact(page.rows)
    return old_answer(page_of_sessions(budget, page, wanted))


@parameters.filtered()
async def list_requests(
    call: Call,
    asked: TrafficFilter,
    request_id: str = "",
    detail: parameters.Detail | SkipJsonSchema[None] = None,
    limit: parameters.Limit = 20,
    top_k: Annotated[parameters.Limit | SkipJsonSchema[None], Field(description="sessions at most")] = None,
    cursor: parameters.Cursor = "",
) -> CallToolResult:
    scope = scope_of(call)
    after = open_cursor(scope, cursor, "requests", asked, detail or "summary") if cursor else None
    wanted, shown = (after.filter, after.detail) if after else (asked, detail or "summary")
    budget = RequestBudget(full=shown == "full", masked=hides(call, shown), words=wanted.contains)
    request_id = request_id.strip()
    if request_id and not judges_alone(wanted.finding):
        raise InvalidInput("request_id", BESIDE_OTHERS.format(finding=wanted.finding))
    async with ProgressReporter(call).steady("looking through"):
        page = await list_page_of_requests(
            scope,
            asked,
            limit=limit,
            budget=budget,
            request_id=request_id,
            most_sessions=top_k,
            detail=shown,
            after=after,
        )
        # Who names a detail gets rows with the same fields, however little is found.
        short = wanted.contains and not (detail or shown != "summary" or page.ended or hides(call))
        whole = await whole_where_short(page.rows, wanted.contains) if short else None
        if whole is None:
            await budget.redact(page.rows)
    return old_answer(page_of_requests(whole or budget, page, wanted, request_id))


async def get_request(
    call: Call,
    request_id: str,
    detail: Annotated[Literal["full", "masked"], Field(description=parameters.MASKED)] = "full",
    cursor: parameters.Cursor = "",
) -> CallToolResult:
    item, learning = await get_one(scope_of(call), request_id)
    page = inspected(item, learning, cursor, masked=hides(call, detail))
    return old_answer(Rendered(page.text, tabled(page.structured, "interactions")))


SPECS = (
    ToolSpec(
        list_sessions,
        "List sessions",
        "See remembered conversations: a row each with user, size, times, sources, first words.",
        SessionsFacts,
        read_only=True,
    ),
    ToolSpec(
        list_requests,
        "List requests",
        "See what was sent to memory: stored requests grouped by session, newest first.",
        RequestsFacts,
        read_only=True,
    ),
    ToolSpec(
        get_request,
        "Get a request",
        "Read one stored request with its interactions and the state of its learning.",
        RequestPageFacts,
        read_only=True,
    ),
)
