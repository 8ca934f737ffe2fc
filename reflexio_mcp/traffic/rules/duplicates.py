"""`duplicate`, `near-duplicate`, `copied-session` and `copied-request`: the same content twice, in one
session or in two.

Exact copies are found by a digest. Near ones by minimum hashes of runs of three words: one hash a word run, the
least one of each of sixteen bins kept, bins compared in pairs (locality-sensitive hashing). Candidates that share
a pair are then compared exactly. Each pair of bins remembers its last few texts only, and texts that are too old
or too many are forgotten, so that work and memory do not grow with the square or the length of a session.
"""

import re
import zlib
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen, stop_if_cancelled
from reflexio_mcp.traffic.rules.found import Example, example
from reflexio_mcp.traffic.rules.roles import is_foreign, is_person, is_system, speaker

__all__ = ["CopiedSessions", "Duplicates"]

DUPLICATE_CHARS: Final = 60
"""Shorter texts (`continue`, `yes please`) are said again in earnest."""

DUPLICATE_SECONDS: Final = 1800
"""Retries and double publishing come within minutes; a prompt that is sent every hour or day is sent in earnest."""

RETRY_SECONDS: Final = 5
"""A text of any length that is stored again this fast, and nothing else with it, was sent twice by a program."""

NEAR_CHARS_LEAST: Final = 120
"""Below some twenty words a small difference is a different statement."""

SHORT_CHARS_LEAST: Final = 20
"""Between this and NEAR_CHARS_LEAST only a misspelt word, case and punctuation may differ."""

DROPPED_FROM_WORDS: Final = 7
"""In a short text of so many words a small one may also be left out."""

IMPORTED_REQUESTS: Final = 3
"""So many different requests that all come a second time are no coincidence, whenever they do."""

IMPORTED_TURNS: Final = 6
"""So many different turns that come again in the order they had, in whatever requests: three questions with answers."""

IN_ORDER: Final = 0.8
"""Share of them that follow on the one they followed on before; of what is merely said again it is half."""

ANSWERED_SECONDS: Final = 6 * 3600
"""An answer takes hours at the most; who asks the same again the next day asks in earnest."""

IMPORTED_SHARE: Final = 0.9
"""Of a session's different requests; an import that ran twice repeats them all, but for what came in between."""

TURNS_COMPARED: Final = 200
"""Beginnings of one request that earlier ones are compared with: cumulative publishing grows turn by turn."""

COPIED_TURNS: Final = 3
"""Turns that two sessions must share; jobs begin with the same two and then differ."""

COPIED_CHARS: Final = 120
"""Characters that two sessions must share; greetings and thanks are shorter."""

COPIED_NEARLY: Final = 6
"""Turns that two sessions must share where one of them has a turn of its own, or one in ten."""

TURNS_KEPT: Final = 200_000
"""Turns that are compared across sessions; an audit of more says how many were left out."""

SESSIONS_A_TURN: Final = 4
"""Sessions with the same turn that are each compared with each; of more, neighbours in time are."""

COPIED_ANSWER_CHARS: Final = 150
"""An assistant gives no answer of that length twice in the same words; greetings, orders and their like are shorter."""

COPIED_ANSWER_SESSIONS: Final = 4
"""Sessions with the same question and answer; in more of them it is a job that always gets the same answer."""

NEAR_SECONDS: Final = 900
"""Double publishing happens within minutes; later it is a person who asks again."""

NEAR_SIMILARITY: Final = 0.85
"""Share of common word runs; one changed word in forty leaves more than this."""

ONE_WORD_SIMILARITY: Final = 0.7
"""The same where only one word is misspelt or dropped: in twenty words it changes three runs."""

NEAR_WORDS: Final = 3
"""Words that may differ, all of them small (letters only, lower-case): another name or number is another request."""

BEGINNING_SHARE: Final = 0.6
"""A text that is cut off has at least this much of the whole one."""

CHARS_COMPARED: Final = 8_000
WORDS_COMPARED: Final = 3_000
BINS: Final = 16
REMEMBERED: Final = 6
"""Texts a pair of bins remembers."""

TEXTS_KEPT: Final = 250
"""Texts of a session that a new one is compared with at the most, all of them from the last NEAR_SECONDS."""

