"""`nearly-empty`: requests that say nothing."""

import re
import unicodedata
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.detector import Detector

__all__ = ["NearlyEmpty", "is_nearly_empty"]

MARKS_READ: Final = 1_000
"""Characters of a text; one with more of them says something else."""

_MARKS = re.compile(r"[.,…?!¿¡。、，？！．؟،؛۔।\s]*")
"""Marks that say nothing by themselves. All others may: `:)`, `))`, `-` for none, `+`, `π`."""


def is_nearly_empty(item: RequestWithInteractions) -> bool:
    """Whether a request says nothing.

    Any letter, number or sign may be an answer, in some language or game: `네`, `X`, `28`, `:)`.
    """
    if len({turn.role.lower() for turn in item.interactions}) > 1:
        return False
    for turn in item.interactions:
        if turn.tools_used or turn.interacted_image_url or turn.user_action != "none":
            return False
        texts = texts_of(turn)
        # The API drops empty turns and gives no images back: a turn without anything had an image.
        if not any(text.strip() for text in texts):
            return False
        if not all(len(text) <= MARKS_READ and _MARKS.fullmatch(_seen(text)) for text in texts):
            return False
    return True


def _seen(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) not in ("Cf", "Cc"))


class NearlyEmpty(Detector):
    """`nearly-empty`."""

    def request(self, item: RequestWithInteractions) -> None:
        if is_nearly_empty(item):
            self.founds[0].add(item.request.request_id, item)
