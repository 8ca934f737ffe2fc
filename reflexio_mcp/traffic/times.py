"""Points in time as people and models write them."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

from reflexio_mcp.traffic.errors import InvalidInput

__all__ = ["ACCEPTED", "iso", "parse_time"]

ACCEPTED: Final = "ISO 8601 (2026-11-24T10:00:00Z, or 2026-11-24) or an age (30m, 24h, 7d, 2w)"

_AGE = re.compile(r"(\d{1,6})\s*([smhdwSHDW])")  # 6M may mean months
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


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
        return max(0, int(now) - int(age[1]) * _UNITS[age[2].lower()])
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        if end and _is_date(text):
            moment += timedelta(days=1, seconds=-1)
        seconds = int(moment.timestamp())
    except (ValueError, OverflowError):
        raise InvalidInput(field, f"must be {ACCEPTED}.") from None
    if seconds < 0:
        raise InvalidInput(field, f"must be {ACCEPTED}, not before 1970.")
    return seconds


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def iso(seconds: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC. A value beyond the calendar comes back as a number."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return str(int(seconds))
