"""Undoing a deletion with its recovery copy."""

import time
from typing import Annotated, Final

from mcp.types import CallToolResult
from pydantic import BeforeValidator, Field

from reflexio_mcp.render.deletion import restored
from reflexio_mcp.results.base import NOTICE
from reflexio_mcp.results.deletion import Restored
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, answer, app_of, hides, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.tools.delete import NOT_GIVEN
from reflexio_mcp.traffic.deletion.history import last_deletions
from reflexio_mcp.traffic.deletion.restore import AWAY, Undo, plan_restore, restore
from reflexio_mcp.traffic.errors import InvalidInput, Unreadable, refusing
from reflexio_mcp.results.text import as_stored

__all__ = ["SPECS"]

LISTED: Final = "Call again with deletion=NUMBER to see what that would put back."
SHOWN: Final = "To restore it, call again with the same arguments and confirm={code}"
WRONG_CODE: Final = "confirm does not fit: it is too old, or the recovery copy or the arguments are others."
NO_DELETION: Final = "goes with deletion; nothing was restored. restore_requests alone lists the deletions."


async def restore_requests(
    call: Call,
    deletion: Annotated[
        int,
        BeforeValidator(parameters.no_switch),
        Field(ge=0, description="its number, from the receipt; left out: lists them"),
    ] = 0,
    request_ids: Annotated[list[str], Field(min_length=1, description="only these")] = NOT_GIVEN,
    evaluation_only: Annotated[bool, Field(description="never learn from it again")] = False,
    confirm: Annotated[str, Field(description="code from this call's plan")] = "",
) -> Annotated[CallToolResult, Restored]:
    app, scope = app_of(call), scope_of(call)
    state, codes, owner = app.state, app.codes(scope), await app.owner(scope)
    if not deletion:
        if request_ids is not NOT_GIVEN:
            raise InvalidInput("request_ids", NO_DELETION)
        with refusing(AWAY, kind=Unreadable):
            there = await last_deletions(scope, state, owner)
        said = LISTED if any(one.copied for one in there) else ""
        return _answer(Restored(notice=NOTICE, status="listed", deletions=there, next=said))
    ids = [] if request_ids is NOT_GIVEN else [as_stored(one) for one in request_ids]
    undo = Undo(deletion, frozenset(ids), evaluation_only)
    reporter = ProgressReporter(call)
    async with reporter.steady("restoring"):
        plan, bound = await plan_restore(scope, state, owner, undo, masked=hides(call) is not None)
        now = time.time()
        if not codes.check(confirm, bound, now=now).good and app.settings.confirm != "off":
            code = codes.make(bound, count=1, now=now)
            wrong = [WRONG_CODE] if confirm else []
            shown = {"confirm": code, "next": SHOWN.format(code=code), "remains": [*plan.remains, *wrong]}
            return _answer(plan.model_copy(update=shown))
        done = await restore(scope, state, owner, undo, seconds=app.settings.wait_timeout, progress=reporter)
    return _answer(done)


def _answer(done: Restored) -> CallToolResult:
    return answer(done, restored(done))


SPECS = (
    ToolSpec(
        restore_requests,
        "Restore deleted requests",
        "Undo a deletion: list what can be restored, see it, and store it again, what was learned included.",
        needs=lambda settings: settings.recovery_days > 0,
        needed="recovery copies (REFLEXIO_MCP_RECOVERY_DAYS)",
    ),
)
