"""`get_requests` against a plain reading of the same data, and what a page costs."""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.filling import fill
from reflexio_mcp.embedded_store import queries
from reflexio_mcp.embedded_store.bodies import GetRequests, Publish
from reflexio_mcp.embedded_store.database import IN_MEMORY, Connection, Database

BASE = 1_800_000_000


@dataclass(frozen=True)
class Row:
    user: str
    session: str
    source: str
    second: int


def row() -> st.SearchStrategy[Row]:
    return st.builds(
        Row,
        user=st.sampled_from(["ann", "bob", "ann "]),
        session=st.sampled_from(["s1", "s2", "s10", "S1", "ß", "a", "z"]),
        source=st.sampled_from(["", "chat", "ide"]),
        second=st.integers(0, 6),
    )


def filters() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"top_k": st.integers(1, 9), "offset": st.integers(0, 9)},
        optional={
            "user_id": st.sampled_from(["ann", "bob", "nobody", ""]),
            "session_id": st.sampled_from(["s1", "z", "none", ""]),
            "source": st.sampled_from(["", "chat", "cron"]),
            "request_id": st.sampled_from(["r0", "r7", "none", ""]),
            "start_time": st.integers(-1, 7).map(lambda second: float(BASE + second)),
            "end_time": st.integers(8, 9).map(lambda second: BASE + second) | st.just(BASE + 8.5),
        },
    )


def plainly(data: Sequence[Row | None], query: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The contract's rules, word by word, over a list."""
    matching = [
        (number, row)
        for number, row in enumerate(data)
        if row
        and (not query.get("user_id") or row.user == query["user_id"])
        and (not query.get("session_id") or row.session == query["session_id"])
        and (not query.get("request_id") or f"r{number}" == query["request_id"])
        and ("source" not in query or row.source == query["source"])
        and ("start_time" not in query or BASE + row.second >= int(query["start_time"]))
        and ("end_time" not in query or BASE + row.second <= int(query["end_time"]))
    ]
    sessions = {row.session for _, row in matching}
    newest = {
        session: max(row.second for _, row in matching if row.session == session) for session in sessions
    }
    order = sorted(sessions, key=lambda session: (newest[session], session.encode()), reverse=True)
    page = order[query["offset"] : query["offset"] + query["top_k"]]
    return [
        (
            session,
            [
                f"r{number}"
                for number, row in sorted(matching, key=lambda one: (one[1].second, one[0]), reverse=True)
                if row.session == session
            ],
        )
        for session in page
    ]


def publish_of(row: Row) -> Publish:
    publish = Publish.model_validate(
        {
            "user_id": row.user,
            "session_id": row.session,
            "source": row.source,
            "interaction_data_list": [{"content": "x"}],
        }
    )
    publish.user_id = row.user  # with the space that a publish would strip: filters must not
    return publish


def stored(connection: Connection, query: dict[str, Any]) -> list[tuple[str, list[str]]]:
    found = queries.sessions(connection, GetRequests.model_validate(query))
    return [(session, [one["request"]["request_id"] for one in group]) for session, group in found]


@settings(max_examples=300, deadline=None)
@given(st.lists(row(), max_size=40), st.lists(filters(), min_size=1, max_size=8))
def test_every_filter_and_page_agrees_with_a_plain_reading(
    data: list[Row], asked: list[dict[str, Any]]
) -> None:
    database = Database(IN_MEMORY)
    with database.writing() as connection:
        for number, row in enumerate(data):
            assert queries.store(connection, publish_of(row), f"r{number}", BASE + row.second)
    with database.reading() as connection:
        for query in asked:
            assert stored(connection, query) == plainly(data, query)
    database.close()


def changes() -> st.SearchStrategy[list[Row | str | dict[str, Any]]]:
    """Publishes (a row), deletions of a session (its id) and questions, in any order."""
    deletion = st.sampled_from(["s1", "s10", "z"])
    # Few questions, so that each is asked again and again, a page further or not.
    question = st.builds(
        lambda bounds, offset: {"top_k": 2, "offset": offset, **bounds},
        st.sampled_from([{}, {}, {"user_id": "ann"}, {"end_time": BASE + 4}]),
        st.integers(0, 3),
    )
    return st.lists(row() | row() | deletion | question | question | question, min_size=8, max_size=25)


@pytest.mark.parametrize("place", ["memory", "file"])
@settings(max_examples=100, deadline=None)
@given(asked=changes())
def test_pages_agree_with_a_plain_reading_while_others_publish_and_delete(
    place: str, asked: list[Row | str | dict[str, Any]]
) -> None:
    """What a reader remembers of its last page must not outlive a change by anybody."""
    with tempfile.TemporaryDirectory() as folder:
        path = IN_MEMORY if place == "memory" else str(Path(folder) / "store.db")
        mine = Database(path)
        other = mine if place == "memory" else Database(path)
        data: list[Row | None] = []
        for number, step in enumerate(asked):
            writer = (mine, other)[number % 2]
            if isinstance(step, Row):
                with writer.writing() as connection:
                    queries.store(connection, publish_of(step), f"r{len(data)}", BASE + step.second)
                data.append(step)
            elif isinstance(step, str):
                with writer.writing() as connection:
                    queries.delete_session(connection, step)
                data = [None if row and row.session == step else row for row in data]
            else:
                with mine.reading() as connection:
                    assert stored(connection, step) == plainly(data, step)
        other.close()
        mine.close()


def test_a_session_of_thousands_comes_whole_with_every_interaction(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "store.db"))
    with database.writing() as connection:
        for number in range(1203):
            body = {
                "user_id": "u",
                "session_id": "big" if number % 3 else f"small-{number}",
                "interaction_data_list": [{"content": f"c{number}"}, {"content": "second"}],
            }
            queries.store(connection, Publish.model_validate(body), f"r{number}", BASE + number)
    with database.reading() as connection:
        found = [
            (session, one["request"]["request_id"], [turn["content"] for turn in one["interactions"]])
            for session, group in queries.sessions(connection, GetRequests(top_k=1000))
            for one in group
        ]
    database.close()
    assert len(found) == 1203
    assert sum(session == "big" for session, _, _ in found) == 802
    assert all(contents == [f"c{request[1:]}", "second"] for _, request, contents in found)


