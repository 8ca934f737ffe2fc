"""Recovery copies and records as they would be at another time, or if an earlier version had made them."""

import json
from collections.abc import Callable, Sequence

from reflexio_mcp.state import job_rows
from reflexio_mcp.state.copies import COLUMNS, Row
from reflexio_mcp.state.job_rows import JobRow, JobSeals
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


def reseal_jobs_in_earlier_form(database: Database, secrets: Sequence[bytes]) -> None:
    """Seal the records of deletions and restores as the first versions did. Rows that do not open stay."""
    with database.transaction() as transaction:
        for values in transaction.execute(f"SELECT {job_rows.COLUMNS} FROM main.deletions"):
            row = JobRow.of(values)
            for secret in secrets:
                keys = Keys(lambda secret=secret: [secret])
                seals = JobSeals(keys)
                try:
                    target, asked, planned, *_ = seals.open_intention(row.identity, row.intention)
                    receipt = seals.open_end(row.identity, row.end).receipt if row.end else ""
                except RowChanged:
                    continue
                transaction.execute(
                    "UPDATE main.deletions SET intention = ?, receipt = ? WHERE id = ?",
                    keys.seal(json.dumps([target, asked, planned]), f"intention {row.identity.code}"),
                    keys.seal(receipt, f"receipt {row.identity.number}") if receipt else None,
                    row.identity.number,
                )
