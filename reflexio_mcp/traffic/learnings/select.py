"""Choosing learnings: of a user, fed by requests, by their ids or by their words."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from reflexio_mcp.rest.models import LearningStatus, RequestWithInteractions
from reflexio_mcp.results.reading import Gap
from reflexio_mcp.traffic.errors import InvalidInput, NotStored, quoted
from reflexio_mcp.traffic.learnings.find import FedLearning, Learned, find_learned, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.reading.filters import WORDS_NOT_KEPT, TrafficFilter
from reflexio_mcp.traffic.reading.lookup import get_stored, learning_status, require_id
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.reading.search import words_of
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Selected", "Selection", "select_learnings", "unselected"]

MOST_USERS: Final = 50
"""Users whose learnings one call reads; the API allows so many calls a minute."""

NAMES_NOTHING: Final = "needs user_id, request_id, session_id or another filter of requests."


@dataclass(frozen=True, slots=True)
class Selection:
    """Which learnings a call means. Empty parts select nothing out.

    Args:
        user_id: whose learnings.
        learning_ids: as lists show them, `profile:…` or `user_playbook:…`; they need a user.
        request_id: those that this request fed.
        wanted: those that the requests of this filter fed. A filter that names a user alone means all of the
            user's learnings, also those without a living source.
        words: words of the learning itself, as `words_of` reads them.
    """

    user_id: str = ""
    learning_ids: tuple[str, ...] = ()
    request_id: str = ""
    wanted: TrafficFilter = field(default_factory=TrafficFilter)
    words: str = ""

    @property
    def by_requests(self) -> bool:
        """Whether it goes by what fed the learnings."""
        return bool(self.request_id) or self.wanted.narrows

    def chooses(self, learning: Learning, sources: Mapping[str, Sources]) -> bool:
        """Whether it means a learning that is not stored any more.

        Args:
            sources: the requests that it goes by, by user.
        """
        if self.by_requests:
            of_user = sources.get(learning.user_id)
            meant = of_user is not None and of_user.fed(learning) is not None
        else:
            meant = learning.user_id == self.user_id
        ids = self.learning_ids
        return meant and (not ids or learning.learning_id in ids) and _says(learning, self.words)

    def describe(self, *, words: bool = True) -> str:
        """In words, for plans and lists.

        Args:
            words: with those that were searched for; what outlives a deletion must not hold them.
        """
        parts: list[str] = []
        if self.learning_ids:
            parts.append(f"{len(self.learning_ids):,} id{'s' * (len(self.learning_ids) != 1)}")
        if self.request_id:
            parts.append(f"request {self.request_id}")
        if self.by_requests and not self.request_id:
            parts.append(self.wanted.describe(words=words))
        elif self.user_id:
            parts.append(f"user {self.user_id}")
        if self.words:
            parts.append(f"with the words {words_of(self.words).described()}" if words else WORDS_NOT_KEPT)
        return ", ".join(parts)


@dataclass(frozen=True)
class Selected:
    """What a selection found.

    Args:
        learned: the learnings.
        sources: the requests it went by, by user; without any where it went by none.
        not_found: ids that this user has no learning of.
        status: where the learning of the one request stands that it went by.
        gaps: requests that it goes by and the service could not return: what these fed is not among them.
    """

    learned: Learned
    sources: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    not_found: tuple[str, ...] = ()
    status: LearningStatus | None = None
    gaps: tuple[Gap, ...] = ()


async def select_learnings(scope: Scope, selection: Selection) -> Selected:
    """Find the learnings that a selection means, whatever their state.

    Raises:
        InvalidInput: it names nothing, or ids without a user.
        NotStored: the request is not stored, or not visible to this caller.
        Unreadable: the service fails to return it.
    """
    user_id = scope.user(selection.user_id)
    if selection.learning_ids:
        return await _by_ids(scope, user_id, selection)
    if selection.request_id:
        return await _by_request(scope, user_id, selection)
    if selection.by_requests:
        sources, gaps = await _sources_of(scope, selection.wanted)
        learned = await find_learned(scope, sources, most_users=MOST_USERS)
        return Selected(_with_words(learned, selection.words), sources, gaps=gaps)
    if not user_id:
        raise InvalidInput("The call", NAMES_NOTHING)
    learned = unselected(await learnings_of_user(scope, user_id))
    return Selected(_with_words(learned, selection.words))


async def _by_ids(scope: Scope, user_id: str, selection: Selection) -> Selected:
    if not user_id:
        raise InvalidInput("learning_ids", "needs user_id too: whose learnings they are.")
    if selection.by_requests or selection.words:
        raise InvalidInput("learning_ids", "cannot go with a filter; give one of them.")
    wanted = dict.fromkeys(require_id("learning_ids", one) for one in selection.learning_ids)
    # The API would take anybody's ids, so only those that this user really has are ever used.
    found = unselected([one for one in await learnings_of_user(scope, user_id) if one.learning_id in wanted])
    return Selected(found, not_found=tuple(one for one in wanted if one not in found.fed))


async def _by_request(scope: Scope, user_id: str, selection: Selection) -> Selected:
    request_id = require_id("request_id", selection.request_id)
    item = await get_stored(scope, request_id)
    if item is None or (user_id and item.request.user_id != user_id):
        # Somebody confined to a user reads the same of another's request and of none at all.
        whose = f" of user {quoted(user_id)}" if item or scope.user_id else ""
        raise NotStored(
            f"No request {quoted(request_id)}{whose} is stored here. What it taught may still be there: list the "
            "learnings of its user."
        )
    found = _Collected()
    found.add([item])
    sources = found.sources()
    learned = await find_learned(scope, sources)
    status = await learning_status(scope, request_id)
    return Selected(_with_words(learned, selection.words), sources, status=status)


async def _sources_of(scope: Scope, wanted: TrafficFilter) -> tuple[dict[str, Sources], tuple[Gap, ...]]:
    found = _Collected()
    pager = SessionPager(scope, wanted)
    async for one in pager.slices():
        found.add(await wanted.pick_in_thread(one.requests))
    return found.sources(), pager.gaps


@dataclass
class _Collected:
    """Requests by user, without their contents."""

    requests: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    turns: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    def add(self, items: Sequence[RequestWithInteractions]) -> None:
        for item in items:
            user = item.request.user_id
            self.requests[user].add(item.request.request_id)
            self.turns[user].update(turn.interaction_id for turn in item.interactions)

    def sources(self) -> dict[str, Sources]:
        return {
            user: Sources(frozenset(ids), frozenset(self.turns[user])) for user, ids in self.requests.items()
        }


def unselected(learnings: Sequence[Learning]) -> Learned:
    """Learnings that were not chosen by what fed them: every turn they list is another one."""
    return Learned(
        {
            one.learning_id: FedLearning(
                one, "recorded" if one.interaction_ids else "not_known", one.interaction_ids
            )
            for one in learnings
        }
    )


def _with_words(learned: Learned, words: str) -> Learned:
    if not words:
        return learned
    fed = {name: one for name, one in learned.fed.items() if _says(one.learning, words)}
    return replace(learned, fed=fed)


def _says(learning: Learning, words: str) -> bool:
    return not words or words_of(words).are_in((learning.content, learning.trigger, learning.quote))
