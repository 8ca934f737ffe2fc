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
BARE = (sys.executable, str(Path(__file__).parent / "bare_server.py"))
OURS = (sys.executable, "-m", "reflexio_mcp")
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
    found: dict[str, list[tuple[float, ...]]] = {"bare": [], "ours": []}
    with tempfile.TemporaryDirectory() as home:
        for round_number in range(ROUNDS + 1):
            for name, command in (("bare", BARE), ("ours", OURS)):
                started = _start(command, home)
                if round_number:  # the first start compiles to bytecode
                    found[name].append(started)
    units = (
        ("start to tools/list over a bare SDK server", 1000, "ms", 1.15),
        ("processor time of it", 1000, "ms", 1.15),
        ("peak memory at rest over a bare SDK server", 1, "MB", 1.1),
    )
    medians = {name: [median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    figures: list[Figure] = []
    for (what, factor, unit, most), bare, ours in zip(units, medians["bare"], medians["ours"], strict=False):
        detail = f"{ours * factor:.0f} {unit} / {bare * factor:.0f} {unit}, medians of {ROUNDS}"
        figures.append(Figure(what, ours / bare, most, "x", detail))
    return figures


def _start(command: tuple[str, ...], home: str) -> tuple[float, ...]:
    """Seconds to the answer; on Linux also seconds of the processor and the peak of memory in MB."""
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
        proc = Path(f"/proc/{process.pid}")
        if not proc.exists():
            return (taken,)
        # The name of the program stands in brackets and may hold blanks; the times follow it.
        times = (proc / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        worked = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        status = dict(
            line.split(":", 1) for line in (proc / "status").read_text(encoding="ascii").splitlines()
        )
        return taken, worked, int(status["VmHWM"].split()[0]) / 1024
