"""The least that carries a tool call to Reflexio over HTTP: the SDK, and the same REST calls as ours.

The first reply is returned.
"""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import httpx
from mcp.server import MCPServer

# A line for each call, formatted for a terminal, would take longer than the call.
server = MCPServer("forwarder", log_level="WARNING")
_clients: list[httpx.AsyncClient] = []


@server.tool()
async def get_request(request_id: str) -> str:
    """Forward `POST /api/get_requests` for one request, then ask at once for what is told beside it."""
    found = await _forward("/api/get_requests", {"request_id": request_id})
    user_id = json.loads(found)["sessions"][0]["requests"][0]["request"]["user_id"]
    await asyncio.gather(
        _forward("/api/learning_status", params={"request_id": request_id}),
        _forward("/api/get_session_outcomes", {"user_id": user_id}),
        _forward("/api/get_user_playbooks", {"user_id": user_id}),
        _forward("/api/get_profiles", {"user_id": user_id}),
    )
    return found


@server.tool()
async def list_requests(session_id: str) -> str:
    """Forward `POST /api/get_requests`."""
    return await _forward("/api/get_requests", {"session_id": session_id})


@server.tool()
async def publish_interaction(user_id: str, session_id: str, interactions: list[dict[str, str]]) -> str:
    """Forward `POST /api/publish_interaction`."""
    body = {"user_id": user_id, "session_id": session_id, "interaction_data_list": interactions}
    return await _forward("/api/publish_interaction", body)


async def _forward(
    route: str, body: dict[str, Any] | None = None, params: dict[str, str] | None = None
) -> str:
    if not _clients:
        _clients.append(httpx.AsyncClient(base_url=os.environ["REFLEXIO_URL"], timeout=60))
    method = "GET" if body is None else "POST"
    reply = (await _clients[0].request(method, route, json=body, params=params)).raise_for_status()
    reply.json()
    return reply.text


if __name__ == "__main__":
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(0)
    )  # uvicorn raises the signal again when it has stopped
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
