"""Who speaks in a turn, by its role."""

from typing import Final

__all__ = ["is_foreign", "is_person", "is_system", "speaker"]

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


def speaker(role: str) -> str:
    """Who speaks, whatever the integration calls him: `User`, `user` and `human` are the same."""
    low = role.lower()
    return "user" if low in _PERSON else "assistant" if low in _ASSISTANT else low
