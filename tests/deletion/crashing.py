"""A deletion whose process is killed at one step: before or after a write to the state or a call that deletes."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.deletion import execute

steps = 0
fatal = 0


def step() -> None:
    global steps
    steps += 1
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

    setattr(owner, name, awaited if name.startswith("delete_") else blocking)


async def main(erase: bool) -> None:
    for name in ("begin", "keep", "finish"):
        around(State, name)
    around(ReflexioClient, "delete_requests_by_ids")
    execute.BATCH = 2
    async with Client(
        ReflexioServer(load({"REFLEXIO_MCP_STORE": "store.db", "REFLEXIO_MCP_CONFIRM": "off"}))
    ) as client:
        await client.call_tool("delete_session", {"session_id": "s", "erase": erase})


def delete(folder: Path, data: str, erase: bool, last: int) -> None:
    """Delete what is in a folder, in a process of its own.

    Args:
        data: the folder of keys and copies.
        last: the number of the step, from 1, before which the process kills itself. With 0 it writes how many steps
            there are.
    """
    global fatal
    fatal = last
    os.environ["XDG_DATA_HOME"] = data
    os.chdir(folder)
    anyio.run(main, erase)
    Path("steps").write_text(str(steps), encoding="utf-8")
