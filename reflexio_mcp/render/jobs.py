"""The deletions that a status reports: their receipts whole as far as there is room, then in short, then counted."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.render.deletion import receipt
from reflexio_mcp.render.text import NAME_CHARS, Facts, clip
from reflexio_mcp.traffic.deletion.jobs import Job

__all__ = ["Told", "jobs_shown"]

RESERVED: Final = 100
"""Characters for the line that counts what was left out."""


@dataclass
class Told:
    """Jobs in both forms."""

    lines: list[str] = field(default_factory=list[str])
    facts: Facts = field(default_factory=Facts)


def jobs_shown(jobs: Sequence[Job], room: int) -> Told:
    """The newest jobs, as many as fit.

    Args:
        jobs: the newest first.
        room: characters that either form may take. The first job is told whatever it takes.
    """
    told, shown = Told(), list[Facts]()
    left = room - RESERVED
    for job in jobs:
        for lines, facts in _forms(job):
            size = max(len("\n".join(lines)) + 1, len(json.dumps(facts, ensure_ascii=False)) + 2)
            if size <= left or not shown:
                break
        else:
            break
        left -= size
        told.lines += lines
        shown.append(facts)
    told.facts["deletions"] = shown
    if older := len(jobs) - len(shown):
        told.facts["deletions_left_out"] = older
        told.lines.append(f"{older:,} older deletions are left out here.")
    return told


def _forms(job: Job) -> Iterator[tuple[list[str], Facts]]:
    """A job with its whole receipt, then with its counts alone."""
    what = clip(" ".join(job.what.split()), NAME_CHARS)
    facts: Facts = {"number": job.number, "what": what, "state": job.state}
    line = f"deletion {job.number} ({what}): {job.state}"
    if job.failure:
        facts["failure"] = job.failure
        line += f": {job.failure}"
    if job.receipt is None:
        yield [line], facts
        return
    whole = receipt(job.receipt)
    yield [line, whole.text], facts | {"receipt": dict(whole.structured)}
    status, counts = whole.structured["status"], whole.structured["counts"]
    said = ", ".join(f"{outcome.replace('_', ' ')} ({count:,})" for outcome, count in counts.items())
    yield (
        [f"{line}, {status}: {said or 'nothing was there'}"],
        facts | {"receipt": {"status": status, "counts": counts}},
    )