@contextmanager
def counting(connection: sqlite3.Connection) -> Iterator[list[int]]:
    """Counts the steps of SQLite's machine in hundreds: a measure of work that no other load disturbs."""
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    connection.set_progress_handler(count, 100)
    try:
        yield steps
    finally:
        connection.set_progress_handler(None, 0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    paths = {size: tmp_path_factory.mktemp("filled") / f"{size}.db" for size in (1000, 100_000)}
    for size, path in paths.items():
        fill(path, size)
    return paths


def work(path: Path, query: dict[str, Any]) -> int:
    database = Database(str(path))
    with database.reading() as connection, counting(connection) as steps:
        for _ in queries.sessions(connection, GetRequests.model_validate(query)):
            pass
    database.close()
    return steps[0]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"user_id": "user-3"},
        {"source": "benchmark"},
        {"user_id": "user-3", "source": "benchmark"},
        {"start_time": 1},
        {"user_id": "user-3", "start_time": 1, "end_time": datetime(2100, 1, 1, tzinfo=UTC)},
        {"source": "nothing"},
        {"user_id": "nobody"},
        {"user_id": "user-3", "source": "nothing"},
        {"session_id": "session-7"},
        {"session_id": "session-7", "user_id": "user-0", "source": "benchmark"},
        {"request_id": "request-7"},
    ],
    ids=str,
)
def test_a_first_page_costs_the_same_over_100_000_requests_as_over_1000(
    stores: dict[int, Path], query: dict[str, Any]
) -> None:
    small, large = (work(stores[size], {"top_k": 20, **query}) for size in (1000, 100_000))
    assert large <= 1.5 * small + 2


@pytest.mark.parametrize(
    "query", [{}, {"user_id": "user-3"}, {"source": "benchmark"}, {"start_time": 1}], ids=str
)
@pytest.mark.parametrize("count", ["sessions", "requests"])
def test_a_count_over_100_000_requests_costs_no_more_than_that_of_all_of_1000(
    stores: dict[int, Path], query: dict[str, Any], count: str
) -> None:
    cost: list[int] = []
    for size, wanted in ((1000, {}), (100_000, query)):
        database = Database(str(stores[size]))
        with database.reading() as connection, counting(connection) as steps:
            queries.total(connection, GetRequests.model_validate({"top_k": 20, "count": count, **wanted}))
        database.close()
        cost.append(steps[0])
    assert cost[1] <= 1.5 * cost[0] + 2


@pytest.mark.parametrize(("count", "number"), [("sessions", 200), ("requests", 1000)])
def test_what_matches_is_counted_up_to_a_bound_and_where_the_page_does_not_hold_it_all(
    stores: dict[int, Path], monkeypatch: pytest.MonkeyPatch, count: str, number: int
) -> None:
    database = Database(str(stores[1000]))
    with database.reading() as connection:
        asked = GetRequests.model_validate({"top_k": 20, "count": count})
        assert queries.total(connection, asked) == number
        assert queries.total(connection, asked.model_copy(update={"top_k": 201})) is None
        monkeypatch.setattr(queries, "MAX_COUNTED", 999)
        assert queries.total(connection, asked) is None
    database.close()


def test_a_huge_session_that_is_not_on_the_page_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    fill(path, 20_000)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE requests SET session_id = 'huge' WHERE arrival <= 19900")
    connection.commit()
    connection.close()
    assert work(path, {"top_k": 20}) < 100


def test_walking_all_pages_costs_hardly_more_than_one_page_of_everything(stores: dict[int, Path]) -> None:
    everything = work(stores[100_000], {"top_k": 20_001, "end_time": datetime(2100, 1, 1, tzinfo=UTC)})
    database = Database(str(stores[100_000]))
    total, offset = 0, 0
    while True:
        query = GetRequests(top_k=200, offset=offset, end_time=datetime(2100, 1, 1, tzinfo=UTC))
        with database.reading() as connection, counting(connection) as steps:
            found = {session for session, _ in queries.sessions(connection, query)}
        total += steps[0]
        if not found:
            break
        offset += len(found)
    database.close()
    assert offset == 20_000
    assert total <= 1.5 * everything


def test_a_deep_page_without_the_pages_before_it_costs_a_walk_there(stores: dict[int, Path]) -> None:
    first = work(stores[100_000], {"top_k": 20, "offset": 1000})
    deep = work(stores[100_000], {"top_k": 20, "offset": 10_000})
    assert deep <= 12 * first


def test_ten_thousand_ids_are_deleted_by_their_index(stores: dict[int, Path], tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(stores[100_000].read_bytes())
    database = Database(str(path))
    ids = [f"request-{number}" for number in range(0, 100_000, 10)]
    with database.writing(deletes=True) as connection, counting(connection) as steps:
        assert queries.delete_requests(connection, ids) == 10_000
    assert steps[0] * 100 < 10_000 * 200
    database.close()
