"""The embedded store as the client sees it: its file, its pages, and what it says if the file cannot be used."""

import os
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.embedded_store.database import SCHEMA_VERSION, Database
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import AlreadyExists, OperationFailed, ReflexioError, ServerFault
from reflexio_mcp.rest.models import Citation, Interaction, PublishBody, RequestPage, RequestQuery, ToolUse
from tests.rest.helpers import FakeTime
from tests.support.embedded import embedded
from tests.support.facts import said_of

pytestmark = pytest.mark.anyio


def client_of(path: Path, **options: Any) -> ReflexioClient:
    return ReflexioClient(
        "http://store", transport=EmbeddedStore(str(path), **options), sleep=FakeTime().sleep
    )


def body(request_id: str, *interactions: Interaction) -> PublishBody:
    content = list(interactions) or [Interaction(content=f"content of {request_id}")]
    return PublishBody(user_id="u", session_id="s", request_id=request_id, interaction_data_list=content)


async def publish(client: ReflexioClient, *request_ids: str) -> None:
    for request_id in request_ids:
        await client.publish(body(request_id), minted=True)


def grouped(page: RequestPage) -> list[list[str]]:
    return [[item.request.request_id for item in group.requests] for group in page.sessions]


async def ids(client: ReflexioClient) -> set[str]:
    return {one for group in grouped(await client.get_requests(RequestQuery())) for one in group}


