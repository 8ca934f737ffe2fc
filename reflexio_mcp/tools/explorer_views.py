"""The views of the explorer's page, one function each. The module is imported when a page is open.

The answers are for the page, not for the model: whole pages of rows, in structured content alone. Stored text is
masked, cut and confined as everywhere, and secrets in it are covered until the person uncovers them.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import anyio.to_thread

from reflexio_mcp.consent.forms import prepare
from reflexio_mcp.consent.policy import Verdict, number_to_type
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.answer_size import Room
from reflexio_mcp.results.base import NOTICE, clip, shown_name, structured, visible
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.results.reading import (
    ExplorerData,
    ExplorerRow,
    ExplorerSession,
    ExplorerState,
    RequestRow,
    RuleWords,
)
from reflexio_mcp.state.judgements import StoredAt
from reflexio_mcp.state.state import in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit.context import Call, app_of, from_page, place_shown, scope_of
from reflexio_mcp.traffic.audit.judged import JUDGED_BY_PEOPLE, judged_in
from reflexio_mcp.traffic.audit.rules import (
    FINDINGS,
    FINDINGS_FROM_SERVICE,
    RULES,
    Finding,
    findings_in,
    passage_parts,
    rule_of,
    severity_of,
)
from reflexio_mcp.traffic.deletion.items import restored_interaction
from reflexio_mcp.traffic.deletion.plan import Options
from reflexio_mcp.traffic.deletion.plan_learnings import case_of
from reflexio_mcp.traffic.deletion.targets import Requests
from reflexio_mcp.traffic.errors import InvalidInput, needing_state, require_id
from reflexio_mcp.traffic.learnings.evidence import Evidence
from reflexio_mcp.traffic.learnings.find import Learned, LinkedLearning
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.request_with_learnings import read_request
from reflexio_mcp.traffic.reading.cursors import open_cursor
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import list_requests
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.reading.outcomes import outcomes_of
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.showing import Showing
from reflexio_mcp.traffic.tasks import in_heavy_thread
from reflexio_mcp.traffic.turns import give_way_in_loop

IDS_AT_ONCE: Final = 500
"""Maximum number of requests that one call may name."""

SCREEN_SESSIONS: Final = 20
"""Sessions on the first page, which is small so that it comes at once."""

REQUEST_CHARS: Final = 128_000
"""Maximum length of one request as JSON in one answer."""

LEARNING_CHARS: Final = 300

_UNLIMITED: Final = 10**9

_formats_loaded = threading.Event()
"""Set once the formats of secrets, which take a second, have been loaded to show words."""


def _any_size() -> Room:
    return Room(_UNLIMITED, _UNLIMITED)  # the page says how many rows it wants


async def rows(
    call: Call, asked: TrafficFilter, limit: int, cursor: str, *, hurried: bool = False
) -> ExplorerData:
    """Return a page of requests, newest session first. The first page includes the state of the server.

    Args:
        asked: the filter; empty if the cursor contains it.
        hurried: leave the words out if loading the formats of secrets would delay them by a second or more.
    """
    scope = scope_of(call)
    # On a server that masks, no words are shown, so nothing has to be loaded.
    words_would_wait = not (scope.masked or _formats_loaded.is_set())
    without_words = hurried and words_would_wait
    wanted = open_cursor(scope, cursor, "requests", asked).filter if cursor else asked
    # A list leaves out of its rows what its filter names. The page mixes rows of several filters, so they get it back.
    named = {name: value for name, value in _names(scope, wanted).items() if value and name != "session_id"}
    page = await list_requests(
        scope,
        asked,
        limit=limit,
        cursor=cursor,
        detail="masked" if without_words else "page",
        most_sessions=None if cursor else SCREEN_SESSIONS,
        room=_any_size,
    )
    if page.sessions and not (scope.masked or without_words):
        _formats_loaded.set()
    restored_ids = await _restored_ids(call)
    outcomes, unread = await outcomes_of(
        scope, [scope.stored_id(session.session_id) for session in page.sessions], wanted.user_id
    )
    return ExplorerData(
        notice=NOTICE,
        view="rows",
        state=None if cursor else _state(call, asked),
        sessions=[
            ExplorerSession(
                session_id=session.session_id,
                outcomes=outcomes.get(scope.stored_id(session.session_id), []),
                requests=[_page_row(scope, row, named, restored_ids) for row in session.requests],
            )
            for session in page.sessions
        ],
        looked_at=page.looked_at.requests or 0,
        cursor=page.cursor,
        without_words=without_words,
        facts=unread,
    )


async def _restored_ids(call: Call) -> set[str]:
    """Return the ids of what restores have stored; none if the state cannot be read."""
    app, scope = app_of(call), scope_of(call)
    try:
        return await in_thread(app.state.restored_ids, await app.owner(scope))
    except StateUnusable:
        return set()


def _page_row(
    scope: Scope, row: RequestRow, named: Mapping[str, str], restored_ids: Collection[str]
) -> ExplorerRow:
    restored_from, interaction = restored_interaction(row.request_id) or ("", 0)
    about_restores = {
        "restored": scope.stored_id(row.request_id) in restored_ids,
        "restored_from": restored_from,
        "restored_interaction": interaction,
    }
    return ExplorerRow.model_construct(None, **row.__dict__ | named | about_restores)


def _state(call: Call, wanted: TrafficFilter) -> ExplorerState:
    app, scope = app_of(call), scope_of(call)
    settings = app.settings
    # Over stdio the server runs on the person's computer.
    here = "this computer" if call.headers is None else "the server"
    where = here
    if not settings.embedded:
        address = place_shown(call)
        where = visible(urlsplit(address).netloc or address) or "Reflexio"
    return ExplorerState(
        whose=visible(scope.user_id),
        where=where,
        keeper=here,
        masked=settings.mask,
        recovery_days=settings.recovery_days,
        delete_cap=settings.delete_cap,
        tools=sorted(app.tools),
        rules={
            name: RuleWords(why=rule_of(name).why, grave=severity_of(name) == "high")
            for name in FINDINGS
            if name not in FINDINGS_FROM_SERVICE
        },
        filter={
            **_names(scope, wanted),
            "start": wanted.start_time,
            "end": wanted.end_time,
        },
    )


def _names(scope: Scope, wanted: TrafficFilter) -> dict[str, str]:
    """Return the ids and names in a filter, as rows show them."""
    return {
        "user_id": scope.shown_id(wanted.user_id),
        "session_id": scope.shown_id(wanted.session_id),
        "source": shown_name(wanted.source),
        "agent_version": shown_name(wanted.agent_version),
    }


async def rows_by_id(call: Call, request_ids: Sequence[str]) -> ExplorerData:
    """Return the rows of these requests, without those that are not stored."""
    scope = scope_of(call)
    showing = Showing(scope, TrafficFilter(), "page")
    groups: dict[str, list[ExplorerRow]] = {}
    restored_ids = await _restored_ids(call)

    async def take(found: list[RequestWithInteractions]) -> None:
        by_session: dict[str, list[RequestWithInteractions]] = {}
        for item in found:
            by_session.setdefault(item.request.session_id, []).append(item)
        for session_id, items in by_session.items():
            await give_way_in_loop()
            items.sort(key=lambda item: item.request.created_at, reverse=True)
            rows = [_page_row(scope, row, {}, restored_ids) for row in await showing.requests(items)]
            groups.setdefault(scope.shown_id(session_id), []).extend(rows)

    await read_set(scope, _ids(request_ids), take, whole=True)
    sessions = [ExplorerSession(session_id=session_id, requests=rows) for session_id, rows in groups.items()]
    return ExplorerData(notice=NOTICE, view="rows", sessions=sessions)


def _ids(request_ids: Sequence[str]) -> list[str]:
    ids = list(dict.fromkeys(require_id("request_ids", request_id) for request_id in request_ids))
    if not 1 <= len(ids) <= IDS_AT_ONCE:
        raise InvalidInput("request_ids", f"takes 1 to {IDS_AT_ONCE} ids here.")
    return ids


async def findings(call: Call, asked: TrafficFilter, limit: int, cursor: str) -> ExplorerData:
    """Return which requests the audit rules find if they see one session at a time.

    Args:
        limit: requests to look at, rounded up to whole sessions.
    """
    scope = scope_of(call)
    after = open_cursor(scope, cursor, "requests", asked) if cursor else None
    wanted = after.filter if after else asked
    pager = SessionPager(scope, wanted, after=after)
    found, no_problem = _places(), _places()
    judged = await judged_in(app_of(call).state, partial(app_of(call).owner, scope))
    passages: dict[str, list[str]] = defaultdict(list)
    following = None
    async with aclosing(pager.parts()) as parts:
        async for part in parts:
            for finding in await in_heavy_thread(scope.owner, partial(_found_in, wanted, part.requests)):
                request_id = scope.shown_id(finding.request.request_id)
                into = no_problem if judged.has(finding) else found
                places = into[finding.name][request_id]  # lists the request, even if no place is added
                if finding.interaction_id:
                    places.append(finding.interaction_id)
                is_injection = finding.points > 0
                if is_injection and not scope.masked:
                    passages[request_id] += passage_parts(finding.around)
            if pager.requests_seen >= limit:
                following = pager.cursor("requests", part, None).encode(scope, asked)
                break
    return ExplorerData(
        notice=NOTICE,
        view="findings",
        findings=found,
        no_problem=no_problem,
        passages=passages,
        looked_at=pager.requests_seen,
        cursor=following,
    )


def _places() -> dict[str, dict[str, list[int]]]:
    return defaultdict(lambda: defaultdict(list))


def _found_in(wanted: TrafficFilter, requests: Sequence[RequestWithInteractions]) -> list[Finding]:
    found = findings_in(wanted.pick(requests), [rule for rule in RULES if rule.selects])
    return [finding for finding in found if finding.from_one_session]


async def judge(call: Call, finding: str, request_ids: Sequence[str], *, no_problem: bool) -> ExplorerData:
    """Remember that a person judged a finding in requests to be no problem, or take that back.

    A model is refused: stored text could talk it into hiding what was found.
    """
    app, scope = app_of(call), scope_of(call)
    if not from_page(call):
        raise InvalidInput("finding", "can only be judged by a person, in the page of explore_traffic.")
    if finding not in JUDGED_BY_PEOPLE:
        raise InvalidInput("finding", f"must be one of {', '.join(JUDGED_BY_PEOPLE)}.")
    requests: list[StoredAt] = []

    async def take(found: list[RequestWithInteractions]) -> None:
        requests.extend(StoredAt(item.request.request_id, item.request.created_at) for item in found)

    await read_set(scope, _ids(request_ids), take)
    with needing_state(FactCode.STATE_UNUSABLE):
        owner = await app.owner(scope)
        await in_thread(app.state.judgements.note, owner, finding, requests, no_problem=no_problem)
    return ExplorerData(notice=NOTICE, view="judge", looked_at=len(requests))


async def one_request(call: Call, request_id: str, cursor: str, *, uncovered: bool) -> ExplorerData:
    room = Room(_UNLIMITED, REQUEST_CHARS)  # the page takes no text form
    found = await read_request(
        scope_of(call), request_id, cursor, covered=not uncovered, room=room, learned=False
    )
    return ExplorerData(notice=NOTICE, view="request", one=found)


async def plan(call: Call, request_ids: Sequence[str], *, erase: bool) -> ExplorerData:
    """Return what a deletion of these requests would delete; nothing is deleted yet.

    Returns:
        `plan`, as the tools that delete show it, without examples; `type`, the number that the person types, or `None`;
        `learned`, every linked learning, first those that would be deleted; `status`, why it is not carried out yet.
    """
    app, scope = app_of(call), scope_of(call)
    if "delete_requests" not in app.tools:
        raise InvalidInput("view", "plan is not possible here: nothing can be deleted through this server.")
    target = Requests.of(scope, request_ids)
    prepared = await prepare(call, target, Options(erase=erase), confirm="")
    planned, weighed = prepared.planned, prepared.weighed
    shown, status = planned.plan, "planned"
    if isinstance(weighed, Verdict):
        shown, status = weighed.plan or planned.plan, weighed.status
    learned = Learned()
    if planned.selected.learned and scope.learns:
        learned = planned.selected.learned
    view = {
        "status": status,
        # The page shows the first words itself.
        "plan": structured(shown.model_copy(update={"examples": []})),
        "learned": await anyio.to_thread.run_sync(_linked, scope, learned),
        "type": number_to_type(app.settings, planned),
    }
    return ExplorerData(notice=NOTICE, view="plan", plan=view)


def _linked(scope: Scope, learned: Learned) -> list[dict[str, Any]]:
    """Return the linked learnings.

    Returns:
        each with its case, what comes back, and `kept`, the requests outside the set that it may have come from;
        `kept_unread` says that there may be more such requests. The page deletes a large set in parts: from `kept` it
        knows what a learning rests on once all parts are gone.
    """
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    def shown(learning: Learning) -> str:
        return "" if scope.masked else visible(clip(redact(learning.content), LEARNING_CHARS))

    def row(linked: LinkedLearning) -> dict[str, Any]:
        evidence = linked.case.evidence if linked.case else Evidence()
        outside = [turn for turn in evidence.possible_turns if turn.interaction_id in linked.others]
        return {
            "learning_id": scope.shown_id(linked.learning.learning_id),
            "user_id": "" if scope.user_id else scope.shown_id(linked.learning.user_id),
            "content": shown(linked.learning),
            "case": case_of(linked) or "",
            "state": linked.learning.state,
            "kept": sorted({scope.shown_id(turn.request_id) for turn in outside}),
            "kept_unread": bool(evidence.unread),
            "back": [
                {"learning_id": scope.shown_id(earlier.learning_id), "content": shown(earlier)}
                for earlier in linked.earlier
            ],
        }

    return [row(linked) for linked in sorted(learned.linked.values(), key=lambda linked: not linked.goes)]
