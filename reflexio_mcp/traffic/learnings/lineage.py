"""What replaced a learning, from the stored rows alone: Reflexio returns no record of it.

A learning that replaces another one lists its interactions and has its quotes. Reflexio keeps replaced learnings for a
while, and gives a playbook a new id whenever it is learned again.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Final

from reflexio_mcp.traffic.learnings.evidence import normalized, paragraphs_of, quotes_of
from reflexio_mcp.traffic.learnings.records import Learning

__all__ = ["Lineage"]

LONGEST_WRITE: Final = 30
"""Maximum number of seconds by which the profile that is replaced gets a later time than the one that replaces it (one
second was seen), or by which our records and the service date a write differently."""


class Lineage:
    """Which learnings of a user replaced which.

    Args:
        learnings: all profiles and playbooks of the user, whatever their state.
    """

    def __init__(self, learnings: Iterable[Learning]) -> None:
        self._learnings = list(learnings)
        self._by_interaction: dict[int, list[Learning]] = defaultdict(list)
        for learning in self._learnings:
            for interaction_id in learning.interaction_ids:
                self._by_interaction[interaction_id].append(learning)
        self._quotes = cache(_quotes)

    def successors(self, learning: Learning) -> list[Learning]:
        """Return the learnings that have taken a learning in, the earliest first: the first one replaced it.

        If the learning quotes nothing, this is a guess.
        """
        if not learning.interaction_ids:
            return []
        any_listed = min(learning.interaction_ids)  # what has taken the learning in lists them all
        candidates = self._by_interaction[any_listed]
        return sorted(
            (candidate for candidate in candidates if self._takes_in(candidate, learning)), key=self._order
        )

    def predecessors(self, learning: Learning) -> list[Learning]:
        """Return the replaced learnings that a learning has taken in, the latest first."""
        candidates = {
            candidate.learning_id: candidate
            for interaction_id in learning.interaction_ids
            for candidate in self._by_interaction[interaction_id]
            if candidate.is_replaced
        }
        taken_in = [candidate for candidate in candidates.values() if self._takes_in(learning, candidate)]
        return sorted(taken_in, key=self._order, reverse=True)

    def current_successors(self, learning: Learning) -> list[Learning]:
        """Return the current learnings that have taken a learning in. Each has another id."""
        return [successor for successor in self.successors(learning) if successor.state == "current"]

    def renamed(self, learning: Learning) -> list[Learning]:
        """Return the current learnings that say what a replaced one says: it has only got another id."""
        said = learning.content, learning.trigger
        return [
            successor
            for successor in self.current_successors(learning)
            if said == (successor.content, successor.trigger)
        ]

    def newest(self, learnings: Iterable[Learning]) -> list[Learning]:
        """Leave out the learnings that another of these has taken in. Two that take each other in are both returned."""
        given = list(learnings)
        return [
            learning
            for learning in given
            if not any(
                self._takes_in(other, learning) and not self._takes_in(learning, other) for other in given
            )
        ]

    def last(self, learnings: Iterable[Learning]) -> list[Learning]:
        """Return those of some replaced learnings whose replacement is gone.

        A learning without quotations is left out, because nothing shows what replaced it.
        """
        return [
            learning
            for learning in learnings
            if self._quotes(learning) and not self._is_quoted_by_another(learning)
        ]

    def _is_quoted_by_another(self, learning: Learning) -> bool:
        """Whether one other learning has all quotations of a learning, as one that replaced it has.

        This compares no ids of interactions, which may have changed.
        """
        return any(
            other.kind == learning.kind
            and other.digest != learning.digest
            and self._quotes(learning) <= self._quotes(other)
            for other in self._learnings
        )

    def _order(self, learning: Learning) -> tuple[int, int, int]:
        """Order the learnings of a chain: the later ones have all that the earlier ones have."""
        made = int(learning.number) if learning.kind == "user_playbook" else learning.changed_at
        return len(learning.interaction_ids), len(self._quotes(learning)), made

    def _takes_in(self, later: Learning, earlier: Learning) -> bool:
        return (
            later.kind == earlier.kind
            and later.number != earlier.number
            and _is_later(later, earlier)
            and bool(earlier.interaction_ids)
            and earlier.interaction_ids <= later.interaction_ids
            and self._quotes(earlier) <= self._quotes(later)
        )


def _is_later(learning: Learning, earlier: Learning) -> bool:
    # Two playbooks of a chain can have the same time, but each has a greater id than the one before.
    if learning.kind == "user_playbook":
        return int(learning.number) > int(earlier.number)
    # The time of a replaced profile is when it was replaced. A run does not replace its own profiles.
    return (
        learning.changed_at >= earlier.changed_at - LONGEST_WRITE
        and learning.last_request_id != earlier.last_request_id
    )


def _quotes(learning: Learning) -> frozenset[str]:
    quotes = quotes_of(learning)
    if learning.kind == "user_playbook":
        # Playbooks are united without marks between their quotes.
        quotes = [paragraph for quote in quotes for paragraph in paragraphs_of(quote)]
    return frozenset(map(normalized, quotes))
