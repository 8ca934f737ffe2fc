"""How the server stands."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import anyio.to_thread
from mcp.types import CallToolResult
from pydantic import Field

from reflexio_mcp import __version__
from reflexio_mcp.render.deletion_facts import undo_in_words
from reflexio_mcp.render.jobs import JobsFacts, jobs_shown
from reflexio_mcp.render.receipt_ids import IdsFacts, page_of_ids
from reflexio_mcp.render.result import BUDGET, Facts, Rendered, dense, sentences
from reflexio_mcp.render.stored_text import NOTICE, SAID_CHARS, label, quoting, shown_id, shown_name
from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.errors import ReflexioError, explain
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.database import nothing_goes
from reflexio_mcp.state.job_records import TOLD_SECONDS, JobRecord
from reflexio_mcp.toolkit.context import App, Call, app_of, old_answer, place_shown, scope_of
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.tools.delete import take_over
from reflexio_mcp.traffic.errors import InvalidInput, NotRecorded
from reflexio_mcp.traffic.scope import Scope

__all__ = ["SPECS"]


UNREADABLE: Final = "Earlier deletions cannot be read."

CONFIRM_MEANS: Final = {
    "auto": "a person is asked where the client shows forms; elsewhere a plan's code is enough",
    "ask": "a person is asked, and where the client shows no forms nothing is deleted",
    "preview": "a plan's code is enough",
    "off": "nobody is asked and no plan is shown",
}


READ_ONLY: Final = "read-only: nothing can be stored or deleted here"

NO_SUCH_RECEIPT: Final = (
    "{number}: no such ids are kept for you. They are kept for up to {days} days, of the newest deletions."
)
BEYOND: Final = "{number}:{start:,} is beyond its last id; {number} begins with the first."

Receipt = Annotated[
    str, Field(coerce_numbers_to_str=True, description="a deletion's number: all ids of its receipt")
]

_PLACE: Final = re.compile(r"(\d{1,9})(?::(\d{1,9}))?")
"""A deletion, and from which of its ids on."""


class StatusFacts(JobsFacts, IdsFacts, total=False):
    """How the server stands, or the ids of a receipt."""

    version: str
    backend: Facts
    scope: str
    policy: Facts
    limits: Facts


async def get_status(call: Call, receipt: Receipt = "") -> CallToolResult:
    app, scope = app_of(call), scope_of(call)
    if receipt:
        return old_answer(await _ids(app, app.codes(scope).scope, receipt))
    facts: StatusFacts = {
        "version": __version__,
        "backend": await _backend(app, scope, place_shown(call)),
        "scope": shown_id(scope.user_id) or "every user",
        "policy": _policy(app.settings, await _copies_until(app, scope), exact=scope.exact),
        "limits": {
            "call_seconds": app.settings.timeout,
            "publish_wait_seconds": app.settings.wait_timeout,
            "interactions_per_publish": api_limits.MAX_INTERACTIONS,
            "ids_per_deletion": api_limits.MAX_DELETE_IDS,
        },
    }
    lines = _lines(facts)
    if "said" in facts["backend"]:
        facts = {"notice": NOTICE, **facts}
    owner, jobs = app.codes(scope).scope, list[JobRecord]()

    def look() -> tuple[list[JobRecord], str]:
        return app.state.jobs.of(owner), app.trouble()

    try:
        jobs, problem = await anyio.to_thread.run_sync(look)
        if any(job.state == "stopped" and job.order for job in jobs):
            await take_over(app, lambda order: scope, owner)
            jobs, problem = await anyio.to_thread.run_sync(look)
    except OSError as error:
        problem = f"{UNREADABLE} {nothing_goes(error)}"
    told = jobs_shown(jobs, BUDGET - len("\n".join(lines)), problem, restores="restore_requests" in app.tools)
    return old_answer(Rendered("\n".join([*lines, *told.lines]), {**facts, **told.facts}))


async def _ids(app: App, owner: str, receipt: str) -> Rendered:
    place = _PLACE.fullmatch(receipt.strip())
    if place is None:
        raise InvalidInput("receipt", "takes the number of a deletion, as receipts name it.")
    number, start = int(place[1]), max(1, int(place[2] or 1))
    try:
        kept = await anyio.to_thread.run_sync(app.state.jobs.ids_of, owner, number)
    except OSError as error:
        raise NotRecorded(f"{UNREADABLE} {nothing_goes(error)}") from error
    if kept is None:
        days = round(TOLD_SECONDS / 86_400)
        raise InvalidInput("receipt", NO_SUCH_RECEIPT.format(number=number, days=days))
    page = page_of_ids(number, kept, start)
    if page is None:
        raise InvalidInput("receipt", BEYOND.format(number=number, start=start))
    return page


async def _backend(app: App, scope: Scope, where: str) -> Facts:
    kind = "embedded store" if app.settings.embedded else "Reflexio"
    facts: Facts = {"kind": kind} | ({"where": where} if where else {})
    try:
        identity = await scope.client.whoami()
    except ReflexioError as error:
        # Of a file that is no store, only its own words say what to do.
        said = {"said": shown_name(error.said, SAID_CHARS)} if error.said else {}
        return facts | {"reachable": False, "problem": explain(error, "read")} | said
    named = dense({"organization": label(identity.org_id), "storage": label(identity.storage_type)})
    return facts | {"reachable": True} | named


async def _copies_until(app: App, scope: Scope) -> int:
    """Until when the last copy of an earlier deletion is kept, where none is made any more."""
    if app.settings.recovery_days:
        return 0
    try:
        there = await anyio.to_thread.run_sync(app.state.copies.of, app.codes(scope).scope)
    except OSError:  # what cannot be used is said beside the deletions
        return 0
    return max((copy.kept_until for copy in there), default=0)


def _policy(settings: Settings, copies_until: int, *, exact: bool) -> Facts:
    from reflexio_mcp.traffic.rules import secrets  # its patterns take a while to compile

    changing: Facts = {
        "confirm": settings.confirm,
        "confirm_means": CONFIRM_MEANS[settings.confirm],
        "hourly_cap": f"at most {settings.delete_cap:,} requests, turns or learnings deleted an hour"
        if settings.delete_cap
        else "no cap on deletions",
        "publish_secrets": settings.publish_secrets,
        "recovery_days": settings.recovery_days or None,
        "undo": undo_in_words(settings.recovery_days, copies_until, exact=exact),
    }
    return dense(
        {
            **({"read_only": READ_ONLY} if settings.read_only else changing),
            "masked": settings.mask,
            "secrets_not_looked_for": None if secrets.available() else secrets.MISSING,
            "audit_log": bool(settings.audit_log or settings.state),
            "shared_state": "PostgreSQL" if settings.state else None,
        }
    )


def _lines(facts: Mapping[str, Any]) -> list[str]:
    backend = facts["backend"]
    state = "reachable" if backend["reachable"] else f"NOT reachable: {backend['problem']}"
    where = f" at {backend['where']}" if "where" in backend else ""
    who = f", organization {backend['organization']}" if "organization" in backend else ""
    storage = f", storage {backend['storage']}" if "storage" in backend else ""
    lines = [
        f"reflexio-mcp {facts['version']}",
        quoting(f"backend: {backend['kind']}{where}{who}{storage}; {state}", backend.get("said", "")),
        f"scope: {facts['scope']}",
    ]
    policy, limited = dict(facts["policy"]), facts["limits"]
    told: list[str] = [policy.pop("read_only")] if "read_only" in policy else []
    if not told:
        told = [f"confirm {policy.pop('confirm')}: {policy.pop('confirm_means')}", policy.pop("hourly_cap")]
    undo = policy.pop("undo", "")
    return [
        *lines,
        sentences(f"policy: {', '.join([*told, *_named(policy)])}.", undo),
        f"limits: {', '.join(_named(limited))}",
    ]


def _named(facts: Mapping[str, Any]) -> list[str]:
    return [f"{key} {value}" for key, value in facts.items()]


SPECS = (
    ToolSpec(
        get_status,
        "Status",
        "Where memory is stored, whether it answers, whose it is, limits, scheduled deletions.",
        StatusFacts,
        read_only=True,
    ),
)
