"""What was learned from a set of requests, in the same words for plans, questions, receipts and lists."""

from collections.abc import Mapping, Set
from typing import Final

from reflexio_mcp.render.result import Facts, counted, dense, joined, sentences
from reflexio_mcp.render.stored_text import clip, label, shown_id, shown_name
from reflexio_mcp.traffic.learnings.find import FedLearning, Learned
from reflexio_mcp.traffic.learnings.records import ids_of
from reflexio_mcp.traffic.learnings.remove import TakenBack
from reflexio_mcp.traffic.learnings.settle import NOT_LOOKED_AT

__all__ = [
    "FOLLOWED",
    "LEARNED_GOES",
    "LEARNED_STAYS",
    "NOT_LOOKED_FOR",
    "REPLACED_STATES",
    "kinds_counted",
    "learned_facts",
    "learned_lines",
    "left_alone",
    "sources_that_stay",
    "still_learned",
    "unread",
    "what_became",
    "what_followed",
    "what_goes",
    "what_stays",
]

FROM_IT: Final = "learned from conversations this was part of"
"""A profile lists the turns of a whole window, also those that say nothing of it."""

ONLY_SOME: Final = (
    "To keep any of them, call without include_learnings=true, and delete the others with delete_learnings."
)

NONE: Final = "No profile or user playbook was learned from it."
NO_LEARNING: Final = "This store does not learn: nothing was learned from it."
NOT_KNOWN: Final = "Whether anything was learned from it is not known."
NOT_READ: Final = "What was learned from it is not known: it could not be read."
NOT_LOOKED_FOR: Final = (
    "Agent playbooks, made from many users' traffic, stay, and so do session outcomes and evaluations; profiles past "
    "their time to live are not listed and were not looked for."
)

REPLACED_STATES: Final = ("merged", "superseded")
"""States of a learning that is kept as it was before a merge, or before the person said otherwise."""

LEARNED_STAYS: Final = "learned, and stays"
LEARNED_GOES: Final = "learned, and goes too"

FOLLOWED: Final = "Nothing has to be called again: ask get_status later what the follow-up did."

SHOWN: Final = 5
"""Learnings that a plan or a receipt shows with their content."""

REQUESTS_NAMED: Final = 3
CONTENT_CHARS: Final = 120


def learned_facts(learned: Learned | None, *, shown: int = SHOWN, masked: bool = False) -> Facts:
    """What was learned, as facts: none on a store that does not learn; `None` stands for what could not be read.

    Args:
        shown: how many learnings are shown; with 0 they are only counted.
        masked: leave their content out.
    """
    if learned is None:
        return {"status": "not_known"}
    if not learned.learns:
        return {}
    others = learned.other_requests
    return {"status": learned.status} | dense(
        {
            "profiles": len(ids_of(learned.learnings, "profile")) or None,
            "user_playbooks": len(ids_of(learned.learnings, "user_playbook")) or None,
            "also_from_others": len(learned.shared) or None if shown else None,
            "other_requests": len(others) or None if shown else None,
            "unlinked": learned.unlinked or None,
            "users_not_read": learned.users_left_out or None,
            "shown": [_one(item, masked) for item in list(learned.fed.values())[:shown]],
        }
    )


def _one(item: FedLearning, masked: bool) -> Facts:
    from reflexio_mcp.traffic.rules.secrets import redact_opening  # its patterns take a while to compile

    learning = item.learning
    others = sorted(item.other_requests)
    return dense(
        {
            "learning_id": shown_id(learning.learning_id),
            "state": shown_name(learning.state),
            "content": ""
            if masked
            else clip(" ".join(redact_opening(learning.content).split()), CONTENT_CHARS),
            "also_from": [shown_id(one) for one in others[:REQUESTS_NAMED]],
            "also_said_in": [shown_id(one) for one in sorted(item.saying)[:REQUESTS_NAMED]],
            "also_said_in_count": len(item.saying) if len(item.saying) > REQUESTS_NAMED else None,
            "also_from_count": len(others) if len(others) > REQUESTS_NAMED else None,
            "known": item.how if item.how != "recorded" else None,
        }
    )


