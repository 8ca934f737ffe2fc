"""Points in time as people and models write them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from reflexio_mcp.rest.api_limits import date_of
from reflexio_mcp.traffic.errors import InvalidInput

__all__ = ["iso", "parse_time"]

ACCEPTED: Final = "ISO 8601 since 1970 (2026-11-24T10:00:00Z, or 2026-11-24) or an age (30m, 24h, 7d, 2w)"

DATE_CHARS: Final = 10
"""Length of 2026-11-24, the longest way to write a date without a time of day."""

_AGE = re.compile(r"(\d{1,6})\s*([smhdwSHDW])")  # 6M may mean months
_SECONDS_OF_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parse_time(field: str, text: str, *, now: float, end: bool = False) -> int:
    """Turn a point in time into epoch seconds.

    Args:
        text: ISO 8601 or an age before `now`. Without a zone it is UTC. A bare date means its first second, or its
            last second if `end`.

    Raises:
        InvalidInput: not a point in time between the years 1970 and 9999.
    """
    text = text.strip()
    if age := _AGE.fullmatch(text):
        return max(0, int(now) - int(age[1]) * _SECONDS_OF_UNIT[age[2].lower()])
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        if end and len(text) <= DATE_CHARS:
            moment += timedelta(days=1, seconds=-1)
        seconds = int(moment.astimezone(UTC).timestamp())  # fails after the year 9999
        if seconds < 0:
            raise ValueError
    except (ValueError, OverflowError):
        raise InvalidInput(field, f"must be {ACCEPTED}.") from None
    return seconds


def iso(seconds: float) -> str:
    return f"{date_of(seconds):%Y-%m-%dT%H:%M:%SZ}"
