"""Whether a deletion may be carried out: by the operator's mode, the code of a plan, or a person's answer.

Only a person's answer to a form is a person's consent. A `confirm` code proves that a plan was shown to the caller,
not that a person agreed, so it does not replace the question if the person can be asked.
"""

import time
from dataclasses import dataclass
from typing import Final, Literal

from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import Plan, PlanStatus
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.deletion.codes import CODE_SECONDS, CodeMaker, CodeState
from reflexio_mcp.traffic.deletion.plan import Planned

__all__ = ["FORMS_DO_NOT_LAST", "Question", "Verdict", "answered", "number_to_type", "refused", "weigh"]

Mode = Literal["off", "preview", "ask"]

_DO_NOT_LAST: Final = (
    "{them} hold only while this server process runs, because it has no file to keep their key in. If the client "
    "starts a process for each call, the operator must set REFLEXIO_MCP_STATE_KEYS, or REFLEXIO_MCP_STORE to a file. "
    "Otherwise {instead}."
)
CODES_DO_NOT_LAST: Final = _DO_NOT_LAST.format(them="Codes", instead="call again without confirm")
FORMS_DO_NOT_LAST: Final = _DO_NOT_LAST.format(
    them="Forms", instead="make the call again without requestState and inputResponses"
)

NOT_AGAIN: Final = "Do not repeat the call unless the person asks for it."
PREVIEW: Final = (
    "If no question was shown, the operator can set REFLEXIO_MCP_CONFIRM=preview, and a plan's code is then "
    "enough."
)

SAID: Final[dict[PlanStatus, tuple[str, str]]] = {
    "planned": ("Nothing is deleted yet. This would go:", ""),
    "scheduled": ("Scheduled, not yet done. This will go:", "The receipt will be in get_status."),
    "changed": ("", ""),
    "not_found": (
        "Nothing was deleted, because it was not found:",
        "Find ids with {found_with}; ids are case-sensitive.",
    ),
    "declined": (
        "Nothing was deleted: it was declined, or the client could not show the question. This would have gone:",
        f"{NOT_AGAIN} {PREVIEW}",
    ),
    "cancelled": (
        "Nothing was deleted: the question was cancelled, perhaps before anybody saw it. This would have gone:",
        f"{NOT_AGAIN} {PREVIEW}",
    ),
    "wrong_number": (
        "Nothing was deleted: the number that was typed is not the number of {noun}s. This would have gone:",
        "Call again to be asked again.",
    ),
    "unanswered": (
        "Nothing was deleted: the client could not show the question, or gave no usable answer. This would have gone:",
        f"Try again in a client that shows forms. {PREVIEW}",
    ),
    "cannot_ask": (
        "Nothing was deleted: a person must agree, and this client cannot show the question. This would go:",
        "Use a client that shows forms, or ask the operator to set REFLEXIO_MCP_CONFIRM=auto or preview.",
    ),
}
"""The first and the last sentence of a plan that is not carried out."""

WRONG_CODE: Final = "Nothing was deleted: {why}. Now this would go:"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan may be carried out.

    Args:
        act: carry it out.
        mode: the mode of consent that decided.
        status: why not.
        plan: what is shown then.
        code: the plan code that let it through.
    """

    act: bool
    mode: Mode
    status: PlanStatus = "planned"
    plan: Plan | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A person has to be asked.

    Args:
        number: how many would go, which has to be typed; `None` if a yes is enough.
        noun: what is counted.
    """

    number: int | None
    noun: str = "request"


def weigh(
    settings: Settings, codes: CodeMaker, planned: Planned, confirm: str, *, askable: bool
) -> Verdict | Question:
    """Decide by the operator's mode, the code that the call brings and the set as it is now.

    Args:
        confirm: the code of an earlier plan, or empty.
        askable: whether the client can show a form.
    """
    mode: Mode = "ask" if settings.confirm == "auto" and askable else _MODES[settings.confirm]
    if not planned.size:
        return refused(planned, mode, "not_found")
    if confirm.strip():
        state = codes.check(confirm, planned.bound, now=time.time())
        if not state.good:
            return _with_code(codes, planned, mode, "changed", state)
    if mode == "off":
        return Verdict(True, mode, code=confirm.strip())
    if mode == "preview":
        return (
            Verdict(True, mode, code=confirm.strip())
            if confirm.strip()
            else _with_code(codes, planned, mode, "planned")
        )
    if askable:
        return Question(number_to_type(settings, planned), planned.target.noun)
    return refused(planned, mode, "cannot_ask")


_MODES: Final[dict[str, Mode]] = {"off": "off", "ask": "ask", "preview": "preview", "auto": "preview"}


def number_to_type(settings: Settings, planned: Planned) -> int | None:
    """The number that a person has to type; `None` if a yes is enough."""
    typed = planned.size > settings.confirm_above or planned.users > 1 or planned.target.everything
    return planned.size if typed else None


def answered(planned: Planned, question: Question, reply: bool | int) -> Verdict:
    """Decide by a person's answer to the form: the yes or no, or the number that was typed."""
    if question.number is None:
        return Verdict(True, "ask") if reply is True else refused(planned, "ask", "declined")
    return Verdict(True, "ask") if reply == question.number else refused(planned, "ask", "wrong_number")


def refused(planned: Planned, mode: Mode, status: PlanStatus) -> Verdict:
    """The verdict that nothing is deleted, with what the plan says then."""
    why, following = SAID[status]
    target = planned.target
    plan = planned.plan.model_copy(
        update={
            "why": why.format(noun=target.noun),
            "next": following.format(found_with=target.found_with),
        }
    )
    return Verdict(False, mode, status, plan)


def _with_code(
    codes: CodeMaker, planned: Planned, mode: Mode, status: PlanStatus, wrong: CodeState | None = None
) -> Verdict:
    """The verdict that the plan has to be shown first, with the code that the next call brings."""
    why, following, code = SAID["planned"][0], "", ""
    if wrong:
        reason = (
            "confirm is not a code that was given out here"
            if not wrong.ours
            else "confirm is too old"
            if not wrong.in_time
            else "confirm was given for another set, for other options, or the set has changed since"
        )
        why, following = WRONG_CODE.format(why=reason), "Call again without confirm."
    now = time.time()
    if mode == "preview":
        if wrong and not wrong.ours and not codes.lasting:
            following = CODES_DO_NOT_LAST  # another code would meet the same end
        else:
            code = codes.make(planned.bound, count=planned.size, now=now)
            following = (
                "Show this to the person. After their yes, call again with the same arguments and confirm="
                f"{code}. The code works once, for 24 hours, while the set stays as it is."
            )
    until = at(now + CODE_SECONDS) if code else None
    plan = planned.plan.model_copy(
        update={"why": why, "next": following, "confirm": code, "confirm_until": until}
    )
    return Verdict(False, mode, status, plan)
