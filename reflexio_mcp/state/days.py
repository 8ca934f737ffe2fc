"""What tells how much time has passed if the clock is wrong: the days on which the state was in use, and uptime.

A clock that is wrong for a moment adds one day, however far it is ahead.
"""

import sys
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final, NamedTuple

from reflexio_mcp.state.tables import Transaction, is_number, is_time

DAY: Final = 86_400.0

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class Uptime(NamedTuple):
    """How long a machine has run, in seconds, which no clock changes.

    Args:
        boot: names the start of the machine. Empty if the system does not tell one start from another.
    """

    boot: str = ""
    seconds: float = 0.0


def uptime() -> Uptime:
    if sys.platform != "linux":
        return Uptime()
    try:
        return Uptime(BOOT_ID.read_text(encoding="ascii").strip(), time.clock_gettime(time.CLOCK_BOOTTIME))
    except OSError:
        return Uptime()


def note_day(transaction: Transaction) -> None:
    transaction.execute(
        "INSERT INTO main.days (day) VALUES (?) ON CONFLICT (day) DO NOTHING", _today(transaction)
    )


def days_seen(transaction: Transaction) -> int:
    """Return the number of days, by the server's clock, on which the state was in use."""
    return transaction.execute("SELECT count(*) FROM main.days")[0][0]


def days_with_today(transaction: Transaction) -> int:
    """Return what `days_seen` does, with the day on which the state is in use now."""
    noted = transaction.execute("SELECT 1 FROM main.days WHERE day = ?", _today(transaction))
    seen = days_seen(transaction)
    return seen if noted else seen + 1


def certain_day(transaction: Transaction, *, has_clock: bool) -> date:
    """Return the last day that is sure to have come, even if the clock of this machine is ahead now.

    A hold ends only when it is over on this day, too.

    Args:
        has_clock: the database has a clock of its own, so today is sure. Without one, the day returned is the last one
            before today on which the state was in use, or `date.min` if there was none. Days after today were noted by
            a clock that was ahead, and do not count.
    """
    if has_clock:
        return datetime.fromtimestamp(transaction.now, UTC).date()
    [(day,)] = transaction.execute("SELECT max(day) FROM main.days WHERE day < ?", _today(transaction))
    if not is_number(day) or not is_time(day * DAY):
        return date.min
    return datetime.fromtimestamp(day * DAY, UTC).date()


def _today(transaction: Transaction) -> int:
    return int(transaction.now // DAY)
