from typing import Annotated, Final

import anyio.to_thread
from mcp.types import CallToolResult

from reflexio_mcp import __version__
from reflexio_mcp.render import status as text
from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.base import NOTICE, label, shown_id, shown_name
from reflexio_mcp.results.deletion import Logged, PastDeletion
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.failures import failure_facts
from reflexio_mcp.results.status import Backend, Limits, Policy, Status
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit.context import App, Call, answer, app_of, place_shown, scope_of, words_of
from reflexio_mcp.traffic.deletion.past import MOST_LISTED, last_deletions, last_logged, log_checked
from reflexio_mcp.traffic.scope import Scope

__all__ = ["get_status"]

PATH_CHARS: Final = 1_000

CONFIRM: Final = {
    "auto": FactCode.ASKS_OR_PLANS,
    "ask": FactCode.ASKS,
    "preview": FactCode.PLANS,
    "off": FactCode.ACTS_AT_ONCE,
}
"""What `REFLEXIO_MCP_CONFIRM` means."""


async def get_status(call: Call) -> Annotated[CallToolResult, Status]:
    app, scope = app_of(call), scope_of(call)
    backend, why_unreachable = await _backend(app, scope, place_shown(call))
    deletions: list[PastDeletion] = []
    logged: list[Logged] = []
    facts = [*why_unreachable, *_facts(app.settings, reachable=backend.reachable), *_about_holds(scope)]
    facts += await anyio.to_thread.run_sync(app.trouble)
    try:
        owner = await app.owner(scope)
        deletions = await last_deletions(scope, app.state, owner, app.jobs)
        logged = await last_logged(app.state, owner)
        facts += await log_checked(app.state)
        if MOST_LISTED in (len(deletions), len(logged)):
            facts.append(Fact(code=FactCode.LAST_LISTED, number=MOST_LISTED))
    except (StateUnusable, ReflexioError):
        facts.append(Fact(code=FactCode.RECORDS_UNREADABLE))
    found = Status(
        notice=NOTICE if deletions or logged or why_unreachable else "",
        version=__version__,
        backend=backend,
        scope=shown_id(scope.user_id) or "every user",
        policy=_policy(app.settings, scope),
        limits=Limits(
            call_seconds=app.settings.timeout,
            publish_wait_seconds=app.settings.wait_timeout,
            interactions_per_publish=api_limits.MAX_INTERACTIONS,
            ids_per_deletion=api_limits.MAX_DELETE_IDS,
        ),
        deletions=deletions,
        logged=logged,
        facts=facts,
    )
    return answer(found, text.status(found, words_of(call)))


def _facts(settings: Settings, *, reachable: bool) -> list[Fact]:
    from reflexio_mcp.traffic.audit.rules.redaction import (
        formats_unknown,  # its patterns take a while to compile
    )

    facts = formats_unknown()
    if reachable and not settings.embedded:
        facts.append(Fact(code=FactCode.DELETES_ITSELF))
    if settings.read_only:
        return facts
    facts.append(Fact(code=CONFIRM[settings.confirm]))
    if settings.recovery_days:
        facts.append(Fact(code=FactCode.CAN_UNDO, number=settings.recovery_days))
    else:
        facts.append(Fact(code=FactCode.CANNOT_UNDO))
    return facts


async def _backend(app: App, scope: Scope, where: str) -> tuple[Backend, list[Fact]]:
    """Return where the memory is, and why it cannot be reached."""
    kind = "embedded store" if app.settings.embedded else "Reflexio"
    identity, why_unreachable = None, list[Fact]()
    try:
        identity = await scope.client.whoami()
    except ReflexioError as error:
        why_unreachable = failure_facts(error)
    # `Backend` is not made in the handler above: what pydantic stores when it makes the first one would keep the error
    # alive.
    if identity is None:
        return Backend(kind=kind, where=where, reachable=False), why_unreachable
    backend = Backend(
        kind=kind,
        where=where,
        reachable=True,
        organization=label(identity.org_id),
        storage=label(identity.storage_type),
    )
    return backend, []


def _about_holds(scope: Scope) -> list[Fact]:
    path = scope.policy.path
    if path is None:
        return [Fact(code=FactCode.NO_HOLDS)]
    # Callers of a shared server see only the file's name, as in a plan.
    file = shown_name(path.name if scope.caller else str(path), PATH_CHARS)
    policy = scope.policy.now()
    if policy.may_hold(scope.user_id) is None:
        return [Fact(code=FactCode.NO_HOLDS_IN, names=[file])]
    facts = [Fact(code=FactCode.HOLDS_SET, names=[file])]
    if contact := policy.contact:
        facts.append(Fact(code=FactCode.ASK_ABOUT_HOLD, names=[shown_name(contact)]))
    return facts


def _policy(settings: Settings, scope: Scope) -> Policy:
    in_force = scope.policy.now()
    # Somebody who is confined to one user learns nothing of others.
    holds = [hold for hold in in_force.hold if not scope.user_id or scope.user_id in hold.users]
    named = [(sorted(hold.users | hold.sessions | hold.sources), hold.describe()) for hold in holds]
    policy = Policy(
        holds=[
            f"{'the caller' if scope.user_id else shown_name(', '.join(names))} ({shown_name(why)})"
            for names, why in named
        ],
        expires=[] if scope.user_id else [shown_name(expiry.describe()) for expiry in in_force.expire],
        policy_problem=scope.policy.problem,
        read_only=settings.read_only,
        masked=settings.mask,
        shared_state="PostgreSQL" if settings.state else "",
    )
    if settings.read_only:
        return policy
    return policy.model_copy(
        update={
            "confirm": settings.confirm,
            "delete_cap": settings.delete_cap or None,
            "publish_secrets": settings.publish_secrets,
            "recovery_days": settings.recovery_days,
        }
    )
