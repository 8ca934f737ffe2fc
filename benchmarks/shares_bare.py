"""What three callers wait for beside a fourth if a bare server forwards their calls: what to compare `shares` with.

The fourth asks on 64 connections for a page with all requests, as `list_sessions` does in `benchmarks/shares.py`.

    python -m benchmarks.shares_bare
"""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import shares_callers
from benchmarks.figures import Figure, told
from benchmarks.over_http import FORWARDER, loopback_store
from benchmarks.shares import HERE, LEAST_MS, QUIET_FACTOR, fill
from benchmarks.shares_callers import FLOODS, FOURTH, Fourth
from scripts.serving import free_port, serving

SECONDS = 6.0


def call(port: int, tool: str, **arguments: str) -> bytes:
    """A call as it goes over the wire; the bare server wants its port in the header."""
    sent = shares_callers.call(tool, **arguments)
    return sent.replace(b"Host: 127.0.0.1\r\n", b"Host: 127.0.0.1:%d\r\n" % port)


def figure() -> Figure:
    """The 99th percentile of the others."""
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / "store.db"
        fill(stored, large=False)
        with loopback_store(stored) as url:
            port = free_port()
            with serving(FORWARDER, Path(folder), port, REFLEXIO_URL=url):
                _waits(port, 1)
                alone = _waits(port, SECONDS)
                fourth = _start("attack", port)
                try:
                    assert fourth.stdout
                    fourth.stdout.readline()  # it has begun
                    beside = _waits(port, SECONDS)
                finally:
                    fourth.terminate()
                    fourth.communicate()
    most = max(QUIET_FACTOR * alone["p99"], LEAST_MS)
    detail = (
        f"p50 {alone['p50']:.0f} ms alone, {beside['p50']:.0f} ms beside; p99 {alone['p99']:.0f} ms alone"
    )
    return Figure(
        "bare forwarder, small data, 64 connections: p99 of the others", beside["p99"], most, "ms", detail
    )


def _start(*words: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.shares_bare", *map(str, words)]
    return subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE)


def _waits(port: int, seconds: float) -> dict[str, float]:
    with _start("measure", port, seconds) as process:
        said, _ = process.communicate()
    return json.loads(said)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["measure", port, seconds]:

            def calls(name: str) -> tuple[bytes, bytes]:
                return (
                    call(int(port), "list_requests", name=name, session_id=f"{name}-s1"),
                    call(int(port), "get_request", name=name, request_id=f"{name}-r1"),
                )

            asyncio.run(shares_callers.measure(int(port), float(seconds), calls=calls))
        case ["attack", port]:
            os.nice(15)
            FLOODS["bare"] = lambda: [call(int(port), "list_requests", name=FOURTH, session_id="")]
            asyncio.run(Fourth().attack(int(port), "bare", 64))
        case _:
            print(told(figure()))