_WORD = re.compile(r"\w+")
_MOMENT = re.compile(
    r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?|\b\d\d:\d\d:\d\d\b"
)


_WEIGHTY: Final = frozenset(
    re.findall(
        r"\w+",
        """
        no not yes nor off on one two four five six nine ten all none less more up down left new old buy sell never
        without cancel except only unless before after cannot neither nobody nothing both either above below under over
        always stop start first last second third three seven eight half double again undo remove delete add
        """,
    )
)
"""Words that make another statement of a sentence."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What is compared of a request: its words one after the other, and hashes of runs of them."""

    content: "_Content"
    joined: str
    hashes: "array[int]"

    @property
    def words(self) -> list[str]:
        return self.joined.split(" ")


Places = list[tuple[int, int, int]]


class _Recent:
    """The texts of the last minutes, by what their bins have in common."""

    def __init__(self) -> None:
        self.whole: OrderedDict[bytes, _Content] = OrderedDict()
        self.lasting: dict[bytes, _Content] = {}
        """Those that are long enough to be the beginning of a later one whenever that comes."""
        self._buckets: dict[tuple[int, int, int], list[_Text]] = {}
        self._texts: deque[tuple[_Text, Places]] = deque()
        self._short: deque[_Text] = deque(maxlen=REMEMBERED)

    def near(self, content: "_Content") -> Iterator[tuple["_Content", "_Content"]]:
        """The pair that a request makes with one that it nearly repeats, if there is one; then remember it."""
        if content.chars < SHORT_CHARS_LEAST:
            return
        text = _read(content)
        if content.chars < NEAR_CHARS_LEAST:
            alike = [other for other in self._short if _is_misspelt(other, text)]
            self._short.append(text)
        else:
            alike = self._alike(text)
        for other in alike[:1]:
            # A whole text is worth more than its beginning, else the first of two stays.
            fuller = len(other.words) < len(text.words) * 0.98
            yield (other.content, content) if fuller else (content, other.content)

    def _alike(self, text: _Text) -> list[_Text]:
        if not text.hashes:
            return []
        least = [2**32] * BINS
        for run in text.hashes:
            place = run % BINS
            least[place] = min(least[place], run)
        places = [(place, least[place], least[place + 1]) for place in range(0, BINS, 2)]
        candidates = {id(other): other for place in places for other in self._buckets.get(place, ())}
        found = next((other for other in candidates.values() if _same(other, text)), None)
        self._add(text, places)
        return [found] if found else []

    def _add(self, text: _Text, places: Places) -> None:
        self._texts.append((text, places))
        for place in places:
            bucket = self._buckets.setdefault(place, [])
            bucket.append(text)
            del bucket[:-REMEMBERED]
        if len(self._texts) > TEXTS_KEPT:
            self._forget()

    def forget_before(self, created_at: int) -> None:
        while self._texts and self._texts[0][0].content.at < created_at:
            self._forget()
        while self._short and self._short[0].content.at < created_at:
            self._short.popleft()
        while self.whole and next(iter(self.whole.values())).at < created_at:
            self.whole.popitem(last=False)

    def _forget(self) -> None:
        text, places = self._texts.popleft()
        for place in places:
            if bucket := self._buckets.get(place):
                bucket[:] = [one for one in bucket if one is not text]
                if not bucket:
                    del self._buckets[place]


