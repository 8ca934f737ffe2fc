"""Stored requests without their content: what they are known by instead.

Ids, times, roles, sizes, sources and a fingerprint. A role or a version is free text to the service; one that
does not look like a name is counted like content.
"""

import re
from collections import Counter
from typing import Final, TypedDict

from reflexio_mcp.render.result import Facts, counted
from reflexio_mcp.rest.models import RequestWithInteractions, StoredInteraction
from reflexio_mcp.traffic.content import Fingerprints, content_chars, texts_of

__all__ = ["as_name", "masked_request", "masked_turn", "masked_turn_text", "masked_words"]

_NAME: Final = re.compile(r"[\w.+:/@-]{1,64}(?: [\w.+:/@-]{1,24}){0,2}")


def as_name(text: str) -> str:
    """A role or a version as it is, or its length where it says more than a name."""
    return text if _NAME.fullmatch(text) and len(text) <= 64 else f"({len(text):,} characters)"


class MaskedRequest(TypedDict):
    """What a request shows instead of its words."""

    fingerprint: str
    chars: int
    roles: list[str]


def masked_request(item: RequestWithInteractions, fingerprints: Fingerprints) -> MaskedRequest:
    """What a request shows instead of its first words."""
    roles = Counter(as_name(turn.role) for turn in item.interactions)
    return {
        "fingerprint": fingerprints.of(item),
        "chars": content_chars(item),
        "roles": [role for role, _ in roles.most_common(5)],
    }


def masked_turn(turn: StoredInteraction) -> Facts:
    """One interaction: who spoke and how much."""
    facts: Facts = {
        "interaction_id": turn.interaction_id,
        "role": as_name(turn.role),
        "chars": sum(map(len, texts_of(turn))),
    }
    if turn.user_action != "none":
        facts["user_action"] = as_name(turn.user_action)
    if turn.tools_used:
        facts["tools_used"] = len(turn.tools_used)
    return facts


def masked_turn_text(facts: Facts) -> str:
    """The facts of `masked_turn` in words."""
    named = ("user_action", "tools_used", "created_at")
    extra = "".join(f", {key} {facts[key]}" for key in named if key in facts)
    return f"{facts['interaction_id']} {facts['role']}: {counted(facts['chars'], 'character')}{extra}"


def masked_words(facts: Facts) -> str:
    """The facts of `masked_request` in words; empty when a request is shown."""
    if "fingerprint" not in facts:
        return ""
    return f"{counted(facts.get('chars', 0), 'character')}, fingerprint {facts['fingerprint']}"
