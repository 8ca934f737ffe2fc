"""Targets of deletions. Each kind selects its items and names itself."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from heapq import nlargest
from typing import Any, ClassVar, Final, NamedTuple

import anyio.to_thread

from reflexio_mcp.rest.api_limits import MAX_DELETE_IDS
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at, clip
from reflexio_mcp.results.deletion import Change, Decision, few
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress, Step
from reflexio_mcp.state.judgements import Judged, StoredAt
from reflexio_mcp.state.records import Copied, Name
from reflexio_mcp.traffic.audit.rules import findings_in, judgement_of, passage_in
from reflexio_mcp.traffic.audit.rules.duplicates import Duplicate
from reflexio_mcp.traffic.content import content_chars, interaction_digest, opening, order_of, texts_of
from reflexio_mcp.traffic.deletion.items import Content, Item, item_of, learning_item, outcome_item
from reflexio_mcp.traffic.errors import InvalidInput, require_id
from reflexio_mcp.traffic.learnings.evidence import quotes_of
from reflexio_mcp.traffic.learnings.find import (
    Learned,
    expired_profiles,
    find_evidence,
    learnings_of_user,
    read_again,
)
from reflexio_mcp.traffic.learnings.find_and_judge import judge_learned
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning, Sources
from reflexio_mcp.traffic.learnings.select import Selection, as_learned, select_learnings
from reflexio_mcp.traffic.learnings.shared import SharedRule, read_shared_rules
from reflexio_mcp.traffic.learnings.showing import backgrounds, known_since, replacement
from reflexio_mcp.traffic.policy import Hold
from reflexio_mcp.traffic.reading.filter_wording import filter_in_words
from reflexio_mcp.traffic.reading.filters import INJECTIONS, TrafficFilter
from reflexio_mcp.traffic.reading.lookup import get_stored, read_set
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import in_heavy_thread
from reflexio_mcp.traffic.turns import give_way

__all__ = ["Correction", "Filtered", "Interactions", "Learnings", "Requests", "Target", "check_judged"]

EXAMPLES: Final = 5
"""Number of items whose first words a plan shows."""

LIGHT_CHARS: Final = 50_000
LIGHT_REQUESTS: Final = 10
"""More requests, or requests with more text, are added in a thread."""

OPENING_CHARS: Final = 2_000
"""Length of text that is searched for secrets before its first words are shown."""

MOST_CHARS: Final = 50_000
"""Limit of a learning's new text."""

TEXT_CHARS: Final = 2_000
"""Limit of each shown text of a correction."""

JUDGE_FIRST: Final = (
    "cannot select what is deleted here: it is only possible. Judge each, and name what goes by its ids; nothing was "
    "deleted."
)
NOT_CURRENT: Final = (
    "names a learning that is {state}; only a current one can be corrected. Nothing was changed."
)
_NO_SOURCES: Final = Sources(frozenset(), frozenset())


def check_judged(wanted: TrafficFilter) -> None:
    """Refuse a filter with a finding that somebody has to judge, request by request."""
    if wanted.finding and (judgement := judgement_of(wanted.finding)):
        raise InvalidInput("finding", JUDGE_FIRST, advice=Fact(code=judgement))


def redacted(text: str) -> str:
    """Return a text with its secrets redacted."""
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    return redact(text)


class _Beginning(NamedTuple):
    """The beginning of a request, without the rest, which a form that waits for its answer would hold in memory."""

    order: tuple[int, int, str]
    request_id: str
    text: str


