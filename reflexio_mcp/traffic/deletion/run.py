"""A deletion with everything around it: the hourly cap, the recovery copy, the audit log, the receipt."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.audit_log import AuditLog
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.recovery_copies import Copies, Copy, CopyWriter
from reflexio_mcp.traffic.deletion.execute import OUTCOMES, Receipt, execute
from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.deletion.plan_codes import PlansSeen
from reflexio_mcp.traffic.deletion.verify import Reread, read_again
from reflexio_mcp.traffic.reading.lookup import Progress
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Agreed", "Safeguards", "carry_out"]

NOT_CLOSED: Final = "The audit log could not be written any more; its entry for this deletion stays open."
NOT_FORGOTTEN: Final = (
    "{what} could not be read or changed (copy_id={names}); whether some of these are still in there is not known. "
    "Ask the operator to look at the files in REFLEXIO_MCP_RECOVERY_DIR and to remove them."
)
NAMED: Final = 5
"""Recovery copies a sentence names."""


@dataclass
class Safeguards:
    """What stands around every deletion of this process.

    Args:
        cap: how many an hour.
        copies: the recovery copies; none are made when their `days` is 0.
        journal: the audit log, if there is one.
        seen: the sets behind the codes given out lately.
    """

    cap: HourlyCap
    copies: Copies
    journal: AuditLog | None = None
    seen: PlansSeen = field(default_factory=PlansSeen)

    @classmethod
    def of(
        cls, *, cap: int, recovery_folder: Callable[[], Path], recovery_days: int, audit_log: str
    ) -> "Safeguards":
        """The safeguards of a configuration. Nothing is opened before the first deletion."""
        journal = AuditLog(audit_log) if audit_log else None
        return cls(HourlyCap(cap), Copies(recovery_folder, recovery_days), journal)


@dataclass(frozen=True, slots=True)
class Agreed:
    """Who called for a deletion and who agreed to it, for the audit log.

    Args:
        tool: the tool's name.
        client: name and version that the client gave itself.
        consent: the mode of consent it went through.
        owner: the scope it belongs to, as plan codes name it.
        user_id: the user it is confined to, or empty.
    """

    tool: str
    client: str
    consent: str
    owner: str
    user_id: str = ""


async def carry_out(
    scope: Scope,
    plan: Plan,
    agreed: Agreed,
    safeguards: Safeguards,
    *,
    read_at: float | None = None,
    progress: Progress | None = None,
) -> Receipt:
    """Delete what a plan names, as far as the safeguards let it.

    Args:
        read_at: when the reading behind the plan began, monotonic seconds; `None` when somebody else had time
            since, so that it has to be made again.

    Raises:
        CapReached, NotRecorded: nothing was deleted.
        ReflexioError: what is there could not be read again; nothing was deleted.
    """
    number = len(plan.goes)
    # By the key: naming another user must not make more room.
    safeguards.cap.take(scope.caller, number)
    deleted = 0
    try:
        receipt = await _recorded(scope, plan, agreed, safeguards, read_at, progress)
        # What may have gone counts as gone.
        deleted = receipt.count("deleted", "erased_from_copies", "unknown")
    except BaseException as error:
        if not isinstance(error, Exception):
            deleted = number
        raise
    finally:
        safeguards.cap.give_back(scope.caller, number - deleted)
    return receipt


async def _recorded(
    scope: Scope,
    plan: Plan,
    agreed: Agreed,
    safeguards: Safeguards,
    read_at: float | None,
    progress: Progress | None,
) -> Receipt:
    copies = safeguards.copies
    await anyio.to_thread.run_sync(copies.prune)
    writer: CopyWriter | None = None
    found = Reread()
    if copies.days > 0 and not plan.erase:
        read_at = time.monotonic()
        writer, found = await _copied(scope, plan, agreed.owner, copies, progress)
    journal = safeguards.journal
    try:
        opening = _opening(plan, agreed, writer)
        entry = await anyio.to_thread.run_sync(journal.open, opening) if journal else None
    except BaseException:
        if writer:
            copies.remove(agreed.owner, writer.copy_id)
        raise
    outcome, facts = "interrupted", dict[str, Any]()
    problems: list[str] = []
    try:
        receipt = await execute(
            scope,
            plan,
            only=writer.ids if writer else None,
            changed=found.changed,
            read_at=read_at,
            progress=progress,
        )
        if plan.erase:
            receipt = await _erased(receipt, agreed.owner, copies)
        outcome, facts = _closing(receipt)
    except ReflexioError as error:
        if writer:
            copies.remove(agreed.owner, writer.copy_id)
        outcome, facts = "nothing_deleted", {"failure": type(error).__name__}
        raise
    finally:
        # Also when the call is cancelled: what follows is local and short.
        if entry and not entry.close(outcome, **facts):
            problems.append(NOT_CLOSED)
    receipt = replace(receipt, problems=(*receipt.problems, *problems))
    return await _kept(receipt, agreed.owner, copies, writer) if writer else receipt


async def _copied(
    scope: Scope, plan: Plan, owner: str, copies: Copies, progress: Progress | None
) -> tuple[CopyWriter, Reread]:
    writer = await anyio.to_thread.run_sync(copies.begin, owner)

    async def keep(items: list[RequestWithInteractions]) -> None:
        await anyio.to_thread.run_sync(writer.add, items)

    try:
        found = await read_again(scope, plan, keep=keep, progress=progress)
        await anyio.to_thread.run_sync(writer.finish)
    except BaseException as error:
        writer.discard()
        if isinstance(error, ReflexioError):
            # A read, whatever this class of failure says of a write.
            error.effect = "none"
        raise
    return writer, found


async def _kept(receipt: Receipt, owner: str, copies: Copies, writer: CopyWriter) -> Receipt:
    gone = {one for one in writer.ids if receipt.outcomes.get(one) in ("deleted", "unknown", "changed")}
    if not gone:
        await anyio.to_thread.run_sync(copies.remove, owner, writer.copy_id)
    elif copy := copies.find(owner, writer.copy_id):
        return replace(receipt, copy_id=copy.copy_id, kept_until=copy.kept_until)
    return receipt


async def _erased(receipt: Receipt, owner: str, copies: Copies) -> Receipt:
    """Take what is gone, and what only copies hold, out of the copies."""
    kept = [item.request_id for item in receipt.plan.kept]
    if receipt.failure is not None:
        # What was learned from them may still have to be found by them.
        receipt = replace(receipt, outcomes={**receipt.outcomes, **dict.fromkeys(kept, "still_present")})
        kept = []
    gone = [one for outcome in ("deleted", "not_found", "changed") for one in receipt.ids(outcome)]
    if not kept and not gone:
        return receipt
    changed, failed = await anyio.to_thread.run_sync(copies.forget, owner, [*kept, *gone])
    outcomes = {**receipt.outcomes, **dict.fromkeys(kept, "erased_from_copies")}
    if failed and kept:
        held = await anyio.to_thread.run_sync(copies.holding_ids, owner, kept)
        outcomes.update((item.request_id, "still_present") for item in held.items)
    problems = (*receipt.problems, _not_forgotten(failed)) if failed else receipt.problems
    return replace(receipt, outcomes=outcomes, forgotten=changed, problems=problems)


def _not_forgotten(failed: Sequence[Copy]) -> str:
    what = "1 recovery copy" if len(failed) == 1 else f"{len(failed):,} recovery copies"
    return NOT_FORGOTTEN.format(what=what, names=", ".join(copy.copy_id for copy in failed[:NAMED]))


def _opening(plan: Plan, agreed: Agreed, writer: CopyWriter | None) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "tool": agreed.tool,
        "client": agreed.client,
        "consent": agreed.consent,
        "request_ids": list(plan.ids),
    }
    if plan.kept:
        facts["only_in_copies"] = [item.request_id for item in plan.kept]
    if agreed.user_id:
        facts["user_id"] = agreed.user_id
    if plan.include_learnings and plan.learned:
        facts["profile_ids"] = sorted(plan.learned.profiles)
        facts["user_playbook_ids"] = sorted(plan.learned.playbooks)
    if writer:
        facts["recovery_copy"] = writer.copy_id
    return facts


def _closing(receipt: Receipt) -> tuple[str, dict[str, Any]]:
    counts = {outcome: receipt.count(outcome) for outcome in OUTCOMES}
    facts: dict[str, Any] = {"counts": {outcome: count for outcome, count in counts.items() if count}}
    if receipt.by_others:
        facts["deleted_by_others"] = receipt.by_others
    for outcome in ("not_allowed", "still_present", "changed", "unknown"):
        if ids := receipt.ids(outcome):
            facts[outcome] = ids
    if receipt.learned_gone and receipt.learned_gone.count:
        facts["learnings_deleted"] = receipt.learned_gone.count
    if receipt.correlation_ids:
        facts["service_correlation_ids"] = list(receipt.correlation_ids)
    if isinstance(receipt.failure, ReflexioError):
        facts["failure"] = type(receipt.failure).__name__
    return ("complete" if receipt.complete else "incomplete"), facts