def ids_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {request_id for (request_id,) in connection.execute("SELECT request_id FROM requests")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.fixture
async def client(path: Path) -> AsyncIterator[ReflexioClient]:
    async with client_of(path) as client:
        yield client


async def said(client: ReflexioClient) -> str:
    """What every call says of a store that cannot be used."""
    calls: list[Callable[[], Any]] = [
        lambda: client.get_requests(RequestQuery()),
        lambda: client.learning_status("r"),
        client.whoami,
        client.health,
        lambda: client.delete_requests_by_ids(["r"]),
        lambda: client.publish(body("r"), minted=True),
    ]
    sentences: set[str] = set()
    for call in calls:
        with pytest.raises(OperationFailed) as caught:
            await call()
        sentences.add(caught.value.said)
    assert len(sentences) == 1
    return sentences.pop()


# The file


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permission bits")
async def test_the_file_is_made_by_the_first_call_for_its_owner_alone(path: Path) -> None:
    client = client_of(path)
    assert not path.parent.exists()
    await publish(client, "r")
    assert [one.name for one in path.parent.iterdir()] == ["store.db"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await client.aclose()
    path.chmod(0o644)
    async with client_of(path) as again:
        assert await ids(again) == {"r"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_store_in_memory_leaves_no_trace_and_ends_with_its_client(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        async with client_of(Path(":memory:")) as client:
            await publish(client, "a", "b")
            await client.delete_requests_by_ids(["a"])
            assert await ids(client) == {"b"}
    assert list(tmp_path.iterdir()) == []


async def test_a_store_in_memory_has_nothing_to_do_with_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(":memory:").write_text("mine", encoding="utf-8")
    async with client_of(Path(":memory:")) as client:
        await publish(client, "a", "b")
        await client.delete_requests_by_ids(["a"])
        assert await ids(client) == {"b"}
    assert Path(":memory:").read_text(encoding="utf-8") == "mine"


async def test_a_file_of_an_earlier_version_with_its_log_beside_it_is_used(path: Path) -> None:
    async with client_of(path) as client:
        await publish(client, "r")
    with closing(sqlite3.connect(path)) as older:
        assert older.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
        older.execute("UPDATE requests SET source = 'older'")
        older.commit()
    async with client_of(path) as client:
        await publish(client, "s")
        assert await ids(client) == {"r", "s"}
    assert [one.name for one in path.parent.iterdir()] == ["store.db"]


async def test_a_file_of_a_newer_version_is_left_alone_and_says_to_upgrade(path: Path) -> None:
    async with client_of(path) as client:
        await publish(client, "r")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    async with client_of(path) as client:
        assert "Upgrade reflexio-mcp" in await said(client)
    assert path.read_bytes() == before


async def test_a_file_that_is_no_store_is_left_alone_and_named_for_what_it_is(tmp_path: Path) -> None:
    letter, notes = tmp_path / "letter.txt", tmp_path / "notes.db"
    letter.write_text("Dear reader, " * 500, encoding="utf-8")
    with closing(sqlite3.connect(notes)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    for path, reason in ((letter, "not a database"), (notes, "a database of another program")):
        path.chmod(0o644)
        before = path.read_bytes()
        async with client_of(path) as client:
            assert reason in await said(client)
            assert "REFLEXIO_MCP_STORE" in await said(client)
        assert path.read_bytes() == before
        assert path.stat().st_mode & 0o777 == 0o644


async def test_a_damaged_file_says_so(path: Path) -> None:
    async with client_of(path) as client:
        await publish(client, *(f"r{number}" for number in range(50)))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    async with client_of(path) as client:
        assert "The store file is damaged" in await said(client)


async def test_a_place_where_no_file_can_be_made_says_so_and_is_tried_again(tmp_path: Path) -> None:
    blocked = tmp_path / "later"
    blocked.touch()
    async with client_of(blocked / "store.db") as client:
        assert "cannot be opened" in await said(client)
        assert str(tmp_path) not in await said(client)
        blocked.unlink()
        await publish(client, "r")


async def test_a_full_disk_refuses_the_publish_keeps_the_rest_and_names_the_file_to_look_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def limited(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.execute("PRAGMA max_page_count = 40")
        return connection

    monkeypatch.setattr(sqlite3, "connect", limited)
    async with client_of(path) as client:
        await publish(client, "r")
        with pytest.raises(OperationFailed) as caught:
            await client.publish(body("large", Interaction(content="x" * 200_000)), minted=True)
        assert caught.value.said == "The disk is full. Free some space and try again."
        assert "Nothing was changed" in said_of(caught.value)
        assert "Reflexio's log" not in said_of(caught.value)
        assert "check the embedded store's file and its disk" in said_of(caught.value)
        assert await ids(client) == {"r"}


async def test_a_store_that_another_process_writes_to_is_waited_for_and_then_refused(path: Path) -> None:
    async with client_of(path, busy_seconds=0.05) as client:
        await publish(client, "r")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(ServerFault, match="store_busy") as caught:
                await publish(client, "s")
            assert "Reflexio's log" not in said_of(caught.value)
            assert await ids(client) == {"r"}
        await publish(client, "s")


async def test_what_could_not_be_undone_by_a_moved_file_is_refused(path: Path, tmp_path: Path) -> None:
    """A receipt from another file would say "deleted" of what is in the one that was moved."""
    away = tmp_path / "away.db"
    calls: list[Callable[[ReflexioClient], Any]] = [
        lambda client: client.get_requests(RequestQuery()),
        lambda client: client.delete_requests_by_ids(["old"]),
        lambda client: publish(client, "refused"),
    ]
    async with client_of(path) as client:
        for call in calls:
            await publish(client, "old")
            path.replace(away)
            with pytest.raises(OperationFailed) as caught:
                await call(client)
            assert "moved, replaced or removed" in caught.value.said
            assert ids_in(away) == {"old"}
            await publish(client, "after")
            assert await ids(client) == {"after"}
            path.unlink()
            with pytest.raises(OperationFailed):
                await client.whoami()


async def test_a_closed_store_stores_nothing(path: Path) -> None:
    store = EmbeddedStore(str(path))
    client = ReflexioClient("http://store", transport=store)
    await publish(client, "r")
    store.close()
    store.close()
    with pytest.raises(OperationFailed):
        await publish(client, "late")


async def test_a_fault_of_the_store_is_a_server_fault_and_rolled_back(
    client: ReflexioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(client, "r")
    with monkeypatch.context() as broken:
        broken.setattr("reflexio_mcp.embedded_store.routes._taken", None)
        with pytest.raises(ServerFault):
            await client.publish(body("r"), minted=False)
    await publish(client, "s")
    assert await ids(client) == {"r", "s"}


# Publishing, putting back, deleting


async def test_publishes_at_once_are_all_stored_and_one_id_once(client: ReflexioClient) -> None:
    refused: list[ReflexioError] = []

    async def put(request_id: str) -> None:
        try:
            await client.publish(body(request_id), minted=False)
        except AlreadyExists as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(put, f"r{number}")
            group.start_soon(put, "same")
    assert await ids(client) == {*(f"r{number}" for number in range(20)), "same"}
    assert len(refused) == 19


async def test_a_request_is_put_back_exactly_and_under_another_number(client: ReflexioClient) -> None:
    tool = ToolUse(tool_name="look", tool_data={"z": [1, 2.5, None, "ö"], "a": {}}, status="success")
    citation = Citation(kind="profile", real_id="p1", tag="t", title="likes dots")
    interactions = [
        Interaction(content="What is on it? \u202e 😀", image_encoding="aGk=", created_at=12),
        Interaction(role="Assistant", created_at=11, tools_used=[tool], citations=[citation]),
    ]
    await client.publish(body("rich", *interactions), minted=False)
    await publish(client, "other")
    [before] = (await client.read_whole(["unknown", "rich"])).requests
    assert before.interactions[1].image_encoding == "aGk="
    await client.delete_requests_by_ids(["rich"])
    assert (await client.read_whole(["rich"])).requests == []
    await client.put_back(before)
    with pytest.raises(AlreadyExists):
        await client.put_back(before)
    [after] = (await client.read_whole(["rich"])).requests
    assert after.request.arrival != before.request.arrival
    assert after.interactions == before.interactions
    assert after.request.model_copy(update={"arrival": before.request.arrival}) == before.request


async def test_interactions_whose_ids_are_taken_or_unknown_here_get_new_ones(client: ReflexioClient) -> None:
    await publish(client, "a", "b")
    [copied] = (await client.read_whole(["a"])).requests
    copied.request.request_id = "c"
    for taken in (copied.interactions[0].interaction_id, 2**62, 0, -4):
        copied.interactions[0].interaction_id = taken
        await client.put_back(copied)
        [stored] = (await client.read_whole(["c"])).requests
        assert 0 < stored.interactions[0].interaction_id < 100
        await client.delete_requests_by_ids(["c"])


async def test_an_imported_id_leaves_room_for_ids_that_every_client_can_write(client: ReflexioClient) -> None:
    """JavaScript rounds whole numbers above 2**53, and would delete another interaction."""
    await publish(client, "a")
    [copied] = (await client.read_whole(["a"])).requests
    for request_id, number in (("largest", 2**52), ("larger", 2**53)):
        copied.request.request_id = request_id
        copied.interactions[0].interaction_id = number
        await client.put_back(copied)
    await publish(client, "later")
    stored = (await client.read_whole(["largest", "larger", "later"])).requests
    ids = [interaction.interaction_id for item in stored for interaction in item.interactions]
    assert 2**52 in ids
    assert max(ids) < 2**52 + 100


async def test_large_requests_are_read_whole_a_few_at_a_time(client: ReflexioClient) -> None:
    for request_id in "abc":
        await client.publish(body(request_id, Interaction(content="x" * 700_000)), minted=True)
    reply = await client.read_whole(["a", "none", "b", "c"])
    assert [item.request.request_id for item in reply.requests] == ["a"]
    assert reply.looked_up == 2


async def test_ten_thousand_ids_are_deleted_in_one_call(client: ReflexioClient) -> None:
    await publish(client, "a", "b", "c")
    many = [f"unknown-{number}" for number in range(9_998)]
    assert (await client.delete_requests_by_ids(["a", *many, "b"])).deleted_count == 2
    assert await ids(client) == {"c"}


# Pages

SECONDS = st.integers(0, 8)
ROWS = st.tuples(st.sampled_from("ab"), st.sampled_from("xyz"), st.sampled_from(["", "chat"]), SECONDS)
QUERIES = st.fixed_dictionaries(
    {"top_k": st.integers(1, 4), "offset": st.integers(0, 3)},
    optional={
        "user_id": st.sampled_from(["a", "none", ""]),
        "session_id": st.sampled_from(["x", ""]),
        "source": st.sampled_from(["", "chat"]),
        "request_id": st.sampled_from(["r0", ""]),
        "start_time": SECONDS,
        "end_time": SECONDS,
    },
)


def plainly(data: list[tuple[str, str, str, int]], query: dict[str, Any]) -> list[list[str]]:
    """The contract's rules, word by word, over a list."""
    matching = [
        (second, number, session)
        for number, (user, session, source, second) in enumerate(data)
        if query.get("user_id") in (None, "", user)
        and query.get("session_id") in (None, "", session)
        and query.get("request_id") in (None, "", f"r{number}")
        and query.get("source", source) == source
        and query.get("start_time", 0) <= second <= query.get("end_time", 9)
    ]
    newest: dict[str, int] = {}
    for second, _, session in matching:
        newest[session] = max(second, newest.get(session, 0))
    order = sorted(newest, key=lambda session: (newest[session], session), reverse=True)
    page = order[query["offset"] :][: query["top_k"]]
    return [[f"r{number}" for _, number, of in sorted(matching, reverse=True) if of == one] for one in page]


@pytest.mark.ci
@settings(max_examples=100, deadline=None)
@given(st.lists(ROWS, max_size=20), st.lists(QUERIES, min_size=1, max_size=8))
def test_every_filter_and_page_agrees_with_a_plain_reading(
    data: list[tuple[str, str, str, int]], queries: list[dict[str, Any]]
) -> None:
    async def compare() -> None:
        async with embedded() as world:
            start = world.clock.now
            for number, (user, session, source, second) in enumerate(data):
                world.clock.now = start + second
                await world.put(f"r{number}", user=user, session=session, source=source)
            for query in queries:
                if query.get("start_time", 0) > query.get("end_time", 9):
                    continue
                times = {name: start + query[name] for name in ("start_time", "end_time") if name in query}
                page = await world.client.get_requests(RequestQuery(**{**query, **times}, count="requests"))
                assert grouped(page) == plainly(data, query)
                if "start_time" not in query:  # a period of one second is not counted
                    every = plainly(data, {**query, "top_k": 99, "offset": 0})
                    assert page.total == sum(map(len, every))

    anyio.run(compare)


async def test_a_page_of_a_large_store_is_found_by_an_index(path: Path) -> None:
    async with client_of(path) as client:
        await publish(client, "r")
    database = Database(str(path))
    with database.reading() as connection:
        for condition in ("1", "user_id = 'u'", "source = ''", "user_id = 'u' AND source = ''"):
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN SELECT DISTINCT session_id FROM requests WHERE {condition} AND created_at <= 9"
                " ORDER BY created_at DESC, session_id DESC"
            ).fetchall()
            steps = [row["detail"].split(" USING COVERING INDEX ")[0] for row in plan]
            assert steps == ["SEARCH requests", "USE TEMP B-TREE FOR DISTINCT"]
    database.close()


async def test_a_session_of_thousands_comes_whole(client: ReflexioClient) -> None:
    interactions = [Interaction(content=f"turn {number}") for number in range(1000)]
    for number in range(3):
        await client.publish(body(f"r{number}", *interactions), minted=True)
    [group] = (await client.get_requests(RequestQuery())).sessions
    assert [[interaction.content for interaction in item.interactions] for item in group.requests] == [
        [interaction.content for interaction in interactions]
    ] * 3
