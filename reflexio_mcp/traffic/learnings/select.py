"""Selects learnings: by user, source requests, ids or words."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from reflexio_mcp.matching.words import words_of
from reflexio_mcp.rest.models import LearningStatus
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.reading import UnreadablePart
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, quoted, require_id
from reflexio_mcp.traffic.learnings.find import (
    Learned,
    LinkedLearning,
    current_learnings,
    learnings_of_user,
)
from reflexio_mcp.traffic.learnings.find_and_judge import judge_learned
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning, Sources, how_recorded
from reflexio_mcp.traffic.reading.filter_wording import WORDS_NOT_KEPT, filter_in_words
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import get_stored, learning_status
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Selection", "as_learned", "select_learnings"]

MOST_USERS: Final = 50
"""Maximum number of users per call: the API limits calls per minute."""

NAMES_NOTHING: Final = "needs user_id, request_id, session_id or another filter of requests."


@dataclass(frozen=True, slots=True)
class Selection:
    """Which learnings a call means.

    Args:
        learning_ids: `profile:…` or `user_playbook:…`; they need a user.
        request_id: selects the learnings from this request.
        wanted: if it filters by anything besides the user, it selects the learnings from its requests.
        words: words of the learning itself.
    """

    user_id: str = ""
    learning_ids: tuple[str, ...] = ()
    request_id: str = ""
    wanted: TrafficFilter = field(default_factory=TrafficFilter)
    words: str = ""

    @property
    def by_requests(self) -> bool:
        return bool(self.request_id) or self.wanted.narrows

    def chooses(self, learning: Learning, sources: Mapping[str, Sources]) -> bool:
        """Whether a learning in a recovery copy is selected. `sources` are the selected requests, by user."""
        if self.by_requests:
            of_user = sources.get(learning.user_id)
            is_from_here = of_user is not None and of_user.link_of(learning) is not None
        else:
            is_from_here = learning.user_id == self.user_id
        has_wanted_id = not self.learning_ids or learning.learning_id in self.learning_ids
        return is_from_here and has_wanted_id and self.words_are_in(learning)

    def words_are_in(self, learning: Learning) -> bool:
        texts = (learning.content, learning.trigger, learning.quote)
        return not self.words or words_of(self.words).are_in(texts)

    def with_words(self, learned: Learned) -> Learned:
        """Leave out learnings that do not contain the words."""
        linked = {
            name: linked for name, linked in learned.linked.items() if self.words_are_in(linked.learning)
        }
        return replace(learned, linked=linked)

    def asked_for(self) -> list[Any]:
        """Return all that the caller has given to select them, for JSON."""
        return [self.user_id, sorted(self.learning_ids), self.request_id, asdict(self.wanted), self.words]

    def describe(self, *, words: bool = True) -> str:
        """Describe the selection. Records leave out its words, which may come from a deleted learning."""
        parts: list[str] = []
        if self.learning_ids:
            parts.append(f"{len(self.learning_ids):,} {'id' if len(self.learning_ids) == 1 else 'ids'}")
        if self.request_id:
            parts.append(f"request {self.request_id}")
        elif self.by_requests:
            parts.append(filter_in_words(self.wanted, words=words))
        elif self.user_id:
            parts.append(f"user {self.user_id}")
        if self.words:
            parts.append(f"with the words {words_of(self.words).described()}" if words else WORDS_NOT_KEPT)
        return ", ".join(parts)


@dataclass(frozen=True)
class Selected:
    """The selected learnings.

    Args:
        sources: the selected requests, by user.
        status: the state of learning from the one selected request.
        unreadable: selected requests that the service could not return.
    """

    learned: Learned
    sources: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    not_found: tuple[str, ...] = ()
    status: LearningStatus | None = None
    unreadable: tuple[UnreadablePart, ...] = ()


async def select_learnings(scope: Scope, selection: Selection, *, everybodys: bool = False) -> Selected:
    """Find the selected learnings. Those selected by requests are judged by what the requests' deletion means for them.

    Args:
        everybodys: an empty selection means the current learnings of every user.

    Raises:
        InvalidInput: the selection is empty or contradicts itself, or names ids without a user.
        NotStored: the request is not stored, or not visible to this caller.
        Unreadable: the service fails to return the request.
    """
    user_id = scope.user(selection.user_id)
    if selection.learning_ids:
        return await _by_ids(scope, user_id, selection)
    if selection.request_id and selection.wanted.narrows:
        raise InvalidInput(
            "request_id", "can only be combined with user_id and contains; leave out the rest."
        )
    if selection.request_id:
        selected = await _by_request(scope, user_id, selection.request_id)
    elif selection.by_requests:
        selected = await _by_filter(scope, selection.wanted)
    elif user_id:
        selected = Selected(as_learned(await learnings_of_user(scope, user_id)))
    elif everybodys:
        selected = Selected(as_learned(await current_learnings(scope)))
    else:
        raise InvalidInput("The call", NAMES_NOTHING)
    return replace(selected, learned=selection.with_words(selected.learned))


async def _by_ids(scope: Scope, user_id: str, selection: Selection) -> Selected:
    if not user_id:
        raise InvalidInput("user_id", "is required to name learnings; nothing was done.")
    if selection.by_requests or selection.words:
        raise InvalidInput("learning_ids", "cannot be combined with a filter; give one of them.")
    wanted = dict.fromkeys(require_id("learning_ids", learning_id) for learning_id in selection.learning_ids)
    # The API deletes any id, so only this user's learnings are selected.
    everything = await learnings_of_user(scope, user_id)
    lineage = Lineage(everything)
    named = [learning for learning in everything if learning.learning_id in wanted]
    # The service gives a playbook another id whenever it is learned again.
    renamed = {
        later.learning_id: later
        for learning in named
        if learning.is_replaced
        for later in lineage.renamed(learning)
    }
    found = as_learned([*named, *(learning for name, learning in renamed.items() if name not in wanted)])
    return Selected(
        replace(found, read=tuple(everything)),
        not_found=tuple(learning_id for learning_id in wanted if learning_id not in found.linked),
    )


async def _by_request(scope: Scope, user_id: str, request_id: str) -> Selected:
    request_id = require_id("request_id", request_id)
    item = await get_stored(scope, request_id)
    if item is None or (user_id and item.request.user_id != user_id):
        # A confined caller cannot tell another user's request from a missing one.
        whose = f" of user {quoted(user_id)}" if item or scope.user_id else ""
        raise NotStored(
            f"No request {quoted(request_id)}{whose} is stored here.", Fact(code=FactCode.LIST_LEARNINGS)
        )
    interactions = frozenset(interaction.interaction_id for interaction in item.interactions)
    sources = {item.request.user_id: Sources(frozenset({request_id}), interactions)}
    learned = await judge_learned(scope, sources)
    return Selected(learned, sources, status=await learning_status(scope, request_id))


async def _by_filter(scope: Scope, wanted: TrafficFilter) -> Selected:
    requests = defaultdict[str, set[str]](set)
    interactions = defaultdict[str, set[int]](set)
    pager = SessionPager(scope, wanted)
    async with aclosing(pager.picked()) as parts:
        async for _, picked in parts:
            for item in picked:
                user = item.request.user_id
                requests[user].add(item.request.request_id)
                interactions[user].update(interaction.interaction_id for interaction in item.interactions)
    sources = {user: Sources(frozenset(ids), frozenset(interactions[user])) for user, ids in requests.items()}
    learned = await judge_learned(scope, sources, most_users=MOST_USERS)
    return Selected(learned, sources, unreadable=pager.unreadable)


def as_learned(learnings: Sequence[Learning]) -> Learned:
    """Wrap learnings that were not selected by their sources."""
    return Learned(
        {
            learning.learning_id: LinkedLearning(learning, how_recorded(learning), learning.interaction_ids)
            for learning in learnings
        },
        read=tuple(learnings),
    )
