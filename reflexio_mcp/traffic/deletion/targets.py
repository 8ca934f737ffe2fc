"""What a call wants deleted. Each kind of target selects its items and says in words what it is."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import opening, texts_of
from reflexio_mcp.traffic.deletion.items import (
    Item,
    interaction_item,
    learning_item,
    outcome_item,
    request_item,
    sources_of,
)
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.learnings.find import FedLearning, Learned, find_learned, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings, unselected
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, get_stored, read_set, require_id
from reflexio_mcp.traffic.reading.paging import SessionPager, place_of
from reflexio_mcp.traffic.scope import Scope

__all__ = ["EXAMPLES", "Filtered", "Interactions", "Learnings", "Requests", "Selected", "Target", "User"]

EXAMPLES: Final = 5
"""How many of its items a plan shows with their first words."""

OPENING_CHARS: Final = 2_000
"""Characters in which secrets are looked for before first words are shown."""

OTHERS_STAY: Final = "The request stays, with {number:,} other interactions."
NOTHING_LEFT: Final = (
    "Nothing is left in the request then, and the empty request stays; delete_request without "
    "interaction_ids deletes it."
)
NOT_MATCHING: Final = (
    "{number:,} other requests of the same sessions do not match and stay; delete_session deletes a whole "
    "conversation."
)
OTHERS_KEEP: Final = "What other users stored stays, in shared sessions too."
UNREADABLE_SESSIONS: Final = (
    "Reflexio fails to return a part of what was looked through. What it holds is not in this set."
)


@dataclass
class Selected:
    """What a target selected.

    Args:
        openings: how the first items begin, by their ids.
        learned: what was learned, if the target selects by that.
        remains: what stays, and what is not known, in sentences.
    """

    items: list[Item] = field(default_factory=list[Item])
    openings: dict[str, str] = field(default_factory=dict[str, str])
    not_found: list[str] = field(default_factory=list[str])
    learned: Learned | None = None
    remains: list[str] = field(default_factory=list[str])


class Target(Protocol):
    """What a call wants deleted.

    Args:
        noun: what is counted.
        everything: it is all that is stored, so that the number has to be typed.
    """

    noun: ClassVar[str]
    found_with: ClassVar[str]

    @property
    def everything(self) -> bool: ...

    def name(self, *, words: bool = True) -> str:
        """The target in words, without those that were searched for if `words` is false: they may be what must go."""
        ...

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        """Look up what is stored of it."""
        ...

    def copy_names(self) -> list[str] | None:
        """The names of its recovery copies; `None` if every copy has to be looked at."""
        ...

    def means_request(self, item: RequestWithInteractions) -> bool:
        """Whether it means a request that only a recovery copy holds."""
        ...

    def means_learning(self, learning: Learning) -> bool:
        """Whether it means a learning that only a recovery copy holds."""
        ...

    async def learned(
        self, scope: Scope, items: Iterable[Item], before: Learned | None, most_users: int | None = None
    ) -> Learned:
        """What was learned from the items and is stored now.

        Args:
            before: what an earlier reading found; it stays found while it is stored with the same text.
            most_users: how many users' learnings are read at most.
        """
        ...


class _OfRequests:
    """What targets of requests have in common."""

    noun: ClassVar[str] = "request"
    found_with: ClassVar[str] = "list_requests"
    everything: bool = False

    def means_learning(self, learning: Learning) -> bool:
        return False

    async def learned(
        self, scope: Scope, items: Iterable[Item], before: Learned | None, most_users: int | None = None
    ) -> Learned:
        fed = before.fed if before else None
        return await find_learned(scope, sources_of(items), before=fed, most_users=most_users)


class _Collected:
    """Requests as items, with the text of the newest ones."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._newest: list[tuple[tuple[int, int, str], str]] = []

    def add(self, requests: Sequence[RequestWithInteractions]) -> None:
        self.items += map(request_item, requests)
        # The newest may be in any session: several can share a second.
        new = ((place_of(one), opening(one, OPENING_CHARS)) for one in requests[:EXAMPLES])
        self._newest = heapq.nlargest(EXAMPLES, [*self._newest, *new])

    def selected(self, *, not_found: Iterable[str] = (), remains: Iterable[str] = ()) -> Selected:
        items = sorted(
            self.items,
            key=lambda one: (one.created_at, min(one.interaction_ids, default=0), one.id),
            reverse=True,
        )
        return Selected(
            items, {place[2]: text for place, text in self._newest}, [*not_found], None, [*remains]
        )


