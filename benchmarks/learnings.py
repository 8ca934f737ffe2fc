"""What 1,000 requests fed among a user's 4,000 learnings, against the two list calls that any such look-up has to make.

The raw calls use `httpx` and decode the answers without any checks. Both go to the same HTTP server on loopback, which
encodes rows that it has in memory. A real one has to read them first, which brings the ratio nearer to one.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from figures import Figure

from reflexio_mcp.rest.client import EVERY_ONE, EVERY_STATUS, ReflexioClient
from reflexio_mcp.traffic.learnings.find import find_learned
from reflexio_mcp.traffic.learnings.records import Sources
from reflexio_mcp.traffic.scope import Scope

LEARNINGS = 4_000
REQUESTS = 1_000
ROUNDS = 25
TARGET = 1.5
AGENT = {"User-Agent": "reflexio-mcp-benchmark"}
LISTS: dict[str, tuple[str, dict[str, Any]]] = {
    "/api/get_profiles": ("user_profiles", {"top_k": None}),
    "/api/get_user_playbooks": ("user_playbooks", {"limit": EVERY_ONE}),
}


def measure() -> list[Figure]:
    """The ratio of the two times."""
    with _loopback() as url:
        ours, raw = asyncio.run(_compare(url))
    return [
        Figure(
            f"learnings of {REQUESTS:,} requests among {LEARNINGS:,} over the two list calls",
            ours / raw,
            TARGET,
            "x",
            f"{ours * 1000:.1f} ms / {raw * 1000:.1f} ms, the least disturbed of {ROUNDS} each",
        )
    ]


async def _compare(url: str) -> tuple[float, float]:
    # A request has two turns. Half of them fed a profile and a playbook each.
    turns = frozenset(turn for request in range(REQUESTS) for turn in (16 * request, 16 * request + 1))
    sources = {"ada": Sources(frozenset(map(str, range(REQUESTS))), turns)}
    ours: list[float] = []
    raw: list[float] = []
    async with ReflexioClient(url) as client, httpx.AsyncClient(base_url=url, headers=AGENT) as plain:
        scope = Scope(client)
        for round_number in range(ROUNDS + 2):
            begun = time.perf_counter()
            found = await find_learned(scope, sources)
            between = time.perf_counter()
            await _list(plain)
            ended = time.perf_counter()
            if found.count != REQUESTS:
                raise RuntimeError(f"{found.count} learnings were found")
            if round_number >= 2:  # the first ones connect and build validators
                ours.append(between - begun)
                raw.append(ended - between)
    return min(ours), min(raw)


async def _list(client: httpx.AsyncClient) -> None:
    async def one(route: str, name: str, asked: dict[str, Any]) -> None:
        body = {"user_id": "ada", "status_filter": EVERY_STATUS, **asked}
        reply = (await client.post(route, json=body)).raise_for_status()
        if len(reply.json()[name]) != LEARNINGS // 2:
            raise RuntimeError("the raw calls did not list all")

    await asyncio.gather(*(one(route, name, asked) for route, (name, asked) in LISTS.items()))


@contextmanager
def _loopback() -> Iterator[str]:
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def _serve() -> None:
    """Answer both routes on a free port, which is printed first."""
    import uvicorn

    answers = {route: _answer(name) for route, (name, _) in LISTS.items()}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        body = json.dumps(answers[scope["path"]]).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    # asyncio disables Nagle's algorithm only where the socket names TCP.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, lifespan="off", log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def _answer(name: str) -> dict[str, Any]:
    """One of the two lists, in the shape in which the open-source server gives it."""
    rows: list[dict[str, Any]] = []
    for number in range(LEARNINGS // 2):
        row: dict[str, Any] = {
            "user_id": "ada",
            "content": "Prefers short answers in the morning, and a list where there are several points.",
            # A window of ten turns: the first is one of the set in every fourth row, the others in none.
            "source_interaction_ids": [4 * number, *range(10**6 + number, 10**6 + number + 9)],
            "source_span": "please keep it short in the morning",
            "source": "ide",
            "tags": [],
        }
        if number % 3:  # it leaves out what is null, as the status of a current one
            row["status"] = "superseded"
        if name == "user_playbooks":
            row |= {
                "user_playbook_id": number + 1,
                "request_id": f"request-{number}",
                "created_at": 1_790_000_000 + number,
                "trigger": "When an answer is long",
                "rationale": "The user asked for it",
                "agent_version": "1.0.0",
                "playbook_name": "",
            }
        else:
            row |= {
                "profile_id": f"0f8fad5b-d9cb-469f-a165-{number:012}",
                "generated_from_request_id": f"request-{number}",
                "last_modified_timestamp": 1_790_000_000 + number,
                "expiration_timestamp": 4_102_444_800,
                "profile_time_to_live": "infinity",
            }
        rows.append(row)
    return {"success": True, "msg": "", name: rows}


if __name__ == "__main__":
    _serve()
