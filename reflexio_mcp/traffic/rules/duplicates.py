"""`duplicate` and `near-duplicate`: the same content twice in one session.

Exact copies are found by a digest. Near ones by minimum hashes of runs of three words: one hash a word run, the
least one of each of sixteen bins kept, bins compared in pairs (locality-sensitive hashing). Candidates that share
a pair are then compared exactly. Each pair of bins remembers its last few texts only, and texts that are too old
or too many are forgotten, so that work and memory do not grow with the square or the length of a session.
"""

import hashlib
import re
import zlib
from array import array
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import add_texts, content_chars, texts_of
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen, stop_if_cancelled

__all__ = ["Duplicates"]

DUPLICATE_CHARS: Final = 60
"""Shorter texts (`continue`, `yes please`) are said again in earnest."""

DUPLICATE_SECONDS: Final = 1800
"""Retries and double publishing come within minutes; a prompt that is sent every hour or day is sent in earnest."""

RETRY_SECONDS: Final = 5
"""A text of any length that is stored again this fast, and nothing else with it, was sent twice by a program."""

NEAR_CHARS_LEAST: Final = 120
"""Below some twenty words a small difference is a different statement."""

NEAR_SECONDS: Final = 900
"""Double publishing happens within minutes; later it is a person who asks again."""

NEAR_SIMILARITY: Final = 0.85
"""Share of common word runs; one changed word in forty leaves more than this."""

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
    [
        *(
            "no",
            "not",
            "yes",
            "nor",
            "off",
            "on",
            "one",
            "two",
            "four",
            "five",
            "six",
            "nine",
            "ten",
            "all",
            "none",
        ),
        *("less", "more", "up", "down", "left", "new", "old", "buy", "sell"),
    ]
)
"""Small words that make another statement of a sentence."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What is compared of a request: its words one after the other, and hashes of runs of them."""

    item: RequestWithInteractions
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

    def alike(self, place: tuple[int, int, int]) -> list[_Text]:
        return self._buckets.get(place, [])

    def add(self, text: _Text, places: Places) -> None:
        self._texts.append((text, places))
        for place in places:
            bucket = self._buckets.setdefault(place, [])
            bucket.append(text)
            del bucket[:-REMEMBERED]
        if len(self._texts) > TEXTS_KEPT:
            self._forget()

    def forget_before(self, created_at: int) -> None:
        while self._texts and self._texts[0][0].item.request.created_at < created_at:
            self._forget()

    def _forget(self) -> None:
        text, places = self._texts.popleft()
        for place in places:
            if bucket := self._buckets.get(place):
                bucket[:] = [one for one in bucket if one is not text]
                if not bucket:
                    del self._buckets[place]


class Duplicates(Detector):
    """Both rules; what it remembers ends with the session."""

    def __init__(self) -> None:
        super().__init__("duplicate", "near-duplicate")

    def session(self, seen: SessionSeen) -> None:
        if len(seen.requests) < 2:
            return
        exact, near = self.founds
        # Oldest first: the first of several is the one that stays.
        items = seen.requests[::-1]
        digests: list[bytes] = []
        seconds: dict[int, bytes] = {}
        for item in items:
            digest = _digest(item)
            digests.append(digest)
            if seconds.setdefault(item.request.created_at, digest) != digest:
                seconds[item.request.created_at] = b""
            stop_if_cancelled()
        last_seen: OrderedDict[bytes, int] = OrderedDict()
        recent = _Recent()
        counted: set[str] = set()
        for item, digest in zip(items, digests, strict=True):
            at, chars = item.request.created_at, content_chars(item)
            stop_if_cancelled()
            while last_seen and at - next(iter(last_seen.values())) > DUPLICATE_SECONDS:
                last_seen.popitem(last=False)
            before = last_seen.pop(digest, None)
            last_seen[digest] = at
            if before is not None and (
                chars >= DUPLICATE_CHARS or (chars and _alone(digest, before, at, seconds))
            ):
                exact.add(item.request.request_id, item)
                continue
            recent.forget_before(at - NEAR_SECONDS)
            lesser = _lesser(item, recent) if chars >= NEAR_CHARS_LEAST else None
            if lesser is not None and lesser.request.request_id not in counted:
                counted.add(lesser.request.request_id)
                near.add(lesser.request.request_id, lesser)


def _alone(digest: bytes, before: int, at: int, seconds: dict[int, bytes]) -> bool:
    # Where a history is imported everything arrives within seconds: who says yes twice there says it in earnest.
    return at - before <= RETRY_SECONDS and all(
        seconds.get(second, digest) == digest for second in range(before, at + 1)
    )


def _digest(item: RequestWithInteractions) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    add_texts(digest, [item.request.user_id])
    for turn in item.interactions:
        add_texts(digest, (turn.role, *texts_of(turn), repr(turn.tools_used) if turn.tools_used else ""))
    return digest.digest()


def _lesser(item: RequestWithInteractions, recent: _Recent) -> RequestWithInteractions | None:
    """Of a pair that this request makes with an earlier one, the one to do without."""
    text = _read(item)
    if not text.hashes:
        return None
    least = [2**32] * BINS
    for run in text.hashes:
        place = run % BINS
        least[place] = min(least[place], run)
    places = [(place, least[place], least[place + 1]) for place in range(0, BINS, 2)]
    compared: set[int] = set()
    lesser: RequestWithInteractions | None = None
    for place in places:
        for other in recent.alike(place):
            if lesser is None and id(other) not in compared:
                compared.add(id(other))
                if _same(other, text):
                    # A whole text is worth more than its beginning, else the first of two stays.
                    lesser = other.item if len(other.words) < len(text.words) * 0.98 else item
    recent.add(text, places)
    return lesser


def _read(item: RequestWithInteractions) -> _Text:
    words: list[str] = []
    for turn in item.interactions:
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
    return _Text(item, " ".join(words), array("I", runs))


def _same(older: _Text, newer: _Text) -> bool:
    first, second = older.item.request, newer.item.request
    if first.user_id != second.user_id or abs(second.created_at - first.created_at) > NEAR_SECONDS:
        return False
    ours, theirs = older.joined.lower(), newer.joined.lower()
    if ours == theirs:
        return True
    short, long = sorted((ours, theirs), key=len)
    if long.startswith(short + " "):
        return short.count(" ") + 1 >= BEGINNING_SHARE * (long.count(" ") + 1)
    runs, others = set(older.hashes), set(newer.hashes)
    shared = len(runs & others)
    if shared < NEAR_SIMILARITY * (len(runs) + len(others) - shared):
        return False
    return _differs_little(older.words, newer.words)


def _differs_little(ours: list[str], theirs: list[str]) -> bool:
    # Their order was compared by the runs; what is left is which words are there more often.
    one, two = Counter(ours), Counter(theirs)
    changed = [*(one - two).elements(), *(two - one).elements()]
    small = [
        word
        for word in changed
        if word.isalpha() and word.islower() and len(word) <= 4 and word not in _WEIGHTY
    ]
    return len(changed) <= 2 * NEAR_WORDS and len(small) == len(changed)
