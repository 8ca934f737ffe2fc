"""Recovery copies as they would be at another time, or if an earlier version had made them."""

from collections.abc import Callable, Sequence

from reflexio_mcp.state.copies import COLUMNS, Row
from reflexio_mcp.state.keys import Keys, RowChanged
from reflexio_mcp.state.tables import Database


def unchanged(row: Row) -> Row:
    return row


def reseal(
    database: Database,
    secrets: Sequence[bytes],
    change: Callable[[Row], Row] = unchanged,
    *,
    earlier: bool = False,
) -> None:
    """Change the times of recovery copies, each sealed again with its own key. Rows that do not open stay.

    Args:
        earlier: seal as versions before 14 did.
    """
    with database.transaction() as transaction:
        for *values, sealed in transaction.execute(f"SELECT {COLUMNS}, sealed FROM main.copies"):
            before = Row(*values)
            after = change(before)
            identity = after.earlier_identity if earlier else after.identity
            for secret in secrets:
                keys = Keys(lambda secret=secret: [secret])
                try:
                    content = keys.open(sealed, before.identity)
                except RowChanged:
                    continue
                transaction.execute(
                    "UPDATE main.copies SET at = ?, until = ?, seen_until = ?, sealed = ? WHERE id = ?",
                    after.at,
                    after.until,
                    after.seen_until,
                    keys.seal(content, identity),
                    after.id,
                )
