"""`duplicate`, `near-duplicate`, `copied-session` and `copied-request`: the same content twice, in one
session or in two.

Exact copies are found by a digest. Near ones by minimum hashes of runs of three words: one hash a word run, the
least one of each of sixteen bins kept, bins compared in pairs (locality-sensitive hashing). Candidates that share
a pair are then compared exactly. Each pair of bins remembers its last few texts only, and texts that are too old
or too many are forgotten, so that work and memory do not grow with the square or the length of a session.
"""

import hashlib
import re
import time
import zlib
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen, stop_if_cancelled
from reflexio_mcp.traffic.rules.found import Example, example
from reflexio_mcp.traffic.rules.roles import answers, is_foreign, is_person, is_system, speakers

__all__ = ["WORD_FOR_WORD", "CopiedSessions", "Duplicates", "Twin"]

DUPLICATE_CHARS: Final = 60
"""Shorter texts (`continue`, `yes please`) are said again in earnest."""

DUPLICATE_SECONDS: Final = 1800
"""Retries and double publishing come within minutes; a prompt that is sent every hour or day is sent in earnest."""

RETRY_SECONDS: Final = 5
"""A text of any length that is stored again this fast, and nothing else with it, was sent twice by a program."""

NEAR_CHARS_LEAST: Final = 120
"""From some twenty words on a text may also be the beginning of another one."""

SHORT_CHARS_LEAST: Final = 20
"""Shorter texts are not compared: one letter makes another word of them."""

MISSPELT_LETTERS: Final = 8
"""Of a word with a letter more, less or another one inside it; shorter ones are other words (`house`, `horse`)."""

SWAPPED_LETTERS: Final = 6
"""Of a word in which two letters changed places; shorter ones are other words (`three`, `there`)."""

IMPORTED_REQUESTS: Final = 3
"""So many different requests that all come a second time are no coincidence, whenever they do."""

IMPORTED_TURNS: Final = 6
"""So many different turns that come again in the order they had, in whatever requests: three questions with answers."""

IN_ORDER: Final = 0.8
"""Share of what comes again that keeps its order; of what is merely said again it is half."""

OCCURRENCES_COMPARED: Final = 20
"""Places of the same request whose surroundings are compared."""

OCCASIONS: Final = 3
"""Times, DUPLICATE_SECONDS apart, at which the same is stored: so often it is a routine, and no history that was
imported again."""

ANSWERED_SECONDS: Final = 6 * 3600
"""An answer takes hours at the most; who asks the same again the next day asks in earnest."""

IMPORTED_SHARE: Final = 0.9
"""Of a session's different requests; an import that ran twice repeats them all, but for what came in between."""

GROWN_TURNS: Final = 4
"""Two questions with their answers, whenever they come again with more behind them; one is asked again in earnest."""

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

REQUESTS_KEPT: Final = 500_000
"""Requests that are compared across sessions, which may have the same turns again and again."""

SESSIONS_A_TURN: Final = 4
"""Sessions with the same turn that are each compared with each; of more, neighbours in time are."""

COPIED_ANSWER_CHARS: Final = 150
"""An assistant gives no answer of that length twice in the same words; greetings, orders and their like are shorter."""

COPIED_ANSWER_SESSIONS: Final = 4
"""Sessions with the same question and answer; in more of them it is a job that always gets the same answer."""

TWINS_SHOWN: Final = 2
"""Of the requests that repeat one of another session and that no rule counts."""

ROUTINE_SESSIONS: Final = 20
"""Sessions with the same question and answer, copied ones too, after which they are not remembered: it is a job's."""

NEAR_SECONDS: Final = 900
"""Double publishing happens within minutes; later it is a person who asks again."""

ONE_WORD_SIMILARITY: Final = 0.7
"""Share of common word runs where one word is misspelt or left out: in twenty words it changes three runs."""

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


_FILLERS: Final = frozenset(
    (
        "the",
        "that",
        "please",
        "kindly",
        "really",
        "already",
        "actually",
        "is",
        "are",
        "am",
        "was",
        "were",
        "be",
        "to",
        "of",
    )
)
"""Words that a sentence may lack and say the same. All others may carry what it says, in any language: `not`, `few`,
`us`."""


