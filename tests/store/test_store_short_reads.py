"""Short reads are answered on the event loop, and what takes longer in a thread, with the same answers."""

import sqlite3
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from reflexio_mcp.embedded_store import database, routes
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import Database, TakesLonger

pytestmark = pytest.mark.anyio

READS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/api/whoami", {}),
    ("GET", "/health", {}),
    ("GET", "/api/learning_status?request_id=r3", {}),
    ("GET", "/api/learning_status?request_id=none", {}),
    ("POST", "/api/get_requests", {}),
    ("POST", "/api/get_requests", {"request_id": "r7"}),
    ("POST", "/api/get_requests", {"user_id": "u1", "top_k": 3, "offset": 4}),
    ("POST", "/api/get_requests", {"top_k": 3, "count": "sessions"}),
    ("POST", "/api/get_requests", {"start_time": "no time"}),
    ("POST", "/api/get_requests", {"offset": 2**70}),
]


async def filled(client: httpx.AsyncClient) -> None:
    for number in range(30):
        body = {
            "user_id": f"u{number % 2}",
            "session_id": f"s{number % 15}",
            "request_id": f"r{number}",
            "interaction_data_list": [{"content": f"turn {number}"}],
        }
        (await client.post("/api/publish_interaction", json=body)).raise_for_status()


async def answers(client: httpx.AsyncClient) -> list[tuple[int, str]]:
    replies = [await client.request(method, path, json=body) for method, path, body in READS]
    return [(one.status_code, one.text) for one in replies]


def threads_of_reads(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The thread of each answer to `get_requests` from now on."""
    seen: list[threading.Thread] = []
    key = ("POST", "/api/get_requests")
    read = routes.READING[key]

    def watched(call: routes.Call) -> routes.Json | list[bytes]:
        answer = read(call)
        seen.append(threading.current_thread())
        return answer

    monkeypatch.setitem(routes.READING, key, watched)
    return seen


async def test_both_ways_give_the_same_answers(
    store_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store_client)
    seen = threads_of_reads(monkeypatch)
    monkeypatch.setattr(database, "SHORT_SECONDS", 600.0)
    at_once = await answers(store_client)
    # What SQLite refuses is said by the other way.
    assert {one.name for one in seen[:-1]} == {threading.current_thread().name}
    seen.clear()
    monkeypatch.setattr(database, "SHORT_SECONDS", -1.0)
    look_at_each_step(store_client)
    assert await answers(store_client) == at_once
    assert [one.name.startswith("store-reader") for one in seen] == [True] * len(seen) != []


def look_at_each_step(client: httpx.AsyncClient) -> None:
    """Have the open store look at the clock at each step of a short read."""
    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    store = transport.app
    assert isinstance(store, EmbeddedStore)
    file = store._database._file
    assert file is not None
    (connection,) = file.short
    connection.set_progress_handler(file.limit.is_over, 1)


async def test_a_read_that_was_given_up_halfway_leaves_nothing_for_the_next(tmp_path: Path) -> None:
    store = EmbeddedStore(str(tmp_path / "store.db"))
    transport = httpx.ASGITransport(store)
    async with httpx.AsyncClient(transport=transport, base_url="http://store") as client:
        await filled(client)
        whole = [(await client.post("/api/get_requests", json={"top_k": 15})).json()]
        pages = [
            (await client.post("/api/get_requests", json={"top_k": 5, "offset": at})).json()
            for at in (0, 5, 10)
        ]
        file = store._database._file
        assert file is not None
        (connection,) = file.short
        # Ended after each number of steps in turn, between two that go through.
        for steps in (1, 5, 20, 50, 100, 200):
            connection.set_progress_handler(lambda: True, steps)
            first = (await client.post("/api/get_requests", json={"top_k": 5})).json()
            connection.set_progress_handler(None, 0)
            assert not connection.in_transaction
            assert first == pages[0]
            again = [
                (await client.post("/api/get_requests", json={"top_k": 5, "offset": at})).json()
                for at in (0, 5, 10)
            ]
            assert again == pages
        assert [(await client.post("/api/get_requests", json={"top_k": 15})).json()] == whole
    await store.aclose()


async def test_long_texts_are_read_in_a_thread(
    store_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SHORT_SECONDS", 600.0)
    seen = threads_of_reads(monkeypatch)
    for request_id, content in (("short", "x" * 1000), ("long", "x" * database.SHORT_TEXT_BYTES * 2)):
        body = {
            "user_id": "u",
            "session_id": request_id,
            "request_id": request_id,
            "interaction_data_list": [{"content": content}],
        }
        (await store_client.post("/api/publish_interaction", json=body)).raise_for_status()
        page = (await store_client.post("/api/get_requests", json={"request_id": request_id})).json()
        assert page["sessions"][0]["requests"][0]["interactions"][0]["content"] == content
    assert [one.name.startswith("store-reader") for one in seen] == [False, True]


async def test_others_get_their_turn_beside_a_caller_that_reads_and_reads(
    store_client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(store_client)
    monkeypatch.setattr(database, "SHORT_SECONDS", 600.0)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(20):
            await store_client.post("/api/get_requests", json={"request_id": "r7"})
        group.cancel_scope.cancel()
    assert turns >= 10


def test_a_short_read_waits_for_nobody(tmp_path: Path) -> None:
    store = Database(str(tmp_path / "store.db"), busy_seconds=600.0)
    with pytest.raises(TakesLonger), store.reading_at_once():
        pass
    with store.reading():
        pass
    with store.reading_at_once() as connection:
        assert connection.execute("SELECT count(*) FROM requests").fetchone() == (0,)
        # One at a time: the connection is in use.
        with pytest.raises(TakesLonger), store.reading_at_once():
            pass
    with pytest.raises(TakesLonger), store.reading_at_once():
        raise sqlite3.OperationalError("database is locked")
    with pytest.raises(ZeroDivisionError), store.reading_at_once():
        raise ZeroDivisionError
    with store.reading_at_once() as connection:
        assert connection.in_transaction
    store.close()
    with pytest.raises(TakesLonger), store.reading_at_once():
        pass


def test_a_short_read_does_not_use_a_file_that_was_moved(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Database(str(path))
    with store.reading():
        pass
    path.rename(tmp_path / "moved.db")
    with pytest.raises(TakesLonger), store.reading_at_once():
        pass
    store.close()
