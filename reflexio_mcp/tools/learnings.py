"""What was learned: listing it, and taking it back."""

import base64
import json
from collections.abc import Sequence
from typing import Annotated

import anyio
import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp.render.learning_list import learnings_page
from reflexio_mcp.toolkit.context import Call, answer, hides, scope_of
from reflexio_mcp.toolkit.parameters import (
    AgentVersion,
    Cursor,
    EndTime,
    Limit,
    SessionId,
    Source,
    StartTime,
    UserId,
)
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.toolkit.spec import INTEGER, OBJECTS, STRING, ToolSpec, obj
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import FedLearning
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings
from reflexio_mcp.traffic.learnings.turns import FoundTurns, find_turns
from reflexio_mcp.traffic.reading.filters import make_filter
from reflexio_mcp.traffic.scope import Scope

__all__ = ["SPECS"]

Words = Annotated[str, Field(description="words of the learning")]
FedBy = Annotated[str, Field(description="fed by this request")]


def selection_of(
    scope: Scope,
    *,
    user_id: str,
    request_id: str,
    session_id: str,
    source: str,
    agent_version: str,
    start_time: str,
    end_time: str,
    contains: str,
    learning_ids: Sequence[str] = (),
) -> Selection:
    """The selection that the arguments of a tool mean.

    Raises:
        InvalidInput: an argument that cannot be meant so.
    """
    if scope.masked and contains:
        raise InvalidInput("contains", "is off here: this server hides what is stored.")
    wanted = make_filter(
        scope,
        user_id=user_id,
        session_id=session_id,
        source=source,
        agent_version=agent_version,
        start_time=start_time,
        end_time=end_time,
        contains="",
    )
    if request_id and wanted.session_id:
        raise InvalidInput("request_id", "cannot go with session_id; give one of them.")
    return Selection(wanted.user_id, tuple(learning_ids), request_id, wanted, contains)


async def list_learnings(
    call: Call,
    user_id: UserId = "",
    request_id: FedBy = "",
    session_id: SessionId = "",
    source: Source = "",
    agent_version: AgentVersion = "",
    start_time: StartTime = "",
    end_time: EndTime = "",
    contains: Words = "",
    limit: Limit = 20,
    cursor: Cursor = "",
) -> CallToolResult:
    scope = scope_of(call)
    selection = selection_of(
        scope,
        user_id=user_id,
        request_id=request_id,
        session_id=session_id,
        source=source,
        agent_version=agent_version,
        start_time=start_time,
        end_time=end_time,
        contains=contains,
    )
    after = _read(cursor) if cursor else None
    async with ProgressReporter(call).steady("looking through"):
        selected = await select_learnings(scope, selection)
        ordered = sorted(selected.learned.fed.values(), key=_place)
        page = [one for one in ordered if after is None or _place(one) > after][:limit]
        turns = await _turns_of(scope, page)
    cursors = {one.learning.learning_id: _written(_place(one)) for one in ordered[:-1]}

    def rendered() -> CallToolResult:
        return answer(
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
        found[user_id] = await find_turns(scope, user_id, wanted)
    return found


SPECS = (
    ToolSpec(
        list_learnings,
        "List learnings",
        "See what was learned: profiles and playbooks of a user, or those that a request, session or filter of "
        "requests fed, with the turns they came from.",
        obj(
            "notice returned learnings",
            notice=STRING,
            returned=INTEGER,
            total=INTEGER,
            learnings=OBJECTS,
            cursor=STRING,
        ),
        read_only=True,
        needs=lambda settings: not settings.embedded,
    ),
)
