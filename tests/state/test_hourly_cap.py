"""Edge cases of the hourly cap."""

import errno
import os
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from reflexio_mcp.state.database import StateUnusable
from reflexio_mcp.state.hourly_cap import WINDOW_SECONDS, HourlyCap
from reflexio_mcp.state.local.database import LocalDatabase
from tests.state.conftest import Engine


@pytest.fixture
def cap(engine: Engine) -> HourlyCap:
    """Ten requests an hour."""
    return engine.cap()


def test_exactly_the_limit_fits_and_one_more_does_not_and_is_not_counted(cap: HourlyCap) -> None:
    assert cap.take("a", 7)
    assert cap.take("a", 4) is None
    assert cap.room("a") == 3
    assert cap.take("a", 3)
    assert cap.room("a") == 0
    assert cap.take("a", 1) is None


def test_each_owner_has_the_whole_cap(cap: HourlyCap) -> None:
    assert cap.take("a", 10)
    assert cap.take("b", 10)


def test_there_is_room_again_when_the_hour_of_what_was_taken_is_over(cap: HourlyCap, engine: Engine) -> None:
    assert cap.take("a", 6)
    engine.clock.now += 600
    assert cap.take("a", 4)
    assert cap.wait("a", 6) == WINDOW_SECONDS - 600
    assert cap.wait("a", 7) == WINDOW_SECONDS
    engine.clock.now += WINDOW_SECONDS - 601
    assert cap.take("a", 1) is None
    engine.clock.now += 1
    assert cap.take("a", 6)
    assert cap.take("a", 1) is None


def test_what_was_not_deleted_after_all_is_given_back(cap: HourlyCap) -> None:
    taken = cap.take("a", 6)
    assert taken
    cap.give_back(taken, 2)
    assert cap.room("a") == 6
    cap.give_back(taken, 4)
    assert cap.room("a") == 10


def test_a_thread_that_comes_when_all_is_closed_opens_nothing(engine: Engine) -> None:
    cap = HourlyCap(10, database := engine.process())
    assert cap.take("a", 6)
    database.close()
    with pytest.raises(StateUnusable, match="has stopped"):
        cap.room("a")
    database.open()
    assert cap.room("a") == 4


def test_no_limit_is_no_cap(engine: Engine) -> None:
    cap = engine.cap(0)
    assert cap.room("a") is None
    assert cap.take("a", 10**9) == 0


@pytest.mark.anyio
async def test_callers_of_several_processes_never_pass_it_together(engine: Engine) -> None:
    fitted: list[int] = []

    def one_process() -> None:
        cap = engine.cap(50)
        fitted.extend(number for number in [3] * 10 if cap.take("me", number) is not None)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(anyio.to_thread.run_sync, one_process)
    assert sum(fitted) == 48
    assert engine.cap(50).room("me") == 2


def test_what_was_deleted_already_counts_also_beyond_the_limit(cap: HourlyCap) -> None:
    cap.count("a", 12)
    assert cap.room("a") == 0
    assert cap.take("a", 1) is None


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_where_no_file_can_be_made_nothing_is_counted_instead(
    number: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> int:
        raise OSError(number, os.strerror(number))

    cap = HourlyCap(10, LocalDatabase(lambda: tmp_path / "state.db"))
    with monkeypatch.context() as patch:
        patch.setattr("reflexio_mcp.private_files.create", fails)
        with pytest.raises(StateUnusable, match=f"cannot be made: {why}") as refused:
            cap.take("me", 6)
    assert "REFLEXIO_MCP_STORE" in refused.value.advice
    assert cap.take("me", 6)
    assert HourlyCap(10, LocalDatabase(lambda: tmp_path / "state.db")).room("me") == 4


def test_a_folder_that_may_not_be_looked_into_is_a_state_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    database = LocalDatabase(lambda: tmp_path / "folder" / "state.db")
    monkeypatch.setattr(Path, "exists", refuses)
    with pytest.raises(StateUnusable, match="cannot be made: Permission denied") as refused:
        database.check()
    assert "REFLEXIO_MCP_STORE" in refused.value.advice
