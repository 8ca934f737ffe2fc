"""Recovery copies, and what came of putting one back."""

from collections.abc import Sequence
from typing import Final

from reflexio_mcp.render.deletion import named_ids
from reflexio_mcp.render.text import Facts, Rendered, counted, dense
from reflexio_mcp.rest.errors import explain
from reflexio_mcp.state.recovery_copies import RecoveryCopy
from reflexio_mcp.traffic.deletion.restore import Became, Restored
from reflexio_mcp.traffic.times import iso

__all__ = ["copies_listed", "restored"]

LOST: Final = (
    "Not restored, because the service does not give it out: arrival times (they are new), images sent as base64, "
    "citations, and learnings that were deleted."
)
LEARNS: Final = "Restored traffic may be learned from again; evaluation_only=true prevents that."
COPIES_SHOWN: Final = 50


def _copy(copy: RecoveryCopy) -> Facts:
    return {
        "copy_id": copy.copy_id,
        "deleted_at": iso(copy.made_at),
        "kept_until": iso(copy.kept_until),
        "requests": copy.requests,
    }


def copies_listed(copies: Sequence[RecoveryCopy]) -> Rendered:
    """The copies of a scope."""
    shown = [_copy(copy) for copy in copies[:COPIES_SHOWN]]
    lines = [
        f"copy_id={one['copy_id']} · {counted(one['requests'], 'request')} deleted {one['deleted_at']}, "
        f"kept until {one['kept_until']}"
        for one in shown
    ]
    left_out = len(copies) - len(shown)
    following = "To restore one, call again with its copy_id." if shown else "Nothing can be restored."
    facts: Facts = {
        "status": "listed",
        "copies": shown,
        **dense({"left_out": left_out or None}),
        "next": following,
    }
    lead = f"{counted(len(copies), 'recovery copy').replace('copys', 'copies')} here, newest first."
    more = [f"{left_out:,} older ones are not shown."] if left_out else []
    return Rendered("\n".join([lead, *lines, *more, following]), facts)


def restored(done: Restored, *, evaluation_only: bool) -> Rendered:
    """What came of a restore."""
    kinds: tuple[Became, ...] = ("restored", "already_there", "not_restorable", "not_in_copy", "left")
    named = {kind: done.ids(kind) for kind in kinds}
    counts = {kind: len(ids) for kind, ids in named.items() if ids}
    outcomes = {kind: named_ids(named[kind]) for kind in counts}
    complete = not {"left", "not_restorable"} & counts.keys()
    facts: Facts = {
        "status": "complete" if complete else "incomplete",
        "copy_id": done.copy.copy_id,
        "restored": counts.get("restored", 0),
        "counts": counts,
        "outcomes": outcomes,
        "lost": LOST,
    }
    origin = f"the deletion of {iso(done.copy.made_at)} (copy_id={done.copy.copy_id})"
    text = [f"Restored {counted(facts['restored'], 'request')} from {origin}."]
    facts["deleted_at"] = iso(done.copy.made_at)
    for kind, ids in outcomes.items():
        words = kind.replace("_", " ")
        text.append(f"{words} ({counts[kind]:,}): {', '.join(ids)}{' …' if counts[kind] > len(ids) else ''}")
    if done.turns_lost:
        facts["interactions_lost"] = done.turns_lost
        text.append(
            f"{counted(done.turns_lost, 'interaction')} had nothing but an image and could not be restored."
        )
    text.append(LOST)
    if not evaluation_only:
        facts["learning"] = LEARNS
        text.append(LEARNS)
    if done.failure is not None:
        facts["failure"] = explain(done.failure)
        text.append(f"It stopped: {facts['failure']}")
    if "left" in counts:
        when = f" in {round(done.waiting)} s" if done.waiting else ""
        why = "The service takes no more just now. " if done.waiting else ""
        facts["next"] = f"{why}Call again{when} to go on; what is restored is not stored twice."
        text.append(facts["next"])
    return Rendered("\n".join(text), facts)
