"""What every receipt of a deletion ends with: what is left, the way back, what went wrong, what to do."""

from typing import Final

from reflexio_mcp.render.deletion_facts import FINAL, DeletionFacts, earlier_copies
from reflexio_mcp.render.gaps import gap_lines
from reflexio_mcp.render.receipt_ids import ids_of
from reflexio_mcp.render.result import Rendered, counted, sentences
from reflexio_mcp.state.job_records import TOLD_SECONDS
from reflexio_mcp.traffic.deletion.execute import Receipt
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.times import iso

__all__ = ["all_ids", "closed", "erased_from_copies"]

IN_AUDIT_LOG: Final = "The audit log names those of the other ids that were planned."
IN_COPY: Final = "Those of the other ids that restore_requests puts back are in list_requests then."
AGAIN: Final = "; the same call with erase=true takes it out of them"
NOWHERE: Final = "No record names the other ids."


def closed(
    done: Receipt,
    text: list[str],
    facts: DeletionFacts,
    *,
    survives: str,
    as_what: str = "",
    took: bool,
    failure: str,
    following: str,
) -> Rendered:
    """A receipt with its end.

    Args:
        text, facts: the receipt so far.
        survives: what is left of the set.
        as_what: as what it comes back, where that is not plain.
        took: whether anything was deleted, so that it is said that nothing brings it back.
        failure: what ended it early, or empty.
        following: what to do where it is not complete.
    """
    if _leaves_ids_out(done, facts):
        facts["other_ids"] = all_ids(done)
        text.append(facts["other_ids"])
    facts["survives"] = survives
    text.append(survives)
    if done.copy_id or (took and not done.copies_left):
        facts["undo"] = _way_back(done, as_what) if done.copy_id else _final(done)
        text.append(facts["undo"])
    if done.forgotten:
        copies = "1 recovery copy" if done.forgotten == 1 else f"{done.forgotten:,} recovery copies"
        text.append(f"Taken out of {copies}.")
    text += [*done.problems, *gap_lines(done.plan.gaps)]
    if failure:
        facts["failure"] = failure
        text.append(f"It stopped: {failure}")
    if not done.complete:
        facts["next"] = following
        text.append(following)
    return Rendered("\n".join(text), facts)


def _leaves_ids_out(done: Receipt, facts: DeletionFacts) -> bool:
    lists = ("deleted_ids", "learnings_still_there", "changed_ids", "not_found")
    named = [*facts.get("outcomes", {}).values(), *(facts.get(one, []) for one in lists)]
    return sum(map(len, named)) < sum(map(len, ids_of(done).values()))


def all_ids(done: Receipt) -> str:
    """How the ids come out that a receipt leaves out."""
    if done.number:
        after = "; the audit log names those that were planned" if done.logged else ""
        return f"get_status receipt={done.number} names all ids, for up to {TOLD_SECONDS / 86_400:.0f} days{after}."
    return IN_AUDIT_LOG if done.logged else IN_COPY if done.copy_id else NOWHERE


def _final(done: Receipt) -> str:
    """That nothing brings it back, and where an earlier deletion has left some of it."""
    if done.plan.erase:
        return FINAL
    # A repeat finds what only copies hold, but not single interactions in them.
    again = "" if isinstance(done.plan, TurnPlan) else AGAIN
    return sentences(FINAL, earlier_copies(done.plan.copies_until, f", and may hold some of it{again}"))


def _way_back(done: Receipt, as_what: str) -> str:
    """Until when a deletion can be undone, by which call, and what of it cannot."""
    back = f"Until {iso(done.kept_until)} it can be put back{as_what}: restore_requests with copy_id={done.copy_id}"
    if not done.not_copied:
        return back
    them = "is not in the copy" if done.not_copied == 1 else "are not in the copy"
    number = counted(done.not_copied, "learning")
    return f"{back}\n{number} that came up while it was made {them}; that part cannot be undone."


def erased_from_copies(done: Receipt) -> str:
    """How many learnings went that only recovery copies held."""
    verb = "is" if done.learned_erased == 1 else "are"
    return (
        f"{counted(done.learned_erased, 'learning')} that only recovery copies held {verb} erased from them."
    )
