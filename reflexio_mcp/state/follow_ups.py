"""A follow-up of a deletion that is on record, in the audit log and among the jobs, and has not ended."""

import contextlib
from dataclasses import dataclass
from typing import Any

from reflexio_mcp.state.audit_log import Entry
from reflexio_mcp.state.jobs import JobRecord, JobRecords

__all__ = ["Promise"]


@dataclass(frozen=True, slots=True)
class Promise:
    """What has to go on after a deletion.

    Args:
        jobs: where every process looks for it.
        record: how it is known there.
        entry: its entry in the audit log, if there is one.
    """

    jobs: JobRecords
    record: JobRecord
    entry: Entry | None

    def end(self, outcome: str, **facts: Any) -> None:
        """Note how it ended, `interrupted` when it was not through. What it found is noted by its job."""
        if self.entry:
            self.entry.close(outcome, **facts)
        if outcome == "interrupted":
            with contextlib.suppress(OSError):
                self.jobs.end(self.record.key, "stopped", "")