class Duplicates(Detector):
    """Both rules; what it remembers ends with the session."""

    def session(self, seen: SessionSeen) -> None:
        if len(seen.requests) < 2:
            return
        exact, near = self.founds
        # Oldest first: the first of several is the one that stays.
        items = seen.requests[::-1]
        contents = [
            _Content.of(*each) for each in zip(items, seen.digests[::-1], seen.turns[::-1], strict=True)
        ]
        seconds: dict[int, bytes] = {}
        for content in contents:
            if seconds.setdefault(content.at, content.digest) != content.digest:
                seconds[content.at] = b""
        imported = _imported_again(contents)
        in_others = _turns_again(contents)
        last_seen: dict[bytes, _Content] = {}
        recent = _Recent()
        repeats: dict[str, str] = {}
        nearly: dict[str, str] = {}
        for index, content in enumerate(contents):
            stop_if_cancelled()
            before = last_seen.get(content.digest)
            last_seen[content.digest] = content
            if before is not None and (
                index in imported or content.is_exchange or _is_repeated(content, before, seconds)
            ):
                repeats[content.request_id] = before.request_id
                exact.add(content.request_id, content.item, copy_of=before.request_id)
                continue
            if index in in_others:
                repeats[content.request_id] = contents[in_others[index]].request_id
                exact.add(content.request_id, content.item, copy_of=repeats[content.request_id])
                continue
            for lesser, kept in _lesser(content, recent):
                if lesser.request_id not in nearly:
                    nearly[lesser.request_id] = kept.request_id
                    near.add(lesser.request_id, lesser.item, copy_of=kept.request_id)
        rest = [one for one in contents if one.request_id not in repeats.keys() | nearly.keys()]
        for inner, before, after in _windows(rest):
            nearly[inner.request_id] = after.request_id
            note = f"its first turns stay in {before.request_id}"
            near.add(inner.request_id, inner.item, copy_of=after.request_id, note=note)
        self.originals = {exact.rule.id: _what_stays(repeats), near.rule.id: _what_stays(nearly)}
        for found, stays in zip(self.founds, self.originals.values(), strict=True):
            found.examples[:] = [
                one
                if (kept := stays.get(one.request_id, one.copy_of)) == one.copy_of
                else replace(one, copy_of=kept)
                for one in found.examples
            ]


def _what_stays(repeats: Mapping[str, str]) -> dict[str, str]:
    """Each copy with the request that stays, also where the one that it repeats is itself a copy."""
    stays: dict[str, str] = {}
    for copy in repeats:
        passed: dict[str, None] = {}
        at = copy
        while at in repeats and at not in stays and at not in passed:
            passed[at] = None
            at = repeats[at]
        stays |= dict.fromkeys(passed, stays.get(at, at))
    return stays


@dataclass(frozen=True, slots=True)
class _Content:
    """One request as it is compared.

    Args:
        digest: of the user, the roles and the texts.
        beginnings: the same of its first turn, its first two, ..., without the last one.
        turns: of each of its turns.
        is_exchange: somebody asked and somebody answered, in more than a few words. Such a pair does not come about
            twice, whenever it does.
    """

    item: RequestWithInteractions
    at: int
    chars: int
    digest: bytes
    beginnings: tuple[bytes, ...]
    turns: Sequence[bytes]
    is_exchange: bool

    @property
    def request_id(self) -> str:
        return self.item.request.request_id

    @classmethod
    def of(
        cls, item: RequestWithInteractions, digests: Sequence[bytes], turns: Sequence[bytes]
    ) -> "_Content":
        *beginnings, digest = digests
        lengths = _lengths(item)
        return cls(
            item,
            item.request.created_at,
            sum(lengths),
            digest,
            tuple(beginnings[:TURNS_COMPARED]),
            turns,
            _roles(item) > 1 and max(lengths) >= DUPLICATE_CHARS,
        )


def _lengths(item: RequestWithInteractions) -> list[int]:
    return [sum(map(len, texts_of(turn))) for turn in item.interactions]


def _roles(item: RequestWithInteractions) -> int:
    return len({speaker(turn.role) for turn in item.interactions})


def _has_long_answer(item: RequestWithInteractions, lengths: list[int]) -> bool:
    """Whether an assistant answers at length: prompts and what tools give are the same again in earnest."""
    return _roles(item) > 1 and any(
        chars >= COPIED_ANSWER_CHARS
        and not (is_person(turn.role) or is_system(turn.role) or is_foreign(turn.role))
        for chars, turn in zip(lengths, item.interactions, strict=True)
    )


def _imported_again(contents: list[_Content]) -> set[int]:
    """Places of requests that a second import of the same history brought.

    Several different ones in a row that were all said before, whenever that was; or all of a session twice, in an
    order that the second they arrived in has mixed up.
    """
    first: dict[bytes, int] = {}
    again = [first.setdefault(content.digest, index) != index for index, content in enumerate(contents)]
    copies = [index for index, is_again in enumerate(again) if is_again]
    if len(first) >= IMPORTED_REQUESTS and len(copies) >= IMPORTED_SHARE * len(first):
        return _if_enough(contents, copies)
    imported: set[int] = set()
    start = 0
    for index in range(len(contents) + 1):
        if index == len(contents) or not again[index]:
            if len({contents[place].digest for place in range(start, index)}) >= IMPORTED_REQUESTS:
                imported |= _if_enough(contents, list(range(start, index)))
            start = index + 1
    return imported


