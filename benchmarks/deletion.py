"""2,000 deletions by filter in one tool call, against the API calls that any such deletion has to make.

The raw calls use `httpx` without any checks of the answers. They read every page of the set, delete it by its ids and
look up each id once, because a list that does not show a request does not prove that it is gone. Both go to the same
kind of store behind a loopback HTTP server. Memory is that of the whole server process beyond its idle peak.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from figures import Figure
from filling import fill
from wire import OURS, WireProcess

AGENT = {"User-Agent": "reflexio-mcp-benchmark"}
REQUESTS = 2_000
ROUNDS = 3
PAGE_SESSIONS = 100
AT_ONCE = 8
"""Look-ups in flight, as the server has them."""
TARGET_RATIO = 1.5
TARGET_SILENCE = 15.0
TARGET_MB = 100.0


def measure() -> list[Figure]:
    """Time over the raw calls, the longest silence, and the memory it takes."""
    through: list[float] = []
    raw: list[float] = []
    silences: list[float] = []
    memory: list[float] = []
    for round_number in range(ROUNDS):
        # They take turns at going first.
        for ours in (True, False) if round_number % 2 else (False, True):
            with tempfile.TemporaryDirectory() as folder:
                store = Path(folder) / "store.db"
                fill(store, REQUESTS)
                with _loopback(store) as url:
                    if ours:
                        seconds, silence, grown = _through(url, Path(folder))
                        through.append(seconds)
                        silences.append(silence)
                        memory.append(grown)
                    else:
                        raw.append(asyncio.run(_raw(url)))
    return [
        Figure(
            f"{REQUESTS:,} deletions by filter over the raw API calls",
            min(through) / min(raw),
            TARGET_RATIO,
            "x",
            f"{min(through):.2f} s / {min(raw):.2f} s, the least disturbed of {ROUNDS} each",
        ),
        Figure("longest silence of that call", max(silences), TARGET_SILENCE, "s", f"worst of {ROUNDS}"),
        Figure("memory of that call beyond idle", max(memory), TARGET_MB, "MB", f"worst of {ROUNDS}"),
    ]


@contextmanager
def _loopback(store: Path) -> Iterator[str]:
    script = Path(__file__).parent / "loopback_store.py"
    with subprocess.Popen([sys.executable, str(script), str(store)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            _await_answer(url)
            yield url
        finally:
            process.terminate()


def _await_answer(url: str) -> None:
    # The port is known before the server listens on it.
    until = time.monotonic() + 10
    while True:
        try:
            httpx.get(f"{url}/health", headers=AGENT).raise_for_status()
            return
        except httpx.ConnectError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def _through(url: str, home: Path) -> tuple[float, float, float]:
    options = {"REFLEXIO_URL": url, "REFLEXIO_MCP_CONFIRM": "off", "REFLEXIO_MCP_DELETE_CAP": "0"}
    with WireProcess(OURS, home, options) as server:
        server.open()
        server.call("get_status", {})
        idle = server.peak_memory()
        begun = time.perf_counter()
        result, silence = server.call_watched("delete_requests", {"source": "benchmark"})
        seconds = time.perf_counter() - begun
        counts = result["structuredContent"]["counts"]
        if counts != {"deleted": REQUESTS}:
            raise RuntimeError(f"not all were deleted: {counts}")
        return seconds, silence, server.peak_memory() - idle


async def _raw(url: str) -> float:
    async with httpx.AsyncClient(base_url=url, headers=AGENT, timeout=60) as client:
        await client.get("/health")
        begun = time.perf_counter()
        ids: list[str] = []
        offset = 0
        while True:
            asked = {"source": "benchmark", "top_k": PAGE_SESSIONS, "offset": offset}
            page = (await client.post("/api/get_requests", json=asked)).raise_for_status().json()
            ids += [item["request"]["request_id"] for one in page["sessions"] for item in one["requests"]]
            offset += len(page["sessions"])
            if not page["has_more"]:
                break
        reply = await client.request("DELETE", "/api/delete_requests_by_ids", json={"request_ids": ids})
        waiting = iter(ids)

        async def look_up() -> None:
            for one in waiting:
                asked = {"request_id": one, "top_k": 1}
                found = (await client.post("/api/get_requests", json=asked)).raise_for_status().json()
                if found["sessions"]:
                    raise RuntimeError("the raw calls did not delete all")

        await asyncio.gather(*(look_up() for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - begun
        if reply.raise_for_status().json()["deleted_count"] != REQUESTS:
            raise RuntimeError("the raw calls did not delete all")
        return seconds
