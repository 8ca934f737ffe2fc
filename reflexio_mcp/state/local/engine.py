"""Makes the state of this machine."""

from collections.abc import Callable
from pathlib import Path

from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import JobRecords
from reflexio_mcp.state.local.audit_file import AuditFile
from reflexio_mcp.state.local.copy_folder import CopyFolder
from reflexio_mcp.state.local.database import LocalDatabase
from reflexio_mcp.state.state import State

__all__ = ["local_state"]


def local_state(
    *,
    database: Callable[[], Path | None],
    account: str,
    delete_cap: int,
    recovery_folder: Callable[[], Path],
    recovery_days: int,
    audit_log: str,
) -> State:
    """Make the state of a configuration. Nothing is opened before the first deletion.

    Args:
        database: returns the path of the file that the processes of this user share, or `None`.
        account: stands for the backend and the key that deletions and jobs belong to.
        delete_cap, recovery_days, audit_log: as in the settings.
        recovery_folder: returns the folder of the recovery copies.
    """
    shared = LocalDatabase(database)
    return State(
        HourlyCap(delete_cap, shared, account),
        JobRecords(shared, account),
        CopyFolder(recovery_folder, recovery_days),
        AuditFile(audit_log) if audit_log else None,
        shared,
    )
