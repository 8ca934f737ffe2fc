"""The deletions in a status: whole receipts as far as there is room, then counts alone, then a number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

from reflexio_mcp.render.deletion import receipt
from reflexio_mcp.render.text import NAME_CHARS, NOTICE, Facts, Unlisted, clip, fence
from reflexio_mcp.traffic.deletion.jobs import Job

__all__ = ["JobsFacts", "Told", "jobs_shown"]

RESERVED: Final = 200
"""Characters for the fence around the names, and for the line that counts what was left out."""


class JobsFacts(TypedDict, total=False):
    """The newest deletions, each with its receipt as far as there is room."""

    deletions: list[Facts]
    deletions_left_out: int
    notice: Unlisted[str]


@dataclass
class Told:
    """Jobs in both forms."""

    lines: list[str] = field(default_factory=list[str])
    facts: JobsFacts = field(default_factory=JobsFacts)


def jobs_shown(jobs: Sequence[Job], room: int) -> Told:
    """Render the newest jobs, as many as fit.

    Args:
        jobs: newest first.
        room: how many characters each form may take. The first job is rendered whatever it takes.
    """
    shown, names, lines = list[Facts](), list[str](), list[str]()
    left = room - RESERVED
    for job in jobs:
        name = f"{job.number}: {_what(job)}"
        for said, facts in _forms(job):
            text = "\n".join([name, *said])
            size = max(len(text) + 1, len(json.dumps(facts, ensure_ascii=False)) + 2)
            if size <= left or not shown:
                break
        else:
            break
        left -= size
        names.append(name)
        lines += said
        shown.append(facts)
    told = Told([fence("\n".join(["deletions", *names])), *lines] if shown else [], {"deletions": shown})
    if shown:
        told.facts["notice"] = NOTICE
    if older := len(jobs) - len(shown):
        told.facts["deletions_left_out"] = older
        told.lines.append(f"{older:,} older deletions are left out here.")
    return told


def _what(job: Job) -> str:
    # It names ids, which may be somebody's words.
    return clip(" ".join(job.what.split()), NAME_CHARS)


def _forms(job: Job) -> Iterator[tuple[list[str], Facts]]:
    """Yield a job with its whole receipt, then with its counts alone."""
    facts: Facts = {"number": job.number, "what": _what(job), "state": job.state}
    line = f"deletion {job.number}: {job.state}"
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
