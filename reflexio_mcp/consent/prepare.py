"""From a call to a verdict: plan, weigh, and ask the person where one can be asked.

The resolvers of one call share one `Prepared`, so what was asked about is what is deleted. Where the question travels
in the result (2026-07-28 on), the repeated call plans anew; its question carries the fingerprint of the set, and an
answer to a question that reads differently is not taken.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio.to_thread
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver.resolve import Elicit

from reflexio_mcp.consent.policy import (
    MULTI_ROUND,
    Question,
    Reply,
    Verdict,
    ask_now,
    can_ask,
    settle,
    weigh,
)
from reflexio_mcp.render.question import question_text
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.recovery_copies import Copies
from reflexio_mcp.toolkit.context import Call, app_of, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.traffic.deletion.plan import Plan, Progress, with_learned
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Prepared", "ask", "prepare", "verdict_of"]


@dataclass(frozen=True)
class Prepared:
    """A plan, and what is known before anybody is asked.

    Args:
        plan: what would go.
        first: the verdict or the question; `None` when there is nothing to delete.
        confirm: as the call brought it.
        reporter: tells the client that the call is alive.
        read_at: when the reading behind the plan began, monotonic seconds.
    """

    plan: Plan
    first: Verdict | Question | None
    confirm: str
    reporter: ProgressReporter
    read_at: float


async def prepare(
    call: Call,
    look_up: Callable[[Scope, Progress], Awaitable[Plan]],
    *,
    confirm: str,
    include_learnings: bool,
    erase: bool,
) -> Prepared:
    """Plan a deletion and weigh it.

    Args:
        look_up: finds the set.
        confirm, include_learnings, erase: as the call brought them.

    Raises:
        CapReached: the set is larger than what may go now.
    """
    app, scope = app_of(call), scope_of(call)
    guards, codes = app.safeguards, app.codes(scope)
    reporter = ProgressReporter(call)
    read_at = time.monotonic()
    async with reporter.steady("looking up"):
        try:
            plan = await look_up(scope, reporter)
            plan = replace(plan, include_learnings=include_learnings, erase=erase)
            plan = await _with_kept(scope, plan, guards.copies, codes.scope)
            plan = await with_learned(scope, plan)
        except ReflexioError as error:
            # Only reads so far, whatever this class of failure says of a write.
            error.effect = "none"
            raise
    if not plan.goes:
        return Prepared(plan, None, confirm, reporter, read_at)
    guards.cap.check(scope.caller, len(plan.goes))
    first = weigh(app.settings, codes, guards.seen, plan, confirm, askable=can_ask(call))
    return Prepared(plan, first, confirm, reporter, read_at)


async def _with_kept(scope: Scope, plan: Plan, copies: Copies, owner: str) -> Plan:
    """The plan with what only recovery copies still hold of the set, where it is to be erased there too."""
    if not plan.erase or not copies.days:
        return plan
    missing, stored, wanted = set(plan.not_found), set(plan.ids), plan.wanted

    def matches(item: RequestWithInteractions) -> bool:
        request = item.request
        if request.request_id in stored or not scope.covers(request.user_id):
            return False
        return wanted.matches(item) if wanted else request.request_id in missing

    found = (await anyio.to_thread.run_sync(copies.holding, owner, matches)).items
    kept = tuple(sorted(found, key=lambda item: (item.created_at, item.request_id), reverse=True))
    held = {item.request_id for item in kept}
    return replace(plan, kept=kept, not_found=tuple(one for one in plan.not_found if one not in held))


async def ask(call: Call, prepared: Prepared) -> Verdict | Elicit[Reply]:
    """The verdict, or the question that has to be answered first."""
    first = prepared.first
    if not isinstance(first, Question):
        return first or Verdict(False, "preview")
    settings = app_of(call).settings
    message = question_text(
        prepared.plan, number=first.number, kept_days=settings.recovery_days, masked=settings.mask
    )
    if (call.protocol_version or "") >= MULTI_ROUND:
        return Elicit(message, first.form)
    async with prepared.reporter.steady("waiting for the person's answer"):
        return await ask_now(call, message, first)


def verdict_of(prepared: Prepared, consent: ElicitationResult[Reply]) -> Verdict:
    """What was decided, whichever way the answer came."""
    given: object = consent.data if isinstance(consent, AcceptedElicitation) else None
    if isinstance(given, Verdict):
        return given
    assert isinstance(prepared.first, Question)
    return settle(prepared.first, consent)
