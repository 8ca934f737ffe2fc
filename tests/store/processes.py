"""Other processes on a store, for tests. Run as `python -m tests.store.processes ROLE FILE ...`.

* `publish FILE PREFIX COUNT`: opens the store when told to on stdin, publishes COUNT requests and prints each id
  once it was answered.
* `crowd FILE PREFIX CLIENTS`: the same without end, with so many publishes at once.
* `hold FILE`: reads from the store, keeps that one moment of it open, and prints `holding`, until stdin ends.
* `idle FILE`: opens the store, lets go and prints `idle`, until stdin ends.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import anyio
import httpx

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import Database

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start one of the roles; what it prints is in `stdout`, line by line."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.processes", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )


def line(process: subprocess.Popen[str]) -> str:
    """The next line the process prints; empty when it ended."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def finish(process: subprocess.Popen[str]) -> list[str]:
    """Close its stdin, wait for its end, and return the lines it still printed."""
    return [line.rstrip("\n") for line in _ended(process)]


def kill(process: subprocess.Popen[str]) -> list[str]:
    """End the process as `kill -9` does, and return the whole lines it still printed."""
    process.kill()
    return _ended(process)


def _ended(process: subprocess.Popen[str]) -> list[str]:
    # Not `communicate`: it would miss what `line` has read ahead.
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        process.stdin.close()
        rest = process.stdout.read()
    process.wait(timeout=60)
    return rest.splitlines(keepends=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _publish(path: str, prefix: str, numbers: Iterable[int], clients: int = 1) -> None:
    _say("ready")
    sys.stdin.readline()
    store = EmbeddedStore(path)
    left = iter(numbers)

    async def run(client: httpx.AsyncClient) -> None:
        for number in left:
            request_id = f"{prefix}-{number}"
            reply = await client.post(
                "/api/publish_interaction",
                json={
                    "user_id": prefix,
                    "session_id": f"session-{number % 7}",
                    "request_id": request_id,
                    "interaction_data_list": [{"content": f"content of {request_id}"}],
                },
            )
            assert reply.json()["success"], reply.text
            _say(request_id)

    async with (
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=store),
            base_url="http://store",
            headers={"user-agent": "reflexio-mcp-tests/0"},
        ) as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(clients):
            group.start_soon(run, client)
    await store.aclose()


def main(role: str, path: str, *rest: str) -> None:
    if role == "publish":
        prefix, count = rest
        anyio.run(_publish, path, prefix, range(int(count)))
        return
    if role == "crowd":
        prefix, clients = rest
        anyio.run(_publish, path, prefix, itertools.count(), int(clients))
        return
    database = Database(path)
    if role == "hold":
        with database.reading() as connection:
            connection.execute("SELECT count(*) FROM requests").fetchone()
            _say("holding")
            sys.stdin.read()
    else:
        with database.reading():
            pass
        _say("idle")
        sys.stdin.read()
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
