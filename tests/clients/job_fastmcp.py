"""The main job with FastMCP's client: `job_fastmcp.py http|sse URL TOKEN`."""

import asyncio
import sys

from fastmcp import Client
from fastmcp.client.transports import SSETransport, StreamableHttpTransport


async def main(way, url, token):
    transport = (SSETransport if way == "sse" else StreamableHttpTransport)(
        url, headers={"Authorization": f"Bearer {token}"}
    )
    async with Client(transport) as client:

        async def call(name, **arguments):
            # FastMCP builds classes from the output schema: each name below is one of its fields.
            return (await client.call_tool(name, arguments)).data

        names = [tool.name for tool in await client.list_tools()]
        assert "publish_interaction" in names, names
        interactions = [{"role": "User", "content": "hello"}]
        stored = await call("publish_interaction", user_id="u", session_id=way, interactions=interactions)
        listed = await call("list_requests", session_id=way, detail="full")
        assert listed.sessions[0].requests[0].request_id == stored.request_id, listed
        assert listed.sessions[0].requests[0].interactions[0].content == "hello", listed
        read = await call("get_request", request_id=stored.request_id)
        assert read.interactions[0].role == "User", read
        plan = await call("delete_session", session_id=way)
        done = await call("delete_session", session_id=way, confirm=plan.plan.confirm)
        assert done.receipt.deleted.requests == 1, done
    sys.stdout.write("job done\n")


asyncio.run(main(*sys.argv[1:]))
