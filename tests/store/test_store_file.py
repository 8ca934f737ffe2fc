"""The file: when and how it is made, and what is said when it cannot be used."""

import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from reflexio_mcp.embedded_store import schema
from reflexio_mcp.embedded_store.app import EmbeddedStore
from tests.store import processes

pytestmark = pytest.mark.anyio

PUBLISH: dict[str, Any] = {
    "user_id": "u",
    "session_id": "s",
    "request_id": "r",
    "interaction_data_list": [{"content": "hello"}],
}


def client_of(store: EmbeddedStore) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=store),
        base_url="http://store",
        headers={"user-agent": "reflexio-mcp-tests/0"},
    )


def names(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def publish(store: EmbeddedStore, **fields: Any) -> dict[str, Any]:
    async with client_of(store) as client:
        reply = await client.post("/api/publish_interaction", json={**PUBLISH, **fields})
    assert reply.status_code == 200
    return reply.json()


async def answers(store: EmbeddedStore) -> dict[str, tuple[int, dict[str, Any]]]:
    """Status and body of one call to each route that touches the file."""
    calls: dict[str, tuple[str, dict[str, Any]]] = {
        "/api/publish_interaction": ("POST", PUBLISH),
        "/api/get_requests": ("POST", {}),
        "/api/delete_request": ("DELETE", {"request_id": "r"}),
        "/api/delete_session": ("DELETE", {"session_id": "s"}),
        "/api/delete_requests_by_ids": ("DELETE", {"request_ids": ["r"]}),
        "/api/delete_interaction": ("DELETE", {"user_id": "u", "interaction_id": 1}),
        "/api/learning_status?request_id=r": ("GET", {}),
        "/api/whoami": ("GET", {}),
        "/health": ("GET", {}),
    }
    async with client_of(store) as client:
        replies = {
            path: await client.request(method, path, json=body) for path, (method, body) in calls.items()
        }
    return {path: (reply.status_code, reply.json()) for path, reply in replies.items()}


def assert_all_refuse(found: dict[str, tuple[int, dict[str, Any]]], says: str, *secrets: str) -> None:
    """Each route fails in its own way, in one line that ends in what to do and tells no path."""
    for path, (status, body) in found.items():
        if path == "/health":
            assert (status, body) == (503, {"status": "unhealthy"})
            continue
        if path.startswith("/api/learning_status"):
            assert status == 503
            message = body["detail"]["message"]
        else:
            assert status == 200
            assert body["success"] is False
            message = body["msg" if path == "/api/get_requests" else "message"]
        assert says in message, path
        assert "\n" not in message
        assert message.endswith(".")
        assert not any(secret in message for secret in secrets)


async def test_nothing_is_made_before_the_first_call(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    store = EmbeddedStore(str(path))
    assert not path.parent.exists()
    assert (await publish(store))["success"]
    assert path.exists()
    await store.aclose()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "store.db"
    store = EmbeddedStore(str(path))
    await publish(store)
    files = list(path.parent.iterdir())
    assert {one.name for one in files} == {"store.db", "store.db-wal", "store.db-shm"}
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.aclose()


async def test_closing_leaves_one_file_and_is_final(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    await publish(store)
    await store.aclose()
    await store.aclose()
    assert names(tmp_path) == {path.name}
    assert (await publish(store, request_id="late"))["success"] is False
    again = EmbeddedStore(str(path))
    assert (await publish(again))["message"] == "request_id 'r' already exists"
    await again.aclose()


async def test_a_store_in_memory_leaves_no_trace_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        store = EmbeddedStore(":memory:")
        assert (await publish(store))["success"]
        async with client_of(store) as client:
            found = (await client.post("/api/get_requests", json={})).json()
            assert found["msg"] == "Found 1 request(s) in 1 session(s)"
            gone = await client.request("DELETE", "/api/delete_session", json={"session_id": "s"})
            assert gone.json()["deleted_requests_count"] == 1
        await publish(store, request_id="again")
        await store.aclose()
    assert names(tmp_path) == set()


async def test_the_schema_version_stands_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    await publish(store)
    await store.aclose()
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    connection.close()
    assert set(schema.MIGRATIONS) == set(range(schema.SCHEMA_VERSION))


async def test_a_file_of_a_newer_version_is_left_alone_and_says_to_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path))
    await publish(store)
    await store.aclose()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    store = EmbeddedStore(str(path))
    assert_all_refuse(await answers(store), "Upgrade reflexio-mcp", str(tmp_path))
    await store.aclose()
    assert path.read_bytes() == before


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (text)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    store = EmbeddedStore(str(path))
    assert_all_refuse(await answers(store), "another program", str(tmp_path), "notes")
    await store.aclose()
    assert path.read_bytes() == before
    assert names(tmp_path) == {path.name}


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 500, encoding="utf-8")
    before = path.read_bytes()
    store = EmbeddedStore(str(path))
    assert_all_refuse(await answers(store), "not a database", str(tmp_path), "Dear")
    await store.aclose()
    assert path.read_bytes() == before


