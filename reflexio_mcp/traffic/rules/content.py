"""Rules about content: almost none of it, and text that was planted for an assistant."""

import re
import unicodedata
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.detector import Detector, stop_if_cancelled

__all__ = ["NearlyEmpty", "Planted", "is_nearly_empty", "planted_kinds", "planted_signals"]

LEAST_CHARS: Final = 4
"""`ok`, `yes` and `?` stay below it, `help` does not."""

SCANNED_CHARS: Final = 100_000
"""Of one text, so that a single huge one cannot hold up the audit; instructions want to be read early."""

NEAR_CHARS: Final = 400
"""Signals of one planted text stand within a paragraph."""

_NO_BLANKS = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def is_nearly_empty(item: RequestWithInteractions) -> bool:
    """Whether a request says next to nothing; a question with an answer says something, however short."""
    letters = 0
    roles = {turn.role.lower() for turn in item.interactions}
    if len(roles) > 1:
        return False
    for turn in item.interactions:
        texts = texts_of(turn)
        if turn.tools_used or turn.interacted_image_url or turn.user_action != "none":
            return False
        # The API drops empty turns and gives no images back: a turn without anything had an image.
        if not any(text.strip() for text in texts):
            return False
        for text in texts:
            for letter in text[:1_000]:
                if unicodedata.category(letter) == "So":
                    return False  # an emoji is a feeling, and an answer
                if letter.isalnum():
                    letters += 2 if _NO_BLANKS.match(letter) else 1
                    if letters >= LEAST_CHARS:
                        return False
    return True


class NearlyEmpty(Detector):
    """`nearly-empty`."""

    def __init__(self) -> None:
        super().__init__("nearly-empty")

    def request(self, item: RequestWithInteractions) -> None:
        if is_nearly_empty(item):
            self.founds[0].add(item.request.request_id, item)


_ASSISTANT = (
    r"(?:assistants?|ai(?: (?:agents?|models?|systems?|assistants?))?|llms?|language models?|agents?|chatbots?"
    r"|claude|chatgpt|copilot)"
)
_OUT = (
    r"(?:https?://|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.\w"
    r"|\bto (?:this|the following) (?:url|address|server|endpoint|webhook))"
)
_TELL = r"(?:tell|inform|alert|notify|mention|show|reveal)(?:ing)?"

_SIGNALS: Final = {
    "override": re.compile(
        r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,30}"
        r"\b(?:previous|prior|above|earlier|preceding|system|existing|original|your|all)\b[^.\n]{0,25}"
        r"\b(?:instructions?|prompts?|rules|guidelines|directives|safeguards)\b"
        r"|(?<!\bour )(?<!\bmy )(?<!\bthe )\bnew (?:system )?instructions? *:"
        r"|\byour (?:new|real|true) (?:task|instructions?|goal|objective)\b",
        re.IGNORECASE,
    ),
    "address": re.compile(
        rf"\b(?:attention|note|message|notice|instructions?|memo|important|p\.?s\.?)[^.\n]{{0,12}}\b(?:to|for)\b "
        rf"(?:the |any |all |every )?{_ASSISTANT}\b"
        rf"|\bif you(?:'re| are) (?:an? |the )?{_ASSISTANT}\b"
        rf"|\b(?:dear|hey|hi|hello|attention,?) (?:{_ASSISTANT}|model)\b[^.\n]{{0,30}}[:,!]"
        rf"|\b{_ASSISTANT} (?:that|who|which|when(?:ever)? (?:it|you)) "
        r"(?:reads?|process(?:es)?|sees?|summari[sz]es?|recalls?)\b"
        rf"|\b(?:any|every) {_ASSISTANT} reading this\b|(?:^|[.:;!>] *)(?:the |any |all ){_ASSISTANT} must\b"
        r"|\bwhen(?:ever)? you (?:next )?(?:recall|read|retrieve|summari[sz]e) this "
        r"(?:memory|message|text|entry|note)\b"
        r"|\byou are now (?:in )?(?:an? )?(?:dan\b|unrestricted|unfiltered|jailbroken|developer mode|root|admin)",
        re.IGNORECASE,
    ),
    "authority": re.compile(
        r"<\|?(?:im_start|start_header_id)\|?>\s*system|</?system(?:[ _-]?(?:prompt|message))?>"
        r"|\[/?(?:system|inst)\]|<<sys>>|<<end [0-9a-f]{4,}>>"
        r"|^[ \t]{0,20}(?:#{1,6}[ \t]{0,4})?system (?:message|prompt|override|notice|note) *:|\bsystem override\b"
        r"|\b(?:admin(?:istrator)?|developer|operator|root)[ -](?:override|mode enabled|command) *[:!]",
        re.IGNORECASE | re.MULTILINE,
    ),
    "act": re.compile(
        r"\b(?:call|invoke|run|execute|use) (?:the )?`?(?:delete|send|publish|transfer|update|create|restore|pay|post"
        r"|write|remove|forward|grant|list|get)_[a-z_]+`?"
        r"|\b(?:delete|erase|wipe|purge|drop) (?:all|every|everything|the (?:whole|entire))\b[^.\n]{0,40}"
        rf"|\b(?:send|forward|post|upload|e-?mail|exfiltrate|leak|transmit|append|submit)\b[^.\n]{{0,60}}{_OUT}"
        r"|\b(?:reveal|print|output|disclose|repeat|share|send|include)\b[^.\n]{0,40}\b(?:system prompt"
        r"|hidden prompt|api keys?|credentials|access tokens?|private keys?|passwords?)\b",
        re.IGNORECASE,
    ),
    "secrecy": re.compile(
        rf"\b(?:do not|don't|never|without) {_TELL}\b[^.\n]{{0,30}}"
        r"\b(?:the )?(?:user|human|person|anyone|operator|owner)\b"
        r"|\bwithout (?:asking|the user|any (?:confirmation|approval))\b"
        r"|\bdo not ask (?:for )?(?:confirmation|permission|the user)\b"
        r"|\b(?:keep|stay) (?:this )?(?:hidden|secret|silent) from (?:the )?(?:user|human)\b",
        re.IGNORECASE,
    ),
    "hidden": re.compile(
        "[\U000e0020-\U000e007e]{4,}|[\u200b\u200c\u2060]{6,}"
        r"|<!--[^>]{0,200}\b(?:assistant|instructions?|ignore)\b",
        re.IGNORECASE,
    ),
}

