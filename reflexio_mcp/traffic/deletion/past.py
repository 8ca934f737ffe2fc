"""Lists deletions and restores, with what can be restored."""

from collections.abc import Sequence
from typing import Final

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at, shown_name
from reflexio_mcp.results.deletion import (
    Counts,
    Logged,
    PastDeletion,
    Receipt,
    Who,
    recorded_receipt,
)
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state.log import said_in
from reflexio_mcp.state.records import Deletion, Noted, Owner, RecoveryCopy
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.deletion.items import kinds_counted
from reflexio_mcp.traffic.deletion.jobs import Jobs
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["MOST_LISTED", "last_deletions", "last_logged", "log_checked", "not_listed"]

LOOK_SECONDS: Final = 20.0
"""Time limit of counting what an interrupted deletion deleted."""

MOST_LISTED: Final = 10
"""Maximum number of last deletions, and of receipts in a longer list."""

ALL: Final = 1_000_000
"""A limit that leaves nothing out."""

SHOWN: Final = 50
"""Maximum number of deletions to choose from."""


async def last_deletions(
    scope: Scope,
    state: State,
    owner: Owner,
    jobs: Jobs | None = None,
    *,
    number: int = 0,
    restorable: bool = False,
    since: float | None = None,
) -> list[PastDeletion]:
    """Return the last deletions and restores of an owner, newest first. Raises `StateUnusable`.

    Args:
        number: only this deletion; 0 for all.
        restorable: only deletions with a recovery copy that can be restored.
        since: all from this time on, in epoch seconds, however many they are.
    """
    jobs = jobs or Jobs()  # a command has none
    running = jobs.running
    most = SHOWN if restorable else MOST_LISTED
    if since is not None:
        most = ALL
    deletions = await in_thread(state.last, owner, most, number, restorable=restorable)
    running |= jobs.running  # with those that began while the deletions were read
    copies = await in_thread(state.copies.listed, owner)  # also those of deletions that ended meanwhile

    def is_listed(deletion: Deletion) -> bool:
        if deletion.at < (since or 0):
            return False
        return deletion.number in copies or (deletion.own and not restorable)

    past = [
        await _past(scope, deletion, copies.get(deletion.number), deletion.number in running)
        for deletion in deletions
        if is_listed(deletion)
    ]
    return past[:MOST_LISTED] + [
        deletion.model_copy(update={"receipt": None}) for deletion in past[MOST_LISTED:]
    ]


async def not_listed(state: State, owner: Owner, listed: Sequence[PastDeletion]) -> list[Fact]:
    """Say which deletions can be restored that are older than all that are listed. Raises `StateUnusable`.

    Args:
        listed: newest first.
    """
    copies = await in_thread(state.copies.listed, owner)
    older = [number for number in copies if listed and number < listed[-1].number]
    if not older:
        return []
    numbers = f"{min(older)}-{max(older)}"
    return [Fact(code=FactCode.MORE_TO_RESTORE, number=len(older), names=[numbers])]


async def _past(scope: Scope, deletion: Deletion, copy: RecoveryCopy | None, running: bool) -> PastDeletion:
    by_operator = copy is not None and not deletion.own
    if copy and by_operator:  # nothing else of that deletion is shown
        number = copy.counts.total()
        deletion = deletion._replace(target="", asked=number, gone=number, planned=[], receipt="")
    gone = deletion.gone
    if deletion.may_return:
        status = "incomplete"
    elif deletion.outcome:
        status = deletion.outcome
    elif running:
        status = "running"
    elif deletion.damaged:
        status = "unknown"
    else:
        status, gone = "unfinished", max(gone, await _count_deleted(scope, deletion.planned))
    return PastDeletion(
        by=_who(deletion.began) if deletion.own else None,
        number=deletion.number,
        at=at(deletion.at),
        by_operator=by_operator,
        target=shown_name(deletion.target),
        status=status,
        restores=deletion.restores,
        may_return=deletion.may_return,
        asked=deletion.asked,
        gone=gone,
        copied=kinds_counted(copy.counts) if copy else None,
        until=at(copy.until) if copy else None,
        receipt=_receipt(deletion),
        damaged=deletion.damaged,
    )


