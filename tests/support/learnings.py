"""Puts learnings into a real Reflexio server, which learns nothing by itself when no model is reachable.

Its routes `add_user_profile` and `add_user_playbook` store them without a model. 60 calls a minute each.
"""

import time

import httpx

AGENT = {"user-agent": "reflexio-mcp-tests/0"}


async def add_profile(
    base_url: str, *, profile_id: str, user_id: str, request_id: str, status: str | None = None
) -> None:
    """Store a profile as if it had been learned from a request. `status` is `None` for a current one."""
    profile = {
        "profile_id": profile_id,
        "user_id": user_id,
        "content": f"learned from {request_id}",
        "last_modified_timestamp": int(time.time()),
        "generated_from_request_id": request_id,
        "status": status,
    }
    await _post(f"{base_url}/api/add_user_profile", {"user_profiles": [profile]})


async def add_playbook(base_url: str, *, user_id: str, request_id: str, status: str | None = None) -> None:
    """Store a user playbook as if it had been learned from a request. The server numbers it."""
    playbook = {
        "user_id": user_id,
        "agent_version": "agent-v0",
        "request_id": request_id,
        "content": f"learned from {request_id}",
        "status": status,
    }
    await _post(f"{base_url}/api/add_user_playbook", {"user_playbooks": [playbook]})


async def _post(url: str, body: dict[str, object]) -> None:
    async with httpx.AsyncClient(headers=AGENT, timeout=30) as http:
        reply = await http.post(url, json=body)
    assert reply.is_success, reply.text
    assert reply.json()["success"], reply.text
