"""Calls a second over Streamable HTTP, against a bare SDK server that forwards the same REST calls.

Both are processes on this machine in front of the same Reflexio API, which is the embedded store behind HTTP. They get
the same load in turns: 16 connections at revision 2026-07-28, each with one call at a time.
"""

import asyncio
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from benchmarks.figures import Figure
from scripts.serving import serving

TARGET = 1 / 0.6
CLIENTS, CALLS, ROUNDS = 16, 96, 5
TOKEN = "token-of-the-benchmark"
HERE = Path(__file__).parent
OURS = (sys.executable, "-m", "reflexio_mcp", "serve", "--transport", "http", "--port")
FORWARDER = (sys.executable, str(HERE / "bare_forwarder.py"))

# Each client would make its own context, which takes as long as a dozen calls.
TLS = ssl.create_default_context()
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
SAID = {
    "user_id": "u",
    "session_id": "seen",
    "interactions": [{"role": "User", "content": "Please remember that I prefer short answers."}],
}
JOBS: dict[str, dict[str, Any]] = {
    "get_request": {"request_id": "seen"},
    "list_requests": {"session_id": "seen"},
    "publish_interaction": SAID | {"session_id": "s"},
}


def measure() -> list[Figure]:
    """Two reads and a publish."""
    with tempfile.TemporaryDirectory() as folder, loopback_store(Path(folder) / "store.db") as service:
        variables = {"REFLEXIO_URL": service, "REFLEXIO_MCP_AUTH_TOKEN": TOKEN}
        with (
            serving(OURS, Path(folder), 0, **variables) as ours,
            serving(FORWARDER, Path(folder), 0, **variables) as forwarder,
        ):
            return asyncio.run(_compare(f"{ours}/mcp", f"{forwarder}/mcp"))


@contextmanager
def loopback_store(path: Path) -> Iterator[str]:
    """The embedded store behind HTTP, as the Reflexio that a server forwards to."""
    command = [sys.executable, "-m", "benchmarks.loopback_store", str(path)]
    with subprocess.Popen(command, cwd=HERE.parent, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _compare(ours: str, forwarder: str) -> list[Figure]:
    await _load(ours, "publish_interaction", SAID | {"request_id": "seen"}, 1)
    figures: list[Figure] = []
    for tool, arguments in JOBS.items():
        rates: dict[str, list[float]] = {ours: [], forwarder: []}
        for url in rates:
            await _load(url, tool, arguments, CLIENTS)
        for _ in range(ROUNDS):
            for url, measured in rates.items():
                begun = time.perf_counter()
                await _load(url, tool, arguments, CALLS)
                measured.append(CALLS / (time.perf_counter() - begun))
        ratio = median(bare / own for own, bare in zip(rates[ours], rates[forwarder], strict=True))
        detail = f"{median(rates[forwarder]):.0f}/s over {median(rates[ours]):.0f}/s, {CLIENTS} clients"
        figures.append(
            Figure(f"a bare forwarder's calls a second over ours: {tool}", ratio, TARGET, "x", detail)
        )
    return figures


def client(token: str) -> httpx.AsyncClient:
    headers = {
        "authorization": f"Bearer {token}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
    }
    return httpx.AsyncClient(headers=headers, timeout=60, verify=TLS)


async def post(http: httpx.AsyncClient, url: str, tool: str, arguments: dict[str, Any]) -> httpx.Response:
    """Call a tool."""
    params = {"name": tool, "arguments": arguments, "_meta": META}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    return (await http.post(url, json=body, headers={"mcp-name": tool})).raise_for_status()


async def _load(url: str, name: str, arguments: dict[str, Any], calls: int) -> None:
    left = iter(range(calls))

    async def one() -> None:
        async with client(TOKEN) as http:
            for _ in left:
                result = (await post(http, url, name, arguments)).json()["result"]
                if result.get("isError"):
                    raise RuntimeError(str(result)[:300])

    async with asyncio.TaskGroup() as tasks:
        for _ in range(CLIENTS):
            tasks.create_task(one())
