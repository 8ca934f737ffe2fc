"""What a deletion of chosen interactions would take. Their request stays, even if nothing is left in it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import anyio.to_thread

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.state.job_records import TURNS_OF
from reflexio_mcp.traffic.content import texts_of, turn_digest
from reflexio_mcp.traffic.deletion.alike import Likeness, Likenesses, likeness
from reflexio_mcp.traffic.deletion.plan import (
    OPENING_CHARS,
    WORDS_SHOWN,
    Plan,
    opening_words,
    planned_request,
)
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.reading.lookup import get_stored, require_id
from reflexio_mcp.traffic.scope import Scope

__all__ = ["PlannedTurn", "TurnPlan", "plan_turns"]


@dataclass(frozen=True, slots=True)
class PlannedTurn:
    """One interaction that would go.

    Args:
        digest: of its role and content, as `turn_digest` makes it.
        likeness: what it is known by in recovery copies; its image only where that tells it from others.
        first_words: how it begins, secrets redacted; empty where it is not to be shown.
    """

    interaction_id: int
    role: str
    digest: str
    likeness: Likeness
    first_words: str = ""


@dataclass(frozen=True)
class TurnPlan(Plan):
    """Exactly which interactions of one request would go. Its ids are theirs, as text.

    Args:
        turns: the interactions, in the request's order. The plan's one request lists these and no others.
        rest: the request's other interactions.
        twins: those of them that are as one that goes, and stay.
        teaches: whether something can be learned from the request: it is not `evaluation_only`.
        request_id: whose interactions they are.
        arrival: the number of that request in the embedded store, which gives one that is put back another.
        copied_as: where none of them is stored, ids of requests that recovery copies alone hold, with some of them.
        stored_in: the same of requests that copies hold and that are stored with some of them.
        stored_without: the same of those that are stored without them.
    """

    turns: tuple[PlannedTurn, ...] = ()
    rest: frozenset[int] = frozenset()
    twins: frozenset[int] = frozenset()
    teaches: bool = True
    request_id: str = ""
    arrival: int | None = None
    copied_as: tuple[str, ...] = ()
    stored_in: tuple[str, ...] = ()
    stored_without: tuple[str, ...] = ()

    noun: ClassVar[str] = "interaction"
    found_with: ClassVar[str] = "get_request"
    copied: ClassVar[bool] = False

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(str(turn.interaction_id) for turn in self.turns)

    @property
    def size(self) -> int:
        return len(self.turns)

    @property
    def stored(self) -> int:
        return len(self.turns)

    @property
    def arrivals(self) -> list[int]:
        # A request gets no more interactions after it has arrived.
        return []

    @cached_property
    def marks(self) -> dict[str, str]:
        [request] = self.requests or [None]
        of = f"{request.user_id}\0{request.request_id}" if request else ""
        if self.arrival is not None:
            of = f"{of}\0{self.arrival}"
        return {str(turn.interaction_id): f"{of}\0{turn.digest}" for turn in self.turns}

    def fed_by_rest(self, learned: Learned | None) -> int:
        """How many of these learnings the interactions that stay fed too."""
        learnings = learned.learnings if learned else []
        return sum(not self.rest.isdisjoint(one.interaction_ids) for one in learnings)

    def part(self, ids: Collection[str]) -> "TurnPlan":
        turns = tuple(turn for turn in self.turns if str(turn.interaction_id) in ids)
        return replace(self, turns=turns, not_found=())

    def knowing(self, learned: Learned) -> "TurnPlan":
        return replace(self, learned=self.elsewhere(learned))

    def elsewhere(self, learned: Learned) -> Learned:
        """Learnings without the request itself among the others that fed them."""
        own = {item.request_id for item in self.requests}
        fed = {
            name: replace(one, other_requests=one.other_requests - own, saying=one.saying - own)
            for name, one in learned.fed.items()
        }
        return replace(learned, fed=fed)


async def plan_turns(scope: Scope, request_id: str, interaction_ids: Sequence[int]) -> TurnPlan:
    """Look up chosen interactions of a request.

    Raises:
        InvalidInput: none are named.
        Unreadable: the service fails to return the request.
    """
    request_id = require_id("request_id", request_id)
    wanted = dict.fromkeys(interaction_ids)
    if not wanted:
        raise InvalidInput(
            "interaction_ids",
            "must not be empty; leave it out to delete the whole request. Nothing was deleted.",
        )
    item = await get_stored(scope, request_id)
    what = f"{TURNS_OF} request {request_id}"
    found = [turn for turn in item.interactions if turn.interaction_id in wanted] if item else []
    missing = tuple(str(one) for one in wanted if one not in {turn.interaction_id for turn in found})
    if item is None or not found:
        return TurnPlan(what, (), not_found=missing, request_id=request_id)
    rest = frozenset(turn.interaction_id for turn in item.interactions).difference(wanted)
    chosen = RequestWithInteractions(request=item.request, interactions=found)
    turns = await anyio.to_thread.run_sync(_planned, found)
    others = [turn for turn in item.interactions if turn.interaction_id in rest]
    twins = await anyio.to_thread.run_sync(_twins, others, Likenesses(turn.likeness for turn in turns))
    return TurnPlan(
        what,
        (planned_request(chosen, words=False),),
        not_found=missing,
        turns=turns,
        rest=rest,
        twins=twins,
        teaches=not item.request.evaluation_only,
        request_id=request_id,
        arrival=item.request.arrival,
    )


def _planned(turns: Sequence[StoredInteraction]) -> tuple[PlannedTurn, ...]:
    return tuple(
        PlannedTurn(
            turn.interaction_id,
            turn.role,
            turn_digest(turn),
            likeness(turn),
            opening_words(_opening(turn)) if index < WORDS_SHOWN else "",
        )
        for index, turn in enumerate(turns)
    )


def _twins(others: Sequence[StoredInteraction], gone: Likenesses) -> frozenset[int]:
    return frozenset(turn.interaction_id for turn in others if gone.have(turn))


def _opening(turn: StoredInteraction) -> str:
    said = (begins for text in texts_of(turn) if (begins := text.lstrip()))
    return next(said, "")[:OPENING_CHARS]
