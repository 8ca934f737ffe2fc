"""What a tool call takes beyond the REST call behind it, made directly with `httpx`.

The tool call is a whole round trip over stdio to a real process, as a host makes it. The REST call goes the
way of the tool's own: to the embedded store in process, or to the same store behind a loopback HTTP server.
Over HTTP a bare SDK server that forwards the same REST call (`bare_forwarder.py`) stands beside ours: what it adds is
the price of a process in between, and depends on the machine as ours does.
"""

import asyncio
import inspect
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from figures import Figure
from filling import fill
from wire import OURS, WireProcess

from reflexio_mcp.embedded_store.app import EmbeddedStore

ROUNDS = 200
WARM_UP = 10
TARGET_MS = 1.5
TARGET = 1.0
FORWARDER = (sys.executable, str(Path(__file__).parent / "bare_forwarder.py"))


def measure() -> list[Figure]:
    """A read and a publish, over both ways."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = home / "store.db"
        fill(store, 1_000)
        with WireProcess(OURS, home, {"REFLEXIO_MCP_STORE": str(store)}) as server:
            direct = httpx.ASGITransport(app=EmbeddedStore(str(store)))
            figures += asyncio.run(_compare("embedded", "http://store", direct, ours=server))
        with (
            _loopback(store) as url,
            WireProcess(OURS, home, {"REFLEXIO_URL": url}) as server,
            WireProcess(FORWARDER, home, {"REFLEXIO_URL": url}) as forwarder,
        ):
            figures += asyncio.run(_compare("over HTTP", url, None, ours=server, forwarder=forwarder))
    return figures


@contextmanager
def _loopback(store: Path) -> Iterator[str]:
    script = Path(__file__).parent / "loopback_store.py"
    with subprocess.Popen([sys.executable, str(script), str(store)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _compare(
    way: str, url: str, transport: httpx.AsyncBaseTransport | None, **servers: WireProcess
) -> list[Figure]:
    for server in servers.values():
        server.open()
    turns = [{"role": "User", "content": "Please remember that I prefer short answers."}]
    wanted = {"session_id": "session-100"}
    stored = {"user_id": "user-1", "session_id": f"calls-{way}", "source": "benchmark"}
    jobs = (
        ("list_requests", wanted, "/api/get_requests", wanted),
        (
            "publish_interaction",
            {**stored, "interactions": turns},
            "/api/publish_interaction",
            {**stored, "interaction_data_list": turns},
        ),
    )
    async with httpx.AsyncClient(
        base_url=url, transport=transport, headers={"User-Agent": "reflexio-mcp-benchmark"}
    ) as client:

        async def rest(path: str, body: dict[str, Any]) -> None:
            reply = await client.post(path, json=body)
            if not reply.raise_for_status().json()["success"]:
                raise RuntimeError(f"{path} failed: {reply.text[:200]}")

        figures: list[Figure] = []
        for tool, arguments, path, body in jobs:
            ways: dict[str, Callable[[], Any]] = {"REST": partial(rest, path, body)}
            ways |= {name: partial(server.call, tool, arguments) for name, server in servers.items()}
            figures += _figures(f"{tool}, {way}", await _medians(ways))
    return figures


async def _medians(ways: Mapping[str, Callable[[], Awaitable[None] | Any]]) -> dict[str, float]:
    """Milliseconds of each way, medians of `ROUNDS`."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for round_number in range(WARM_UP + ROUNDS):
        # Whoever goes later finds the file's log as the ones before left it, so they take turns.
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            begun = time.perf_counter()
            made = ways[name]()
            if inspect.isawaitable(made):
                await made
            if round_number >= WARM_UP:
                taken[name].append((time.perf_counter() - begun) * 1000)
    return {name: median(times) for name, times in taken.items()}


def _figures(what: str, medians: Mapping[str, float]) -> Iterator[Figure]:
    added = {name: taken - medians["REST"] for name, taken in medians.items()}
    detail = f"{medians['ours']:.2f} ms - {medians['REST']:.2f} ms, medians of {ROUNDS}"
    yield Figure(f"added by a tool call: {what}", added["ours"], TARGET_MS, "ms", detail)
    if "forwarder" in medians:
        yield Figure(
            f"that over what a bare forwarder adds: {what}",
            added["ours"] / added["forwarder"],
            TARGET,
            "x",
            f"{added['ours']:.2f} ms / {added['forwarder']:.2f} ms",
        )
