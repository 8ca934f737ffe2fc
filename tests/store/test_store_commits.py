"""Publishes that arrive together share a commit: none is answered before it, none is lost, none harms another."""

import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest

from reflexio_mcp.embedded_store import queries
from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import Connection, Database
from tests.store import processes

pytestmark = pytest.mark.anyio

Json = dict[str, Any]


class Crowd:
    """Calls that are sent one after the other and wait together, until `released`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.replies: dict[str, Json] = {}

    async def publish(self, name: str, request_id: str | None = None) -> None:
        body = {
            "user_id": "u",
            "session_id": "s",
            "request_id": request_id or name,
            "interaction_data_list": [{"content": f"content of {name}"}],
        }
        reply = await self._client.post("/api/publish_interaction", json=body)
        self.replies[name] = reply.json()

    async def delete(self, name: str, request_id: str) -> None:
        body = {"request_id": request_id}
        self.replies[name] = (await self._client.request("DELETE", "/api/delete_request", json=body)).json()

    async def stored(self) -> list[str]:
        page = (await self._client.post("/api/get_requests", json={})).json()
        return [
            item["interactions"][0]["content"].removeprefix("content of ")
            for group in page["sessions"]
            for item in group["requests"]
        ]


@pytest.fixture
async def crowd(store_client: httpx.AsyncClient) -> Crowd:
    return Crowd(store_client)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """The file of `store_app`."""
    return tmp_path / "store.db"


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many changes each transaction made."""
    made: list[int] = []
    really = Database.writing

    @contextmanager
    def counting(self: Database, *, deletes: bool = False) -> Generator[Connection]:
        with really(self, deletes=deletes) as connection:
            before = connection.total_changes
            yield connection
            made.append(connection.total_changes - before)

    monkeypatch.setattr(Database, "writing", counting)
    return made


