"""Texts of plans, receipts, restores and past deletions, and of the question to a person."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from reflexio_mcp.render.blocks import (
    Told,
    counted,
    hanging,
    html_page,
    lines,
    moment,
    named,
    quoted,
    row,
    sentence,
)
from reflexio_mcp.render.reading import shared_rule
from reflexio_mcp.render.words import ANYBODY, Words, named_in_fence
from reflexio_mcp.results.deletion import (
    Change,
    Counts,
    Decision,
    Deletion,
    Earlier,
    Example,
    Excepted,
    Logged,
    Part,
    PastDeletion,
    Plan,
    PlanStatus,
    Receipt,
    Restored,
    SharedRuleRow,
    TaughtLearning,
    Who,
)
from reflexio_mcp.results.facts import FactCode

__all__ = ["counts", "deletion_text", "learning_line", "question", "receipt_page", "restore_text"]

QUESTION_NAMES: Final = 5
QUESTION_EXAMPLES: Final = 3
QUESTION_NAME_CHARS: Final = 60
QUESTION_LEARNING_CHARS: Final = 80
QUESTION_TEXT_CHARS: Final = 500
"""Limit of the old and the new text of a correction: some clients show three lines."""


def counts(size: Counts) -> str:
    """Return `3 requests with 7 interactions, 1 learning`."""
    requests = counted(size.requests, "request") if size.requests else ""
    interactions = counted(size.interactions, "interaction") if size.interactions else ""
    parts = [
        f"{requests} with {interactions}" if requests and interactions else requests or interactions,
        counted(size.learnings, "learning") if size.learnings else "",
        counted(size.session_outcomes, "session outcome") if size.session_outcomes else "",
        counted(size.shared_rules, "shared rule") if size.shared_rules else "",
        f"{counted(size.only_in_copies, 'item')} only in recovery copies" if size.only_in_copies else "",
    ]
    return ", ".join(filter(None, parts)) or "nothing"


def deletion_text(answer: Deletion, words: Words) -> Told:
    if answer.receipt:
        return receipt_text(answer.receipt, words)
    assert answer.plan
    assert answer.status not in ("complete", "incomplete")
    return plan_text(answer.plan, answer.status, words)


def plan_text(plan: Plan, status: PlanStatus, words: Words) -> Told:
    selects = plan.selected != Counts()
    missing = f"not found: {named(plan.not_found, plan.not_found_count)}" if plan.not_found else ""
    selects_traffic = plan.selected.requests > 0 or plan.selected.interactions > 0
    shows_learnings = bool(plan.learnings) and not selects_traffic
    examples = [] if plan.change or plan.decision or shows_learnings else plan.examples
    shown = len(examples)
    total = plan.selected.requests or plan.selected.interactions or plan.selected.learnings
    body = lines(
        plan.target,
        f"{counts(plan.selected)}, {_span(plan)}" if selects else "",
        _parts("users", plan.users),
        _parts("sessions", plan.sessions),
        map(_example, examples),
        f"(the first {shown:,} of {total:,})" if total > shown > 0 else "",
        [learning_line(learning, words, gone="goes") for learning in plan.learnings],
        map(_earlier, plan.earlier),
        map(shared_rule, plan.shared_rules),
        _change(plan.change),
        missing,
        named_in_fence(plan.facts),
    )
    scheduled = f"This is deletion {plan.number}." if plan.number else ""
    # With a code, the next step is to call again with it, even if the person declined the form.
    next_step = words.next_steps["planned" if plan.confirm else status]
    then = lines(words.say(plan.facts), words.undo(plan.way_back), scheduled, next_step)
    return Told(words.status(status, corrects=plan.corrects), body, then, plan.confirm)


def receipt_text(receipt: Receipt, words: Words) -> Told:
    return Told(
        f"{_what_was_done(receipt)}; {_checked(receipt.not_deleted)}",
        [
            f"reason: {receipt.reason}" if receipt.reason else "",
            _change(receipt.change),
            *_excepted(receipt.not_deleted, words),
            *[learning_line(learning, words, gone="deleted") for learning in receipt.learnings],
            *map(_earlier, receipt.earlier),
            *map(shared_rule, receipt.shared_rules),
            *named_in_fence(receipt.facts),
        ],
        lines(
            words.say(receipt.facts),
            words.undo(receipt.way_back, receipt.number),
        ),
    )


def _what_was_done(receipt: Receipt) -> str:
    """Return the beginning of a receipt: what was done and, if that is not all, what was planned."""
    on_record = f"on record as deletion {receipt.number}"
    planned = f", of {counts(receipt.planned)} planned"
    if receipt.change:
        has = "does not have"
        if receipt.corrected:
            has = "has"
        elif _any_unknown(receipt.not_deleted):
            has = "may have"
        return f"Correction, {on_record}: the learning {has} the new text"
    if receipt.decision in DECIDED:
        decided_all = receipt.corrected == receipt.planned.shared_rules
        return f"Decision, {on_record}: {_decided(receipt)}{'' if decided_all else planned}"
    deleted = "known to be deleted" if _any_unknown(receipt.not_deleted) else "deleted"
    deleted_all = receipt.deleted == receipt.planned
    return f"Deletion {receipt.number}: {counts(receipt.deleted)} {deleted}{'' if deleted_all else planned}"


def restore_text(answer: Restored, words: Words) -> Told:
    then = words.say(answer.facts)
    if answer.status == "listed":
        if not answer.deletions:
            return Told("No deletion has a recovery copy.", then=then)
        return Told("", past(answer.deletions, words), then)
    if answer.planned:
        return Told(
            f"Nothing is restored yet. From the copy of deletion {answer.number}: {counts(answer.planned)}. "
            "Items that are still stored stay as they are, except corrected learnings.",
            [*map(_example, answer.examples), *_excepted(answer.not_restored, words)],
            then,
            answer.confirm,
        )
    return Told(
        f"{counts(answer.restored or Counts())} restored from the copy of deletion {answer.number}; "
        + _checked(answer.not_restored),
        [*_excepted(answer.not_restored, words), *named_in_fence(answer.facts)],
        then,
    )


def _any_unknown(excepted: Iterable[Excepted]) -> bool:
    return any(exception.why == "unknown" for exception in excepted)


def _checked(excepted: Iterable[Excepted]) -> str:
    return "not everything could be read again." if _any_unknown(excepted) else "checked by reading again."


UNDONE: Final = {
    "restored": "This deletion was undone: all of its recovery copy is stored again.",
    "partly_restored": "Part of this deletion was undone: some of its recovery copy is stored again.",
}
"""What a receipt says first if it is handed out after a restore, by the status of its deletion."""


def receipt_page(found: PastDeletion, receipt: Receipt) -> str:
    sections = {
        "What is true now": [UNDONE.get(found.status, "")],
        "What was deleted": [
            quoted(found.target),
            _done_in_short(receipt),
            *_excepted(receipt.not_deleted, ANYBODY, quoted),
        ],
        "When": [moment(found.at), _outcome(found, ANYBODY)],
        "Why": [quoted(receipt.reason) if receipt.reason else ""],
        "What remains": [
            # The file is the operator's business, not that of the person who gets the receipt.
            *(ANYBODY.of(fact) for fact in receipt.facts if fact.code is not FactCode.HOLD_FILE),
            f"Kept for an undo: {_copy(found)}.",
        ],
        "How it was checked": [
            "After the deletion, the store was checked again, except for what is marked “not known”.",
            f"Value of the audit log: {receipt.log}",
            _damaged(found),
        ],
    }
    return html_page(f"Receipt of deletion {found.number}", sections)


BY_OPERATOR: Final = "deleted by an operator"
DAMAGED: Final = (
    "its record was changed in the state, or this server lacks its key; what cannot be opened is left out"
)


def past(deletions: Sequence[PastDeletion], words: Words) -> list[str]:
    """Return a line for each deletion, for a fence."""
    return [_past(deletion, words) for deletion in deletions]


def _past(deletion: PastDeletion, words: Words) -> str:
    if deletion.restores:
        return row(
            f"restore {deletion.number}",
            moment(deletion.at),
            deletion.target,
            _outcome(deletion, words),
            _damaged(deletion),
            _by(deletion.by),
        )
    return row(
        f"deletion {deletion.number}",
        moment(deletion.at),
        BY_OPERATOR if deletion.by_operator else deletion.target,
        _outcome(deletion, words),
        _done_in_short(deletion.receipt) if deletion.receipt else "",
        words.may_return(deletion.may_return),
        _copy(deletion),
        _damaged(deletion),
        _by(deletion.by),
    )


def _damaged(deletion: PastDeletion) -> str:
    return DAMAGED if deletion.damaged else ""


CONSENT: Final = {"ask": "a person agreed", "preview": "agreed with a plan's code", "off": "nobody was asked"}


def _by(who: Who | None) -> str:
    if who is None:
        return ""
    reason = f"reason: {who.reason}" if who.reason else ""
    return row(_named_by(who.person, who.caller, who.client), CONSENT.get(who.consent, who.consent), reason)


def _named_by(person: str, caller: str, client: str) -> str:
    by = ", ".join(filter(None, [person, caller, client]))
    return f"by {by}" if by else ""


WORDS_OF_EVENTS: Final = {
    "exported": "exported",
    "imported": "imported",
    "held": "kept by a hold",
    "refused": "a person was asked",  # the entry's `why` follows: how they did not agree
}


def logged(entries: Sequence[Logged]) -> list[str]:
    """Return a line for each export, import, refusal and hold that kept something, for a fence."""
    return [
        row(
            WORDS_OF_EVENTS[entry.event],
            entry.why.replace("_", " "),
            moment(entry.at),
            entry.tool,
            entry.target,
            _named_by(entry.person, entry.caller, entry.client),
            *entry.held,
            *(f"{name}: {count:,}" for name, count in entry.counts.items()),
        )
        for entry in entries
    ]


def _outcome(deletion: PastDeletion, words: Words) -> str:
    restore = bool(deletion.restores)
    return words.became(deletion.status, number=deletion.gone, asked=deletion.asked, restore=restore)


def _copy(deletion: PastDeletion) -> str:
    if deletion.copied and deletion.until:
        return f"recovery copy of {counts(deletion.copied)} at least until {moment(deletion.until)}"
    return "no recovery copy"


DECIDED: Final[Mapping[Decision | None, str]] = {"approve": "approved", "reject": "rejected"}
"""Decisions that keep a shared rule. One that deletes it reads like any other deletion."""


def _decided(receipt: Receipt) -> str:
    """Return `2 shared rules approved`."""
    return f"{counted(receipt.corrected, 'shared rule')} {DECIDED[receipt.decision]}"


def _done_in_short(receipt: Receipt) -> str:
    """Return `3 requests with 7 interactions deleted`, `a correction` or `2 shared rules approved`."""
    if receipt.decision in DECIDED:
        return _decided(receipt)
    return "a correction" if receipt.corrected else f"{counts(receipt.deleted)} deleted"


def question(plan: Plan, noun: str, number: int | None, fingerprint: str) -> str:
    """Make the question from the plan alone, so that the same set always gives the same question.

    Args:
        noun: what is counted.
        number: the number to type; `None` if a yes is enough.
        fingerprint: distinguishes this selection from others.
    """
    number_of_users = sum(user.names for user in plan.users)  # the last row may stand for all others
    users = f" of {number_of_users:,} USERS" if number_of_users else ""
    if number_of_users == 1:
        users = f" of user {quoted(plan.users[0].name, QUESTION_NAME_CHARS)}"
    first_words = [quoted(example.first_words, 80) for example in plan.examples if example.first_words]
    shown_words = ", ".join(first_words[:QUESTION_EXAMPLES])
    undo = ANYBODY.undo(plan.way_back)
    remains = sentence(*map(ANYBODY.of, plan.facts))
    if plan.decision:
        return lines(
            f"{plan.decision.capitalize()} {counts(plan.selected)}, served to everybody? {undo}",
            "" if number is None else f"To do this, type the number of {noun}s: {number}",
            *map(_rule_in_question, plan.shared_rules),
            remains,
            f"Fingerprint of this decision: {fingerprint}",
        )
    if change := plan.change:
        return lines(
            f"Change what was learned{users}? {undo}",
            "" if number is None else f"To change it, type the number of {noun}s: {number}",
            f"Now (stored text): {quoted(change.before, QUESTION_TEXT_CHARS)}",
            f"New: {quoted(change.after, QUESTION_TEXT_CHARS)}",
            remains,
            f"Fingerprint of this change: {fingerprint}",
        )
    asked = f"Delete {counts(plan.selected)}{users}"
    if plan.selected == Counts():  # nothing that can be seen
        asked = "Finish an interrupted deletion" if plan.earlier else f"Delete what may be left{users}"
    return lines(
        f"{asked}? {undo}",
        "" if number is None else f"To delete, type the number of {noun}s: {number}",
        f"{quoted(plan.target, QUESTION_NAME_CHARS)}, {_span(plan)}",
        f"Users: {_parts_in_question(plan.users)}" if len(plan.users) > 1 else "",
        f"Sessions: {_parts_in_question(plan.sessions)}" if plan.sessions else "",
        f"First words (stored text): {shown_words}" if shown_words else "",
        *map(_learning_in_question, plan.learnings),
        *(
            f"Current again: {quoted(earlier.content or earlier.learning_id, QUESTION_LEARNING_CHARS)}"
            for earlier in plan.earlier
        ),
        *map(_rule_in_question, plan.shared_rules),
        remains,
        f"Fingerprint of this selection: {fingerprint}",
    )


def _parts_in_question(parts: Sequence[Part]) -> str:
    more = sum(part.names for part in parts[QUESTION_NAMES:])
    return ", ".join(
        f"{quoted(part.name, QUESTION_NAME_CHARS)} ({part.count:,})" for part in parts[:QUESTION_NAMES]
    ) + (f" and {more:,} more" if more else "")


def _parts(name: str, parts: Sequence[Part]) -> str:
    return f"{name}: " + ", ".join(f"{part.name} ({part.count:,})" for part in parts) if parts else ""


def _example(example: Example) -> str:
    return "  " + row(
        example.id,
        example.user_id,
        moment(example.created_at),
        f"“{example.first_words}”" if example.first_words else "",
    )


def learning_line(learning: TaughtLearning, words: Words, *, gone: str) -> str:
    """Return `goes, said only here · profile:1 · “Likes tea”`.

    Args:
        gone: the word for a learning that goes.
    """
    back = "; ".join(
        f"current again: {earlier.learning_id} “{earlier.content}”" for earlier in learning.earlier
    )
    why = f", {words.cases[learning.case]}" if learning.case else ""
    quoted_in = f"quoted in {', '.join(learning.quoted_in)}" if learning.quoted_in else ""
    state = gone if learning.goes else "stays"
    return "  " + hanging(
        row(
            f"{state}{why}",
            learning.learning_id,
            f"“{learning.content}”" if learning.content else "",
            back,
            quoted_in,
        )
    )


def _earlier(learning: Earlier) -> str:
    content = f" “{learning.content}”" if learning.content else ""
    return hanging(f"  current again: {learning.learning_id}{content}")


def _learning_in_question(learning: TaughtLearning) -> str:
    """Return a line of the question about a learning."""
    text = quoted(learning.content or learning.learning_id, QUESTION_LEARNING_CHARS)
    back = ", ".join(
        quoted(earlier.content or earlier.learning_id, QUESTION_LEARNING_CHARS)
        for earlier in learning.earlier
    )
    why = f" ({ANYBODY.cases[learning.case]})" if learning.case else ""
    again = f"; current again: {back}" if back else ""
    return f"{'Forget' if learning.goes else 'Keep'} what was learned{why}: {text}{again}"


def _rule_in_question(rule: SharedRuleRow) -> str:
    """Return a line of the question about a shared rule."""
    text = quoted(rule.content or rule.rule_id, QUESTION_LEARNING_CHARS)
    users = ", ".join(quoted(user, QUESTION_NAME_CHARS) for user in rule.users)
    more = f" and {rule.more_users:,} more" if rule.more_users else ""
    of = f" of {users}{more}" if users else ""
    rests = (
        f"rests on {counted(rule.playbooks, 'playbook')}{of}"
        if rule.traced
        else "what it rests on is not known"
    )
    return f"Shared rule ({rule.approval}, {rests}): {text}"


def _change(change: Change | None) -> str:
    if change is None:
        return ""
    return lines(
        hanging(f"before: {change.before}"),
        hanging(f"after:  {change.after}"),
        hanging(f"quotes: “{change.quote}”") if change.quote else "",
        f"known since {moment(change.known_since)}" if change.known_since else "",
    )


def _excepted(excepted: Iterable[Excepted], words: Words, shown: Callable[[str], str] = str) -> list[str]:
    """Return a line for each reason.

    Args:
        shown: how an id is written; outside a fence, in quotation marks.
    """
    return [
        f"{words.outcomes[exception.why]}: {exception.count:,} "
        f"({named([shown(id_) for id_ in exception.ids], exception.count)})"
        for exception in excepted
    ]


def _span(plan: Plan) -> str:
    if plan.first is None:
        return "at a time that is not known"
    return moment(plan.first) if plan.first == plan.last else f"{moment(plan.first)} to {moment(plan.last)}"
