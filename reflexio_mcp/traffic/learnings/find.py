"""Finds learnings, and where their source interactions are stored.

Only a user's own profiles and playbooks are found. Agent playbooks come from many users' traffic.
"""

import re
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import anyio.to_thread

from reflexio_mcp.matching.words import Words, fold
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.learnings import cases
from reflexio_mcp.traffic.learnings.cases import Case, Replace
from reflexio_mcp.traffic.learnings.evidence import Evidence, QuotedWords, Turn, Turns, evidence_of, quotes_of
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import HowKnown, Learning, Sources, learning_of, listed_by
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import both, for_each

__all__ = [
    "Learned",
    "LinkedLearning",
    "expired_profiles",
    "find_evidence",
    "learnings_of_user",
    "linked_by_quotes",
    "may_come_from",
    "read_again",
    "turns_of",
    "words_in_others",
]

USERS_AT_ONCE: Final = 4

NOTHING_QUOTED: Final = QuotedWords(())

MOST_REQUESTS: Final = 5_000
"""Maximum number of a user's requests that are read."""

WORD: Final = re.compile(r"[^\W\d_]{5,}")
"""A word that is looked for in other requests. Most shorter ones are in any text."""

REDACTED: Final = re.compile(r"\[redacted: [^]]*]")

MOST_WORDS: Final = 24


@dataclass(frozen=True, slots=True)
class LinkedLearning:
    """A learning from a set of requests.

    Args:
        others: the ids of its sources outside the set: interactions that it lists, stored or not, and, if some that it
            lists are missing, other interactions that say what it quotes.
        case: what a deletion of the set means for it; `None` if it was not selected by requests.
        named: the caller has named it, so it goes whatever its case.
    """

    learning: Learning
    how: HowKnown
    others: frozenset[int] = frozenset()
    case: Case | None = None
    named: bool = False

    @property
    def earlier(self) -> tuple[Learning, ...]:
        """The learnings that it replaced, and that become current again if it is deleted."""
        return self.case.earlier if isinstance(self.case, Replace) else ()

    @property
    def goes(self) -> bool:
        """Whether a deletion of the set deletes it."""
        return self.case is None or self.named or cases.goes(self.learning, self.case)


@dataclass(frozen=True, slots=True)
class Learned:
    """The learnings from a set of requests.

    Args:
        linked: the learnings, by their `learning_id`.
        unlinked: how many learnings of these users do not name their sources.
        users_left_out: how many users were not read.
        changed: learnings of an earlier reading, now with another text; not in `linked`.
        read: all learnings of the users that were read.
        inside: those interactions of the set that were read, by user and id.
    """

    linked: Mapping[str, LinkedLearning] = field(default_factory=dict[str, LinkedLearning])
    unlinked: int = 0
    users_left_out: int = 0
    learns: bool = True
    changed: frozenset[str] = frozenset()
    read: tuple[Learning, ...] = ()
    inside: Mapping[str, Mapping[int, Turn]] = field(default_factory=dict[str, Mapping[int, Turn]])

    @property
    def count(self) -> int:
        return len(self.linked)

    @property
    def learnings(self) -> list[Learning]:
        return [linked.learning for linked in self.linked.values()]

    def differs_from(self, learning: Learning) -> bool:
        """Whether a learning had another text in this reading."""
        found = self.linked.get(learning.learning_id)
        return found is not None and found.learning.digest != learning.digest

    @property
    def going(self) -> list[Learning]:
        """The learnings that a deletion of the set deletes."""
        return [linked.learning for linked in self.linked.values() if linked.goes]

    def current_again_after(self, going: Collection[str]) -> dict[str, Learning]:
        """Return the replaced learnings that become current again if these learnings are deleted, by id."""
        return {
            earlier.learning_id: earlier
            for linked in self.linked.values()
            if linked.learning.learning_id in going
            for earlier in linked.earlier
            if earlier.learning_id not in going
        }


async def learnings_of_user(scope: Scope, user_id: str) -> list[Learning]:
    """Return all profiles and playbooks of a user, the last changed first."""
    profiles, playbooks = await both(
        lambda: scope.client.get_profiles(user_id), lambda: scope.client.get_user_playbooks(user_id)
    )
    rows = [*profiles, *playbooks]
    # The API deletes by id alone, so other users' learnings stop here.
    learnings = [learning for learning in map(learning_of, rows) if learning.user_id == user_id]
    return sorted(learnings, key=lambda learning: (-learning.changed_at, learning.learning_id))


