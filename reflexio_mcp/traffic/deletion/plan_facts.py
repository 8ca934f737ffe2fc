"""What a reader of a plan has to know besides its numbers."""

from collections.abc import Mapping, Sequence
from typing import Final

from reflexio_mcp.results.base import shown_name
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.traffic.deletion.items import Item
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.policy import Hold
from reflexio_mcp.traffic.scope import Scope

PATH_CHARS: Final = 1_000
"""Limit of a file's path."""


def facts_about_learnings(
    learned: Learned | None, *, by_requests: bool, included: bool, found: bool
) -> list[Fact]:
    """Return what is known of the learnings from a selection.

    Args:
        learned: `None` if the learnings could not be read.
        by_requests: the selection is of requests or interactions, not of learnings or of a whole user.
        included: the deletion includes the learnings.
        found: anything stored is selected.
    """
    if learned is None:
        return [Fact(code=FactCode.LEARNINGS_UNREAD)]
    facts: list[Fact] = []
    if by_requests and found and not learned.count:
        facts.append(Fact(code=FactCode.NO_LEARNING_KNOWN if learned.learns else FactCode.NOTHING_LEARNED))
    in_use = sum(learning.state == "current" for learning in learned.going)
    if by_requests and not included and in_use:
        facts.append(Fact(code=FactCode.LEARNINGS_STAY, number=in_use))
    if learned.unlinked:
        facts.append(Fact(code=FactCode.LEARNINGS_UNLINKED, number=learned.unlinked))
    if learned.users_left_out:
        facts.append(Fact(code=FactCode.USERS_NOT_LOOKED_AT, number=learned.users_left_out))
    if learned.learns and by_requests:
        facts.append(Fact(code=FactCode.OUTCOMES_STAY))
    return facts


def facts_about_copies(
    stored: Sequence[Item], only_in_copies: int, *, erases: bool, of_interactions: bool
) -> list[Fact]:
    """Return what recovery copies lack, and what they keep or lose.

    Args:
        only_in_copies: selected items that only recovery copies contain and that stay in them.
        of_interactions: the selection is of single interactions.
    """
    facts: list[Fact] = []
    if unreadable := sum(item.unreadable for item in stored):
        facts.append(Fact(code=FactCode.UNREADABLE, number=unreadable))
    if erases and of_interactions:
        facts.append(Fact(code=FactCode.COPIES_OF_REQUEST_GO))
    if erases:
        facts.append(Fact(code=FactCode.EXPORTS_STAY))
    if only_in_copies:
        facts.append(Fact(code=FactCode.ONLY_IN_COPIES, number=only_in_copies))
    return facts


def facts_about_holds(scope: Scope, held: Mapping[Hold, int], unread: int) -> list[Fact]:
    """Return each hold with the number of selected items that it keeps, where holds are set, and whom to ask.

    Callers of a shared server see only the file's name.

    Args:
        unread: how many of these items a hold keeps because nobody can read whether it covers them.
    """
    facts = [
        Fact(
            code=FactCode.ON_HOLD,
            number=number,
            names=[shown_name(hold.reason)],
            until=hold.ends_at,
        )
        for hold, number in held.items()
    ]
    if unread:
        facts.append(Fact(code=FactCode.MAY_BE_ON_HOLD, number=unread))
    policy = scope.policy
    if not held or not policy.path:
        return facts
    file = policy.path.name if scope.caller else str(policy.path)
    facts.append(Fact(code=FactCode.HOLD_FILE, names=[shown_name(file, PATH_CHARS)]))
    contacts = {contact: None for hold in held if (contact := hold.contact or policy.now().contact)}
    if contacts:
        facts.append(Fact(code=FactCode.HOLD_CONTACT, names=list(map(shown_name, contacts))))
    return facts
