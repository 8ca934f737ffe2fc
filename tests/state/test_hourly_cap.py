"""Edge cases of the hourly cap."""

from pathlib import Path

import pytest

from reflexio_mcp.state.hourly_cap import WINDOW_SECONDS, HourlyCap
from reflexio_mcp.state.local.database import LocalDatabase
from tests.support.embedded import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cap(tmp_path: Path, clock: Clock) -> HourlyCap:
    """Ten requests an hour."""
    return HourlyCap(10, LocalDatabase(lambda: tmp_path / "state.db", clock))


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


def test_there_is_room_again_when_the_hour_of_what_was_taken_is_over(cap: HourlyCap, clock: Clock) -> None:
    assert cap.take("a", 6)
    clock.now += 600
    assert cap.take("a", 4)
    assert cap.wait("a", 6) == WINDOW_SECONDS - 600
    assert cap.wait("a", 7) == WINDOW_SECONDS
    clock.now += WINDOW_SECONDS - 601
    assert cap.take("a", 1) is None
    clock.now += 1
    assert cap.take("a", 6)
    assert cap.take("a", 1) is None


def test_what_was_not_deleted_after_all_is_given_back(cap: HourlyCap) -> None:
    taken = cap.take("a", 6)
    assert taken
    cap.give_back(taken, 2)
    assert cap.room("a") == 6
    cap.give_back(taken, 4)
    assert cap.room("a") == 10


def test_no_limit_is_no_cap(tmp_path: Path) -> None:
    cap = HourlyCap(0, LocalDatabase(lambda: tmp_path / "state.db"))
    assert cap.room("a") is None
    assert cap.take("a", 10**9) == 0
