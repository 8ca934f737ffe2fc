"""Who can be asked over HTTP: a client of 2025 needs a session that a question can travel on, one of 2026 does not."""

import pytest

from reflexio_mcp.settings import load
from tests.deletion.support import Caller, Person, agreeing
from tests.support.serving import connected, serving

pytestmark = pytest.mark.anyio

KEPT = {"REFLEXIO_MCP_SESSIONS": "keep"}
NONE = {"REFLEXIO_MCP_SESSIONS": "none"}


@pytest.mark.parametrize(
    ("sessions", "client", "confirm", "status"),
    [
        (KEPT, "legacy", "auto", "complete"),
        (KEPT, "2026-07-28", "auto", "complete"),
        (KEPT, "sse", "auto", "complete"),
        (NONE, "legacy", "auto", "planned"),
        (NONE, "legacy", "ask", "cannot_ask"),
        (NONE, "2026-07-28", "auto", "complete"),
        (NONE, "2026-07-28", "ask", "complete"),
    ],
)
async def test_a_person_is_asked_where_the_connection_can_carry_the_question(
    sessions: dict[str, str], client: str, confirm: str, status: str
) -> None:
    person: Person = agreeing()
    settings = load({"REFLEXIO_MCP_STORE": ":memory:", "REFLEXIO_MCP_CONFIRM": confirm, **sessions})
    async with (
        serving(settings) as served,
        connected(
            served.url,
            served.headers,
            mode="legacy" if client == "sse" else client,
            sse=client == "sse",
            elicitation_callback=person,
        ) as connection,
    ):
        caller = Caller(connection)
        stored = {
            "user_id": "ada",
            "session_id": "s",
            "request_id": "r1",
            "interactions": [{"content": "words"}],
        }
        await caller.call("publish_interaction", **stored)
        facts = await caller.call("delete_request", request_id="r1")
        assert facts["status"] == status
        assert bool(person.seen) is (status == "complete")
        assert facts["deleted"] == (1 if status == "complete" else 0)
