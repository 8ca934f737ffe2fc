"""A server made of bytes: it answers what a test tells it to, or breaks as the test tells it to."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Script = Callable[["Received"], "Reaction"]


@dataclass(frozen=True)
class Received:
    """One request as it arrived."""

    line: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Reaction:
    """What the server does with a request: which bytes it sends, in which pieces, and how it ends.

    Args:
        pieces: sent one after the other, `pause` seconds apart.
        end: `keep` the connection, `close` it, `reset` it, or `hang` until the test is over.
    """

    pieces: tuple[bytes, ...] = ()
    pause: float = 0.0
    end: str = "keep"


def response(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """Write a complete HTTP/1.1 response."""
    fields = {"content-length": str(len(body)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body


def answering(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> Script:
    """Make a script that gives every request the same response."""
    return lambda _received: Reaction((response(status, body, headers),))


@dataclass
class WireServer:
    """What `serve` yields: the address, what has arrived so far, and the open connections."""

    url: str
    received: list[Received] = field(default_factory=list[Received])
    connections: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])


@contextlib.asynccontextmanager
async def serve(script: Script) -> AsyncIterator[WireServer]:
    """Serve a script on a free port of 127.0.0.1."""
    over = asyncio.Event()
    server = WireServer("")

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        server.connections.add(task)
        try:
            while (received := await _read(reader)) is not None:
                server.received.append(received)
                reaction = script(received)
                for piece in reaction.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(reaction.pause)
                if reaction.end == "hang":
                    await over.wait()
                if reaction.end == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                if reaction.end != "keep":
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            server.connections.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        over.set()
        listener.close()
        for task in list(server.connections):
            task.cancel()
        await asyncio.gather(*server.connections, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    line, *fields = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (item.partition(":") for item in fields)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(line, headers, body)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
