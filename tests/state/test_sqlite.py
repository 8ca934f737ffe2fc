"""The state in a file of one machine."""

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from reflexio_mcp import private_files
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import VERSION, Database, SqliteDatabase, StateUnusable, holds_sealed
from tests.state.conftest import ALICE, KEY, OPERATOR, Place, copied, deleted, deletion, restored, restoring


def opened(path: Path | None, old_copies: Path | None = None) -> State:
    return State(SqliteDatabase(lambda: path, lambda: old_copies), lambda: [KEY], limit=100, days=7)


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Iterator[Place]:
    def file() -> Database:
        return SqliteDatabase(lambda: tmp_path / "state.db")

    place = Place(file, tmp_path, file)
    with place.opened:
        yield place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "state.db"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_only_its_owner_can_read_it(path: Path) -> None:
    opened(path).begin(OPERATOR, deletion())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    opened(path).begin(OPERATOR, deletion())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_was_erased_is_not_left_in_the_file(path: Path) -> None:
    state = opened(path)
    deleted(state, OPERATOR, copied())
    [row] = rows(path, "SELECT sealed FROM copies")
    assert row[0] in path.read_bytes()
    deleted(state, OPERATOR, erase=("r:r1",))
    assert row[0][20:] not in path.read_bytes()


def test_a_file_that_is_removed_under_a_running_server_is_not_made_anew_in_silence(path: Path) -> None:
    state = opened(path)
    state.begin(OPERATOR, deletion())
    path.unlink()
    for use in (lambda: state.begin(OPERATOR, deletion()), lambda: state.last(OPERATOR)):
        with pytest.raises(StateUnusable, match="the state file cannot be used"):
            use()
    assert not path.exists()


def test_a_state_in_memory_that_is_used_after_its_end_leaves_no_connection_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect
    monkeypatch.setattr(
        "sqlite3.connect", lambda *given, **named: connections.append(one := connect(*given, **named)) or one
    )
    state = opened(None)
    state.check()
    state.database.close()
    state.check()
    del state
    assert len(connections) == 2
    for one in connections:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            one.execute("SELECT 1")


def test_what_cannot_be_read_is_not_taken_for_empty(path: Path) -> None:
    deleted(opened(path), OPERATOR, copied())
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\0" * (len(whole) - 100))
    for use in (
        lambda: opened(path).copies.listed(OPERATOR),
        lambda: opened(path).last(OPERATOR),
        lambda: deleted(opened(path), OPERATOR, erase=("r:r1",)),
    ):
        with pytest.raises(StateUnusable):
            use()
    path.unlink()
    path.mkdir()
    with pytest.raises(StateUnusable):
        opened(path).copies.listed(OPERATOR)


def test_a_check_says_that_the_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StateUnusable, match="the state file cannot be used") as refused:
        opened(tmp_path / "data" / "state.db").check()
    assert str(tmp_path) not in f"{refused.value} {refused.value.advice}"
    opened(tmp_path / "elsewhere" / "state.db").check()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(path: Path) -> None:
    def folder_of(state: Path) -> State:
        return State(SqliteDatabase(lambda: state), lambda: [KEY], limit=100, days=7, folder=state.parent)

    deleted(folder_of(path), OPERATOR, copied())
    [end] = path.parent.glob("*.end")
    end.unlink()
    os.mkfifo(end)
    assert folder_of(path).log.verify().end == "damaged"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StateUnusable, match="the state file cannot be used"):
        folder_of(path).copies.listed(OPERATOR)


def test_another_process_is_waited_for(path: Path) -> None:
    state = opened(path)
    state.check()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("reflexio_mcp.state.tables.WAIT_SECONDS", 0.05)
            with pytest.raises(StateUnusable, match="the state file cannot be used"):
                state.begin(OPERATOR, deletion())
    state.begin(OPERATOR, deletion())


