"""Deleting traffic: plan, consent, deletion, receipt, and restoring."""

import time
from contextlib import suppress
from typing import Annotated, Final

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult
from pydantic import BeforeValidator, Field

from reflexio_mcp.consent.forms import Prepared, Reply, asking, prepare, verdict_of
from reflexio_mcp.render.deletion import deletion_text, restore_text
from reflexio_mcp.render.words import words_for_model
from reflexio_mcp.results.base import NOTICE, visible
from reflexio_mcp.results.deletion import Deletion, Receipt, Restored
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Step, no_progress
from reflexio_mcp.state.records import JobNumber
from reflexio_mcp.state.state import in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, ProgressReporter, answer, app_of, scope_of
from reflexio_mcp.toolkit.parameters import NOT_GIVEN, may_be_wider_than_meant
from reflexio_mcp.traffic.deletion.execute import Origin, begin, carry_out
from reflexio_mcp.traffic.deletion.past import last_deletions, not_listed
from reflexio_mcp.traffic.deletion.plan import Options, describe_target, skipped_copies
from reflexio_mcp.traffic.deletion.restore import Undo, begin_restore, plan_restore, restore
from reflexio_mcp.traffic.deletion.targets import Filtered, Interactions, Requests, Target
from reflexio_mcp.traffic.errors import InvalidInput, Unreadable, needing_state, require_id
from reflexio_mcp.traffic.reading.filters import EXPIRED, TrafficFilter

RequestIds = Annotated[
    list[str],
    Field(description="up to 10,000 (with user_id: only that user's); or use the filter"),
]
InteractionIds = Annotated[
    list[Annotated[int, BeforeValidator(parameters.refuse_boolean)]],
    Field(description="only these interactions, as get_request shows them"),
]
Everything = Annotated[
    bool, Field(description="required if no ids, user, session, source, version or time are given")
]
IncludeLearned = Annotated[
    bool,
    Field(description="also what was learned from it; with erase and only a user: all of that user's data"),
]

REFUSALS: Final = frozenset({"declined", "unanswered", "wrong_number"})
"""The statuses of a deletion that a person was asked about and did not agree to. The audit log has a line for each."""

NAMES_NOTHING: Final = (
    "must name at least one of session_id, source, agent_version, start_time, end_time or (if not fixed) user_id; "
    "nothing was deleted. everything=true deletes all that you can see, or all that “contains” and “finding” select."
)


LearningsToo = Annotated[
    list[str],
    Field(description="with include_learnings: these go too, whatever its plan says of them"),
]


async def asked_options(
    include_learnings: bool, learning_ids: LearningsToo, erase: bool, reason: str
) -> Options:
    given = learning_ids or ()
    if given and not include_learnings:
        raise InvalidInput("learning_ids", "needs include_learnings=true. Nothing was deleted.")
    ids = tuple(dict.fromkeys(require_id("learning_ids", learning_id) for learning_id in given))
    return Options(include_learnings, erase, reason, ids)


AskedOptions = Annotated[Options, Resolve(asked_options)]


async def prepare_request(
    call: Call, request_id: str, interaction_ids: InteractionIds, confirm: str, options: AskedOptions
) -> Prepared:
    request_id = require_id("request_id", request_id)
    target: Target = Requests((request_id,))
    if interaction_ids:
        target = Interactions(request_id, tuple(dict.fromkeys(interaction_ids)))
    return await prepare(call, target, options, confirm, shown_first=may_be_wider_than_meant(interaction_ids))


async def delete_request(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_request)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_request))],
    request_id: str,
    interaction_ids: InteractionIds = NOT_GIVEN,
    confirm: parameters.Confirm = "",
    include_learnings: parameters.IncludeLearnings = False,
    learning_ids: LearningsToo = NOT_GIVEN,
    erase: parameters.Erase = False,
    reason: parameters.Reason = "",
    wait_for_response: parameters.WaitForReceipt = True,
) -> Annotated[CallToolResult, Deletion]:
    return await finish_deletion(call, "delete_request", prepared, consent, wait_for_response)


async def prepare_session(
    call: Call, session_id: str, user_id: str, confirm: str, options: AskedOptions
) -> Prepared:
    session_id = require_id("session_id", session_id)
    wanted = TrafficFilter(session_id=session_id, user_id=scope_of(call).user(user_id))
    return await prepare(call, Filtered(wanted), options, confirm)


async def delete_session(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_session)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_session))],
    session_id: parameters.SessionId,
    user_id: Annotated[str, Field(description="only of this user; the rest of the session stays")] = "",
    confirm: parameters.Confirm = "",
    include_learnings: parameters.IncludeLearnings = False,
    learning_ids: LearningsToo = NOT_GIVEN,
    erase: parameters.Erase = False,
    reason: parameters.Reason = "",
    wait_for_response: parameters.WaitForReceipt = True,
) -> Annotated[CallToolResult, Deletion]:
    return await finish_deletion(call, "delete_session", prepared, consent, wait_for_response)


async def prepare_set(
    call: Call,
    wanted: parameters.AskedFilter,
    request_ids: RequestIds,
    everything: bool,
    confirm: str,
    options: AskedOptions,
) -> Prepared:
    scope = scope_of(call)
    # The scope's own user is not the caller's choice, so naming it alone selects nothing.
    names_user = bool(wanted.user_id and not scope.user_id)
    # What expires is named by the operator's policy. Other findings can be in everybody's requests.
    caller_selects = names_user or wanted.names_something or wanted.finding == EXPIRED
    target: Target
    if request_ids:
        if everything or wanted.narrows:
            raise InvalidInput("request_ids", "can be combined with user_id alone. Nothing was deleted.")
        target = Requests.of(scope, request_ids, wanted.user_id)
    elif not caller_selects and not everything:
        raise InvalidInput("The filter", NAMES_NOTHING)
    else:
        erase_with_learnings = options.erase and options.include_learnings
        target = Filtered.of(scope, wanted, erase_with_learnings=erase_with_learnings)
    return await prepare(call, target, options, confirm, shown_first=may_be_wider_than_meant(request_ids))