def _turns_again(contents: list[_Content]) -> dict[int, int]:
    """Places of requests all of whose turns were said in earlier ones, in that order, each with the place of the
    request that its first turn is from: a history that was imported again in other portions."""
    first: dict[bytes, tuple[int, int]] = {}
    again: dict[int, int] = {}
    run: list[int] = []
    at = 0
    for index in range(len(contents) + 1):
        turns = contents[index].turns if index < len(contents) else ()
        if turns and all(turn in first for turn in turns):
            run.append(index)
            continue
        said = [turn for place in run for turn in contents[place].turns]
        places = [first[turn][1] for turn in said]
        in_order = sum(later > earlier for earlier, later in pairwise(places))
        if len(set(said)) >= IMPORTED_TURNS and in_order >= IN_ORDER * (len(said) - 1):
            again |= {place: first[contents[place].turns[0]][0] for place in _if_enough(contents, run)}
        run.clear()
        for turn in turns:
            first.setdefault(turn, (index, at))
            at += 1
    return again


def _windows(contents: list[_Content]) -> Iterator[tuple[_Content, _Content, _Content]]:
    """Requests all of whose turns stand in an earlier one and a later one, and these two, which stay: a conversation
    whose last few turns are published each time begins where the one before was not at its end yet."""
    chain: list[tuple[int, int, _Content]] = []
    for content in (*contents, None):
        same = _overlap(chain[-1][2], content) if chain and content else 0
        if content and same:
            start = chain[-1][1] - same
            chain.append((start, start + len(content.turns), content))
            continue
        yield from _inner(chain)
        chain = [(0, len(content.turns), content)] if content else []


def _inner(chain: list[tuple[int, int, _Content]]) -> Iterator[tuple[_Content, _Content, _Content]]:
    """Those of a chain whose places two others hold: of these each begins by where the one before it ends."""
    at = 0
    while at < len(chain) - 1:
        following = at + 1
        while following + 1 < len(chain) and chain[following + 1][0] <= chain[at][1]:
            following += 1
        for _, _, content in chain[at + 1 : following]:
            yield content, chain[at][2], chain[following][2]
        at = following


def _overlap(older: _Content, newer: _Content) -> int:
    """How many turns the newer begins with that the older one ends with; no few short ones, which are said again."""
    ours, theirs = older.turns[-TURNS_COMPARED:], newer.turns[:TURNS_COMPARED]
    for count in range(min(len(ours), len(theirs)), 1, -1):
        if ours[-count] == theirs[0] and ours[-count:] == theirs[:count]:
            return count if sum(_lengths(newer.item)[:count]) >= DUPLICATE_CHARS else 0
    return 0


def _if_enough(contents: list[_Content], places: list[int]) -> set[int]:
    return set(places) if sum(contents[place].chars for place in places) >= DUPLICATE_CHARS else set()


def _is_repeated(content: _Content, before: _Content, seconds: dict[int, bytes]) -> bool:
    if content.at - before.at > DUPLICATE_SECONDS or not content.chars:
        return False
    return content.chars >= DUPLICATE_CHARS or _alone(content.digest, before.at, content.at, seconds)


def _alone(digest: bytes, before: int, at: int, seconds: dict[int, bytes]) -> bool:
    # Where a history is imported everything arrives within seconds: who says yes twice there says it in earnest.
    return at - before <= RETRY_SECONDS and all(
        seconds.get(second, digest) == digest for second in range(before, at + 1)
    )


def _lesser(content: _Content, recent: _Recent) -> Iterator[tuple[_Content, _Content]]:
    """Pairs that a request makes with earlier ones: the one to do without, and the one that stays."""
    recent.forget_before(content.at - NEAR_SECONDS)
    for beginning in content.beginnings:
        other = recent.whole.get(beginning) or recent.lasting.get(beginning)
        if other and (other.is_exchange or content.at - other.at <= ANSWERED_SECONDS):
            yield other, content
    yield from recent.near(content)
    recent.whole[content.digest] = content
    if content.chars >= DUPLICATE_CHARS:
        recent.lasting[content.digest] = content