@dataclass
class Selected:
    """The selected items, and what a plan says about them.

    Args:
        openings: the beginnings of the first items, by their ids, or their passages if `passages_of` is given.
        not_found: ids that the caller named and that are not stored.
        learned: the learnings, if the target selects learnings.
        named_learnings: learnings that go with the requests whatever they came from.
        sources: the requests that select the learnings, by user.
        owed: learnings that an earlier call of this deletion has not made current again, by id.
        rules: shared rules that are decided on, or that rest on a user.
        decision: what becomes of the rules.
        facts: what is not deleted, or not known.
        part_unread: the service fails to return a part of what is stored, so the items lack it.
        copy_names: the names of existing recovery copies of the target; `None` if all copies must be read.
        means: whether the target includes the content of a recovery copy.
        interactions: the interactions that the caller named, and the request that has them.
        others_say: how many of the request's other interactions say a text, by the digest of that text.
        passages_of: this finding, one of `INJECTIONS`, selects the items.
    """

    items: list[Item] = field(default_factory=list[Item])
    openings: dict[str, str] = field(default_factory=dict[str, str])
    not_found: list[str] = field(default_factory=list[str])
    learned: Learned | None = None
    named_learnings: frozenset[str] = frozenset()
    sources: Mapping[str, Sources] = field(default_factory=dict[str, Sources])
    owed: Mapping[str, Learning] = field(default_factory=dict[str, Learning])
    rules: Sequence[SharedRule] = ()
    decision: Decision | None = None
    facts: list[Fact] = field(default_factory=list[Fact])
    change: Change | None = None
    part_unread: bool = False
    copy_names: list[Name] | None = None
    means: Callable[[Copied, Content], bool] = lambda copied, content: True
    interactions: "Interactions | None" = None
    others_say: Mapping[str, int] = field(default_factory=dict[str, int])
    passages_of: str = ""
    _newest: list[_Beginning] = field(default_factory=list[_Beginning])

    async def add(self, scope: Scope, requests: Sequence[RequestWithInteractions]) -> None:
        if len(requests) > LIGHT_REQUESTS or sum(map(content_chars, requests)) > LIGHT_CHARS:
            await in_heavy_thread(scope.owner, partial(self._add, requests))
        else:
            self._add(requests)

    def _add(self, requests: Sequence[RequestWithInteractions]) -> None:
        for request in requests:
            give_way()
            self.items.append(item_of(request))
        beginnings = [
            _Beginning(order_of(item), item.request.request_id, self._opening(item))
            for item in nlargest(EXAMPLES, requests, key=order_of)
        ]
        self._newest = nlargest(EXAMPLES, [*self._newest, *beginnings])
        self.openings = {beginning.request_id: beginning.text for beginning in self._newest}

    def _opening(self, item: RequestWithInteractions) -> str:
        if self.passages_of:
            return passage_in(item, self.passages_of)
        return opening(item, OPENING_CHARS)


class Target(ABC):
    """What a call wants deleted.

    Args:
        noun: the word for one item.
        everything: a `User`, or a set that no filter narrows, so a person must type the number of items.
        restorable: a recovery copy can be kept.
        text: the new text of a learning that is corrected instead of deleted.
    """

    noun: ClassVar[str] = "request"
    restorable: ClassVar[bool] = True
    text: str = ""
    everything: bool = False

    @property
    def finding(self) -> str:
        """The finding that selects it; empty for none."""
        return ""

    @property
    def only_user(self) -> str:
        """The user whose items alone it selects; empty for every user's."""
        return ""

    @property
    def every_copy_of(self) -> list[Name]:
        """Names. The target includes every recovery copy that has one of them, also those that nobody can open."""
        return []

    @abstractmethod
    def name(self, *, words: bool = True) -> str:
        """Describe the target; without searched words if `words` is false."""

    @abstractmethod
    def asked_for(self) -> list[Any]:
        """Return all that the caller has given to make this target, for JSON.

        Two calls can have targets of the same name, such as "2 request ids". What they have asked for differs.
        """

    @abstractmethod
    async def select(self, scope: Scope, progress: Progress) -> Selected:
        pass

    async def read_learned(self, scope: Scope, selected: Selected) -> Learned:
        """Read again what was learned from the selected requests, and what their deletion means for it."""
        return await judge_learned(
            scope, selected.sources, before=selected.learned, named=selected.named_learnings
        )


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
        wanted = tuple(dict.fromkeys(require_id("request_ids", request_id) for request_id in ids))
        if not 1 <= len(wanted) <= MAX_DELETE_IDS:
            raise InvalidInput("request_ids", f"takes 1 to {MAX_DELETE_IDS:,} ids; nothing was deleted.")
        return cls(wanted, scope.user(user_id))

    def name(self, *, words: bool = True) -> str:
        requests = f"request {self.ids[0]}" if len(self.ids) == 1 else f"{len(self.ids):,} request ids"
        return f"{requests} of user {self.user_id}" if self.user_id else requests

    def asked_for(self) -> list[Any]:
        return [sorted(self.ids)]

    @property
    def only_user(self) -> str:
        return self.user_id

    @property
    def every_copy_of(self) -> list[Name]:
        return [Name.of("request", request_id) for request_id in self.ids]

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        selected = Selected(
            copy_names=self.every_copy_of,
            means=lambda copied, content: (
                isinstance(content, RequestWithInteractions) and self.user_id in ("", copied.user)
            ),
        )

        async def take(found: list[RequestWithInteractions]) -> None:
            await selected.add(scope, [item for item in found if self.user_id in ("", item.request.user_id)])

        await read_set(scope, self.ids, take, whole=True, progress=progress)
        there = {item.id for item in selected.items}
        selected.not_found = [id_ for id_ in self.ids if id_ not in there]
        return selected


