"""What was deleted is in no file any more: not in the database, not in its log."""

import random
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
import httpx
import pytest

from reflexio_mcp.embedded_store import queries, upkeep
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import Database
from tests.store import processes

pytestmark = pytest.mark.anyio

SEARCH = """
import pathlib, sys
data = b"".join(path.read_bytes() for path in pathlib.Path(sys.argv[1]).iterdir())
print(*(word for word in sys.argv[2:] if word.encode() in data))
"""


def found_in_files(folder: Path, words: Iterable[str]) -> list[str]:
    """Which words stand in any file of the folder.

    Looked up by another process: closing a database file that SQLite has open here would drop its locks.
    """
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(folder), *words], capture_output=True, encoding="utf-8", check=True
    )
    return done.stdout.split()


def client_of(store: EmbeddedStore) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store),
        base_url="http://store",
        headers={"user-agent": "reflexio-mcp-tests/0"},
    )


async def publish(client: httpx.AsyncClient, secret: str, **fields: str) -> int:
    """Publish with the secret in every text; returns the interaction's id."""
    body = {
        "user_id": f"user-{secret}",
        "session_id": f"session-{secret}",
        "request_id": f"request-{secret}",
        **fields,
    }
    turn = {
        "content": f"content-{secret}-" + "x" * 5000 + secret,
        "shadow_content": f"shadow-{secret}",
        "tools_used": [{"tool_name": "t", "tool_data": {"key": f"tool-{secret}"}}],
        "image_encoding": f"image{secret}" * 40,
    }
    reply = await client.post("/api/publish_interaction", json={**body, "interaction_data_list": [turn]})
    assert reply.json()["success"]
    page = (await client.post("/api/get_requests", json={"request_id": body["request_id"]})).json()
    return page["sessions"][0]["requests"][0]["interactions"][0]["interaction_id"]


async def until_clean(folder: Path, words: list[str], seconds: float = 20) -> None:
    with anyio.fail_after(seconds):
        while found_in_files(folder, words):  # noqa: ASYNC110 - files tell nobody when they change
            await anyio.sleep(0.05)


async def test_each_way_of_deleting_leaves_nothing_in_any_file(tmp_path: Path) -> None:
    store = EmbeddedStore(str(tmp_path / "store.db"))
    async with client_of(store) as client:
        interaction = 0
        for secret in ("alphasecret", "bravosecret", "charliesecret", "deltasecret", "keepsake"):
            interaction = await publish(client, secret) if secret == "deltasecret" else interaction
            if secret != "deltasecret":
                await publish(client, secret)
        assert (
            len(found_in_files(tmp_path, ["alphasecret", "bravosecret", "charliesecret", "deltasecret"])) == 4
        )
        await client.request("DELETE", "/api/delete_request", json={"request_id": "request-alphasecret"})
        assert found_in_files(tmp_path, ["alphasecret"]) == []
        await client.request("DELETE", "/api/delete_session", json={"session_id": "session-bravosecret"})
        assert found_in_files(tmp_path, ["bravosecret"]) == []
        await client.request(
            "DELETE", "/api/delete_requests_by_ids", json={"request_ids": ["request-charliesecret"]}
        )
        assert found_in_files(tmp_path, ["charliesecret"]) == []
        await client.request(
            "DELETE",
            "/api/delete_interaction",
            json={"user_id": "user-deltasecret", "interaction_id": interaction},
        )
        assert found_in_files(tmp_path, ["content-deltasecret", "imagedeltasecret", "tool-deltasecret"]) == []
        assert found_in_files(tmp_path, ["keepsake", "request-deltasecret"]) == [
            "keepsake",
            "request-deltasecret",
        ]
    await store.aclose()
    assert found_in_files(tmp_path, ["keepsake"]) == ["keepsake"]


