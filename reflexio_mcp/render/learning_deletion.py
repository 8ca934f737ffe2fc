"""Plans and receipts of deletions that take learnings alone."""

from typing import Final

from reflexio_mcp.render.deletion_facts import FINAL, DeletionFacts
from reflexio_mcp.render.learnings import (
    FOLLOWED,
    NOT_LOOKED_FOR,
    kinds_counted,
    learned_facts,
    learned_lines,
    left_alone,
    still_learned,
)
from reflexio_mcp.render.text import NOTICE, Facts, Rendered, counted, dense, explained, fence, shown_id
from reflexio_mcp.traffic.deletion.execute import Outcome, Receipt
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan

__all__ = ["learning_plan_facts", "learning_plan_lines", "learning_receipt", "what_lives"]

REPLACED: Final = ("merged", "superseded")
"""States of a learning whose text another one took over."""

LOOK_AGAIN: Final = "Look at what is there with list_learnings, then call again; what is gone stays gone."

NAMED: Final = 20
"""Ids that an answer names of each kind."""


def learning_plan_facts(plan: LearningPlan, *, masked: bool) -> Facts:
    """What a plan would take, as facts."""
    living = sorted(plan.living)
    return dense(
        {
            "learnings": plan.size,
            "users": {shown_id(name): count for name, count in plan.count_by("user_id")[:NAMED]},
            "learned": learned_facts(plan.chosen, masked=masked),
            "living_sources": len(living) or None,
            "source_requests": [shown_id(one) for one in living[:NAMED]],
            "not_found": [shown_id(one) for one in plan.not_found[:NAMED]],
            "not_found_count": len(plan.not_found) if len(plan.not_found) > NAMED else None,
        }
    )


def learning_plan_lines(facts: Facts) -> list[str]:
    """The same facts as lines, which belong inside a fence."""
    lines = [counted(facts.get("learnings", 0), "learning")]
    if "users" in facts:
        lines.append("users: " + ", ".join(f"{name} ({count:,})" for name, count in facts["users"].items()))
    lines += learned_lines(facts["learned"])
    if "source_requests" in facts:
        more = " …" if facts["living_sources"] > len(facts["source_requests"]) else ""
        lines.append(
            f"stored requests that fed them ({facts['living_sources']:,}): {', '.join(facts['source_requests'])}{more}"
        )
    return lines


def what_lives(plan: LearningPlan) -> str:
    """Whether the learnings can come back, and the call that prevents it."""
    told: list[str] = []
    if number := len(plan.living):
        requests = f"{counted(number, 'stored request')} that {'stays' if number == 1 else 'stay'}"
        they = "It was" if plan.size == 1 else "They were"
        told.append(f"{they} learned from {requests}, and can be learned again from there.")
        both = plan.both or "delete_requests with these request_ids and include_learnings=true"
        told.append(f"To take both: {both}.")
    if not plan.chosen.others_known:
        told.append("Not all of their sources were looked up.")
    told.append(NOT_LOOKED_FOR)
    return " ".join(told)


def learning_receipt(done: Receipt) -> Rendered:
    """What a deletion of learnings did."""
    assert isinstance(done.plan, LearningPlan)
    plan, gone, left = done.plan, done.learned_gone, done.learned_left
    counts: dict[Outcome, int] = {}
    if gone.count:
        counts["deleted"] = gone.count
    if left and left.count:
        counts["still_present"] = left.count
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
            "deleted_ids": [shown_id(one) for one in list(gone.fed)[:NAMED]],
            "learnings_still_there": [shown_id(one) for one in list(left.fed)[:NAMED]] if left else [],
            "changed_ids": [shown_id(one) for one in changed[:NAMED]],
            "not_found": [shown_id(one) for one in plan.not_found[:NAMED]],
            "still_learning": len(done.still_learning) or None,
            "follow_up": done.follow_up or None,
            "problems": list(done.problems),
        }
    )
    facts["counts"] = counts  # also where nothing was there
    lines: list[str] = []
    for name, ids, number in (
        ("deleted", facts.get("deleted_ids"), gone.count),
        ("still there", facts.get("learnings_still_there"), left.count if left else 0),
        ("changed", facts.get("changed_ids"), len(changed)),
        ("not found", facts.get("not_found"), len(plan.not_found)),
    ):
        if ids:
            more = " …" if number > len(ids) else ""
            lines.append(f"{name} ({number:,}): {', '.join(ids)}{more}")
    if left is None:
        head = f"Whether {counted(plan.size, 'learning')} were deleted is not known: reading again failed."
    else:
        kinds = f" ({kinds_counted(gone)})" if gone.count else ""
        head = f"Deleted {gone.count:,} of {counted(plan.size, 'learning')}{kinds}, checked by reading again."
    text = [head]
    if lines:
        text.append(fence("\n".join(lines)))
    survives = " ".join(
        one
        for one in (
            left_alone(left),
            still_learned(done.still_learning, done.follow_up),
            _merged(done),
            what_lives(plan),
        )
        if one
    )
    facts["survives"] = survives
    text.append(survives)
    if gone.count:
        facts["undo"] = FINAL
        text.append(FINAL)
    text += done.problems
    if done.failure is not None:
        failure = explained(done.failure, "write" if left is None else "read")
        facts["failure"] = failure
        text.append(f"It stopped: {failure}")
    if not done.complete:
        following = (
            FOLLOWED
            if done.follow_up
            else "Look at what is there with list_learnings, then call again; what is gone stays gone."
        )
        facts["next"] = following
        text.append(following)
    return Rendered("\n".join(text), facts)


def _merged(done: Receipt) -> str:
    """What became another learning between the plan and the deletion."""
    before = done.plan.learned
    if before is None:
        return ""
    merged = sum(
        one.learning.state in REPLACED and before.fed[name].learning.state not in REPLACED
        for name, one in done.learned_gone.fed.items()
        if name in before.fed
    )
    if not merged:
        return ""
    return (
        f"{merged:,} of them became part of another learning meanwhile, which may repeat the text: "
        "list_learnings shows it."
    )
