"""What the explorer's page asks for, one function a view; imported when a page is open.

The answers are for the page, not for the model: whole pages of rows, in structured content alone. Stored text is
masked, cut and confined as everywhere, and secrets in it are covered until the person uncovers them.
"""

from collections.abc import Sequence
from typing import Any, Final

import anyio.to_thread

from reflexio_mcp.consent.forms import prepare
from reflexio_mcp.consent.policy import Question, Verdict, number_to_type
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import NOTICE, Room, shown_name, structured, visible
from reflexio_mcp.results.reading import ExplorerData, ExplorerState, RequestRow, RuleWords, SessionRequests
from reflexio_mcp.toolkit.context import Call, app_of, place_shown, scope_of
from reflexio_mcp.traffic.audit.rules import ASKED_FINDINGS, FINDINGS, rule_of, select_each, severity_of
from reflexio_mcp.traffic.deletion.plan import Options
from reflexio_mcp.traffic.deletion.targets import Requests
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests
from reflexio_mcp.traffic.reading.lookup import learning_status, read_request, read_set, require_id
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing, redacted
from reflexio_mcp.traffic.tasks import for_each
from reflexio_mcp.traffic.times import iso

__all__ = ["export", "findings", "learning", "one_request", "plan", "rows", "rows_by_id"]

IDS_AT_ONCE: Final = 500
"""Requests that one answer brings by id."""

REQUEST_CHARS: Final = 64_000
"""Characters of one request in one answer."""

EXPORT_CHARS: Final = 2_000_000
"""Stored text after which an export goes on in the next answer."""

EXPORT_STEP: Final = 50

LEARNING_AT_ONCE: Final = 20
"""Requests whose learning one answer tells; the service is asked about each, and answers 120 a minute."""

LOOKUPS_AT_ONCE: Final = 6


_NO_TEXT: Final = 10**9
"""Answers for the page have no text form."""


def _everything() -> Room:
    return Room(_NO_TEXT, 10**9)  # the page says how many rows it wants


async def rows(call: Call, asked: TrafficFilter, limit: int, cursor: str, *, uncovered: bool) -> ExplorerData:
    """A page of requests, newest session first, and with the first page what the server says of itself.

    Args:
        asked: the filter; a cursor may come without it.
        limit: requests at the most.
        cursor: from the page before.
        uncovered: show secrets in the first words.
    """
    scope = scope_of(call)
    wanted = open_cursor(scope, cursor, "requests", asked).filter if cursor else asked
    # A list leaves out what its filter names; the page keeps the rows of several filters together.
    named = {name: value for name, value in _names(scope, wanted).items() if value and name != "session_id"}
    page = await list_requests(
        scope, asked, limit=limit, cursor=cursor, room=_everything, uncovered=uncovered
    )
    return ExplorerData(
        notice=NOTICE,
        view="rows",
        state=None if cursor else _state(call, asked),
        sessions=[
            one.model_copy(update={"requests": [row.model_copy(update=named) for row in one.requests]})
            for one in page.sessions
        ],
        looked_at=page.looked_at.requests or 0,
        cursor=page.cursor,
    )


def _state(call: Call, wanted: TrafficFilter) -> ExplorerState:
    app, scope = app_of(call), scope_of(call)
    settings = app.settings
    # Over stdio the server runs where the person sits.
    here = "this computer" if call.headers is None else "the server"
    return ExplorerState(
        whose=visible(scope.user_id),
        where=here if settings.embedded else visible(place_shown(call)) or "Reflexio",
        keeper=here,
        masked=settings.mask,
        recovery_days=settings.recovery_days,
        tools=sorted(app.tools),
        rules={
            name: RuleWords(why=rule_of(name).why, grave=severity_of(name) == "high")
            for name in FINDINGS
            if name not in ASKED_FINDINGS
        },
        filter={
            **_names(scope, wanted),
            "start": wanted.start,
            "end": wanted.end,
        },
    )


def _names(scope: Scope, wanted: TrafficFilter) -> dict[str, str]:
    """What a filter names, as rows show it."""
    return {
        "user_id": scope.shown_id(wanted.user_id),
        "session_id": scope.shown_id(wanted.session_id),
        "source": shown_name(wanted.source),
        "agent_version": shown_name(wanted.agent_version),
    }


async def rows_by_id(call: Call, request_ids: Sequence[str], *, uncovered: bool) -> ExplorerData:
    """Those of some requests that are stored."""
    scope = scope_of(call)
    found = list((await _read(scope, _ids(request_ids))).values())
    shown = await Showing(scope, TrafficFilter(), uncovered=uncovered).requests(found)
    groups: dict[str, list[RequestRow]] = {}
    for item, row in zip(found, shown, strict=True):
        groups.setdefault(scope.shown_id(item.request.session_id), []).append(row)
    sessions = [SessionRequests(session_id=one, requests=rows) for one, rows in groups.items()]
    return ExplorerData(notice=NOTICE, view="rows", sessions=sessions)


def _ids(request_ids: Sequence[str]) -> list[str]:
    ids = list(dict.fromkeys(require_id("request_ids", one) for one in request_ids))
    if not 1 <= len(ids) <= IDS_AT_ONCE:
        raise InvalidInput("request_ids", f"takes 1 to {IDS_AT_ONCE} ids here.")
    return ids


