"""Start to `tools/list`, and memory at rest, against the least an SDK server can be."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from figures import Figure
from wire import BARE, OURS, WireProcess

ROUNDS = 15


def measure() -> list[Figure]:
    """Interleaved cold starts of both servers; the medians and their ratio.

    How long the processor worked hardly depends on what else the machine does.
    """
    seconds: dict[str, list[float]] = {"bare": [], "ours": []}
    worked: dict[str, list[float]] = {"bare": [], "ours": []}
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
                        worked[name].append(server.worked())
                        memory[name].append(server.peak_memory())
                    except OSError:
                        continue
    figures = [_milliseconds("start to tools/list over a bare SDK server", seconds, 1.0)]
    if memory["ours"]:
        figures.append(_milliseconds("processor time of it", worked, 1.0))
        bare, ours = median(memory["bare"]), median(memory["ours"])
        detail = f"{ours:.1f} MB / {bare:.1f} MB, median of {ROUNDS}"
        figures.append(Figure("peak memory at rest over a bare SDK server", ours / bare, 1.0, "x", detail))
    return figures


def _milliseconds(what: str, seconds: Mapping[str, Sequence[float]], target: float) -> Figure:
    bare, ours = median(seconds["bare"]), median(seconds["ours"])
    return Figure(
        what,
        ours / bare,
        target,
        "x",
        f"{ours * 1000:.0f} ms / {bare * 1000:.0f} ms, median of {ROUNDS}",
    )
