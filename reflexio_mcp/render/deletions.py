"""Plans and receipts."""

from typing import Final

from reflexio_mcp.render.words import (
    NAME_CHARS,
    NOTICE,
    Facts,
    Rendered,
    clip,
    counted,
    dense,
    fence,
    joined,
    visible,
)
from reflexio_mcp.rest.errors import explain
from reflexio_mcp.traffic.deletion import Outcome, Receipt
from reflexio_mcp.traffic.plans import Doomed, Plan
from reflexio_mcp.traffic.times import iso

__all__ = ["plan_facts", "plan_lines", "planned", "receipt", "receipt_facts"]

NAMED: Final = 10
"""Users, sessions and sources a plan names one by one."""

EXAMPLES: Final = 5
"""Requests a plan shows the first words of."""

LISTED: Final = 100
"""Ids a receipt names for each outcome; the rest is counted."""


def _top(counts: list[tuple[str, int]]) -> Facts:
    named = {clip(name, NAME_CHARS) or "(none)": count for name, count in counts[:NAMED]}
    return named | ({"(others)": sum(count for _, count in counts[NAMED:])} if len(counts) > NAMED else {})


def _example(item: Doomed) -> Facts:
    return dense(
        {
            "request_id": visible(item.request_id),
            "created_at": iso(item.created_at),
            "first_words": visible(item.first_words),
        }
    )


def plan_facts(plan: Plan) -> Facts:
    """What a plan would take, as facts."""
    if not plan.doomed:
        return dense({"requests": 0, "not_found": [visible(one) for one in plan.not_found[:LISTED]]}) | {
            "requests": 0
        }
    return dense(
        {
            "requests": len(plan.doomed),
            "interactions": plan.interactions,
            "first": iso(plan.first),
            "last": iso(plan.last),
            "users": _top(plan.count_by("user_id")),
            "sessions": _top(plan.count_by("session_id")),
            "sources": _top(plan.count_by("source")),
            "examples": [_example(item) for item in plan.doomed[:EXAMPLES]],
            "not_found": [visible(one) for one in plan.not_found[:LISTED]],
            "not_found_count": len(plan.not_found) if len(plan.not_found) > LISTED else None,
        }
    )


def plan_lines(facts: Facts) -> list[str]:
    """The same facts as lines; those with stored words belong inside a fence."""
    span = facts["first"] if facts["first"] == facts["last"] else f"{facts['first']} to {facts['last']}"
    lines = [
        f"{counted(facts['requests'], 'request')}, {counted(facts['interactions'], 'interaction')}, {span}"
    ]
    lines += [
        f"{key}: " + ", ".join(f"{name} ({count:,})" for name, count in facts[key].items())
        for key in ("users", "sessions", "sources")
        if key in facts
    ]
    for example in facts.get("examples", []):
        words = f"“{example['first_words']}”" if "first_words" in example else ""
        lines.append("  " + joined((example["request_id"], example["created_at"], words)))
    return lines


def _missing(facts: Facts) -> list[str]:
    if "not_found" not in facts:
        return []
    count = facts.get("not_found_count", len(facts["not_found"]))
    return [f"Not found ({count:,}): {', '.join(facts['not_found'][:NAMED])}{' …' if count > NAMED else ''}"]


def planned(plan: Plan, *, lead: str, code: str = "", following: str = "") -> Rendered:
    """A plan that was not carried out.

    Args:
        lead: first sentence: that nothing was deleted, and why.
        code: what a second call brings as `confirm`.
        following: last sentence: what to do.
    """
    facts = plan_facts(plan)
    structured: Facts = {"notice": NOTICE, "status": "planned", "deleted": 0, "plan": facts}
    if code:
        structured["confirm"] = code
    structured["next"] = following
    body = [fence("\n".join(plan_lines(facts)))] if plan.doomed else []
    return Rendered("\n".join([lead, *body, *_missing(facts), following]), structured)


def receipt_facts(done: Receipt) -> Facts:
    """A receipt as facts: what became of each id, counted and named."""
    outcomes: tuple[Outcome, ...] = ("deleted", "still_present", "not_allowed", "unknown", "not_found")
    counts = {outcome: done.count(outcome) for outcome in outcomes if done.count(outcome)}
    facts: Facts = {
        "status": "complete" if done.complete else "incomplete",
        "deleted": done.count("deleted"),
        "counts": counts,
        "outcomes": {outcome: [visible(one) for one in done.ids(outcome)[:LISTED]] for outcome in counts},
    }
    if done.failure is not None:
        facts["failure"] = explain(done.failure)
    return facts


def receipt(done: Receipt, *, survives: str) -> Rendered:
    """What a deletion did.

    Args:
        survives: what the deletion left behind, as a sentence.
    """
    facts = receipt_facts(done)
    counts = facts["counts"]
    lines = [
        f"{outcome}: {', '.join(named[:NAMED])}{f' … {counts[outcome]:,} in all' if counts[outcome] > NAMED else ''}"
        for outcome, named in facts["outcomes"].items()
    ]
    head = (
        f"Deleted {facts['deleted']:,} of {counted(len(done.plan.ids), 'request')}, checked by reading again."
    )
    text = [head, fence("\n".join(lines)), survives]
    structured: Facts = {"notice": NOTICE, **facts, "survives": survives}
    if "failure" in facts:
        text.append(f"It stopped: {facts['failure']}")
    if not done.complete:
        structured["next"] = "Call the same deletion again to finish; what is gone stays gone."
        text.append(structured["next"])
    return Rendered("\n".join(text), structured)
