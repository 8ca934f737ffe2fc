"""Start to `tools/list`, and memory at rest, against the least an SDK server can be."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Figure

ROUNDS = 15
COMMANDS = {
    "bare": (sys.executable, str(Path(__file__).parent / "bare_server.py")),
    "ours": (sys.executable, "-m", "reflexio_mcp"),
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
MESSAGES: tuple[dict[str, Any], ...] = (
    {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO},
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
)


def measure() -> list[Figure]:
    """Interleaved cold starts of both servers; the medians and their ratio.

    How long the processor worked hardly depends on what else the machine does.
    """
    found = {name: list[tuple[float, ...]]() for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        for round_number in range(ROUNDS + 1):
            for name, command in COMMANDS.items():
                started = _start(command, home)
                if round_number:  # the first start compiles to bytecode
                    found[name].append(started)
    units = (
        ("start to tools/list over a bare SDK server", "ms", 1.15),
        ("processor time of it", "ms", 1.15),
        ("peak memory at rest over a bare SDK server", "MB", 1.1),
    )
    figures: list[Figure] = []
    for number, (what, unit, most) in enumerate(units):
        bare, ours = (median(one[number] for one in rows) for rows in found.values())
        detail = f"{ours:.0f} {unit} / {bare:.0f} {unit}, medians of {ROUNDS}"
        figures.append(Figure(what, ours / bare, most, "x", detail))
    return figures


def _start(command: tuple[str, ...], home: str) -> tuple[float, ...]:
    """Milliseconds to the answer, those of the processor, and the peak of memory in MB."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # compiling anew at each start is not what users have
    begun = time.perf_counter()
    with subprocess.Popen(
        command, env=env | {"HOME": home, "XDG_DATA_HOME": home}, cwd=home,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.writelines(json.dumps(one).encode() + b"\n" for one in MESSAGES)
        process.stdin.flush()
        while json.loads(process.stdout.readline()).get("id") != 2:
            pass
        taken = time.perf_counter() - begun
        process.kill()  # its end is not counted
        used = os.wait4(process.pid, 0)[2]
    return taken * 1000, (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss / 1024
