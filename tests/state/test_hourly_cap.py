"""The hourly cap at its edges."""

from reflexio_mcp.state.hourly_cap import WINDOW_SECONDS, HourlyCap
from tests.support.embedded import Clock


def test_exactly_the_limit_fits_and_one_more_does_not_and_is_not_counted() -> None:
    cap = HourlyCap(10, Clock())
    assert cap.take("a", 7)
    assert not cap.take("a", 4)
    assert cap.room("a") == 3
    assert cap.take("a", 3)
    assert cap.room("a") == 0
    assert not cap.take("a", 1)


def test_each_owner_has_the_whole_cap() -> None:
    cap = HourlyCap(10, Clock())
    assert cap.take("a", 10)
    assert cap.take("b", 10)


def test_there_is_room_again_when_the_hour_of_what_was_taken_is_over() -> None:
    clock = Clock()
    cap = HourlyCap(10, clock)
    assert cap.take("a", 6)
    clock.now += 600
    assert cap.take("a", 4)
    assert cap.wait("a", 6) == WINDOW_SECONDS - 600
    assert cap.wait("a", 7) == WINDOW_SECONDS
    clock.now += WINDOW_SECONDS - 601
    assert not cap.take("a", 1)
    clock.now += 1
    assert cap.take("a", 6)
    assert not cap.take("a", 1)


def test_what_was_not_deleted_after_all_is_given_back() -> None:
    cap = HourlyCap(10, Clock())
    assert cap.take("a", 4)
    assert cap.take("a", 6)
    cap.give_back("a", 7)
    assert cap.room("a") == 7


def test_no_limit_is_no_cap() -> None:
    cap = HourlyCap(0, Clock())
    assert cap.room("a") is None
    assert cap.take("a", 10**9)
