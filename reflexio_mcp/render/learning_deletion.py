"""Plans and receipts of deletions that take learnings alone."""

from collections.abc import Set
from typing import Final

from reflexio_mcp.render.deletion_facts import CHECKED, DeletionFacts
from reflexio_mcp.render.gaps import gap_facts
from reflexio_mcp.render.learned import (
    FOLLOWED,
    NOT_LOOKED_FOR,
    REPLACED_STATES,
    kinds_counted,
    learned_facts,
    learned_lines,
    left_alone,
    sources_that_stay,
    still_learned,
)
from reflexio_mcp.render.receipt_end import closed, erased_from_copies
from reflexio_mcp.render.result import Facts, Rendered, counted, dense, listed, named_ids, sentences
from reflexio_mcp.render.stored_text import NOTICE, explained, fence, shown_id, shown_name
from reflexio_mcp.traffic.deletion.execute import Outcome, Receipt
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.times import iso

__all__ = ["feeding", "plan_facts", "plan_lines", "receipt", "what_lives"]

SOURCES: Final = "stored requests named as sources, which stay"
SAYING: Final = "of these with the words quoted"

LOOK_AGAIN: Final = "Look at what is there with list_learnings, then call again; what is gone stays gone."

NAMED: Final = 20
"""Ids that an answer names of each kind."""


def plan_facts(plan: LearningPlan, *, masked: bool) -> Facts:
    """What a plan would take, as facts."""
    living, asked = sorted(plan.living), plan.selection
    not_found = named_ids(plan.not_found, most=NAMED)
    return dense(
        {
            "learnings": plan.size,
            "only_in_copies": len(plan.kept_learnings) or None,
            "users": {shown_id(name): count for name, count in plan.count_by("user_id")[:NAMED]},
            "filter": shown_name(asked.describe()) if asked.by_requests or asked.words else "",
            "learned": learned_facts(plan.chosen, masked=masked),
            "living_sources": len(living) or None,
            "source_requests": named_ids(living, most=NAMED),
            "said_in": named_ids(sorted(plan.saying or ()), most=NAMED),
            "said_in_count": len(plan.saying or ()) or None,
            "not_found": not_found,
            "not_found_count": len(plan.not_found) if len(plan.not_found) > len(not_found) else None,
            **gap_facts(plan.gaps),
        }
    )


def plan_lines(facts: Facts) -> list[str]:
    """The same facts as lines, which belong inside a fence."""
    lines = [counted(facts.get("learnings", 0), "learning")]
    if "only_in_copies" in facts:
        lines.append(f"only in recovery copies: {facts['only_in_copies']:,}; they go from there")
    if "users" in facts:
        lines.append("users: " + ", ".join(f"{name} ({count:,})" for name, count in facts["users"].items()))
    if "filter" in facts:
        lines.append(f"filter: {facts['filter']}")
    lines += learned_lines(facts["learned"])
    if "source_requests" in facts:
        lines.append(listed(SOURCES, facts["source_requests"], facts["living_sources"]))
    if "said_in" in facts:
        lines.append(listed(SAYING, facts["said_in"], facts["said_in_count"]))
    return lines


def what_lives(plan: LearningPlan) -> str:
    """Whether the learnings can come back, and the call that prevents it."""
    fed = _what_feeds(plan, plan.chosen, plan.living, plan.saying, plan.silent)
    return f"{fed} {NOT_LOOKED_FOR}".lstrip()


def _what_feeds(
    plan: LearningPlan, learned: Learned, living: Set[str], saying: Set[str] | None, silent: Set[str]
) -> str:
    """Which stored requests learnings name as sources, and the call that takes them too.

    Args:
        living: the requests, as far as they were looked up.
        saying, silent: those of them, as `sources_that_stay` takes them.
    """
    told: list[str] = []
    if living:
        told.append(feeding(plan, learned, living, saying, silent))
        those = "of those with these words" if saying else "of those that say the same"
        both = plan.both or f"delete_requests with the ids {those} and include_learnings=true"
        if plan.both or (saying or living) - silent:
            told.append(f"To take the requests too: {both}.")
        own = frozenset[str]().union(*(one.request_ids for one in plan.by.values()))
        if plan.both and (others := len(living - own)):
            told.append(f"That leaves {counted(others, 'other request')} named as a source.")
    if not learned.others_known:
        told.append("Not all of their sources were looked up.")
    return " ".join(told)