@dataclass(frozen=True)
class Interactions(Target):
    """Single interactions of one request, which is not deleted."""

    request_id: str
    ids: tuple[int, ...]

    noun: ClassVar[str] = "interaction"

    def name(self, *, words: bool = True) -> str:
        interactions = "1 interaction" if len(self.ids) == 1 else f"{len(self.ids):,} interactions"
        return f"{interactions} of request {self.request_id}"

    def asked_for(self) -> list[Any]:
        return [self.request_id, sorted(self.ids)]

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        stored = await get_stored(scope, self.request_id)
        interactions = (
            {interaction.interaction_id: interaction for interaction in stored.interactions} if stored else {}
        )
        chosen = [interactions[id_] for id_ in self.ids if id_ in interactions]
        missing = [str(id_) for id_ in self.ids if id_ not in interactions]
        stay = Fact(code=FactCode.INTERACTIONS_STAY, number=len(interactions) - len(chosen))
        return Selected(
            items=[item_of(stored, interaction) for interaction in chosen] if stored else [],
            openings={
                str(interaction.interaction_id): "".join(texts_of(interaction))[:OPENING_CHARS]
                for interaction in chosen[:EXAMPLES]
            },
            not_found=missing,
            facts=[stay] if chosen else [],
            copy_names=[Name.of("request", self.request_id)] if missing else [],
            means=lambda copied, content: (
                isinstance(content, RequestWithInteractions)
                and any(str(interaction.interaction_id) in missing for interaction in content.interactions)
            ),
            interactions=self,
            others_say=Counter(
                interaction_digest(interaction)
                for interaction in interactions.values()
                if interaction.interaction_id not in self.ids
            ),
        )


