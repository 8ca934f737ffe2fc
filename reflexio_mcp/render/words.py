"""The words of facts, for each reader.

`ANYBODY` suits a person who reads a form or a receipt: it names nothing that can be called or set. The other tables lie
over it, for readers who can act: `words_for_model` by the tools that the model has, `SHELL` with commands and options.
The page has its own table, `explorer/page/words.js`.

A sentence is a format string:

- `{number}` is `2,000`, `{number:request}` is `2,000 requests` or `1 request`, `{number:is|are}` agrees with it.
- `{names}` are stored names in quotation marks. A model gets names only inside a fence, from `named_in_fence`.
- `{until}` is a time, in another form with a format of `strftime`; both are empty without a time.
- `{kept}` is how long a recovery copy is kept: until a time, or for a number of days.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from reflexio_mcp.render.blocks import counted, lines, moment, quoted, sentence
from reflexio_mcp.render.room_words import RoomWords
from reflexio_mcp.render.words_of_audit import AUDIT, REFUSALS, STATUS
from reflexio_mcp.render.words_of_reading import READING
from reflexio_mcp.results.base import Moment
from reflexio_mcp.results.deletion import WayBack, WayBackState
from reflexio_mcp.results.facts import Fact, FactCode

__all__ = ["SHELL", "Words", "words_for_model"]


@dataclass(frozen=True)
class Words:
    """The words for one reader. An empty sentence says that this reader is not told.

    Args:
        facts: a sentence for each code.
        way_back: a sentence for each state of the recovery copy.
        restore: how to restore the copy of a plan.
        restore_number: how to restore the copy of the deletion `{number}`.
    """

    facts: Mapping[FactCode, str]
    way_back: Mapping[WayBackState, str]
    restore: str = ""
    restore_number: str = ""

    def over(self, others: "Words") -> "Words":
        """Lay these words over others."""
        return Words(
            {**others.facts, **self.facts},
            {**others.way_back, **self.way_back},
            self.restore or others.restore,
            self.restore_number or others.restore_number,
        )

    def of(self, fact: Fact) -> str:
        """Return the sentence of a fact; empty if this reader is not told."""
        return self.facts[fact.code].format(
            number=_Number(fact.number or 0),
            names=", ".join(map(quoted, fact.names)),
            until=_Time(fact.until),
        )

    def say(self, facts: Iterable[Fact]) -> str:
        """Return the sentences of facts, each on its own line."""
        return lines(map(self.of, facts))

    def undo(self, way_back: WayBack | None, number: int = 0) -> str:
        """Say whether a deletion can be undone, and how.

        Args:
            number: the number of the deletion; 0 for a plan.
        """
        if way_back is None:
            return ""
        kept = f"until {moment(way_back.until)}" if way_back.until else f"for {counted(way_back.days, 'day')}"
        said = self.way_back[way_back.state].format(kept=kept)
        if way_back.state not in ("whole", "words", "text"):
            return said
        return sentence(said, self.restore_number.format(number=number) if number else self.restore)


class _Number:
    """A number in a sentence: `{:request}` counts requests, `{:is|are}` is the word that agrees with it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __format__(self, word: str) -> str:
        if not word:
            return f"{self._number:,}"
        singular, _, plural = word.partition("|")
        if plural:
            return singular if self._number == 1 else plural
        return counted(self._number, singular)


class _Time:
    def __init__(self, at: Moment | None) -> None:
        self._at = at

    def __format__(self, form: str) -> str:
        return self._at.strftime(form) if self._at and form else moment(self._at)


def named_in_fence(facts: Iterable[Fact]) -> list[str]:
    """Return the names of facts for a fence, a line for each fact: `on hold (3): Miller case`."""
    named: list[str] = []
    for fact in facts:
        if fact.names:
            count = f" ({fact.number:,})" if fact.number else ""
            until = f", until {moment(fact.until)}" if fact.until else ""
            named.append(f"{fact.code.replace('_', ' ')}{count}: {', '.join(fact.names)}{until}")
    return named


ROOMS: Final = (READING, AUDIT, STATUS, REFUSALS)
"""Rooms with a file of their own."""


def _of_rooms(table: Callable[[RoomWords], Mapping[FactCode, str]]) -> dict[FactCode, str]:
    return {code: said for room in ROOMS for code, said in table(room).items()}