@dataclass(frozen=True)
class Requests(_OfRequests):
    """Requests by their ids.

    Args:
        user_id: only this user's; others count as not found. Empty for every user.
    """

    ids: tuple[str, ...]
    user_id: str = ""

    @classmethod
    def of(cls, scope: Scope, ids: Sequence[str], user_id: str = "") -> "Requests":
        """Check the ids of a call.

        Raises:
            InvalidInput: none, blank ones, or more than 10,000; or a user outside the scope.
        """
        wanted = tuple(dict.fromkeys(require_id("request_ids", one) for one in ids))
        if not 1 <= len(wanted) <= MAX_DELETE_IDS:
            raise InvalidInput("request_ids", f"takes 1 to {MAX_DELETE_IDS:,} ids; nothing was deleted.")
        return cls(wanted, scope.user(user_id))

    def name(self, *, words: bool = True) -> str:
        one = f"request {self.ids[0]}" if len(self.ids) == 1 else f"{len(self.ids):,} request ids"
        return f"{one} of user {self.user_id}" if self.user_id else one

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        found = _Collected()

        async def take(items: list[RequestWithInteractions]) -> None:
            found.add([one for one in items if self.user_id in ("", one.request.user_id)])

        await read_set(scope, self.ids, take, progress=progress)
        there = {one.id for one in found.items}
        return found.selected(not_found=[one for one in self.ids if one not in there])

    def copy_names(self) -> list[str] | None:
        return [f"r:{one}" for one in self.ids]

    def means_request(self, item: RequestWithInteractions) -> bool:
        named = {item.request.request_id, *(turn.request_id for turn in item.interactions)}
        return self.user_id in ("", item.request.user_id) and not named.isdisjoint(self.ids)


@dataclass(frozen=True)
class Interactions(_OfRequests):
    """Single interactions of one request, which stays."""

    request_id: str
    ids: tuple[int, ...]

    noun: ClassVar[str] = "interaction"
    found_with: ClassVar[str] = "get_request"

    def name(self, *, words: bool = True) -> str:
        return f"{len(self.ids):,} interaction{'s' * (len(self.ids) != 1)} of request {self.request_id}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        item = await get_stored(scope, self.request_id)
        turns = {one.interaction_id: one for one in item.interactions} if item else {}
        missing = [str(one) for one in self.ids if one not in turns]
        chosen = [turns[one] for one in self.ids if one in turns]
        if item is None or not chosen:
            return Selected(not_found=missing)
        left = len(turns) - len(chosen)
        return Selected(
            [interaction_item(item, turn) for turn in chosen],
            {str(one.interaction_id): "".join(texts_of(one))[:OPENING_CHARS] for one in chosen[:EXAMPLES]},
            missing,
            remains=[OTHERS_STAY.format(number=left) if left else NOTHING_LEFT],
        )

    def copy_names(self) -> list[str] | None:
        return [f"r:{self.request_id}"]

    def means_request(self, item: RequestWithInteractions) -> bool:
        return any(
            turn.interaction_id in self.ids and turn.request_id == self.request_id
            for turn in item.interactions
        )