@parameters.filtered()
async def delete_requests(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_set)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_set))],
    request_ids: RequestIds = NOT_GIVEN,
    everything: Everything = False,
    confirm: parameters.Confirm = "",
    include_learnings: IncludeLearned = False,
    learning_ids: LearningsToo = NOT_GIVEN,
    erase: parameters.Erase = False,
    reason: parameters.Reason = "",
    wait_for_response: parameters.WaitForReceipt = True,
) -> Annotated[CallToolResult, Deletion]:
    return await finish_deletion(call, "delete_requests", prepared, consent, wait_for_response)


async def finish_deletion(
    call: Call, tool: str, prepared: Prepared, consent: ElicitationResult[Reply], wait: bool
) -> CallToolResult:
    """Carry out a prepared deletion if it was agreed to, and return the answer.

    Args:
        tool: the name of the tool, for the audit log.
        wait: whether to answer with the receipt instead of at once.
    """
    app, scope, planned = app_of(call), scope_of(call), prepared.planned
    verdict = verdict_of(prepared, consent)
    if verdict.status in REFUSALS:
        # If the log cannot be written, the answer is still right: nothing was deleted.
        with suppress(StateUnusable):
            target = describe_target(planned.target, words=False)
            why, client = verdict.status, _client_of(call)
            await in_thread(app.state.note_refusal, planned.owner, tool, target, why, client)
    if verdict.status:  # why it is not carried out
        return _answer(call, Deletion(notice=NOTICE, status=verdict.status, plan=verdict.plan))
    origin = Origin(tool, _client_of(call), verdict.mode, verdict.code)

    async def work(number: JobNumber) -> Receipt:
        progress = prepared.reporter if wait else no_progress
        return await carry_out(scope, planned, app.state, number, progress)

    job = await app.jobs.start(app.tasks, lambda: begin(planned, origin, app.state), work)
    if not wait:
        plan = planned.plan.model_copy(update={"number": job.number})
        return _answer(call, Deletion(notice=NOTICE, status="scheduled", plan=plan))
    async with prepared.reporter.steady(Step.DELETING):
        receipt = await job.outcome()
    shows_stored_text = receipt.reason or receipt.change or receipt.not_deleted
    status = "complete" if receipt.finished else "incomplete"
    return _answer(call, Deletion(notice=NOTICE if shows_stored_text else "", status=status, receipt=receipt))


def _answer(call: Call, done: Deletion) -> CallToolResult:
    return answer(done, deletion_text(done, words_for_model(app_of(call).tools)))


def _client_of(call: Call) -> str:
    opened = call.session.client_params
    if opened is None:
        return "unnamed"
    info = opened.client_info
    return visible(f"{info.name} {info.version}")[:200]


NO_DELETION: Final = "needs the argument deletion; nothing was restored. Without both, deletions are listed."


async def restore_requests(
    call: Call,
    deletion: Annotated[
        int,
        Field(ge=0, description="number from the receipt; left out: lists deletions"),
        BeforeValidator(parameters.refuse_boolean),
    ] = 0,
    request_ids: Annotated[list[str], Field(description="only these")] = NOT_GIVEN,
    evaluation_only: Annotated[bool, Field(description="never learn from it again")] = False,
    confirm: Annotated[str, Field(description="code from this call's plan")] = "",
) -> Annotated[CallToolResult, Restored]:
    app, scope = app_of(call), scope_of(call)
    state, codes, owner = app.state, app.codes(scope), await app.owner(scope)
    if not deletion:
        if request_ids:
            raise InvalidInput("request_ids", NO_DELETION)
        with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
            restorable = await last_deletions(scope, state, owner, app.jobs, restorable=True)
            facts = [*await not_listed(state, owner, restorable), *await skipped_copies(state)]
        if restorable:
            facts.append(Fact(code=FactCode.CHOOSE_DELETION))
        return _restored(call, Restored(notice=NOTICE, status="listed", deletions=restorable, facts=facts))
    undo = Undo(deletion, frozenset(request_ids or ()), evaluation_only, app.settings.wait_timeout)
    reporter = ProgressReporter(call)
    async with reporter.steady(Step.RESTORING):
        planned = await plan_restore(scope, state, owner, undo)
        now = time.time()
        shown_first = app.settings.confirm != "off" or may_be_wider_than_meant(request_ids)
        if shown_first and not codes.check(confirm, planned.bound, now=now):
            code = codes.make(planned.bound, now=now)
            facts = [*planned.plan.facts]
            if confirm:
                facts.append(Fact(code=FactCode.WRONG_CODE))
            facts.append(Fact(code=FactCode.CONFIRM_RESTORE))
            return _restored(call, planned.plan.model_copy(update={"confirm": code, "facts": facts}))
        mode = "preview" if shown_first else "off"
        origin = Origin("restore_requests", _client_of(call), mode, confirm)

        async def work(number: JobNumber) -> Restored:
            return await restore(scope, state, planned, number, reporter)

        job = await app.jobs.start(app.tasks, lambda: begin_restore(planned, origin, state), work)
        return _restored(call, await job.outcome())


def _restored(call: Call, done: Restored) -> CallToolResult:
    return answer(done, restore_text(done, words_for_model(app_of(call).tools)))
