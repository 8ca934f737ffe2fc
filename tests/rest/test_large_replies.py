"""A reply takes a bounded amount of memory, however small it is on the wire."""

import gzip
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.rest import api_limits
from reflexio_mcp.rest.errors import ConnectionLost, NotTheApi, ReplyTooLarge, explain
from reflexio_mcp.rest.models import RequestQuery
from tests.rest.helpers import Handler, body, client_over
from tests.support.stdio import SERVER, environment, open_session
from tests.support.wire import Reaction, response, serve

pytestmark = pytest.mark.anyio

MIB = 2**20
LARGEST_MIB = 700
"""What a process may take at most: itself, the largest reply it reads, and that reply as Python objects, whose texts
take four bytes a character when one character of them needs that."""
KEPT_MIB = 40
"""What a process may have more than before, once it has met hostile replies: what it imported for them."""

CLIENT = """
import resource, sys, anyio
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ReflexioError, explain
from reflexio_mcp.rest.models import RequestQuery

async def main():
    async with ReflexioClient(sys.argv[1], timeout=60) as client:
        try:
            await client.get_requests(RequestQuery())
        except ReflexioError as error:
            print(explain(error, "read"))
    print(peak_kib() // 1024)

def peak_kib():
    # Linux counts the process it was forked from into ru_maxrss, which may be a large test run.
    if sys.platform == "linux":
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

anyio.run(main)
"""


