"""The callers of `benchmarks/shares.py`, each kind in a process of its own.

python -m benchmarks.shares_callers measure PORT SECONDS [PORT OF THE STORE]
python -m benchmarks.shares_callers attack PORT KIND CONNECTIONS
"""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from benchmarks.over_http import META

OTHERS = ("ada", "bob", "carol")
FOURTH = "dan"
READ_IDS = tuple(f"read-{number}" for number in range(20))
"""Requests that the fourth reads by id. Of large data, they have the bytes."""
PAUSE = 0.03
"""Seconds that each of the others waits between two calls."""

ANSWERED = 60.0
PIPELINED, KEPT_UNREAD = 40, 20
SMALL_BUFFER = 2048
LINE = 2**20

Caller = Callable[[int, int], Awaitable[None]]


def token(name: str) -> str:
    return f"token-of-{name}-{'x' * 16}"


def posted(name: str, body: bytes, method: str, tool: str = "") -> bytes:
    """A POST of a caller as it goes over the wire."""
    named = f"Mcp-Name: {tool}\r\n" if tool else ""
    return (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token(name)}\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"Mcp-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{named}Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def message(method: str, params: dict[str, Any]) -> bytes:
    given = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params | {"_meta": META}}
    return json.dumps(given).encode()


def call(tool: str, name: str = FOURTH, **arguments: Any) -> bytes:
    body = message("tools/call", {"name": tool, "arguments": arguments})
    return posted(name, body, "tools/call", tool)


def completion() -> bytes:
    reference = {"type": "ref/resource", "uri": "reflexio://requests/{request_id}"}
    params = {"ref": reference, "argument": {"name": "request_id", "value": ""}}
    return posted(FOURTH, message("completion/complete", params), "completion/complete")


def odd_json() -> list[bytes]:
    """Bodies that take time to parse, or cannot be parsed."""
    keys = b",".join(b'"a%d":1' % number for number in range(24_000))
    bodies = (
        b"[" * 900_000,
        b'{"a":' * 200_000,
        b'{"jsonrpc":"2.0","id":' + b"9" * 900_000 + b',"method":"ping"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{' + keys + b"}}",
    )
    return [posted(FOURTH, body, "tools/call") for body in bodies]


def publishing() -> bytes:
    said = [{"role": "User", "content": "a@b.c " * 150_000}] * 10
    return call("publish_interaction", session_id="published", interactions=said)


FLOODS: dict[str, Callable[[], list[bytes]]] = {
    "sessions": lambda: [call("list_sessions", limit=100)],
    "requests": lambda: [call("list_requests", limit=100, detail="full")],
    "contains": lambda: [call("list_requests", contains="nowhere-at-all")],
    "request": lambda: [call("get_request", request_id=one) for one in READ_IDS],
    "audit": lambda: [call("audit_traffic")],
    "export": lambda: [call("export_data", redact=True), call("export_data", redact=False)],
    "rows": lambda: [call("explorer_data", view="rows", limit=10_000)],
    "rows-by-id": lambda: [call("explorer_data", view="rows", request_ids=READ_IDS)],
    "findings": lambda: [call("explorer_data", view="findings", limit=10_000)],
    "shown": lambda: [call("explorer_data", view="request", request_id=one) for one in READ_IDS],
    "plan": lambda: [
        call("delete_requests", everything=True),
        call("delete_requests", request_ids=READ_IDS),
    ],
    "complete": lambda: [completion()],
    "publish": lambda: [publishing()],
    "odd-json": odd_json,
    "status": lambda: [call("get_status")],
}
"""What is sent again and again, each time after the answer before."""


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Read one answer: its status and its body.

    Raises:
        OSError, EOFError: the connection ended.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"transfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
        body = await reader.readexactly(int(length or 0))
    return head[9:12], body