async def test_an_idle_second_process_does_not_keep_deleted_content_alive(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    async with client_of(store) as client:
        await publish(client, "alphasecret")
        other = processes.start("idle", str(path))
        assert processes.line(other) == "idle"
        await client.request("DELETE", "/api/delete_request", json={"request_id": "request-alphasecret"})
        assert found_in_files(tmp_path, ["alphasecret"]) == []
    processes.finish(other)
    await store.aclose()


async def test_a_reader_delays_the_purge_but_does_not_prevent_it(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    async with client_of(store) as client:
        await publish(client, "alphasecret")
        reader = processes.start("hold", str(path))
        assert processes.line(reader) == "holding"
        with anyio.fail_after(60):  # the deletion itself does not wait for the reader's end
            await client.request("DELETE", "/api/delete_request", json={"request_id": "request-alphasecret"})
        assert found_in_files(tmp_path, ["alphasecret"]) == ["alphasecret"]
        processes.finish(reader)
        await until_clean(tmp_path, ["alphasecret"])
    await store.aclose()


async def test_a_purge_that_a_killed_process_left_is_done_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    async with client_of(store) as client:
        await publish(client, "alphasecret")
        reader = processes.start("hold", str(path))
        assert processes.line(reader) == "holding"
        await client.request("DELETE", "/api/delete_request", json={"request_id": "request-alphasecret"})
        # The one that deleted ends while the reader still holds on.
        await store.aclose()
        assert found_in_files(tmp_path, ["alphasecret"]) == ["alphasecret"]
        processes.kill(reader)
    after = EmbeddedStore(str(path))
    async with client_of(after) as client:
        assert (await client.get("/health")).status_code == 200
    await until_clean(tmp_path, ["alphasecret"])
    await after.aclose()


def _fill(database: Database, dice: random.Random, alive: dict[str, list[str]], count: int) -> None:
    with database.writing() as connection:
        for _ in range(count):
            words = [f"{dice.getrandbits(128):032x}" for _ in range(dice.choice([4, 4, 5, 8]))]
            request_id, session_id, user_id, *contents = words
            added = connection.execute(
                "INSERT INTO requests (request_id, session_id, user_id, created_at, source, agent_version,"
                " evaluation_only) VALUES (?, ?, ?, ?, 'chat', 'v', 0)",
                (request_id, session_id, user_id, dice.randrange(10**6)),
            )
            size = dice.choice([0, 10, 100, 1000, 3000, 20000])
            connection.executemany(
                "INSERT INTO interactions (request, created_at, role, content, user_action, user_action_description,"
                " interacted_image_url, shadow_content, expert_content, tools_used, retrieved_learnings, citations,"
                " image_encoding) VALUES (?, 0, 'User', ?, 'none', '', '', '', '', '', '', '', '')",
                [(added.lastrowid, word + "x" * size + word) for word in contents],
            )
            alive[request_id] = words


def _words_in(path: Path) -> set[str]:
    found: set[str] = set()
    for match in re.finditer(rb"[0-9a-f]{32,}", path.read_bytes()):
        text = match.group().decode()
        found.update(text[start : start + 32] for start in range(len(text) - 31))
    return found


def test_rows_that_were_moved_between_pages_leave_no_copies_behind(tmp_path: Path) -> None:
    """SQLite's own `secure_delete` fails this: pages it rebalances keep old copies of the rows it moved."""
    path, dice = tmp_path / "store.db", random.Random(1)
    alive: dict[str, list[str]] = {}
    dead: list[str] = []
    for _ in range(16):
        database = Database(str(path))
        _fill(database, dice, alive, 100)
        gone = dice.sample(sorted(alive), dice.choice([3, 30, 60]))
        with database.writing(deletes=True) as connection:
            assert queries.delete_requests(connection, gone) == len(gone)
        database.close()
        for request_id in gone:
            dead.extend(alive.pop(request_id))
        present = _words_in(path)
        assert present.isdisjoint(dead)
        assert present.issuperset(word for words in alive.values() for word in words)


def test_a_rewriting_is_made_up_for_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, alive = tmp_path / "store.db", dict[str, list[str]]()
    database = Database(str(path))
    _fill(database, random.Random(2), alive, 50)
    with monkeypatch.context() as crash:
        crash.setattr(upkeep, "scrub", lambda connection: False)
        with database.writing(deletes=True) as connection:
            queries.delete_requests(connection, sorted(alive)[:20])
        database.close()
    monkeypatch.setattr(upkeep, "OPENING_DELAY_SECONDS", 0.01)
    again = Database(str(path))
    deadline = time.monotonic() + 20
    due = True
    while due and time.monotonic() < deadline:
        with again.reading() as connection:
            due = upkeep.scrub_is_due(connection)
        time.sleep(0.02)
    again.close()
    assert not due


def test_the_file_gives_back_the_space_of_what_was_deleted(tmp_path: Path) -> None:
    path, alive = tmp_path / "store.db", dict[str, list[str]]()
    database = Database(str(path))
    _fill(database, random.Random(3), alive, 300)
    with database.reading() as connection:
        full = upkeep.file_bytes(connection)
    with database.writing(deletes=True) as connection:
        queries.delete_requests(connection, sorted(alive)[10:])
    database.close()
    assert path.stat().st_size < full / 4
