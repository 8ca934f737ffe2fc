"""What was acknowledged is stored, whatever happens to the processes that use the file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.store import processes

pytestmark = pytest.mark.ci


def stored(path: Path) -> set[str]:
    """The ids in the file, after a check that each has its content."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT request_id, content FROM requests JOIN interactions ON arrival = request"
        ).fetchall()
    assert all(content == f"content of {request_id}" for request_id, content in rows)
    assert len(rows) == len(dict(rows))
    return {request_id for request_id, _ in rows}


@pytest.mark.parametrize("acknowledged", [1, 37])
def test_each_acknowledged_publish_is_there_after_kill_9(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "store.db"
    process = processes.start(path, "mine", 100_000)
    processes.begin(process)
    answered = {processes.line(process) for _ in range(acknowledged)}
    process.kill()
    answered.update(processes.rest(process))
    # At most the publish that was under way when the process died was stored without an answer.
    assert answered <= stored(path)
    assert len(stored(path) - answered) <= 1


def test_processes_that_create_one_store_at_once_lose_nothing_and_one_may_die(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    doomed, *others = (processes.start(path, name, 25) for name in ("doomed", "a", "b", "c"))
    for one in (doomed, *others):
        processes.begin(one)
    answered = {processes.line(doomed)}
    doomed.kill()
    for one in (doomed, *others):
        answered.update(processes.rest(one))
    assert [one.returncode for one in others] == [0, 0, 0]
    assert answered <= stored(path)
    assert {f"{name}-{number}" for name in "abc" for number in range(25)} <= answered
