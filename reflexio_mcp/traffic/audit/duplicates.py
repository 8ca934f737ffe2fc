"""`duplicate` and `near-duplicate`: the same content twice in one session.

Exact copies are found by a digest. Near ones by minimum hashes of runs of three words: one hash a word run, the
least one of each of sixteen bins kept, bins compared in pairs (locality-sensitive hashing). Candidates that share
a pair are then compared exactly. Each pair of bins remembers its last few texts only, so that the work grows with
the number of texts and not with its square, whatever is stored.
"""

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.audit.findings import Found
from reflexio_mcp.traffic.audit.sessions import SessionSeen
from reflexio_mcp.traffic.audit.table import rule
from reflexio_mcp.traffic.fingerprints import texts_of

__all__ = ["Duplicates"]

DUPLICATE_CHARS: Final = 60
"""Shorter texts (`continue`, `yes please`) are said again in earnest."""

RETRY_SECONDS: Final = 5
"""A text of any length that is stored again this fast was sent twice by a program."""

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
    item: RequestWithInteractions
    words: tuple[str, ...]
    runs: frozenset[int]


class Duplicates:
    """Both rules; what it remembers ends with the session."""

    def __init__(self) -> None:
        self.founds = [Found(rule("duplicate")), Found(rule("near-duplicate"))]

    def request(self, item: RequestWithInteractions) -> None: ...

    def session(self, seen: SessionSeen) -> Iterator[None]:
        if len(seen.requests) < 2:
            return
        exact, near = self.founds
        last_seen: dict[bytes, RequestWithInteractions] = {}
        buckets: dict[tuple[int, int, int], list[_Text]] = {}
        counted: set[str] = set()
        # Oldest first: the first of several is the one that stays.
        for index, item in enumerate(reversed(seen.requests)):
            if index % 50 == 49:
                yield
            digest, chars = _digest(item)
            before = last_seen.get(digest)
            last_seen[digest] = item
            gap = item.request.created_at - before.request.created_at if before else 0
            if before is not None and (chars >= DUPLICATE_CHARS or (chars and gap <= RETRY_SECONDS)):
                exact.add(item.request.request_id, item)
                continue
            lesser = _lesser(item, buckets) if chars >= NEAR_CHARS_LEAST else None
            if lesser is not None and lesser.request.request_id not in counted:
                counted.add(lesser.request.request_id)
                near.add(lesser.request.request_id, lesser)

    def finish(self) -> None: ...


def _digest(item: RequestWithInteractions) -> tuple[bytes, int]:
    digest = hashlib.blake2b(digest_size=16)
    chars = 0
    digest.update(item.request.user_id.encode("utf-8", "surrogatepass"))
    for turn in item.interactions:
        for text in (turn.role, *texts_of(turn), repr(turn.tools_used) if turn.tools_used else ""):
            digest.update(b"\0" + text.encode("utf-8", "surrogatepass"))
        chars += sum(len(text) for text in texts_of(turn))
    return digest.digest(), chars


def _lesser(
    item: RequestWithInteractions, buckets: dict[tuple[int, int, int], list[_Text]]
) -> RequestWithInteractions | None:
    """Of a pair that this request makes with an earlier one, the one to do without."""
    text = _read(item)
    if not text.runs:
        return None
    compared: set[int] = set()
    lesser: RequestWithInteractions | None = None
    least = [2**32] * BINS
    for run in text.runs:
        place = run % BINS
        least[place] = min(least[place], run)
    for place in range(0, BINS, 2):
        bucket = buckets.setdefault((place, least[place], least[place + 1]), [])
        for other in bucket:
            if lesser is None and id(other) not in compared:
                compared.add(id(other))
                if _same(other, text):
                    # A whole text is worth more than its beginning, else the first of two stays.
                    lesser = other.item if len(other.words) < len(text.words) * 0.98 else item
        bucket.append(text)
        del bucket[:-REMEMBERED]
    return lesser


def _read(item: RequestWithInteractions) -> _Text:
    words: list[str] = []
    for turn in item.interactions:
        words.append(turn.role.lower()[:20])
        for text in texts_of(turn):
            if text:
                words += _WORD.findall(_MOMENT.sub(" ", text[:CHARS_COMPARED]))
    del words[WORDS_COMPARED:]
    lowered = [word.lower() for word in words]
    runs = frozenset(
        zlib.crc32(" ".join(lowered[start : start + 3]).encode("utf-8", "surrogatepass"))
        for start in range(len(lowered) - 2)
    )
    return _Text(item, tuple(words), runs)


def _same(older: _Text, newer: _Text) -> bool:
    first, second = older.item.request, newer.item.request
    if first.user_id != second.user_id or abs(second.created_at - first.created_at) > NEAR_SECONDS:
        return False
    ours = [word.lower() for word in older.words]
    theirs = [word.lower() for word in newer.words]
    if ours == theirs:
        return True
    short, long = sorted((ours, theirs), key=len)
    if long[: len(short)] == short:
        return len(short) >= BEGINNING_SHARE * len(long)
    shared = len(older.runs & newer.runs)
    if shared < NEAR_SIMILARITY * (len(older.runs) + len(newer.runs) - shared):
        return False
    return _differs_little(older.words, newer.words)


def _differs_little(ours: tuple[str, ...], theirs: tuple[str, ...]) -> bool:
    # Their order was compared by the runs; what is left is which words are there more often.
    one, two = Counter(ours), Counter(theirs)
    changed = [*(one - two).elements(), *(two - one).elements()]
    small = [
        word
        for word in changed
        if word.isalpha() and word.islower() and len(word) <= 4 and word not in _WEIGHTY
    ]
    return len(changed) <= 2 * NEAR_WORDS and len(small) == len(changed)
