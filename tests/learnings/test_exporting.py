"""An export of a person from the real server that learns is what its API returns, and goes into an embedded store.

`REFLEXIO_EXPORT_REQUESTS=3000 REFLEXIO_EXPORT_LEARNINGS=40` makes it as large as the largest that was measured.
"""

import json
import os
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.cli import main
from reflexio_mcp.rest.client import EVERY_STATUS, ReflexioClient
from reflexio_mcp.rest.models import Interaction, ToolUse, UserProfile
from reflexio_mcp.traffic.tasks import for_each
from tests.support.real_learning import Corner

pytestmark = [pytest.mark.anyio, pytest.mark.live]

REQUESTS = int(os.environ.get("REFLEXIO_EXPORT_REQUESTS", "40"))
LEARNINGS = int(os.environ.get("REFLEXIO_EXPORT_LEARNINGS", "6"))
LEARNED = 2
"""Requests that are really learned from. Each gives a profile and a playbook; the other learnings are added."""


def as_text(rows: Iterable[Any]) -> list[str]:
    """Equal texts are equal to the last digit."""
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def lines(path: Path, name: str) -> list[Any]:
    with zipfile.ZipFile(path) as archive:
        return [json.loads(line) for line in archive.read(f"{name}.jsonl").splitlines()]


async def returned(corner: Corner, route: str, rows: str, **body: Any) -> list[Any]:
    return (await corner.ask(route, {"user_id": corner.name("ada"), **body}))[rows]


async def test_an_export_is_what_the_api_returns_and_goes_into_an_embedded_store(
    corner: Corner, live_transport: Callable[[], httpx.AsyncHTTPTransport], tmp_path: Path
) -> None:
    for number in range(LEARNED):
        said = f"I like the {('rye', 'oat')[number]} bread"
        corner.learn(said.lower(), profile=f"{said}.", quote=said, playbook=f"Offer {number}")
        await corner.say(f"learned{number}", said, session=f"s{number}", force_extraction=True)
    interactions = await corner.interactions("learned0")
    added = [
        UserProfile(
            profile_id=corner.name(f"p{number}"),
            user_id=corner.name("ada"),
            content=f"Profile {number}",
            generated_from_request_id=corner.name("learned0"),
            source_interaction_ids=interactions,
            last_modified_timestamp=int(time.time()),
        )
        for number in range(LEARNINGS - 2 * LEARNED)
    ]
    await corner.rest.add_profiles(added)
    tool = ToolUse(tool_name="t", tool_data={"none": None, "one": 1.0, "many": [1, "ü"]})

    async def say(start: int) -> None:
        # The server takes 60 publishes a minute from one address.
        async with ReflexioClient(corner.server.url, transport=live_transport()) as rest:
            own = Corner(corner.server, rest, corner.tag)
            for number in range(start, min(start + 50, REQUESTS)):
                interaction = Interaction(content=f"“{number}” 🍞\n\u2028", tools_used=[tool])
                session = f"s{number % (REQUESTS // 10)}"
                await own.say(f"r{number}", interaction, "ok", session=session, evaluation_only=True)

    await for_each(range(0, REQUESTS, 50), say, at_once=1)
    outcome = {"outcome": "success", "label": "done", "value": 1.5, "metadata": {"k": "v"}}
    body = {"session_id": corner.name("s0"), "occurred_at": int(time.time()), **outcome}
    assert (await corner.ask("session_outcome", body))["recorded"]

    first, second, store = tmp_path / "first.zip", tmp_path / "second.zip", str(tmp_path / "store.db")
    words = ["export", "--url", corner.server.url, "--user-id", corner.name("ada"), "--output", str(first)]
    assert await anyio.to_thread.run_sync(main, words) == 0

    sessions = await returned(corner, "get_requests", "sessions", top_k=10_000)
    requests = [one for group in sessions for one in group["requests"]]
    for interaction in (interaction for one in requests for interaction in one["interactions"]):
        assert interaction.pop("user_id") == corner.name("ada")
        del interaction["request_id"]
    assert len(requests) == REQUESTS + LEARNED
    assert as_text(lines(first, "requests")) == as_text(requests)
    every = {"status_filter": EVERY_STATUS}
    learned = await returned(corner, "get_profiles", "user_profiles", top_k=None, **every)
    learned += await returned(corner, "get_user_playbooks", "user_playbooks", limit=10_000, **every)
    assert len(learned) >= LEARNINGS
    assert as_text(lines(first, "learnings")) == as_text(learned)
    outcomes = await returned(corner, "get_session_outcomes", "session_outcomes")
    assert as_text(lines(first, "outcomes")) == as_text(outcomes)

    assert await anyio.to_thread.run_sync(main, ["import", str(first), "--store", store, "--yes"]) == 0
    words = ["export", "--store", store, "--output", str(second)]
    assert await anyio.to_thread.run_sync(main, words) == 0
    with zipfile.ZipFile(first) as one, zipfile.ZipFile(second) as other:
        assert one.read("requests.jsonl") == other.read("requests.jsonl")