def _read(content: _Content) -> _Text:
    words: list[str] = []
    for turn in content.item.interactions:
        words += _WORD.findall(turn.role[:20].lower())
        for text in texts_of(turn):
            if text:
                words += _WORD.findall(_MOMENT.sub(" ", text[:CHARS_COMPARED]))
        if len(words) >= WORDS_COMPARED:
            break
    del words[WORDS_COMPARED:]
    lowered = [word.lower() for word in words]
    runs = {
        zlib.crc32(" ".join(lowered[start : start + 3]).encode("utf-8", "surrogatepass"))
        for start in range(len(lowered) - 2)
    }
    return _Text(content, " ".join(words), array("I", runs))


def _same(older: _Text, newer: _Text) -> bool:
    if _are_apart(older, newer):
        return False
    ours, theirs = older.joined.lower(), newer.joined.lower()
    if ours == theirs:
        return True
    short, long = sorted((ours, theirs), key=len)
    if long.startswith(short + " "):
        return short.count(" ") + 1 >= BEGINNING_SHARE * (long.count(" ") + 1)
    runs, others = set(older.hashes), set(newer.hashes)
    shared = len(runs & others)
    similarity = shared / max(1, len(runs) + len(others) - shared)
    return similarity >= ONE_WORD_SIMILARITY and _differs_little(older.words, newer.words, similarity)


def _are_apart(older: _Text, newer: _Text) -> bool:
    users = {text.content.item.request.user_id for text in (older, newer)}
    return len(users) > 1 or abs(newer.content.at - older.content.at) > NEAR_SECONDS


def _differs_little(ours: list[str], theirs: list[str], similarity: float) -> bool:
    # Their order was compared by the runs; what is left is which words are there more often.
    one, two = Counter(ours), Counter(theirs)
    gone, new = [*(one - two).elements()], [*(two - one).elements()]
    if len(gone) == len(new) == 1 and _is_misspelling(gone[0], new[0]):
        return True
    if len(gone) + len(new) == 1:
        return all(map(_is_light, gone + new))
    return (
        similarity >= NEAR_SIMILARITY
        and len(gone) + len(new) <= 2 * NEAR_WORDS
        and all(_is_light(word) and len(word) <= 4 for word in gone + new)
    )


def _is_misspelt(older: _Text, newer: _Text) -> bool:
    """Whether two short texts are the same but for case and punctuation, or one misspelt word."""
    if _are_apart(older, newer):
        return False
    ours, theirs = older.joined.lower().split(" "), newer.joined.lower().split(" ")
    if ours == theirs:
        return True
    if abs(len(ours) - len(theirs)) == 1:
        return _is_dropped(*sorted((older.words, newer.words), key=len))
    if len(ours) != len(theirs):
        return False
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
    return len(pairs) == 1 and _is_misspelling(*pairs[0])


def _is_dropped(short: list[str], long: list[str]) -> bool:
    """Whether a small word of a sentence is left out, and nothing else is different."""
    place = next((at for at, word in enumerate(short) if word.lower() != long[at].lower()), len(short))
    word = long[place]
    return (
        len(short) >= DROPPED_FROM_WORDS
        and len(word) <= 4
        and _is_light(word)
        and [one.lower() for one in short[place:]] == [one.lower() for one in long[place + 1 :]]
    )


def _is_light(word: str) -> bool:
    """Whether a word can come or go without making another statement: no name, no number, no `not`."""
    return word.isalpha() and word.islower() and word not in _WEIGHTY


def _is_misspelling(one: str, other: str) -> bool:
    """Whether two words differ by one letter more, one less, another one, or two that changed places.

    Words with numbers are different things, and so are short ones (`left`, `lift`) and plurals.
    """
    short, long = sorted((one.lower(), other.lower()), key=len)
    if not (short.isalpha() and long.isalpha()) or len(short) < 5 or len(long) - len(short) > 1:
        return False
    if {short, long} & _WEIGHTY or long in (short + "s", short + "d", "un" + short):
        return False
    start = 0
    while start < len(short) and short[start] == long[start]:
        start += 1
    rest, other_rest = short[start:], long[start:]
    if len(short) < len(long):
        return rest == other_rest[1:]
    return rest[1:] == other_rest[1:] or (rest[2:] == other_rest[2:] and rest[:2] == other_rest[1::-1])


