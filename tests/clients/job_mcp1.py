"""The main job with the official Python client 1.x: `job_mcp1.py http|sse URL TOKEN`."""

import asyncio
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client


@asynccontextmanager
async def connect(way, url, token):
    headers = {"Authorization": f"Bearer {token}"}
    if way == "sse":
        async with sse_client(url, headers=headers) as (read, write):
            yield read, write
    else:
        async with streamablehttp_client(url, headers=headers) as (read, write, _):
            yield read, write


async def main(way, url, token):
    async with connect(way, url, token) as (read, write), ClientSession(read, write) as session:
        await session.initialize()

        async def call(name, **arguments):
            result = await session.call_tool(name, arguments)
            assert not result.isError, result
            return result.structuredContent

        names = [tool.name for tool in (await session.list_tools()).tools]
        assert "publish_interaction" in names, names
        interactions = [{"role": "User", "content": "hello"}]
        stored = await call("publish_interaction", user_id="u", session_id=way, interactions=interactions)
        listed = await call("list_requests", session_id=way)
        assert stored["request_id"] in str(listed), listed
        assert "hello" in str(await call("get_request", request_id=stored["request_id"]))
        plan = await call("delete_session", session_id=way)
        done = await call("delete_session", session_id=way, confirm=plan["plan"]["confirm"])
        assert done["receipt"]["deleted"]["requests"] == 1, done
    sys.stdout.write("job done\n")


asyncio.run(main(*sys.argv[1:]))