_STRANGE: Final = frozenset({"override", "address", "authority", "hidden"})
"""Kinds of which one must be there: people do tell their assistant to act, and to do it silently."""

_OWN_ROLES: Final = frozenset({"system", "developer"})
"""Prompts of the integration itself: commanding an assistant is what they are for."""

_QUICK = re.compile(
    r"instruct|prompt|system|ignore|disregard|assistant|\bai\b|llm|\bagent|do not|don't|without|override|"
    r"\[inst|<<end|\U000e0020|[\U000e0020-\U000e007e]|[\u200b\u2060]|<!--",
    re.IGNORECASE,
)
"""A text without any of these holds no signal; most texts end here."""

_DISCUSSED = re.compile(
    r"prompt[- ]?injections?|jailbreak|injection attack|injected (?:text|instructions)|red[- ]?team|adversarial|"
    r"malicious (?:prompt|instruction|text)|attackers?\b|phishing|guardrails?|owasp|(?:detect|block|defend|filter|"
    r"classif)\w* [^.\n]{0,40}(?:instructions|prompts?|attacks?)",
    re.IGNORECASE,
)
"""Words of people who talk about such attacks, when they stand before one; who carries one out does not name it,
unless to deny it."""

_DENIED = re.compile(r"\b(?:no|not|never|isn'?t|aren'?t|nor|without|hardly)\b[^.\n]{0,16}$", re.IGNORECASE)

_WRITING = re.compile(
    r"\b(?:write|draft|improve|review|rewrite|rephrase|create|edit|fix|shorten|lengthen|translate|test|polish)\b"
    r"[^.\n]{0,40}\b(?:prompts?|instructions for (?:my|our|the|a|an))\b",
    re.IGNORECASE,
)
"""People who ask for a prompt: what follows is its text."""

_REFUSED = re.compile(
    r"\b(?:never|not|don't|doesn't|won't|cannot|can't|may no)\W+(?:\w+\W+){0,2}$", re.IGNORECASE
)
"""Before an act: who forbids it does not ask for it."""


def planted_signals(text: str) -> frozenset[str]:
    """The signals of a planted text: at least two kinds close together, or none."""
    text = text[:SCANNED_CHARS]
    if not _QUICK.search(text):
        return frozenset()
    hits: list[tuple[int, str]] = []
    for kind, pattern in _SIGNALS.items():
        for match in pattern.finditer(text):
            if not _quoted(text, match) and not (kind == "act" and _refused(text, match)):
                hits.append((match.start(), kind))
            if len(hits) > 200:
                break
    hits.sort()
    for index, (place, kind) in enumerate(hits):
        kinds = {kind}
        for later, other in hits[index + 1 :]:
            if later - place > NEAR_CHARS:
                break
            kinds.add(other)
        if len(kinds) >= 2 and kinds & _STRANGE and not _excused(text[max(0, place - NEAR_CHARS) : place]):
            return frozenset(kinds)
    return frozenset()


_OPENING = "\"'`\u201c\u2018\u00ab"


def _excused(before: str) -> bool:
    """Whether what stands before the signals says that they are talked about, or belong to a prompt to be written."""
    if _WRITING.search(before):
        return True
    return any(not _DENIED.search(before, 0, match.start()) for match in _DISCUSSED.finditer(before))


def _refused(text: str, match: "re.Match[str]") -> bool:
    return bool(_REFUSED.search(text[max(0, match.start() - 40) : match.start()]))


def _quoted(text: str, match: "re.Match[str]") -> bool:
    # A phrase in quotes is one that somebody talks about.
    start = match.start()
    while start < match.end() and text[start].isspace():
        start += 1
    return start > 0 and text[start - 1] in _OPENING


def planted_kinds(item: RequestWithInteractions) -> frozenset[str]:
    """The signals in the first text of a request that seems planted; none for an ordinary one."""
    for turn in item.interactions:
        if turn.role.lower() not in _OWN_ROLES:
            for text in texts_of(turn):
                stop_if_cancelled()
                if text and (kinds := planted_signals(text)):
                    return kinds
    return frozenset()


class Planted(Detector):
    """`planted-instructions`."""

    def __init__(self) -> None:
        super().__init__("planted-instructions")

    def request(self, item: RequestWithInteractions) -> None:
        if kinds := planted_kinds(item):
            self.founds[0].add(item.request.request_id, item, note=" + ".join(sorted(kinds)))
