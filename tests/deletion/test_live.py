"""Deletions, erasures and restores on the real server."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.deletion.support import Caller

pytestmark = [pytest.mark.anyio, pytest.mark.live]


@pytest.fixture
async def caller(
    reflexio_url: str, live_transport: Callable[[], httpx.AsyncHTTPTransport], tmp_path: Path
) -> AsyncIterator[Caller]:
    variables = {
        "REFLEXIO_URL": reflexio_url,
        "REFLEXIO_MCP_STORE": str(tmp_path / "store.db"),
        "REFLEXIO_MCP_CONFIRM": "preview",
    }
    async with ReflexioClient(reflexio_url, transport=live_transport()) as rest:
        server = ReflexioServer(load(variables), client=rest)
        async with Client(server, raise_exceptions=True) as client:
            yield Caller(client)


async def publish(caller: Caller, tag: str, request_id: str, user: str) -> None:
    await caller.call(
        "publish_interaction",
        user_id=f"{user}-{tag}",
        session_id=f"s-{tag}",
        request_id=f"{request_id}-{tag}",
        interactions=[
            {"role": "User", "content": f"words of {request_id}"},
            {
                "role": "Assistant",
                "content": "ok",
                "expert_content": "better",
                "shadow_content": "worse",
                "user_action": "click",
                "user_action_description": "on ok",
                "tools_used": [
                    {
                        "tool_name": "pay",
                        "tool_data": {"amount": 1.0, "to": None, "paid": True},
                        "status": "success",
                    }
                ],
                "retrieved_learnings": [{"kind": "profile", "learning_id": "p1"}],
            },
        ],
        source="live",
        evaluation_only=True,
    )


async def test_a_session_is_deleted_restored_and_erased(caller: Caller) -> None:
    tag = uuid.uuid4().hex[:8]
    await publish(caller, tag, "one", "ann")
    await publish(caller, tag, "two", "bob")
    session = {"session_id": f"s-{tag}"}
    plan = await caller.plan("delete_session", **session)
    assert plan["selected"] == {"requests": 2, "interactions": 4}
    receipt = await caller.receipt("delete_session", **session, confirm=plan["confirm"])
    assert (receipt["status"], receipt["deleted"]) == ("complete", plan["selected"])
    done = await caller.restored(receipt["number"])
    assert (done["status"], done["restored"]) == ("complete", plan["selected"])
    again = await caller.restored(receipt["number"])
    assert (again["status"], again["not_restored"][0]["why"]) == ("complete", "already_there")
    erased = await caller.confirmed("delete_session", **session, erase=True)
    assert (erased["status"], erased["way_back"]["state"]) == ("complete", "erased")
    assert "no recovery copy" in await caller.refused("restore_requests", deletion=receipt["number"])


async def test_single_interactions_and_everything_of_a_person_go(caller: Caller) -> None:
    tag = uuid.uuid4().hex[:8]
    await publish(caller, tag, "one", "ann")
    shown = await caller.call("get_request", request_id=f"one-{tag}")
    first = shown["interactions"][0]["interaction_id"]
    receipt = await caller.confirmed("delete_request", request_id=f"one-{tag}", interaction_ids=[first])
    assert receipt["deleted"] == {"interactions": 1}
    everything = {"user_id": f"ann-{tag}", "include_learnings": True, "erase": True}
    receipt = await caller.confirmed("delete_requests", **everything)
    assert receipt["status"] == "complete"
    assert receipt["deleted"]["requests"] == 1
    again = await caller.plan("delete_requests", **everything)
    assert "Nothing of this user can be seen" in again["text"]
