"""Stored text with its secrets covered, for a person who has not asked to see them.

Looking for secrets in long texts takes time: call these in a worker thread.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import first_words, texts_of
from reflexio_mcp.traffic.reading.listing import SessionRow
from reflexio_mcp.traffic.rules.secrets import asked_for, redact, redact_opening, redact_turn, without_end

__all__ = [
    "redacted",
    "redacted_listing",
    "redacted_opening",
    "redacted_session",
    "redacted_where",
    "shows_more_whole",
]

_TEXTS: Final = ("content", "user_action_description", "shadow_content", "expert_content")

_VALUES: Final = ("K8s#mPq2vX", "7351")
"""What would be covered behind the name of a password, and of a PIN."""

OPENING_CHARS: Final = 4_000
"""Where the first words are: a secret is recognized by more than the part of it that is shown."""


def redacted(item: RequestWithInteractions, chars: int | None = None) -> RequestWithInteractions:
    """The request, each secret in it replaced by what kind it is.

    Args:
        chars: of each text only so many characters are shown, so that no secret is looked for behind them.
    """
    turns = item.interactions
    covered = [redact_turn(turn, chars, asked) for turn, asked in zip(turns, asked_for(turns), strict=True)]
    return item.model_copy(update={"interactions": covered})


def redacted_opening(item: RequestWithInteractions) -> tuple[RequestWithInteractions, bool]:
    """The request with its first turn that says something cut short and covered, and whether that hid anything.

    It is the same object where that changes nothing.
    """
    turns = item.interactions
    for index, turn in enumerate(turns):
        if any(text.strip() for text in texts_of(turn)):
            texts = {name: text for name in _TEXTS if (text := getattr(turn, name))}
            short = {name: text.lstrip()[:OPENING_CHARS] for name, text in texts.items()}
            safe = {name: redact_opening(text) for name, text in short.items()}
            if safe == texts:
                return item, False
            shown = [*turns[:index], turn.model_copy(update=safe), *turns[index + 1 :]]
            return item.model_copy(update={"interactions": shown}), safe != short
    return item, False


def redacted_listing(row: RequestWithInteractions, *, full: bool) -> RequestWithInteractions:
    """The request as a list shows it, covered; of its opening alone, the same object where that changes nothing."""
    return redacted(row, OPENING_CHARS) if full else redacted_opening(row)[0]


def redacted_where(
    item: RequestWithInteractions,
    shown: Callable[[RequestWithInteractions], int | None],
    stored: RequestWithInteractions,
) -> RequestWithInteractions:
    """The request with the turns covered in which something is shown beside its opening.

    Args:
        shown: the place of the turn that is shown. What is covered may lead it to another one.
        stored: the request as it is stored: nothing is covered twice.
    """
    asked = asked_for(stored.interactions)
    covered: set[int] = set()
    while (index := shown(item)) is not None and index not in covered:
        covered.add(index)
        turns = [*item.interactions]
        turns[index] = _shown(stored.interactions[index], asked[index])
        item = item.model_copy(update={"interactions": turns})
    return item


def shows_more_whole(row: RequestWithInteractions) -> bool:
    """Whether a request with all its turns, covered as `redacted` does, shows what an opening would not: words behind
    the name of a secret, also where the name ends a turn and the next one has the secret."""
    texts = [text for turn in row.interactions for text in texts_of(turn) if text]
    return any(redact_opening(text) != redact(text) or _ends_in_a_name(text) for text in texts)


def _ends_in_a_name(text: str) -> bool:
    alone = redact_opening(text)
    return any(redact_opening(f"{text} {value}") != f"{alone} {value}" for value in _VALUES)


def _shown(turn: StoredInteraction, asked: str) -> StoredInteraction:
    # An answer to a question is a secret as a whole, or one word that no name stands before.
    names = _TEXTS[1:] if asked else _TEXTS
    safe = {name: _beginning(text) for name in names if (text := getattr(turn, name))}
    return redact_turn(turn, OPENING_CHARS, asked).model_copy(update=safe)


def _beginning(text: str) -> str:
    text = text.lstrip()
    if len(text) <= OPENING_CHARS:
        return redact_opening(text)
    return without_end(redact_opening(text[:OPENING_CHARS]), text[:OPENING_CHARS])


def redacted_session(row: SessionRow) -> SessionRow:
    """The row of a session, its first words covered; the same object where that changes nothing."""
    opening, _ = redacted_opening(row.opening)
    return row if opening is row.opening else replace(row, first_words=first_words(opening))
