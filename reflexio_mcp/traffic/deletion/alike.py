"""Which turns of a recovery copy are the ones that were stored: a request that is published again has new ids."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from reflexio_mcp.rest.models import StoredInteraction
from reflexio_mcp.traffic.content import add_texts, texts_of

__all__ = ["Likeness", "Likenesses", "likeness"]


@dataclass(frozen=True, slots=True)
class Likeness:
    """What one turn is known by.

    Args:
        words: a digest of what it says; of a turn without words, nothing.
        tools: a digest of its tool calls, whatever became of them; of a turn without any, nothing.
        image: a digest of its image, its URL and citations; of a turn that was not read whole, nothing.
    """

    role: str
    words: str
    tools: str
    image: str

    def fits(self, other: "Likeness") -> bool:
        """Whether both are one turn, as far as can be told.

        An agent says "Let me look at that." before many a call. Without a tool call its words may be the same turn's,
        published again.
        """
        if (self.role, self.words) != (other.role, other.words):
            return False
        if self.words:
            return self.tools == other.tools or not (self.tools and other.tools)
        return self.tools == other.tools and (self.image == other.image or not (self.image and other.image))


class Likenesses:
    """Those of several turns."""

    def __init__(self, turns: Iterable[Likeness]) -> None:
        self._by_words: defaultdict[tuple[str, str], set[Likeness]] = defaultdict(set)
        for turn in turns:
            self._by_words[turn.role, turn.words].add(turn)

    def have(self, turn: StoredInteraction) -> bool:
        """Whether that turn is one of these."""
        one = likeness(turn)
        return any(one.fits(other) for other in self._by_words.get((one.role, one.words), ()))


def likeness(turn: StoredInteraction) -> Likeness:
    """What a turn is known by."""
    said = texts_of(turn)
    words = hashlib.sha256()
    add_texts(words, said)
    calls = [{name: value for name, value in used.items() if name != "status"} for used in turn.tools_used]
    shown = [turn.image_encoding, turn.interacted_image_url, turn.citations]
    return Likeness(
        turn.role,
        words.hexdigest() if any(map(str.strip, said)) else "",
        _digest(calls) if calls else "",
        _digest(shown) if turn.image_encoding is not None else "",
    )


def _digest(held: object) -> str:
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()
