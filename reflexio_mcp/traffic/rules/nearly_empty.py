"""`nearly-empty`: requests with almost no content."""

import re
import unicodedata
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.detector import Detector

__all__ = ["NearlyEmpty", "is_nearly_empty"]

LEAST_CHARS: Final = 4
"""`ok`, `yes` and `?` stay below it, `help` does not."""

_WORD_OF_ANSWER = re.compile(
    r"(?:yes|yep|yup|no|ok|okay|k|y|n|ja|nee|nein|si|sí|sì|oui|non|sim|não|tak|nie|da|ne|да|нет|hai|ya|[A-H])[.!]?",
    re.IGNORECASE,
)
_NO_BLANKS = re.compile(r"[\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def is_nearly_empty(item: RequestWithInteractions) -> bool:
    """Whether a request says next to nothing.

    A question with its answer says something, however short, and so does an answer alone: `28`, `Kd7`, `no`.
    """
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
            if _WORD_OF_ANSWER.fullmatch(text[:20].strip()):
                return False
            for letter in text[:1_000]:
                if letter.isdigit() or unicodedata.category(letter) == "So":
                    return False  # a number is an answer, and so is an emoji
                if letter.isalnum():
                    letters += 2 if _NO_BLANKS.match(letter) else 1
                    if letters >= LEAST_CHARS:
                        return False
    return True


class NearlyEmpty(Detector):
    """`nearly-empty`."""

    def request(self, item: RequestWithInteractions) -> None:
        if is_nearly_empty(item):
            self.founds[0].add(item.request.request_id, item)
