"""Rules about what stands in turns where something else belongs: answers, images, prompts, and times to come."""

import re
from collections.abc import Iterable
from typing import ClassVar, Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import stored_texts
from reflexio_mcp.traffic.rules.detector import SCANNED_CHARS, Detector
from reflexio_mcp.traffic.rules.roles import is_person, is_system

__all__ = ["Turns", "has_image", "is_assistants", "is_in_the_future", "prompt_of"]

IMAGE_CHARS: Final = 4_000
"""Of base64: an icon is shorter, and what is longer takes more room than the conversation."""

_NUMBERS = re.compile(r"\d+")

PROMPT_CHARS: Final = 200
"""A system prompt is longer than what a person says about how he wants to be answered."""

PROMPT_READ: Final = 4_000
"""Characters of it in which its longest line is looked for."""

PROMPT_TIMES: Final = 5
"""The same prompt so often: it is stored with every turn or session."""

PROMPTS_KEPT: Final = 2_000

FUTURE_SECONDS: Final = 3600
"""Clocks differ by minutes, and a wrong time zone shows as whole hours."""

_BEGINNING: Final = 400
"""Characters of a turn in which an assistant shows itself."""

_ASSISTANT = re.compile(
    r"(?:assistant|ai assistant|chatgpt|claude|gemini|copilot|bot) ?:\s"
    r"|as an ai (?:language model|assistant|model|chatbot)?,? ?i\b"
    r"|i(?: am|['’]m) (?:an ai (?:language model|assistant|model)|a large language model"
    r"|(?:claude|chatgpt|gemini),? an? ai)"
    r"(?:[,.!]| (?:and|created|trained|developed|designed|made|built)\b)"
    r"|i(?: am|['’]m) sorry, (?:but )?(?:as an ai|i (?:cannot|can['’]?t|am unable to|am not able to) "
    r"(?:assist|help|comply|fulfil))"
    r"|i(?:['’]m| am) sorry for (?:the|any) (?:confusion|misunderstanding|inconvenience)\b"
    r"|i apologi[sz]e for (?:the|any|my) (?:confusion|misunderstanding|mistake|inconvenience|error|oversight)\b"
    r"|you(?:['’]re| are) (?:very |most )?welcome!? (?:if|let me know|feel free|is there|enjoy|happy)\b"
    r"|(?:hello|hi|hey)(?: there)?[!,.]? (?:how (?:can|may) i (?:help|assist) you(?: today)?\?"
    r"|i(?:['’]m| am) (?:an|your) ai\b)"
    r"|how (?:can|may) i (?:help|assist) you (?:today|with)\b"
    r"|(?:certainly|sure(?: thing)?|of course|absolutely)[!,.] (?:here(?:['’]s| is| are)\b(?! (?:my|our)\b)"
    r"|i(?:['’]d| would) be happy to"
    r"|i can (?:certainly )?help (?:you )?with|let me help you)"
    r"|i(?:['’]d| would) be (?:happy|glad) to (?:help|assist) (?:you )?with that\b"
    r"|(?:natürlich|gerne?|selbstverständlich)[!,.] hier (?:ist|sind)\b|bien sûr ?[!,.] voici\b"
    r"|¡?(?:claro|por supuesto)[!,.] aquí (?:tienes|está|hay)\b|claro[!,.] aqui (?:está|vai|estão)\b|certo[!,.] ecco\b",
    re.IGNORECASE,
)
"""How assistants begin and people do not."""

_REPORTED = re.compile(
    r"[^\n]{0,100}?(?:[?!.,\"'”] ?(?:is|was|that['’]s) what (?!you (?:need|can|asked|wanted))"
    r"|\b(?:he|she|they|(?:my|our|your|the|this|that) (?:[\w-]{1,20} )?[\w-]{1,20}) (?:always |just |only )?"
    r"(?:says|said|wrote|replied|answered|told me|tells me|keeps? saying)(?=[,.;!?)]|\Z)"
    r"|\byou (?:always|keep|kept) (?:say|tell|answer|repl)|\b(?:stop|quit) (?:saying|telling)\b)",
    re.IGNORECASE,
)
"""Behind an assistant's words: a person says who said them."""

