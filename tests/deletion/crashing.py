"""A deletion or a restore whose process is killed at one step: before or after a write to the state or the store."""

import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.must_go import MustGoNotes
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.deletion import execute

steps = 0
fatal = 0
counting = True


def step() -> None:
    global steps
    steps += counting
    if steps == fatal:
        os.kill(os.getpid(), signal.SIGKILL)


def around(owner: Any, name: str) -> None:
    inner = getattr(owner, name)

    def blocking(*arguments: Any, **named: Any) -> Any:
        step()
        done = inner(*arguments, **named)
        step()
        return done

    async def awaited(*arguments: Any, **named: Any) -> Any:
        step()
        done = await inner(*arguments, **named)
        step()
        return done

    setattr(owner, name, awaited if name.startswith(("delete_", "put_")) else blocking)


def server() -> ReflexioServer:
    return ReflexioServer(load({"REFLEXIO_MCP_STORE": "store.db", "REFLEXIO_MCP_CONFIRM": "off"}))


async def main(erase: bool) -> None:
    for name in ("begin", "keep", "finish"):
        around(State, name)
    around(ReflexioClient, "delete_requests_by_ids")
    execute.BATCH = 2
    async with Client(server()) as client:
        await client.call_tool("delete_session", {"session_id": "s", "erase": erase})


async def restoring(number: int, erased: str) -> None:
    """Restore a copy. Another server erases a request right before it is stored again."""
    global counting
    put_back = ReflexioClient.put_back

    async def put_after_erasure(self: ReflexioClient, item: RequestWithInteractions) -> Any:
        global counting
        if item.request.request_id == erased:
            counting = False
            async with Client(server()) as other:
                await other.call_tool("delete_request", {"request_id": erased, "erase": True})
            await anyio.Path("erased").touch()
            counting = True
        return await put_back(self, item)

    ReflexioClient.put_back = put_after_erasure  # type: ignore[method-assign]
    for name in ("begin_restore", "note_taken_out", "finish_restore"):
        around(State, name)
    around(MustGoNotes, "waiting")
    around(ReflexioClient, "put_back")
    around(ReflexioClient, "delete_requests_by_ids")
    async with Client(server()) as client:
        await client.call_tool("restore_requests", {"deletion": number})


def delete(folder: Path, data: str, erase: bool, last: int) -> None:
    """Delete what is in a folder, in a process of its own.

    Args:
        data: the folder of keys and copies.
        last: the number of the step, from 1, before which the process kills itself. With 0 it writes how many steps
            there are.
    """
    _run(folder, data, last, main, erase)


def restore(folder: Path, data: str, number: int, erased: str, last: int) -> None:
    """Restore what is in a folder while a request is erased, in a process of its own, as `delete` does."""
    _run(folder, data, last, restoring, number, erased)


def _run(folder: Path, data: str, last: int, work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    global fatal
    fatal = last
    os.environ["XDG_DATA_HOME"] = data
    os.chdir(folder)
    anyio.run(work, *arguments)
    Path("steps").write_text(str(steps), encoding="utf-8")