async def current_learnings(scope: Scope) -> list[Learning]:
    """Return the learnings of every user that are in use now."""
    if not scope.learns:
        return []
    profiles, playbooks = await both(
        lambda: scope.client.get_all_profiles(None), lambda: scope.client.get_user_playbooks(None)
    )
    rows = [*profiles, *playbooks]
    return [learning for learning in map(learning_of, rows) if learning.state == "current"]


async def expired_profiles(scope: Scope, user_id: str) -> list[Learning]:
    """Return a user's profiles that are past their expiry and that the service has not removed yet.

    No list of the service shows them, whatever its filter.
    """
    rows = await scope.client.get_all_profiles(user_id)
    learnings = [learning_of(row) for row in rows if 0 < row.expiration_timestamp <= time.time()]
    return [replace(learning, state="expired") for learning in learnings if learning.user_id == user_id]


async def read_again(scope: Scope, users: Iterable[str], before: Learned) -> Learned:
    """Read learnings of users again. Return those whose text is the same as before, even under another id."""
    if not scope.learns:
        return Learned(learns=False)
    linked: dict[str, LinkedLearning] = {}
    changed: set[str] = set()
    everything: list[Learning] = []

    async def read(user_id: str) -> None:
        learnings = await learnings_of_user(scope, user_id)
        everything.extend(learnings)
        lineage = Lineage(learnings)
        for learning in learnings:
            found = before.linked.get(learning.learning_id)
            if found is None:
                continue
            if before.differs_from(learning):
                changed.add(learning.learning_id)
                continue
            linked[learning.learning_id] = replace(found, learning=learning)
            # It was learned again meanwhile, and its text has another id.
            if learning.is_replaced and not found.learning.is_replaced:
                for renamed in lineage.renamed(learning):
                    linked[renamed.learning_id] = replace(found, learning=renamed)

    await for_each(list(users), read, at_once=USERS_AT_ONCE)
    return Learned(linked, changed=frozenset(changed), read=tuple(everything))


def turns_of(requests: Iterable[RequestWithInteractions]) -> dict[int, Turn]:
    """Return the interactions of requests by id."""
    return {
        interaction.interaction_id: Turn(item.request, place, interaction)
        for item in requests
        for place, interaction in enumerate(item.interactions, 1)
    }


async def find_interactions(
    scope: Scope,
    user_id: str,
    wanted: Collection[int],
    *,
    among: Collection[int] = (),
    quoted: QuotedWords = NOTHING_QUOTED,
    most_requests: float = MOST_REQUESTS,
) -> Turns:
    """Find where interactions of a user are stored.

    Args:
        among: further ids, of interactions that are returned only if they say what is `quoted`.
    """
    found: dict[int, Turn] = {}
    within_limit = True
    not_met = {*wanted, *among} if quoted else {*wanted}
    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.parts()) as parts:
        while not_met and within_limit and (part := await anext(parts, None)):
            met = {id_: turn for id_, turn in turns_of(part.requests).items() if id_ in not_met}
            not_met -= met.keys()
            found |= {id_: turn for id_, turn in met.items() if id_ in wanted}
            found |= await _saying(quoted, {id_: turn for id_, turn in met.items() if id_ not in wanted})
            within_limit = pager.requests_seen < most_requests
    found_all = not_met.isdisjoint(wanted)
    read_all = within_limit and not pager.unreadable
    return Turns(found, missing_are_gone=found_all or read_all)


async def _saying(quoted: QuotedWords, turns: Mapping[int, Turn]) -> dict[int, Turn]:
    if not quoted or not turns:
        return {}
    return await anyio.to_thread.run_sync(
        lambda: {id_: turn for id_, turn in turns.items() if quoted.said_in(turn)}
    )


