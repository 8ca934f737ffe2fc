"""Makes the state that replicas share."""

from collections.abc import Sequence

from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import JobRecords
from reflexio_mcp.state.postgresql.audit_table import AuditTable
from reflexio_mcp.state.postgresql.copy_table import CopyTable
from reflexio_mcp.state.postgresql.database import PostgresqlDatabase
from reflexio_mcp.state.postgresql.sealing import Sealer
from reflexio_mcp.state.state import State

__all__ = ["postgresql_state"]


def postgresql_state(
    url: str, *, account: str, delete_cap: int, recovery_days: int, keys: Sequence[str]
) -> State:
    """Make the state of a configuration. Nothing is opened before its first use.

    Args:
        url: of the database, as libpq takes it.
        account: stands for the backend and the key that deletions and jobs belong to.
        delete_cap, recovery_days: as in the settings.
        keys: the state keys, the newest first.
    """
    database = PostgresqlDatabase(url)
    return State(
        HourlyCap(delete_cap, database, account),
        JobRecords(database, account),
        CopyTable(database, recovery_days, Sealer(keys)),
        AuditTable(database),
        database,
    )