WORD_FOR_WORD: Final = "word for word, too short to be sure"
"""What is said of a short text that comes again the same: it may have been said again in earnest."""


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
        self._buckets: dict[tuple[int, int, int], list[_Text]] = {}
        self._texts: deque[tuple[_Text, Places]] = deque()
        self._short: deque[_Text] = deque(maxlen=REMEMBERED)

    def near(self, content: "_Content") -> Iterator[tuple["_Content", "_Content"]]:
        """The pair that a request makes with one that it nearly repeats, if there is one; then remember it."""
        if content.chars < SHORT_CHARS_LEAST:
            return
        text = _read(content)
        if content.chars < NEAR_CHARS_LEAST:
            alike = [other for other in self._short if _is_alike(other, text)]
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
        parts = (items, seen.digests[::-1], seen.turns[::-1], seen.lengths[::-1])
        asked = _asked(items)
        contents = [
            _Content.of(*each, is_asked=each[0].request.request_id in asked)
            for each in zip(*parts, strict=True)
        ]
        seconds: dict[int, bytes] = {}
        for content in contents:
            if seconds.setdefault(content.at, content.digest) != content.digest:
                seconds[content.at] = b""
        often = _said_often((content.digest, content.at) for content in contents)
        exchanges = _Exchanges(contents, seconds)
        imported = _imported_again(contents, often, exchanges)
        in_others = _turns_again(contents)
        last_seen: dict[bytes, _Content] = {}
        behind: dict[tuple[bytes, bytes], _Content] = {}
        by_id = {content.request_id: content for content in contents}
        kept: dict[bytes, _Content] = {}
        recent = _Recent()
        previous: _Content | None = None
        repeats: dict[str, str] = {}
        nearly: dict[str, str] = {}
        late = False
        for index, content in enumerate(contents):
            stop_if_cancelled()
            late = time.monotonic() >= self.until
            if late:
                self.left_out = "of a session with very much in it only the oldest part was compared"
                break
            before = last_seen.get(content.digest)
            if seen.is_part and not content.is_whole:
                before = None  # what it answers, or what answers it, may be left out
            if before is not None and not content.is_asked:
                before = behind.get((content.digest, exchanges.answered(index)))
            is_copy = before is not None and (
                index in imported or _is_repeated(content, before, seconds, often)
            )
            if before is not None and is_copy and not content.may_go_for(before):
                is_copy = False
                # The first of them is the one that was to stay.
                while (first := by_id.get(repeats.get(before.request_id, ""), before)) is not before:
                    before = first
                if before.digest == content.digest and before.request_id not in repeats:
                    repeats[before.request_id] = content.request_id
            if before is not None and is_copy:
                repeats[content.request_id] = before.request_id
            elif index in in_others and not (seen.is_part and not content.is_whole):
                other = contents[in_others[index]]
                holds_all = set(content.turns).issubset(other.turns)
                repeats[content.request_id] = other.request_id if holds_all else seen.session_id
            else:
                for part in _beginnings(content, kept, previous, often):
                    if part.request_id in repeats or not part.may_go_for(content):
                        continue
                    if seen.is_part and not part.is_whole:
                        continue
                    if exchanges.is_same(part, index):
                        repeats[part.request_id] = content.request_id
                kept[content.digest] = content
                recent.forget_before(content.at - NEAR_SECONDS)
                for lesser, other in recent.near(content):
                    if lesser.digest == other.digest and lesser.chars >= DUPLICATE_CHARS:
                        continue  # an answer to another question
                    is_new = lesser.request_id not in nearly and lesser.request_id not in repeats
                    if is_new and lesser.may_go_for(other):
                        nearly[lesser.request_id] = other.request_id
                        note = WORD_FOR_WORD if lesser.digest == other.digest else ""
                        near.add(lesser.request_id, lesser.item, note=note, copy_of=other.request_id)
            previous = content
            if content.may_stay_for(last_seen.get(content.digest)):
                last_seen[content.digest] = content
            if not content.is_asked:
                place = content.digest, exchanges.answered(index)
                if content.may_stay_for(behind.get(place)):
                    behind[place] = content
        repeats = exchanges.whole(repeats)
        for one in contents:
            if one.request_id in repeats:
                exact.add(one.request_id, one.item, copy_of=repeats[one.request_id])
        kept_ones = [one for one in contents if one.request_id not in repeats and not late]
        for inner, before, after in () if seen.is_part else _windows(kept_ones):
            if not (inner.may_go_for(before) and inner.may_go_for(after)):
                continue
            repeats[inner.request_id] = after.request_id
            note = f"its first turns stay in {before.request_id}, the others in {after.request_id}"
            exact.note_example(example(inner.item, copy_of=after.request_id, note=note))
        turns = {one.request_id: set(one.turns) for one in contents}
        # What the last one of a chain holds may not be all that the first one does.
        originals = {
            copy: stays if turns[copy] <= turns.get(stays, set[bytes]()) else seen.session_id
            for copy, stays in _what_stays(repeats).items()
        }
        # Who deletes what is nearly the same is not told that it stays: another word may say something else.
        self.originals = {exact.rule.id: originals}
        for found, stays in ((exact, originals), (near, _what_stays(nearly))):
            found.examples[:] = [
                one
                # What the last of a chain nearly repeats, it does not repeat.
                if one.note == WORD_FOR_WORD
                or (original := stays.get(one.request_id, one.copy_of)) == one.copy_of
                else replace(one, copy_of=original)
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
        lengths: characters of each of its turns.
        digest: of the user, the roles and the texts.
        beginnings: the same of its first turn, its first two, ..., without the last one.
        turns: of each of its turns.
        has_long_answer: of an assistant, in words that do not come about twice.
        is_asked: whether it answers nothing that came before.
    """

    item: RequestWithInteractions
    at: int
    chars: int
    lengths: Sequence[int]
    digest: bytes
    beginnings: tuple[bytes, ...]
    turns: Sequence[bytes]
    has_long_answer: bool
    is_asked: bool

    @property
    def request_id(self) -> str:
        return self.item.request.request_id

    def may_go_for(self, other: "_Content") -> bool:
        """Whether it may go because of another one: nothing is learned from what is for evaluation only."""
        return self.item.request.evaluation_only or not other.item.request.evaluation_only

    def may_stay_for(self, other: "_Content | None") -> bool:
        return other is None or other.may_go_for(self)

    @property
    def is_whole(self) -> bool:
        """Whether it has what is asked and what is answered."""
        return self.is_asked and any(answers(turn.role) for turn in self.item.interactions)

    @classmethod
    def of(
        cls,
        item: RequestWithInteractions,
        digests: Sequence[bytes],
        turns: Sequence[bytes],
        lengths: Sequence[int],
        *,
        is_asked: bool,
    ) -> "_Content":
        *beginnings, digest = digests
        return cls(
            item,
            item.request.created_at,
            sum(lengths),
            lengths,
            digest,
            tuple(beginnings[:TURNS_COMPARED]),
            turns,
            _has_long_answer(item, lengths),
            is_asked,
        )


class _Exchanges:
    """What a person says in a session, each with what answers it: the requests of the same user in which no person
    speaks, up to the next one. An answer to another question is another one, so both go together or not at all. What
    is asked again before it is answered is one question."""

    def __init__(self, contents: Sequence[_Content], seconds: Mapping[int, bytes]) -> None:
        self._contents = contents
        self._places = {content.request_id: place for place, content in enumerate(contents)}
        self._questions: defaultdict[int, list[int]] = defaultdict(list)
        self._answers: defaultdict[int, list[int]] = defaultdict(list)
        self._heads: list[int] = []
        """Of each request the first question of its exchange, or -1."""
        self._chains: list[bytes] = []
        last: dict[str, int] = {}
        for place, content in enumerate(contents):
            user = content.item.request.user_id
            before = last.get(user, -1)
            is_again = before >= 0 and contents[before].digest == content.digest
            last[user] = place
            head = self._heads[before] if before >= 0 else -1
            # Sent again at once it answers the same. Later, or among others of one second, which have no order, a
            # question may stand in between.
            is_sent_again = (
                is_again
                and head >= 0
                and content.at - contents[before].at <= RETRY_SECONDS
                and bool(seconds[content.at] and seconds[contents[before].at])
            )
            self._chains.append(self._chains[before] if is_sent_again else self._behind(before))
            if content.is_asked and not is_again:
                head = place
            self._heads.append(head)
            (self._questions if content.is_asked else self._answers)[head].append(place)

    def _behind(self, place: int) -> bytes:
        """All that was said from the question on, up to and with a request."""
        if place < 0:
            return b""
        before = b"" if self._contents[place].is_asked else self._chains[place]
        return hashlib.blake2b(before + self._contents[place].digest, digest_size=16).digest()

    def answered(self, place: int) -> bytes:
        """What a request answers in which no person speaks, or does so later; the same for what answers the same."""
        return self._chains[place]

    def is_same(self, part: _Content, place: int) -> bool:
        """Whether the beginning of the request at `place` answers what it answers alone, if it answers anything."""
        at = self._places[part.request_id]
        return part.is_asked or self._chains[place] in (self._chains[at], self._behind(at))

    def whole(self, repeats: Mapping[str, str]) -> dict[str, str]:
        """Those copies with which no question loses its answer and no answer its question."""
        ids = [content.request_id for content in self._contents]
        left = dict(repeats)

        def drop(places: Sequence[int], head: int) -> None:
            """Leave those out that are no copies of another one of their exchange."""
            for one in places:
                original = self._places.get(left.get(ids[one], ""), -1)
                if original < 0 or not self._is_of(head, one, original):
                    left.pop(ids[one], None)

        for head, questions in self._questions.items():
            answers = self._answers.get(head, [])
            if any(ids[one] not in left for one in answers):
                drop(questions, head)
            if any(ids[one] not in left for one in questions):
                drop(answers, head)
                if any(ids[one] not in left for one in answers):
                    drop(questions, head)
        return left

    def _is_of(self, head: int, place: int, original: int) -> bool:
        """Whether what a request repeats belongs to the same exchange, and has not only the same words."""
        if self._heads[original] == head:
            return True
        one = self._contents[place]
        return self._contents[original].is_asked and not one.is_asked and self.is_same(one, original)


def _has_person(item: RequestWithInteractions) -> bool:
    return any(is_person(turn.role) for turn in item.interactions)


def _asked(items: Iterable[RequestWithInteractions]) -> set[str]:
    """The ids of those of a session that answer nothing that came before.

    Of users with whom a person speaks, those in which one does. Of others, where agents or programs talk, those that
    begin neither as an assistant nor as a tool does, and hold more than a prompt.
    """
    items = list(items)
    people = {item.request.user_id for item in items if _has_person(item)}

    def is_asked(item: RequestWithInteractions) -> bool:
        if item.request.user_id in people:
            return _has_person(item)
        roles = [turn.role for turn in item.interactions]
        return not (all(map(is_system, roles)) or answers(roles[0]))

    return {item.request.request_id for item in items if is_asked(item)}


def _has_long_answer(item: RequestWithInteractions, lengths: Sequence[int]) -> bool:
    """Whether an assistant answers at length: prompts and what tools give are the same again in earnest."""
    return (
        max(lengths, default=0) >= COPIED_ANSWER_CHARS and _answer_chars(item, lengths) >= COPIED_ANSWER_CHARS
    )


def _answer_chars(item: RequestWithInteractions, lengths: Sequence[int]) -> int:
    """Characters of the longest turn of an assistant; 0 where it answers nobody."""
    said = speakers([turn.role for turn in item.interactions])
    if len(set(said)) < 2:
        return 0
    return max(
        (
            chars
            for chars, role in zip(lengths, said, strict=True)
            if not (role == "user" or is_system(role) or is_foreign(role))
        ),
        default=0,
    )


def _imported_again(contents: list[_Content], often: Collection[bytes], exchanges: _Exchanges) -> set[int]:
    """Places of requests that a second import of the same history brought.

    Several different ones in a row that were all said before, whenever that was; or all of a session twice. Both in
    the order in which they were said before.
    """
    first: dict[bytes, int] = {}
    again = [first.setdefault(content.digest, index) != index for index, content in enumerate(contents)]
    copies = [index for index, is_again in enumerate(again) if is_again]
    if not copies:
        return set()
    routine = [content.digest in often and not content.has_long_answer for content in contents]

    def copied(run: list[int]) -> set[int]:
        places = [place for place in run if not routine[place]]
        different = {contents[place].digest for place in places}
        # What was stored in one second has no order.
        before = [contents[first[contents[place].digest]].at for place in places]
        if len(different) < IMPORTED_REQUESTS or not _in_order(before, len(different)):
            return set()
        return {place for place in _if_enough(contents, places) if stands_alike(place, run)}

    def stands_alike(place: int, run: list[int]) -> bool:
        """Whether it stands before and behind what it stood before and behind already: an answer to another question
        is another one. What has a long answer says enough by itself."""
        content = contents[place]
        if content.has_long_answer:
            return True
        earlier = [one for one in places_of[content.digest][:OCCURRENCES_COMPARED] if one < place]
        if not content.is_asked:
            return any(exchanges.answered(one) == exchanges.answered(place) for one in earlier)
        # What comes again begins somewhere: with what opened the session, or with what says enough by itself.
        begins = place == run[0]
        before = contents[place - 1].digest if place else b""
        behind = contents[place + 1].digest if place != run[-1] else None
        return any(
            (
                (begins and (not other or content.chars >= DUPLICATE_CHARS))
                or (other and before in said_in(other - 1, other))
            )
            and (behind is None or behind in said_in(other, other + 1))
            for other in earlier
        )

    def said_in(one: int, other: int) -> set[bytes]:
        # What was stored in one second has no order.
        return seconds[contents[one].at] | seconds[contents[other].at]

    places_of: defaultdict[bytes, list[int]] = defaultdict(list)
    seconds: defaultdict[int, set[bytes]] = defaultdict(set)
    for index, content in enumerate(contents):
        places_of[content.digest].append(index)
        seconds[content.at].add(content.digest)
    if len(copies) >= IMPORTED_SHARE * len(first) and (imported := copied(copies)):
        return imported
    imported = set[int]()
    start = 0
    for index in range(len(contents) + 1):
        if index == len(contents) or not again[index]:
            alike = copied(list(range(start, index)))
            if len({contents[place].digest for place in alike}) >= IMPORTED_REQUESTS:
                imported |= alike
            start = index + 1
    return imported


def _said_often(said: Iterable[tuple[bytes, int]]) -> set[bytes]:
    """What is stored on several occasions, of digests with their times, the oldest first."""
    began: dict[bytes, int] = {}
    occasions: Counter[bytes] = Counter()
    for digest, at in said:
        if digest not in began or at - began[digest] > DUPLICATE_SECONDS:
            began[digest] = at
            occasions[digest] += 1
    return {digest for digest, times in occasions.items() if times >= OCCASIONS}


def _in_order(places: list[int], different: int) -> bool:
    """Whether what comes again keeps its order, each time that all of it does."""
    pairs = len(places) - 1
    back = sum(later < earlier for earlier, later in pairwise(places))
    return back - pairs // different <= (1 - IN_ORDER) * pairs


def _turns_again(contents: list[_Content]) -> dict[int, int]:
    """Places of requests all of whose turns were said in earlier ones, in that order, each with the place of the
    request that its first turn is from: a history that was imported again in other portions."""
    often = _said_often((turn, content.at) for content in contents for turn in content.turns)
    first: dict[bytes, tuple[int, int]] = {}
    again: dict[int, int] = {}
    run: list[int] = []
    at = 0
    for index in range(len(contents) + 1):
        content = contents[index] if index < len(contents) else None
        turns = content.turns if content else ()
        if content and turns and all(turn in first for turn in turns):
            if content.has_long_answer or not all(turn in often for turn in turns):
                run.append(index)
            continue
        said = [turn for place in run for turn in contents[place].turns]
        different = len(set(said))
        places = [first[turn][1] for turn in said]
        if different >= IMPORTED_TURNS and _in_order(places, different):
            enough, end = _if_enough(contents, run), 0
            for place in run:
                begin, end = end, end + len(contents[place].turns)
                # With what stands before and behind it: an answer to another question is another one.
                around = places[max(0, begin - 1) : end + 1]
                if (
                    place in enough
                    and all(later == earlier + 1 for earlier, later in pairwise(around))
                    and all(
                        contents[place].may_go_for(contents[first[turn][0]]) for turn in contents[place].turns
                    )
                ):
                    again[place] = first[contents[place].turns[0]][0]
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
    # Both have more than that: what is said every day is no window.
    for count in range(min(len(ours), len(theirs)) - 1, 1, -1):
        if ours[-count] == theirs[0] and ours[-count:] == theirs[:count]:
            return count if sum(newer.lengths[:count]) >= DUPLICATE_CHARS else 0
    return 0


def _if_enough(contents: list[_Content], places: list[int]) -> set[int]:
    return set(places) if sum(contents[place].chars for place in places) >= DUPLICATE_CHARS else set()


def _is_repeated(
    content: _Content, before: _Content, seconds: dict[int, bytes], often: Collection[bytes]
) -> bool:
    later = content.at - before.at
    if content.has_long_answer and later <= ANSWERED_SECONDS and content.digest not in often:
        return True
    if later > DUPLICATE_SECONDS or not content.chars:
        return False
    return content.chars >= DUPLICATE_CHARS or _alone(content.digest, before.at, content.at, seconds)


def _alone(digest: bytes, before: int, at: int, seconds: dict[int, bytes]) -> bool:
    # Where a history is imported everything arrives within seconds: who says yes twice there says it in earnest.
    return at - before <= RETRY_SECONDS and all(
        seconds.get(second, digest) == digest for second in range(before, at + 1)
    )


def _beginnings(
    content: _Content, kept: Mapping[bytes, _Content], previous: _Content | None, often: Collection[bytes]
) -> Iterator[_Content]:
    """Earlier requests whose turns are the first ones of this one, which goes on."""
    for number, digest in enumerate(content.beginnings, 1):
        part = kept.get(digest)
        if part is None:
            continue
        later = content.at - part.at
        if part.chars < DUPLICATE_CHARS:
            # `yes` is said again in earnest.
            follows = part is previous and later <= NEAR_SECONDS
        else:
            grown = part.has_long_answer or (number >= GROWN_TURNS and digest not in often)
            follows = later <= ANSWERED_SECONDS or grown
        if follows:
            yield part


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
    return similarity >= ONE_WORD_SIMILARITY and _is_one_word(older, newer)


def _are_apart(older: _Text, newer: _Text) -> bool:
    ours, theirs = older.content.item, newer.content.item
    return (
        ours.request.user_id != theirs.request.user_id
        or abs(newer.content.at - older.content.at) > NEAR_SECONDS
        or _images(ours) != _images(theirs)
    )


def _images(item: RequestWithInteractions) -> set[str]:
    """Their addresses without what signs them, which is another each time."""
    return {turn.interacted_image_url.partition("?")[0] for turn in item.interactions} - {""}


def _is_alike(older: _Text, newer: _Text) -> bool:
    """Whether two short texts are the same but for case and punctuation, or one word."""
    if _are_apart(older, newer):
        return False
    return older.joined.lower() == newer.joined.lower() or _is_one_word(older, newer)


def _is_one_word(older: _Text, newer: _Text) -> bool:
    """Whether one word is misspelt in one of two texts, or left out and says nothing, and all else is the same."""
    short, long = sorted((older.joined.lower().split(" "), newer.joined.lower().split(" ")), key=len)
    if len(long) - len(short) > 1:
        return False
    place = next((at for at, word in enumerate(short) if word != long[at]), len(short))
    if len(short) < len(long):
        return long[place] in _FILLERS and short[place:] == long[place + 1 :]
    return short[place + 1 :] == long[place + 1 :] and _is_misspelling(short[place], long[place])


def _is_misspelling(one: str, other: str) -> bool:
    """Whether two words differ by one letter more, one less, another one, or two that changed places.

    Inside them only, because beginnings and endings say something (`einer`, `keiner`). No words with numbers, and no
    short ones.
    """
    short, long = sorted((one, other), key=len)
    if not (short.isalpha() and long.isalpha()) or len(long) - len(short) > 1 or short[:1] != long[:1]:
        return False
    start = 0
    while start < len(short) and short[start] == long[start]:
        start += 1
    rest, other_rest = short[start:], long[start:]
    if len(long) >= SWAPPED_LETTERS and rest[:2] == other_rest[1::-1] and rest[2:] == other_rest[2:]:
        return len(short) == len(long)
    if len(long) < MISSPELT_LETTERS or short[-1] != long[-1]:
        return False
    return rest == other_rest[1:] if len(short) < len(long) else rest[1:] == other_rest[1:]


_Place = tuple[int, int, str]
"""Where a request stands: its time, the number of its session and its id."""


@dataclass(slots=True)
class _Known:
    """A session as it is remembered until all were seen.

    Args:
        turns: its different ones that are compared.
        requests: each with its turns, the newest first, or with none where some of them are not compared; no requests
            of a session too short to be compared.
        evaluated: the ids of those for evaluation only.
        answers: the ids of those that answer what came before.
        users: whose each is, where they are of several.
    """

    session_id: str
    newest: Example
    turns: set[bytes]
    not_compared: int
    requests: list[tuple[str, Sequence[bytes]]]
    evaluated: frozenset[str]
    answers: frozenset[str]
    users: Mapping[str, str]

    @property
    def is_evaluation(self) -> bool:
        return 0 < len(self.evaluated) == len(self.requests)

    @property
    def count(self) -> int:
        return len(self.turns) + self.not_compared

    def whole(self, goes: Mapping[str, str]) -> dict[str, str]:
        """Those that go with which no question loses its answer and no answer its question."""
        left = dict(goes)
        exchanges: dict[str, tuple[Sequence[bytes], list[str]]] = {}

        def end(exchange: Iterable[str]) -> None:
            if any(one not in left for one in exchange):
                for one in exchange:
                    left.pop(one, None)

        for request_id, turns in reversed(self.requests):
            user = self.users.get(request_id, "")
            asked, exchange = exchanges.get(user, ((), []))
            is_asked = request_id not in self.answers
            if is_asked and not (asked == turns and len(exchange) and exchange[-1] not in self.answers):
                end(exchange)
                exchange = []
            exchange.append(request_id)
            exchanges[user] = turns if is_asked else asked, exchange
        for _, exchange in exchanges.values():
            end(exchange)
        return left


class _Said:
    """The turns of a session in the order in which they were said, the oldest first.

    Args:
        requests: as `_Known` has them. What is not compared of them is a turn like no other one.

    Attributes:
        whole: the request that has just these turns.
    """

    def __init__(self, requests: Sequence[tuple[str, Sequence[bytes]]]) -> None:
        self.whole = {tuple(turns): request_id for request_id, turns in requests}
        self._turns = [turn for _, turns in reversed(requests) for turn in turns or (b"",)]
        self._places: dict[bytes, list[int]] = {}
        for place, turn in enumerate(self._turns):
            self._places.setdefault(turn, []).append(place)

    def parts(self, requests: Sequence[tuple[str, Sequence[bytes]]]) -> Iterator[tuple[str, Sequence[bytes]]]:
        """Those of another session's requests whose turns stand here next to each other in their order.

        What stands before and behind each is looked for with it: an answer to another question is another one.
        """
        known: dict[tuple[bytes, ...], bool] = {}
        for index, (request_id, turns) in enumerate(requests):
            before = requests[index + 1][1][-1:] or (b"",) if index + 1 < len(requests) else ()
            after = requests[index - 1][1][:1] or (b"",) if index else ()
            said = (*before, *turns, *after)
            if said not in known:
                stop_if_cancelled()
                known[said] = b"" not in said and self._has(said)
            if turns and known[said]:
                yield request_id, turns

    def _has(self, said: tuple[bytes, ...]) -> bool:
        if not said:
            return False
        at, rarest = min(enumerate(said), key=lambda one: len(self._places.get(one[1], ())))
        begins = (place - at for place in self._places.get(rarest, ()) if place >= at)
        return any(tuple(self._turns[place : place + len(said)]) == said for place in begins)


@dataclass(frozen=True, slots=True)
class Twin:
    """A request and an older one of another session with the same words."""

    request_id: str
    session_id: str
    older_request_id: str
    older_session_id: str


class CopiedSessions(Detector):
    """`copied-session`, and `copied-request` for what no session repeats whole.

    An audit brings sessions newest first, so the later seen of two is the older.
    """

    needs = "whole sessions"

    def __init__(self) -> None:
        super().__init__()
        self.copies: dict[str, str] = {}
        """Of the sessions that repeat another one: each request that has no turn of its own, with the one that is the
        same and stays, or with the session that has its turns in other portions."""
        self._not_compared = 0
        self._requests_kept = 0
        self._requests_not_kept = 0
        self._sessions: list[_Known] = []
        self._holders: dict[bytes, list[int]] = {}
        self._chars: dict[bytes, int] = {}
        self._days: dict[bytes, int] = {}
        self._exchanges: dict[bytes, list[Example]] = {}
        """Questions with long answers, the first of each session; none of what too many have."""
        self.other_twins = 0
        """Requests with question and answer that repeat one of another session and that no rule counts."""
        self.twins: list[Twin] = []
        """The first of them."""
        self._answered: dict[bytes, _Place] = {}
        self._again: defaultdict[bytes, list[_Place]] = defaultdict(list)
        """Questions with answers: where each was seen first, and where again."""

    def session(self, seen: SessionSeen) -> None:
        turns: set[bytes] = set()
        beyond: set[bytes] = set()
        exchanges: dict[bytes, Example] = {}
        parts = (seen.requests, seen.turns, seen.digests, seen.lengths)
        is_kept = self._requests_kept + len(seen.requests) <= REQUESTS_KEPT
        for item, digests, running, lengths in zip(*parts, strict=True):
            for chars, digest in zip(lengths, digests, strict=True):
                if digest in self._chars or len(self._chars) < TURNS_KEPT:
                    self._chars.setdefault(digest, chars)
                    turns.add(digest)
                else:
                    beyond.add(digest)
            answer = _answer_chars(item, lengths)
            if answer >= COPIED_ANSWER_CHARS:
                # What is for evaluation only counts twice in nothing.
                exchanges[running[-1] + b"!" * item.request.evaluation_only] = example(item)
            if answer and is_kept:
                place = item.request.created_at, len(self._sessions), item.request.request_id
                if self._answered.setdefault(running[-1], place) is not place:
                    self._again[running[-1]].append(place)
        self._not_compared += len(beyond)
        for digest in turns:
            self._holders.setdefault(digest, []).append(len(self._sessions))
        for digest, one in exchanges.items():
            held = self._exchanges.get(digest)
            if held is None and len(self._exchanges) >= TURNS_KEPT:
                self._not_compared += 1
            elif held is None:
                self._exchanges[digest] = [one]
            elif len(held) >= ROUTINE_SESSIONS:
                held.clear()
            elif held:
                held.append(one)
        requests: list[tuple[str, Sequence[bytes]]] = []
        if is_kept:
            self._requests_kept += len(seen.requests)
        else:
            self._requests_not_kept += len(seen.requests)
        if is_kept and len(turns) >= COPIED_TURNS:
            requests = [
                (item.request.request_id, digests if turns.issuperset(digests) else ())
                for item, digests in zip(seen.requests, seen.turns, strict=True)
            ]
        newest = example(seen.requests[0])
        evaluated = frozenset(
            item.request.request_id for item in seen.requests if requests and item.request.evaluation_only
        )
        asked = _asked(seen.requests) if requests else set[str]()
        answering = frozenset(one for one, _ in requests if one not in asked)
        whose = {item.request.request_id: item.request.user_id for item in seen.requests if requests}
        users = whose if len(set(whose.values())) > 1 else {}
        known = _Known(seen.session_id, newest, turns, len(beyond), requests, evaluated, answering, users)
        self._sessions.append(known)

    def finish(self) -> None:
        if self._not_compared:
            self.left_out = f"{self._not_compared:,} turns were too many to compare"
        elif self._requests_not_kept:
            self.left_out = f"{self._requests_not_kept:,} requests were too many to compare"
        named = self._requests(copied=self._whole())
        self._others({*self.copies, *named})

    def _whole(self) -> Collection[str]:
        """Find the sessions that repeat another one, and give their ids."""
        shared: Counter[tuple[int, int]] = Counter()
        for holders in self._holders.values():
            shared.update(combinations(holders, 2) if len(holders) <= SESSIONS_A_TURN else pairwise(holders))
        kept: dict[str, str] = {}
        known: dict[str, _Known] = {}
        for (newer, older), turns in shared.items():
            if turns < COPIED_TURNS:
                continue
            # The session that holds more stays, else the older one, but none for evaluation only before another.
            one, other = sorted(
                (self._sessions[newer], self._sessions[older]),
                key=lambda each: (not each.is_evaluation, each.count),
            )
            if other.evaluated and not one.evaluated:
                continue  # nothing of it may go for this one
            own = one.count - len(one.turns & other.turns)
            if one.session_id not in kept and self._is_copy(one.turns & other.turns, own):
                kept[one.session_id] = other.session_id
                known |= {one.session_id: one, other.session_id: other}
        copied: set[str] = set()
        of_original: defaultdict[str, list[str]] = defaultdict(list)
        for copy, original in _what_stays(kept).items():
            of_original[original].append(copy)
        for original, copies in of_original.items():
            said = _Said(known[original].requests)
            for copy in copies:
                if time.monotonic() >= self.until:
                    self.left_out = "sessions that share turns were too many to compare"
                    return copied
                if self._goes(known[copy], known[original], said):
                    copied.add(copy)
        return copied

    def _goes(self, one: _Known, stays: _Known, said: _Said) -> bool:
        """Note what of a session goes, because it stands in another one; whether anything does."""
        found, copy, original = self.founds[0], one.session_id, stays.session_id
        # What one of a chain has from the next may not be in the last, which alone stays.
        goes = {
            request_id: said.whole.get(tuple(turns), original)
            for request_id, turns in said.parts(one.requests)
            if not stays.evaluated or request_id in one.evaluated
        }
        goes = one.whole(goes)
        if not goes:
            return False
        self.copies |= goes
        own = one.count - len(one.turns & stays.turns)
        left = len(one.requests) - len(goes)
        shown = replace(one.newest, copy_of=original)
        if left:
            stay = f"{left} of its {len(one.requests)} requests stay{'s' * (left == 1)}"
            but = f"all but {own} of" if own else "all"
            note = f"{but} its {one.count} turns are in {original}; {stay}"
            shown = replace(one.newest, note=note)
        found.note_example(shown, subject=copy)
        if len(found.parts) < found.kept:
            found.parts[copy] = tuple(goes), not left
        return True

    def _requests(self, copied: Collection[str]) -> set[str]:
        """Find the questions with answers that stand in several sessions but those that are copies themselves, and
        give their ids."""
        named: set[str] = set()
        for exchange in self._exchanges.values():
            held = [one for one in exchange if one.session_id not in copied]
            if not 2 <= len(held) <= COPIED_ANSWER_SESSIONS:
                continue
            first, *others = sorted(held, key=lambda one: one.created_at)
            copies: list[Example] = []
            for one in others:
                if one.created_at - first.created_at > ANSWERED_SECONDS:
                    first = one
                else:
                    copies.append(replace(one, note=f"the same as {first.request_id}"))
            for copy in reversed(copies):
                self.founds[1].note_example(copy)
                named.add(copy.request_id)
        return named

    def _others(self, named: Collection[str]) -> None:
        """Count the other questions with answers that stand in several sessions."""
        for digest, places in self._again.items():
            left = [one for one in (self._answered[digest], *places) if one[2] not in named]
            if not left:
                continue
            _, older, older_id = min(left)
            copies = [one for one in left if one[1] != older]
            self.other_twins += len(copies)
            for _, session, request_id in copies[: TWINS_SHOWN - len(self.twins)]:
                newer, stays = self._sessions[session].session_id, self._sessions[older].session_id
                self.twins.append(Twin(request_id, newer, older_id, stays))

    def _is_copy(self, turns: set[bytes], own: int) -> bool:
        """Whether a session with so many turns of its own repeats another one in these."""
        if sum(self._chars.get(turn, 0) for turn in turns) < COPIED_CHARS or all(
            map(self._is_routine, turns)
        ):
            return False
        if not own:
            return len(turns) >= COPIED_TURNS
        return len(turns) >= COPIED_NEARLY and own <= max(1, len(turns) // 10)

    def _is_routine(self, turn: bytes) -> bool:
        """Whether a turn of no length is said on so many days that it is no history that was imported again."""
        if self._chars.get(turn, 0) >= COPIED_ANSWER_CHARS:
            return False
        if turn not in self._days:
            holders = self._holders.get(turn, ())
            self._days[turn] = len({self._sessions[one].newest.created_at // 86_400 for one in holders})
        return self._days[turn] >= OCCASIONS
