"""How the server stands."""

from collections.abc import Mapping
from typing import Any, Final, TypedDict

import anyio.to_thread
from mcp.types import CallToolResult

from reflexio_mcp import __version__
from reflexio_mcp.render.deletion import past, undo_in_words
from reflexio_mcp.render.result import Facts, Rendered, dense, sentences
from reflexio_mcp.render.stored_text import NOTICE, SAID_CHARS, label, quoting, shown_id, shown_name
from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.errors import ReflexioError, explain
from reflexio_mcp.results.base import structured
from reflexio_mcp.results.deletion import PastDeletion
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit.context import App, Call, app_of, old_answer, place_shown, scope_of
from reflexio_mcp.toolkit.spec import ToolSpec
from reflexio_mcp.traffic.deletion.history import last_deletions
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


class StatusFacts(TypedDict, total=False):
    """How the server stands."""

    notice: str

    version: str
    backend: Facts
    scope: str
    policy: Facts
    limits: Facts
    deletions: list[Facts]
    problem: str


async def get_status(call: Call) -> CallToolResult:
    app, scope = app_of(call), scope_of(call)
    facts: StatusFacts = {
        "version": __version__,
        "backend": await _backend(app, scope, place_shown(call)),
        "scope": shown_id(scope.user_id) or "every user",
        "policy": _policy(app.settings),
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
    problem, there = await anyio.to_thread.run_sync(app.trouble), list[PastDeletion]()
    try:
        there = await last_deletions(scope, app.state, await app.owner(scope))
    except (StateUnusable, ReflexioError):  # the lines above say why
        problem = sentences(UNREADABLE, problem)
    if there:
        facts = {"notice": NOTICE, **facts, "deletions": [structured(one) for one in there]}
    if problem:
        facts |= {"problem": problem}
    return old_answer(Rendered("\n".join(filter(None, [*lines, past(there), problem])), facts))


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


def _policy(settings: Settings) -> Facts:
    from reflexio_mcp.traffic.audit.rules import redaction as secrets  # its patterns take a while to compile

    changing: Facts = {
        "confirm": settings.confirm,
        "confirm_means": CONFIRM_MEANS[settings.confirm],
        "hourly_cap": f"at most {settings.delete_cap:,} requests, turns or learnings deleted an hour"
        if settings.delete_cap
        else "no cap on deletions",
        "publish_secrets": settings.publish_secrets,
        "recovery_days": settings.recovery_days or None,
        "undo": undo_in_words(settings.recovery_days),
    }
    return dense(
        {
            **({"read_only": READ_ONLY} if settings.read_only else changing),
            "masked": settings.mask,
            "secrets_not_looked_for": None if secrets.available() else secrets.MISSING,
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
