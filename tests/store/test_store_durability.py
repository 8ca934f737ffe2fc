"""What was acknowledged stays stored, whatever happens to the processes."""

import sqlite3
import threading
from pathlib import Path

import pytest

from tests.store import processes


def stored(path: Path) -> dict[str, str]:
    """Request id -> content of everything in the file, which must be sound."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute(
            "SELECT request_id, content FROM requests LEFT JOIN interactions ON request = arrival"
        ).fetchall()
    finally:
        connection.close()
    assert len(rows) == len(dict(rows))
    return dict(rows)


@pytest.mark.parametrize("acknowledged", [1, 20, 77])
def test_each_acknowledged_publish_is_there_after_kill_9(tmp_path: Path, acknowledged: int) -> None:
    path = tmp_path / "store.db"
    process = processes.start("publish", str(path), "mine", "100000")
    assert processes.line(process) == "ready"
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    answered = [processes.line(process) for _ in range(acknowledged)]
    answered += [one.rstrip("\n") for one in processes.kill(process) if one.endswith("\n")]
    found = stored(path)
    assert {one: f"content of {one}" for one in answered}.items() <= found.items()
    # At most the one that was under way when the process died was stored without an answer.
    assert len(found) - len(answered) in (0, 1)


def test_four_processes_that_create_one_store_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "store.db"
    crowd = [processes.start("publish", str(path), f"p{number}", "25") for number in range(4)]
    for one in crowd:
        assert processes.line(one) == "ready"
    printed: dict[int, list[str]] = {}

    def run(number: int) -> None:
        printed[number] = processes.finish(crowd[number])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:  # closing stdin is the signal to begin
        thread.start()
    for thread in threads:
        thread.join(90)
    assert [one.returncode for one in crowd] == [0, 0, 0, 0]
    answered = {request_id for lines in printed.values() for request_id in lines}
    assert len(answered) == 100
    assert stored(path).keys() == answered


def test_a_store_is_used_by_two_processes_and_survives_the_death_of_one(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = processes.start("publish", str(path), "first", "100000")
    second = processes.start("publish", str(path), "second", "40")
    for one in (first, second):
        assert processes.line(one) == "ready"
    assert first.stdin is not None
    first.stdin.write("\n")
    first.stdin.flush()
    answered = [processes.line(first) for _ in range(5)]
    assert second.stdin is not None
    second.stdin.write("\n")
    second.stdin.flush()
    answered += [processes.line(second) for _ in range(5)]
    answered += [one.rstrip("\n") for one in processes.kill(first) if one.endswith("\n")]
    answered += processes.finish(second)
    assert second.returncode == 0
    assert set(answered) <= stored(path).keys()
    assert {f"second-{number}" for number in range(40)} <= stored(path).keys()
