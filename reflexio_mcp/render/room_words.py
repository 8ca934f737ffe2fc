"""The words of one room, which `words.py` puts together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reflexio_mcp.results.facts import FactCode

Sentences = Mapping[FactCode, str]
"""Sentences in the form that `words.py` describes."""


@dataclass(frozen=True)
class RoomWords:
    """Sentences about the facts of one room.

    Args:
        anybody: a sentence for each fact.
        model, in_shell: other sentences for readers who can act.
        with_tools: other sentences for a model that has all of these tools. They name these tools and no others.
    """

    anybody: Sentences
    model: Sentences = field(default_factory=dict[FactCode, str])
    with_tools: Mapping[tuple[str, ...], Sentences] = field(default_factory=dict[tuple[str, ...], Sentences])
    in_shell: Sentences = field(default_factory=dict[FactCode, str])
