"""The state of deletions on this machine."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from reflexio_mcp.state.audit_log import AuditLog
from reflexio_mcp.state.database import StateDatabase
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.jobs import JobRecords
from reflexio_mcp.state.recovery_copies import RecoveryCopies

__all__ = ["LocalState"]


@dataclass
class LocalState:
    """What limits deletions, records them and lets them be undone.

    Args:
        cap: how many requests may be deleted in an hour.
        jobs: the deletions that were promised, in every process.
        copies: the recovery copies; none are made when their `days` is 0.
        audit_log: the audit log, if there is one.
        database: the file that all processes of this user share.
    """

    cap: HourlyCap
    jobs: JobRecords
    copies: RecoveryCopies
    audit_log: AuditLog | None = None
    database: StateDatabase | None = None

    @classmethod
    def configured(
        cls,
        *,
        database: Callable[[], Path | None],
        account: str,
        delete_cap: int,
        recovery_folder: Callable[[], Path],
        recovery_days: int,
        audit_log: str,
    ) -> Self:
        """Make the state of a configuration. Nothing is opened before the first deletion.

        Args:
            database: returns the path of the file that the processes of this user share, or `None`.
            account: stands for the backend and the key that deletions and jobs belong to.
            delete_cap, recovery_days, audit_log: as in the settings.
            recovery_folder: returns the folder of the recovery copies.
        """
        shared = StateDatabase(database)
        return cls(
            HourlyCap(delete_cap, shared, account),
            JobRecords(shared, account),
            RecoveryCopies(recovery_folder, recovery_days),
            AuditLog(audit_log) if audit_log else None,
            shared,
        )

    def close(self) -> None:
        """Forget what is kept in memory."""
        if self.database is not None:
            self.database.close()