@dataclass(frozen=True)
class Filtered(Target):
    """Requests by a filter.

    Args:
        judged: findings that people judged to be no problem, if the filter has a finding. These requests stay: an audit
            does not count them.
        whole_user: these requests are all that is stored of the filter's user, because the filter names nothing but the
            user, and nothing is learned here.
    """

    wanted: TrafficFilter
    everything: bool = False
    judged: Judged | None = field(default=None, compare=False)
    whole_user: bool = False

    @property
    def finding(self) -> str:
        return self.wanted.finding

    @classmethod
    def of(cls, scope: Scope, wanted: TrafficFilter, *, erase_with_learnings: bool) -> "Filtered":
        """Make the target of a filter.

        A filter that narrows nothing, and in which the caller names no user, selects `everything`. The user of a scope
        is in every filter, and was not named by the caller.

        Args:
            erase_with_learnings: erase what the filter selects, and what was learned from it. Of a user alone, that is
                all data of the user.

        Raises:
            InvalidInput: the filter names a finding that somebody has to judge, request by request.
        """
        check_judged(wanted)
        if erase_with_learnings and scope.learns and wanted.user_id and not wanted.narrows:
            return User(wanted)
        whole_user = bool(wanted.user_id) and not wanted.narrows and not scope.learns
        caller_names_user = bool(wanted.user_id and not scope.user_id)
        return cls(wanted, everything=not caller_names_user and not wanted.narrows, whole_user=whole_user)

    def name(self, *, words: bool = True) -> str:
        return (
            filter_in_words(self.wanted, words=words) if self.wanted != TrafficFilter() else "every request"
        )

    def asked_for(self) -> list[Any]:
        return [asdict(self.wanted)]

    @property
    def only_user(self) -> str:
        return self.wanted.user_id

    @property
    def every_copy_of(self) -> list[Name]:
        user_id, session_id = self.wanted.user_id, self.wanted.session_id
        if self.whole_user:
            return [Name.of("user", user_id)]
        if user_id and not self.wanted.narrows:  # the learnings stay
            return [Name.of("requests_of", user_id)]
        if session_id and self.wanted == TrafficFilter(user_id=user_id, session_id=session_id):
            return [Name.of("session", session_id)]
        return []

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        pager = SessionPager(scope, self.wanted)
        selected = Selected(
            # Only for a whole user do names find every copy: one of an earlier version lacks the name of its session.
            # So in other cases all copies are read, and `means` decides.
            copy_names=self.every_copy_of if self.whole_user else None,
            means=lambda copied, content: (
                isinstance(content, RequestWithInteractions)
                and bool(self.wanted.pick([content]))
                and not self._is_no_problem(content)
            ),
            passages_of=self.wanted.finding if self.wanted.finding in INJECTIONS else "",
        )
        repeated: dict[str, None] = {}
        judged_to_stay = 0
        async with aclosing(pager.picked()) as parts:
            async for part, found_here in parts:
                picked = [item for item in found_here if not self._is_no_problem(item)]
                judged_to_stay += len(found_here) - len(picked)
                await selected.add(scope, picked)
                if picked and self.wanted.finding == Duplicate.name:
                    going = {item.request.request_id for item in picked}
                    look = partial(findings_in, part.requests, [Duplicate])
                    found = await in_heavy_thread(scope.owner, look)
                    repeated |= {
                        finding.repeats: None for finding in found if finding.request.request_id in going
                    }
                await progress(Step.REQUESTS_LOOKED_UP, pager.requests_seen, None)
        if repeated:
            selected.facts.append(_fact_with_ids(FactCode.REPEATED_REQUESTS_STAY, scope, repeated))
        if judged_to_stay:
            selected.facts.append(Fact(code=FactCode.JUDGED_REQUESTS_STAY, number=judged_to_stay))
        selected.part_unread = bool(pager.unreadable)
        if selected.part_unread:
            selected.facts.append(Fact(code=FactCode.PART_UNREAD))
        return selected

    def _is_no_problem(self, item: RequestWithInteractions) -> bool:
        if self.judged is None:
            return False
        request = item.request
        return self.judged.has(self.wanted.finding, StoredAt(request.request_id, request.created_at))


@dataclass(frozen=True)
class User(Filtered):
    """What the API can delete of the filter's user: requests, learnings and session outcomes.

    Unlike other targets, a user includes what no list shows, such as a profile that expired some time ago. One call
    deletes all of it. That call is not made if something was stored since the plan, as far as this can be seen before.
    """

    everything: bool = True

    noun: ClassVar[str] = "record"

    def name(self, *, words: bool = True) -> str:
        return f"everything of {super().name(words=words)}"

    @property
    def every_copy_of(self) -> list[Name]:
        return [Name.of("user", self.wanted.user_id)]

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        user_id = self.wanted.user_id
        selected = await self.read_stored(scope, progress)
        selected.rules, about_rules = await _shared_rules(scope, user_id)
        selected.facts = [
            *([] if selected.items else [Fact(code=FactCode.NOTHING_VISIBLE)]),
            Fact(code=FactCode.OTHER_USERS_STAY),
            *about_rules,
            Fact(code=FactCode.OTHER_RECORDS_STAY),
            Fact(code=FactCode.RECORD_STAYS),
        ]
        selected.copy_names = self.every_copy_of
        selected.means = lambda copied, content: True
        return selected

    def hold(self, scope: Scope, selected: Selected) -> Hold | None:
        """Return the hold on the user, which also keeps what no list shows, or one that may be on an unread part."""
        policy, user_id = scope.policy.now(), self.wanted.user_id
        return policy.may_hold(user_id) if selected.part_unread else policy.held_by(user_id)

    async def read_stored(self, scope: Scope, progress: Progress) -> Selected:
        """Return what is stored of the user, as far as any call returns it."""
        user_id = self.wanted.user_id
        selected = await super().select(scope, progress)
        selected.learned = await self.read_learned(scope, selected)
        selected.items += map(learning_item, selected.learned.learnings)
        outcomes = await scope.client.get_session_outcomes(user_id)
        selected.items += [outcome_item(outcome) for outcome in outcomes if outcome.user_id == user_id]
        return selected

    async def read_learned(self, scope: Scope, selected: Selected) -> Learned:
        user_id = self.wanted.user_id
        listed = await learnings_of_user(scope, user_id)
        return as_learned([*listed, *await expired_profiles(scope, user_id)])


