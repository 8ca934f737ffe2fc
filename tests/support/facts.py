"""What a result says to a host that shows its text."""

import mcp.types
from mcp.types import CallToolResult


def text_of(result: CallToolResult) -> str:
    """The text a host would show."""
    return "\n".join(block.text for block in result.content if isinstance(block, mcp.types.TextContent))
