"""From a call to a verdict: plan the deletion, weigh it, and ask the person where one can be asked.

The resolvers of one call share one `Prepared`, so the set that was asked about is the set that is deleted. Where the
question travels in the result (from 2026-07-28 on), the repeated call plans again. Its question carries the
fingerprint of the set, and an answer to a question that reads differently is not accepted.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Annotated

import anyio.to_thread
from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
from mcp.server.mcpserver.resolve import Elicit, Resolve

from reflexio_mcp.consent.elicitation import (
    Reply,
    ask_now,
    asks_in_the_result,
    can_ask,
    form_of,
    gave_no_content,
    settle,
    taking_any_answer,
)
from reflexio_mcp.consent.policy import UNANSWERED, Question, Verdict, weigh
from reflexio_mcp.render.question import question_text
from reflexio_mcp.toolkit.context import Call, app_of, from_page, hides, scope_of
from reflexio_mcp.toolkit.progress import ProgressReporter
from reflexio_mcp.traffic.deletion.erasure import look_into_copies
from reflexio_mcp.traffic.deletion.plan import Plan, Progress, with_first_words, with_learned
from reflexio_mcp.traffic.deletion.safeguards import check_cap
from reflexio_mcp.traffic.reading.filters import UNSEEN
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Prepared", "asking", "prepare", "verdict_of"]


@dataclass(frozen=True)
class Prepared:
    """A plan, and what is known before anybody is asked.

    Args:
        plan: what would go.
        first: the verdict, or the question that has to be answered first.
        masked: whether stored words stay out of the plan and the question.
        reporter: tells the client that the call is alive.
        read_at: when the reading behind the plan began, in monotonic seconds.
    """

    plan: Plan
    first: Verdict | Question
    masked: bool
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
        confirm, include_learnings, erase: as the call brings them.

    Raises:
        CapReached: the set is larger than what may be deleted now.
    """
    app, scope = app_of(call), scope_of(call)
    state, codes = app.state, app.codes(scope)
    reporter = ProgressReporter(call)
    read_at = time.monotonic()
    async with reporter.steady("looking up"):
        plan = await look_up(scope, reporter)
        days = 0 if erase else state.copies.days
        plan = replace(
            plan, include_learnings=include_learnings, erase=erase, recovery_days=days, exact=scope.exact
        )
        plan = await look_into_copies(scope, plan, state.copies, codes.scope)
        plan = await with_learned(scope, await with_first_words(plan))
        if plan.copied and not plan.size and plan.not_found and not plan.ids_of:
            # The reply of that deletion may be lost, and this be its repeat. A record has neither the filter that it
            # was chosen by nor whose each request was, so of those nothing is said.
            with suppress(OSError):  # get_status says why
                before = await anyio.to_thread.run_sync(
                    state.jobs.deleted_before, codes.scope, plan.not_found
                )
                plan = replace(plan, deleted_before=before)
    await check_cap(state.cap, scope.caller, plan)
    masked = hides(call) is not None or (plan.wanted is not None and plan.wanted.finding == UNSEEN)
    # A person who agrees in the explorer's page has seen the plan; only `ask` still wants the client's own form.
    askable = can_ask(call) and not (app.settings.confirm == "auto" and from_page(call))
    first = weigh(app.settings, codes, plan, confirm, askable=askable)
    return Prepared(plan, first, masked, reporter, read_at)


def asking(
    prepared_by: Callable[..., Awaitable[Prepared]],
) -> Callable[..., Awaitable[Verdict | Elicit[Reply]]]:
    """The resolver that gives the verdict on what another one prepared, or the question to be answered first."""

    async def ask(call: Call, prepared: Annotated[Prepared, Resolve(prepared_by)]) -> Verdict | Elicit[Reply]:
        first = prepared.first
        if isinstance(first, Verdict):
            return first
        message = question_text(prepared.plan, number=first.number, masked=prepared.masked)
        if asks_in_the_result(call):
            if gave_no_content(call):
                return UNANSWERED
            return Elicit(message, taking_any_answer(form_of(first)))
        async with prepared.reporter.steady("waiting for the person's answer"):
            return await ask_now(call, message, first)

    return ask


def verdict_of(prepared: Prepared, consent: ElicitationResult[Reply]) -> Verdict:
    """Return what was decided, whichever way the answer came."""
    given: object = consent.data if isinstance(consent, AcceptedElicitation) else None
    if isinstance(given, Verdict):
        return given
    assert isinstance(prepared.first, Question)
    return settle(prepared.first, consent)
