"""The state in a file of one machine."""

import sqlite3
import stat
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import VERSION, SqliteDatabase, StateUnusable
from tests.state.conftest import KEY, OPERATOR, copied, deleted, deletion


def opened(path: Path | None, old_copies: Path | None = None) -> State:
    return State(SqliteDatabase(lambda: path, lambda: old_copies), lambda: [KEY], limit=100, days=7)


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
