"""Targets of deletions. Each kind selects its items and names itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import ClassVar, Final

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.deletion import few
from reflexio_mcp.state.records import Copied
from reflexio_mcp.traffic.content import opening, place_of, texts_of
from reflexio_mcp.traffic.deletion.items import Item, item_of, learning_item, opened, outcome_item
from reflexio_mcp.traffic.errors import InvalidInput, require_id
from reflexio_mcp.traffic.learnings.find import Learned, find_interactions, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.select import Selection, select_learnings, unselected
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, get_stored, read_set
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope

__all__ = [
    "EXAMPLES",
    "OPENING_CHARS",
    "Correction",
    "Filtered",
    "Interactions",
    "Learnings",
    "Requests",
    "Selected",
    "Target",
    "User",
]

EXAMPLES: Final = 5
"""Number of items whose first words a plan shows."""

OPENING_CHARS: Final = 2_000
"""Length of text that is searched for secrets before its first words are shown."""

MOST_CHARS: Final = 50_000
"""Limit of a learning's new text."""

OTHERS_STAY: Final = "The request stays, with {number:,} other interactions."
UNREADABLE_SESSIONS: Final = (
    "Reflexio fails to return a part of what is stored. This set does not include that part."
)
OF_USER: Final = (
    "What other users stored stays, even if it mentions this user.",
    (
        "Agent playbooks, session evaluations, questions of Reflexio to people with their answers, and its logs of "
        "its runs stay: no call deletes them."
    ),
)
NOT_CURRENT: Final = (
    "names a learning that is {state}; only a current one can be corrected. Nothing was changed."
)
QUOTE_STAYS: Final = "The passage that it was learned from stays stored with it, in the original words."
TEACHES_AGAIN: Final = (
    "What it was learned from is still stored (request {ids}), so Reflexio can learn the old text again. To prevent "
    "that, delete these requests too{how}."
)
IN_ONE_PLAN: Final = ": delete_requests with request_ids and include_learnings=true deletes both in one plan"
MAY_TEACH_AGAIN: Final = (
    "It is not known whether what it was learned from is still stored. "
    "From that, Reflexio can learn the old text again."
)
TEACHES_NO_MORE: Final = (
    "Nothing that it was learned from is stored, so it cannot be learned from that again."
)

_NO_SOURCES: Final = Sources(frozenset(), frozenset())


@dataclass
class Selected:
    """The selected items, and what a plan says about them.

    Args:
        openings: the beginnings of the first items, by their ids.
        not_found: ids that the caller named and that are not stored.
        learned: the learnings, if the target selects learnings.
        sources: the requests that select the learnings, by user.
        remains: sentences about what is not deleted or not known.
    """

    items: list[Item] = field(default_factory=list[Item])
    openings: dict[str, str] = field(default_factory=dict[str, str])
    not_found: list[str] = field(default_factory=list[str])
    learned: Learned | None = None
    sources: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    remains: list[str] = field(default_factory=list[str])
    _newest: list[RequestWithInteractions] = field(default_factory=list[RequestWithInteractions])

    def add(self, requests: Sequence[RequestWithInteractions]) -> None:
        self.items += map(item_of, requests)
        self._newest = nlargest(EXAMPLES, [*self._newest, *requests], key=place_of)
        self.openings = {one.request.request_id: opening(one, OPENING_CHARS) for one in self._newest}


class Target(ABC):
    """What a call wants deleted.

    Args:
        noun: what is counted.
        everything: all that is stored is selected, so a person must type the number.
        text: the new text of a learning that is corrected instead of deleted.
    """

    noun: ClassVar[str] = "request"
    text: str = ""
    everything: bool = False

    @abstractmethod
    def name(self, *, words: bool = True) -> str:
        """Describe the target; without searched words if `words` is false."""

    @abstractmethod
    async def select(self, scope: Scope, progress: Progress) -> Selected:
        pass

    def copy_names(self) -> list[str] | None:
        """Return the names of its recovery copies; `None` if all copies must be read."""
        return None

    @abstractmethod
    def means(self, copied: Copied, selected: Selected) -> bool:
        """Whether the target includes the content of a recovery copy."""