async def with_quoted(
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    turns: Turns,
    *,
    most_requests: float = MOST_REQUESTS,
) -> Turns:
    """Add the stored interactions that say what learnings quote, for learnings that list missing interactions.

    Args:
        turns: the interactions that were found so far. Besides those that the learnings list, they may have others to
            look through, such as copied ones.
    """
    quoted = QuotedWords(learning for learning in learnings if turns.lack(learning))
    if not quoted:
        return turns
    found = await _saying(quoted, turns.by_id)
    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.parts()) as parts:
        async for part in parts:
            found |= await _saying(quoted, turns_of(part.requests))
            if pager.requests_seen >= most_requests:
                break
    return replace(turns, quoted=found)


async def find_sources(
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    *,
    known: Mapping[int, Turn] | None = None,
    most_requests: float = MOST_REQUESTS,
) -> Turns:
    """Find the interactions that learnings of a user list, and those that say the same where some are missing.

    Args:
        known: interactions that may not be stored any more.
        most_requests: maximum number of the user's requests that are read. Each may be read twice.
    """
    listed = listed_by(learnings).difference(known or ())
    stored = await find_interactions(scope, user_id, listed, most_requests=most_requests)
    turns = Turns({**(known or {}), **stored.by_id}, stored.missing_are_gone)
    return await with_quoted(scope, user_id, learnings, turns, most_requests=most_requests)


async def linked_by_quotes(
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    sources: Sources,
    *,
    known: Mapping[int, Turn] | None = None,
    most_requests: float = MOST_REQUESTS,
) -> frozenset[str]:
    """Return the ids of learnings that quote selected requests of a user without listing their interactions.

    They list interactions that are not stored under these ids any more: a restore gives interactions new ids, and
    learnings still list the old ones.

    Args:
        known: the selected interactions that need not be read.
        most_requests: maximum number of the user's requests that are read. Each may be read twice.
    """
    others = sources.listing_only_others(learnings)
    selected = await find_interactions(
        scope,
        user_id,
        (),
        among=sources.interaction_ids.difference(known or ()),
        quoted=QuotedWords(others),
        most_requests=most_requests,
    )
    turns = {**(known or {}), **selected.by_id}
    quoting = await lacking_and_quoting(scope, user_id, others, turns, most_requests=most_requests)
    return frozenset(learning.learning_id for learning in quoting)


async def lacking_and_quoting(
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    selected: Mapping[int, Turn],
    *,
    most_requests: float = MOST_REQUESTS,
) -> list[Learning]:
    """Return the learnings that quote selected interactions and whose own ones are not all stored."""

    def search() -> list[Learning]:
        turns = selected.values()
        return [learning for learning in learnings if any(map(QuotedWords([learning]).said_in, turns))]

    quoting = await anyio.to_thread.run_sync(search)
    stored = await find_interactions(scope, user_id, listed_by(quoting), most_requests=most_requests)
    return [learning for learning in quoting if stored.lack(learning)]


async def may_come_from(
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    sources: Sources,
    *,
    selected: Mapping[int, Turn],
    others: Mapping[int, Turn],
) -> list[Learning]:
    """Return the learnings that list no selected interaction, but may come from one that had another id then.

    An erasure has to take all of them. `linked_by_quotes` returns only those that certainly quote the requests. Each
    returned learning lists interactions that are not found anywhere. A learning is left out only if all that it quotes
    is said in interactions that are not selected.

    Args:
        selected: interactions of the selected requests that may not be stored, such as copied ones.
        others: interactions of other requests that may not be stored.
    """
    candidates = sources.listing_only_others(learnings)
    stored = await find_interactions(
        scope, user_id, listed_by(candidates), among=sources.interaction_ids, quoted=QuotedWords(candidates)
    )
    # Not `Turns.lack`: here an interaction that only a copy has is not missing.
    found = stored.by_id.keys() | others.keys()
    lacking = [learning for learning in candidates if not learning.interaction_ids <= found]
    if not lacking:
        return []
    all_selected = {**sources.among(stored.by_id), **selected}
    turns = await with_quoted(
        scope, user_id, lacking, replace(stored, by_id={**others, **stored.by_id, **all_selected})
    )

    def is_from_others(learning: Learning) -> bool:
        evidence = evidence_of(learning, turns)
        quotes_selected = any(map(QuotedWords([learning]).said_in, all_selected.values()))
        return bool(evidence.quoted_ids) and not evidence.unresolved and not quotes_selected

    def search() -> list[Learning]:
        return [learning for learning in lacking if not is_from_others(learning)]

    return await anyio.to_thread.run_sync(search)


