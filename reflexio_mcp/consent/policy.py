"""Who is asked before something is destroyed, and how.

A person's yes comes from the client's form and from nowhere else: a `confirm` code proves that a plan was shown
to the caller, not that a person agreed, so where the person can be asked the code does not replace the question.
"""

import time
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from mcp.server.elicitation import AcceptedElicitation, CancelledElicitation, ElicitationResult
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.deletion.plan_codes import Changes, CodeMaker, PlanCode, PlansSeen, changes_between

__all__ = ["Question", "Reply", "Verdict", "ask_now", "can_ask", "settle", "weigh"]

MULTI_ROUND: Final = "2026-07-28"
"""From this revision on a question travels in the result, and the call is repeated with the answer."""

Status = Literal["planned", "changed", "declined", "cancelled", "wrong_number", "unanswered", "cannot_ask"]
Mode = Literal["off", "preview", "ask"]


class Reply(BaseModel):
    """What a person answers."""


class Yes(Reply):
    """An explicit yes: a form sent off without it agrees to nothing."""

    delete: bool = Field(title="Delete", description="Tick to delete; leave empty to keep everything")


class Number(Reply):
    """The number of requests, typed."""

    requests: int = Field(title="Number of requests", description="Type how many requests are to be deleted")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan may be carried out.

    Args:
        act: carry it out.
        mode: by which mode of consent.
        status: why not, in one word.
        code: what a second call brings, when it must first be shown.
        lead: why nothing was deleted, as the first sentence of the answer.
        following: what to do next.
        changes: how the set differs from the one that a code was brought for.
    """

    act: bool
    mode: Mode
    status: Status = "planned"
    code: str = ""
    lead: str = ""
    following: str = ""
    changes: Changes | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A person has to be asked.

    Args:
        number: what has to be typed, or `None` where a yes is enough.
    """

    number: int | None

    @property
    def form(self) -> type[Reply]:
        return Yes if self.number is None else Number


def can_ask(call: Context[Any, Any]) -> bool:
    """Whether this client can show a person a form on this connection."""
    declared = call.client_capabilities
    forms = declared.elicitation if declared else None
    if forms is None or (forms.form is None and forms.url is not None):
        return False
    return (call.protocol_version or "") >= MULTI_ROUND or call.session.can_send_request


def weigh(
    settings: Settings,
    codes: CodeMaker,
    seen: PlansSeen,
    plan: Plan,
    confirm: str,
    *,
    askable: bool,
    now: float | None = None,
) -> Verdict | Question:
    """Decide by the operator's mode, the code the call brought and the set as it is now.

    Args:
        seen: remembers the set of each code that is given out.
        confirm: the code of an earlier plan, or empty.
        askable: whether a person can be asked.
        now: epoch seconds (the clock when `None`).
    """
    mode: Mode = "off" if settings.confirm == "off" else "ask" if settings.confirm == "ask" else "preview"
    if settings.confirm == "auto" and askable:
        mode = "ask"
    fits = False
    if confirm.strip():
        given = codes.read(confirm)
        fits = given is not None and codes.fits(given, plan.marks, flags=plan.flags)
        if not fits:
            changes = _changes(codes, seen, plan, confirm, given)
            return _shown(codes, seen, plan, mode, "changed", now, changes)
    if mode == "off":
        return Verdict(True, mode)
    if mode == "preview":
        return Verdict(True, mode) if fits else _shown(codes, seen, plan, mode, "planned", now)
    if askable:
        typed = len(plan.goes) > settings.confirm_above or plan.users > 1 or plan.everything
        return Question(len(plan.goes) if typed else None)
    return Verdict(
        False,
        mode,
        "cannot_ask",
        lead="Nothing was deleted: a person must agree, and this client cannot show the question. This would go:",
        following="Use a client that shows forms, or ask the operator to set REFLEXIO_MCP_CONFIRM=auto or preview.",
    )


def _shown(
    codes: CodeMaker,
    seen: PlansSeen,
    plan: Plan,
    mode: Mode,
    status: Literal["planned", "changed"],
    now: float | None,
    changes: Changes | None = None,
) -> Verdict:
    lead = "Nothing is deleted yet. This would go:"
    if changes is not None:
        why = (
            "confirm is not a code that was given out here"
            if changes.code is None
            else f"confirm was given for other options ({changes.flags})"
            if changes.flags
            else "confirm does not fit, the set has changed since"
            if changes.known
            else "confirm does not fit this set"
        )
        lead = f"Nothing was deleted: {why}. Now this would go:"
    if mode != "preview":
        # A code is no consent here, so none is offered.
        return Verdict(False, mode, status, "", lead, "Call again without confirm.", changes)
    code = codes.make(plan.marks, flags=plan.flags, now=time.time() if now is None else now)
    seen.remember(codes.scope, code, plan.marks)
    again = f"To delete exactly these, call again with the same arguments and confirm={code}"
    return Verdict(False, mode, status, code, lead, again, changes)


def _changes(codes: CodeMaker, seen: PlansSeen, plan: Plan, confirm: str, given: PlanCode | None) -> Changes:
    if given is None:
        return Changes(None)
    for flags in ("", "learnings", "erase", "learnings,erase"):
        if flags != plan.flags and codes.fits(given, plan.marks, flags=flags):
            return Changes(given, flags=flags or "none")
    before = seen.recall(codes.scope, confirm)
    if before is None:
        return Changes(given)
    return changes_between(before, plan.marks, given)


async def ask_now(call: Context[Any, Any], message: str, question: Question) -> Verdict:
    """Ask over an open connection, for revisions before 2026-07-28.

    Whatever a client makes of the question, the answer is a verdict and never a protocol error.
    """
    try:
        return settle(question, await call.elicit(message, question.form))
    except (MCPError, ValueError):
        # Refused, not understood, or an answer that is none.
        return UNANSWERED


def settle(question: Question, outcome: ElicitationResult[Reply]) -> Verdict:
    """What a person's answer means."""
    if isinstance(outcome, AcceptedElicitation):
        reply = outcome.data
        if isinstance(reply, Yes) and question.number is None:
            return Verdict(True, "ask") if reply.delete else DECLINED
        if isinstance(reply, Number) and question.number is not None:
            if reply.requests == question.number:
                return Verdict(True, "ask")
            return replace(
                WRONG_NUMBER, lead=WRONG_NUMBER.lead.format(typed=reply.requests, number=question.number)
            )
        return UNANSWERED
    return CANCELLED if isinstance(outcome, CancelledElicitation) else DECLINED


DECLINED: Final = Verdict(
    False,
    "ask",
    "declined",
    lead="Nothing was deleted: not confirmed (declined, or the client could not show the question). "
    "This would have gone:",
    following="Do not repeat the call unless the person asks for it. If no question was shown, the operator can set "
    "REFLEXIO_MCP_CONFIRM=preview.",
)
CANCELLED: Final = Verdict(
    False,
    "ask",
    "cancelled",
    lead="Nothing was deleted: the question was closed without an answer. This would have gone:",
    following="Ask the person whether to go on, then call again.",
)
UNANSWERED: Final = Verdict(
    False,
    "ask",
    "unanswered",
    lead="Nothing was deleted: the client could not show the question or gave no usable answer. "
    "This would have gone:",
    following="Try again in a client that shows forms, or ask the operator to set REFLEXIO_MCP_CONFIRM=preview.",
)
WRONG_NUMBER: Final = Verdict(
    False,
    "ask",
    "wrong_number",
    lead="Nothing was deleted: {typed:,} was typed and there are {number:,} requests. This would have gone:",
    following="Call again to be asked again.",
)