class Fourth:
    """The caller who takes what they can get."""

    def __init__(self) -> None:
        self.done = Counter[str]()

    async def flood(self, kind: str, port: int, number: int) -> None:
        for sent in itertools.islice(itertools.cycle(FLOODS[kind]()), number, None):
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE)
                while True:
                    writer.write(sent)
                    await writer.drain()
                    status, body = await answer(reader)
                    self.done["answered" if status == b"200" else f"HTTP {status.decode()}"] += 1
                    self.done["refused"] += b'"isError":true' in body
                    self.done["MB"] += len(body)
            except (OSError, EOFError):
                self.done["ended"] += 1
                await asyncio.sleep(PAUSE)

    async def pipeline(self, port: int, _number: int) -> None:
        """Ask for much before the first answer, and leave."""
        while True:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(OSError, TimeoutError):
                writer.write(call("list_requests", limit=1) * PIPELINED)
                async with asyncio.timeout(3):
                    while await reader.read(2**16):
                        self.done["answered"] += 1
            writer.close()

    async def unread(self, port: int, _number: int) -> None:
        """Ask for large answers and never read them."""
        with small_buffer(port) as one:
            sent = call("explorer_data", view="request", request_id=READ_IDS[1])
            await asyncio.get_running_loop().sock_sendall(one, sent * KEPT_UNREAD)
            await asyncio.Event().wait()

    async def unread_stream(self, port: int, _number: int) -> None:
        """Send calls to an SSE session whose stream is not read."""
        loop = asyncio.get_running_loop()
        head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token(FOURTH)}\r\n"
        with small_buffer(port) as stream:
            await loop.sock_sendall(stream, f"GET /sse HTTP/1.1\r\n{head}\r\n".encode())
            said = b""
            while b"session_id=" not in said:
                more = await loop.sock_recv(stream, SMALL_BUFFER)
                if not more:
                    return
                said += more
            session = said.partition(b"session_id=")[2][:32].decode()
            path = (
                f"POST /messages/?session_id={session} HTTP/1.1\r\n{head}Content-Type: application/json\r\n"
            )
            arguments = {"view": "request", "request_id": READ_IDS[1]}
            asked = {"method": "tools/call", "params": {"name": "explorer_data", "arguments": arguments}}
            hello = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "benchmark", "version": "1"},
            }
            first: tuple[dict[str, Any], ...] = (
                {"id": 0, "method": "initialize", "params": hello},
                {"method": "notifications/initialized"},
            )
            for one in itertools.chain(first, ({"id": number} | asked for number in itertools.count(1))):
                body = json.dumps({"jsonrpc": "2.0"} | one).encode()
                with contextlib.suppress(OSError, EOFError):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(f"{path}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                    status, _ = await answer(reader)
                    self.done[f"HTTP {status.decode()}"] += 1
                    writer.close()

    async def attack(self, port: int, kind: str, connections: int) -> None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, over.set)
        streams = {"pipeline": self.pipeline, "unread": self.unread, "unread-stream": self.unread_stream}
        tasks = [
            asyncio.ensure_future(
                streams[kind](port, number) if kind in streams else self.flood(kind, port, number)
            )
            for number in range(connections)
        ]
        await asyncio.sleep(1)
        print("begun", flush=True)
        await over.wait()
        for task in tasks:
            task.cancel()
        self.done["MB"] //= 10**6
        print(", ".join(f"{number} {what}" for what, number in self.done.items() if number), flush=True)


def small_buffer(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


STREAMS = ("pipeline", "unread", "unread-stream")
ATTACKS = (*FLOODS, *STREAMS)


def calls_of(name: str) -> tuple[bytes, ...]:
    """What each of the others calls in turns."""
    return call("list_requests", name, limit=10), call("get_request", name, request_id=f"{name}-r1")


async def measure(
    port: int,
    seconds: float,
    store_port: int = 0,
    calls: Callable[[str], tuple[bytes, ...]] = calls_of,
) -> None:
    """Print how long the others waited, in milliseconds, and how many of their calls failed.

    Args:
        store_port: also ask the store behind the server, to tell its part of what they waited.
    """
    waited, waited_for_store, failed = list[float](), list[float](), 0

    async def other(name: str) -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            for sent in calls(name):
                began = time.perf_counter()
                try:
                    writer.write(sent)
                    async with asyncio.timeout(ANSWERED):
                        status, body = await answer(reader)
                    failed += status != b"200" or b'"isError":true' in body
                except (OSError, EOFError, TimeoutError):
                    failed += 1
                    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE)
                waited.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(PAUSE)

    async def ask_store() -> None:
        body = json.dumps({"user_id": OTHERS[0], "top_k": 10}).encode()
        head = f"POST /api/get_requests HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", store_port, limit=LINE)
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            began = time.perf_counter()
            writer.write(head.encode() + body)
            await answer(reader)
            waited_for_store.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PAUSE)
        writer.close()

    await asyncio.gather(*map(other, OTHERS), *([ask_store()] if store_port else []))
    measured = {
        "calls": len(waited),
        "failed": failed,
        "p50": part(waited, 0.5),
        "p99": part(waited, 0.99),
        "store": part(waited_for_store, 0.99),
    }
    print(json.dumps(measured))


def part(waited: Sequence[float], share: float) -> float:
    ordered = sorted(waited)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


if __name__ == "__main__":
    what, where = sys.argv[1], int(sys.argv[2])
    if what == "measure":
        store_port = int(sys.argv[4]) if len(sys.argv) > 4 else 0
        asyncio.run(measure(where, float(sys.argv[3]), store_port))
    else:
        os.nice(15)
        asyncio.run(Fourth().attack(where, sys.argv[3], int(sys.argv[4])))
