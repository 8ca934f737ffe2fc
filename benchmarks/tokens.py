"""The tool list in tokens, read from a running server."""

import tempfile
from pathlib import Path
from statistics import mean

from counting import LIST_BUDGET, SEEN_BUDGET, count, per_tool
from figures import Figure
from wire import OURS, WireProcess


def measure() -> list[Figure]:
    """The whole list, and what of it a model is given on average for one tool."""
    with tempfile.TemporaryDirectory() as home, WireProcess(OURS, Path(home)) as server:
        server.open()
        listed = server.request("tools/list")
    costs = per_tool(listed["tools"])
    seen = ", ".join(f"{tool.name} {tool.seen}" for tool in costs)
    return [
        Figure("tools/list as a whole", count(listed), LIST_BUDGET, "tokens", f"{len(costs)} tools"),
        Figure(
            "name, description and input schema, average",
            mean(tool.seen for tool in costs),
            SEEN_BUDGET,
            "tokens",
            seen,
        ),
    ]
