"""Undoing a deletion with its recovery copy."""

from typing import Annotated, Final

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.render.restoring import COPIES_SHOWN, RestoreFacts, copies_listed, restored
from reflexio_mcp.render.result import Rendered
from reflexio_mcp.render.stored_text import as_stored
from reflexio_mcp.toolkit.context import Call, app_of, old_answer, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.traffic.deletion.restore import AWAY, restore
from reflexio_mcp.traffic.errors import InvalidInput, Unreadable, refusing

__all__ = ["SPECS"]

WHICH_COPY: Final = "goes with copy_id; nothing was restored. restore_requests alone lists the copies."


async def restore_requests(
    call: Call,
    copy_id: Annotated[str, Field(description="from the receipt; empty lists the copies")] = "",
    request_ids: Annotated[list[str] | SkipJsonSchema[None], Field(description="only these")] = None,
    evaluation_only: Annotated[bool, Field(description="never learn from it again")] = False,
) -> CallToolResult:
    app, scope = app_of(call), scope_of(call)
    copies, owner = app.state.copies, app.codes(scope).scope
    if not copy_id.strip():
        if request_ids:
            raise InvalidInput("request_ids", WHICH_COPY)

        def listed() -> Rendered:
            there = copies.of(owner)
            return copies_listed(there, [copies.first(copy) for copy in there[:COPIES_SHOWN]])

        with refusing(AWAY, kind=Unreadable):
            return old_answer(await anyio.to_thread.run_sync(listed))
    reporter = ProgressReporter(call)
    async with reporter.steady("restoring"):
        done = await restore(
            scope,
            copies,
            owner,
            copy_id,
            [as_stored(one) for one in request_ids or ()],
            evaluation_only=evaluation_only,
            seconds=app.settings.wait_timeout,
            progress=reporter,
        )
    return old_answer(restored(done, evaluation_only=evaluation_only, learns=scope.learns))


SPECS = (
    ToolSpec(
        restore_requests,
        "Restore deleted requests",
        "Undo a deletion: store again what its recovery copy holds, what was learned included.",
        RestoreFacts,
        needs=lambda settings: settings.recovery_days > 0,
        needed="recovery copies (REFLEXIO_MCP_RECOVERY_DAYS)",
    ),
)
