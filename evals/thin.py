"""The baseline: Reflexio's calls as tools, one to one, answers as they come."""

import json
from pathlib import Path
from typing import Any, Final

import httpx

from reflexio_mcp.embedded_store.app import EmbeddedStore

__all__ = ["TOOLS", "call"]

_FILTER: Final = {
    name: {"type": "string"} for name in ("user_id", "session_id", "request_id", "source")
} | {
    "start_time": {"type": "string", "format": "date-time"},
    "end_time": {"type": "string", "format": "date-time"},
    "top_k": {"type": "integer", "default": 30},
    "offset": {"type": "integer", "default": 0},
}  # fmt: skip

TOOLS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    # name: (method, what it does, its properties)
    "get_requests": ("POST", "List stored requests by session; top_k and offset count sessions.", _FILTER),
    "publish_interaction": (
        "POST",
        "Store interactions.",
        {
            "user_id": {"type": "string"},
            "session_id": {"type": "string"},
            "interaction_data_list": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
                },
            },
        },
    ),
    "delete_request": ("DELETE", "Delete a request.", {"request_id": {"type": "string"}}),
    "delete_session": ("DELETE", "Delete a session.", {"session_id": {"type": "string"}}),
    "delete_requests_by_ids": (
        "DELETE",
        "Delete requests.",
        {"request_ids": {"type": "array", "items": {"type": "string"}}},
    ),
}


def listed() -> list[dict[str, Any]]:
    """The tools as a host is given them."""
    return [
        {"name": name, "description": about, "inputSchema": {"type": "object", "properties": properties}}
        for name, (_, about, properties) in TOOLS.items()
    ]


async def call(path: Path, tool: str, arguments: dict[str, Any]) -> str:
    """Make a call on the store at `path` and return the answer's text."""
    if tool not in TOOLS:
        return f"There is no tool {tool}."
    store = EmbeddedStore(str(path))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store), base_url="http://store", headers={"user-agent": "thin/0"}
    ) as client:
        reply = await client.request(TOOLS[tool][0], f"/api/{tool}", content=json.dumps(arguments).encode(),
                                     headers={"content-type": "application/json"})  # fmt: skip
    await store.aclose()
    return reply.text
