"""Variables that are nearly ours: misspelt, shortened, without a part of the prefix, or in the wrong case."""

from difflib import SequenceMatcher
from typing import Final

from reflexio_mcp.settings import OPTIONS

__all__ = ["meant"]

_KNOWN: Final = tuple(option.env for option in OPTIONS)

# Reflexio's own server and client read these, so they are no slip of ours.
_OTHERS: Final = {
    "REFLEXIO_AGENT_VERSION",
    "REFLEXIO_ALLOWED_ORIGINS",
    "REFLEXIO_DIR",
    "REFLEXIO_LOG_LEVEL",
    "REFLEXIO_MCP_COMMAND",  # the examples
}

_NEAR: Final = 0.88
"""How alike two names must be: one slip in the shortest of ours, two or three in the longest."""


def meant(variable: str) -> str | None:
    """The variable of ours that a name was probably meant to be.

    Args:
        variable: a name that is set somewhere.

    Returns:
        The right name; empty for a name that begins like ours and is near none of them; `None` for one that is
        ours, or nothing of ours at all.
    """
    if variable in _KNOWN or variable in _OTHERS:
        return None
    name = variable.upper().replace("-", "_").strip("_ ")
    if name in _KNOWN:
        return name
    bare = {known: _bare(known) for known in _KNOWN}
    same = [known for known, text in bare.items() if text == _bare(name)]
    # REFLEXIO_USER for REFLEXIO_USER_ID, REFLEXIO_MCP_CAP for REFLEXIO_MCP_DELETE_CAP.
    words = [word for word in name.split("_") if word != "MCP"]
    shorter = [known for known in _KNOWN if name.startswith("REFLEXIO_") and _within(words, known.split("_"))]
    alike = sorted(_KNOWN, key=lambda known: SequenceMatcher(None, name, known).ratio())
    alike = [alike[-1]] if SequenceMatcher(None, name, alike[-1]).ratio() >= _NEAR else []
    for found in (same, alike, shorter):
        if found:
            return found[0]
    return "" if name.startswith("REFLEXIO_MCP_") else None


def _bare(name: str) -> str:
    """A name without what people leave out or put in: underscores, MCP, and what an address or a key is for."""
    return "".join(word for word in name.split("_") if word not in ("MCP", "API", "BASE", "SERVER"))


def _within(words: list[str], known: list[str]) -> bool:
    """Whether some words of a name, in their order, are all of another's; its own first word alone is not enough."""
    rest = iter(known)
    return len(words) > 1 and all(word in rest for word in words)
