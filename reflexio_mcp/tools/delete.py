"""Deleting traffic: plan, consent, act, receipt."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from reflexio_mcp.consent.elicitation import Reply, asks_in_the_result
from reflexio_mcp.consent.prepare import Prepared, asking, prepare, verdict_of
from reflexio_mcp.render.deletion import planned, receipt
from reflexio_mcp.render.deletion_facts import DeletionFacts
from reflexio_mcp.render.stored_text import visible
from reflexio_mcp.state.job_records import JobRecord
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import App, Call, app_of, old_answer, scope_of
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.deletion.follow_up import follow_up
from reflexio_mcp.traffic.deletion.jobs import Job
from reflexio_mcp.traffic.deletion.plan import (
    Plan,
    Progress,
    plan_filter,
    plan_ids,
    plan_session,
    with_learned,
    with_others,
)
from reflexio_mcp.traffic.deletion.safeguards import Origin, carry_out
from reflexio_mcp.traffic.deletion.takeover import Order, order_of
from reflexio_mcp.traffic.deletion.turn_plan import plan_turns
from reflexio_mcp.traffic.deletion.user_plan import plan_user
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.remove import TakenBack
from reflexio_mcp.traffic.reading.lookup import require_id, untold
from reflexio_mcp.traffic.scope import Scope

__all__ = ["SPECS", "finish", "take_over"]

RequestIds = Annotated[
    list[str] | SkipJsonSchema[None],
    Field(description="up to 10,000 (with user_id: only that user's); or use the filter"),
]
InteractionIds = Annotated[
    list[int] | SkipJsonSchema[None], Field(description="only these turns, as get_request shows them")
]
Everything = Annotated[bool, Field(description="needed without user, session, source, version or time")]

IncludeLearned = Annotated[
    bool,
    Field(description="also what was learned from it; with erase and only a user: all of that user's data"),
]

NAMES_NOTHING = (
    "must name at least one of {user}session_id, source, agent_version, start_time or end_time; "
    "nothing was deleted. With everything=true none is needed: it deletes all there is, or of it what contains or "
    "finding selects."
)


async def prepare_request(
    call: Call,
    request_id: str,
    interaction_ids: list[int] | None,
    confirm: str,
    include_learnings: bool,
    erase: bool,
) -> Prepared:
    wanted = require_id("request_id", request_id)

    async def look_up(scope: Scope, progress: Progress) -> Plan:
        if interaction_ids is not None:
            return await plan_turns(scope, wanted, interaction_ids)
        return await plan_ids(scope, [wanted], what=f"request {wanted}", progress=progress)

    return await prepare(call, look_up, confirm=confirm, include_learnings=include_learnings, erase=erase)


async def delete_request(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_request)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_request))],
    request_id: str,
    interaction_ids: InteractionIds = None,
    confirm: parameters.Confirm = "",
    include_learnings: parameters.IncludeLearnings = False,
    erase: parameters.Erase = False,
    wait_for_response: parameters.WaitForReceipt = True,
) -> CallToolResult:
    return await finish(call, "delete_request", prepared, consent, wait_for_response)


async def prepare_session(
    call: Call, session_id: str, user_id: str, confirm: str, include_learnings: bool, erase: bool
) -> Prepared:
    async def look_up(scope: Scope, progress: Progress) -> Plan:
        return await plan_session(scope, session_id, user_id, progress=progress)

    return await prepare(call, look_up, confirm=confirm, include_learnings=include_learnings, erase=erase)


async def delete_session(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_session)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_session))],
    session_id: parameters.SessionId,
    user_id: Annotated[str, Field(description="only of this user; the rest of the session stays")] = "",
    confirm: parameters.Confirm = "",
    include_learnings: parameters.IncludeLearnings = False,
    erase: parameters.Erase = False,
    wait_for_response: parameters.WaitForReceipt = True,
) -> CallToolResult:
    return await finish(call, "delete_session", prepared, consent, wait_for_response)


async def prepare_set(
    call: Call,
    wanted: parameters.AskedFilter,
    request_ids: list[str] | None,
    everything: bool,
    confirm: str,
    include_learnings: bool,
    erase: bool,
) -> Prepared:
    fixed = scope_of(call).user_id
    # The scope's own user is not the caller's choice, so naming it alone narrows nothing.
    named = replace(wanted, contains="", finding="").narrows or (wanted.user_id and not fixed)
    if request_ids is not None:
        if everything or wanted.narrows:
            raise InvalidInput("request_ids", "goes with user_id and no other filter. Nothing was deleted.")
    elif not named and not everything:
        subject = "delete_requests" if fixed else "The filter"
        raise InvalidInput(subject, NAMES_NOTHING.format(user="" if fixed else "user_id, "))

    async def look_up(scope: Scope, progress: Progress) -> Plan:
        if request_ids is not None:
            return await plan_ids(scope, request_ids, user_id=wanted.user_id, progress=progress)
        plan = await plan_filter(scope, wanted, progress=progress)
        whole = wanted.user_id and not wanted.narrows
        if whole and erase and include_learnings and scope.learns:
            return await plan_user(scope, replace(plan, everything=True), wanted.user_id)
        plan = await with_others(scope, plan)
        # Beside a filter `everything` adds nothing: the narrower set is meant.
        return replace(plan, everything=everything and not named and not (wanted.contains or wanted.finding))

    return await prepare(call, look_up, confirm=confirm, include_learnings=include_learnings, erase=erase)


@parameters.filtered()
async def delete_requests(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_set)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_set))],
    request_ids: RequestIds = None,
    everything: Everything = False,
    confirm: parameters.Confirm = "",
    include_learnings: IncludeLearned = False,
    erase: parameters.Erase = False,
    wait_for_response: parameters.WaitForReceipt = True,
) -> CallToolResult:
    return await finish(call, "delete_requests", prepared, consent, wait_for_response)


async def finish(
    call: Call, tool: str, prepared: Prepared, consent: ElicitationResult[Reply], wait: bool
) -> CallToolResult:
    """Carry out a prepared deletion where it was agreed to, and say what came of it.

    Args:
        tool: its name, for the audit log.
        wait: answer with the receipt, or at once.
    """
    app, scope, plan = app_of(call), scope_of(call), prepared.plan
    verdict = verdict_of(prepared, consent)
    if not verdict.act:
        shown = planned(
            plan,
            lead=verdict.lead,
            status=verdict.status,
            code=verdict.code,
            following=verdict.following,
            changes=verdict.changes,
            masked=prepared.masked,
        )
        return old_answer(shown)
    owner = app.codes(scope).scope
    origin = Origin(tool, _client_of(call), verdict.mode, owner, scope.user_id)
    # While a person was asked over the open connection, others had time to change something.
    asked = verdict.mode == "ask" and not asks_in_the_result(call)
    read_at = None if asked else prepared.read_at

    async def work(job: Job) -> Receipt:
        progress = prepared.reporter if wait else untold
        return await _carried_out(app, scope, plan, origin, job, read_at=read_at, progress=progress)

    order = await anyio.to_thread.run_sync(order_of, scope, plan, origin)
    job = await app.jobs.start(
        app.tasks, plan.on_record, owner, work, caller=scope.caller, tool=tool, order=order
    )
    if wait:
        return await _waited(app, job, prepared)
    following = f"The receipt will be in get_status as deletion {job.number}."
    lead = "Scheduled, not yet done. This will go:"
    return old_answer(
        planned(plan, lead=lead, status="scheduled", following=following, masked=prepared.masked)
    )


async def take_over(app: App, scope_of: Callable[[Order], Scope], owner: str | None = None) -> None:
    """Go on with deletions whose process has ended before it was through.

    Args:
        scope_of: the scope that an order was agreed to in.
        owner: whose deletions, as `CodeMaker.scope`; those of all callers of this backend when `None`.

    Raises:
        OSError: what other processes have promised cannot be read.
    """
    tools = [spec.name for spec in SPECS if spec.offered(app.settings)]
    while tools and not app.jobs.closed:
        asked = anyio.current_time()
        record = await anyio.to_thread.run_sync(app.state.jobs.claim, tools, owner, app.jobs.in_hand)
        if record is None:
            return
        try:
            order = await anyio.to_thread.run_sync(Order.read, record.order)
        except ValueError:  # it was written by another version
            await anyio.to_thread.run_sync(app.state.jobs.end, record.key, "stopped", "")
            continue
        _resume(app, scope_of(order), order, record, asked)


def _resume(app: App, scope: Scope, order: Order, record: JobRecord, since: float) -> None:
    origin = replace(order.origin, resumed=True)

    async def work(job: Job) -> Receipt:
        plan = await with_learned(scope, order.plan)
        return await _carried_out(app, scope, plan, origin, job)

    app.jobs.resume(app.tasks, record, scope.caller, work, since)


async def _carried_out(
    app: App,
    scope: Scope,
    plan: Plan,
    origin: Origin,
    job: Job,
    *,
    read_at: float | None = None,
    progress: Progress = untold,
) -> Receipt:
    done = await carry_out(
        scope,
        plan,
        origin,
        app.state,
        job=job.record.key,
        check=partial(app.jobs.check_own, job),
        read_at=read_at,
        progress=progress,
    )
    return await _followed(app, scope, done)


async def _followed(app: App, scope: Scope, done: Receipt) -> Receipt:
    """The receipt, with the job that goes on after it where something was still being learned."""
    promise = done.promise
    if promise is None:
        return done

    async def go_on() -> TakenBack:
        return await follow_up(scope, done, promise, app.state.cap)

    if job := app.jobs.follow(app.background, promise.record, go_on, caller=scope.caller):
        return replace(done, follow_up=job.number)
    # The server is stopping.
    await anyio.to_thread.run_sync(promise.end, "interrupted")
    return done


async def _waited(app: App, job: Job, prepared: Prepared) -> CallToolResult:
    # The job goes on when the caller goes away or the server stops, and this waits for it.
    with anyio.CancelScope(shield=True):
        async with prepared.reporter.steady("deleting"):
            await job.finished.wait()
    done = job.receipt
    # Who cannot ask for the ids is not told to, and nothing is kept for them.
    kept = job.has_ids and "get_status" in app.tools
    told = receipt(replace(done, number=job.number if kept else 0)) if done else None
    if anyio.current_effective_deadline() > -math.inf:
        await app.jobs.answered(job, keeps_ids=bool(kept and told and "other_ids" in told.structured))
    # Otherwise nobody reads this answer any more: the receipt stays in the status.
    if told is None:
        raise job.error or TimeoutError
    return old_answer(told)


def _client_of(call: Call) -> str:
    opened = call.session.client_params
    if opened is None:
        return "unnamed"
    info = opened.client_info
    return visible(f"{info.name} {info.version}")[:200]


SPECS = (
    ToolSpec(
        delete_request,
        "Delete a request",
        "Forget one stored request, then check that it is gone.",
        DeletionFacts,
        destructive=True,
    ),
    ToolSpec(
        delete_session,
        "Delete a session",
        "Forget a conversation: all stored requests of a session.",
        DeletionFacts,
        destructive=True,
    ),
    ToolSpec(
        delete_requests,
        "Delete many requests",
        "Clean up: forget a set of stored requests, by ids or by filter.",
        DeletionFacts,
        destructive=True,
    ),
)
