"""While one caller does what it can against a shared server, the others are answered about as fast as before."""

import json
import os
import sys
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import anyio
import anyio.to_process
import httpx
import pytest

from reflexio_mcp.http.bodies import MOST_BYTES, OPENING_BYTES
from tests.support.serving import (
    Served,
    bearer,
    interactions,
    legacy_initialize,
    message_of,
    modern_call,
    post,
    serving_process,
    until,
)
from tests.support.stdio import SERVER

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("REFLEXIO_LOAD") != "1",
        reason="needs a machine that does nothing else: set REFLEXIO_LOAD=1",
    ),
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc"),
]

OTHERS = ("ann", "bob", "eve")
TOKENS = {name: f"the-own-token-of-{name}" for name in (*OTHERS, "mallory")}
CALLS = 100
ROUNDS = 3
"""How often the others measure, each time first alone and then beside the fourth."""

UNDER_WAY = 20
"""How many lines of the log show that the fourth is at work."""

MOST_GROWTH = 300 * 2**20


def memory(served: Served, field: str = "VmRSS") -> int:
    """Bytes that the server's process has in memory; with `VmHWM`, the most that it ever had."""
    assert served.process
    for line in Path(f"/proc/{served.process.pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError


async def p99(served: Served) -> float:
    """What the others wait for at most, all but once in a hundred."""
    waited: list[float] = []

    async def one(name: str) -> None:
        async with httpx.AsyncClient(timeout=60) as http:
            headers, body = modern_call("list_requests", {"limit": 5})
            for _ in range(CALLS):
                began = anyio.current_time()
                reply = await http.post(
                    f"{served.url}/mcp", headers=headers | bearer(TOKENS[name]), json=body
                )
                assert reply.status_code == 200
                assert not message_of(reply)["result"].get("isError")
                waited.append(anyio.current_time() - began)

    async with anyio.create_task_group() as tasks:
        for name in OTHERS:
            tasks.start_soon(one, name)
    return quantiles(waited, n=100)[-1]


class Mallory:
    """The fourth caller, who has a token of their own."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._port = port
        self._headers = bearer(TOKENS["mallory"])

    async def attack(self) -> None:
        """Everything at once, until the process is ended."""
        async with anyio.create_task_group() as tasks:
            for doing in (
                self.open_sessions,
                self.send_many_keys,
                self.send_half_a_body,
                self.publish_over_sse,
                self.make_up_tokens,
            ):
                tasks.start_soon(doing)
            for _ in range(60):
                tasks.start_soon(self.audit)

    async def send(self, content: bytes, headers: dict[str, str]) -> None:
        async with httpx.AsyncClient(timeout=60) as http:
            with suppress(httpx.HTTPError):
                await http.post(f"{self._url}/mcp", headers=headers | self._headers, content=content)

    async def open_sessions(self) -> None:
        headers, body = legacy_initialize()
        for size in (OPENING_BYTES - 1000, 9 * MOST_BYTES):
            body["params"]["capabilities"] = {"experimental": {"x": {"y": "z" * size}}}
            for _ in range(40):
                await self.send(json.dumps(body).encode(), headers)

    async def send_many_keys(self) -> None:
        headers, body = modern_call("list_requests", {})
        for number in (40_000, 100_000, 900_000):
            body["params"]["arguments"] = {f"k{one}": 1 for one in range(number)}
            content = json.dumps(body).encode()
            for _ in range(10):
                await self.send(content, headers)

    async def send_half_a_body(self) -> None:
        headers, _ = modern_call("publish_interaction", {})
        fields = "".join(f"{name}: {value}\r\n" for name, value in (headers | self._headers).items())
        head = f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: {10 * MOST_BYTES}\r\n\r\n"
        async with AsyncExitStack() as stack:
            for _ in range(60):
                stream = await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", self._port))
                with suppress(anyio.BrokenResourceError):
                    await stream.send(head.encode() + b'"publish_interaction' + b"x" * 9 * MOST_BYTES)
            await anyio.sleep_forever()

    async def publish_over_sse(self) -> None:
        """Publish on many streams at once; every message is answered before its call begins."""
        headers, _ = legacy_initialize()
        headers |= self._headers
        given = {"session_id": "s", "interactions": interactions("\N{GRINNING FACE}" + "x" * 9 * MOST_BYTES)}
        call = {"method": "tools/call", "params": {"name": "publish_interaction", "arguments": given}}
        content = json.dumps({"jsonrpc": "2.0", "id": 2, **call}, ensure_ascii=False).encode()

        async def on_a_stream() -> None:
            async with (
                httpx.AsyncClient(timeout=60) as http,
                http.stream("GET", f"{self._url}/sse", headers=headers) as stream,
            ):
                lines = (line async for line in stream.aiter_lines() if line.startswith("data: "))
                address = self._url + (await anext(lines)).removeprefix("data: ")
                await http.post(address, headers=headers, json=legacy_initialize()[1])
                await anext(lines)
                begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
                await http.post(address, headers=headers, json=begun)
                for _ in range(4):
                    with suppress(httpx.HTTPError):
                        await http.post(address, headers=headers, content=content)
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            for _ in range(15):
                tasks.start_soon(on_a_stream)

    async def audit(self) -> None:
        headers, body = modern_call("audit_traffic", {})
        while True:
            await self.send(json.dumps(body).encode(), headers)

    async def make_up_tokens(self) -> None:
        headers, body = modern_call("list_requests", {})
        content = json.dumps(body).encode()
        async with httpx.AsyncClient(timeout=60) as http:
            for number in range(1000):
                made_up = headers | bearer(f"made-up-{number}")
                await http.post(f"{self._url}/mcp", headers=made_up, content=content)


def attacking(port: int) -> None:
    """The fourth caller in a process of its own, which takes little from the server and those who measure."""
    os.nice(10)
    anyio.run(Mallory(port).attack)


async def test_the_others_are_answered_and_memory_stays_bounded(tmp_path: Path) -> None:
    variables: dict[str, Any] = {
        "REFLEXIO_MCP_AUTH_TOKEN": ",".join(f"{name}:{token}" for name, token in TOKENS.items())
    }
    async with serving_process(tmp_path, command=SERVER, **variables) as served:
        for name, token in TOKENS.items():
            for number in range(50 if name == "mallory" else 10):
                given = {
                    "session_id": f"{name}-{number}",
                    "interactions": interactions("What is it? " * 200, "A test."),
                }
                await post(served, "publish_interaction", given, token=token)
        await p99(served)
        rest, quiet, loud = memory(served), list[float](), list[float]()
        for _ in range(ROUNDS):
            quiet.append(await p99(served))
            async with anyio.create_task_group() as attack:
                attack.start_soon(
                    partial(anyio.to_process.run_sync, attacking, cancellable=True), served.port
                )
                before = served.stderr().count("\n")
                await until(lambda: served.stderr().count("\n") > before + UNDER_WAY)  # noqa: B023
                loud.append(await p99(served))
                attack.cancel_scope.cancel()
        grown = memory(served, "VmHWM") - rest
    measured = f"p99 {_rounded(quiet)} s alone, {_rounded(loud)} s beside; {grown / 2**20:.0f} MiB more"
    print(measured)  # noqa: T201
    assert median(loud) <= 2 * median(quiet), measured
    assert grown <= MOST_GROWTH, measured


def _rounded(seconds: list[float]) -> list[float]:
    return [round(one, 3) for one in seconds]
