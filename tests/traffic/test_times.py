"""Points in time as people and models write them."""

from datetime import UTC, datetime

import pytest

from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.times import iso, parse_time

NOW = 1_790_000_000.7


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("30m", 1800),
        ("24h", 86_400),
        ("7d", 7 * 86_400),
        ("2w", 14 * 86_400),
        (" 1 H ", 3600),
    ],
)
def test_an_age_is_so_long_before_now(text: str, seconds: int) -> None:
    assert parse_time("start_time", text, now=NOW) == int(NOW) - seconds


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00+00:00"),
        ("2026-11-24T10:00:00", "2026-11-24T10:00:00+00:00"),
        ("2026-11-24 10:00", "2026-11-24T10:00:00+00:00"),
        ("2026-11-24T10:00:00+05:30", "2026-11-24T10:00:00+05:30"),
        ("2026-11-24", "2026-11-24T00:00:00+00:00"),
    ],
)
def test_iso_times_are_taken_with_and_without_a_zone(text: str, same: str) -> None:
    assert parse_time("start_time", text, now=NOW) == at(same)


@pytest.mark.parametrize("text", ["2026-11-24", "20261124", "2026-W48-2"])
def test_a_bare_date_that_ends_a_period_means_its_last_second_however_it_is_written(text: str) -> None:
    assert parse_time("end_time", text, now=NOW, end=True) == at("2026-11-24T23:59:59+00:00")


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "7 days",
        "-3d",
        "1969-12-31",
        "9999-12-31T23:00:00-12:00",
        "2026-13-01",
        "12",
        "9999999d",
        "d",
        "∞",
        "6M",
    ],
)
def test_what_is_no_time_is_refused_with_what_is_taken(text: str) -> None:
    with pytest.raises(InvalidInput, match="start_time must be ISO 8601"):
        parse_time("start_time", text, now=NOW)


def test_a_time_is_written_in_utc() -> None:
    assert iso(0) == "1970-01-01T00:00:00Z"
