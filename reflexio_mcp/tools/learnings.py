"""Listing, deleting and correcting learnings, and deciding on shared rules.

`asked_selection` and the `prepare_…` functions run before the tool: the SDK (`Resolve`) gives them the tool's arguments
of the same names. `filtered()` adds the parameters of the filter to a tool.
"""

import time
from dataclasses import replace
from typing import Annotated

from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp.consent.forms import Prepared, Reply, asking, prepare
from reflexio_mcp.render import reading as text
from reflexio_mcp.results.answer_size import SHORT_PAGE_ROWS, page_room
from reflexio_mcp.results.deletion import Decision, Deletion
from reflexio_mcp.results.progress import Step
from reflexio_mcp.results.reading import LearningPage
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, ProgressReporter, answer, app_of, scope_of, words_of
from reflexio_mcp.toolkit.parameters import NOT_GIVEN, may_be_wider_than_meant
from reflexio_mcp.tools.delete import finish_deletion
from reflexio_mcp.traffic.deletion.plan import Options
from reflexio_mcp.traffic.deletion.shared_rules import Rules
from reflexio_mcp.traffic.deletion.targets import Correction, Learnings, check_judged
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings import listing
from reflexio_mcp.traffic.learnings.listing_changes import list_changes
from reflexio_mcp.traffic.learnings.select import Selection
from reflexio_mcp.traffic.times import parse_time

Words = Annotated[str, Field(description="words of the learning")]
SharedInstead = Annotated[
    bool,
    Field(
        description="instead: rules (agent playbooks) served to everybody; with user_id: from their playbooks"
    ),
]
ChangedSince = Annotated[
    str,
    Field(description="instead: what is new, replaced, forgotten, corrected or deleted since, such as 7d"),
]
LearnedFrom = Annotated[str, Field(description="learned from this request")]


async def asked_selection(
    call: Call, asked: parameters.AskedFilter, request_id: str, contains: str
) -> Selection:
    """The learnings that a call's arguments select; `contains` is words of the learning, not of its requests."""
    return Selection(asked.user_id, request_id=request_id, wanted=replace(asked, contains=""), words=contains)


AskedSelection = Annotated[Selection, Resolve(asked_selection)]
"""The selection of a tool with the parameters of `asked_selection`; the model does not see it."""


@parameters.filtered()
async def list_learnings(
    call: Call,
    selection: AskedSelection,
    request_id: LearnedFrom = "",
    contains: Words = "",
    shared: SharedInstead = False,
    changed_since: ChangedSince = "",
    limit: parameters.PageLimit = None,
    cursor: parameters.Cursor = "",
    detail: parameters.ListDetail = "summary",
) -> Annotated[CallToolResult, LearningPage]:
    scope, app, rows = scope_of(call), app_of(call), limit or SHORT_PAGE_ROWS
    if shared and changed_since:
        raise InvalidInput("changed_since", "cannot be combined with shared.")
    if detail == "masked":
        scope = replace(scope, masked=True)
    async with ProgressReporter(call).steady(Step.LOOKING_THROUGH):
        if shared:
            page = await listing.list_shared_rules(
                scope, selection, limit=rows, cursor=cursor, room=page_room(limit)
            )
        elif changed_since:
            since = parse_time("changed_since", changed_since, now=time.time())
            owner = await app.owner(scope)
            page = await list_changes(
                scope, app.state, owner, selection, since, limit=rows, cursor=cursor, room=page_room(limit)
            )
        else:
            page = await listing.list_learnings(
                scope, selection, limit=rows, cursor=cursor, room=page_room(limit)
            )
    return answer(page, text.learning_page(page, words_of(call)))


LearningIds = Annotated[list[str], Field(description="as list_learnings shows them; needs user_id")]
AllOfThem = Annotated[bool, Field(description="required if no ids, user or filter except finding is given")]

NAMES_NOTHING = (
    "must name learning_ids, a user, a request, a session or a filter other than finding; nothing was deleted. "
    "everything=true deletes what “finding” selects, or all learnings of the user of this server."
)


async def prepare_learnings(
    call: Call,
    asked: AskedSelection,
    learning_ids: LearningIds,
    everything: bool,
    confirm: str,
    erase: bool,
    reason: str,
) -> Prepared:
    scope = scope_of(call)
    ids = tuple(learning_ids or ())
    selection = replace(asked, learning_ids=ids)
    check_judged(selection.wanted)
    narrower_than_user = ids or selection.request_id or selection.words or selection.wanted.names_something
    # The scope's user is not the caller's choice, so naming it selects nothing.
    names_user = bool(selection.user_id and not scope.user_id)
    caller_selects = narrower_than_user or names_user
    if not (caller_selects or everything):
        raise InvalidInput("delete_learnings", NAMES_NOTHING)
    # If all learnings of this server's user are taken, a person types their number, as in `delete_requests`.
    takes_everything = not (caller_selects or selection.wanted.finding)
    target = Learnings(selection, everything=takes_everything)
    options = Options(include_learnings=True, erase=erase, reason=reason)
    return await prepare(call, target, options, confirm, shown_first=may_be_wider_than_meant(learning_ids))


@parameters.filtered()
async def delete_learnings(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_learnings)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_learnings))],
    learning_ids: LearningIds = NOT_GIVEN,
    request_id: LearnedFrom = "",
    contains: Words = "",
    everything: AllOfThem = False,
    confirm: parameters.Confirm = "",
    erase: parameters.Erase = False,
    reason: parameters.Reason = "",
    wait_for_response: parameters.WaitForReceipt = True,
) -> Annotated[CallToolResult, Deletion]:
    return await finish_deletion(call, "delete_learnings", prepared, consent, wait_for_response)


async def prepare_correction(
    call: Call, learning_id: str, content: str, user_id: str, confirm: str, erase: bool, reason: str
) -> Prepared:
    may_have_secrets = app_of(call).settings.publish_secrets == "warn"
    target = Correction.of(scope_of(call), user_id, learning_id, content, may_have_secrets=may_have_secrets)
    return await prepare(call, target, Options(erase=erase, reason=reason), confirm)


async def correct_learning(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_correction)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_correction))],
    learning_id: Annotated[str, Field(description="as list_learnings shows it; needs user_id")],
    content: Annotated[str, Field(description="the whole new text")],
    user_id: parameters.UserId = "",
    confirm: parameters.Confirm = "",
    erase: parameters.Erase = False,
    reason: parameters.Reason = "",
) -> Annotated[CallToolResult, Deletion]:
    return await finish_deletion(call, "correct_learning", prepared, consent, wait=True)


async def prepare_decision(
    call: Call, rule_ids: list[str], decision: Decision, confirm: str, reason: str
) -> Prepared:
    target = Rules.of(scope_of(call), rule_ids, decision)
    return await prepare(call, target, Options(reason=reason), confirm)


async def decide_shared_rules(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_decision)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_decision))],
    rule_ids: Annotated[list[str], Field(description="as list_learnings with shared shows them")],
    decision: Decision,
    confirm: parameters.Confirm = "",
    reason: parameters.Reason = "",
) -> Annotated[CallToolResult, Deletion]:
    return await finish_deletion(call, "decide_shared_rules", prepared, consent, wait=True)