@asynccontextmanager
async def waiting_together(
    path: Path, *calls: Callable[[], Coroutine[Any, Any, None]]
) -> AsyncGenerator[None]:
    """Starts the calls in order while another program holds the file; lets go of it behind the block."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call)
            # Each has reached the queue before the next begins.
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
        yield
        holder.execute("ROLLBACK")
        holder.close()


async def test_publishes_that_wait_together_share_a_commit(
    crowd: Crowd, store_path: Path, commits: list[int]
) -> None:
    await crowd.publish("first")
    commits.clear()
    names = [f"r{number}" for number in range(16)]
    calls = [lambda name=name: crowd.publish(name) for name in names]
    async with waiting_together(store_path, *calls):
        pass
    assert all(crowd.replies[name]["success"] for name in names)
    assert sorted(await crowd.stored()) == sorted(["first", *names])
    assert sum(commits) == 32  # a row for the request and one for its interaction
    assert len(commits) == 2, "the first alone, and all that came meanwhile"


async def test_no_publish_is_answered_when_their_commit_fails(
    crowd: Crowd, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowd.publish("first")
    really = Database.writing

    @contextmanager
    def failing(self: Database, *, deletes: bool = False) -> Generator[Connection]:
        with really(self, deletes=deletes) as connection:
            yield connection
            raise sqlite3.OperationalError("the disk has gone")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "writing", failing)
        calls = [lambda number=number: crowd.publish(f"r{number}") for number in range(5)]
        async with waiting_together(store_path, *calls):
            pass
    assert [reply["success"] for name, reply in crowd.replies.items() if name != "first"] == [False] * 5
    assert await crowd.stored() == ["first"]


async def test_one_that_cannot_be_stored_does_not_take_the_others_along(
    crowd: Crowd, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowd.publish("first")
    really = queries.store

    def particular(connection: Connection, publish: Any, request_id: str, arrived: int) -> bool:
        stored = really(connection, publish, request_id, arrived)
        if request_id == "bad":
            raise OverflowError
        return stored

    monkeypatch.setattr(queries, "store", particular)
    names = ["a", "b", "bad", "c"]
    calls = [lambda name=name: crowd.publish(name) for name in names]
    async with waiting_together(store_path, *calls):
        pass
    assert [crowd.replies[name]["success"] for name in names] == [True, True, False, True]
    assert sorted(await crowd.stored()) == ["a", "b", "c", "first"]


async def test_writes_keep_the_order_in_which_they_came(crowd: Crowd, store_path: Path) -> None:
    await crowd.publish("first")
    calls = [
        lambda: crowd.publish("old", "same"),
        lambda: crowd.publish("taken", "same"),
        lambda: crowd.delete("deleted", "same"),
        lambda: crowd.publish("new", "same"),
    ]
    async with waiting_together(store_path, *calls):
        pass
    assert {name: reply["success"] for name, reply in crowd.replies.items()} == {
        "first": True,
        "old": True,
        "taken": False,
        "deleted": True,
        "new": True,
    }
    assert sorted(await crowd.stored()) == ["first", "new"]


async def test_a_caller_that_goes_away_before_its_turn_stores_nothing(crowd: Crowd, store_path: Path) -> None:
    await crowd.publish("first")
    left = anyio.CancelScope()

    async def impatient() -> None:
        with left:
            await crowd.publish("impatient")

    calls = [lambda: crowd.publish("a"), impatient, lambda: crowd.publish("b")]
    async with waiting_together(store_path, *calls):
        left.cancel()
        await anyio.lowlevel.checkpoint()
    assert sorted(await crowd.stored()) == ["a", "b", "first"]


async def test_a_leader_that_goes_away_leaves_the_others_their_answers(
    crowd: Crowd, store_path: Path
) -> None:
    await crowd.publish("first")
    left = anyio.CancelScope()

    async def impatient() -> None:
        with left:
            await crowd.publish("impatient")

    async with waiting_together(
        store_path, impatient, lambda: crowd.publish("a"), lambda: crowd.publish("b")
    ):
        left.cancel()
        await anyio.lowlevel.checkpoint()
    assert crowd.replies["a"]["success"]
    assert crowd.replies["b"]["success"]
    assert {"a", "b", "first"} <= set(await crowd.stored())


@pytest.mark.parametrize("acknowledged", [1, 16, 150])
def test_each_of_sixteen_at_once_that_was_answered_is_there_after_kill_9(
    tmp_path: Path, acknowledged: int
) -> None:
    path = tmp_path / "store.db"
    process = processes.start("crowd", str(path), "mine", "16")
    assert processes.line(process) == "ready"
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answered = [processes.line(process) for _ in range(acknowledged)]
    answered += [one.rstrip("\n") for one in processes.kill(process) if one.endswith("\n")]
    connection = sqlite3.connect(path)
    found = {request_id for (request_id,) in connection.execute("SELECT request_id FROM requests")}
    connection.close()
    assert set(answered) <= found
    assert len(found) - len(answered) <= 16, "at most those that were under way"


async def test_a_large_body_does_not_hold_the_file_for_the_others(
    crowd: Crowd, store_path: Path, commits: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.embedded_store.app.MAX_BATCH_BYTES", 500)
    await crowd.publish("first")
    commits.clear()
    calls = [lambda number=number: crowd.publish(f"r{number}") for number in range(10)]
    async with waiting_together(store_path, *calls):
        pass
    assert sum(commits) == 20
    assert max(commits) <= 8


async def test_a_store_answers_in_one_event_loop_after_another(tmp_path: Path) -> None:
    store: EmbeddedStore = EmbeddedStore(str(tmp_path / "store.db"))

    async def once(name: str) -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=store), base_url="http://store"
        ) as client:
            one = Crowd(client)
            await one.publish(name)
            assert name in await one.stored()

    for name in ("a", "b"):
        await anyio.to_thread.run_sync(anyio.run, once, name)
    await store.aclose()
