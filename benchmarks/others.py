"""How long the light calls of three callers take while a fourth makes 60 audits at once, against the same calls before.

`measure` starts this module as the fourth caller, in a process of its own.
"""

import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.figures import Figure
from benchmarks.over_http import OURS, client, loopback_store, post
from scripts.serving import serving

AUDITS = 60
OTHERS = ("ann", "bob", "eve")
ROUNDS, CALLS = 3, 40
TARGET = 2.0
STORED = [("What is my order? " * 50 + f"It is k{number:06}x. ") * 8 for number in range(5)]
REQUESTS = 200


def measure() -> list[Figure]:
    """Quiet and loud rounds in turns, so that a busy machine disturbs both."""
    tokens = ",".join(f"{name}:token-of-{name}" for name in (*OTHERS, "mallory"))
    with tempfile.TemporaryDirectory() as folder, loopback_store(Path(folder) / "store.db") as service:
        variables = {"REFLEXIO_URL": service, "REFLEXIO_MCP_AUTH_TOKEN": tokens}
        with serving(OURS, Path(folder), 0, **variables) as ours:
            return asyncio.run(_compare(f"{ours}/mcp"))


async def _compare(url: str) -> list[Figure]:
    for name, requests in {"mallory": REQUESTS, **dict.fromkeys(OTHERS, 10)}.items():
        async with client(f"token-of-{name}") as http:
            for number in range(requests):
                said = {"role": "User", "content": STORED[number % len(STORED)]}
                await post(
                    http,
                    url,
                    "publish_interaction",
                    {"session_id": f"s{number // 5}", "interactions": [said]},
                )
    async with client("token-of-mallory") as http:
        await post(http, url, "audit_traffic", {})  # loads the scanner
    await _round(url)
    quiet, loud = list[list[float]](), list[list[float]]()
    for _ in range(ROUNDS):
        quiet.append(await _round(url))
        words = (sys.executable, "-m", "benchmarks.others", url)
        mallory = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
        assert mallory.stdout
        await mallory.stdout.readline()
        loud.append(await _round(url))
        mallory.terminate()
        await mallory.wait()
        await asyncio.sleep(2)  # the last audits end
    return [
        _figure(f"median {name} of others during {AUDITS} audits over before", of, quiet, loud)
        for name, of in (("wait", median), ("99th percentile", lambda waits: quantiles(waits, n=100)[-1]))
    ]


def _figure(what: str, of: Any, quiet: list[list[float]], loud: list[list[float]]) -> Figure:
    before, during = median(map(of, quiet)), median(map(of, loud))
    return Figure(what, during / before, TARGET, "x", f"{during * 1000:.0f} ms / {before * 1000:.0f} ms")


async def _round(url: str) -> list[float]:
    """Return the seconds that each light call of the others took."""
    waits: list[float] = []

    async def one(name: str) -> None:
        async with client(f"token-of-{name}") as http:
            for _ in range(CALLS):
                begun = time.perf_counter()
                await post(http, url, "list_requests", {"limit": 5})
                waits.append(time.perf_counter() - begun)

    async with asyncio.TaskGroup() as tasks:
        for name in OTHERS:
            tasks.create_task(one(name))
    return waits


async def audits(url: str) -> None:
    """Repeat 60 audits until this process is ended. A refused audit is tried again after some seconds.

    A line is printed when an audit has been answered.
    """

    async def one() -> None:
        async with client("token-of-mallory") as http:
            while True:
                if "Busy" in (await post(http, url, "audit_traffic", {})).text:
                    await asyncio.sleep(random.uniform(2, 8))
                else:
                    print("answered", flush=True)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AUDITS):
            tasks.create_task(one())


if __name__ == "__main__":
    asyncio.run(audits(sys.argv[1]))
