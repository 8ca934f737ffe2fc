"""Taking traffic back: plan, consent, act, receipt."""

from mcp.types import CallToolResult

from reflexio_mcp.confirmation import weigh
from reflexio_mcp.render.deletions import planned, receipt
from reflexio_mcp.render.words import Rendered, visible
from reflexio_mcp.tools.context import Call, answer, app_of, reach_of, reporter
from reflexio_mcp.tools.parameters import Confirm, SessionId, UserId, WaitForReceipt
from reflexio_mcp.tools.specs import INTEGER, OBJECT, STRING, ToolSpec, obj
from reflexio_mcp.traffic.deletion import execute
from reflexio_mcp.traffic.inspecting import require_id
from reflexio_mcp.traffic.plans import Plan, plan_ids, plan_session

__all__ = ["SPECS"]

SURVIVES = "Profiles and playbooks already learned from it stay."


async def delete_request(
    call: Call, request_id: str, confirm: Confirm = "", wait_for_response: WaitForReceipt = True
) -> CallToolResult:
    request_id = require_id("request_id", request_id)
    plan = await plan_ids(reach_of(call), [request_id], what=f"request {request_id}")
    return await _delete(call, plan, confirm, wait_for_response)


async def delete_session(
    call: Call,
    session_id: SessionId,
    user_id: UserId = "",
    confirm: Confirm = "",
    wait_for_response: WaitForReceipt = True,
) -> CallToolResult:
    plan = await plan_session(reach_of(call), session_id, user_id)
    return await _delete(call, plan, confirm, wait_for_response)


async def _delete(call: Call, plan: Plan, confirm: str, wait: bool) -> CallToolResult:
    app, reach = app_of(call), reach_of(call)
    if not plan.doomed:
        lead = f"{visible(plan.what)[:300]}: not found, nothing was deleted."
        rendered = planned(plan, lead=lead[0].upper() + lead[1:], following="Find ids with list_requests.")
        return answer(Rendered(rendered.text, {**rendered.structured, "status": "not_found"}))
    verdict = weigh(app.settings, app.doors.codes(reach), plan, confirm)
    if not verdict.act:
        return answer(planned(plan, lead=verdict.lead, code=verdict.code, following=verdict.following))
    if not wait:
        job = app.schedule.start(app.tasks, plan.what, reach.owner, lambda: execute(reach, plan))
        following = f"The receipt will be in get_status as deletion {job.number}."
        rendered = planned(plan, lead="Scheduled, not yet done. This will go:", following=following)
        return answer(Rendered(rendered.text, {**rendered.structured, "status": "scheduled"}))
    done = await execute(reach, plan, progress=reporter(call))
    return answer(receipt(done, survives=SURVIVES))


_OUTCOME = obj(
    "notice status deleted",
    notice=STRING,
    status=STRING,
    deleted=INTEGER,
    plan=OBJECT,
    confirm=STRING,
    counts=OBJECT,
    outcomes=OBJECT,
    survives=STRING,
    next=STRING,
)

SPECS = (
    ToolSpec(
        delete_request,
        "Delete a request",
        "Forget one stored request. Shows what would go, deletes when confirmed, then checks that it is gone.",
        _OUTCOME,
        destructive=True,
    ),
    ToolSpec(
        delete_session,
        "Delete a session",
        "Forget or clean up a conversation: every stored request of a session. Shows what would go first.",
        _OUTCOME,
        destructive=True,
    ),
)
