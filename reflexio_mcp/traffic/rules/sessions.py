"""Rules about sessions: shared ones, temporary ones, and conversations that were cut into many."""

import re
import zlib
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.detector import Detector, SessionSeen
from reflexio_mcp.traffic.rules.found import EXAMPLES, Example, Group, example
from reflexio_mcp.traffic.rules.name_heuristics import is_temporary
from reflexio_mcp.traffic.rules.roles import is_person

__all__ = ["EndlessSessions", "OnlyEvaluation", "SharedSessions", "SplitConversations", "TemporarySessions"]

TEMPORARY_OVER_SECONDS: Final = 24 * 3600
"""A day after its last request nobody goes on with a scratch session."""

ENDLESS_REQUESTS: Final = 500
"""Months of daily talk; nobody means all of it by one conversation."""

ENDLESS_DAYS: Final = 60
"""Days with requests; a conversation that goes on for so many of them is a person's whole history."""

EVALUATION_REQUESTS: Final = 20
"""Fewer are somebody who tries it out."""

SPLIT_TURNS: Final = 6
"""Five short questions in a row happen; six that go on about the same thing are one conversation."""

SPLIT_GAP_SECONDS: Final = 600
"""Longest pause in which people still answer within the same conversation."""

SPLIT_INTERACTIONS: Final = 2
"""One turn: what was said and what was answered."""

SPLIT_CONTINUITY: Final = 0.5
"""Share of turns that go on from the one before; of unrelated questions a third at the most seems to."""

SPLIT_LINKED: Final = 0.25
"""Share of turns that do so by more than their first word: whoever begins each question with `so` asks a new one."""

TEMPLATE_SHARE: Final = 0.5
"""Turns that begin with the same words: from here on it is a tool at work and not a conversation."""

KEYS_KEPT: Final = 5_000
"""Users whose run of sessions is followed at the same time; the longest unseen is closed first."""

WORDS_KEPT: Final = 60

ASKED_CHARS: Final = 600
"""Of what a person says; a pasted text has words in common with any other."""

ANSWER_CHARS: Final = 300
"""Longest answer whose words count: what is asked next may take them up."""

_GOES_ON = re.compile(
    r"\s*(?:(?:and|but|or|so|then|also|ok|okay|yes|yeah|yep|yup|no|nope|nah|sure|thanks|thank you|great|good|perfect"
    r"|fine|alright|right|correct|exactly|cool|awesome|nice|got it|i see|what about|how about"
    r"|what else|anything else|that|it|those|these"
    r"|they|them|he|she|which one|the (?:first|second|third|last|other|same)|instead"
    r"|actually|hmm|wait|sorry|next|continue|go on"
    r"|more|another|again|please do|do (?:it|that|so)|any other|is (?:it|that)|are they|does (?:it|that)"
    r"|und|aber|oder|dann|ja|nein|danke|gut|genau|et|mais|ou|oui|non|merci"
    r"|alors|bien|pero|sí|gracias|vale|entonces|sì"
    r"|grazie|allora|sim|não|obrigad[oa]|então|maar|nee|bedankt|ale|tak|nie|dzięki|да|нет|но|спасибо|хорошо)\b"
    r"|好|是|不|对|那|谢|還|还|はい|いいえ|では|じゃ|それ|そこ|その|ありがとう|네|아니|그럼|그리고|감사)",
    re.IGNORECASE,
)
"""How people begin who answer, or who ask on; a new question seldom begins so."""

_REFERS = re.compile(
    r"\b(?:it|its|that|those|them|they|there|this|these|one|ones|same|instead|above|both|either|thanks|thank you"
    r"|please do|davon|dafür|dazu|damit|dort|dasselbe|stattdessen|danke|celui-ci|celle-ci|ça|cela|merci|eso|esa|ese"
    r"|gracias|quello|quella|grazie|isso|obrigad[oa]|dat|daar|bedankt|tego|to|tam|dzięki|это|этот|этого|там|спасибо)\b"
    r"|那|这|這|它|それ|そこ|その|그것|그거|거기",
    re.IGNORECASE,
)
"""Words that stand for what was said before."""

_ASKS = re.compile(r"[^\n]{1,118}[?？]\s*")
"""An answer that is a question and little else."""

_OFFERS = re.compile(
    r"(?i)\b(?:else|help|assist|more|sonst|helfen|d['’]autre|aider|más|ayudar|altro|aiutar|mais|ajudar)"
)
"""What else one may do for a person is no question about what he asked."""

_SENTENCE_ENDS: Final = ("?", "？")
REPLY_WORDS: Final = 4
"""Longest reply to a question that shows by its length alone that it is one."""

REPLY_CHARS: Final = 40
"""The same in languages without blanks."""

