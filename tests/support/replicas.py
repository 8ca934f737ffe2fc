"""Several server processes over one store, and nginx in front of them as `examples/nginx.conf` has it."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx

from tests.support.serving import WAIT, Served, free_port, serving_process
from tests.support.stdio import SERVER

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "nginx.conf"
HOST = "mcp.example.com"
PORTS = ("8765", "8766", "8767")
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
STATE_KEY = "a-state-key-that-the-replicas-of-these-tests-share"


def clock(seconds: int) -> dict[str, str]:
    """What makes the clock of a process go ahead by so many seconds; nothing where faketime is not installed."""
    if FAKETIME is None or not seconds:
        return {}
    # What counts seconds and not the time of day goes on as it does.
    return {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{seconds:+}", "FAKETIME_DONT_FAKE_MONOTONIC": "1"} | {
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        # Its repair for old C libraries takes the waits of Python's threads for waits by the time of day: they end at
        # once and are begun again, and a process with several threads works ten times as much.
        "FAKETIME_FORCE_MONOTONIC_FIX": "0",
    }


@asynccontextmanager
async def replicas(
    home: Path, number: int, *, clocks: Sequence[int] = (), command: Sequence[str] = (), **variables: str
) -> AsyncIterator[list[Served]]:
    """So many processes over one embedded store, sharing their state keys.

    Args:
        clocks: how many seconds the clock of each goes ahead.
        command: what starts one; forked where it is empty.
    """
    shared = {"REFLEXIO_MCP_STORE": str(home / "store.db"), "REFLEXIO_MCP_STATE_KEYS": STATE_KEY}
    async with AsyncExitStack() as stack:
        started: dict[int, Served] = {}

        async def start(index: int) -> None:
            own = clock(clocks[index]) if clocks else {}
            started[index] = await stack.enter_async_context(
                replica(home, index, port=0, command=command, **(shared | variables | own))
            )

        for index in range(number):
            await start(index)
        yield [started[index] for index in range(number)]


@asynccontextmanager
async def replica(
    home: Path, index: int, *, port: int = 0, command: Sequence[str] = (), **variables: str
) -> AsyncIterator[Served]:
    """One of them."""
    options = {"REFLEXIO_MCP_ALLOWED_HOSTS": HOST, "REFLEXIO_MCP_STORE": str(home / "store.db")}
    options |= {"REFLEXIO_MCP_STATE_KEYS": STATE_KEY} | variables
    if "LD_PRELOAD" in options:  # a library goes into a process at its start
        command = command or SERVER
    async with serving_process(
        home, port=port, name=f"replica-{index}", command=command, **options
    ) as served:
        yield served


@asynccontextmanager
async def behind_nginx(home: Path, behind: list[Served], host: str = HOST) -> AsyncIterator[str]:
    """nginx with the example's configuration, its addresses replaced. Yields its URL.

    Args:
        host: a name at which the servers answer.
    """
    assert NGINX
    port = free_port()
    text = EXAMPLE.read_text(encoding="utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    # Fewer replicas than in the example: the last of them stands in for the rest.
    for index, written in enumerate(PORTS):
        chosen = behind[min(index, len(behind) - 1)].port
        if index < len(behind):
            text = text.replace(f"127.0.0.1:{written}", f"127.0.0.1:{chosen}")
        else:
            text = text.replace(f"        server 127.0.0.1:{written} max_fails=0;\n", "")
    folder = home / "nginx"
    folder.mkdir()
    own = "".join(
        f"    {kind}_temp_path {folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {\n", f"http {{\n    access_log off;\n{own}", 1)
    configuration = folder / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    user = "user root; " if os.name != "nt" and os.getuid() == 0 else ""
    globally = f"daemon off; {user}pid {folder}/nginx.pid; error_log {folder}/error.log;"
    command = [
        NGINX,
        "-p",
        str(folder),
        "-e",
        str(folder / "error.log"),
        "-c",
        str(configuration),
        "-g",
        globally,
    ]
    process = await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(headers={"host": host}, timeout=60) as client:
            with anyio.fail_after(WAIT):
                while True:
                    try:
                        if (await client.get(f"{url}/ready")).status_code == 200:
                            break
                    except httpx.TransportError:
                        assert process.returncode is None, (folder / "error.log").read_text(encoding="utf-8")
                    await anyio.sleep(0.05)
        yield url
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.terminate()
            await process.aclose()
