"""Whether a deletion may be carried out: by the operator's mode, the code of a plan, or a person's answer.

Only a person's answer to a form is a person's consent. A `confirm` code proves that a plan was shown to the caller,
not that a person agreed, so it does not replace the question where the person can be asked.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from reflexio_mcp.render.stored_text import label
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.deletion.plan_codes import Changes, CodeMaker, PlanCode, changes_between, read_code
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.times import iso

__all__ = [
    "CANCELLED",
    "DECLINED",
    "FORMS_DO_NOT_LAST",
    "UNANSWERED",
    "Question",
    "Status",
    "Verdict",
    "answered",
    "number_to_type",
    "weigh",
]

Status = Literal[
    "planned", "changed", "not_found", "declined", "cancelled", "wrong_number", "unanswered", "cannot_ask"
]
Mode = Literal["off", "preview", "ask"]

_DO_NOT_LAST: Final = (
    "{them} hold only while this server process runs, because it has no file to keep their key in. Where the client "
    "starts a process for each call, none ever fits: the operator must set REFLEXIO_MCP_STATE_KEYS, or "
    "REFLEXIO_MCP_STORE to a file. Where it keeps one, {instead}."
)
CODES_DO_NOT_LAST: Final = _DO_NOT_LAST.format(them="Codes", instead="call again without confirm")
FORMS_DO_NOT_LAST: Final = _DO_NOT_LAST.format(
    them="Forms", instead="make the call again without requestState and inputResponses"
)
COPIES_NAMED: Final = 5
"""Recovery copies that a sentence names."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a plan may be carried out.

    Args:
        act: carry it out.
        mode: the mode of consent that decided.
        status: why not, in one word.
        code: what the next call passes as `confirm`, where the plan must be shown first.
        lead: the first sentence of the answer: that nothing was deleted, and why.
        following: the last sentence: what to do next.
        changes: how the set differs from the one that `confirm` was given for.
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
        number: how many would go, which has to be typed; `None` where a yes is enough.
        noun: what is counted.
    """

    number: int | None
    noun: str = "request"


def weigh(
    settings: Settings, codes: CodeMaker, plan: Plan, confirm: str, *, askable: bool
) -> Verdict | Question:
    """Decide by the operator's mode, the code that the call brings and the set as it is now.

    Args:
        confirm: the code of an earlier plan, or empty.
        askable: whether the client can show a form.
    """
    mode: Mode = "off" if settings.confirm == "off" else "ask" if settings.confirm == "ask" else "preview"
    if settings.confirm == "auto" and askable:
        mode = "ask"
    if not plan.size:
        return _not_found(codes, plan, mode, confirm)
    fits = False
    if confirm.strip():
        given = codes.read(confirm)
        fits = given is not None and codes.fits(given, plan.marks, flags=plan.bound(plan.flags))
        if not fits:
            changes = _changes(codes, plan, confirm, given)
            return _shown(codes, plan, mode, "changed", changes)
    if mode == "off":
        return Verdict(True, mode)
    if mode == "preview":
        return Verdict(True, mode) if fits else _shown(codes, plan, mode, "planned")
    if askable:
        return Question(number_to_type(settings, plan), plan.noun)
    return Verdict(
        False,
        mode,
        "cannot_ask",
        lead="Nothing was deleted: a person must agree, and this client cannot show the question. This would go:",
        following="Use a client that shows forms, or ask the operator to set REFLEXIO_MCP_CONFIRM=auto or preview.",
    )


def number_to_type(settings: Settings, plan: Plan) -> int | None:
    """Return the number of requests that a person has to type, or `None` where a yes is enough."""
    typed = plan.size > settings.confirm_above or plan.users > 1 or plan.everything
    return plan.size if typed else None


def answered(question: Question, reply: bool | int) -> Verdict:
    """Decide by a person's answer to the form.

    Args:
        reply: the yes or no, or the number that was typed.
    """
    if question.number is None:
        return Verdict(True, "ask") if reply is True else SENT_WITHOUT_YES
    if reply == question.number:
        return Verdict(True, "ask")
    there = f"{question.number:,} {question.noun}s"
    lead = f"Nothing was deleted: {reply:,} was typed and there are {there}. This would have gone:"
    return replace(WRONG_NUMBER, lead=lead)


def _shown(
    codes: CodeMaker,
    plan: Plan,
    mode: Mode,
    status: Literal["planned", "changed"],
    changes: Changes | None = None,
) -> Verdict:
    lead = "Nothing is deleted yet. This would go:"
    if changes is not None:
        why = (
            "confirm is not a code that was given out here"
            if changes.code is None
            else f"confirm was given for other options ({changes.flags})"
            if changes.flags
            else "confirm does not fit, what was learned from these requests has changed since"
            if changes.known and not changes.added and not changes.removed
            else "confirm was given for another set"
            if changes.of_another_set
            else "confirm does not fit, the set has changed since"
            if changes.known
            else "confirm does not fit this set"
        )
        lead = f"Nothing was deleted: {why}. Now this would go:"
    if mode != "preview":
        # A code is no consent here, so none is offered.
        return Verdict(False, mode, status, "", lead, "Call again without confirm.", changes)
    if changes is not None and changes.code is None and not codes.lasting:
        # Another code would meet the same end.
        return Verdict(False, mode, status, "", lead, CODES_DO_NOT_LAST, changes)
    code = codes.make(plan.marks, flags=plan.bound(plan.flags), now=time.time())
    again = (
        "Show this to the person. After their yes, call again with the same arguments"
        f"{_times(plan)} and confirm={code}"
    )
    return Verdict(False, mode, status, code, lead, again, changes)


def _times(plan: Plan) -> str:
    """The times of the plan's filter: an age such as `10d` would mean another time in the next call."""
    wanted = plan.wanted
    times = (("start_time", wanted.start), ("end_time", wanted.end)) if wanted else ()
    named = [f"{name}={iso(time)}" for name, time in times if time is not None]
    return f" ({', '.join(named)})" if named else ""


