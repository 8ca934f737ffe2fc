"""A deletion with everything around it: the hourly cap, the recovery copy, the audit log, the receipt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.cap import HourlyCap
from reflexio_mcp.traffic.codes import PlansSeen
from reflexio_mcp.traffic.deletion import Receipt, execute
from reflexio_mcp.traffic.journal import Journal
from reflexio_mcp.traffic.locating import Progress, read_set
from reflexio_mcp.traffic.plans import Plan
from reflexio_mcp.traffic.reach import Reach
from reflexio_mcp.traffic.recovery import Copies, CopyWriter

__all__ = ["Agreed", "Safeguards", "carry_out"]

NOT_CLOSED: Final = "The audit log could not be written any more; its entry for this deletion stays open."
NOT_FORGOTTEN: Final = (
    "An older recovery copy that holds some of these could not be changed; they are still in it."
)


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
    journal: Journal | None = None
    seen: PlansSeen = field(default_factory=PlansSeen)

    @classmethod
    def of(
        cls, *, cap: int, recovery_folder: Callable[[], Path], recovery_days: int, audit_log: str
    ) -> "Safeguards":
        """The safeguards of a configuration. Nothing is opened before the first deletion."""
        journal = Journal(audit_log) if audit_log else None
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
    reach: Reach, plan: Plan, agreed: Agreed, safeguards: Safeguards, *, progress: Progress | None = None
) -> Receipt:
    """Delete what a plan names, as far as the safeguards let it.

    Raises:
        CapReached, NotRecorded: nothing was deleted.
        ReflexioError: the contents could not be read for their copy; nothing was deleted.
    """
    number = len(plan.ids)
    safeguards.cap.take(agreed.owner, number)
    deleted = 0
    try:
        receipt = await _recorded(reach, plan, agreed, safeguards, progress)
        # What may have gone counts as gone.
        deleted = receipt.count("deleted") + receipt.count("unknown")
    except BaseException as error:
        if not isinstance(error, Exception):
            deleted = number
        raise
    finally:
        safeguards.cap.give_back(agreed.owner, number - deleted)
    return receipt


async def _recorded(
    reach: Reach, plan: Plan, agreed: Agreed, safeguards: Safeguards, progress: Progress | None
) -> Receipt:
    copies = safeguards.copies
    await anyio.to_thread.run_sync(copies.prune)
    keep = copies.days > 0 and not plan.erase
    writer = await _copied(reach, plan, agreed.owner, copies, progress) if keep else None
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
        receipt = await execute(reach, plan, only=writer.ids if writer else None, progress=progress)
        outcome, facts = _closing(receipt)
    finally:
        # Also when the call is cancelled: what follows is local and short.
        if entry and not entry.close(outcome, **facts):
            problems.append(NOT_CLOSED)
    return await _kept(replace(receipt, problems=tuple(problems)), agreed.owner, copies, writer)


async def _copied(
    reach: Reach, plan: Plan, owner: str, copies: Copies, progress: Progress | None
) -> CopyWriter:
    writer = await anyio.to_thread.run_sync(copies.begin, owner)
    marks = plan.marks

    async def take(items: list[RequestWithInteractions]) -> None:
        # A request that has taken a planned one's id is not what was agreed to.
        same = [
            one for one in items
            if f"{one.request.created_at}/{len(one.interactions)}" == marks[one.request.request_id]
        ]  # fmt: skip
        await anyio.to_thread.run_sync(writer.add, same)

    try:
        await read_set(reach, plan.ids, take, places=plan.places, progress=progress)
        await anyio.to_thread.run_sync(writer.finish)
    except BaseException:
        writer.discard()
        raise
    return writer


async def _kept(receipt: Receipt, owner: str, copies: Copies, writer: CopyWriter | None) -> Receipt:
    if writer is not None:
        if not receipt.count("deleted") + receipt.count("unknown"):
            await anyio.to_thread.run_sync(copies.remove, owner, writer.copy_id)
        elif copy := copies.find(owner, writer.copy_id):
            return replace(receipt, copy_id=copy.copy_id, kept_until=copy.kept_until)
        return receipt
    if receipt.plan.erase:
        try:
            gone = [*receipt.ids("deleted"), *receipt.ids("not_found")]
            changed = await anyio.to_thread.run_sync(copies.forget, owner, gone)
        except (OSError, ValueError):
            return replace(receipt, problems=(*receipt.problems, NOT_FORGOTTEN))
        return replace(receipt, forgotten=changed)
    return receipt


def _opening(plan: Plan, agreed: Agreed, writer: CopyWriter | None) -> Mapping[str, Any]:
    facts: dict[str, Any] = {
        "tool": agreed.tool,
        "client": agreed.client,
        "consent": agreed.consent,
        "request_ids": list(plan.ids),
    }
    if agreed.user_id:
        facts["user_id"] = agreed.user_id
    if plan.include_learnings and plan.learned:
        facts["profile_ids"] = sorted(plan.learned.profiles)
        facts["user_playbook_ids"] = sorted(plan.learned.playbooks)
    if writer:
        facts["recovery_copy"] = writer.copy_id
    return facts


def _closing(receipt: Receipt) -> tuple[str, dict[str, Any]]:
    counts = {
        outcome: receipt.count(outcome)
        for outcome in ("deleted", "not_found", "not_allowed", "still_present", "unknown")
    }
    facts: dict[str, Any] = {"counts": {outcome: count for outcome, count in counts.items() if count}}
    if receipt.by_others:
        facts["deleted_by_others"] = receipt.by_others
    for outcome in ("not_allowed", "still_present", "unknown"):
        if ids := receipt.ids(outcome):
            facts[outcome] = ids
    if receipt.learned_gone and receipt.learned_gone.count:
        facts["learnings_deleted"] = receipt.learned_gone.count
    if receipt.correlation_ids:
        facts["service_correlation_ids"] = list(receipt.correlation_ids)
    if isinstance(receipt.failure, ReflexioError):
        facts["failure"] = type(receipt.failure).__name__
    return ("complete" if receipt.complete else "incomplete"), facts
