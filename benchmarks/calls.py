"""What a tool call takes beyond the REST call behind it, made directly with `httpx`.

The tool call is a whole round trip over stdio to a real process, as a host makes it. The REST call goes the
way of the tool's own: to the embedded store in process, or to the same store behind a loopback HTTP server.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
TARGET_MS = 2.0


def measure() -> list[Figure]:
    """A read and a publish, over both ways."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        store = home / "store.db"
        fill(store, 1_000)
        with WireProcess(OURS, home, {"REFLEXIO_MCP_STORE": str(store)}) as server:
            direct = httpx.ASGITransport(app=EmbeddedStore(str(store)))
            figures += asyncio.run(_compare(server, "embedded", "http://store", direct))
        with (
            _loopback(store) as url,
            WireProcess(OURS, home, {"REFLEXIO_URL": url}) as server,
        ):
            figures += asyncio.run(_compare(server, "over HTTP", url, None))
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
    server: WireProcess, way: str, url: str, transport: httpx.AsyncBaseTransport | None
) -> list[Figure]:
    server.open()
    turns = [{"role": "User", "content": "Please remember that I prefer short answers."}]
    wanted = {"session_id": "session-100"}
    stored = {"user_id": "user-1", "session_id": f"calls-{way}", "source": "benchmark"}
    async with httpx.AsyncClient(
        base_url=url, transport=transport, headers={"User-Agent": "reflexio-mcp-benchmark"}
    ) as client:

        async def rest(path: str, body: dict[str, Any]) -> None:
            reply = await client.post(path, json=body)
            if not reply.raise_for_status().json()["success"]:
                raise RuntimeError(f"{path} failed: {reply.text[:200]}")

        return [
            await _figure(
                f"list_requests, {way}",
                lambda: server.call("list_requests", wanted),
                lambda: rest("/api/get_requests", wanted),
            ),
            await _figure(
                f"publish_interaction, {way}",
                lambda: server.call("publish_interaction", {**stored, "interactions": turns}),
                lambda: rest("/api/publish_interaction", {**stored, "interaction_data_list": turns}),
            ),
        ]


async def _figure(what: str, tool: Callable[[], Any], rest: Callable[[], Awaitable[None]]) -> Figure:
    through: list[float] = []
    direct: list[float] = []

    async def timed_tool() -> None:
        begun = time.perf_counter()
        tool()
        through.append((time.perf_counter() - begun) * 1000)

    async def timed_rest() -> None:
        begun = time.perf_counter()
        await rest()
        direct.append((time.perf_counter() - begun) * 1000)

    for round_number in range(WARM_UP + ROUNDS):
        # Whoever goes second finds the file's log as the first left it, so they take turns.
        first, second = (timed_tool, timed_rest) if round_number % 2 else (timed_rest, timed_tool)
        await first()
        await second()
    del through[:WARM_UP], direct[:WARM_UP]
    return Figure(
        f"added by a tool call: {what}",
        median(through) - median(direct),
        TARGET_MS,
        "ms",
        f"{median(through):.2f} ms - {median(direct):.2f} ms, medians of {ROUNDS}",
    )