_NUMBERED = re.compile(
    r"([^\W\d_]{3,30})[ :]{0,2}(?:(?:no|nr|number|nummer)\.? ?)?[#№]? ?([A-Z]{0,4}-?\d{3,12})(?!\w)",
    re.IGNORECASE,
)
"""`order 5512`: what is numbered, and its number."""

_WORD = re.compile(r"[^\W\d_]{5,}")


def _words(text: str) -> list[str]:
    return text.split()


_COMMON: Final = frozenset(
    zlib.crc32(word[:7].encode())
    for word in _words(
        "about above after again along already always another answer anything around asked because before being "
        "below better between cannot change check could didn't different doesn't don't doing during either else "
        "enough every example explain find first following found from getting given going great happy hello help "
        "here instead issue just know later least let's like little longer looking make maybe means might minute "
        "minutes much need needs never nothing often only other otherwise over people perhaps please possible "
        "problem question really right same says second seems should show since some someone something sorry "
        "still sure takes tell than thank thanks that their them then there these they thing things think this "
        "those though three through today together tomorrow under until using usually want wanted wants what when "
        "where whether which while whole will with without words works would write wrong year years yesterday "
        "yours welcome course quick quickly simple short summary"
    )
)


class SharedSessions(Detector):
    """`shared-session`."""

    def session(self, seen: SessionSeen) -> None:
        first = seen.requests[0].request.user_id
        other = next((item for item in seen.requests if item.request.user_id != first), None)
        if other is not None:
            self.founds[0].add(seen.session_id, other)


class TemporarySessions(Detector):
    """`temporary-session`."""

    needs = "whole sessions"

    def session(self, seen: SessionSeen) -> None:
        last = seen.requests[0]
        over = self.now - TEMPORARY_OVER_SECONDS
        if last.request.created_at <= over and is_temporary(seen.session_id):
            self.founds[0].add(seen.session_id, last)


