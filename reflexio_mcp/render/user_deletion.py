"""Plans and receipts of deletions that take everything of a user."""

from typing import Final

from reflexio_mcp.render.learned import kinds_counted, still_learned
from reflexio_mcp.render.receipt_end import erased_from_copies
from reflexio_mcp.render.result import Facts, counted, sentences
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.deletion.user_plan import UserPlan

__all__ = ["next_step", "plan_facts", "what_goes", "what_was_cleared"]

TAKES: Final = (
    "This takes all requests, learnings in every state and session outcomes of this user, and what arrives until it is "
    "done."
)

STAYS: Final = (
    "No call removes: the text of agent playbooks, which are made from many users' playbooks; evaluations and verdicts "
    "of sessions; empty rows of merged playbooks; the service's own run records, which hold conversations word for "
    "word; vectors, logs and backups. So the data is no longer listed or searchable, but not gone everywhere."
)

NAMED: Final = 20
"""Agent playbooks named one by one."""


def plan_facts(plan: UserPlan) -> Facts:
    """What such a plan has besides its requests and learnings."""
    named = plan.agent_playbooks.made_from
    return {
        "everything_of_the_user": True,
        "session_outcomes": len(plan.outcomes),
        **({"agent_playbooks_made_from_them": list(named[:NAMED])} if named else {}),
    }


def what_goes(plan: UserPlan) -> str:
    """What such a deletion takes, and what stays whatever is called."""
    return f"{TAKES} {_what_stays(plan)}"


def _what_stays(plan: UserPlan) -> str:
    """What no call removes, with the agent playbooks that are known to be made from this user's playbooks."""
    named, not_known = plan.agent_playbooks.made_from, plan.agent_playbooks.not_known
    told = [STAYS]
    if named:
        more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
        ids = ", ".join(str(one) for one in named[:NAMED])
        were = "agent playbook names" if len(named) == 1 else "agent playbooks name"
        told.append(f"{len(named):,} {were} playbooks of this user as a source: {ids}{more}.")
    if not_known is None:
        told.append("Which agent playbooks were made from this user's playbooks is not known.")
    elif not_known:
        do = "does" if not_known == 1 else "do"
        told.append(f"{counted(not_known, 'agent playbook')} {do} not say what they were made from.")
    return " ".join(told)


def what_was_cleared(done: Receipt) -> str:
    """What is left of the user, from reading each place again."""
    assert isinstance(done.plan, UserPlan)
    assert done.cleared is not None
    cleared, left = done.cleared, done.learned_left
    told: list[str] = []
    if done.learned_gone.count:
        verb = "was" if done.learned_gone.count == 1 else "were"
        told.append(f"{kinds_counted(done.learned_gone)} {verb} deleted.")
    if done.learned_erased:
        told.append(erased_from_copies(done))
    places = (
        (left.count if left else None, "learning"),
        (cleared.outcomes_left, "session outcome"),
        (cleared.arrived, "new request"),
    )
    for number, noun in places:
        if number is None:
            told.append(f"Whether any {noun} of this user is there could not be read.")
        elif number:
            told.append(f"{counted(number, noun)} of this user {'is' if number == 1 else 'are'} there.")
    if done.complete:
        told.append(
            "Nothing of this user is listed any more: no request, no learning in any state, no session outcome; each "
            "place was read again."
        )
    return sentences(*told, still_learned(done.still_learning, done.follow_up), _what_stays(done.plan))


def next_step(done: Receipt) -> str:
    """What to do where something arrived or is left; empty where nothing special is."""
    if done.failure is None and done.cleared and done.cleared.arrived:
        return "Stop what still publishes for this user, then call the same deletion again."
    return ""