async def last_logged(state: State, owner: Owner, *, since: float | None = None) -> list[Logged]:
    """Return an owner's last exports, imports and refusals, and what holds kept from deletions. Raises `StateUnusable`.

    Args:
        since: all from this time on, in epoch seconds, however many they are.
    """
    noted = await in_thread(state.noted, owner, MOST_LISTED if since is None else ALL, since=since or 0)
    return [logged for line in noted if (logged := _logged(line))]


async def log_checked(state: State) -> list[Fact]:
    """Check the audit log, and the records of deletions. Raises `StateUnusable`."""
    found = await in_thread(state.log.verify)
    code = FactCode.LOG_SOUND if found.has_all_lines else FactCode.LOG_UNSOUND
    facts = [Fact(code=code, number=found.lines)]
    if found.records:
        facts.append(Fact(code=FactCode.RECORDS_CHANGED, number=len(found.records)))
    return facts


def _who(began: str) -> Who | None:
    line = said_in(began)
    if not line:
        return None

    def said(name: str) -> str:
        return shown_name(str(line.get(name) or ""))

    return Who(
        tool=said("tool"),
        caller=said("caller"),
        person=said("person"),
        client=said("client"),
        consent=said("consent"),
        reason=said("reason"),
        finding=said("finding"),
    )


def _logged(noted: Noted) -> Logged | None:
    """Return what a line says; `None` if it was changed into something else, which the check of the log finds."""
    line = said_in(noted.line)
    try:
        return Logged(
            at=at(noted.at),
            event=line["event"],
            target=shown_name(line["target"]),
            caller=shown_name(line.get("caller", "")),
            person=shown_name(line.get("person", "")),
            client=shown_name(line.get("client", "")),
            tool=shown_name(line.get("tool", "")),
            why=shown_name(line.get("why", "")),
            held=[shown_name(reason) for reason in line.get("held", ())],
            counts=line.get("counts", {}),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _receipt(deletion: Deletion) -> Receipt | None:
    receipt = recorded_receipt(deletion.receipt) if deletion.receipt else None
    return receipt.model_copy(update={"log": deletion.chain}) if receipt else None


async def gone_from_copies(state: State, owner: Owner, number: int) -> int:
    """Count the deleted items whose recovery copy is not in the state any more, by the receipt of the deletion.

    Raises `StateUnusable`. Returns 0 if no copy is left or there is no receipt, and for the deletion of somebody else,
    whose receipt is also about items of other users.
    """
    copies = await in_thread(state.copies.listed, owner, number)
    deletions = await in_thread(state.last, owner, 1, number)
    if number not in copies or not deletions or not deletions[0].own:
        return 0
    receipt = recorded_receipt(deletions[0].receipt)
    return _count_without_copy(receipt, kinds_counted(copies[number].counts)) if receipt else 0


def _count_without_copy(receipt: Receipt, kept: Counts) -> int:
    deleted = receipt.deleted
    gone = max(0, deleted.requests - kept.requests) + max(0, deleted.learnings - kept.learnings)
    if not deleted.requests:  # those of a request have no copy of their own
        gone += max(0, deleted.interactions - kept.interactions)
    never_copied = sum(fact.number or 0 for fact in receipt.facts if fact.code == FactCode.NOT_COPIED)
    return max(0, gone - never_copied)


async def _count_deleted(scope: Scope, ids: list[str]) -> int:
    """Count the requests of an interrupted deletion that are gone; 0 if they cannot be read in time."""
    stored: list[str] = []

    async def take(items: list[RequestWithInteractions]) -> None:
        stored.extend(item.request.request_id for item in items)

    try:
        with anyio.fail_after(LOOK_SECONDS):
            await read_set(scope, ids, take)
    except (ReflexioError, TimeoutError):
        return 0
    return len(ids) - len(stored)