async def _read(scope: Scope, ids: Sequence[str]) -> dict[str, RequestWithInteractions]:
    found: dict[str, RequestWithInteractions] = {}

    async def take(items: list[RequestWithInteractions]) -> None:
        found.update((item.request.request_id, item) for item in items)

    await read_set(scope, ids, take)
    return found


async def findings(call: Call, asked: TrafficFilter, limit: int, cursor: str) -> ExplorerData:
    """Which requests the rules of an audit find, as far as one session alone shows it.

    Args:
        limit: requests to look at, rounded up to whole sessions.
    """
    scope = scope_of(call)
    after = open_cursor(scope, cursor, "requests", asked) if cursor else None
    wanted = after.filter if after else asked
    pager = SessionPager(scope, wanted, after=after)
    found: dict[str, list[str]] = {}
    following = None
    async for part in pager.slices():
        for name, ids in (await anyio.to_thread.run_sync(_found_in, scope, wanted, part.requests)).items():
            found.setdefault(name, []).extend(ids)
        if pager.requests_seen >= limit:
            following = pager.cursor("requests", part, None).encode(scope, asked)
            break
    return ExplorerData(
        notice=NOTICE,
        view="findings",
        findings={name: ids for name, ids in found.items() if ids},
        looked_at=pager.requests_seen,
        cursor=following,
    )


def _found_in(
    scope: Scope, wanted: TrafficFilter, requests: Sequence[RequestWithInteractions]
) -> dict[str, list[str]]:
    # Looks through every text of a session: in a worker thread, so that other calls go on meanwhile.
    matching = wanted.pick(requests)
    return {
        name: [scope.shown_id(one.request.request_id) for one in items]
        for name, items in select_each(matching).items()
    }


async def learning(call: Call, request_ids: Sequence[str]) -> ExplorerData:
    """Where the learning of some requests stands, as far as the service says."""
    scope = scope_of(call)
    ids = _ids(request_ids)[:LEARNING_AT_ONCE]
    if scope.user_id:
        # The service tells it of anybody's request.
        ids = list(await _read(scope, ids))
    told: dict[str, str] = {}

    async def look(request_id: str) -> None:
        if status := await learning_status(scope, request_id):
            told[scope.shown_id(request_id)] = status.status

    try:
        await for_each(ids, look, at_once=LOOKUPS_AT_ONCE)
    except ReflexioError:
        # A badge is missing then, and asked for again with the next rows.
        if not told:
            raise
    return ExplorerData(notice=NOTICE, view="learning", learning=told)


async def one_request(call: Call, request_id: str, cursor: str, *, uncovered: bool) -> ExplorerData:
    """One request with its interactions, and where its learning stands."""
    room = Room(_NO_TEXT, 2 * REQUEST_CHARS)
    found = await read_request(scope_of(call), request_id, cursor, covered=not uncovered, room=room)
    return ExplorerData(notice=NOTICE, view="request", one=found)


async def plan(call: Call, request_ids: Sequence[str], *, include_learnings: bool) -> ExplorerData:
    """What a deletion of some requests would take; nothing is deleted.

    Returns:
        `plan`, as the tools that delete show it; `type`, the number that the person types, or `None`; `learnings`, how
        many learnings the requests fed.
    """
    app, scope = app_of(call), scope_of(call)
    if "delete_requests" not in app.tools:
        raise InvalidInput("view", "plan is not possible here: nothing can be deleted through this server.")
    target = Requests.of(scope, request_ids)
    prepared = await prepare(call, target, Options(include_learnings), confirm="")
    planned, first = prepared.planned, prepared.first
    shown = planned.plan if isinstance(first, Question) else first.plan or planned.plan
    facts = {
        "plan": structured(shown.model_copy(update={"examples": []})),  # the page has the words
        "learnings": planned.selected.learned.count if planned.selected.learned and scope.learns else 0,
        "include_learnings": include_learnings,
        "type": number_to_type(app.settings, planned),
        "refused": first.status == "cannot_ask" if isinstance(first, Verdict) else False,
    }
    return ExplorerData(notice=NOTICE, view="plan", plan=facts)


async def export(call: Call, request_ids: Sequence[str], *, uncovered: bool) -> ExplorerData:
    """Requests as they are stored, for a file."""
    if scope_of(call).masked:
        raise InvalidInput("view", "export is not possible here: this server hides what is stored.")
    ids = _ids(request_ids)
    requests: list[dict[str, Any]] = []
    chars = looked_up = 0
    for start in range(0, len(ids), EXPORT_STEP):
        step = ids[start : start + EXPORT_STEP]
        found = await _read(scope_of(call), step)
        for one in step:
            if item := found.get(one):
                kept = item if uncovered else await anyio.to_thread.run_sync(redacted, item)
                requests.append(_exported(kept))
                chars += sum(len(turn.content) for turn in kept.interactions)
        looked_up += len(step)
        if chars > EXPORT_CHARS:
            break
    return ExplorerData(notice=NOTICE, view="export", requests=requests, looked_up=looked_up)


def _exported(item: RequestWithInteractions) -> dict[str, Any]:
    request = item.request.model_dump(mode="json", exclude_none=True, exclude={"arrival", "whole"})
    turns = [turn.model_dump(mode="json", exclude_defaults=True) for turn in item.interactions]
    return {**request, "created_at": iso(item.request.created_at), "interactions": turns}
