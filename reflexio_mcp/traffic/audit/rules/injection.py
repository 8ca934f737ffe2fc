"""Finds passages that may be prompt injection: orders to an assistant in a text that it only reads.

A passage is two sentences in a row. It has signs, such as words that set rules aside or words that address an assistant,
and each sign counts its points once. Everybody's text is read alike, because people paste e-mails, tickets and pages
into their own turns. Orders in plain words that address nobody have no sign and are not found.
"""

import functools
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from reflexio_mcp.characters import JOINERS, WITHOUT_GLYPH
from reflexio_mcp.traffic.turns import give_way

READ_CHARS: Final = 1_000_000
SENTENCE_CHARS: Final = 300
"""A longer sentence is read in parts of this length."""

NEAR_CHARS: Final = 400
"""Words about attacks count up to this distance before a passage."""

POSSIBLE: Final = 4
"""From these points on, somebody has to judge a passage."""

PROBABLE: Final = 8
"""From these points on, a passage may be offered for deletion: about one in 10,000 ordinary texts reaches them."""

SignName = Literal[
    "override",
    "reveal",
    "unbound",
    "send",
    "announcement",
    "assistant",
    "addressed",
    "authority",
    "answer",
    "private",
    "secrecy",
    "memory",
    "task",
    "instructions",
    "order",
    "template marker",
    "hidden text",
]


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with enough points.

    Args:
        start, end: its place in the text, in characters.
        points: at least `POSSIBLE`.
        signs: the names of its signs, the strongest first.
    """

    start: int
    end: int
    points: int
    signs: tuple[SignName, ...]

    @property
    def probable(self) -> bool:
        return self.points >= PROBABLE


@dataclass(frozen=True)
class Sign:
    """One form of a sign.

    Args:
        words: what the form contains, in lower case, with `|` between alternatives. A sentence without the beginning of
            one of them is not searched, which makes reading ten times as fast.
        pattern: a regular expression in which `{words}` stands for these alternatives.
    """

    name: SignName
    points: int
    words: str
    pattern: str

    @property
    def first_words(self) -> frozenset[str]:
        return frozenset(_WORD.findall(phrase)[0] for phrase in self.words.split("|"))

    @property
    def has_whole_words(self) -> bool:
        """Whether only the words of `words` themselves are found. Otherwise a word may go on, as in `ignoring`."""
        after_words = self.pattern.split("{words}")[1:]
        return all(rest.startswith((" ", r"\b")) for rest in after_words)

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        alternatives = "|".join(map(re.escape, self.words.split("|")))
        return re.compile(self.pattern.replace("{words}", f"(?:{alternatives})"))


BEGINNING: Final = 4
"""Number of first letters by which signs are looked up whose words may go on, as "instruct" does in "instructions".

