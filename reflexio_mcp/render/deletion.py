"""Plans and receipts."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Final, cast

from reflexio_mcp.render import learning_deletion, turn_deletion, user_deletion
from reflexio_mcp.render.deletion_facts import (
    CHECKED,
    DeletionFacts,
    PlanFacts,
    ReceiptFacts,
    Status,
    earlier_copies,
)
from reflexio_mcp.render.gaps import gap_facts, gap_lines
from reflexio_mcp.render.learned import (
    FOLLOWED,
    LEARNED_GOES,
    LEARNED_STAYS,
    learned_facts,
    learned_lines,
    unread,
    what_became,
    what_goes,
    what_stays,
)
from reflexio_mcp.render.receipt_end import closed
from reflexio_mcp.render.result import (
    FIRST_IDS,
    IDS_CHARS,
    Facts,
    Rendered,
    compact_json,
    counted,
    dense,
    few_ids,
    joined,
    listed,
    named_ids,
    named_of,
    sentences,
    tabled,
)
from reflexio_mcp.render.stored_text import NOTICE, explained, fence, label, shown_id, shown_name, visible
from reflexio_mcp.rest.errors import NotAuthorized, RateLimited
from reflexio_mcp.traffic.deletion.execute import OUTCOMES, Outcome, Receipt
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.deletion.plan import WORDS_SHOWN, Plan, PlannedRequest
from reflexio_mcp.traffic.deletion.plan_codes import Changes
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.deletion.user_plan import UserPlan
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.listing import in_words as asked
from reflexio_mcp.traffic.times import iso

__all__ = ["finality", "plan_facts", "planned", "receipt", "survivors"]

NAMED: Final = 10
"""Users, sessions and sources a plan names one by one."""

COPIED: Final = "It holds what was learned from them too."


def _top(counts: list[tuple[str, int]]) -> Facts:
    named = {shown_name(name) or "(none)": count for name, count in counts[:NAMED]}
    return named | ({"(others)": sum(count for _, count in counts[NAMED:])} if len(counts) > NAMED else {})


def _example(item: PlannedRequest, masked: bool) -> Facts:
    return dense(
        {
            "request_id": shown_id(item.request_id),
            "created_at": None if item.unreadable else iso(item.created_at),
            "word_for_word_in_kept": shown_id(item.copy_of),
            "first_words": "" if masked else visible(item.first_words),
        }
    )


def finality(plan: Plan) -> str:
    """Whether a deletion can be undone, and for how long."""
    if plan.erase:
        copies = "What recovery copies of earlier deletions hold of it goes too." if plan.copies_until else ""
        return sentences("This cannot be undone.", copies)
    if not plan.recovery_days:
        return "This cannot be undone."
    copy = "A complete recovery copy" if plan.exact else "A recovery copy"
    kept = f"{copy} is kept on this machine for {counted(plan.recovery_days, 'day')}."
    return f"{kept} {COPIED}" if plan.learnings_to_go else kept


NO_COPY: Final = "No recovery copy is kept."
NONE_OF_BEFORE: Final = "No recovery copy is kept, and none of an earlier deletion is here."
NO_COPIES: Final = "This server keeps no recovery copies."
NO_NEW_COPIES: Final = "This server makes no recovery copies."
MORE_OF_IT: Final = ", and may hold some of it; erase=true takes it out of them"
PUT_BACK: Final = (
    "restore_requests puts it back, with a new time; images sent as base64 and citations would not come back, and "
    "no answer says whether there are any."
)
AS_IT_WAS: Final = ", time, images and citations included"
OF_ITS_OWN: Final = " as a request of its own in the same session"
"""As what single turns come back: nothing is added to a stored request."""


def _copied(plan: Plan) -> str:
    """Which copy a plan leaves, beyond what the first line of a form has room for."""
    if plan.erase:
        return NO_COPY if plan.copies_until else NONE_OF_BEFORE
    if not plan.recovery_days:
        if not plan.copies_until:
            return NO_COPIES
        return sentences(NO_NEW_COPIES, earlier_copies(plan.copies_until, MORE_OF_IT))
    if isinstance(plan, LearningPlan):
        return ""
    return f"restore_requests puts it back{_as_what(plan)}." if plan.exact else PUT_BACK


def _as_what(plan: Plan) -> str:
    """As what it comes back, where that is not plain."""
    of_turns = isinstance(plan, TurnPlan)
    if not plan.exact:
        return OF_ITS_OWN if of_turns else ""
    return (OF_ITS_OWN if of_turns else " as it was") + AS_IT_WAS


GIVEN_UP: Final = ("declined", "cancelled", "unanswered", "wrong_number")
"""How a deletion stands that somebody was asked about and that did not happen."""


def _not_undone(plan: Plan) -> str:
    """The same of what was not deleted, in brief."""
    if not plan.recovery_days:
        return "It could not have been undone."
    return f"A recovery copy would have been kept for {counted(plan.recovery_days, 'day')}."


def _missing(plan: Plan) -> Facts:
    named = named_ids(plan.not_found)
    return {
        "not_found": named,
        "not_found_of": shown_id(plan.ids_of) if named and plan.ids_of else None,
        "not_found_count": len(plan.not_found) if len(plan.not_found) > len(named) else None,
    }


def plan_facts(plan: Plan, *, masked: bool = False) -> Facts:
    """What a plan would take, as facts."""
    if isinstance(plan, LearningPlan):
        return learning_deletion.plan_facts(plan, masked=masked)
    if isinstance(plan, TurnPlan) and plan.turns:
        return turn_deletion.plan_facts(plan, masked=masked) | dense(_missing(plan))
    if not plan.size:
        what = shown_name(" ".join(plan.what.split()))
        return {"requests": 0, "what": what, **dense(_missing(plan)), **gap_facts(plan.gaps)}
    return dense(
        {
            "requests": len(plan.goes),
            "only_in_copies": len(plan.kept) or None,
            "learnings_only_in_copies": len(plan.kept_learnings) or None,
            "interactions": plan.interactions,
            "first": iso(plan.first) if plan.first is not None else None,
            "last": iso(plan.last) if plan.last not in (None, plan.first) else None,
            "cannot_be_shown": named_ids(plan.unreadable) if plan.unreadable else None,
            "cannot_be_shown_count": len(plan.unreadable) or None,
            "users": _top(plan.count_by("user_id")),
            "sessions": _top(plan.count_by("session_id")),
            "sources": _top(plan.count_by("source")),
            "filter": _filter_of(plan),
            "learned": learned_facts(plan.learned, masked=masked),
            "include_learnings": plan.include_learnings,
            "erase": plan.erase,
            "examples": [_example(item, masked) for item in plan.goes[:WORDS_SHOWN]],
            "all": _all_of(plan),
            **(user_deletion.plan_facts(plan) if isinstance(plan, UserPlan) else {}),
            **_missing(plan),
            **gap_facts(plan.gaps),
        }
    )


COUNTED: Final = ("users", "sessions", "sources")


def _of_one(facts: Facts, key: str) -> bool:
    return list(facts.get(key, {}).values()) == [facts["requests"]]


def plan_lines(facts: Facts) -> list[str]:
    """The same facts as lines; those with stored words belong inside a fence."""
    if "learnings" in facts:
        return learning_deletion.plan_lines(facts)
    if "requests" not in facts:
        return turn_deletion.plan_lines(facts)
    first, last = facts.get("first", "at a time that is not known"), facts.get("last")
    span = f"{first} to {last}" if last else first
    # The only user, session or source needs no line and no count of its own.
    alone = [f"{key[:-1]} {next(iter(facts[key]))}" for key in COUNTED if _of_one(facts, key)]
    size = f"{counted(facts['requests'], 'request')}, {counted(facts['interactions'], 'interaction')}, {span}"
    lines = [joined((size, *alone))]
    if "only_in_copies" in facts:
        lines.append(f"only in recovery copies: {facts['only_in_copies']:,}; they go from there")
    if "learnings_only_in_copies" in facts:
        lines.append(
            f"learnings only in recovery copies: {facts['learnings_only_in_copies']:,}; they go from there"
        )
    lines += [
        f"{key}: " + ", ".join(f"{name} ({count:,})" for name, count in facts[key].items())
        for key in COUNTED
        if key in facts and not _of_one(facts, key)
    ]
    if "filter" in facts:
        lines.append(f"filter: {facts['filter']}")
    if "cannot_be_shown" in facts:
        lines.append(listed("cannot be shown", facts["cannot_be_shown"], facts["cannot_be_shown_count"]))
    for example in facts.get("examples", []):
        words = f"“{example['first_words']}”" if "first_words" in example else ""
        repeats = (
            f"word for word in {example['word_for_word_in_kept']}, which stays"
            if "word_for_word_in_kept" in example
            else ""
        )
        lines.append(" " + joined((example["request_id"], example.get("created_at", ""), repeats, words)))
    if (shown := len(facts.get("examples", ()))) < facts["requests"]:
        them = f"; all: {facts['all']}" if "all" in facts else ""
        lines.append(f" (first {shown} of {facts['requests']:,}{them})")
    if "session_outcomes" in facts:
        lines.append(f"session outcomes: {facts['session_outcomes']:,}")
    return lines + learned_lines(
        facts.get("learned", {}), LEARNED_GOES if facts.get("include_learnings") else LEARNED_STAYS
    )


def _filter_of(plan: Plan) -> str:
    """The filter, where neither the call that lists the set shows it nor the only user, session and source do."""
    wanted = plan.wanted
    if wanted is None or wanted == TrafficFilter(wanted.user_id, wanted.session_id, wanted.source):
        return ""
    return "" if _all_of(plan) else asked(wanted)


def _all_of(plan: Plan) -> str:
    """The call that lists the whole set, where the examples do not show it and a filter selects it."""
    if plan.wanted is None or plan.kept or len(plan.goes) <= WORDS_SHOWN:
        return ""
    arguments: dict[str, str] = {}
    for one in fields(plan.wanted):
        value = getattr(plan.wanted, one.name)
        if one.name in ("start", "end") and value is not None:
            arguments[f"{one.name}_time"] = iso(value)
        elif value and isinstance(value, str) and not (one.name == "user_id" and plan.user_is_fixed):
            arguments[one.name] = shown_id(value)
    return f"list_requests {compact_json(arguments)}"


UNSHOWN: Final = (
    "Reflexio fails to return {requests}. What they hold, whose they are and what was learned from them is not known, "
    "and no recovery copy can hold them."
)


def survivors(plan: Plan) -> str:
    """What would be left of the set, and what is not known of it."""
    if isinstance(plan, LearningPlan):
        return learning_deletion.what_lives(plan)
    if isinstance(plan, UserPlan):
        return user_deletion.what_goes(plan)
    if isinstance(plan, TurnPlan):
        return f"{turn_deletion.what_the_request_keeps(plan)} {_known_survivors(plan)}"
    unshown = len(plan.unreadable)
    known = _known_survivors(plan) if unshown < len(plan.goes) else ""
    sentence = UNSHOWN.format(requests=f"{unshown:,} of these requests") if unshown else ""
    return sentences(known, sentence, _of_others(plan, "afterwards"))


WHOLE: Final = "delete_session takes a whole conversation."


NOT_SHARED: Final = (
    "What other users stored stays, also where it speaks of this user. Nobody else has a request in these "
    "sessions."
)


def _stays_of_others(shared: Mapping[str, int] | None) -> str:
    """What other users keep; `shared` is how many requests in which sessions, where that is known."""
    if shared is not None and not shared:
        return NOT_SHARED
    each = [f"{counted(count, 'request')} in {label(session)}" for session, count in (shared or {}).items()]
    named = f" (theirs: {', '.join(each)})" if each else ""
    return f"What other users stored stays, in shared sessions too{named}, and also where it speaks of this user."


def _of_others(plan: Plan, when: str) -> str:
    """What stays beside the set: requests without the words of the filter, or those of other users.

    Args:
        when: a search for a user's name shows others' words alone once the user's own requests are gone.
    """
    if plan.not_matching:
        count = counted(plan.not_matching, "other request")
        stay = "does not match and stays" if plan.not_matching == 1 else "do not match and stay"
        return f"{count} of the same sessions {stay}; {WHOLE}"
    if plan.wanted is None or not plan.wanted.user_id:
        return ""
    if plan.wanted.session_id:
        return _of_others_in_session(None if plan.of_others is None else sum(plan.of_others.values()))
    if not plan.wanted.narrows:
        look = f"Look for that {when}: list_requests contains=NAME."
        return sentences(_stays_of_others(plan.of_others), "" if plan.user_is_fixed else look)
    return ""


def _of_others_in_session(count: int | None) -> str:
    if count is None:
        return "What other users may have in this session stays."
    if not count:
        return "Nobody else has a request in this session."
    return f"{counted(count, 'request')} of other users in this session {'stays' if count == 1 else 'stay'}."


def _known_survivors(plan: Plan) -> str:
    if plan.include_learnings:
        return what_goes(plan.learned)
    return what_stays(plan.learned, hint="include_learnings=true removes them too")


def planned(
    plan: Plan,
    *,
    lead: str,
    status: Status = "planned",
    code: str = "",
    following: str = "",
    changes: Changes | None = None,
    masked: bool = False,
) -> Rendered:
    """A plan that was not carried out.

    Args:
        lead: first sentence: that nothing was deleted, and why.
        status: the same in one word.
        code: what a second call brings as `confirm`.
        following: last sentence: what to do.
        changes: what is different from the set that an earlier code was for.
        masked: leave stored words out.
    """
    facts = plan_facts(plan, masked=masked)
    structured: DeletionFacts = {
        "notice": NOTICE,
        "status": status,
        "deleted": 0,
        "plan": cast("PlanFacts", tabled(facts, "examples")),
    }
    if status not in ("planned", "scheduled", "not_found") or plan.deleted_before:
        # The status alone does not say enough then: which number was typed, what the code was for.
        structured["why"] = lead
    body = plan_lines(facts) if plan.size else [shown_name(" ".join(plan.what.split()))]
    if "not_found" in facts:
        count = facts.get("not_found_count", len(facts["not_found"]))
        whose = f" among those of user {facts['not_found_of']}" if "not_found_of" in facts else ""
        body.append(listed(f"not found{whose}", facts["not_found"], count))
    text = [lead]
    if changes is not None and changes.code is not None:
        changed = _change_facts(changes, plan)
        structured["changed"] = changed
        text.append(_change_words(changed, plan.noun))
    if body:
        text.append(fence("\n".join(body)))
    if plan.size:
        undo = _not_undone(plan) if status in GIVEN_UP else sentences(finality(plan), _copied(plan))
        survives = survivors(plan)
        structured["survives"], structured["undo"] = survives, undo
        text += [survives, undo]
    elif isinstance(plan, LearningPlan) and (said := unread(plan.chosen)):
        text.append(said)
    text += gap_lines(plan.gaps)
    if code:
        structured["confirm"] = code
    # The code stands beside it already.
    structured["next"] = following.removesuffix(f"={code}") if code else following
    return Rendered("\n".join([*text, following]), structured)


def _change_facts(changes: Changes, plan: Plan) -> Facts:
    assert changes.code is not None
    facts: Facts = {"code_of": iso(changes.code.made_at), "code_for": changes.code.count}
    if changes.known:
        # Of another set, the numbers say all.
        most = 0 if changes.added and changes.of_another_set else FIRST_IDS
        return facts | {
            "added_count": len(changes.added),
            "removed_count": len(changes.removed),
            "added": named_ids(changes.added, most=most),
            "removed": named_ids(changes.removed, most=most),
        }
    # The earlier set is not known here: count what can have come since.
    since = sum(at > changes.code.made_at for at in plan.arrivals)
    return facts | {f"now_{plan.noun}s": plan.size, "arrived_since": since}


def _change_words(facts: Facts, noun: str) -> str:
    # It does not say of what: one of a turn may come with a call that deletes a request.
    head = f"The code is of {facts['code_of']} and for a set of {facts['code_for']:,}."
    if "added_count" not in facts:
        now = counted(facts[f"now_{noun}s"], noun)
        since = f", {facts['arrived_since']:,} of it arrived since" if facts["arrived_since"] else ""
        return f"{head} Now it is {now}{since}; what else differs is not known here."
    lines = [
        listed(name, facts[name], facts[f"{name}_count"]) for name in ("added", "removed") if facts[name]
    ]
    return f"{head}\n{fence(chr(10).join(lines))}" if lines else head


def receipt_facts(done: Receipt) -> ReceiptFacts:
    """A receipt as facts: what became of each id, counted, and named as far as there is room."""
    counts: dict[Outcome, int] = {outcome: done.count(outcome) for outcome in OUTCOMES if done.count(outcome)}
    room = min(IDS_CHARS, 2 * IDS_CHARS // max(1, len(counts)))
    outcomes: dict[Outcome, list[str]] = {
        outcome: few_ids(done.ids(outcome), room)
        if outcome in ("deleted", "erased_from_copies")
        else named_ids(done.ids(outcome), room)
        for outcome in counts
    }
    facts: ReceiptFacts = dense(
        {
            "status": "complete" if done.complete else "incomplete",
            "deleted": done.count("deleted"),
            "counts": counts,
            "outcomes": outcomes,
            "ids_named": {one: told for one, ids in outcomes.items() if (told := named_of(ids, counts[one]))},
            "checked": CHECKED if done.plan.requests and not done.count("unknown") else "",
            "deleted_by_others": done.by_others or None,
            "may_still_go": done.may_still_go or None,
            "interactions_left": done.interactions_left if isinstance(done.plan, TurnPlan) else None,
            "learned_deleted": learned_facts(done.learned_gone, shown=0) if done.learned_gone.count else None,
            "learned_left": learned_facts(done.learned_left, shown=0),
            "learnings_still_there": _still_there(done, room),
            "still_learning": len(done.still_learning) or None,
            "follow_up": done.follow_up or None,
            "session_outcomes_left": done.cleared.outcomes_left if done.cleared else None,
            "arrived": done.cleared.arrived if done.cleared else None,
            "copy_id": done.copy_id,
            "copy_kept_until": iso(done.kept_until) if done.copy_id else None,
            "not_copied": done.not_copied or None,
            "learnings_erased_from_copies": done.learned_erased or None,
            "copies_changed": done.forgotten or None,
            "problems": list(done.problems),
            **gap_facts(done.plan.gaps),
        }
    )
    facts["counts"], facts["outcomes"] = counts, outcomes  # also where nothing was there
    if done.failure is not None:
        # What took effect was read again; only where that failed is there nothing else to say.
        facts["failure"] = explained(done.failure, "write" if done.count("unknown") else "read")
    return facts


def _still_there(done: Receipt, room: int) -> list[str]:
    """The learnings that were to go and did not."""
    if not done.plan.include_learnings or done.learned_left is None:
        return []
    return named_ids(list(done.learned_left.fed), room)


def receipt(done: Receipt) -> Rendered:
    """What a deletion did."""
    if isinstance(done.plan, LearningPlan):
        return learning_deletion.receipt(done)
    facts = receipt_facts(done)
    counts = facts["counts"]
    lines = [
        listed(outcome.replace("_", " "), named, counts[outcome])
        for outcome, named in facts["outcomes"].items()
    ]
    if "learnings_still_there" in facts and done.learned_left:
        lines.append(listed("learnings still there", facts["learnings_still_there"], done.learned_left.count))
    text = [_head(done), fence("\n".join(lines))]
    if done.by_others:
        text.append(
            f"The service counts {done.by_others:,} of them as gone before: somebody else had deleted them, or its "
            "count is wrong. It does not say which."
        )
    return closed(
        done,
        text,
        {"notice": NOTICE, **facts},
        survives=_survives(done),
        as_what=_as_what(done.plan),
        took=bool(done.count("deleted", "erased_from_copies")) or isinstance(done.plan, UserPlan),
        failure=facts.get("failure", ""),
        following=_next(done),
    )


def _head(done: Receipt) -> str:
    number, unknown, erased = (done.count(one) for one in ("deleted", "unknown", "erased_from_copies"))
    if isinstance(done.plan, UserPlan) and not done.plan.goes:
        return "No request of this user was stored."
    if not done.plan.requests:
        return (
            f"Erased {counted(erased, 'request')} of {len(done.plan.kept):,} that only recovery copies held."
        )
    noun = "request" if isinstance(done.plan, UserPlan) else done.plan.noun
    head = f"Deleted {number:,} of {counted(done.plan.stored, noun)}"
    if unknown:  # one reading tells of all
        head = f"Whether any of {counted(unknown, noun)} was deleted is not known: reading again failed."
    else:
        head += f", checked {CHECKED}."
    if erased:
        head += f" {erased:,} that only recovery copies held are erased from them."
    return head


def _next(done: Receipt) -> str:
    """What to do about what is left, by why it is left."""
    if following := user_deletion.next_step(done):
        return following
    steps: list[str] = []
    if done.count("changed"):
        steps.append(
            "What is stored now under the changed ids is not what was agreed to and was left alone: look at it, "
            "and delete it only if it shall go too."
        )
    if done.may_still_go:
        steps.append(
            f"{counted(done.may_still_go, done.plan.noun)} could still be read, but the deletion may still take "
            "effect: look at what is stored first."
        )
    if isinstance(done.failure, NotAuthorized):
        steps.append("A repeat changes nothing until the operator sets a key that may delete them.")
    elif isinstance(done.failure, RateLimited):
        wait = max(1, round(done.failure.retry_after or 60))
        steps.append(f"Call the same deletion again in {wait} s to finish; what is gone stays gone.")
    elif done.may_still_go:
        steps.append("Call the same deletion again if they are still there.")
    elif done.count("unknown"):
        steps.append("Look at what is stored, then call the same deletion again; what is gone stays gone.")
    elif done.follow_up and done.count("deleted") == done.plan.stored:
        steps.append(FOLLOWED)
    elif done.plan.include_learnings and done.count("deleted") == done.plan.stored:
        steps.append(
            f"The {done.plan.noun}s are gone. Look with list_learnings and their user_id for what is left of what was "
            "learned from them, and take it back with delete_learnings."
        )
    elif done.failure is not None or done.count("still_present") or not steps:
        steps.append("Call the same deletion again to finish; what is gone stays gone.")
    return " ".join(steps)


def _survives(done: Receipt) -> str:
    if isinstance(done.plan, UserPlan):
        return user_deletion.what_was_cleared(done)
    known = _known_survival(done)
    if isinstance(done.plan, TurnPlan):
        return sentences(turn_deletion.what_is_left(done), known)
    unshown = len(done.plan.unreadable)
    told = [known] if unshown < len(done.plan.goes) else []
    if unshown:
        requests = counted(unshown, "request")
        told.append(f"What was learned from {requests} that Reflexio failed to return is not known.")
    return sentences(*told, _of_others(done.plan, "now"))


def _known_survival(done: Receipt) -> str:
    if done.plan.include_learnings:
        gone = done.learned_gone
        if isinstance(done.plan, TurnPlan):
            gone = done.plan.elsewhere(gone)
        return what_became(gone, done.learned_left, done.plan.learned, done.still_learning, done.follow_up)
    return what_stays(done.learned_left)
