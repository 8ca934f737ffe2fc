"""The sockets that clients are answered on."""

import asyncio
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx
import pytest

from reflexio_mcp.http.app import HttpApp
from reflexio_mcp.http.bearer_tokens import Tokens
from reflexio_mcp.http.connection_limits import MOST_HELD_BYTES, GatheredWrites
from reflexio_mcp.http.serving import _listen, uvicorn_server
from reflexio_mcp.settings import Settings
from tests.support.serving import TOKEN, modern_call, serving_process

pytestmark = pytest.mark.anyio


async def test_no_answer_waits_for_the_acknowledgement_of_its_first_half() -> None:
    settings = Settings(store=":memory:", host="127.0.0.1", port=0)
    server = uvicorn_server(settings, HttpApp(settings, Tokens((TOKEN,))))
    listener = _listen(settings)
    serving = asyncio.create_task(server.serve([listener]))
    with listener, anyio.fail_after(60):
        async with await anyio.connect_tcp(*listener.getsockname()[:2]) as client:
            await client.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b" 200 " in await client.receive()
            (connection,) = server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        server.should_exit = True
        await serving


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
async def test_few_descriptors_leave_some_for_the_work_and_the_log_quiet(tmp_path: Path) -> None:
    import resource

    descriptors = 200
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < descriptors:
        pytest.skip("fewer files than that are allowed here already")
    start = (
        "import resource, runpy, sys; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({descriptors}, {descriptors})); "
        "sys.argv[0] = 'reflexio_mcp'; runpy.run_module('reflexio_mcp', run_name='__main__')"
    )
    async with (
        serving_process(tmp_path, command=(sys.executable, "-c", start)) as served,
        AsyncExitStack() as stack,
    ):
        for _ in range(260):
            await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", served.port))
        await stack.aclose()
        headers, body = modern_call("list_requests", {})
        async with httpx.AsyncClient(timeout=60) as client:
            reply = await client.post(f"{served.url}/mcp", headers=headers | served.headers, json=body)
        assert not reply.json()["result"].get("isError")
        assert await served.terminate() == 0
        assert "Traceback" not in served.stderr()
        assert " ERROR " not in served.stderr()


class Written:
    """The transport of a connection, as far as writing goes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.pieces.append(b"closed")


async def test_the_head_and_the_body_of_an_answer_are_sent_in_one_piece() -> None:
    inner = Written()
    transport = GatheredWrites(inner, asyncio.get_running_loop())
    for piece in (b"head", b"body", b""):
        transport.write(piece)
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert inner.pieces == [b"headbody", b"next"]


async def test_what_is_held_goes_out_before_the_connection_is_closed() -> None:
    inner = Written()
    transport = GatheredWrites(inner, asyncio.get_running_loop())
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert inner.pieces == [b"last words", b"closed"]


async def test_a_long_answer_is_not_held_back_so_that_a_client_that_does_not_read_is_noticed() -> None:
    inner = Written()
    transport = GatheredWrites(inner, asyncio.get_running_loop())
    transport.write(b"head")
    transport.write(b"x" * MOST_HELD_BYTES)
    assert [len(piece) for piece in inner.pieces] == [4 + MOST_HELD_BYTES]