A sentence is searched for such a sign if one of its words begins with these letters. A word of a sign that has fewer
letters is looked up by all of them.
"""

WORDS_KNOWN: Final = 20_000
"""Number of words for which `_signs_with` remembers its answer."""

_ASSISTANTS: Final = (
    "assistant|assistants|ai|llm|llms|model|models|agent|agents|bot|bots|chatbot|chatbots|claude|chatgpt|gpt|gemini"
    "|copilot|llama|ki|asistente|assistente|assistenten"
)
# Many misspell "instructions", on purpose or not.
_RULES: Final = (
    r"\b(?:i?[iu]?nstr\w{2,9}|rules?|guidelines?|prompts?|directives?|orders|commands?|restrictions?|constraints?"
    r"|programming|training|polic(?:y|ies)|safeguards?|filters?|everything|safety)\b"
)
_CONFIDENTIAL: Final = (
    r"\b(?:(?:system|initial|original|hidden|full|entire) (?:prompt|instructions?|message)"
    r"|your (?:\w+ ){0,2}(?:instructions?|prompt|rules|guidelines|configuration|password|secret)"
    r"|(?:instructions|text|words|everything|prompt) (?:above|before|you)|above (?:text|instructions)"
    r"|secret (?:key|word|code|phrase|password)|access code|(?:conversation|chat) history|credentials|api keys?"
    r"|passwords)\b"
)
_OBJECTS: Final = (
    r"\b(?:all|every|everything|users?|requests?|learnings|records?|files?|personal|private|tools?|functions?|database"
    r"|messages|history|memor\w+|profiles?|permissions?|access|admin|rights|links?|urls?|https?|scripts?|confirmations?"
    r"|security|logs?|accounts?|transactions?|passwords?|credentials?|addresses|contacts|e-?mails?|data)\b"
)
_DESTINATION: Final = r"(?:@[\w-]+\.\w|https?://|www\.|\b[\w-]+\.(?:com|net|org|io|ru|xyz|example)\b|\]\()"

_SIGNS: Final = (
    # Rules are set aside.
    Sign(
        "override",
        5,
        "ignore|ignoring|ignroe|disregard|forget|override|overriding|bypass|neglect|discard|supersede|stop following"
        "|do not follow|do not obey|do not listen|don't follow|don't obey|never follow",
        r"\b{words}(?:s|d|ed|ing)?\b[^.\n]{0,50}?(?:"
        + _RULES
        + r"|\b(?:above|before|previous|prior|preceding)\b)",
    ),
    Sign(
        "override",
        5,
        "rule|rules|instruction|instructions|restrictions|guidelines|policy|policies|safeguards|prompt|filters",
        r"\b{words}\b[^.\n]{0,30}\b(?:no longer|lifted|removed|switched off|disabled|void|suspended|obsolete|outdated"
        r"|(?:do not|don't) (?:apply|count|matter))\b",
    ),
    Sign(
        "override",
        5,
        "ignorier|vergiss|missacht",
        r"\b{words}\w*[^.\n]{0,40}(?:anweisung|regel|instruktion|vorgabe|befehl|alles)",
    ),
    Sign(
        "override",
        5,
        "ignorez|ignorer|oubliez|oublie|olvida|olvide|ignora|ignore|esqueça|dimentica",
        r"\b{words}\w*\b[^.\n]{0,40}(?:instruc|instruç|consigne|règle|regla|regra|istruz|regol|directiv|anterior"
        r"|précédent|todo|tout)",
    ),
    Sign(
        "override",
        5,
        "игнорируй|игнорируйте|забудь|забудьте",
        r"\b{words}[^.\n]{0,40}(?:инструк|указан|команд|правил|вс[её])",
    ),
    # Something confidential is asked for.
    Sign(
        "reveal",
        4,
        "reveal|repeat|print|show|tell|output|display|give|write|share|summarize|summarise|translate|encode|leak"
        "|disclose|copy|list|provide|what",
        r"\b{words}\b[^.\n]{0,50}?" + _CONFIDENTIAL,
    ),
    Sign(
        "private",
        3,
        "confidential|sensitive|classified|private|personal|proprietary|credit card|social security|medical|bank"
        "|banking|login|customer",
        r"\b{words} (?:\w+ )?(?:information|data|records?|details|files?|documents|keys?|numbers?|credentials|history)\b",
    ),
    # Limits are said to be gone, or should go.
    Sign(
        "unbound",
        4,
        "unrestricted|uncensored|unfiltered|amoral|jailbreak|jailbroken|do anything now|developer mode|debug mode"
        "|maintenance mode|god mode|admin mode|dan mode|root mode|sudo mode|opposite mode",
        r"\b{words}\b",
    ),
    Sign(
        "unbound",
        4,
        "no|without|regardless of",
        r"\b{words} (?:\w+ ){0,3}?(?:restrictions|limits|limitations|rules|filters?|constraints|guidelines|ethic\w*"
        r"|moral\w*|censorship|legality|polic\w+)\b",
    ),
    Sign(
        "unbound",
        4,
        "bypass|disable|turn off|switch off|circumvent|evade|override|skip",
        r"\b{words} (?:\w+ ){0,3}(?:safety|security|filters?|protocols?|guardrails?|restrictions?|measures|checks"
        r"|confirmations?)\b",
    ),
    # Something should go to an address.
    Sign(
        "send",
        3,
        "send|forward|email|e-mail|transfer|share|upload|post|export|exfiltrate|submit|transmit|copy|append|leak"
        "|deliver|wire|bcc|include|sende|envía|envoyez",
        r"\b{words}\b[^.\n]{0,120}?" + _DESTINATION,
    ),
    # An order is announced.
    Sign(
        "announcement",
        3,
        "important|attention|urgent|critical|mandatory|immediate|new|updated|additional|special|hidden|real|actual"
        "|final|secret|revised|latest",
        r"\b{words}\b(?: ?[:!]| (?:and \w+ )?(?:\w+ )?(?:instructions?|message|tasks?|directives?|orders?"
        r"|polic(?:y|ies)|objective|goal|protocol|rules?|command|prompt)\b)",
    ),
    Sign(
        "announcement",
        3,
        "effective immediately|has moved|have moved|has changed|wichtig",
        r"\b{words}\b",
    ),
    # An assistant is spoken of, or to.
    Sign("assistant", 1, _ASSISTANTS, r"\b{words}\b(?!['-])"),
    Sign(
        "addressed",
        3,
        _ASSISTANTS,
        r"(?<![\w-])(?:dear|hey|hello|attention|to|for|an|whatever|any|all|every) (?:the |any |all |every |an? )?"
        r"(?:\w+ )?{words}\b(?: \w+){0,5}?(?:\s?[,:]|\s-)"
        r"|(?:^|[:>\])*]\s)\W{0,3}{words}\b(?: \w+){0,3}?\s?,"
        r"|\byou(?: are|'re) (?:an? )?(?:\w+ )?{words}\b",
    ),
    Sign(
        "addressed",
        3,
        _ASSISTANTS,
        r"\b{words}\b(?: \w+){0,4}? (?:must|shall|has to|have to|will now|should (?:always|never|now|first|instead"
        r"|ignore|not))\b",
    ),
    Sign(
        "authority",
        2,
        "i authorize|i authorise|we authorize|admin access|admin override|admin password|administrator access"
        "|administrator privileges|root access|override code",
        r"\b{words}\b",
    ),
    Sign(
        "authority",
        2,
        "as|i am|i'm|this is",
        r"\b{words} (?:the|your|an?|from) (?:\w+ )?(?:administrator|admin|developer|owner|creator|supervisor|ceo"
        r"|maintainer|openai|anthropic)\b",
    ),
    # The answer is dictated.
    Sign(
        "answer",
        2,
        "say|reply|respond|answer|output|print|write|return|state|start|begin|end|prefix",
        r"\b{words}(?:ing)? (?:\w+ ){0,4}?(?:only|exactly|with|by saying|nothing|instead|that the)\b",
    ),
    Sign(
        "answer",
        2,
        "say|reply|respond|answer|output|write",
        r"\b{words}(?:ing)?\b[^.\n]{0,20}[\"“‘\[]",
    ),
    Sign(
        "answer",
        2,
        "your",
        r"\b{words} (?:next |final |entire |whole |own )?(?:response|reply|output|answers?|summary|recommendation"
        r"|report)s?\b",
    ),
    # The person should not notice, or is said to have agreed.
    Sign(
        "secrecy",
        2,
        "do not|don't|never|must not|without|not to|no need to|instead of",
        r"\b{words} (?:\w+ ){0,3}?(?:ask\w*|mention\w*|tell\w*|notify\w*|inform\w*|reveal\w*|show\w*|warn\w*"
        r"|disclos\w+|confirm\w*|suspicion|detect\w*|alert\w*|knowledge|consent|question\w*|leaving (?:any |a )?trace)",
    ),
    Sign(
        "secrecy",
        2,
        "silently|secretly|discreetly|covertly|unnoticed|undetected|stealthily|unbeknownst|stop reading"
        "|stop processing|remove this|ohne rückfrage|ohne zu fragen|erwähne",
        r"\b{words}\b",
    ),
    # The order should last, or wait for its moment.
    Sign(
        "memory",
        2,
        "remember|memorize|memorise|store|save|record|note",
        r"\b{words}\b[^.\n]{0,25}?\b(?:permanently|forever|as a fact|that the user|for (?:all )?future|long-term"
        r"|(?:to|in) memory)\b",
    ),
    Sign(
        "memory",
        2,
        "when|whenever|if|once|anyone|whoever|whatever",
        r"\b{words} (?:\w+ ){0,5}?(?:recalled?|summari[sz]\w+|process(?:es|ing)? this|retriev\w+|reads? this"
        r"|asks (?:you|about|for))\b",
    ),
    Sign(
        "memory",
        2,
        "user",
        r"\b{words} (?:has |have )?(?:already )?(?:agreed|approved|wants|prefers|consent\w*|authori[sz]ed)\b",
    ),
    # The assistant's own task is spoken of.
    Sign(
        "task",
        2,
        "your",
        r"\b{words} (?:\w+ )?(?:tasks?|goal|objective|job|role|mission|purpose|duty|instructions?|programming"
        r"|guidelines|rules|polic\w+|training|memory|system|safety|constraints|restrictions|previous|owner|creators?"
        r"|developers?)\b",
    ),
    Sign(
        "task",
        2,
        "you",
        r"\b{words} (?:must|shall|will now|are now|are required to|have been|are no longer|no longer|are instructed"
        r"|are not bound|need to (?:first )?(?:call|go|click|send|ignore))\b",
    ),
    Sign(
        "task",
        2,
        "from now on|from here on|from this point on|from this moment on|henceforth",
        r"\b{words}\b",
    ),
    Sign("task", 2, "in order to", r"\b{words} (?:complete|continue|proceed)\b"),
    Sign(
        "task",
        2,
        "before",
        r"\b{words} (?:you )?(?:can |do |answer\w*|solv\w+|respond\w*|proceed\w*|continu\w+|complet\w+|finish\w*"
        r"|clos\w+|doing)",
    ),
    Sign(
        "instructions",
        2,
        "instruction|instructions|directive|directives|system prompt|prompt|prompts|safeguards|anweisung|anweisungen"
        "|instrucciones|consignes|istruzioni|guidelines",
        r"\b{words}\b",
    ),
    Sign(
        "order",
        1,
        "delete|erase|wipe|drop|remove|export|dump|disclose|grant|approve|disable|deactivate|modify|alter|change|update"
        "|install|execute|run|call|invoke|download|visit|open|click|navigate to|go to|unlock|retrieve|access|search"
        "|transfer|pay|send|forward|share|schedule|book|cancel|add|create|give|make|set",
        r"\b{words}\b (?:\w+ ){0,5}?" + _OBJECTS,
    ),
)
_MARKER_POINTS: Final = 3
_MARKER: Final = re.compile(
    r"<\|[\w ]{1,40}\|>|\[/?inst\]|<</?sys>>|^\s{0,4}#{2,4}\s?\(?(?:system|instructions?|user|assistant|human|new)\b"
    r"|\[\s?(?:system|admin|note to|hidden|internal|instruction)\b[^\]\n]{0,30}\]"
    r"|</?(?:system|instructions?|important|information|admin|assistant|prompt|user)(?:[ _-]\w+)?>"
    r"|^\s{0,4}(?:system|admin|assistant|developer)\s?[:：]"
    r"|<!--[^>]{0,80}\b(?:ai|llm|you|ignore|assistant|instruction|system|model)\b"
    r"|\bend of (?:e-?mail|document|message|context|text|input|system prompt|user|instructions)"
    r"|(?<![-=*#<>])[-=*#<>]{3,20} ?(?:\w+ ){0,3}(?:end|start|begin|stop|new|system|user|instructions?|task|data)\b"
    r"[\w ]{0,25}[-=*#<>]{3,}"
    r"|(?:忽略|无视|無視|忘记|忘記)[^。\n]{0,20}?(?:指令|指示|说明|提示|之前|以上)|指示を無視"
)
_SPEAKERS: Final = ("system", "admin", "assistant", "developer")
"""The names before a colon in `_MARKER`."""

# Finds what `[<\[忽无無忘指]|##|[#=*>-]{3}` finds, six times as fast, because it begins with one set of letters.
_MARKER_LETTERS: Final = re.compile(r"[<\[忽无無忘指#=*>-](?:(?<=[<\[忽无無忘指])|(?<=#)#|[-=*#>]{2})")
"""A sentence without these has no marker but `end of …` or, at its beginning, the name of a speaker."""

_TO_AN_ASSISTANT: Final = frozenset[SignName](["override", "addressed", "assistant", "instructions", "task"])
"""A probable passage has one of these signs."""

_DISCUSSES: Final = re.compile(
    r"prompt[ -]injection|jailbreaking|red[ -]team|adversarial|\battack(?:s|ers?)?\b|\bmalicious\b|\bfor example\b"
    r"|\be\.g\.|guardrail"
)
"""A text about attacks may quote an order, so its passages are only possible."""

_TAGGED: Final = re.compile("[\U000e0020-\U000e007e]{8,}")
"""Letters that no screen shows and a model reads."""

_INVISIBLE: Final = re.compile(f"[{WITHOUT_GLYPH}{JOINERS}]")
_WORD: Final = re.compile(r"[^\W\d_]+")
_SENTENCE: Final = re.compile(
    rf"[^\n]{{1,{SENTENCE_CHARS}}}?(?:[.!?。！？](?=\s)|(?=\n)|\Z)|[^\n]{{{SENTENCE_CHARS}}}"
)


def _numbers_by_word() -> tuple[dict[str, list[int]], dict[str, list[int]]]:
    """Return the numbers of the signs in `_SIGNS`, in two dictionaries.

    The first has whole first words as its keys, the second the beginnings of first words that may go on.
    """
    by_word: defaultdict[str, list[int]] = defaultdict(list)
    by_beginning: defaultdict[str, list[int]] = defaultdict(list)
    for number, sign in enumerate(_SIGNS):
        for word in sign.first_words:
            if sign.has_whole_words:
                by_word[word].append(number)
            else:
                by_beginning[word[:BEGINNING]].append(number)
    return dict(by_word), dict(by_beginning)


_BY_WORD, _BY_BEGINNING = _numbers_by_word()


@functools.lru_cache(maxsize=WORDS_KNOWN)
def _signs_with(word: str) -> tuple[int, ...]:
    """Return the numbers of the signs that may begin with a word."""
    # A sign's word of fewer letters than `BEGINNING` is looked up by all of them.
    beginnings = {word[:letters] for letters in range(1, BEGINNING + 1)}
    going_on = (_BY_BEGINNING.get(beginning, ()) for beginning in beginnings)
    return (*_BY_WORD.get(word, ()), *itertools.chain.from_iterable(going_on))


def passages_in(text: str) -> Iterator[Passage]:
    """Yield the passages with `POSSIBLE` points or more, from the first 1,000,000 characters.

    Hidden text comes first, then the passages of what can be seen, which do not overlap each other.
    """
    text = text[:READ_CHARS]
    plain = _plain(text)
    places_in_text: list[int] | None = None
    if not text.isascii():
        for tagged in _TAGGED.finditer(text):
            yield Passage(*tagged.span(), PROBABLE, ("hidden text",))
        if _INVISIBLE.search(plain):
            places_in_text = [place for place, letter in enumerate(plain) if not _INVISIBLE.match(letter)]
            plain = _INVISIBLE.sub("", plain)
    for passage in _strongest(plain):
        start, end, points = passage.start, passage.end, passage.points
        if passage.probable and not _may_be_probable(passage, plain):
            points = PROBABLE - 1  # it stays possible
        if places_in_text:
            start, end = places_in_text[start], places_in_text[end - 1] + 1
        yield Passage(start, end, points, passage.signs)


def strongest_sentence(text: str, passage: Passage) -> int:
    """Return where the sentence of a passage with the most points begins."""
    plain = _plain(text[passage.start : passage.end])
    sentences = _SENTENCE.finditer(plain)
    strongest = max(sentences, key=lambda sentence: sum(_signs_in(sentence[0]).values()), default=None)
    return passage.start + (strongest.start() if strongest else 0)


def _plain(text: str) -> str:
    """Return a text of the same length in lower case, with plain apostrophes, and with blanks for underscores."""
    # `İ` is longer in lower case and would shift all later places.
    return text.replace("\u0130", "I").lower().replace("’", "'").replace("_", " ")


def _may_be_probable(passage: Passage, plain: str) -> bool:
    """Whether a passage is about an assistant, and does not stand in a text about attacks."""
    if _TO_AN_ASSISTANT.isdisjoint(passage.signs):
        return False
    return not _DISCUSSES.search(plain, max(0, passage.start - NEAR_CHARS), passage.end)


def _strongest(plain: str) -> Iterator[Passage]:
    """Yield the passages with enough points: each sentence together with the one before, or alone if that has no signs.

    If two passages overlap, only the one with more points is yielded, or the earlier one if they are equal. Of three in
    a row with 5, 6 and 7 points, only the last is yielded.
    """
    best: Passage | None = None
    previous_start = 0
    previous_signs: dict[SignName, int] = {}
    for sentence in _SENTENCE.finditer(plain):
        give_way()
        signs = _signs_in(sentence[0])
        both = previous_signs | signs
        start = previous_start if previous_signs else sentence.start()
        if best and start >= best.end:
            yield best
            best = None
        points = sum(both.values())
        if points >= POSSIBLE and (best is None or points > best.points):
            best = Passage(start, sentence.end(), points, _strongest_first(both))
        previous_start, previous_signs = sentence.start(), signs
    if best:
        yield best


def _strongest_first(signs: dict[SignName, int]) -> tuple[SignName, ...]:
    return tuple(sorted(signs, key=lambda name: signs[name], reverse=True))


def _signs_in(sentence: str) -> dict[SignName, int]:
    """Return the signs of a sentence in plain letters, each with its points."""
    candidates = set(itertools.chain.from_iterable(map(_signs_with, _WORD.findall(sentence))))
    signs: dict[SignName, int] = {}
    for number in sorted(candidates):
        sign = _SIGNS[number]
        if sign.name not in signs and sign.compiled.search(sentence):
            signs[sign.name] = sign.points
    if _may_have_marker(sentence) and _MARKER.search(sentence):
        signs["template marker"] = _MARKER_POINTS
    return signs


def _may_have_marker(sentence: str) -> bool:
    """Whether a sentence has the letters that every marker has. They are found much faster than a marker."""
    if "end of" in sentence or sentence.lstrip().startswith(_SPEAKERS):
        return True
    return _MARKER_LETTERS.search(sentence) is not None