def learned_lines(facts: Facts, name: str = "learned") -> list[str]:
    """The learnings of `learned_facts` as lines under a name, which belong inside a fence."""
    lines: list[str] = []
    for one in facts.get("shown", []):
        content = f"“{one['content']}”" if "content" in one else ""
        also = f"source too: {', '.join(one['also_from'])}" if "also_from" in one else ""
        if "also_from_count" in one:
            also += f" … ({one['also_from_count']:,})"
        if "also_said_in" in one:
            also += f", said in {', '.join(one['also_said_in'])}"
        if "also_said_in_count" in one:
            also += f" … ({one['also_said_in_count']:,})"
        parts = (one["learning_id"], one["state"], content, also, one.get("known", ""))
        lines.append("  " + joined(parts))
    if not lines:
        return []
    more = facts.get("profiles", 0) + facts.get("user_playbooks", 0) - len(lines)
    return [f"{name}:", *lines, *([f"  … {more:,} more"] if more else [])]


def what_stays(learned: Learned | None, *, hint: str = "", short: bool = False) -> str:
    """What was learned from a set and stays when the set goes.

    Args:
        hint: how it goes too, as the rest of the sentence.
        short: leave out what was not looked for, as a question to a person does.
    """
    if learned is not None and learned.count:
        stays = _verb(learned, "stays", "stay")
        if any(one.quote for one in learned.learnings):
            stays += ", with what is quoted"
        told = f"{kinds_counted(learned)} {FROM_IT} {stays}{hint and f'; {hint}'}."
        return sentences(told, _others(learned), unread(learned), "" if short else NOT_LOOKED_FOR)
    return _nothing(learned, short)


def what_goes(learned: Learned | None, *, short: bool = False) -> str:
    """What was learned from a set and goes with it; `short` as for `what_stays`."""
    if learned is not None and learned.count:
        told = f"{kinds_counted(learned)} {FROM_IT} {_verb(learned, 'goes', 'go')} too."
        if learned.count > 1 and not short:
            told += f" {ONLY_SOME}"
        return sentences(told, _others(learned, again=True), unread(learned), "" if short else NOT_LOOKED_FOR)
    return _nothing(learned, short)


def what_became(
    gone: Learned,
    left: Learned | None,
    planned: Learned | None,
    still_learning: Mapping[str, str],
    follow_up: int = 0,
) -> str:
    """What became of learnings that were to go.

    Args:
        gone, left, still_learning: as `TakenBack` has them.
        planned: the same learnings as the plan had them.
        follow_up: the number of the job that goes on after it, or 0.
    """
    changed = left_alone(left)
    if left is None and planned is not None and planned.count:
        what = f"{kinds_counted(planned)} {FROM_IT} {_verb(planned, 'was', 'were')} deleted"
        told = [f"Whether {what} is not known: reading again failed.", NOT_LOOKED_FOR]
    elif left is None or not (gone.count or left.count or changed):
        told = [_nothing(left)]
    else:
        others = _others(gone, again=True) if gone.count else ""
        told = [_deleted(gone), others, _still_there(left), changed, unread(left), NOT_LOOKED_FOR]
    return sentences(*told, still_learned(still_learning, follow_up))


def _deleted(gone: Learned) -> str:
    if not gone.count:
        return ""
    return f"{kinds_counted(gone)} {FROM_IT} {_verb(gone, 'was', 'were')} deleted, checked by reading again."


def _still_there(left: Learned) -> str:
    return f"{kinds_counted(left)} {_verb(left, 'is', 'are')} still there." if left.count else ""


def left_alone(left: Learned | None) -> str:
    """That learnings have another text than the plan showed; empty where none has."""
    if left is None or not left.changed:
        return ""
    number = len(left.changed)
    have, were = ("has", "was") if number == 1 else ("have", "were")
    return f"{counted(number, 'learning')} {have} another text than the plan showed and {were} left alone."


def what_followed(taken: TakenBack) -> str:
    """What a follow-up found and deleted."""
    gone, left, busy = taken.gone, taken.left, still_learned(taken.still_learning)
    if left is None:
        return sentences(_deleted(gone), "Whether any are left could not be read.", busy)
    told = _deleted(gone)
    if not gone.count and left.status == "none":
        told = "Nothing more was learned from it, checked by reading again."
    elif not gone.count and left.status == "not_known":
        told = "Whether anything more was learned from it is not known."
    return sentences(told, _still_there(left), left_alone(left), unread(left), busy, NOT_LOOKED_FOR)


