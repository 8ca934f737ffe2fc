"""The words of one topic, such as deletions or exports. `words.py` puts those of all topics together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reflexio_mcp.results.facts import FactCode

Sentences = Mapping[FactCode, str]
"""Sentences in the form that `words.py` describes. An empty one says that this reader is not told."""


@dataclass(frozen=True)
class TopicWords:
    """Sentences about the facts of one topic.

    Args:
        anybody: a sentence for each fact.
        model, in_shell: other sentences for readers who can act.
        with_tools: other sentences for a model that has all of these tools. They name these tools and no others.
    """

    anybody: Sentences
    model: Sentences = field(default_factory=dict[FactCode, str])
    with_tools: Mapping[tuple[str, ...], Sentences] = field(default_factory=dict[tuple[str, ...], Sentences])
    in_shell: Sentences = field(default_factory=dict[FactCode, str])
