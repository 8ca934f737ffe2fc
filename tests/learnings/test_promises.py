"""A follow-up that somebody may have been promised is on record, whatever ends the server and at which point."""

import json
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deletion.support import World
from tests.deletion.test_large import served
from tests.learnings import ending
from tests.learnings.test_follow_ups import BUSY
from tests.support.stdio import MODERN, ServerEndedError, environment, open_session

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals for another process"),
]


@dataclass
class Left:
    """What a server left behind.

    Args:
        receipt: what it answered, if it did.
        points: how many it passed.
        lines: its audit log.
        noted: for each follow-up in the state file, when it last gave a sign of life.
    """

    receipt: dict[str, Any]
    points: int
    lines: list[dict[str, Any]]
    noted: list[float]

    def entry(self, naming: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two lines of the entry whose first one has such a fact; empty where there is none."""
        begin = next((one for one in self.lines if naming in one), {})
        same = [one for one in self.lines if one["correlation_id"] == begin.get("correlation_id")]
        return begin, next((one for one in same if one["event"] == "end"), {})


@pytest.fixture
async def served_world(tmp_path: Path) -> AsyncIterator[tuple[World, str]]:
    world = World(":memory:", tmp_path)
    await world.put("other", session="t")
    async with served(world) as url:
        yield world, url
    await world.close()


async def left_by(world: World, url: str, at: int, number: signal.Signals) -> Left:
    """Delete a request and what was learned from it while Reflexio goes on learning, with a server that ends."""
    home = world.folder / f"{number}-{at}"
    home.mkdir()
    request = f"r{number}-{at}"
    await world.put(request)
    await world.learn(f"of-{request}", request)
    world.backend.learning = [BUSY] * 1000
    log = home / "audit.jsonl"
    env = environment(
        home,
        REFLEXIO_URL=url,
        REFLEXIO_MCP_CONFIRM="off",
        REFLEXIO_MCP_AUDIT_LOG=str(log),
        ENDS_AT=str(at),
        ENDS_WITH=str(int(number)),
    )
    receipt: dict[str, Any] = {}
    async with open_session(MODERN, env=env, runs=ending.run) as session:
        try:
            call = {"request_id": request, "include_learnings": True}
            receipt = (await session.call("delete_request", call)).get("structuredContent", {})
            await session.close_input()
        except ServerEndedError:
            pass
        await session.exit_code()
    [*states] = home.rglob("state.db")
    noted: list[float] = []
    for state in states:
        with closing(sqlite3.connect(state)) as database:
            noted = [alive for (alive,) in database.execute("SELECT alive FROM jobs WHERE follows")]
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    return Left(
        receipt,
        len((home / "points").read_text()) if (home / "points").exists() else 0,
        [json.loads(line) for line in text.splitlines()],
        noted,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_it_is_on_record_at_each_point(served_world: tuple[World, str], number: signal.Signals) -> None:
    world, url = served_world
    whole = await left_by(world, url, 0, number)
    assert whole.receipt.get("follow_up"), whole
    seen = 0
    for at in range(1, whole.points + 1):
        left = await left_by(world, url, at, number)
        _, ended = left.entry("request_ids")
        follow_up, followed = left.entry("follow_up_of")
        assert bool(follow_up) == bool(ended), (at, left)
        if left.receipt.get("follow_up"):
            assert ended, (at, left)
        if ended:
            seen += 1
            assert left.noted, (at, left)
        if number == signal.SIGTERM:
            # A stop leaves no entry open, and what was not finished is known at once.
            assert followed.get("outcome", "interrupted") == "interrupted", (at, left)
            assert bool(followed) == bool(follow_up), (at, left)
            assert not any(left.noted), (at, left)
    assert seen
