"""The page on a real Reflexio server that learns, shown by the official bridge and by `reflexio-mcp explore`."""

import sqlite3
import time
from contextlib import closing
from functools import partial

import anyio.to_thread
import pytest

from tests.explorer.conftest import Play
from tests.learnings.conftest import corner  # noqa: F401 - the fixture
from tests.support.real_learning import Corner
from tests.support.stories import peanut_story

pytestmark = [pytest.mark.anyio, pytest.mark.live, pytest.mark.ci]

DAYS_AGO = "2 days"
SECRET = "aws_access_key_id = AKIAQ3EGUZ7TV4KJ9XLP"


async def told_and_learned(server: Corner) -> None:
    """A session that was learned from, one that waits, and one of another day."""
    server.learn("Secret Lane", profile="Lives at 12 Secret Lane", quote="I live at 12 Secret Lane")
    server.learn("in metric", playbook="Answer in metric units")
    await server.say(
        "a", "I live at 12 Secret Lane. Always answer in metric units.", session="home", source="web_app"
    )
    await server.say("b", f"The deploy fails with {SECRET}", session="home", source="web_app")
    await server.say("c", "Thank you", session="home", source="web_app", force_extraction=True)
    await server.say(
        "old", "An evaluation of another day", session="eval", source="nightly", evaluation_only=True
    )
    await server.say("d", "Something new to say", session="later", source="slack")
    assert len(await server.profiles()) == 1
    (path,) = (server.server.home / ".reflexio" / "data").glob("*.db")
    with closing(sqlite3.connect(path, timeout=30)) as connection, connection:
        # No call stores a request at another time than now.
        connection.execute(
            "UPDATE requests SET created_at = strftime('%Y-%m-%dT%H:%M:%S+00:00', created_at, ?) WHERE request_id = ?",
            (f"-{DAYS_AGO}", server.name("old")),
        )


async def test_a_person_who_wants_neither_fact_gets_neither(corner: Corner, play: Play) -> None:  # noqa: F811
    await peanut_story(corner, merged=True)
    assert "Loves peanuts" in await learned_now(corner)
    ended = {"user_id": corner.name("ada"), "session_id": corner.name("ci-run-7"), "outcome": "success"}
    await corner.ask("session_outcome", ended | {"occurred_at": int(time.time())})
    given = {
        "REFLEXIO_URL": corner.server.url,
        "REFLEXIO_USER_ID": corner.name("ada"),
        "REFLEXIO_MCP_RECOVERY_DAYS": "7",
    }
    await anyio.to_thread.run_sync(partial(play, "forgetsBoth", "", **given))
    assert set(await learned_now(corner)) == {"Has a cat", "Use metric"}
    assert "Cannot eat peanuts" not in {one.content for one in await corner.profiles()}


async def learned_now(server: Corner) -> list[str]:
    kept = [*await server.profiles(), *await server.playbooks()]
    return [one.content for one in kept if one.status is None]


@pytest.mark.parametrize("how", ["doesTheWholeJobOnARealServer", "doesTheWholeJobWithoutAnAssistant"])
async def test_a_person_does_the_whole_job_where_it_learns(corner: Corner, play: Play, how: str) -> None:  # noqa: F811
    await told_and_learned(corner)
    given = {
        "REFLEXIO_URL": corner.server.url,
        "REFLEXIO_USER_ID": corner.name("ada"),
        "REFLEXIO_MCP_RECOVERY_DAYS": "7",
        "REFLEXIO_MCP_CONFIRM_ABOVE": "2",
    }
    await anyio.to_thread.run_sync(partial(play, how, "", **given))
    # Taken back by itself, the profile is gone; the playbook came back with its requests.
    assert await learned_now(corner) == ["Answer in metric units"]
    stored = [await corner.interactions(one) for one in ("a", "b", "c", "d", "old")]
    assert all(stored), "the deletion was undone"