def other_process_can_write(path: Path) -> bool:
    """Whether another process gets the write lock of a file at once."""
    program = (
        "import sqlite3, sys; other = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
        "try: other.execute('BEGIN IMMEDIATE')\n"
        "except sqlite3.OperationalError as error: sys.exit(str(error))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or "database is locked" in done.stderr
    return done.returncode == 0


def test_a_look_at_the_file_leaves_the_locks_of_a_transaction_beside_it(path: Path) -> None:
    with SqliteDatabase(lambda: path).transaction() as transaction:
        transaction.execute("INSERT INTO main.days VALUES (1)")
    with SqliteDatabase(lambda: path).transaction():
        assert not other_process_can_write(path)
        assert not holds_sealed(path)
        assert not other_process_can_write(path), "after a look for what is sealed"
        with suppress(StateUnusable), pytest.MonkeyPatch.context() as patch:
            patch.setattr("reflexio_mcp.state.tables.WAIT_SECONDS", 0)
            SqliteDatabase(lambda: path).read("SELECT 1")
        assert not other_process_can_write(path), "after another state of this process was opened"
    assert other_process_can_write(path)


def test_a_file_that_another_thread_is_making_is_not_opened_before_it_is_closed_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing it would drop the locks of whoever had opened it."""
    made, go_on, opened_here = threading.Event(), threading.Event(), threading.Event()
    create = private_files.create

    def slow(file: Path) -> int:
        descriptor = create(file)
        made.set()
        assert go_on.wait(10)
        return descriptor

    def use() -> None:
        with SqliteDatabase(lambda: path).transaction():
            opened_here.set()

    monkeypatch.setattr(private_files, "create", slow)
    threads = [threading.Thread(target=use) for _ in range(2)]
    threads[0].start()
    assert made.wait(10)
    threads[1].start()
    was_opened = opened_here.wait(0.3)
    go_on.set()
    for thread in threads:
        thread.join()
    assert not was_opened
    assert opened_here.is_set()


def test_a_file_of_another_program_that_cannot_be_read_without_its_journal_is_refused_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY)")
    monkeypatch.setattr("reflexio_mcp.state.tables._check_ours", lambda _: None)
    before = path.read_bytes()
    with pytest.raises(StateUnusable, match="made by another program"):
        opened(path).check()
    assert path.read_bytes() == before


def test_a_state_in_memory_is_one_for_its_whole_process() -> None:
    state = opened(None)
    with closing(state.database):
        number = deleted(state, OPERATOR, copied())
        assert list(state.copies.listed(OPERATOR)) == [number]


@pytest.mark.parametrize("version", [0, 4, 12, 13])
def test_a_file_of_another_program_is_refused_and_left_as_it_is(path: Path, version: int) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.executescript(
            "CREATE TABLE deletions (id INTEGER PRIMARY KEY); CREATE TABLE jobs (id INTEGER PRIMARY KEY);"
            f"INSERT INTO deletions VALUES (7); PRAGMA user_version = {version}"
        )
    path.chmod(0o644)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StateUnusable, match="made by another program") as refused:
            opened(path).begin(OPERATOR, deletion())
        assert "move it to another folder" in refused.value.advice
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o644
    assert [one.name for one in path.parent.iterdir()] == ["state.db"]


def test_the_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    opened(path).begin(OPERATOR, deletion())
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StateUnusable, match="was made by another version"):
        opened(path).begin(OPERATOR, deletion())


@pytest.mark.parametrize("removed", [True, False])
def test_a_state_that_was_removed_or_emptied_is_noticed(path: Path, removed: bool) -> None:
    def process() -> State:
        return State(SqliteDatabase(lambda: path), lambda: [KEY], limit=100, days=7, folder=path.parent)

    deleted(process(), OPERATOR, copied())
    if removed:
        path.unlink()
    else:
        path.write_bytes(b"")
    assert process().log.verify().end == "gone"
    process().begin(OPERATOR, deletion())
    assert process().log.verify().cut == [1]


def test_recovery_copies_of_an_earlier_version_are_named_and_not_passed_over(
    path: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "recovery"
    folder.mkdir()
    opened(path, folder).check()
    (folder / "1764370000-1764970000-0123456789abcdef-0123456789-1.jsonl").write_text("{}")
    state = opened(path, folder)
    for use in (
        lambda: state.begin(OPERATOR, deletion()),
        state.check,
        lambda: state.copies.listed(OPERATOR),
    ):
        with pytest.raises(StateUnusable, match="recovery copies of an earlier version") as refused:
            use()
        assert "remove the folder" in refused.value.advice
    for one in folder.iterdir():
        one.unlink()
    with suppress(OSError):
        folder.rmdir()
    state.begin(OPERATOR, deletion())


def rows(path: Path, statement: str) -> list[tuple[bytes, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


WRONG_VALUES = (
    "'abc'",
    *(
        pytest.param(value, marks=pytest.mark.ci)
        for value in ("x'ff00'", "CAST(x'ff' AS TEXT)", "-5000", "9e99")
    ),
)


@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize(
    "column",
    ["at", "counted", "gone", "finished", "outcome", "restores", "stores_until", "chain", "seen", "begun"],
)
def test_a_wrong_value_in_a_record_stops_no_list_no_deletion_and_no_restore(
    sqlite_place: Place, column: str, value: str
) -> None:
    state = sqlite_place.process(limit=10)
    number = deleted(state, ALICE, copied("r1"), copied("r2"))
    other = deleted(state, ALICE, copied("r3"))
    sqlite_place.sql(f"UPDATE deletions SET {column} = {value} WHERE id = {number}")
    assert {one.number for one in state.last(ALICE)} == {number, other}
    assert all(isinstance(one.gone, int) and 0 <= one.at < 1e12 for one in state.last(ALICE))
    assert (state.check_room(ALICE) or 0) <= 9
    restore = state.begin_restore(ALICE, restoring(other))
    assert restored(state, ALICE, restore)
    deleted(state, ALICE, copied("r4"))
    state.prune()
    assert {copy.id for copy in state.copies.read(ALICE)} >= {"r3", "r4"}


@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize(
    "column",
    ["deletion", "at", "until", "seen_until", "account", "user_id", "kind", "names", "sealed"],
)
def test_a_wrong_value_in_a_copy_is_counted_and_stops_nothing_for_the_others(
    sqlite_place: Place, column: str, value: str
) -> None:
    state = sqlite_place.process()
    number = deleted(state, ALICE, copied("r1"), copied("r2"))
    sqlite_place.sql(f"UPDATE copies SET {column} = {value} WHERE id = 1")
    state.copies.listed(ALICE)
    reading = state.copies.read(ALICE, names=["r:r1", "r:r2"], erasing=True)
    assert [copy.id for copy in reading] == ["r2"]
    assert reading.damaged + state.copies.count_unreadable() == 1
    deleted(state, ALICE, erase=("r:r2",))
    state.prune()
    assert not [copy.id for copy in state.copies.read(ALICE, deletion=number)]


@pytest.mark.parametrize("value", ["''", "x''"])
def test_an_empty_text_as_the_end_of_an_early_record_is_seen_as_a_change(
    sqlite_place: Place, value: str
) -> None:
    deleted(sqlite_place.process(), ALICE, copied("r1"))
    sqlite_place.make_first()
    upgraded = sqlite_place.process()
    upgraded.check()
    sqlite_place.sql(f"UPDATE deletions SET finished = {value}")
    [found] = upgraded.last(ALICE)
    assert (found.finished, found.damaged) == (None, True)


@pytest.mark.ci
@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize(
    ("table", "column"), [("keys", "at"), ("log", "at"), ("log", "line"), ("log", "chain"), ("days", "day")]
)
def test_a_wrong_value_in_another_table_stops_nothing(
    sqlite_place: Place, table: str, column: str, value: str
) -> None:
    state = sqlite_place.process()
    number = deleted(state, ALICE, copied("r1"))
    state.note_export(ALICE, "everything", {"requests": 1})
    state.note_report(ALICE, 5)
    sqlite_place.sql(f"UPDATE {table} SET {column} = {value}")
    again = sqlite_place.process()
    again.noted(ALICE)
    again.learning_deeds(ALICE, 0)
    again.last_reported(ALICE)
    again.log.verify()
    again.prune()
    assert [one.number for one in again.last(ALICE)] == [number]
    assert [copy.id for copy in again.copies.read(ALICE)] == ["r1"]
    deleted(again, ALICE, copied("r2"))


@pytest.mark.ci
@pytest.mark.parametrize("value", WRONG_VALUES)
@pytest.mark.parametrize(
    "column", ["restore", "erasure", "account", "user_id", "sealing_key", "sealed", "settled"]
)
def test_a_wrong_value_in_a_note_of_what_must_go_stops_nothing(
    sqlite_place: Place, column: str, value: str
) -> None:
    state = sqlite_place.process()
    number = deleted(state, ALICE, copied("r1"))
    state.begin_restore(ALICE, restoring(number))
    deleted(state, ALICE, erase=("r:r1",))
    sqlite_place.sql(f"UPDATE must_go SET {column} = {value}")
    state.must_go.waiting(ALICE)
    deleted(state, ALICE, copied("r2"))
    state.prune()
    assert "r2" in [copy.id for copy in state.copies.read(ALICE)]
