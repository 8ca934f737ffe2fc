"""What one caller of a shared server takes from three others: their waiting, the server's memory, refused calls.

The three list and read small requests and measure their own calls, first alone and then while a fourth repeats one kind
of call on several connections. The machine matters more than elsewhere, because the fourth also needs processor time:
compare lines of one run.

    python -m benchmarks.shares --kinds sessions,contains --connections 64 --data large --backends embedded
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.figures import Figure, told
from benchmarks.over_http import META, client, loopback_store
from benchmarks.shares_callers import ATTACKS, FOURTH, OTHERS, READ_IDS, STREAMS, token
from scripts.serving import free_port, serving

CONNECTIONS = (1, 16, 64)
STREAM_CONNECTIONS = 30
DATA = ("small", "large")
BACKENDS = ("embedded", "http")
SECONDS = 4.0

QUIET_FACTOR, LEAST_MS = 2, 50.0
MOST_MIB = 300
"""The aims: the others wait at most twice as long as alone, or 50 ms; memory grows by at most so much."""

HERE = Path(__file__).parent
SERVER = (sys.executable, "-m", "reflexio_mcp", "serve", "--transport", "http", "--port")
MIB = 2**20


@dataclass(frozen=True)
class Setting:
    """What one line measures."""

    backend: str
    data: str
    kind: str
    connections: int

    @property
    def name(self) -> str:
        return f"{self.backend}, {self.data} data, {self.kind} on {self.connections}"


def measure() -> Iterator[Figure]:
    """All settings; takes about an hour."""
    yield from measured(tuple(ATTACKS), CONNECTIONS, DATA, BACKENDS)


def measured(
    kinds: Sequence[str],
    connections: Sequence[int],
    data: Sequence[str],
    backends: Sequence[str],
    seconds: float = SECONDS,
) -> Iterator[Figure]:
    """Three figures for each setting."""
    with tempfile.TemporaryDirectory() as folder:
        for size in data:
            stored = Path(folder) / f"{size}.db"
            fill(stored, large=size == "large")
            for backend in backends:
                for kind in kinds:
                    for number in (STREAM_CONNECTIONS,) if kind in STREAMS else connections:
                        yield from _one(Setting(backend, size, kind, number), stored, seconds)


def _one(setting: Setting, stored: Path, seconds: float) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        store = Path(folder) / "store.db"
        shutil.copy(stored, store)
        url = stack.enter_context(loopback_store(store)) if setting.backend == "http" else ""
        port = free_port()
        variables = _variables(store, url)
        stack.enter_context(serving(SERVER, Path(folder), port, **variables))
        server = process_on(port)
        store_port = httpx.URL(url).port if url else None
        _measure(port, 1, store_port)
        quiet = _measure(port, seconds, store_port)
        rest = _memory(server, "VmRSS")
        Path(f"/proc/{server}/clear_refs").write_text("5", encoding="ascii")
        fourth = _start("attack", port, setting.kind, setting.connections)
        try:
            assert fourth.stdout
            fourth.stdout.readline()  # it has begun
            beside = _measure(port, seconds, store_port)
        finally:
            fourth.terminate()
            said, _ = fourth.communicate()
        grown = (_memory(server, "VmHWM") - rest) / MIB
    detail = (
        f"p50 {quiet['p50']:.0f} ms alone, {beside['p50']:.0f} ms beside; p99 {quiet['p99']:.0f} ms alone; "
        f"{_of_store(quiet, beside) if store_port else ''}"
        f"the fourth: {said.decode().strip() or 'nothing answered'}"
    )
    most = max(QUIET_FACTOR * quiet["p99"], LEAST_MS)
    yield Figure(f"{setting.name}: p99 of the others", beside["p99"], most, "ms", detail)
    yield Figure(f"{setting.name}: memory above rest", grown, MOST_MIB, "MiB", "most of the process")
    failed = f"of {beside['calls']:.0f} calls"
    yield Figure(f"{setting.name}: calls of the others that failed", beside["failed"], 0, "calls", failed)


def _variables(store: Path, url: str) -> dict[str, str]:
    tokens = ",".join(f"{name}:{token(name)}" for name in (*OTHERS, FOURTH))
    backend = {"REFLEXIO_URL": url} if url else {"REFLEXIO_MCP_STORE": str(store)}
    return backend | {"REFLEXIO_MCP_AUTH_TOKEN": tokens, "REFLEXIO_MCP_LOG_LEVEL": "ERROR"}


def _start(what: str, port: int, *words: object) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "benchmarks.shares_callers", what, str(port), *map(str, words)]
    return subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE)


def _of_store(quiet: dict[str, float], beside: dict[str, float]) -> str:
    """What the store behind takes for one call when it is asked directly; a call of the others makes several."""
    return (
        f"one call of the store itself: p99 {quiet['store']:.0f} ms alone, {beside['store']:.0f} ms beside; "
    )


def _measure(port: int, seconds: float, store_port: int | None) -> dict[str, float]:
    with _start("measure", port, seconds, *([store_port] if store_port else [])) as process:
        said, _ = process.communicate()
    return json.loads(said)


def process_on(port: int) -> int:
    """The id of the process that was started for this port."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if words[-2:] == [str(port).encode(), b""]:
            return int(folder.name)
    raise RuntimeError(f"no server on port {port}")


