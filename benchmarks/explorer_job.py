"""The whole job on the explorer's page with 50,000 requests, in Chromium: scroll, search, delete all, take all back.

The longest tasks are processor time, and their target grows as in `benchmarks/explorer.py`; the other times are elapsed.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks.explorer import play, slowness
from benchmarks.figures import Figure

PATIENCE: Final = 3_600.0
"""Seconds for the whole job: each request comes back in a transaction of its own."""

LONGEST_TASK_MS: Final = 100.0

MOST_SECONDS: Final = {
    "scroll": 60,
    "search": 30,
    "hit": 5,
    "select": 5,
    "plan": 300,
    "type": 5,
    "stop": 30,
    "delete": 300,
    "undo": 1_800,
    "back": 60,
}
"""Most seconds that a step may take."""

MOST_MEMORY_MB: Final = {"heap": 300.0, "server": 600.0}


def measure() -> Iterator[Figure]:
    figures = play("doesTheWholeJobWithFiftyThousand", PATIENCE)
    slow = slowness(figures)
    for step, most in MOST_SECONDS.items():
        yield Figure(f"{step}: elapsed", figures["elapsed"][step] / 1_000, most * slow, "s")
        yield Figure(f"{step}: longest task", figures["task"][step], LONGEST_TASK_MS * slow, "ms")
    for name, what in (("heap", "heap of the page"), ("server", "memory of the server")):
        yield Figure(f"most {what}", figures[name], MOST_MEMORY_MB[name], "MB")