@dataclass(frozen=True)
class Learnings(Target):
    """Learnings without their requests. `selection` has the user of the scope."""

    selection: Selection
    everything: bool = False

    noun: ClassVar[str] = "learning"

    def name(self, *, words: bool = True) -> str:
        return f"learnings of {self.selection.describe(words=words)}"

    def asked_for(self) -> list[Any]:
        return self.selection.asked_for()

    @property
    def only_user(self) -> str:
        return self.selection.user_id

    @property
    def every_copy_of(self) -> list[Name]:
        if self.selection.by_requests or self.selection.words:
            return []
        return [Name.of("learning", learning_id) for learning_id in self.selection.learning_ids]

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        found = await select_learnings(scope, self.selection)
        learnings = found.learned.going
        # `read_learned` reads the learnings of these users again, also of those without sources.
        sources = {learning.user_id: _NO_SOURCES for learning in learnings} | dict(found.sources)
        facts: list[Fact] = []
        if learnings:
            taught = await _fact_about_sources(scope, learnings)
            facts.append(taught)
            if taught.code == FactCode.SOURCES_STAY:
                facts.append(Fact(code=FactCode.SOURCES_IN_ONE_PLAN))
        if found.unreadable:
            facts.append(Fact(code=FactCode.PART_UNREAD))
        return Selected(
            items=[learning_item(learning) for learning in learnings],
            openings={
                learning.learning_id: learning.content[:OPENING_CHARS] for learning in learnings[:EXAMPLES]
            },
            not_found=list(found.not_found),
            learned=found.learned,
            sources=sources,
            facts=facts,
            copy_names=[Name.of("learning", learning_id) for learning_id in self.selection.learning_ids]
            or None,
            means=lambda copied, content: (
                isinstance(content, Learning) and self.selection.chooses(content, sources)
            ),
        )

    async def read_learned(self, scope: Scope, selected: Selected) -> Learned:
        """Read the learnings again. Unchanged ones of the plan stay included."""
        if self.selection.by_requests:
            return self.selection.with_words(await super().read_learned(scope, selected))
        return await read_again(scope, selected.sources, selected.learned or Learned())


