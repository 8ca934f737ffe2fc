"""The deletions in a status: whole receipts as far as there is room, then counts alone, then a number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

from reflexio_mcp.render.deletion import receipt
from reflexio_mcp.render.learnings import what_followed
from reflexio_mcp.render.text import NOTICE, Facts, Unlisted, explained, fence, shown_name
from reflexio_mcp.state.follow_ups import Abandoned
from reflexio_mcp.traffic.deletion.jobs import Job
from reflexio_mcp.traffic.times import iso

__all__ = ["JobsFacts", "Told", "jobs_shown"]

ABANDONED: Final = (
    "It ended with its server before Reflexio had stopped learning, so what was deleted may have been learned again: "
    "look with list_learnings, and take it back with delete_learnings."
)

ABANDONED_SHOWN: Final = 3

RESERVED: Final = 200
"""Characters for the fence around the names, and for the line that counts what was left out."""


class JobsFacts(TypedDict, total=False):
    """The newest deletions, each with its receipt as far as there is room."""

    deletions: list[Facts]
    deletions_left_out: int
    abandoned: Unlisted[list[Facts]]
    notice: Unlisted[str]


@dataclass
class Told:
    """Jobs in both forms."""

    lines: list[str] = field(default_factory=list[str])
    facts: JobsFacts = field(default_factory=JobsFacts)


def jobs_shown(jobs: Sequence[Job], room: int, abandoned: Sequence[Abandoned] = ()) -> Told:
    """Render the newest jobs, as many as fit.

    Args:
        jobs: newest first.
        room: how many characters each form may take. The first job is rendered whatever it takes.
        abandoned: follow-ups that ended with their process; the newest ones are told.
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
    ended = abandoned[:ABANDONED_SHOWN]
    names += [f"not finished: {_clipped(one.what)}" for one in ended]
    told = Told([fence("\n".join(["deletions", *names])), *lines] if names else [], {"deletions": shown})
    if ended:
        told.facts["abandoned"] = [
            {"what": _clipped(one.what), "began": iso(one.began), "follow_up": ABANDONED} for one in ended
        ]
        told.lines += [f"The follow-up of {iso(one.began)} was not finished. {ABANDONED}" for one in ended]
    if names:
        told.facts["notice"] = NOTICE
    if older := len(jobs) - len(shown):
        told.facts["deletions_left_out"] = older
        told.lines.append(f"{older:,} older deletions are left out here.")
    return told


def _followed(job: Job) -> str:
    """How a follow-up stands."""
    if job.state == "running":
        return "It waits until Reflexio has stopped learning, and deletes what the deleted requests fed."
    if job.taken is not None:
        failure = f" It stopped: {explained(job.taken.failure, 'read')}" if job.taken.failure else ""
        return what_followed(job.taken) + failure
    return job.failure or ABANDONED


def _what(job: Job) -> str:
    # It names ids, which may be somebody's words.
    return _clipped(job.what)


def _clipped(what: str) -> str:
    return shown_name(" ".join(what.split()))


def _forms(job: Job) -> Iterator[tuple[list[str], Facts]]:
    """Yield a job with its whole receipt, then with its counts alone."""
    facts: Facts = {"number": job.number, "what": _what(job), "state": job.state}
    line = f"{'follow-up' if job.follows else 'deletion'} {job.number}: {job.state}"
    if job.follows:
        said = _followed(job)
        yield [f"{line}. {said}"], facts | {"follow_up": said}
        return
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
