"""Another process that publishes to a store: `python -m tests.store.processes FILE PREFIX COUNT`.

It begins when it is told to on stdin, publishes COUNT requests and prints each id once it was answered.
"""

import subprocess
import sys
from pathlib import Path

import anyio

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody

ROOT = Path(__file__).resolve().parents[2]


def start(path: Path, prefix: str, count: int) -> subprocess.Popen[str]:
    """Start a publisher and wait until it is ready to begin."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.store.processes", str(path), prefix, str(count)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    assert line(process) == "ready"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line the process prints; it is empty if the process ended."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def rest(process: subprocess.Popen[str]) -> list[str]:
    """Wait for the end of the process and return the whole lines it still printed."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        printed = process.stdout.read()
    process.wait(timeout=60)
    return [one.rstrip("\n") for one in printed.splitlines(keepends=True) if one.endswith("\n")]


async def _publish(path: str, prefix: str, count: int) -> None:
    print("ready", flush=True)  # noqa: T201
    sys.stdin.readline()
    async with ReflexioClient("http://store", transport=EmbeddedStore(path)) as client:
        for number in range(count):
            request_id = f"{prefix}-{number}"
            interactions = [Interaction(content=f"content of {request_id}")]
            body = PublishBody(
                user_id=prefix, session_id="s", request_id=request_id, interaction_data_list=interactions
            )
            await client.publish(body, minted=False)
            print(request_id, flush=True)  # noqa: T201


if __name__ == "__main__":
    anyio.run(_publish, sys.argv[1], sys.argv[2], int(sys.argv[3]))
