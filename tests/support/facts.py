"""Comparing the two forms of a result fact by fact."""

import re
from collections.abc import Iterator
from typing import Any

import mcp.types
from mcp.types import CallToolResult

from reflexio_mcp.render.result import whole

NOT_SAID_AGAIN = {"notice", "status", "also_from_others", "other_requests", "not_matching"}
"""Keys that are words about the result and stand in the text in other words, or count what it names one by one."""


def text_of(result: CallToolResult) -> str:
    """The text a host would show."""
    return "\n".join(block.text for block in result.content if isinstance(block, mcp.types.TextContent))


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of structured content with the key it stands under; keys of counting maps are facts too."""
    if isinstance(value, dict):
        counting = key in ("users", "sessions", "sources") and all(
            isinstance(one, int) for one in value.values()
        )
        for name, inner in value.items():
            if counting and isinstance(inner, int):
                yield key, name
            yield from leaves(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, key)
    else:
        yield key, value


def missing_from_text(result: CallToolResult) -> list[tuple[str, Any]]:
    """Structured facts that the text does not carry."""
    text = text_of(result)
    # Fences indent what they hold, so line starts are not compared.
    flat = re.sub(r"\s+", " ", text)
    # Digits inside a name or in a fence's random code say nothing.
    numbers = set(re.findall(r"(?<![\w:#-])\d{1,3}(?:,\d{3})+|(?<![\w:#-])\d+", flat))
    missing: list[tuple[str, Any]] = []
    for key, value in leaves(whole(result.structured_content)):
        # A zero is said in words: "nothing was deleted", "no session matches".
        if key in NOT_SAID_AGAIN or isinstance(value, bool) or value == 0:
            continue
        if isinstance(value, int):
            told = f"{value:,}" in numbers or str(value) in numbers
        else:
            told = str(value) in flat or re.sub(r"\s+", " ", str(value)).strip() in flat
        if not told:
            missing.append((key, value))
    return missing


def missing_from_structure(result: CallToolResult) -> list[str]:
    """Times, codes and cursors that the text names and the structured content does not."""
    held = "\n".join(str(value) for _, value in leaves(result.structured_content))
    facts = re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|(?<=cursor=)\S+|(?<=confirm=)\S+", text_of(result))
    return [fact for fact in facts if fact not in held]
