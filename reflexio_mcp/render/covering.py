"""Stored text with its secrets covered, for a person who has not asked to see them.

Looking for secrets in long texts takes time: call these in a worker thread.
"""

from typing import Final

from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.rules.secrets import redact, redact_within

__all__ = ["covered", "covered_opening"]

_TEXTS: Final = ("content", "user_action_description", "shadow_content", "expert_content")

OPENING_CHARS: Final = 4_000
"""Where the first words are: a secret is recognized by more than the part of it that is shown."""


def covered(item: RequestWithInteractions) -> RequestWithInteractions:
    """The request, each secret in it replaced by what kind it is."""
    return item.model_copy(update={"interactions": [_turn(turn) for turn in item.interactions]})


def covered_opening(item: RequestWithInteractions) -> tuple[RequestWithInteractions, bool]:
    """The request with nothing but its first turn that says something, covered, and whether that hid anything."""
    for turn in item.interactions:
        if any(text.strip() for text in texts_of(turn)):
            short = turn.model_copy(update={name: getattr(turn, name)[:OPENING_CHARS] for name in _TEXTS})
            safe = short.model_copy(update={name: redact(getattr(short, name)) for name in _TEXTS})
            return item.model_copy(update={"interactions": [safe]}), texts_of(safe) != texts_of(short)
    return item, False


def _turn(turn: StoredInteraction) -> StoredInteraction:
    texts = {name: redact(getattr(turn, name)) for name in _TEXTS}
    return turn.model_copy(
        update={
            **texts,
            "interacted_image_url": redact(turn.interacted_image_url),
            "tools_used": [redact_within(used) for used in turn.tools_used],
        }
    )