def still_learned(still_learning: Mapping[str, str], follow_up: int = 0) -> str:
    """That learning went on when the learnings were deleted, and what comes after; empty where it did not."""
    if not still_learning:
        return ""
    busy = [word for word in still_learning.values() if word != NOT_LOOKED_AT]
    told: list[str] = []
    if busy:
        words = ", ".join(sorted({label(one) for one in busy}))
        told.append(
            f"Reflexio is still learning from traffic of {counted(len(busy), 'user')} ({words}); what comes of it can "
            "repeat what was deleted."
        )
    if unlooked := len(still_learning) - len(busy):
        users = counted(unlooked, "user")
        told.append(
            f"Whether Reflexio is still learning from traffic of {users} was not looked at in time; if it is, what "
            "comes of it can repeat what was deleted."
        )
    if follow_up:
        told.append(
            "A follow-up waits for it in the background and deletes what these requests fed; get_status reports on it "
            f"as follow-up {follow_up}. It ends with this server."
        )
    return " ".join(told)


def _nothing(learned: Learned | None, short: bool = False) -> str:
    limits = "" if short else NOT_LOOKED_FOR
    if learned is None:
        return sentences(NOT_READ, limits)
    if not learned.learns:
        return "" if short else NO_LEARNING
    if learned.status == "none":
        return "" if short else sentences(NONE, limits)
    return sentences(NOT_KNOWN, unread(learned), limits)


def _others(learned: Learned, *, again: bool = False) -> str:
    """What else fed these learnings, as far as it is known."""
    told: list[str] = []
    if shared := len(learned.shared):
        told.append(
            sources_that_stay(
                shared,
                learned.other_requests,
                learned.saying,
                learned.silent,
                count=learned.count,
                kind="other",
                again=again,
            )
        )
    if not learned.others_known:
        told.append("Not all of their other sources were looked up.")
    return " ".join(told)


def sources_that_stay(
    number: int,
    requests: Set[str],
    saying: Set[str] | None,
    silent: Set[str],
    *,
    count: int = 0,
    kind: str = "stored",
    again: bool = True,
) -> str:
    """Which requests that stay some learnings name as sources, and whether they can be learned again from there.

    Args:
        number: of these learnings.
        requests: those requests, at least one.
        saying: those of them in which a passage stands that the learnings quote; `None` where that is not known.
        silent: those from which nothing is learned, which are stored for evaluation only.
        count: of all learnings that are spoken of, where there are others.
        kind: of request.
        again: say whether they can be learned again.
    """
    alone, it = len(requests) == 1, "it" if number == 1 else "they"
    which = counted(len(requests), f"{kind} request") + (", which stays," if alone else ", which stay,")
    learnings = f"{number:,} of them" if count > number else "it" if number == 1 else "them"
    told = f"Reflexio names {which} as {'a source' if alone else 'sources'} of {learnings}"
    taught = requests - silent
    if not again or not taught or (saying and not saying & taught):
        return f"{told}."
    if saying:
        where = "there" if saying == requests else f"in {len(saying):,} of those"
        if number == 1:
            return f"{told}; the words it quotes stand {where}, so it can be learned again."
        return f"{told}; words that they quote stand {where}, so what is said there can be learned again."
    that = "that one says the same" if alone else "one of those says the same"
    if taught != requests:
        that += " and is not for evaluation only"
    if saying is None:
        return f"{told}; if {that}, {it} can be learned again from there."
    quoted = "it quotes" if number == 1 else "they quote"
    return (
        f"{told}; the words {quoted} are not there, but if {that} in other words, {it} can be learned again."
    )


def unread(learned: Learned) -> str:
    """What makes it not known whether there is more; empty where nothing does."""
    told: list[str] = []
    if learned.users_left_out:
        told.append(f"The learnings of {counted(learned.users_left_out, 'more user')} were not read.")
    if learned.unlinked:
        does = "does not say what it was" if learned.unlinked == 1 else "do not say what they were"
        told.append(f"{counted(learned.unlinked, 'more learning')} there {does} learned from.")
    return " ".join(told)


def _verb(learned: Learned, one: str, many: str) -> str:
    return one if learned.count == 1 else many


def kinds_counted(learned: Learned) -> str:
    """How many learnings of each kind, in words."""
    numbers = (
        (len(ids_of(learned.learnings, "profile")), "profile"),
        (len(ids_of(learned.learnings, "user_playbook")), "user playbook"),
    )
    return " and ".join(counted(number, noun) for number, noun in numbers if number)
