"""Who speaks in a turn, by its role."""

from collections.abc import Sequence
from typing import Final

__all__ = ["answers", "is_foreign", "is_person", "is_system", "speakers"]

_PERSON: Final = frozenset({"user", "human", "customer", "person"})
_ASSISTANT: Final = frozenset({"assistant", "ai", "bot", "model"})
_SYSTEM: Final = frozenset({"system", "developer"})
_FOREIGN: Final = frozenset({
    "tool", "function", "tool_result", "tool-result", "tool_response", "observation", "document", "retrieval",
    "retriever", "web", "browser", "search", "context", "webpage", "environment", "ipython",
})  # fmt: skip


def is_person(role: str) -> bool:
    return role.lower() in _PERSON


def is_system(role: str) -> bool:
    """Whether the integration itself speaks: its prompt."""
    return role.lower() in _SYSTEM


def is_foreign(role: str) -> bool:
    """Whether nobody in the conversation wrote the turn: a tool or a page gave it."""
    return role.lower() in _FOREIGN


def answers(role: str) -> bool:
    """Whether it is an assistant's or a tool's."""
    return role.lower() in _ASSISTANT or is_foreign(role)


def speakers(roles: Sequence[str]) -> list[str]:
    """Who speaks in each turn of a request, whatever the integration calls him: `User` and `human` are the same.

    But not in one request: who is called `human` beside a customer is the person who took over from the assistant.
    """
    low = [role.lower() for role in roles]
    apart = "human" in low and len(_PERSON.intersection(low)) > 1
    return [
        "user"
        if role in _PERSON and not (apart and role == "human")
        else "assistant"
        if role in _ASSISTANT
        else role
        for role in low
    ]