def _memory(process: int, field: str) -> int:
    """Bytes in memory; with `VmHWM`, the most since `clear_refs` was written."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    [line] = [one for one in lines if one.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


def fill(path: Path, *, large: bool) -> None:
    """Store 20 small requests for each of the three and 620 for the fourth; with `large`, 20 of these have 72 MB."""
    hostile = "\\" * 2000 + "a@" * 1000 + "sk-" + "A" * 2000 + " " + "1234 " * 500 + "password=" + "(" * 2000
    texts = ((hostile * 400)[:900_000], "A" * 900_000, "a.b@c.d " * 112_500)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(SERVER, Path(folder), free_port(), **_variables(path, "")) as url,
        httpx.Client() as http,
    ):
        for name in OTHERS:
            for number in range(20):
                _publish(http, url, name, f"s{number % 4}", f"r{number}", [f"hello {number}", "answer " * 20])
        for number in range(600):
            said = ["x y z " * 30, "answer " * 20]
            _publish(http, url, FOURTH, f"s{number // 50}", f"r{number}", said)
        for number, request_id in enumerate(READ_IDS):
            text = texts[number % 3] if large else "x y z " * 30
            _publish(http, url, FOURTH, f"read{number}", request_id, [text] * 4)


def _publish(
    http: httpx.Client, url: str, name: str, session: str, request_id: str, texts: Sequence[str]
) -> None:
    said = [{"role": "User", "content": text} for text in texts]
    unique = request_id if request_id in READ_IDS else f"{name}-{request_id}"
    given = {"session_id": f"{name}-{session}", "request_id": unique, "interactions": said}
    params: dict[str, Any] = {"name": "publish_interaction", "arguments": given, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = dict(client(token(name)).headers) | {"mcp-name": "publish_interaction"}
    reply = http.post(f"{url}/mcp", json=body, headers=headers, timeout=60).raise_for_status()
    if reply.json()["result"].get("isError"):
        raise RuntimeError(reply.text[:300])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, choices in (("kinds", tuple(ATTACKS)), ("data", DATA), ("backends", BACKENDS)):
        parser.add_argument(f"--{name}", default=",".join(choices), help=f"of {', '.join(choices)}")
    parser.add_argument("--connections", default=",".join(map(str, CONNECTIONS)))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the three measure each time")
    asked = parser.parse_args()
    met = True
    for figure in measured(
        asked.kinds.split(","),
        [int(one) for one in asked.connections.split(",")],
        asked.data.split(","),
        asked.backends.split(","),
        asked.seconds,
    ):
        print(told(figure), flush=True)
        met &= figure.met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
