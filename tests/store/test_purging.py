"""What was deleted is in no file any more."""

import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from reflexio_mcp.embedded_store import database
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.client import ReflexioClient, encoded
from reflexio_mcp.rest.exchange import Call
from reflexio_mcp.rest.models import Citation, Interaction, PublishBody, RequestQuery, ToolUse

pytestmark = pytest.mark.anyio

SEARCH = """
import pathlib, sys
data = b"".join(path.read_bytes() for path in pathlib.Path(sys.argv[1]).iterdir())
print(*(word for word in sys.argv[2:] if word.encode() in data))
"""


def found_in_files(folder: Path, *words: str) -> list[str]:
    """Return which words are in any file of the folder.

    Another process looks: closing a database file that SQLite has open here would drop its locks.
    """
    command = [sys.executable, "-c", SEARCH, str(folder), *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout.split()


async def publish(client: ReflexioClient, secret: str) -> int:
    """Publish a request with the secret in every text and return the id of its interaction."""
    interaction = Interaction(
        content=f"content-{secret}-" + "x" * 5000 + secret,
        user_action_description=f"action-{secret}",
        tools_used=[ToolUse(tool_name="t", tool_data={"a": f"tool-{secret}"})],
        citations=[Citation(kind="profile", real_id=f"cited-{secret}")],
        image_encoding=f"image{secret}" * 40,
    )
    names: dict[str, Any] = {name: f"{name}-{secret}" for name in ("user_id", "session_id", "request_id")}
    await client.publish(PublishBody(**names, interaction_data_list=[interaction]), minted=True)
    page = await client.get_requests(RequestQuery(user_id=names["user_id"]))
    return page.sessions[0].requests[0].interactions[0].interaction_id


async def test_each_way_of_deleting_leaves_nothing_in_any_file(tmp_path: Path) -> None:
    store = EmbeddedStore(str(tmp_path / "store.db"))
    async with ReflexioClient("http://store", transport=store) as client:
        secrets = ("alphasecret", "bravosecret", "charliesecret", "deltasecret", "keepsake")
        for secret in secrets:
            await publish(client, secret)
        interaction = await publish(client, "echosecret")
        assert found_in_files(tmp_path, *secrets) == list(secrets)
        one = encoded({"request_id": "request_id-alphasecret"})
        assert (
            await store.exchange(Call("DELETE", "/api/delete_request", "delete", 30, one), 30)
        ).status == 200
        await client.delete_requests_by_ids(["request_id-bravosecret", "request_id-charliesecret"])
        await client.clear_user_data("user_id-deltasecret")
        await client.delete_interaction("user_id-echosecret", interaction)
        kinds = ("content", "action", "tool", "cited", "image")
        gone = (*secrets[:-1], *(f"{kind}-echosecret" for kind in kinds), "imageechosecret")
        assert found_in_files(tmp_path, *gone, "keepsake") == ["keepsake"]


def fill(path: Path, dice: random.Random, alive: dict[str, str], count: int) -> None:
    """Publish requests of very different sizes, each with a random word at both ends."""
    with closing(sqlite3.connect(path)) as connection:
        for _ in range(count):
            request_id, word = f"{dice.getrandbits(64):x}", f"{dice.getrandbits(128):032x}"
            added = connection.execute(
                "INSERT INTO requests (request_id, session_id, user_id, created_at, source, agent_version,"
                " evaluation_only) VALUES (?, ?, 'u', ?, '', 'v', 0)",
                (request_id, word, dice.randrange(10**6)),
            )
            text = word + "x" * dice.choice([0, 10, 100, 1000, 3000, 20000]) + word
            connection.execute(
                "INSERT INTO interactions (request, created_at, role, content, user_action, user_action_description,"
                " interacted_image_url, shadow_content, expert_content, tools_used, retrieved_learnings, citations,"
                " image_encoding) VALUES (?, 0, 'User', ?, 'none', '', '', '', '', '', '', '', '')",
                (added.lastrowid, text),
            )
            alive[request_id] = word
        connection.commit()


@pytest.mark.ci
async def test_rows_that_were_moved_between_pages_leave_no_copies_behind(tmp_path: Path) -> None:
    """SQLite's own `secure_delete` fails this: pages that it rebalances keep old copies of the rows it moved."""
    path, dice = tmp_path / "store.db", random.Random(1)
    alive: dict[str, str] = {}
    dead: set[str] = set()
    for _ in range(12):
        async with ReflexioClient("http://store", transport=EmbeddedStore(str(path))) as client:
            await client.health()
            fill(path, dice, alive, 100)
            gone = dice.sample(sorted(alive), dice.choice([3, 30, 60]))
            assert (await client.delete_requests_by_ids(gone)).deleted_count == len(gone)
        dead.update(alive.pop(request_id) for request_id in gone)
        content = path.read_bytes()
        assert not any(word.encode() in content for word in dead)
        assert all(word.encode() in content for word in alive.values())


async def test_the_file_is_rewritten_soon_after_a_deletion_or_else_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, alive = tmp_path / "store.db", dict[str, str]()

    def due() -> bool:
        with closing(sqlite3.connect(path)) as connection:
            [(deletions, scrubbed)] = connection.execute("SELECT deletions, scrubbed FROM upkeep").fetchall()
        return deletions != scrubbed

    monkeypatch.setattr(database, "CLOSING_REWRITE_BYTES", 0)
    async with ReflexioClient("http://store", transport=EmbeddedStore(str(path))) as client:
        await client.health()
        fill(path, random.Random(2), alive, 100)
        full = path.stat().st_size
        await client.delete_requests_by_ids(sorted(alive)[10:])
    assert due()
    assert path.stat().st_size == full
    monkeypatch.setattr(database, "REWRITE_SECONDS", 0.01)
    async with ReflexioClient("http://store", transport=EmbeddedStore(str(path))) as client:
        await client.health()
        with anyio.fail_after(60):
            while due():  # noqa: ASYNC110 - files tell nobody when they change
                await anyio.sleep(0.02)
    assert path.stat().st_size < full / 4
