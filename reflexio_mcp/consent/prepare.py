"""From a call to a verdict: plan the deletion, weigh it, and ask the person if one can be asked.

The resolvers of one call share one `Prepared`, so the set that was asked about is the set that is deleted. If the
question travels in the result (from 2026-07-28 on), the repeated call plans again. Its question carries the
fingerprint of the selection, and an answer to a question that reads differently is not accepted.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

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
)
from reflexio_mcp.consent.policy import Question, Verdict, refused, weigh
from reflexio_mcp.render.deletion import question
from reflexio_mcp.toolkit.context import Call, ProgressReporter, app_of, from_page, hides, scope_of
from reflexio_mcp.traffic.deletion.plan import Options, Planned, make_plan
from reflexio_mcp.traffic.deletion.targets import Target

__all__ = ["Prepared", "asking", "prepare", "verdict_of"]


@dataclass(frozen=True)
class Prepared:
    """A plan, and what is known before anybody is asked.

    Args:
        first: the verdict, or the question that has to be answered first.
        reporter: tells the client that the call is alive.
    """

    planned: Planned
    first: Verdict | Question
    reporter: ProgressReporter


async def prepare(call: Call, target: Target, options: Options, confirm: str) -> Prepared:
    """Plan a deletion and weigh it.

    Raises:
        TrafficError, ReflexioError: as `make_plan` raises them.
    """
    app, scope = app_of(call), scope_of(call)
    reporter = ProgressReporter(call)
    async with reporter.steady("looking up"):
        owner = await app.owner(scope)
        masked = hides(call) is not None
        planned = await make_plan(scope, target, options, app.state, owner, masked=masked, progress=reporter)
    # A person who agrees in the explorer's page has seen the plan; only `ask` still wants the client's own form.
    askable = can_ask(call) and not (app.settings.confirm == "auto" and from_page(call))
    return Prepared(
        planned, weigh(app.settings, app.codes(scope), planned, confirm, askable=askable), reporter
    )


def asking(
    prepared_by: Callable[..., Awaitable[Prepared]],
) -> Callable[..., Awaitable[Verdict | Elicit[Reply]]]:
    """The resolver that gives the verdict on what another one prepared, or the question to be answered first."""

    async def ask(call: Call, prepared: Annotated[Prepared, Resolve(prepared_by)]) -> Verdict | Elicit[Reply]:
        first, planned = prepared.first, prepared.planned
        if isinstance(first, Verdict):
            return first
        message = question(planned.plan, planned.target.noun, first.number, planned.fingerprint)
        if asks_in_the_result(call):
            if gave_no_content(call):
                return refused(planned, "ask", "unanswered")
            return Elicit(message, form_of(first))
        async with prepared.reporter.steady("waiting for the person's answer"):
            return await ask_now(call, message, planned, first)

    return ask


def verdict_of(prepared: Prepared, consent: ElicitationResult[Reply]) -> Verdict:
    """Return what was decided, whichever way the answer came."""
    given: object = consent.data if isinstance(consent, AcceptedElicitation) else None
    if isinstance(given, Verdict):
        return given
    assert isinstance(prepared.first, Question)
    return settle(prepared.planned, prepared.first, consent)
