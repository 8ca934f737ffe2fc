"""What taking turns costs a quiet caller: processor time of the server for each call, with turns and without.

Two servers share an embedded store and get the same calls of one caller, in turns. The second has no turns.

    python -m benchmarks.turns
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from benchmarks.figures import Figure, told
from benchmarks.over_http import TOKEN, client, post
from benchmarks.shares import process_on
from scripts.serving import free_port, serving

CALLS, ROUNDS = 60, 20
WITH = (sys.executable, "-m", "reflexio_mcp", "serve", "--transport", "http", "--port")
WITHOUT = (sys.executable, "-m", "benchmarks.turns", "serve", "--transport", "http", "--port")
SAID = {"session_id": "s", "interactions": [{"role": "User", "content": "I prefer short answers. " * 9}]}
JOBS: dict[str, dict[str, Any]] = {
    "get_request": {"request_id": "r1"},
    "list_requests": {"limit": 10},
    "get_status": {},
}
TARGET = 1.05


def measure() -> Iterator[Figure]:
    """One ratio for each kind of call."""
    root = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        variables = {
            "REFLEXIO_MCP_STORE": f"{folder}/store.db",
            "REFLEXIO_MCP_AUTH_TOKEN": f"ann:{TOKEN}",
            "REFLEXIO_MCP_LOG_LEVEL": "ERROR",
            "PYTHONPATH": root,
        }
        ports = free_port(), free_port()
        with (
            serving(WITH, Path(folder), ports[0], **variables) as ours,
            serving(WITHOUT, Path(folder), ports[1], **variables) as without,
        ):
            yield from asyncio.run(_compare({f"{ours}/mcp": ports[0], f"{without}/mcp": ports[1]}))


async def _compare(servers: dict[str, int]) -> list[Figure]:
    processes = {url: process_on(port) for url, port in servers.items()}
    figures: list[Figure] = []
    async with client(TOKEN) as http:
        for number in range(20):
            await post(http, next(iter(servers)), "publish_interaction", SAID | {"request_id": f"r{number}"})
        for tool, arguments in JOBS.items():
            spent: dict[str, list[float]] = {url: [] for url in servers}
            for number in range(ROUNDS + 1):
                # Whoever is second finds warm caches.
                for url in list(servers)[:: 1 if number % 2 else -1]:
                    before = _seconds(processes[url])
                    for _ in range(CALLS):
                        await post(http, url, tool, arguments)
                    if number:  # the first warms up
                        spent[url].append((_seconds(processes[url]) - before) / CALLS * 1000)
            ours, without = spent.values()
            ratio = median(one / other for one, other in zip(ours, without, strict=True))
            detail = f"{median(ours):.2f} ms with turns, {median(without):.2f} ms without"
            what = f"processor time of a quiet caller's {tool} over the same without turns"
            figures.append(Figure(what, ratio, TARGET, "x", detail))
    return figures


def _seconds(process: int) -> float:
    """Processor time of all threads of a process so far."""
    spent = (
        line.read_text(encoding="ascii").split() for line in Path(f"/proc/{process}/task").glob("*/schedstat")
    )
    return sum(int(words[0]) for words in spent) / 1e9


def _serve_without_turns() -> None:
    from reflexio_mcp.cli import main
    from reflexio_mcp.traffic import turns

    accounts = dict[str, Any]()

    @asynccontextmanager
    async def take(each: turns.Turns, account: str, address: str, **_: bool) -> AsyncGenerator[turns.Turn]:
        if account not in accounts:
            accounts[account] = each._account(account)
        turn = turns.Turn(accounts[account], address)
        with turn.until_over:
            yield turn

    with mock.patch.object(turns.Turns, "take", take):
        sys.exit(main())


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        _serve_without_turns()
    figures = list(measure())
    print(*map(told, figures), sep="\n")
    sys.exit(0 if all(figure.met for figure in figures) else 1)