@dataclass(frozen=True)
class Filtered(_OfRequests):
    """Requests by a filter.

    Args:
        everything: the caller asked for all there is.
    """

    wanted: TrafficFilter
    everything: bool = False

    def name(self, *, words: bool = True) -> str:
        if self.wanted == TrafficFilter():
            return "every request"
        session = TrafficFilter(user_id=self.wanted.user_id, session_id=self.wanted.session_id)
        said = self.wanted.describe(words=words)
        return said if self.wanted == session and session.session_id else f"every request: {said}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        found, others = _Collected(), 0
        wanted = self.wanted
        pager = SessionPager(scope, wanted)
        async for part in pager.slices():
            matching = await wanted.pick_in_thread(part.requests)
            found.add(matching)
            others += len(part.requests) - len(matching) if matching else 0
            await progress("requests looked up", pager.requests_seen, None)
        remains = [UNREADABLE_SESSIONS] if pager.gaps else []
        if wanted.contains and others:
            remains.append(NOT_MATCHING.format(number=others))
        if wanted.user_id and (wanted.session_id or not wanted.narrows) and not scope.user_id:
            remains.append(OTHERS_KEEP)
        return found.selected(remains=remains)

    def copy_names(self) -> list[str] | None:
        return None

    def means_request(self, item: RequestWithInteractions) -> bool:
        return self.wanted.matches_request(item.request) and bool(self.wanted.pick([item]))


@dataclass(frozen=True)
class User(_OfRequests):
    """Everything of one user that the API can delete: requests, learnings and session outcomes.

    Unlike any other target it also takes what arrives until it is carried out.
    """

    user_id: str
    everything: bool = True

    noun: ClassVar[str] = "record"

    def name(self, *, words: bool = True) -> str:
        return f"everything of user {self.user_id}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        selected = await Filtered(TrafficFilter(user_id=self.user_id)).select(scope, progress)
        selected.learned = await self.learned(scope, (), None)
        selected.items += map(learning_item, selected.learned.learnings)
        outcomes = await scope.client.get_session_outcomes(self.user_id)
        selected.items += [outcome_item(one) for one in outcomes if one.user_id == self.user_id]
        selected.remains = [
            "What other users stored stays, also where it speaks of this user.",
            "Agent playbooks, session evaluations and Reflexio's own logs of its runs stay: no call deletes them.",
        ]
        return selected

    def copy_names(self) -> list[str] | None:
        return None

    def means_request(self, item: RequestWithInteractions) -> bool:
        return item.request.user_id == self.user_id

    def means_learning(self, learning: Learning) -> bool:
        return learning.user_id == self.user_id

    async def learned(
        self, scope: Scope, items: Iterable[Item], before: Learned | None, most_users: int | None = None
    ) -> Learned:
        return unselected(await learnings_of_user(scope, self.user_id))


@dataclass
class Learnings:
    """Learnings without their requests.

    Args:
        selection: which ones, with the user of the scope.
        sources: filled by `select`: the requests that the selection goes by. What these fed until the deletion goes
            too.
    """

    selection: Selection
    everything: bool = False
    sources: dict[str, Sources] = field(default_factory=dict[str, Sources])

    noun: ClassVar[str] = "learning"
    found_with: ClassVar[str] = "list_learnings"

    def name(self, *, words: bool = True) -> str:
        return f"learnings of {self.selection.describe(words=words)}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        found = await select_learnings(scope, self.selection)
        self.sources.clear()
        self.sources.update(found.sources)
        learned = found.learned
        openings = {one.learning_id: one.content[:OPENING_CHARS] for one in learned.learnings[:EXAMPLES]}
        items = [learning_item(one) for one in learned.learnings]
        remains = ["The requests stay. While they are stored, it can be learned from them again."]
        remains += [UNREADABLE_SESSIONS] if found.gaps else []
        return Selected(items, openings, list(found.not_found), learned, remains)

    def copy_names(self) -> list[str] | None:
        return [f"l:{one}" for one in self.selection.learning_ids] or None

    def means_request(self, item: RequestWithInteractions) -> bool:
        return False

    def means_learning(self, learning: Learning) -> bool:
        return self.selection.chooses(learning, self.sources)

    async def learned(
        self, scope: Scope, items: Iterable[Item], before: Learned | None, most_users: int | None = None
    ) -> Learned:
        chosen: Mapping[str, FedLearning] = before.fed if before else {}
        nobody = Sources(frozenset(), frozenset())
        # Words choose among what was fed, so nothing may be added to it later.
        fed_by = {} if self.selection.words else self.sources
        users = {one.learning.user_id: nobody for one in chosen.values()} | fed_by
        return await find_learned(scope, users, before=chosen)
