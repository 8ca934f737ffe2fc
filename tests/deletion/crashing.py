"""A deletion whose process is killed at one step. Run in a process of its own, in a folder with a store.

`STEP` is the number of the step, from 1, before which the process kills itself: steps are the moments before and after
each write to the state and each call that deletes. Without it all steps are counted and nothing is killed.
"""

import os
import signal
import sys
from typing import Any

import anyio
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.deletion import execute

steps = 0


def step() -> None:
    global steps
    steps += 1
    if steps == int(os.environ.get("STEP", "0")):
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


async def main(arguments: dict[str, Any]) -> None:
    for name in ("begin", "keep", "finish"):
        around(State, name)
    around(ReflexioClient, "delete_requests_by_ids")
    execute.BATCH = 2
    async with Client(
        ReflexioServer(load({"REFLEXIO_MCP_STORE": "store.db", "REFLEXIO_MCP_CONFIRM": "off"}))
    ) as client:
        await client.call_tool("delete_session", arguments)
    sys.stdout.write(str(steps))


if __name__ == "__main__":
    anyio.run(main, {"session_id": "s", "erase": sys.argv[1:] == ["erase"]})
