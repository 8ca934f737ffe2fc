"""The tool list in tokens, read from a running server."""

import tempfile
from pathlib import Path

from counting import SEEN_BUDGET, per_tool
from figures import Figure
from wire import OURS, WireProcess


def measure() -> list[Figure]:
    """What a model is given of all tools."""
    with tempfile.TemporaryDirectory() as home, WireProcess(OURS, Path(home)) as server:
        server.open()
        listed = server.request("tools/list")
    costs = per_tool(listed["tools"])
    named = ", ".join(f"{tool.name} {tool.seen}" for tool in costs)
    seen = sum(tool.seen for tool in costs)
    return [Figure("name, description and input schema of all tools", seen, SEEN_BUDGET, "tokens", named)]
