"""What came of finished tasks: `python -m evals.report FOLDER [FOLDER ...]`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import anyio

from evals.bridge import task_of
from evals.tasks import Wrong, judge
from evals.worlds import stored


@dataclass(frozen=True)
class Outcome:
    """One finished task.

    Args:
        calls: tool calls made.
        chars: characters the assistant was given for them, the list of tools left out.
        doubts: sentences of the answer that begin with "Doubt:".
    """

    task: str
    view: str
    wrong: Wrong
    calls: int
    chars: int
    doubts: tuple[str, ...]


async def read(folder: Path) -> Outcome:
    """Judge what an assistant left in a folder of the bridge."""
    task, begun = task_of(folder)
    log = folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    entries = [json.loads(line) for line in lines]
    calls = [entry for entry in entries if "tool" in entry]
    said = next((entry["answer"] for entry in reversed(entries) if "answer" in entry), "")
    if "url" in begun:
        if not (folder / "left.json").exists():
            raise SystemExit(f"{folder}: the assistant has not answered yet.")
        left = json.loads((folder / "left.json").read_text(encoding="utf-8"))
        wrong = judge(task, set(left["requests"]), said, left["learned"])
    else:
        wrong = judge(task, await stored(folder / "store.db"), said)
    doubts = tuple(line for line in said.splitlines() if line.startswith("Doubt:"))
    return Outcome(
        task.name,
        begun["view"],
        wrong,
        len(calls),
        sum(one["chars"] for one in calls),
        doubts,
    )


def table(outcomes: list[Outcome]) -> str:
    """A line a task, and for each view the sums that the aims are stated in."""
    lines = [f"{'task':<20} {'view':<10} {'right':<5} {'calls':>5} {'chars':>7}"]
    for one in outcomes:
        right = "no" if one.wrong else "yes"
        lines.append(f"{one.task:<20} {one.view:<10} {right:<5} {one.calls:>5} {one.chars:>7,}")
        lines += [f"    {remark}" for remark in (*([one.wrong] if one.wrong else []), *one.doubts)]
    for view in sorted({one.view for one in outcomes}):
        same = [one for one in outcomes if one.view == view]
        lost = sum(len(one.wrong.lost) + len(one.wrong.forgotten) for one in same)
        lines.append(
            f"{view}: {sum(not one.wrong for one in same)} of {len(same)} right, {lost} wrongly deleted, "
            f"{sum(one.calls for one in same)} calls, {sum(one.chars for one in same):,} characters, "
            f"{sum(len(one.doubts) for one in same)} doubts"
        )
    return "\n".join(lines)


async def _main(folders: list[Path]) -> str:
    return table([await read(folder) for folder in folders])


if __name__ == "__main__":
    sys.stdout.write(anyio.run(_main, [Path(one) for one in sys.argv[1:]]) + "\n")
