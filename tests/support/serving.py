"""The shared server, in this process on a real socket or as a process of its own, and clients for it."""

import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from reflexio_mcp.cli import main
from reflexio_mcp.http.access import Tokens
from reflexio_mcp.http.app import HttpApp
from reflexio_mcp.http.serving import uvicorn_server
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.settings import Settings
from tests.support.forked import ForkedProcess, open_forked
from tests.support.stdio import SERVER, environment

TOKEN = "a-token-of-these-tests"
WAIT = 60.0
JSON = "application/json"
BOTH = f"{JSON}, text/event-stream"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


@dataclass
class Served:
    """A server that answers at `url`."""

    port: int
    app: HttpApp | None = None
    process: anyio.abc.Process | ForkedProcess | None = None
    log: Path | None = None
    headers: dict[str, str] = field(default_factory=lambda: {"authorization": f"Bearer {TOKEN}"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stderr(self) -> str:
        assert self.log
        return self.log.read_text(encoding="utf-8", errors="replace")

    async def terminate(self, number: signal.Signals = signal.SIGTERM, *, timeout: float = WAIT) -> int:
        """Send a signal and return the exit code."""
        assert self.process
        self.process.send_signal(number)
        with anyio.fail_after(timeout):
            return await self.process.wait()


@asynccontextmanager
async def serving(
    settings: Settings, *, client: ReflexioClient | None = None, tokens: Sequence[str] = (TOKEN,)
) -> AsyncIterator[Served]:
    """The server in this process, with uvicorn and a socket as in a process of its own."""
    settings = replace(settings, store=settings.store or ":memory:") if settings.embedded else settings
    app = HttpApp(settings, Tokens(tokens), client=client)
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn_server(app)
    over = anyio.Event()

    async def run() -> None:
        await server.serve([listener])
        over.set()

    with listener:
        async with app.running(), anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            with anyio.fail_after(WAIT):
                while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                    await anyio.sleep(0.01)
            try:
                yield Served(listener.getsockname()[1], app)
            finally:
                with anyio.CancelScope(shield=True), anyio.fail_after(WAIT):
                    await app.drain(0.1)
                    server.should_exit = True
                    await over.wait()


async def until(condition: Callable[[], Any], seconds: float = WAIT) -> None:
    """Wait for what happens on the other side of a socket."""
    with anyio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - nothing tells
            await anyio.sleep(0.01)


def events(caplog: pytest.LogCaptureFixture, kind: str) -> list[dict[str, Any]]:
    """The structured lines of one kind in the log."""
    lines = [json.loads(one.getMessage()) for one in caplog.records if one.name == "reflexio_mcp.events"]
    return [line for line in lines if line["event"] == kind]


def bearer(token: str) -> dict[str, str]:
    """The header that a token is sent in."""
    return {"authorization": f"Bearer {token}"}


async def post(
    served: Served,
    tool: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    token: str = TOKEN,
    **headers: str,
) -> httpx.Response:
    """Call a tool at 2026-07-28."""
    given, body = modern_call(tool, arguments or {})
    async with httpx.AsyncClient(timeout=WAIT) as client:
        return await client.post(f"{served.url}/mcp", headers=given | bearer(token) | headers, json=body)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def serving_process(
    home: Path,
    *arguments: str,
    port: int = 0,
    name: str = "server",
    command: Sequence[str] = (),
    **variables: str,
) -> AsyncIterator[Served]:
    """The server as a process; killed at the end if it is still there.

    Args:
        home: its folder.
        arguments: of `serve`.
        port: where it listens; a free one by default.
        name: of its log.
        command: what to start, such as `SERVER`; without it, the process is forked where the imports are done.
        variables: of its environment.
    """
    home.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - a test's own folder
    port = port or free_port()
    env = (
        environment(home, REFLEXIO_MCP_AUTH_TOKEN=TOKEN, REFLEXIO_MCP_STORE=str(home / "store.db"))
        | variables
    )
    env = {key: value for key, value in env.items() if value}
    log = home / f"{name}-{port}.log"
    words = ["serve", "--transport", "http", "--port", str(port), *arguments]
    with log.open("ab") as stderr:
        if command or sys.platform == "win32":
            process = await anyio.open_process(
                [*(command or SERVER), *words], stdin=subprocess.DEVNULL, stderr=stderr, env=env, cwd=home
            )
        else:
            process = open_forked(functools.partial(main, words), env, home, stderr=stderr.fileno())
    served = Served(port, process=process, log=log)
    try:
        await until_healthy(served)
        yield served
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def until_healthy(served: Served) -> None:
    """Wait until a started process answers."""
    assert served.process
    async with httpx.AsyncClient(timeout=60) as client:
        with anyio.fail_after(WAIT):
            while True:
                try:
                    if (await client.get(f"{served.url}/health")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                if served.process.returncode is not None:
                    raise AssertionError(f"the server ended at once:\n{served.stderr()}")
                await anyio.sleep(0.05)


@asynccontextmanager
async def connected(
    url: str,
    headers: Mapping[str, str],
    *,
    mode: str = "auto",
    sse: bool = False,
    **options: Any,
) -> AsyncIterator[Client]:
    """The SDK's client, of either era, over Streamable HTTP or HTTP+SSE."""
    async with AsyncExitStack() as stack:
        if sse:
            transport: Any = sse_client(f"{url}/sse", headers=dict(headers))
        else:
            http = await stack.enter_async_context(
                httpx2.AsyncClient(headers=dict(headers), timeout=httpx2.Timeout(WAIT, read=WAIT))
            )
            transport = streamable_http_client(f"{url}/mcp", http_client=http)
        client = Client(transport, mode="legacy" if sse else mode, **options)
        yield await stack.enter_async_context(client)


def interactions(*texts: str) -> list[dict[str, Any]]:
    """Interactions of a publish."""
    return [{"role": "User", "content": text} for text in texts]


def modern_call(
    name: str, arguments: Mapping[str, Any], *, request_id: int = 1
) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of a call at 2026-07-28, as one POST."""
    params = {"name": name, "arguments": dict(arguments)}
    return modern_request("tools/call", params, name=name, request_id=request_id)


def modern_request(
    method: str, params: Mapping[str, Any], *, name: str = "", request_id: int = 1
) -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of any request at 2026-07-28, as one POST. `name` is what it asks for, where that has one."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    headers = {
        "content-type": JSON,
        "accept": BOTH,
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
    }
    if name:
        headers["mcp-name"] = name
    body = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": {**params, "_meta": meta}}
    return headers, body


def message_of(reply: httpx.Response) -> dict[str, Any]:
    """What a reply to a POST says, as JSON or as the last event of a stream."""
    if not reply.headers["content-type"].startswith("text/event-stream"):
        return reply.json()
    events = [line for line in reply.text.split("\n") if line.startswith("data: ")]
    return json.loads(events[-1].removeprefix("data: "))


def legacy_initialize() -> tuple[dict[str, str], dict[str, Any]]:
    """Headers and body of the first request at 2025-11-25."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    return {"content-type": JSON, "accept": BOTH}, body


def descriptors() -> int:
    """How many files this process may open."""
    if os.name == "nt":
        return 512
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
