"""Recovery copies, and what came of restoring one."""

from collections.abc import Mapping, Sequence, Set
from itertools import zip_longest
from typing import Final, Literal, Required, TypedDict, get_args

from reflexio_mcp.render.deletion_facts import ALL_OF_IT, CHECKED
from reflexio_mcp.render.result import (
    BUDGET,
    Facts,
    Rendered,
    Unlisted,
    compact_json,
    counted,
    dense,
    few_ids,
    listed,
    named_ids,
    named_of,
)
from reflexio_mcp.render.stored_text import NOTICE, explained, fence, shown_id, shown_name
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.recovery_copies import Line, RecoveryCopy
from reflexio_mcp.traffic.deletion.restore import Became, Restored
from reflexio_mcp.traffic.learnings.records import learning_of
from reflexio_mcp.traffic.times import iso

__all__ = ["COPIES_SHOWN", "RestoreFacts", "copies_listed", "restored"]

LOST: Final = (
    "Arrival times are new. Images sent as base64 and citations, if there were any, are not restored:"
)
NOT_GIVEN_OUT: Final = "the service does not give them out."
NOT_IN_COPY: Final = "a copy of an earlier version does not hold them."
NOT_TIED: Final = "The turns have new ids: learnings that were not deleted with them are not tied to them."
NO_LEARNINGS: Final = "This copy holds no learnings: none that went with the requests comes back."
LEARNINGS_BACK: Final = (
    "Restored learnings have their text, state, times and sources back. A user playbook has a new id. Not restored, "
    "because the service does not give it out: its own notes on them and which learning a merged one went into. "
    "Reflexio may change, merge or replace them as it learns on."
)
LEARNS: Final = "Restored traffic may be learned from again; evaluation_only=true prevents that."
ERASED_WITH: Final = "a deletion of the same requests or learnings with erase=true"
COPIES_SHOWN: Final = 50
RESERVED: Final = 400
"""Characters for what stands around the copies."""
UNSTORABLE: Final = "cannot be read in the copy or holds nothing that can be stored"
UNCHECKED: Final = "The service took them; they could not be read again. Look with get_request."


Status = Literal["listed", "complete", "incomplete", "nothing_restored"]


class RestoreFacts(TypedDict, total=False):
    """The copies there are, or what came of restoring one."""

    status: Required[Status]
    copies: list[Facts]
    left_out: Unlisted[int | None]
    notice: Unlisted[str]
    copy_id: str
    restored: int
    learnings_restored: Unlisted[int]
    learnings: Unlisted[dict[Became, list[str]]]
    new_ids: Unlisted[dict[str, str]]
    counts: dict[Became, int]
    outcomes: dict[Became, list[str]]
    ids_named: Unlisted[dict[Became, str]]
    deleted_at: Unlisted[str]
    interactions_lost: Unlisted[int]
    lost: str
    checked: Unlisted[str]
    unchecked: Unlisted[str]
    differs: Unlisted[list[str]]
    interactions: Unlisted[int]
    copy_kept_until: Unlisted[str]
    copy_goes_with: Unlisted[str]
    learning: Unlisted[str]
    failure: Unlisted[str]
    next: str


def _copy(copy: RecoveryCopy, one: Line | None) -> Facts:
    user, session = "", ""
    if isinstance(one, RequestWithInteractions):
        user, session = one.request.user_id, one.request.session_id
    elif one is not None:
        user = learning_of(one).user_id
    return dense(
        {
            "copy_id": copy.copy_id,
            "deleted_at": iso(copy.made_at),
            "kept_until": iso(copy.kept_until),
            "requests": copy.requests,
            "learnings": copy.learnings or None,
            "of_user": shown_name(user),
            "of_session": shown_name(session),
        }
    )


def _line(copy: Facts) -> str:
    held = _held(copy["requests"], copy.get("learnings", 0))
    names = ((kind, copy.get(f"of_{kind}")) for kind in ("user", "session"))
    whose = ", ".join(f"{kind} {name}" for kind, name in names if name)
    if whose:
        held += f" of {whose}" if held.startswith("1 ") and " and " not in held else f" (one: {whose})"
    return (
        f"copy_id={copy['copy_id']} · {held}, of the deletion begun {copy['deleted_at']}, kept until "
        f"{copy['kept_until']}"
    )


