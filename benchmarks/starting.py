"""Start to `tools/list`, and memory at rest, against the least an SDK server can be."""

import tempfile
import time
from pathlib import Path
from statistics import median

from figures import Figure
from wire import BARE, OURS, WireProcess

ROUNDS = 9


def measure() -> list[Figure]:
    """Interleaved cold starts of both servers; the medians and their ratio."""
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    memory: dict[str, list[float]] = {"bare": [], "ours": []}
    with tempfile.TemporaryDirectory() as home:
        for round_number in range(ROUNDS + 1):
            for name, command in (("bare", BARE), ("ours", OURS)):
                with WireProcess(command, Path(home)) as server:
                    server.open()
                    server.request("tools/list")
                    taken = time.perf_counter() - server.begun
                    if round_number == 0:
                        continue  # the first start compiles to bytecode
                    seconds[name].append(taken)
                    try:
                        memory[name].append(server.peak_memory())
                    except OSError:
                        continue
    bare, ours = median(seconds["bare"]), median(seconds["ours"])
    figures = [
        Figure(
            "start to tools/list over a bare SDK server",
            ours / bare,
            1.3,
            "x",
            f"{ours * 1000:.0f} ms / {bare * 1000:.0f} ms, median of {ROUNDS}",
        )
    ]
    if memory["ours"]:
        bare, ours = median(memory["bare"]), median(memory["ours"])
        figures.append(
            Figure(
                "peak memory at rest over a bare SDK server",
                ours / bare,
                1.2,
                "x",
                f"{ours:.1f} MB / {bare:.1f} MB, median of {ROUNDS}",
            )
        )
    return figures
