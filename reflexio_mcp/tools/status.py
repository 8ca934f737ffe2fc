from typing import Annotated, Final

import anyio.to_thread
from mcp.types import CallToolResult

from reflexio_mcp import __version__
from reflexio_mcp.render import status as text
from reflexio_mcp.render.blocks import undo_in_words
from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.errors import ReflexioError, explain
from reflexio_mcp.results.base import NOTICE, SAID_CHARS, label, shown_id, shown_name
from reflexio_mcp.results.deletion import PastDeletion
from reflexio_mcp.results.status import Backend, Limits, Policy, Status
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit.context import App, Call, answer, app_of, place_shown, scope_of
from reflexio_mcp.traffic.deletion.past import last_deletions
from reflexio_mcp.traffic.scope import Scope

__all__ = ["get_status"]

UNREADABLE: Final = "Earlier deletions cannot be read."

DELETES: Final = (
    "Unless it is set up otherwise, Reflexio itself deletes once a day: the oldest fifth of a table that has reached "
    "250,000 rows, and learnings that were replaced 90 days ago. A deployment can have an age limit, too."
)

HOLDS_SET: Final = (
    "Nobody can delete or correct what is on hold, or learnings from it; lists mark it. Only the operator sets holds, "
    "in the file {file}."
)
NO_POLICY: Final = "The operator can put data on hold (REFLEXIO_MCP_POLICY); nothing is on hold here."

PATH_CHARS: Final = 1_000

CONFIRM_MEANS: Final = {
    "auto": "a person is asked if the client has forms; otherwise a plan's code is enough",
    "ask": "a person is asked; if the client has no forms, nothing is deleted",
    "preview": "a plan's code is enough",
    "off": "nobody is asked and no plan is shown",
}


async def get_status(call: Call) -> Annotated[CallToolResult, Status]:
    app, scope = app_of(call), scope_of(call)
    backend = await _backend(app, scope, place_shown(call))
    problem, deletions = await anyio.to_thread.run_sync(app.trouble), list[PastDeletion]()
    try:
        deletions = await last_deletions(scope, app.state, await app.owner(scope), app.jobs)
    except (StateUnusable, ReflexioError):  # a `problem` says why
        problem = " ".join(filter(None, [UNREADABLE, problem]))
    found = Status(
        notice=NOTICE if deletions or backend.said else "",
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
        problem=problem,
    )
    return answer(found, text.status(found))


async def _backend(app: App, scope: Scope, where: str) -> Backend:
    kind = "embedded store" if app.settings.embedded else "Reflexio"
    identity, problem, said = None, "", ""
    try:
        identity = await scope.client.whoami()
    except ReflexioError as error:
        # If the file is not a store, only the store's own words say what to do.
        problem, said = explain(error, "read"), shown_name(error.said, SAID_CHARS)
    # Not in the handler: pydantic builds the model at its first use, and would keep the error alive.
    if identity is None:
        return Backend(kind=kind, where=where, reachable=False, problem=problem, said=said)
    return Backend(
        kind=kind,
        where=where,
        reachable=True,
        deletes="" if app.settings.embedded else DELETES,
        organization=label(identity.org_id),
        storage=label(identity.storage_type),
    )


def _holds_set(scope: Scope, contact: str | None) -> str:
    path = scope.policy.path
    if path is None:
        return NO_POLICY
    # Callers of a shared server see only the file's name, as in a plan.
    file = shown_name(path.name if scope.caller else str(path), PATH_CHARS)
    ask = f" About a hold, ask {shown_name(contact)}." if contact else ""
    return f"{HOLDS_SET.format(file=file)}{ask}"


def _policy(settings: Settings, scope: Scope) -> Policy:
    from reflexio_mcp.traffic.audit.rules import redaction as secrets  # its patterns take a while to compile

    file = scope.policy.now()
    # Somebody who is confined to one user learns nothing of others.
    holds = [one for one in file.hold if scope.user_id in ("", *one.users) and not one.is_over]
    named = [(sorted(one.users | one.sessions | one.sources), one.describe()) for one in holds]
    policy = Policy(
        holds=[
            f"{'the caller' if scope.user_id else shown_name(', '.join(names))} ({why})"
            for names, why in named
        ],
        holds_set=_holds_set(scope, file.contact),
        expires=[] if scope.user_id else [shown_name(one.describe()) for one in file.expire],
        policy_problem=scope.policy.problem,
        read_only=settings.read_only,
        masked=settings.mask,
        secrets_not_looked_for="" if secrets.available() else secrets.MISSING,
        shared_state="PostgreSQL" if settings.state else "",
    )
    if settings.read_only:
        return policy
    return policy.model_copy(
        update={
            "confirm": settings.confirm,
            "confirm_means": CONFIRM_MEANS[settings.confirm],
            "delete_cap": settings.delete_cap or None,
            "publish_secrets": settings.publish_secrets,
            "recovery_days": settings.recovery_days,
            "undo": undo_in_words(settings.recovery_days),
        }
    )