def _held(requests: int, learnings: int, interactions: int = 0) -> str:
    """So many requests, with their interactions where they are known, and learnings, in words."""
    turns = f" ({counted(interactions, 'interaction')})" if interactions else ""
    parts = [counted(requests, "request") + turns] if requests or not learnings else []
    return " and ".join([*parts, *([counted(learnings, "learning")] if learnings else [])])


def copies_listed(copies: Sequence[RecoveryCopy], ones: Sequence[Line | None] = ()) -> Rendered:
    """The copies of a scope, as many as have room.

    Args:
        copies: newest first.
        ones: of each of the first of them a request or learning, where one can be read.
    """
    shown, lines, room = list[Facts](), list[str](), BUDGET - RESERVED
    for copy, one in zip_longest(copies[:COPIES_SHOWN], ones[:COPIES_SHOWN]):
        facts_of = _copy(copy, one)
        line = _line(facts_of)
        room -= max(len(line), len(compact_json(facts_of))) + 2
        if room < 0:
            break
        shown.append(facts_of)
        lines.append(line)
    left_out = len(copies) - len(shown)
    following = "To restore one, call again with its copy_id." if shown else "Nothing can be restored."
    facts: RestoreFacts = {"status": "listed", "copies": shown, "next": following}
    if shown:
        facts = {"notice": NOTICE, **facts}
    if left_out:
        facts["left_out"] = left_out
    lead = f"{counted(len(copies), 'recovery copy').replace('copys', 'copies')} here, newest first."
    if not copies:
        lead = "No recovery copy is here."
    told = [fence("\n".join(lines))] if lines else []
    more = [f"{left_out:,} older ones are not shown."] if left_out else []
    return Rendered("\n".join([lead, *told, *more, following]), facts)


def _named(became: Became, ids: Sequence[str]) -> list[str]:
    return few_ids(ids) if became in ("restored", "already_there") else named_ids(ids)


