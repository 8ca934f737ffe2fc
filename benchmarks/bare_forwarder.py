"""The least that carries a tool call to Reflexio: the SDK, and one REST call by `httpx` whose reply is returned."""

import os
from typing import Any

import httpx
from mcp.server import MCPServer

server = MCPServer("forwarder")
_clients: list[httpx.AsyncClient] = []


@server.tool()
async def list_requests(session_id: str) -> str:
    """Forward `POST /api/get_requests`."""
    return await _forward("/api/get_requests", {"session_id": session_id})


@server.tool()
async def publish_interaction(
    user_id: str, session_id: str, source: str, interactions: list[dict[str, str]]
) -> str:
    """Forward `POST /api/publish_interaction`."""
    about = {"user_id": user_id, "session_id": session_id, "source": source}
    return await _forward("/api/publish_interaction", {**about, "interaction_data_list": interactions})


async def _forward(route: str, body: dict[str, Any]) -> str:
    if not _clients:
        _clients.append(httpx.AsyncClient(base_url=os.environ["REFLEXIO_URL"]))
    reply = (await _clients[0].post(route, json=body)).raise_for_status()
    reply.json()
    return reply.text


if __name__ == "__main__":
    server.run()
