"""Where the interactions that a learning lists are stored: the way from an interaction's id to its request."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

from anyio import to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.learnings.find import FedLearning, Learned
from reflexio_mcp.traffic.learnings.quotations import Passages, are_said, passages, words_of
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope

__all__ = ["FoundTurns", "Turn", "find_turns", "with_last_requests", "with_other_requests"]

MOST_REQUESTS: Final = 5_000
"""Requests of one user that are read to find turns."""

USERS_LOOKED_UP: Final = 3
REQUESTS_LOOKED_UP: Final = 1_000
"""How much a plan reads to name what else fed the learnings of its set."""


Quoted = Mapping[int, Sequence[tuple[str, Passages]]]
"""The learnings that may quote an interaction, by their ids, with their quotations."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One stored interaction.

    Args:
        place: in its request, from 1.
        teaches: whether something can be learned from its request: it is not `evaluation_only`.
    """

    request_id: str
    session_id: str
    created_at: int
    place: int
    teaches: bool = True


@dataclass
class FoundTurns:
    """What was found of a user's interactions.

    Args:
        turns: by interaction id.
        said: those in which a passage stands that a learning quotes, by `learning_id`.
        whole: all of the user's traffic was read, so that an interaction which is not there is deleted.
    """

    turns: dict[int, Turn] = field(default_factory=dict[int, Turn])
    said: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict[str, set[int]](set))
    whole: bool = True

    def take(self, items: Sequence[RequestWithInteractions], left: set[int], quoted: Quoted) -> None:
        """Remember those of `left` that are in some requests, and which quotations are from them."""
        for item in items:
            request = item.request
            for place, turn in enumerate(item.interactions, 1):
                if (number := turn.interaction_id) not in left:
                    continue
                left.discard(number)
                self.turns[number] = Turn(
                    request.request_id,
                    request.session_id,
                    request.created_at,
                    place,
                    teaches=not request.evaluation_only,
                )
                if quoting := quoted.get(number):
                    words = words_of(turn)
                    for learning_id, quotation in quoting:
                        if are_said(quotation, words):
                            self.said[learning_id].add(number)

    def requests(self, interaction_ids: Collection[int]) -> frozenset[str]:
        """The stored requests that hold some of these interactions."""
        return frozenset(self.turns[one].request_id for one in interaction_ids if one in self.turns)

    def saying(self, learning: Learning, interaction_ids: Collection[int]) -> frozenset[str]:
        """Those of `requests` in which a passage stands that a learning quotes."""
        return self.requests(self.said[learning.learning_id].intersection(interaction_ids))


async def find_turns(
    scope: Scope,
    user_id: str,
    interaction_ids: Collection[int],
    *,
    quoting: Iterable[Learning] = (),
    most: int = MOST_REQUESTS,
) -> FoundTurns:
    """Look for interactions of a user, the newest sessions first.

    Args:
        interaction_ids: nothing is read when it is empty.
        quoting: learnings whose quotations are looked for in those of the interactions that they list.
        most: stop when this many requests were read.
    """
    found = FoundTurns()
    left = set(interaction_ids)
    if not left:
        return found
    quoted: defaultdict[int, list[tuple[str, Passages]]] = defaultdict(list)
    for learning in quoting:
        if quotation := passages(learning.quote):
            for one in left & learning.interaction_ids:
                quoted[one].append((learning.learning_id, quotation))
    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.slices()) as slices:
        async for one in slices:
            # Long texts take a while to compare.
            await to_thread.run_sync(found.take, one.requests, left, quoted)
            if not left:
                return found
            if pager.requests_seen >= most:
                found.whole = False
                return found
    # What the service fails to return may hold some of them.
    found.whole = not pager.gaps
    return found


async def with_last_requests(scope: Scope, items: Sequence[FedLearning]) -> list[FedLearning]:
    """Look up the request that a learning names where it lists no interactions: is it stored, it fed the learning."""
    wanted = {one.learning.last_request_id for one in items if one.how == "not_known"} - {""}
    stored: set[tuple[str, str]] = set()

    async def take(found: list[RequestWithInteractions]) -> None:
        stored.update((item.request.user_id, item.request.request_id) for item in found)

    await read_set(scope, sorted(wanted), take)
    return [
        replace(one, how="reconstructed")
        if one.how == "not_known" and (one.learning.user_id, one.learning.last_request_id) in stored
        else one
        for one in items
    ]


async def with_other_requests(scope: Scope, learned: Learned) -> Learned:
    """Look up which other stored requests fed the same learnings, as far as that takes few calls."""
    wanted: defaultdict[str, set[int]] = defaultdict(set)
    for one in learned.fed.values():
        wanted[one.learning.user_id] |= one.others
    found: dict[str, FoundTurns] = {}
    for user_id, others in list(wanted.items())[:USERS_LOOKED_UP]:
        try:
            found[user_id] = await find_turns(scope, user_id, others, most=REQUESTS_LOOKED_UP)
        except ReflexioError:
            # It only adds to what is known of them.
            continue
    fed = dict(learned.fed)
    for name, one in learned.fed.items():
        # What an earlier look-up found need not be stored any more.
        turns = found.get(one.learning.user_id) or FoundTurns()
        fed[name] = replace(one, other_requests=turns.requests(one.others))
    return replace(learned, fed=fed)
