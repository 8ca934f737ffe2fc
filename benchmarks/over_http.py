"""Calls a second over Streamable HTTP, against a bare SDK server with one trivial tool.

Both are processes on this machine and get the same load in turns: 16 and then 64 connections at revision 2026-07-28,
each with one call at a time. Ours reads and writes the embedded store, and checks a bearer token. Both run on uvicorn
with h11, where no faster parser is installed that the bare one would take.
"""

import asyncio
import math
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, TypeAlias

import httpx
from figures import Figure
from wire import worked

TARGET = 1 / 0.6
CLIENTS = (16, 64)
CALLS = 1_000
ROUNDS = 3
TOKEN = "benchmark-token"

_TLS = ssl.create_default_context()
"""Not used, and made once: each client would make its own, which took as long as a dozen calls."""

_Job: TypeAlias = tuple["_Url", str, Mapping[str, Any]]

_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def measure() -> list[Figure]:
    """Three reads and a publish."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        bare = [sys.executable, str(Path(__file__).parent / "bare_http_server.py")]
        ours = [sys.executable, "-m", "reflexio_mcp", "serve", "--transport", "http", "--port"]
        with _process(bare, home) as bare_url, _process(ours, home) as our_url:
            return asyncio.run(_compare(bare_url, our_url))


class _Url(str):
    """Where a server listens, and its process."""

    pid: int


@contextmanager
def _process(command: Sequence[str], home: Path) -> Iterator[_Url]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {key: value for key, value in os.environ.items() if not key.startswith("REFLEXIO_")}
    env |= {"HOME": str(home), "REFLEXIO_MCP_STORE": str(home / "store.db"), "REFLEXIO_MCP_AUTH_TOKEN": TOKEN}
    with (
        (home / f"{port}.log").open("wb") as log,
        subprocess.Popen([*command, str(port)], cwd=home, env=env, stderr=log, stdout=log) as process,
    ):
        try:
            limit = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if time.monotonic() > limit or process.poll() is not None:
                        raise RuntimeError(f"{command} did not start") from None
                    time.sleep(0.05)
            url = _Url(f"http://127.0.0.1:{port}/mcp")
            url.pid = process.pid
            yield url
        finally:
            process.terminate()


async def _compare(bare: _Url, ours: _Url) -> list[Figure]:
    turns = [{"role": "User", "content": "Please remember that I prefer short answers."}]
    stored = {"user_id": "u", "session_id": "s", "source": "benchmark", "interactions": turns}
    seen = {"user_id": "u", "session_id": "seen", "interactions": turns, "request_id": "seen"}
    await _load(ours, "publish_interaction", seen, 1)
    jobs: dict[str, _Job] = {
        "bare": (bare, "echo", {"text": "hello"}),
        "get_status": (ours, "get_status", {}),
        "get_request": (ours, "get_request", {"request_id": "seen"}),
        "list_requests": (ours, "list_requests", {"session_id": "seen"}),
        "publish_interaction": (ours, "publish_interaction", stored),
    }
    for job in jobs.values():
        await _load(*job, 100)
    return [figure for clients in CLIENTS for figure in await _with(clients, jobs)]


async def _with(clients: int, jobs: Mapping[str, _Job]) -> list[Figure]:
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    waits: dict[str, list[float]] = {name: [] for name in jobs}
    works: dict[str, float] = dict.fromkeys(jobs, 0.0)
    for _ in range(ROUNDS):
        for name, job in jobs.items():
            begun, before = time.perf_counter(), _worked(job[0].pid)
            taken = await _load(*job, CALLS, clients)
            rates[name].append(len(taken) / (time.perf_counter() - begun))
            waits[name] += taken
            works[name] += _worked(job[0].pid) - before
    return [_figure(name, clients, rates, waits, works) for name in jobs if name != "bare"]


def _worked(pid: int) -> float:
    try:
        return worked(pid)
    except OSError:  # not Linux
        return math.nan


def _figure(
    name: str,
    clients: int,
    rates: Mapping[str, list[float]],
    waits: Mapping[str, list[float]],
    works: Mapping[str, float],
) -> Figure:
    ratio = median(bare / ours for bare, ours in zip(rates["bare"], rates[name], strict=True))

    def told(which: str) -> str:
        percent = quantiles(waits[which], n=100)
        return (
            f"{median(rates[which]):.0f}/s, p50 {percent[49] * 1000:.1f} ms, p99 {percent[98] * 1000:.1f} ms, "
            f"processor {works[which] / len(waits[which]) * 1000:.2f} ms"
        )

    detail = f"{told(name)}; bare {told('bare')}"
    return Figure(
        f"bare server's calls a second against {name}, {clients} clients", ratio, TARGET, "x", detail
    )


async def _load(
    url: str, name: str, arguments: Mapping[str, Any], calls: int, clients: int = 16
) -> list[float]:
    headers = {
        "authorization": f"Bearer {TOKEN}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": name,
    }
    params = {"name": name, "arguments": arguments, "_meta": _META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    left = calls
    taken: list[float] = []

    async def client() -> None:
        nonlocal left
        async with httpx.AsyncClient(headers=headers, timeout=30, verify=_TLS) as http:
            while left > 0:
                left -= 1
                begun = time.perf_counter()
                reply = (await http.post(url, json=body)).raise_for_status().json()
                taken.append(time.perf_counter() - begun)
                if "error" in reply or reply["result"].get("isError"):
                    raise RuntimeError(str(reply)[:300])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(clients, calls)):
            tasks.create_task(client())
    return taken