@dataclass(frozen=True)
class Requests(Target):
    """Requests by their ids.

    Args:
        user_id: only this user's requests; the others count as not found. Empty for every user.
    """

    ids: tuple[str, ...]
    user_id: str = ""

    @classmethod
    def of(cls, scope: Scope, ids: Sequence[str], user_id: str = "") -> "Requests":
        """Check the ids of a call.

        Raises:
            InvalidInput: no ids, blank ids, more than 10,000 ids, or a user outside the scope.
        """
        wanted = tuple(dict.fromkeys(require_id("request_ids", one) for one in ids))
        if not 1 <= len(wanted) <= MAX_DELETE_IDS:
            raise InvalidInput("request_ids", f"takes 1 to {MAX_DELETE_IDS:,} ids; nothing was deleted.")
        return cls(wanted, scope.user(user_id))

    def name(self, *, words: bool = True) -> str:
        one = f"request {self.ids[0]}" if len(self.ids) == 1 else f"{len(self.ids):,} request ids"
        return f"{one} of user {self.user_id}" if self.user_id else one

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        selected = Selected()

        async def take(found: list[RequestWithInteractions]) -> None:
            selected.add([one for one in found if self.user_id in ("", one.request.user_id)])

        await read_set(scope, self.ids, take, progress=progress)
        there = {one.id for one in selected.items}
        selected.not_found = [one for one in self.ids if one not in there]
        return selected

    def copy_names(self) -> list[str]:
        return [f"r:{one}" for one in self.ids]

    def means(self, copied: Copied, selected: Selected) -> bool:
        return copied.kind in ("request", "interaction") and self.user_id in ("", copied.user)


@dataclass(frozen=True)
class Interactions(Target):
    """Single interactions of one request, which is not deleted."""

    request_id: str
    ids: tuple[int, ...]

    noun: ClassVar[str] = "interaction"

    def name(self, *, words: bool = True) -> str:
        return f"{len(self.ids):,} interaction{'s' * (len(self.ids) != 1)} of request {self.request_id}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        stored = await get_stored(scope, self.request_id)
        turns = {one.interaction_id: one for one in stored.interactions} if stored else {}
        selected = Selected(not_found=[str(one) for one in self.ids if one not in turns])
        chosen = [turns[one] for one in self.ids if one in turns]
        if stored and chosen:
            left = len(turns) - len(chosen)
            selected.items = [item_of(stored, turn) for turn in chosen]
            selected.openings = {
                str(turn.interaction_id): "".join(texts_of(turn))[:OPENING_CHARS]
                for turn in chosen[:EXAMPLES]
            }
            selected.remains = [OTHERS_STAY.format(number=left)]
        return selected

    def copy_names(self) -> list[str]:
        return [f"i:{one}" for one in self.ids]

    def means(self, copied: Copied, selected: Selected) -> bool:
        missing = {f"i:{one}" for one in selected.not_found}
        ours = copied.kind in ("request", "interaction") and f"r:{self.request_id}" in copied.names
        return ours and not missing.isdisjoint(copied.names)


@dataclass(frozen=True)
class Filtered(Target):
    """Requests by a filter."""

    wanted: TrafficFilter
    everything: bool = False

    def name(self, *, words: bool = True) -> str:
        return self.wanted.describe(words=words) if self.wanted != TrafficFilter() else "every request"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        selected, pager = Selected(), SessionPager(scope, self.wanted)
        async for part in pager.slices():
            selected.add(await self.wanted.pick_in_thread(scope.owner, part.requests))
            await progress("requests looked up", pager.requests_seen, None)
        selected.remains = [UNREADABLE_SESSIONS] if pager.gaps else []
        return selected

    def means(self, copied: Copied, selected: Selected) -> bool:
        content = opened(copied)
        return isinstance(content, RequestWithInteractions) and bool(self.wanted.pick([content]))


@dataclass(frozen=True)
class User(Target):
    """Everything of one user that the API can delete: requests, learnings and session outcomes.

    Unlike other targets, a user includes what arrives after the plan.
    """

    user_id: str

    noun: ClassVar[str] = "record"
    everything = True

    def name(self, *, words: bool = True) -> str:
        return f"everything of user {self.user_id}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        selected = await Filtered(TrafficFilter(user_id=self.user_id)).select(scope, progress)
        selected.learned = await self.learned(scope)
        selected.items += map(learning_item, selected.learned.learnings)
        outcomes = await scope.client.get_session_outcomes(self.user_id)
        selected.items += [outcome_item(one) for one in outcomes if one.user_id == self.user_id]
        selected.remains = [*OF_USER]
        return selected

    async def learned(self, scope: Scope) -> Learned:
        return unselected(await learnings_of_user(scope, self.user_id))

    def copy_names(self) -> list[str]:
        return [f"u:{self.user_id}"]

    def means(self, copied: Copied, selected: Selected) -> bool:
        return copied.user == self.user_id