@dataclass(frozen=True)
class Correction(Target):
    """A new text for one learning, which `selection` names with its user."""

    selection: Selection
    text: str = ""

    noun: ClassVar[str] = "learning"

    @classmethod
    def of(
        cls, scope: Scope, user_id: str, learning_id: str, text: str, *, may_have_secrets: bool
    ) -> "Correction":
        """Check the arguments of a call.

        Args:
            may_have_secrets: a text with a secret in it may be stored.

        Raises:
            InvalidInput: an argument cannot be used.
        """
        if not text.strip():
            raise InvalidInput("content", "must not be blank.", advice=Fact(code=FactCode.DELETE_INSTEAD))
        if len(text) > MOST_CHARS:
            raise InvalidInput("content", f"takes {MOST_CHARS:,} characters at most.")
        if not may_have_secrets and redacted(text) != text:
            raise InvalidInput("content", "contains a secret, which this server does not store.")
        return cls(Selection(scope.user(user_id), (require_id("learning_id", learning_id),)), text)

    def name(self, *, words: bool = True) -> str:
        return f"the text of {self.selection.learning_ids[0]} of user {self.selection.user_id}"

    def asked_for(self) -> list[Any]:
        return [*self.selection.asked_for(), self.text]

    async def read(self, scope: Scope) -> Learning | None:
        """Return the learning, under its newest id if the id has changed and nothing else."""
        found = (await select_learnings(scope, self.selection)).learned.learnings
        current = (learning for learning in found if learning.state == "current")
        return next(current, next(iter(found), None))

    def under(self, learning_id: str) -> "Correction":
        """The same correction of the learning under the id that it has now."""
        return replace(self, selection=replace(self.selection, learning_ids=(learning_id,)))

    async def successor(self, scope: Scope, learning: Learning) -> Learning | None:
        """Return what has replaced the learning, if anything has."""
        return replacement(learning, Lineage(await learnings_of_user(scope, learning.user_id)))

    async def select(self, scope: Scope, progress: Progress) -> Selected:
        learning = await self.read(scope)
        if learning is None:
            return Selected(not_found=[*self.selection.learning_ids], learned=Learned(), copy_names=[])
        if learning.state != "current":
            raise InvalidInput("learning_id", NOT_CURRENT.format(state=learning.state))
        if learning.content == self.text:
            raise InvalidInput("content", "is what this learning says already; nothing was changed.")
        facts = [await _fact_about_sources(scope, [learning])]
        if learning.quote:
            facts.append(Fact(code=FactCode.QUOTE_STAYS))
        everything = await learnings_of_user(scope, learning.user_id)
        background = (await backgrounds(scope, [learning], everything))[learning.user_id]
        since = known_since(learning, background)
        quotes = " … ".join(quotes_of(learning))
        return Selected(
            items=[learning_item(learning)],
            learned=Learned(),
            copy_names=[],
            facts=facts,
            change=Change(
                before=await _shown(scope, learning.content),
                after=await _shown(scope, self.text),
                quote=await _shown(scope, quotes) if quotes and not scope.masked else "",
                known_since=at(since) if since else None,
            ),
        )


async def _shared_rules(scope: Scope, user_id: str) -> tuple[list[SharedRule], list[Fact]]:
    """Return which shared rules rest on a user. A plan says it, because the service cannot tell after an erasure."""
    try:
        shared = await read_shared_rules(scope)
    except ReflexioError:
        return [], [Fact(code=FactCode.SHARED_RULES_UNREAD)]
    rules = shared.of(user_id)
    counted = (
        (FactCode.SHARED_RULES_REST, len(rules)),
        (FactCode.SHARED_RULES_UNTRACED, shared.untraced),
        (FactCode.SHARED_RULES_NOT_READ, shared.left_out),
    )
    facts = [Fact(code=code, number=number) for code, number in counted if number]
    if not facts:
        return rules, [Fact(code=FactCode.NO_SHARED_RULES_REST)] if scope.learns else []
    return rules, [*facts, Fact(code=FactCode.SHARED_RULES_RETURN)]


async def _shown(scope: Scope, text: str) -> str:
    if scope.masked:
        return f"({len(text):,} characters)"
    return clip(await anyio.to_thread.run_sync(redacted, text), TEXT_CHARS)


def _fact_with_ids(code: FactCode, scope: Scope, ids: Collection[str]) -> Fact:
    """Return a fact with the first ids of a set and their number."""
    return Fact(code=code, number=len(ids), names=few(list(ids), scope.shown_id))


async def _fact_about_sources(scope: Scope, learnings: Sequence[Learning]) -> Fact:
    """Return whether sources of learnings are stored, and where."""
    requests, all_gone = dict[str, None](), True
    for user_id in {learning.user_id for learning in learnings}:
        found = await find_evidence(
            scope, user_id, [learning for learning in learnings if learning.user_id == user_id]
        )
        for evidence in found.values():
            requests |= dict.fromkeys(turn.request_id for turn in evidence.quoted_turns)
            all_gone = all_gone and not (evidence.sources or evidence.unread)

    async def take(items: Sequence[RequestWithInteractions]) -> None:
        requests.update(dict.fromkeys(item.request.request_id for item in items))

    # Without interactions, a learning names only the last request of its window, or a run that is no request, or none.
    unlinked = [learning for learning in learnings if not learning.interaction_ids]
    await read_set(scope, list({learning.last_request_id for learning in unlinked} - {""}), take)
    if requests:
        return _fact_with_ids(FactCode.SOURCES_STAY, scope, requests)
    return Fact(code=FactCode.SOURCES_GONE if all_gone and not unlinked else FactCode.SOURCES_UNKNOWN)