def packed(byte: bytes, count: int) -> bytes:
    """So many bytes as gzip, made without ever having them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    block = byte * MIB
    parts = [packer.compress(block) for _ in range(count // MIB)]
    return b"".join([*parts, packer.flush()])


def gzipped(content: bytes) -> bytes:
    return response(200, content, {"content-encoding": "gzip"})


def endless() -> bytes:
    head = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + (b"100000\r\n" + b" " * MIB + b"\r\n") * 80


HOSTILE: dict[str, Callable[[], bytes]] = {
    "400 kB that stand for 400 MB": lambda: gzipped(packed(b" ", 400 * MIB)),
    "a fault that stands for 400 MB": lambda: response(
        500, packed(b"x", 400 * MIB), {"content-encoding": "gzip"}
    ),
    "more than is read": endless,
    "millions of lists": lambda: gzipped(gzip.compress(b"[" + b"[]," * (20 * MIB) + b"[]]")),
    "millions of objects": lambda: gzipped(gzip.compress(b"[" + b'{"a":1},' * (7 * MIB) + b"1]")),
}


def chunked(*pieces: bytes) -> bytes:
    head = b"HTTP/1.1 200 X\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


WRONG: dict[str, Callable[[], bytes]] = HOSTILE | {
    "gzip in gzip": lambda: response(
        200, gzip.compress(packed(b" ", 400 * MIB)), {"content-encoding": "gzip, gzip"}
    ),
    "what follows a short gzip": lambda: chunked(gzip.compress(b"{}"), *[b" " * MIB] * 100),
    "gzip that stands for nothing": lambda: gzipped(
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\0\0\0\xff\xff" * (16 * MIB)
    ),
    "a long text where a list belongs": lambda: gzipped(
        gzip.compress(b'{"success": true, "sessions": "' + b"a" * (60 * MIB) + b'"}', 1)
    ),
    "a long text in an item that is none": lambda: gzipped(
        gzip.compress(
            b'{"success": true, "sessions": [{"session_id": "' + b"a" * (60 * MIB) + b'", "requests": 5}]}', 1
        )
    ),
    "a long reason": lambda: gzipped(
        gzip.compress(b'{"success": false, "msg": "\xf0\x9f\x98\x80' + b"a" * (60 * MIB) + b'"}', 1)
    ),
    "an endless head": lambda: b"HTTP/1.1 200 X\r\nx: " + b"y" * (8 * MIB),
}


def memory_mib(pid: int, which: str) -> int:
    with Path(f"/proc/{pid}/status").open(encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{which}:")) // 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_a_process_keeps_nothing_of_hostile_replies(tmp_path: Path) -> None:
    """Over stdio, as a client starts it: every kind of reply twice, and memory is what it was."""
    replies = {name: await anyio.to_thread.run_sync(make) for name, make in WRONG.items()}
    reply = b""
    async with (
        serve(lambda _received: Reaction((reply,), end="close")) as server,
        open_session(
            "2025-06-18", env=environment(tmp_path, REFLEXIO_URL=server.url), command=SERVER
        ) as session,
    ):
        reply = response(500, b"")
        await session.call("list_requests")
        before = memory_mib(session.process.pid, "VmRSS")
        for name, hostile in replies.items():
            reply = hostile
            for _ in range(2):
                result = await session.call("list_requests")
                assert result["isError"], name
                assert len(json.dumps(result)) < 2000, name
            kept = memory_mib(session.process.pid, "VmRSS") - before
            assert kept < KEPT_MIB, f"{name}: {kept} MiB more"
        peak = memory_mib(session.process.pid, "VmHWM")
    assert peak < LARGEST_MIB


@pytest.mark.skipif(sys.platform == "win32", reason="Windows measures memory otherwise")
@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_reply_ends_with_a_sentence_and_little_memory(name: str) -> None:
    reply = await anyio.to_thread.run_sync(HOSTILE[name])
    async with serve(lambda _received: Reaction((reply,), end="close")) as server:
        with anyio.fail_after(60):
            done = await anyio.run_process(
                [sys.executable, "-c", CLIENT, server.url], cwd=Path(__file__).parents[2]
            )
    said, peak = done.stdout.decode().splitlines()
    assert said.startswith("Reflexio's answer is too large to read (")
    assert said.endswith("Ask for less, with a narrower filter or a smaller limit.")
    assert int(peak) < LARGEST_MIB


def replying(content: bytes, encoding: str | None = None) -> Handler:
    headers = {"content-encoding": encoding} if encoding else {}

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(content))

    return answer


def page(words: str) -> bytes:
    request = {"request": {"request_id": words}, "interactions": []}
    return json.dumps({"success": True, "sessions": [{"session_id": "s", "requests": [request]}]}).encode()


async def first_id(handler: Handler) -> str:
    async with client_over(handler) as client:
        found = await client.get_requests(RequestQuery())
    return found.sessions[0].requests[0].request.request_id


async def test_gzip_is_asked_for_and_read() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return replying(gzip.compress(page("one")), "gzip")(request)

    assert await first_id(answer) == "one"
    assert asked == ["gzip"]


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
async def test_an_encoding_that_was_not_asked_for_is_not_tried(encoding: str) -> None:
    with pytest.raises(NotTheApi, match="encoded in a way that was not asked for"):
        await first_id(replying(page("one"), encoding))


async def test_gzip_that_is_cut_short_is_a_lost_reply() -> None:
    with pytest.raises(ConnectionLost):
        await first_id(replying(gzip.compress(page("one"))[:-9], "gzip"))


async def test_a_reply_of_the_largest_size_is_read_and_one_byte_more_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = page("one")
    for encode in (lambda content: content, gzip.compress):
        encoding = "gzip" if encode is gzip.compress else None
        monkeypatch.setattr(api_limits, "MAX_REPLY_BYTES", len(content))
        assert await first_id(replying(encode(content), encoding)) == "one"
        monkeypatch.setattr(api_limits, "MAX_REPLY_BYTES", len(content) - 1)
        with pytest.raises(ReplyTooLarge):
            await first_id(replying(encode(content), encoding))


async def test_a_write_whose_reply_is_too_large_may_have_taken_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(api_limits, "MAX_REPLY_BYTES", 10)
    async with client_over(replying(page("one"))) as client:
        with pytest.raises(ReplyTooLarge) as caught:
            await client.publish(body(), minted=True)
    assert "Whether it took effect is not known" in explain(caught.value)
