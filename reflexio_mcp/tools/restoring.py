"""Undoing a deletion from its recovery copy."""

from typing import Annotated

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.render.restoring import copies_listed, restored
from reflexio_mcp.tools.context import Call, answer, app_of, reach_of
from reflexio_mcp.tools.progress import Beats
from reflexio_mcp.tools.specs import INTEGER, OBJECT, OBJECTS, STRING, ToolSpec, obj
from reflexio_mcp.tools.watching import Changed
from reflexio_mcp.traffic.restoring import restore

__all__ = ["SPECS"]


async def restore_requests(
    call: Call,
    copy_id: Annotated[str, Field(description="from the receipt; empty lists the copies")] = "",
    request_ids: Annotated[list[str] | SkipJsonSchema[None], Field(description="only these")] = None,
    evaluation_only: Annotated[bool, Field(description="never learn from it again")] = False,
) -> CallToolResult:
    app, reach = app_of(call), reach_of(call)
    copies, owner = app.doors.safeguards.copies, app.doors.codes(reach).scope
    await anyio.to_thread.run_sync(copies.prune)
    if not copy_id.strip():
        return answer(copies_listed(await anyio.to_thread.run_sync(copies.of, owner)))
    beats = Beats(call)
    async with beats.steady("restoring"):
        done = await restore(
            reach,
            copies,
            owner,
            copy_id,
            request_ids or (),
            evaluation_only=evaluation_only,
            seconds=app.settings.wait_timeout,
            progress=beats,
        )
    app.watchers.tell(reach, [Changed(one.session_id, one.request_id, one.user_id) for one in done.stored])
    return answer(restored(done, evaluation_only=evaluation_only))


SPECS = (
    ToolSpec(
        restore_requests,
        "Restore deleted requests",
        "Undo a deletion: store again what its recovery copy holds, under the same ids.",
        obj(
            "status",
            status=STRING,
            copies=OBJECTS,
            copy_id=STRING,
            restored=INTEGER,
            counts=OBJECT,
            outcomes=OBJECT,
            lost=STRING,
            next=STRING,
        ),
    ),
)
