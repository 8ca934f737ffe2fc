"""Deletions on the real server: shared sessions, recovery, and what another client does meanwhile."""

import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.client.client import Client

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from tests.deletion.support import Caller

pytestmark = [pytest.mark.anyio, pytest.mark.live]


class Live:
    """The real server, names of this test's own, and a client beside ours."""

    def __init__(self, url: str, rest: ReflexioClient, folder: Path) -> None:
        self.url = url
        self.rest = rest
        self.folder = folder
        self.tag = uuid.uuid4().hex[:10]

    def name(self, text: str) -> str:
        return f"{text}-{self.tag}"

    def client(self, person: Any = None, era: str = "2026-07-28", **env: str) -> Client:
        variables = {"REFLEXIO_URL": self.url, "REFLEXIO_MCP_RECOVERY_DIR": str(self.folder / "copies")}
        variables |= {
            name if name.startswith("REFLEXIO_") else f"REFLEXIO_MCP_{name}": value
            for name, value in env.items()
        }
        server = ReflexioServer(load(variables), client=self.rest)
        return Client(server, mode=era, raise_exceptions=True, elicitation_callback=person)

    async def publish(self, caller: Caller, request_id: str, user: str, session: str) -> None:
        await caller.call(
            "publish_interaction",
            user_id=self.name(user),
            session_id=self.name(session),
            request_id=self.name(request_id),
            interactions=[{"role": "User", "content": "I like short answers."}],
            evaluation_only=True,
        )


@pytest.fixture
async def live(
    reflexio_url: str, live_transport: Callable[[], httpx.AsyncHTTPTransport], tmp_path: Path
) -> AsyncIterator[Live]:
    async with ReflexioClient(reflexio_url, transport=live_transport) as rest:
        yield Live(reflexio_url, rest, tmp_path)


async def test_a_shared_session_loses_only_the_scopes_requests(live: Live) -> None:
    async with live.client(CONFIRM="off") as client:
        await live.publish(Caller(client), "mine", "ann", "shared")
        await live.publish(Caller(client), "theirs", "bob", "shared")
    async with live.client(CONFIRM="off", REFLEXIO_USER_ID=live.name("ann")) as client:
        caller = Caller(client)
        theirs = await caller.call("delete_requests", request_ids=[live.name("theirs")])
        assert theirs["status"] == "not_found"
        facts = await caller.call("delete_session", session_id=live.name("shared"))
    assert facts["outcomes"] == {"deleted": [live.name("mine")]}
    async with live.client(CONFIRM="off") as client:
        facts = await Caller(client).call("delete_session", session_id=live.name("shared"))
    assert facts["outcomes"] == {"deleted": [live.name("theirs")]}


async def test_what_another_client_did_since_the_plan_is_named_and_not_claimed(live: Live) -> None:
    async with live.client(CONFIRM="preview") as client:
        caller = Caller(client)
        await live.publish(caller, "one", "ann", "s")
        await live.publish(caller, "two", "ann", "s")
        wanted = {"session_id": live.name("s")}
        code = (await caller.call("delete_session", **wanted))["confirm"]
        await live.rest.delete_request(live.name("one"))
        await live.publish(caller, "three", "ann", "s")
        facts = await caller.call("delete_session", **wanted, confirm=code)
        assert facts["status"] == "changed"
        assert facts["changed"]["added"] == [live.name("three")]
        assert facts["changed"]["removed"] == [live.name("one")]
        done = await caller.call("delete_session", **wanted, confirm=facts["confirm"])
    assert done["counts"] == {"deleted": 2}


async def test_a_deletion_is_undone_with_the_same_ids(live: Live) -> None:
    async with live.client(CONFIRM="off", RECOVERY_DAYS="1") as client:
        caller = Caller(client)
        await live.publish(caller, "one", "ann", "s")
        before = await caller.call("get_request", request_id=live.name("one"))
        copy_id = (await caller.call("delete_session", session_id=live.name("s")))["copy_id"]
        back = await caller.call("restore_requests", copy_id=copy_id)
        assert back["outcomes"] == {"restored": [live.name("one")]}
        again = await caller.call("restore_requests", copy_id=copy_id)
        assert again["outcomes"] == {"already_there": [live.name("one")]}
        after = await caller.call("get_request", request_id=live.name("one"))
        # The turns are the same, under new ids.
        said = [[{**turn, "interaction_id": 0} for turn in one["interactions"]] for one in (before, after)]
        assert said[0] == said[1]
        assert (await caller.call("delete_session", session_id=live.name("s"), erase=True))["deleted"] == 1