def _changes(codes: CodeMaker, plan: Plan, confirm: str, given: PlanCode | None) -> Changes:
    if given is None:
        return Changes(None)
    for flags in ("", "learnings", "erase", "learnings,erase"):
        if flags != plan.flags and codes.fits(given, plan.marks, flags=plan.bound(flags)):
            return Changes(given, known=True, flags=flags or "none")
    before = codes.recall(confirm)
    if before is None:
        return Changes(given)
    return changes_between(before, plan.marks, given)


def _not_found(codes: CodeMaker, plan: Plan, mode: Mode, confirm: str) -> Verdict:
    following = f"Find ids with {plan.found_with}; ids and names match whole, upper and lower case too."
    whole = plan.wanted is not None and not plan.wanted.narrows and not plan.gaps
    if plan.wanted and whole and plan.found_with == "list_requests":
        following = f"No request{' of this user' if plan.wanted.user_id else ''} is stored."
    if names := ", ".join(copy.copy_id for copy in plan.copies[:COPIES_NAMED]):
        one = plan.wanted is None and len(plan.not_found) == 1
        following = (
            f"A recovery copy still holds {'it' if one else 'some of it'} until its days are over (copy_id={names}); "
            f"{_erased_by(plan)}."
        )
    elif names := ", ".join(copy.copy_id for copy in plan.unreadable_copies[:COPIES_NAMED]):
        following = f"A recovery copy that cannot be read may still hold it (copy_id={names}). {following}"
    changes = None
    if before := codes.recall(confirm):
        # The code fitted a set of which nothing is left.
        changes = changes_between(before, {}, read_code(confirm))
    return Verdict(
        False,
        mode,
        "not_found",
        lead=_lead(plan),
        following=following,
        changes=changes,
    )


def _erased_by(plan: Plan) -> str:
    """The call that takes what is not stored out of the recovery copies, or puts it back."""
    back = ", or put it back with restore_requests" if plan.recovery_days else ""
    if not isinstance(plan, TurnPlan):
        return f"call again with erase=true to remove it from there{back}"
    it = "it" if len(plan.not_found) == 1 else "some of it"
    if plan.copied_as:
        ids = _ids(plan.copied_as)
        return f"call delete_requests with request_ids {ids} and erase=true to remove the request that it is in{back}"
    if plan.stored_in:
        ids = _ids(plan.stored_in)
        return f"request {ids} has {it} again: name its turns as get_request shows them now, with erase=true"
    ids = _ids(plan.stored_without)
    return f"request {ids} is stored without it: only to delete all of that, with erase=true, takes it out of there"


def _ids(ids: Sequence[str]) -> str:
    return ", ".join(label(one) for one in ids[:COPIES_NAMED])


def _lead(plan: Plan) -> str:
    if plan.deleted_before is None:
        return "It was not found, nothing was deleted:"
    number, began = plan.deleted_before
    before = f"deletion {number}, begun {iso(began)}, deleted it, checked by reading again"
    return f"It was not found, nothing was deleted now: {before}:"


DECLINED: Final = Verdict(
    False,
    "ask",
    "declined",
    lead="Nothing was deleted: not confirmed (declined, or the client could not show the question). "
    "This would have gone:",
    following="Do not repeat the call unless the person asks for it. If no question was shown, the operator can set "
    "REFLEXIO_MCP_CONFIRM=preview.",
)
SENT_WITHOUT_YES: Final = replace(
    DECLINED,
    lead="Nothing was deleted: the form was sent with Delete at no. This would have gone:",
    # Where the field is a box, a person easily accepts the form as it is and means yes.
    following="Do not repeat the call unless the person asks for it. If they meant yes, they set Delete to yes before "
    "they send the form.",
)
CANCELLED: Final = Verdict(
    False,
    "ask",
    "cancelled",
    lead="Nothing was deleted: the question was cancelled, perhaps before anybody saw it. This would have gone:",
    following="Do not repeat the call unless the person asks for it. If no question was shown, this client cannot show "
    "one: the operator can set REFLEXIO_MCP_CONFIRM=preview, and a plan's code is then enough.",
)
UNANSWERED: Final = Verdict(
    False,
    "ask",
    "unanswered",
    lead="Nothing was deleted: the client could not show the question or gave no usable answer. "
    "This would have gone:",
    following="Try again in a client that shows forms, or ask the operator to set REFLEXIO_MCP_CONFIRM=preview.",
)
WRONG_NUMBER: Final = Verdict(False, "ask", "wrong_number", following="Call again to be asked again.")
