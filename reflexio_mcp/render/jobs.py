"""The deletions in a status: whole receipts as far as there is room, then counts alone, then a number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypedDict

from reflexio_mcp.render.deletion import receipt
from reflexio_mcp.render.learned import what_followed
from reflexio_mcp.render.receipt_end import all_ids
from reflexio_mcp.render.receipt_ids import written
from reflexio_mcp.render.result import Facts, Unlisted, dense
from reflexio_mcp.render.stored_text import NOTICE, explained, fence, shown_name
from reflexio_mcp.state.job_records import JobRecord
from reflexio_mcp.traffic.deletion.jobs import Job
from reflexio_mcp.traffic.times import iso

__all__ = ["JobsFacts", "Told", "jobs_shown", "told_of"]

FOLLOWING: Final = "It waits until Reflexio has stopped learning, and deletes what these requests fed."
ABANDONED: Final = (
    "It ended with its server before Reflexio had stopped learning, so what was deleted may have been learned again: "
    "look with list_learnings, and take it back with delete_learnings."
)

WAITS: Final = (
    "The process that began it ended before it was through. A process with this configuration that may delete goes on "
    "with it."
)
NOT_FINISHED: Final = (
    "Not done: its process ended before it was through, and no other one goes on with it. Some of it may be gone: look "
    "what is there, and plan it again."
)

KEPT: Final = "kept"
"""What a record says beside what is told: until when which recovery copy is kept."""

RESERVED: Final = 320
"""Characters for the fence around the names, and for the lines that say of when it is and what was left out."""

AS_OF_THEN: Final = (
    "A receipt tells what was so when its deletion ended, not what was stored or put back since."
)
NOT_HERE: Final = "is kept; this server does not offer restore_requests, which would put it back."


class JobsFacts(TypedDict, total=False):
    """The newest deletions, each with its receipt as far as there is room."""

    deletions: list[Facts]
    deletions_as_of: Unlisted[str]
    deletions_left_out: int
    deletions_problem: Unlisted[str]
    notice: Unlisted[str]


@dataclass
class Told:
    """Jobs in both forms."""

    lines: list[str] = field(default_factory=list[str])
    facts: JobsFacts = field(default_factory=JobsFacts)


def jobs_shown(jobs: Sequence[JobRecord], room: int, problem: str = "", *, restores: bool = True) -> Told:
    """Render the newest jobs, as many as fit.

    Args:
        jobs: newest first.
        room: how many characters each form may take. The first job is rendered whatever it takes.
        restores: whether this server offers `restore_requests`.
        problem: why they cannot be shown, as a sentence, where they cannot.
    """
    shown, names, lines = list[Facts](), list[str](), list[str]()
    left = room - RESERVED
    for job in jobs:
        name = f"{job.number}: {_what(job)}"
        for said, facts in _forms(job, restores):
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
    told = Told([fence("\n".join(["deletions", *names])), *lines] if names else [], {"deletions": shown})
    if names:
        told.facts["notice"] = NOTICE
    if any("receipt" in one for one in shown):
        told.facts["deletions_as_of"] = AS_OF_THEN
        told.lines.append(AS_OF_THEN)
    if problem:
        told.facts["deletions_problem"] = problem
        told.lines.append(problem)
    if older := len(jobs) - len(shown):
        told.facts["deletions_left_out"] = older
        told.lines.append(f"{older:,} older deletions are left out here.")
    return told


def told_of(job: Job) -> tuple[str, str]:
    """What is kept of a job that has ended.

    Returns:
        Each way to tell of it as lines and facts, the longest first, and all ids of its receipt.
    """
    ids = written(job.receipt) if job.receipt else ""
    return json.dumps(list(_ways(job, has_ids=bool(ids)))), ids


def _ways(job: Job, *, has_ids: bool) -> Iterator[tuple[list[str], Facts]]:
    """Yield what came of a job with its whole receipt, then with its counts alone."""
    if job.record.follows:
        said = _followed(job)
        yield [f". {said}"], {"follow_up": said}
        return
    facts: Facts = {}
    line = ""
    if job.failure:
        facts["failure"] = job.failure
        line = f": {job.failure}"
    if job.receipt is None:
        yield [line], facts
        return
    done = replace(job.receipt, number=job.number if has_ids else 0)
    whole = receipt(done)
    undo = whole.structured.get("undo", "")
    if done.copy_id and undo:
        facts[KEPT] = {"until": iso(done.kept_until), "copy_id": done.copy_id}
    yield [line, whole.text], facts | {"receipt": dict(whole.structured)}
    status, counts = whole.structured["status"], whole.structured["counts"]
    said = ", ".join(f"{outcome.replace('_', ' ')} ({count:,})" for outcome, count in counts.items())
    other_ids = all_ids(done) if has_ids else ""
    yield (
        [". ".join(filter(None, (f"{line}, {status}: {said or 'nothing was there'}", undo, other_ids)))],
        facts
        | {"receipt": dense({"status": status, "counts": counts, "undo": undo, "other_ids": other_ids})},
    )


def _followed(job: Job) -> str:
    """How a follow-up ended."""
    if job.taken is not None:
        failure = f" It stopped: {explained(job.taken.failure, 'read')}" if job.taken.failure else ""
        return what_followed(job.taken) + failure
    return job.failure or ABANDONED


def _what(job: JobRecord) -> str:
    # It names ids, which may be somebody's words.
    return shown_name(" ".join(job.what.split()))


def _forms(job: JobRecord, restores: bool) -> Iterator[tuple[list[str], Facts]]:
    """Yield a job in every way that it can be told, the longest first."""
    began = iso(job.began)
    line = f"{'follow-up' if job.follows else 'deletion'} {job.number}, begun {began}: {job.state}"
    known: Facts = {"number": job.number, "what": _what(job), "began": began, "state": job.state}
    ways: list[tuple[list[str], Facts]] = json.loads(job.told) if job.told else [_untold(job)]
    for said, facts in ways:
        kept = facts.pop(KEPT, None)  # no record of an earlier version has it
        first, *more = said if restores or not kept else _without_the_call(said, facts, kept)
        yield [line + first, *more], known | facts


def _without_the_call(said: list[str], facts: Facts, kept: Facts) -> list[str]:
    """What is told of a job where nothing here puts it back. Its facts are changed too."""
    receipt = facts["receipt"]
    undo = receipt["undo"]
    which = f"copy_id={kept['copy_id']}"
    receipt["undo"] = f"Until {kept['until']} its recovery copy ({which}) {NOT_HERE}"
    return [line.replace(undo, receipt["undo"]) for line in said]


def _untold(job: JobRecord) -> tuple[list[str], Facts]:
    """How a job stands of which nothing is known yet."""
    if job.follows:
        said = FOLLOWING if job.state == "running" else ABANDONED
        return [f". {said}"], {"follow_up": said}
    if job.state == "running":
        return [""], {}
    said = WAITS if job.order else NOT_FINISHED
    return [f": {said}"], {"failure": said}
