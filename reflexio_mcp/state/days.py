"""The days that the state has seen. A clock that is wrong for a moment adds one day, however far it is ahead."""

from typing import Final

from reflexio_mcp.state.tables import Transaction

DAY: Final = 86_400.0


def note_day(transaction: Transaction) -> None:
    today = int(transaction.now // DAY)
    transaction.execute("INSERT INTO main.days (day) VALUES (?) ON CONFLICT (day) DO NOTHING", today)


def days_seen(transaction: Transaction) -> int:
    """Return the number of days, by the server's clock, on which the state was in use."""
    return transaction.execute("SELECT count(*) FROM main.days")[0][0]
