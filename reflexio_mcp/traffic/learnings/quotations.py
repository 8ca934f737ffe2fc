"""Where the words stand that a learning quotes.

Reflexio quotes what it read of the turns that a model cited: their texts, an expert's answer, an action, a tool's call.
It joins these passages by blank lines, and by words of its own for a merged profile (Reflexio 0.2.32,
`visible_interaction_evidence_texts` and the profiles' consolidator). A model that quotes by itself may leave words out.
"""

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from reflexio_mcp.rest.models import StoredInteraction
from reflexio_mcp.traffic.content import texts_of

__all__ = ["Passages", "are_said", "passages", "words_of"]

Passages = Sequence[Sequence[str]]
"""The words of each passage, in the pieces between which something is left out."""

LEAST: Final = 12
"""Letters of a passage that tell something; the least word of a Chinese sentence counts as three."""

_PASSAGES: Final = re.compile(
    r"\n\s*\n|Original source evidence values \(separate excerpts\):|--- Separate source evidence value ---"
)
_LEFT_OUT: Final = re.compile(r"\.{3,}|…")


def passages(quote: str) -> Passages:
    """The passages of a quotation that are long enough to be looked for."""
    found = [
        [words for piece in _LEFT_OUT.split(one) if (words := _words(piece))]
        for one in _PASSAGES.split(quote)
    ]
    return [one for one in found if sum(map(_length, one)) >= LEAST]


def words_of(turn: StoredInteraction) -> str:
    """All words of a turn that Reflexio may quote."""
    tools = (
        f"used tool {one.get('tool_name')} {json.dumps(one.get('tool_data'))}" for one in turn.tools_used
    )
    return _words("\n".join((*texts_of(turn), f"{turn.user_action} {turn.user_action_description}", *tools)))


def are_said(quoted: Passages, words: str) -> bool:
    """Whether one of the passages stands in the words of a turn, with all of its pieces."""
    return any(all(piece in words for piece in one) for one in quoted)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold()))


def _length(words: str) -> int:
    return sum(3 if letter >= "\u2e80" else 1 for letter in words)