async def test_a_folder_or_a_file_in_the_way_says_that_the_store_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for path in (tmp_path, tmp_path / "file" / "store.db"):
        store = EmbeddedStore(str(path))
        assert_all_refuse(await answers(store), "cannot be opened", str(tmp_path))
        await store.aclose()


async def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.touch()
    store = EmbeddedStore(str(path))
    assert (await publish(store))["success"]
    await store.aclose()


async def test_a_store_that_could_not_be_opened_is_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "later"
    blocked.write_text("", encoding="utf-8")
    store = EmbeddedStore(str(blocked / "store.db"))
    assert (await publish(store))["success"] is False
    blocked.unlink()
    assert (await publish(store))["success"] is True
    await store.aclose()


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A folder nobody can write to."""
    tmp_path.chmod(0o500)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_cannot_be_written_says_so(sealed: Path) -> None:
    store = EmbeddedStore(str(sealed / "store.db"))
    assert_all_refuse(await answers(store), "cannot be opened", str(sealed))
    await store.aclose()


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes SQLite report a full disk from so many pages on."""

    def limit(pages: int) -> None:
        connect = sqlite3.connect

        def limited(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)
            connection.execute(f"PRAGMA max_page_count = {pages}")
            return connection

        monkeypatch.setattr(sqlite3, "connect", limited)

    return limit


async def test_a_full_disk_refuses_the_publish_and_keeps_the_rest(
    tmp_path: Path, small_disk: Callable[[int], None]
) -> None:
    small_disk(40)
    store = EmbeddedStore(str(tmp_path / "store.db"))
    assert (await publish(store))["success"]
    refused = await publish(store, request_id="large", interaction_data_list=[{"content": "x" * 200_000}])
    assert refused == {
        "success": False,
        "changed": False,
        "message": "The disk is full. Free some space and try again.",
    }
    async with client_of(store) as client:
        found = (await client.post("/api/get_requests", json={})).json()
        assert [one["request"]["request_id"] for one in found["sessions"][0]["requests"]] == ["r"]
        assert (await client.request("DELETE", "/api/delete_request", json={"request_id": "r"})).json()[
            "success"
        ]
    assert (await publish(store))["success"]
    await store.aclose()


async def test_a_store_held_by_another_process_is_503_and_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = EmbeddedStore(str(path), busy_seconds=0.05)
    await publish(store)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    found = await answers(store)
    for route in ("publish_interaction", "delete_request", "delete_session", "delete_requests_by_ids"):
        status, body = found[f"/api/{route}"]
        assert status == 503
        assert body["detail"]["reason"] == "store_busy"
        assert "nothing was changed" in body["detail"]["message"]
    # Reading goes on.
    assert found["/api/get_requests"][1]["msg"] == "Found 1 request(s) in 1 session(s)"
    other.execute("ROLLBACK")
    other.close()
    async with client_of(store) as client:
        deleted = await client.request("DELETE", "/api/delete_request", json={"request_id": "r"})
    assert deleted.json()["success"]
    await store.aclose()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
async def test_a_closed_reader_of_another_store_object_does_not_break_the_first(tmp_path: Path) -> None:
    """SQLite's locks belong to the process: opening and closing the file a second time must not drop them."""
    path = tmp_path / "store.db"
    first, second = EmbeddedStore(str(path)), EmbeddedStore(str(path))
    await publish(first)
    await publish(second, request_id="second")
    await second.aclose()
    holder = processes.start("publish", str(path), "other", "3")
    assert processes.line(holder) == "ready"
    assert len(processes.finish(holder)) == 3
    assert (await publish(first, request_id="third"))["success"]
    await first.aclose()
