"""What limits deletions, records them and lets them be undone, whichever engine keeps it."""

from dataclasses import dataclass

from reflexio_mcp.state.audit_log import AuditLog
from reflexio_mcp.state.database import StateDatabase
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import JobRecords
from reflexio_mcp.state.recovery_copies import RecoveryCopies

__all__ = ["State"]


@dataclass
class State:
    """The parts of the state.

    Args:
        cap: how many requests may be deleted in an hour.
        jobs: the deletions that were promised, in every process.
        copies: the recovery copies; none are made when their `days` is 0.
        audit_log: the audit log, if there is one.
        database: what all processes share.
    """

    cap: HourlyCap
    jobs: JobRecords
    copies: RecoveryCopies
    audit_log: AuditLog | None
    database: StateDatabase