@dataclass(frozen=True)
class Learnings(Target):
    """Learnings without their requests. `selection` has the user of the scope."""

    selection: Selection
    everything: bool = False

    noun: ClassVar[str] = "learning"

    def name(self, *, words: bool = True) -> str:
        return f"learnings of {self.selection.describe(words=words)}"

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        found = await select_learnings(scope, self.selection)
        learnings = found.learned.learnings
        return Selected(
            [learning_item(one) for one in learnings],
            {one.learning_id: one.content[:OPENING_CHARS] for one in learnings[:EXAMPLES]},
            list(found.not_found),
            found.learned,
            {one.user_id: _NO_SOURCES for one in learnings} | dict(found.sources),
            [
                *([await _taught_by(scope, learnings, IN_ONE_PLAN)] if learnings else []),
                *([UNREADABLE_SESSIONS] if found.gaps else []),
            ],
        )

    def copy_names(self) -> list[str] | None:
        return [f"l:{one}" for one in self.selection.learning_ids] or None

    def means(self, copied: Copied, selected: Selected) -> bool:
        content = opened(copied)
        return isinstance(content, Learning) and self.selection.chooses(content, selected.sources)


@dataclass(frozen=True)
class Correction(Target):
    """A new text for one learning, which `selection` names with its user."""

    selection: Selection
    text: str = ""

    noun: ClassVar[str] = "learning"

    @classmethod
    def of(cls, scope: Scope, user_id: str, learning_id: str, text: str, *, secrets: bool) -> "Correction":
        """Check the arguments of a call.

        Args:
            secrets: whether a text with a secret in it may be stored.

        Raises:
            InvalidInput: an argument cannot be used.
        """
        from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

        if not text.strip():
            raise InvalidInput("content", "must not be blank; delete_learnings deletes a learning.")
        if len(text) > MOST_CHARS:
            raise InvalidInput("content", f"takes {MOST_CHARS:,} characters at most.")
        if not secrets and redact(text) != text:
            raise InvalidInput("content", "contains a secret, which this server does not store.")
        return cls(Selection(scope.user(user_id), (require_id("learning_id", learning_id),)), text)

    def name(self, *, words: bool = True) -> str:
        return f"the text of {self.selection.learning_ids[0]} of user {self.selection.user_id}"

    async def read(self, scope: Scope) -> Learning | None:
        return next(iter((await select_learnings(scope, self.selection)).learned.learnings), None)

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        learning = await self.read(scope)
        if learning is None:
            return Selected(not_found=[*self.selection.learning_ids], learned=Learned())
        if learning.state != "current":
            raise InvalidInput("learning_id", NOT_CURRENT.format(state=learning.state))
        if learning.content == self.text:
            raise InvalidInput("content", "is what this learning says already; nothing was changed.")
        return Selected(
            [learning_item(learning)],
            {learning.learning_id: learning.content},
            learned=Learned(),
            remains=[await _taught_by(scope, [learning]), *([QUOTE_STAYS] if learning.quote else [])],
        )

    def copy_names(self) -> list[str]:
        return [f"l:{one}" for one in self.selection.learning_ids]

    def means(self, copied: Copied, selected: Selected) -> bool:
        return False


async def _taught_by(scope: Scope, learnings: Sequence[Learning], how: str = "") -> str:
    """Say in a sentence whether the sources of learnings are stored, and `how` both are deleted."""
    requests, known = dict[str, None](), True
    for user_id in {one.user_id for one in learnings}:
        sources = [one.interaction_ids for one in learnings if one.user_id == user_id]
        found = await find_interactions(scope, user_id, frozenset[int]().union(*sources))
        requests |= dict.fromkeys(place[0] for place in found.places.values())
        known = known and found.everything

    async def take(items: Sequence[RequestWithInteractions]) -> None:
        requests.update(dict.fromkeys(one.request.request_id for one in items))

    # Without interactions, a learning names only the last request of its window, or a run that is no request.
    last = {one.last_request_id for one in learnings if not one.interaction_ids}
    await read_set(scope, [one for one in last if one], take)
    if requests:
        named = few(list(requests), scope.shown_id)
        rest = [f"{len(requests) - len(named):,} more"] * (len(requests) > len(named))
        return TEACHES_AGAIN.format(ids=", ".join([*named, *rest]), how=how)
    return TEACHES_NO_MORE if known and not last else MAY_TEACH_AGAIN
