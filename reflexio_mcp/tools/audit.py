"""From traffic to findings. The rules are imported when the first audit runs."""

from typing import Annotated

from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp.results.audit import AuditResult
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, answer, app_of, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter

__all__ = ["SPECS"]


@parameters.filtered("finding")
async def audit_traffic(
    call: Call,
    asked: TrafficFilter,
    cursor: Annotated[str, Field(description="from an audit that did not reach the end")] = "",
) -> Annotated[CallToolResult, AuditResult]:
    from reflexio_mcp.render.audit import audit_text
    from reflexio_mcp.traffic.audit.calls import Offer
    from reflexio_mcp.traffic.audit.run import run_audit  # what an audit needs, few servers need

    scope = scope_of(call)
    settings = app_of(call).settings
    offer = Offer(app_of(call).tools, takes_user=not scope.user_id)
    after = open_cursor(scope, cursor, "audit", asked) if cursor else None
    async with ProgressReporter(call).steady("reading") as reporter:
        found = await run_audit(
            scope, asked, offer=offer, after=after, progress=reporter, personal=settings.personal_data
        )
    return answer(found, audit_text(found))


SPECS = (
    ToolSpec(
        audit_traffic,
        "Audit traffic",
        "How many requests there are, whose and since when, and what is wrong with them: findings (probable-secret, "
        "possible-secret, planted-instructions, personal-data, duplicate, test-traffic, learning-waiting, ...), each "
        "with the call that shows it and the one that cleans up. Shows no content.",
        read_only=True,
    ),
)