def restored(done: Restored, *, evaluation_only: bool, learns: bool) -> Rendered:
    """What came of a restore.

    Args:
        learns: whether the backend learns from what is stored.
    """
    kinds: tuple[Became, ...] = get_args(Became)
    named = {kind: done.ids(kind) for kind in kinds}
    counts: dict[Became, int] = {kind: len(named[kind]) for kind in kinds if named[kind]}
    outcomes: dict[Became, list[str]] = {kind: _named(kind, named[kind]) for kind in counts}
    number = counts.get("restored", 0)
    learned: dict[Became, list[str]] = {}
    for one, became in done.learned.items():
        learned.setdefault(became, []).append(one)
    back = len(learned.get("restored", ()))
    deleted_at = iso(done.copy.made_at)
    facts: RestoreFacts = {
        "notice": NOTICE,
        "status": _status({*counts, *learned, *(["differs"] if done.differs else [])}),
        "copy_id": done.copy.copy_id,
        "restored": number,
        "counts": counts,
        "outcomes": outcomes,
        "deleted_at": deleted_at,
    }
    in_part: dict[Became, str] = {
        one: named_of(ids, counts[one]) for one, ids in outcomes.items() if len(ids) < counts[one]
    }
    if in_part:
        facts["ids_named"] = in_part
    origin = f"the deletion of {deleted_at} (copy_id={done.copy.copy_id})"
    seen = bool(number) and done.checked
    how = CHECKED if done.differs else f"{CHECKED}, word for word{'' if done.in_part else ALL_OF_IT}"
    if seen:
        facts["checked"], facts["interactions"] = how, done.interactions
    checked = f", checked {how}" if seen else ""
    text = [
        f"Restored {_held(number, back, done.interactions)} from {origin}{checked}."
        if number or back
        else f"Nothing was restored from {origin}."
    ]
    lines = [listed(kind.replace("_", " "), ids, counts[kind]) for kind, ids in outcomes.items()]
    if learned:
        facts["learnings_restored"] = back
        facts["learnings"] = {kind: _named(kind, ids) for kind, ids in learned.items()}
        lines += [
            listed(f"learnings {kind.replace('_', ' ')}", ids, len(learned[kind]))
            for kind, ids in facts["learnings"].items()
        ]
    if done.new_ids:
        facts["new_ids"] = {
            shown_id(old): shown_id(new) for old, new in list(done.new_ids.items())[:COPIES_SHOWN]
        }
        lines.append("new ids: " + ", ".join(f"{old} is {new}" for old, new in facts["new_ids"].items()))
    if done.differs:
        facts["differs"] = named_ids(done.differs)
        lines.append(listed("read back otherwise than in the copy", facts["differs"], len(done.differs)))
    text.append(fence("\n".join(lines)))
    if number and not done.checked:
        facts["unchecked"] = UNCHECKED
        text.append(UNCHECKED)
    if done.turns_lost:
        facts["interactions_lost"] = done.turns_lost
        text.append(
            f"{counted(done.turns_lost, 'interaction')} held nothing but an image and could not be restored."
        )
    lost: list[str] = []
    if 0 < done.in_part < number:
        lost.append(f"{done.in_part:,} of them came back in part.")
    if done.in_part:
        lost += [LOST, NOT_GIVEN_OUT if learns else NOT_IN_COPY]
    if number and learns:
        lost += [NOT_TIED] if done.copy.learnings else [NO_LEARNINGS, NOT_TIED]
    if back:
        lost.append(LEARNINGS_BACK)
    if lost:
        facts["lost"] = " ".join(lost)
        text.append(facts["lost"])
    if number and learns and not evaluation_only:
        facts["learning"] = LEARNS
        text.append(LEARNS)
    # It outlives what it put back, with the stored text in it.
    facts["copy_kept_until"] = iso(done.copy.kept_until)
    facts["copy_goes_with"] = ERASED_WITH
    text.append(
        f"The recovery copy is kept until {facts['copy_kept_until']}; {ERASED_WITH} takes what it deletes out of it."
    )
    if done.failure is not None:
        facts["failure"] = explained(done.failure)
        text.append(f"It stopped: {facts['failure']}")
    if following := _following(done, counts, learned):
        facts["next"] = following
        text.append(following)
    return Rendered("\n".join(text), facts)


def _status(became: Set[str]) -> Status:
    """`complete` only where something was restored and nothing is missing."""
    if {"left", "id_taken", "not_restorable", "not_in_copy", "differs"} & became:
        return "incomplete" if "restored" in became or "left" in became else "nothing_restored"
    return "complete" if "restored" in became else "nothing_restored"


def _following(done: Restored, counts: Mapping[Became, int], learned: Mapping[Became, Sequence[str]]) -> str:
    steps: list[str] = []
    if "left" in counts or "left" in learned:
        when = f" in {round(done.waiting)} s" if done.waiting else ""
        why = "The service accepts no more just now. " if done.waiting else ""
        steps.append(f"{why}Call again{when} to go on; nothing is stored twice.")
    if "not_restorable" in counts:
        steps.append(f"What is not restorable {_why_not(done.refused)}; the others do not wait for it.")
    if "not_in_copy" in counts:
        steps.append(
            "What is not in this copy may be in another one: call restore_requests without arguments."
        )
    if {*counts, *learned} == {"already_there"}:
        tool = "get_request" if counts else "list_learnings"
        steps.append(f"All of it is already stored; look at it with {tool}.")
    if "id_taken" in counts or "id_taken" in learned:
        steps.append(
            "Taken ids were not restored: what is stored under them now differs from the copy, or cannot be read here, "
            "and was left alone."
        )
    return " ".join(steps)


def _why_not(refused: ReflexioError | None) -> str:
    """Why requests cannot be restored.

    Args:
        refused: what one of them was refused with.
    """
    if refused is None:
        return UNSTORABLE
    why = f"{refused.happened}: {refused.detail}" if refused.detail else refused.happened
    return f"was refused ({why}), or {UNSTORABLE}"