ANYBODY: Final = Words(
    facts={
        **_of_rooms(lambda room: room.anybody),
        FactCode.ON_HOLD: "{number:item} {number:is|are} left out, on hold: {names}{until:, through %Y-%m-%d UTC}.",
        FactCode.HOLD_FILE: "The operator sets holds in the file {names}.",
        FactCode.HOLD_CONTACT: "About the hold, ask {names}.",
        FactCode.UNREADABLE: (
            "Reflexio fails to return {number} of these requests. What they contain is unknown, and no recovery copy "
            "can contain them."
        ),
        FactCode.COPY_HAS_SECRETS: "The recovery copy contains what is deleted, also secrets and personal data.",
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} of this selection that {number:is|are} not stored any more."
        ),
        FactCode.COPIES_OF_REQUEST_GO: (
            "Every recovery copy of this request is erased, also of interactions that stay stored."
        ),
        FactCode.EXPORTS_STAY: "Earlier exports are not deleted.",
        FactCode.COPIES_SEALED: (
            "{number} recovery copies are sealed with a key that this server does not have. They were not looked at, "
            "and stay until their days are over."
        ),
    },
    way_back={
        "whole": "You can undo this {kept}.",
        "words": "You can undo this {kept}, but without times, base64 images and citations.",
        "text": "You can undo this {kept}.",
        "none": "No recovery copy is kept, because nothing was deleted.",
        "off": "This cannot be undone: no recovery copy is kept.",
        "erased": (
            "This cannot be undone: no recovery copy is kept, and earlier copies of the same data are erased too."
        ),
        "unknown": "Recovery copies may still contain some of what was deleted.",
    },
)

_UNREADABLE: Final = (
    "Reflexio fails to return {{number}} of these requests. What they contain is unknown, and no recovery copy can "
    "contain them, so they can be deleted only with {}."
)

_MODEL: Final = Words(
    facts={
        **_of_rooms(lambda room: room.model),
        FactCode.ON_HOLD: "{number:item} {number:is|are} left out: a hold of the operator keeps {number:it|them}.",
        FactCode.HOLD_FILE: "",
        FactCode.HOLD_CONTACT: "",
        FactCode.UNREADABLE: _UNREADABLE.format("erase=true"),
        FactCode.COPY_HAS_SECRETS: (
            "If a secret or personal data must not stay in a copy, use erase: it keeps no copy and removes earlier "
            "copies."
        ),
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more; erase=true removes "
            "{number:it|them}."
        ),
    },
    way_back={
        "whole": "A recovery copy is kept {kept}.",
        "words": "A recovery copy is kept {kept}, without times, base64 images and citations.",
        "text": "The old text is kept {kept}.",
    },
)

_WITH_TOOLS: Final[Mapping[tuple[str, ...], Words]] = {
    ("restore_requests",): Words(
        facts={
            FactCode.ONLY_IN_COPIES: (
                "Recovery copies still contain {number:item} that {number:is|are} not stored any more: "
                "restore_requests lists them, erase=true removes {number:it|them}."
            ),
        },
        way_back={
            "unknown": "Recovery copies may still contain some of what was deleted; restore_requests lists them.",
        },
        restore="restore_requests undoes the deletion.",
        restore_number="restore_requests deletion={number} undoes it.",
    ),
}
"""Sentences that name tools, by these tools; a model reads them only if it has all of them."""

_TOOL_WORDS: Final = (
    *_WITH_TOOLS.items(),
    *((tools, Words(facts, {})) for room in ROOMS for tools, facts in room.with_tools.items()),
)

SHELL: Final = Words(
    facts={
        **_of_rooms(lambda room: room.in_shell),
        FactCode.UNREADABLE: _UNREADABLE.format("--erase"),
        FactCode.COPY_HAS_SECRETS: (
            "If a secret or personal data must not stay in a copy, add --erase: it keeps no copy and removes earlier "
            "copies."
        ),
        FactCode.ONLY_IN_COPIES: (
            "Recovery copies still contain {number:item} that {number:is|are} not stored any more: `reflexio-mcp "
            "restore` lists the deletions, --erase removes {number:it|them}."
        ),
    },
    way_back={
        "unknown": "Recovery copies may still contain some of what was deleted; `reflexio-mcp restore` lists them.",
    },
    restore_number="To undo, with the same --url or --store: reflexio-mcp restore {number}",
).over(ANYBODY)


@cache
def _model(tools: frozenset[str]) -> Words:
    words = _MODEL.over(ANYBODY)
    for needed, more in _TOOL_WORDS:
        if tools.issuperset(needed):
            words = more.over(words)
    return words


def words_for_model(offered: Collection[str]) -> Words:
    """Return the words for a model that has these tools."""
    return _model(frozenset(offered))