def feeding(
    plan: LearningPlan, learned: Learned, living: Set[str], saying: Set[str] | None, silent: Set[str]
) -> str:
    """Which stored requests learnings name as sources."""
    # Where requests chose them, each has such a source.
    number = learned.count if plan.by else len(learned.shared)
    return sources_that_stay(number, living, saying, silent, count=learned.count)


def receipt(done: Receipt) -> Rendered:
    """What a deletion of learnings did."""
    assert isinstance(done.plan, LearningPlan)
    plan, gone, left = done.plan, done.learned_gone, done.learned_left
    counts: dict[Outcome, int] = {}
    if gone.count:
        counts["deleted"] = gone.count
    if left and left.count:
        counts["still_present"] = left.count
    living = sorted(gone.other_requests)
    changed = sorted(left.changed) if left else []
    if changed:
        counts["changed"] = len(changed)
    facts: DeletionFacts = dense(
        {
            "notice": NOTICE,
            "status": "complete" if done.complete else "incomplete",
            "deleted": gone.count,
            "counts": counts,
            "learned_deleted": learned_facts(gone, shown=0) if gone.count else None,
            "checked": CHECKED if left is not None and plan.stored else "",
            "deleted_ids": named_ids(list(gone.fed), most=NAMED),
            "learnings_still_there": named_ids(list(left.fed), most=NAMED) if left else [],
            "changed_ids": named_ids(changed, most=NAMED),
            "not_found": named_ids(plan.not_found, most=NAMED),
            "living_sources": len(living) or None,
            "source_requests": named_ids(living, most=NAMED),
            "still_learning": len(done.still_learning) or None,
            "follow_up": done.follow_up or None,
            "copy_id": done.copy_id,
            "copy_kept_until": iso(done.kept_until) if done.copy_id else None,
            "not_copied": done.not_copied or None,
            "learnings_erased_from_copies": done.learned_erased or None,
            "copies_changed": done.forgotten or None,
            "problems": list(done.problems),
            **gap_facts(plan.gaps),
        }
    )
    facts["counts"] = counts  # also where nothing was there
    lines = [
        listed(name, ids, number)
        for name, ids, number in (
            ("deleted", facts.get("deleted_ids"), gone.count),
            ("still there", facts.get("learnings_still_there"), left.count if left else 0),
            ("changed", facts.get("changed_ids"), len(changed)),
            ("not found", facts.get("not_found"), len(plan.not_found)),
            (SOURCES, facts.get("source_requests"), len(living)),
        )
        if ids
    ]
    if left is None:
        was = "was" if plan.stored == 1 else "were"
        head = f"Whether {counted(plan.stored, 'learning')} {was} deleted is not known: reading again failed."
    else:
        planned = sum(name in plan.chosen.fed for name in gone.fed)
        more = f" and {gone.count - planned:,} that came up meanwhile" if gone.count > planned else ""
        kinds = f" ({kinds_counted(gone)})" if gone.count else ""
        head = f"Deleted {planned:,} of {counted(plan.stored, 'learning')}{more}{kinds}, checked {CHECKED}."
    text = [head] if plan.stored else []
    if done.learned_erased:
        text.append(erased_from_copies(done))
    if lines:
        text.append(fence("\n".join(lines)))
    return closed(
        done,
        text,
        facts,
        survives=sentences(
            left_alone(left),
            still_learned(done.still_learning, done.follow_up),
            _merged(done),
            _what_feeds(plan, gone, gone.other_requests, None if plan.by else gone.saying, gone.silent),
            NOT_LOOKED_FOR,
        ),
        took=bool(gone.count or done.learned_erased),
        failure=explained(done.failure, "write" if left is None else "read") if done.failure else "",
        following=FOLLOWED if done.follow_up else LOOK_AGAIN,
    )


def _merged(done: Receipt) -> str:
    """What another learning took over between the plan and the deletion, or a person's later words."""
    before = done.plan.learned
    if before is None:
        return ""
    merged = sum(
        one.learning.state in REPLACED_STATES and before.fed[name].learning.state not in REPLACED_STATES
        for name, one in done.learned_gone.fed.items()
        if name in before.fed
    )
    if not merged:
        return ""
    verb = "was" if merged == 1 else "were"
    return (
        f"{merged:,} of them {verb} merged or superseded meanwhile, so another learning may repeat the text: "
        "list_learnings shows it."
    )
