"""The first page of `list_sessions` over a large store and over a small one."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from figures import Figure
from filling import fill
from wire import OURS, WireProcess

SMALL, LARGE = 1_000, 100_000
ROUNDS = 15
PAGES = {"everything": {}, "one user": {"user_id": "user-3"}, "the last day": {"start_time": "1d"}}


def measure() -> list[Figure]:
    """Interleaved calls on both stores; a figure for each filter."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers: dict[int, WireProcess] = {}
        for size in (SMALL, LARGE):
            home = Path(folder) / str(size)
            home.mkdir()
            store = home / "store.db"
            fill(store, size)
            servers[size] = stack.enter_context(WireProcess(OURS, home, {"REFLEXIO_MCP_STORE": str(store)}))
            servers[size].open()
        for what, wanted in PAGES.items():
            seconds: dict[int, list[float]] = {SMALL: [], LARGE: []}
            for round_number in range(ROUNDS + 2):
                for size, server in servers.items():
                    begun = time.perf_counter()
                    server.call("list_sessions", wanted)
                    if round_number >= 2:  # the first calls open the file and fill its cache
                        seconds[size].append(time.perf_counter() - begun)
            small, large = median(seconds[SMALL]), median(seconds[LARGE])
            figures.append(
                Figure(
                    f"list_sessions, {what}: {LARGE:,} requests over {SMALL:,}",
                    large / small,
                    3,
                    "x",
                    f"{large * 1000:.1f} ms / {small * 1000:.1f} ms, median of {ROUNDS}",
                )
            )
    return figures