_LABELLED = re.compile(r"(?:user|human|customer|me|you) ?:\s", re.IGNORECASE)
_ANSWERED = re.compile(r"\n\s{0,20}(?:assistant|ai|bot|chatgpt|claude|gemini|copilot) ?:\s", re.IGNORECASE)
_NAMED = re.compile(
    r"\n[ \t]{0,20}(?!(?i:user|human|customer|me|you)\b)[A-Za-z]\w{0,20} ?: \S{1,40}[ \t]*(?=\n|\Z)"
)
"""A name and one word for it, on a line of its own."""
_PROMPT = re.compile(
    r"(?:you are|you're|(?:please )?act as) (?:[\w'-]{1,20},? ){0,7}?(?:assistant|agent|ai|bot|chatbot|expert|model"
    r"|copilot|tutor)\b"
    r"|(?:du bist|sie sind|tu es|vous êtes|eres|você é|sei|lei è|je bent|u bent|jesteś|ты|вы) "
    r"(?:[\w'’—-]{1,20},? ){0,6}?(?:l['’])?(?:assist[ea]nt\w{0,2}|asistente|assistente|asystent\w{0,2}|ассистент\w{0,2}"
    r"|помощник\w{0,2}|ki|ia|ии|chatbot)\b|你是[^。\n]{0,12}助手|あなたは[^。\n]{0,16}アシスタント"
    r"|당신은[^.\n]{0,16}(?:어시스턴트|비서)"
    r"|#{1,3} ?(?:system(?: prompt)?|instructions|role)\b|<(?:system|instructions)\b|system ?:\s",
    re.IGNORECASE,
)
_DATA_URL: Final = ";base64,"
_OF_AN_IMAGE = re.compile(r"data:image\\?/")
_BITMAPS: Final = ("AAAAADYA", "AAAAAIoA")
_IMAGES: Final = (
    _DATA_URL, "iVBORw0KGg", "/9j/4", "R0lGOD", "UklGR", "SUkqA", "AAAAIGZ0eXB", "AAAAHGZ0eXB", *_BITMAPS,
)  # fmt: skip
"""How an image begins in a text: as a data URL, or as base64 of PNG, JPEG, GIF, WebP, TIFF, AVIF, HEIC and, eight
letters behind its `Qk`, BMP."""
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/=_\r\n-]++|\\[/rn])*+")
_HEXADECIMAL = re.compile(
    r"(?<![0-9A-Fa-f])(?:89504e470d0a1a0a|ffd8ff|47494638)(?:[0-9a-f]++|\\?[\s])*+", re.IGNORECASE
)
_SVG: Final = ("<svg", "</svg>")
_SVG_URL = re.compile(r"data:image/svg\+xml[;,][^\s\"]*+")


def is_assistants(item: RequestWithInteractions) -> bool:
    """Whether a turn of a person holds what an assistant said."""
    for turn in item.interactions:
        if not is_person(turn.role):
            continue
        begins = turn.content[:_BEGINNING].lstrip(" \t\r\n*_>#\"'“")
        if (said := _ASSISTANT.match(begins)) and not _REPORTED.match(begins, said.end()):
            return True
        if _LABELLED.match(begins) and (answered := _ANSWERED.search(turn.content[:SCANNED_CHARS])):
            # A list of settings has other names between the two.
            first_line = turn.content.find("\n", turn.content.find(begins))
            if not _NAMED.search(turn.content, first_line, answered.start()):
                return True
    return False


def has_image(item: RequestWithInteractions) -> bool:
    """Whether an image was written into a text."""
    return any(
        _holds_image(text[:SCANNED_CHARS]) for turn in item.interactions for text in stored_texts(turn)
    )


def _holds_image(text: str) -> bool:
    return len(text) >= IMAGE_CHARS and (
        _holds_base64(text)
        or _holds_drawing(text)
        or any(
            len(match[0]) >= IMAGE_CHARS for form in (_HEXADECIMAL, _SVG_URL) for match in form.finditer(text)
        )
    )


def _holds_base64(text: str) -> bool:
    for begins in _IMAGES:
        start = text.find(begins)
        while start >= 0:
            is_image = True
            if begins == _DATA_URL:
                is_image = bool(_OF_AN_IMAGE.search(text, max(0, start - 40), start))
                start += len(begins)
            elif begins in _BITMAPS:
                is_image = text.startswith("Qk", max(0, start - 8))
            end = _BASE64.match(text, start).end()  # type: ignore[union-attr]
            if is_image and end - start >= IMAGE_CHARS:
                return True
            start = text.find(begins, max(end, start + 1))
    return False


def _holds_drawing(text: str) -> bool:
    begins, ends = _SVG
    start = text.find(begins)
    while start >= 0 and (end := text.find(ends, start)) >= 0:
        if end - start >= IMAGE_CHARS:
            return True
        start = text.find(begins, end)
    return False


def prompt_of(item: RequestWithInteractions) -> str:
    """What tells the system prompt that a request carries from others; empty for none.

    Its longest line and not its first, without numbers: many begin with the date or with whom they talk to.
    """
    for turn in item.interactions:
        text = turn.content[:PROMPT_READ].strip()
        if len(text) < PROMPT_CHARS:
            continue
        if is_system(turn.role) or (is_person(turn.role) and _PROMPT.match(text)):
            longest = max(text.splitlines(), key=len)
            # A prompt of short lines is known by its beginning.
            told_by = longest if len(longest) >= PROMPT_CHARS // 2 else text
            return _NUMBERS.sub("0", told_by[:PROMPT_CHARS])
    return ""


def is_in_the_future(item: RequestWithInteractions, now: float) -> bool:
    """Whether a request or a turn of it has a time that is still to come."""
    times: Iterable[int] = (item.request.created_at, *(turn.created_at for turn in item.interactions))
    return max(times) > now + FUTURE_SECONDS


class Turns(Detector):
    """`assistant-as-user`, `future-time`, `inline-image` and `repeated-prompt`."""

    carries: ClassVar = {"repeated-prompt": prompt_of}

    def __init__(self) -> None:
        super().__init__()
        self._prompts: dict[str, int] = {}

    def request(self, item: RequestWithInteractions) -> None:
        answers, future, images, prompts = self.founds
        request_id = item.request.request_id
        if is_assistants(item):
            answers.add(request_id, item)
        if has_image(item):
            images.add(request_id, item)
        if is_in_the_future(item, self.now):
            future.add(request_id, item)
        if prompt := prompt_of(item):
            prompts.add(request_id, item)
            if prompt in self._prompts or len(self._prompts) < PROMPTS_KEPT:
                self._prompts[prompt] = self._prompts.get(prompt, 0) + 1

    def finish(self) -> None:
        if max(self._prompts.values(), default=0) < PROMPT_TIMES:
            self.founds[3].clear()