@dataclass(slots=True)
class _Known:
    """A session as it is remembered until all were seen; `turns` are its different ones."""

    session_id: str
    newest: Example
    turns: set[bytes]


class CopiedSessions(Detector):
    """`copied-session`, and `copied-request` for what no session repeats whole.

    An audit brings sessions newest first, so the later seen of two is the older.
    """

    needs = "whole sessions"

    def __init__(self) -> None:
        super().__init__()
        self._not_compared = 0
        self._sessions: list[_Known] = []
        self._holders: dict[bytes, list[int]] = {}
        self._chars: dict[bytes, int] = {}
        self._exchanges: dict[bytes, list[Example]] = {}
        """Questions with long answers, the first of each session."""

    def session(self, seen: SessionSeen) -> None:
        turns: set[bytes] = set()
        exchanges: dict[bytes, Example] = {}
        for item, digests, running in zip(seen.requests, seen.turns, seen.digests, strict=True):
            lengths = _lengths(item)
            for chars, digest in zip(lengths, digests, strict=True):
                if digest in turns:
                    continue
                if digest not in self._chars:
                    if len(self._chars) >= TURNS_KEPT:
                        self._not_compared += 1
                    else:
                        self._chars[digest] = chars
                turns.add(digest)
            if _has_long_answer(item, lengths):
                exchanges[running[-1]] = example(item)
        for digest in turns & self._chars.keys():
            self._holders.setdefault(digest, []).append(len(self._sessions))
        for digest, one in exchanges.items():
            if digest in self._exchanges or len(self._exchanges) < TURNS_KEPT:
                self._exchanges.setdefault(digest, []).append(one)
            else:
                self._not_compared += 1
        self._sessions.append(_Known(seen.session_id, example(seen.requests[0]), turns))

    def finish(self) -> None:
        if self._not_compared:
            self.left_out = f"{self._not_compared:,} turns were too many to compare"
        self._requests(copied=self._whole())

    def _whole(self) -> Collection[str]:
        """Find the sessions that repeat another one, and give their ids."""
        found = self.founds[0]
        shared: Counter[tuple[int, int]] = Counter()
        for holders in self._holders.values():
            shared.update(combinations(holders, 2) if len(holders) <= SESSIONS_A_TURN else pairwise(holders))
        kept: dict[str, str] = {}
        copies: dict[str, tuple[_Known, int]] = {}
        for (newer, older), turns in shared.items():
            if turns < COPIED_TURNS:
                continue
            # The session that holds more stays, else the older one.
            one, other = sorted(
                (self._sessions[newer], self._sessions[older]), key=lambda known: len(known.turns)
            )
            own = one.turns - other.turns
            if one.session_id not in kept and self._is_copy(one.turns & other.turns, len(own)):
                kept[one.session_id] = other.session_id
                copies[one.session_id] = one, len(own)
        for copy, original in _what_stays(kept).items():
            known, own = copies[copy]
            note = f"all but {own} of its {len(known.turns)} turns" if own else ""
            found.note_example(replace(known.newest, copy_of=original, note=note), subject=copy)
        return kept.keys()

    def _requests(self, copied: Collection[str]) -> None:
        """Find the questions with answers that stand in several sessions but those that are copies themselves."""
        for exchange in self._exchanges.values():
            held = [one for one in exchange if one.session_id not in copied]
            if 2 <= len(held) <= COPIED_ANSWER_SESSIONS:
                *copies, original = sorted(held, key=lambda one: one.created_at, reverse=True)
                for copy in copies:
                    self.founds[1].note_example(replace(copy, copy_of=original.request_id))

    def _is_copy(self, turns: set[bytes], own: int) -> bool:
        """Whether a session with so many turns of its own repeats another one in these."""
        if sum(self._chars.get(turn, 0) for turn in turns) < COPIED_CHARS:
            return False
        if not own:
            return len(turns) >= COPIED_TURNS
        return len(turns) >= COPIED_NEARLY and own <= max(1, len(turns) // 10)
