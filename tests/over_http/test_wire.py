"""The sockets that clients are answered on."""

import asyncio
import socket

import anyio
import pytest

from reflexio_mcp.http.app import HttpApp
from reflexio_mcp.http.serving import uvicorn_server
from reflexio_mcp.http.tokens import Tokens
from reflexio_mcp.settings import Settings
from tests.support.serving import TOKEN

pytestmark = pytest.mark.anyio


async def test_no_answer_waits_for_the_acknowledgement_of_its_first_half() -> None:
    server = uvicorn_server(Settings(store=":memory:"), HttpApp(Settings(store=":memory:"), Tokens((TOKEN,))))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(*listener.getsockname()[:2]) as client:
            await client.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b" 200 " in await client.receive()
            (connection,) = server.server_state.connections
            accepted = connection.transport.get_extra_info("socket")
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        server.should_exit = True
        await serving
