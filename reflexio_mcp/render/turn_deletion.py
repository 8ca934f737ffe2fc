"""Plans and receipts of deletions that take chosen interactions of one request."""

from reflexio_mcp.render.learned import LEARNED_GOES, LEARNED_STAYS, learned_facts, learned_lines
from reflexio_mcp.render.result import Facts, counted, dense, joined
from reflexio_mcp.render.stored_text import shown_id, shown_name, visible
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.deletion.plan import WORDS_SHOWN
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.showing import as_name
from reflexio_mcp.traffic.times import iso

__all__ = ["plan_facts", "plan_lines", "what_is_left", "what_the_request_keeps"]


def plan_facts(plan: TurnPlan, *, masked: bool) -> Facts:
    """What a plan would take, as facts."""
    request = plan.requests[0]
    return dense(
        {
            "request_id": shown_id(request.request_id),
            "user_id": shown_id(request.user_id),
            "session_id": shown_id(request.session_id),
            "created_at": iso(request.created_at),
            "interactions": plan.size,
            "interactions_staying": len(plan.rest),
            "learned": learned_facts(plan.learned, masked=masked),
            "also_fed_by_the_rest": plan.fed_by_rest(plan.learned) or None,
            "include_learnings": plan.include_learnings,
            "erase": plan.erase,
            "examples": [
                dense(
                    {
                        "interaction_id": turn.interaction_id,
                        "role": shown_name(as_name(turn.role) if masked else turn.role),
                        "first_words": "" if masked else visible(turn.first_words),
                    }
                )
                for turn in plan.turns[:WORDS_SHOWN]
            ],
        }
    )


def plan_lines(facts: Facts) -> list[str]:
    """The same facts as lines, which belong inside a fence."""
    where = f"request {facts['request_id']}, user {facts['user_id']}, session {facts['session_id']}"
    lines = [f"{counted(facts['interactions'], 'interaction')} of {where}, {facts['created_at']}"]
    for turn in facts["examples"]:
        words = f"“{turn['first_words']}”" if "first_words" in turn else ""
        lines.append(" " + joined((str(turn["interaction_id"]), turn["role"], words)))
    if (shown := len(facts["examples"])) < facts["interactions"]:
        lines.append(f" (first {shown} of {facts['interactions']:,})")
    return lines + learned_lines(
        facts.get("learned", {}), LEARNED_GOES if facts.get("include_learnings") else LEARNED_STAYS
    )


def what_the_request_keeps(plan: TurnPlan) -> str:
    """What stays in the request."""
    if not plan.rest:
        return "Nothing is left in the request then, and the request itself stays, empty."
    stays = "stays" if len(plan.rest) == 1 else "stay"
    told = f"{counted(len(plan.rest), 'interaction')} of the request {stays}."
    if number := plan.fed_by_rest(plan.learned):
        which = "it as a source" if len(plan.rest) == 1 else "them as sources"
        told += f" Reflexio names {which} of {number:,} of the learnings below too"
        told += f"{_again(plan, number)}." if plan.include_learnings else "."
    return told


def what_is_left(done: Receipt) -> str:
    """What is left in the request; empty where that could not be read."""
    if done.interactions_left is None:
        return "" if done.count("unknown") else "The request itself is not stored any more."
    if not done.interactions_left:
        return "The request is empty now and stays; delete_request without interaction_ids deletes it too."
    assert isinstance(done.plan, TurnPlan)
    told = f"The request keeps {counted(done.interactions_left, 'interaction')}."
    if number := done.plan.fed_by_rest(done.learned_gone):
        told += f" Reflexio names what it keeps as a source of {number:,} of the deleted learnings too"
        told += f"{_again(done.plan, number)}."
    return told


def _again(plan: TurnPlan, number: int) -> str:
    it = "it" if number == 1 else "they"
    return f"; if it says the same, {it} can be learned again from there" if plan.teaches else ""