def _is_endless(items: Sequence[RequestWithInteractions]) -> bool:
    """Whether requests of one session are too many, or on too many days, for a conversation."""
    if len(items) < ENDLESS_DAYS:
        return False
    return len(items) >= ENDLESS_REQUESTS or (
        len({item.request.created_at // 86_400 for item in items}) >= ENDLESS_DAYS
    )


class EndlessSessions(Detector):
    """`endless-session`."""

    def session(self, seen: SessionSeen) -> None:
        if _is_endless(seen.requests):
            self.founds[0].add(seen.session_id, seen.requests[0])


class OnlyEvaluation(Detector):
    """`only-evaluation`: of a whole period."""

    needs = "all traffic"

    def __init__(self) -> None:
        super().__init__()
        self._requests = 0
        self._taught = False

    def request(self, item: RequestWithInteractions) -> None:
        self._requests += 1
        self._taught = self._taught or not item.request.evaluation_only
        if not self._taught and len(self.founds[0].examples) < EXAMPLES:
            self.founds[0].show(example(item))

    def finish(self) -> None:
        if self._taught or self._requests < EVALUATION_REQUESTS:
            self.founds[0].clear()
        else:
            self.founds[0].add("")
            self.founds[0].notes["requests"] = self._requests


@dataclass(frozen=True, slots=True)
class _Said:
    """What of a turn shows that it goes on from the one before.

    Args:
        asked: words of the person.
        answered: words of a short answer.
        goes_on: begins as people do who go on.
        refers: has a word for what was said before.
        is_reply: is as short as replies are, and no question.
        asks: the answer is a question.
        numbered: what it names by a number, with its numbers.
    """

    asked: frozenset[int]
    answered: frozenset[int]
    goes_on: bool
    refers: bool
    is_reply: bool
    asks: bool
    numbered: Mapping[str, AbstractSet[str]]

    @classmethod
    def of(cls, item: RequestWithInteractions) -> "_Said":
        asked = " ".join(turn.content[:ASKED_CHARS] for turn in item.interactions if is_person(turn.role))
        answers = [turn.content for turn in item.interactions if not is_person(turn.role)]
        # A long answer has words in common with any question; it says nothing about what is asked next.
        short = " ".join(answer for answer in answers if len(answer) <= ANSWER_CHARS)
        numbered: dict[str, set[str]] = {}
        for match in _NUMBERED.finditer(asked):
            numbered.setdefault(match[1].lower(), set()).add(match[2])
        return cls(
            _topic(asked),
            _topic(short),
            bool(_GOES_ON.match(asked)),
            bool(_REFERS.search(asked)),
            len(asked) <= REPLY_CHARS
            and len(asked.split()) <= REPLY_WORDS
            and not asked.rstrip().endswith(_SENTENCE_ENDS),
            bool(_ASKS.fullmatch(short)) and not _OFFERS.search(short),
            numbered,
        )

    def is_linked(self, before: "_Said") -> bool:
        """Whether more than its first word ties it to the turn before."""
        if any(
            not self.numbered[name] & before.numbered[name]
            for name in self.numbered.keys() & before.numbered.keys()
        ):
            return False  # another order, another ticket
        return bool(self.asked & (before.asked | before.answered)) or (self.is_reply and before.asks)


def _topic(text: str) -> frozenset[int]:
    words: set[int] = set()
    for match in _WORD.finditer(text.lower()):
        words.add(zlib.crc32(match[0][:7].encode()))
        if len(words) >= WORDS_KEPT:
            break
    return frozenset(words - _COMMON)


def _beginning(item: RequestWithInteractions) -> str:
    return " ".join(item.interactions[0].content[:80].lower().split()[:2])


@dataclass
class _Run:
    """Sessions in a row of one caller, from the newest back."""

    newest: int
    oldest: int
    said: _Said
    waiting: list[Example] = field(default_factory=list[Example])
    turns: int = 1
    continued: int = 0
    linked: int = 0
    counted: int = 0
    beginnings: Counter[str] = field(default_factory=Counter[str])

    @property
    def is_split(self) -> bool:
        return (
            self.turns >= SPLIT_TURNS
            and self.continued >= SPLIT_CONTINUITY * (self.turns - 1)
            and self.linked >= SPLIT_LINKED * (self.turns - 1)
            and max(self.beginnings.values()) < TEMPLATE_SHARE * self.turns
        )


class SplitConversations(Detector):
    """`split-conversation`: the walk brings sessions newest first, so a run grows into the past."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: OrderedDict[tuple[str, str, str], _Run] = OrderedDict()
        # The oldest request of each user, source and version that belongs to no run: lists of a run must not meet it.
        self._others: OrderedDict[tuple[str, str, str], int] = OrderedDict()
        self._forgotten = False

    def session(self, seen: SessionSeen) -> None:
        item = seen.requests[0]
        request = item.request
        key = (request.user_id, request.source, request.agent_version)
        single = len(seen.requests) == 1 and 1 <= len(item.interactions) <= SPLIT_INTERACTIONS
        run = self._runs.pop(key, None)
        if not single:
            if run:
                self._close(key, run, following=request.created_at)
            self._pass_over(seen.requests)
            return
        said = _Said.of(item)
        if run and run.oldest - request.created_at > SPLIT_GAP_SECONDS:
            self._close(key, run)
            run = None
        if run is None:
            run = _Run(request.created_at, request.created_at, said)
        else:
            run.turns += 1
            linked = run.said.is_linked(said)
            run.continued += linked or run.said.goes_on
            run.linked += linked or run.said.refers
            run.oldest, run.said = request.created_at, said
        self._keep(run, item)
        self._runs[key] = run
        if len(self._runs) > KEYS_KEPT:
            self._close(*self._runs.popitem(last=False))

    def _keep(self, run: _Run, item: RequestWithInteractions) -> None:
        # Until it is long enough its turns wait here; from then on they are counted as they come.
        run.waiting.append(example(item))
        if len(run.beginnings) < WORDS_KEPT:
            run.beginnings[_beginning(item)] += 1
        if len(run.waiting) > 4 * SPLIT_TURNS:
            if run.is_split:
                self._count(run)
            else:
                run.waiting.clear()

    def _count(self, run: _Run) -> None:
        for one in run.waiting:
            self.founds[0].note_example(one)
        run.counted += len(run.waiting)
        run.waiting.clear()

    def _pass_over(self, items: Sequence[RequestWithInteractions]) -> None:
        for item in items:
            one = item.request
            key = (one.user_id, one.source, one.agent_version)
            self._others[key] = min(self._others.pop(key, one.created_at), one.created_at)
        while len(self._others) > KEYS_KEPT:
            self._others.popitem(last=False)
            self._forgotten = True

    def _stands_alone(self, key: tuple[str, str, str], run: _Run, following: int | None) -> bool:
        """Whether a list by user, source, version and time holds the run's requests and no other."""
        return (
            not self._forgotten
            and run.newest < self._others.get(key, run.newest + 1)
            and following != run.oldest
        )

    def _close(self, key: tuple[str, str, str], run: _Run, following: int | None = None) -> None:
        if not run.is_split:
            return
        self._count(run)
        (found,) = self.founds
        # No filter selects requests without a source, and none of a part of a run.
        if (
            found.group is None
            and all(key)
            and run.counted == run.turns
            and self._stands_alone(key, run, following)
        ):
            found.group = Group(*key, run.oldest, run.newest, run.counted)

    def finish(self) -> None:
        for key, run in self._runs.items():
            self._close(key, run)
        self._runs.clear()
