"""What was learned: listing it, and taking it back."""

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import anyio
import anyio.to_thread
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp.consent.elicitation import Reply
from reflexio_mcp.consent.prepare import Prepared, asking, prepare
from reflexio_mcp.render.learnings_page import LearningsFacts, learnings_page
from reflexio_mcp.results.deletion import Deletion
from reflexio_mcp.toolkit import parameters
from reflexio_mcp.toolkit.context import Call, hides, old_answer, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.tools.delete import NOT_GIVEN, finish
from reflexio_mcp.traffic.deletion.plan import Options
from reflexio_mcp.traffic.deletion.targets import Learnings
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import FedLearning
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.learnings.turns import FoundTurns, find_turns, with_last_requests
from reflexio_mcp.traffic.reading.filters import with_search
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import as_stored

__all__ = ["SPECS"]

Words = Annotated[str, Field(description="words of the learning"), parameters.OF_WORDS]
FedBy = Annotated[str, Field(description="fed by this request")]


async def asked_selection(
    call: Call, metadata: parameters.AskedMetadata, request_id: str, contains: str, finding: str
) -> Selection:
    """The learnings that a call's arguments select.

    Raises:
        InvalidInput: one of them cannot be used.
    """
    masked = scope_of(call).masked
    if masked and contains:
        raise InvalidInput("contains", "is off here: this server hides what is stored.")
    # The words are those of the learning, not of its requests.
    wanted = with_search(metadata, "", finding, masked=masked)
    if request_id and wanted.narrows:
        raise InvalidInput("request_id", "goes with user_id and contains alone; leave the other filters out.")
    return Selection(wanted.user_id, (), request_id, wanted, contains)


AskedSelection = Annotated[Selection, Resolve(asked_selection)]
"""What a tool with the parameters of `asked_selection` selects; the model does not see it."""


async def list_learnings(
    call: Call,
    selection: AskedSelection,
    user_id: parameters.UserId = "",
    request_id: FedBy = "",
    session_id: parameters.SessionId = "",
    source: parameters.Source = "",
    agent_version: parameters.AgentVersion = "",
    start_time: parameters.StartTime = "",
    end_time: parameters.EndTime = "",
    contains: Words = "",
    finding: parameters.Finding = "",
    limit: parameters.Limit = 20,
    cursor: parameters.Cursor = "",
) -> CallToolResult:
    scope = scope_of(call)
    after = _read(cursor) if cursor else None
    async with ProgressReporter(call).steady("looking through"):
        selected = await select_learnings(scope, selection)
        ordered = sorted(selected.learned.fed.values(), key=_place)
        page = [one for one in ordered if after is None or _place(one) > after][:limit]
        page = await with_last_requests(scope, page)
        turns = await _turns_of(scope, page)
    cursors = {one.learning.learning_id: _written(_place(one)) for one in ordered[:-1]}

    def rendered() -> CallToolResult:
        return old_answer(
            learnings_page(
                selected,
                page,
                turns,
                what=selection.describe(),
                total=len(ordered),
                cursor_of=cursors,
                masked=hides(call) is not None,
            )
        )

    # It looks for secrets, which takes time in long texts.
    return await anyio.to_thread.run_sync(rendered)


def _place(item: FedLearning) -> tuple[bool, int, str]:
    """Current ones first, then the last changed, then by id."""
    one = item.learning
    return one.state != "current", -one.changed_at, one.learning_id


def _written(place: tuple[bool, int, str]) -> str:
    text = json.dumps(place, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def _read(cursor: str) -> tuple[bool, int, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        state, changed, learning_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        if isinstance(state, bool) and isinstance(changed, int) and isinstance(learning_id, str):
            return state, changed, learning_id
    except (ValueError, TypeError, RecursionError):
        pass
    raise InvalidInput("cursor", "is not one that this list gave; start again without it.")


async def _turns_of(scope: Scope, page: Sequence[FedLearning]) -> dict[str, FoundTurns]:
    found: dict[str, FoundTurns] = {}
    for user_id in dict.fromkeys(one.learning.user_id for one in page):
        wanted = [
            turn for one in page if one.learning.user_id == user_id for turn in one.learning.interaction_ids
        ]
        found[user_id] = await find_turns(scope, user_id, wanted, quoting=[one.learning for one in page])
    return found


LearningIds = Annotated[
    list[str], Field(min_length=1, description="as list_learnings shows them; with user_id")
]
AllOfThem = Annotated[bool, Field(description="needed without ids, user or filter")]

NAMES_NOTHING = (
    "must name learning_ids, a user, a request, a session or another filter; nothing was deleted. everything=true "
    "deletes all that was learned about the user of this server."
)


async def prepare_learnings(
    call: Call,
    asked: AskedSelection,
    learning_ids: LearningIds,
    everything: bool,
    confirm: str,
    erase: bool,
) -> Prepared:
    scope = scope_of(call)
    ids = () if learning_ids is NOT_GIVEN else tuple(map(as_stored, learning_ids))
    selection = replace(asked, user_id=scope.user(asked.user_id), learning_ids=ids)
    # A finding alone looks at everybody's traffic.
    named = ids or selection.request_id or selection.words or replace(asked.wanted, finding="").narrows
    # The user of the scope is not the caller's choice, so naming it alone narrows nothing.
    if not named and not everything and (scope.user_id or not selection.user_id):
        raise InvalidInput("delete_learnings", NAMES_NOTHING)
    target = Learnings(selection, everything=everything and not named and not selection.wanted.finding)
    return await prepare(call, target, Options(include_learnings=True, erase=erase), confirm)


async def delete_learnings(
    call: Call,
    prepared: Annotated[Prepared, Resolve(prepare_learnings)],
    consent: Annotated[ElicitationResult[Reply], Resolve(asking(prepare_learnings))],
    learning_ids: LearningIds = NOT_GIVEN,
    user_id: parameters.UserId = "",
    request_id: FedBy = "",
    session_id: parameters.SessionId = "",
    source: parameters.Source = "",
    agent_version: parameters.AgentVersion = "",
    start_time: parameters.StartTime = "",
    end_time: parameters.EndTime = "",
    contains: Words = "",
    finding: parameters.Finding = "",
    everything: AllOfThem = False,
    confirm: parameters.Confirm = "",
    erase: parameters.Erase = False,
    wait_for_response: parameters.WaitForReceipt = True,
) -> Annotated[CallToolResult, Deletion]:
    return await finish(call, "delete_learnings", prepared, consent, wait_for_response)


SPECS = (
    ToolSpec(
        list_learnings,
        "List learnings",
        "See what was learned: profiles and playbooks of a user, or those that a request, session or filter fed, "
        "with the turns they came from.",
        LearningsFacts,
        read_only=True,
        needs=lambda settings: not settings.embedded,
        needed="a Reflexio that learns (REFLEXIO_URL); the embedded store does not",
    ),
    ToolSpec(
        delete_learnings,
        "Delete learnings",
        "Forget what was learned and keep the requests: by ids, or all that a request, session or filter "
        "fed.",
        destructive=True,
        needs=lambda settings: not settings.embedded,
        needed="a Reflexio that learns (REFLEXIO_URL); the embedded store does not",
    ),
)
