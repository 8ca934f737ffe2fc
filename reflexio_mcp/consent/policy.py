"""Decides whether a deletion may be carried out: by the operator's mode, a plan code, or a person's answer.

Only a person's answer to a form is a person's consent. A `confirm` code proves that a plan was shown to the caller,
not that a person agreed: the modes `auto` and `ask` ask a person who can be asked, even with a right code.
"""

import time
from dataclasses import dataclass
from typing import Literal

from reflexio_mcp.results.deletion import Plan, PlanStatus
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.deletion.plan import CodeMaker, Planned

__all__ = ["Verdict", "number_to_type"]

Mode = Literal["off", "preview", "ask"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan may be carried out.

    Args:
        mode: the mode of consent that decided.
        status: why the plan is not carried out; empty if it is.
        plan: the plan to show if it is not carried out.
        code: the accepted plan code.
    """

    mode: Mode
    status: PlanStatus | Literal[""] = ""
    plan: Plan | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question for a person. `number` has to be typed; `None` if a yes is enough."""

    number: int | None


def weigh(
    settings: Settings,
    codes: CodeMaker,
    planned: Planned,
    confirm: str,
    *,
    askable: bool,
    shown_first: bool = False,
) -> Verdict | Question:
    """Decide by the operator's mode, the call's code and the current set.

    Args:
        askable: a person can be asked.
        shown_first: the call can be wider than meant, so its plan is shown even in the mode `off`.
    """
    now, code = time.time(), confirm.strip()
    mode: Mode
    if settings.confirm == "auto":
        mode = "ask" if askable else "preview"
    elif settings.confirm == "off" and shown_first:
        mode = "preview"
    else:
        mode = settings.confirm
    if planned.is_empty:
        return only_shown(planned, mode, "held" if planned.held else "not_found")
    new_code = codes.make(planned.bound, now=now) if mode == "preview" else ""
    if code and not codes.check(code, planned.bound, now=now):
        return only_shown(planned, mode, "changed", new_code)
    if mode == "preview" and not code:
        return only_shown(planned, mode, "planned", new_code)
    if mode != "ask":
        return Verdict(mode, code=code)
    return Question(number_to_type(settings, planned)) if askable else only_shown(planned, mode, "cannot_ask")


def number_to_type(settings: Settings, planned: Planned) -> int | None:
    """Return the number that a person must type; `None` if a yes is enough."""
    is_large = planned.size > settings.confirm_above or len(planned.plan.users) > 1
    # A deletion with nothing to count has size 0: of a user of whom no call returns anything, of copies that nobody can
    # open, or of what an earlier call of it has left.
    if planned.size and (is_large or planned.target.everything):
        return planned.size
    return None


def weigh_reply(planned: Planned, question: Question, reply: bool | int | None) -> Verdict:
    """Decide by a person's answer, which is `None` if it is not usable."""
    agreed = reply is True if question.number is None else reply == question.number
    if agreed:
        return Verdict("ask")
    mistyped = reply is not None and question.number is not None
    return only_shown(planned, "ask", "wrong_number" if mistyped else "declined")


def only_shown(planned: Planned, mode: Mode, status: PlanStatus, confirm: str = "") -> Verdict:
    """Return the verdict that the plan is only shown. `confirm` is the code that would carry it out."""
    return Verdict(mode, status, planned.plan.model_copy(update={"confirm": confirm}))