async def find_evidence(
    scope: Scope,
    user_id: str,
    learnings: Sequence[Learning],
    *,
    known: Mapping[int, Turn] | None = None,
    most_requests: float = MOST_REQUESTS,
) -> Mapping[str, Evidence]:
    """Return the evidence of learnings of a user, by `learning_id`.

    Args:
        known: interactions that may not be stored any more.
        most_requests: maximum number of the user's requests that are read. Each may be read twice.
    """
    turns = await find_sources(scope, user_id, learnings, known=known, most_requests=most_requests)

    def search() -> dict[str, Evidence]:
        return {learning.learning_id: evidence_of(learning, turns) for learning in learnings}

    return await anyio.to_thread.run_sync(search)


@dataclass
class WordsElsewhere:
    """Words of some learnings in requests that are not known to have taught them.

    A request that says the same, but that they do not list, counts here: nothing else names it as a source.

    Args:
        listed: the ids of the interactions that they list.
        teaching: the ids of other requests that are named as their sources.
        requests: how many such requests were read, `with_words` how many of them have a word.
        requests_with: how many have each word.
    """

    words: Words
    quoted: QuotedWords
    listed: Collection[int]
    teaching: Collection[str]
    requests: int = 0
    with_words: int = 0
    requests_with: Counter[str] = field(default_factory=Counter[str])

    @property
    def looked_for(self) -> list[str]:
        return [word for alternative in self.words.alternatives for word in alternative]

    def look(self, turns: Sequence[Turn]) -> None:
        """Count a request, unless it is known to have taught the learnings."""
        if any(map(self._taught, turns)):
            return
        there = self.words.terms_in("\n".join(turn.text for turn in turns))
        self.requests_with.update(there)
        self.requests += 1
        if there:
            self.with_words += 1

    def _taught(self, turn: Turn) -> bool:
        if turn.request_id in self.teaching:
            return True
        return turn.interaction_id in self.listed and self.quoted.said_in(turn)


async def words_in_others(
    scope: Scope,
    user_id: str,
    sets: Mapping[str, Sequence[Learning]],
    *,
    inside: Collection[int] = (),
    teaching: Collection[str] = (),
    most_requests: float = MOST_REQUESTS,
) -> dict[str, WordsElsewhere]:
    """Look for the words of each set of learnings in the requests of a user that have not taught them.

    Nothing is returned if content is hidden, or if not all requests can be read. A set without words is left out.

    Args:
        inside: the ids of interactions that are not looked at.
        teaching: the ids of requests that are named as sources besides those that the learnings list and quote.
    """
    if scope.masked:
        return {}
    words = {name: await anyio.to_thread.run_sync(_words_of, learnings) for name, learnings in sets.items()}
    found = {
        name: WordsElsewhere(words[name], QuotedWords(learnings), listed_by(learnings), teaching)
        for name, learnings in sets.items()
        if words[name]
    }

    def look(requests: Sequence[RequestWithInteractions]) -> None:
        for item in requests:
            turns = [turn for turn in turns_of([item]).values() if turn.interaction_id not in inside]
            if not turns:
                continue
            for elsewhere in found.values():
                elsewhere.look(turns)

    pager = SessionPager(scope, TrafficFilter(user_id=user_id))
    async with aclosing(pager.parts()) as parts:
        while found and (part := await anext(parts, None)):
            if pager.requests_seen > most_requests:
                return {}
            await anyio.to_thread.run_sync(look, part.requests)
    return {} if pager.unreadable else found


def _words_of(learnings: Sequence[Learning]) -> Words:
    """Return the words that learnings say or quote, without secrets."""
    from reflexio_mcp.traffic.audit.rules.redaction import redact  # its patterns take a while to compile

    texts = [text for learning in learnings for text in (learning.content, *quotes_of(learning))]
    open_texts = [fold(REDACTED.sub(" ", redact(text))) for text in texts]
    found = dict.fromkeys(word for text in open_texts for word in WORD.findall(text))
    # `Words` maps what is looked for to what is shown. Both are folded here.
    return Words(tuple({word: word} for word in list(found)[:MOST_WORDS]))
