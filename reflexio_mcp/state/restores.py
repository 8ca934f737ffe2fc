"""Which jobs are not over, and so may still store something.

They are restores, and deletions that make a learning current again: these claim it before they send anything.
"""

from typing import Final, NamedTuple

from reflexio_mcp.state.days import days_seen
from reflexio_mcp.state.tables import Transaction

GIVEN_UP_DAYS: Final = 2
"""On how many more days the state is in use before a restore without an end is given up. A clock that is wrong for a
moment adds one day, so one is not enough."""


class NotOver(NamedTuple):
    """Numbers of jobs that are not over, and of the deletions whose copies they restore.

    Each begins with 0, which is no number, because PostgreSQL takes no empty list.
    """

    jobs: list[int]
    deletions: list[int]


def jobs_not_over(transaction: Transaction) -> NotOver:
    """Return the restores, and the deletions with claims, that run or were interrupted and are not given up.

    A restore is over when its end is on record and nothing that it has sent can still be stored; until then, `finished`
    is NULL. Without such an end it is given up when its longest time has passed by the clock of the state, and the
    state was in use on two more days. So is a deletion that has not ended its claims. Of a job that was
    dated by a clock that was ahead, only the days tell.
    """
    not_given_up = "(({} >= ? AND at <= ?) OR seen > ?)"
    when = (transaction.now, transaction.now, days_seen(transaction) - GIVEN_UP_DAYS)
    rows = transaction.execute(
        "SELECT id, restores FROM main.deletions WHERE "  # noqa: S608
        f"(restores > 0 AND finished IS NULL AND {not_given_up.format('stores_until')}) "
        f"OR (restores = 0 AND claims != '' AND claimed_until > 0 AND {not_given_up.format('claimed_until')})",
        *when,
        *when,
    )
    # SQLite keeps other values in a column of numbers, too.
    deletions = {deletion for _, deletion in rows if isinstance(deletion, int)}
    return NotOver([0, *(job for job, _ in rows)], sorted({0, *deletions}))
