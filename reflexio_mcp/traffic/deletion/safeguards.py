"""One deletion from start to end: the hourly cap, the recovery copy, the audit log and the receipt."""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio
import anyio.to_thread

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.audit_log import Entry
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import JobRecord, Promise
from reflexio_mcp.state.recovery_copies import CopyWriter, RecoveryCopies, copy_of_turns
from reflexio_mcp.state.state import State
from reflexio_mcp.traffic.deletion.erasure import erase_from_copies
from reflexio_mcp.traffic.deletion.execute import OUTCOMES, Check, Receipt, execute
from reflexio_mcp.traffic.deletion.follow_up import needs_follow_up
from reflexio_mcp.traffic.deletion.learning_plan import LearningPlan
from reflexio_mcp.traffic.deletion.plan import Plan
from reflexio_mcp.traffic.deletion.turn_plan import TurnPlan
from reflexio_mcp.traffic.deletion.user_plan import UserPlan
from reflexio_mcp.traffic.deletion.verify import Reread, read_again
from reflexio_mcp.traffic.errors import CapReached, NotRecorded, TakenOver, TrafficError, refusing
from reflexio_mcp.traffic.learnings.find import NOTHING, Learned, find_learned
from reflexio_mcp.traffic.learnings.records import ids_of
from reflexio_mcp.traffic.reading.lookup import Progress
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Origin", "carry_out", "check_cap"]

NOT_CLOSED: Final = "The audit log can no longer be written; its entry for this deletion stays open."
NO_COPY_OF_UNREADABLE: Final = (
    "Nothing was deleted: Reflexio fails to return {requests} of the set, so no recovery copy can hold them. Pass "
    "erase=true to delete without a copy."
)

NO_COPY: Final = (
    "Nothing was deleted: its recovery copy cannot be written ({why}). Ask the operator to {advice}, or pass "
    "erase=true to delete without a copy."
)
NO_COUNT: Final = (
    "Nothing was deleted: what is deleted in an hour cannot be counted ({why}). Ask the operator to {advice}."
)
FULL: Final = (
    "Nothing was deleted: another deletion has just used the room under the hourly cap. Try again later."
)
GONE_BEFORE: Final = (
    "The process that began this deletion ended before it was through, or could not keep its receipt. This receipt is "
    "of the process that went on with it, so what the first one deleted counts as not found here."
)
COPIED_BEFORE: Final = (
    "What the first one deleted is in an earlier recovery copy, if it deleted any: restore_requests lists it."
)
NO_ENTRY: Final = (
    "Nothing was deleted: the audit log cannot be written ({why}). Ask the operator to {advice}."
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a deletion comes from, for the audit log.

    Args:
        tool: the tool that was called.
        client: the name and version that the client gives itself.
        consent: the mode of consent that let it through.
        owner: the scope it belongs to, as `CodeMaker.scope`.
        user_id: the user it is confined to, or empty.
        resumed: the process that began it has ended, and another one goes on with it.
    """

    tool: str
    client: str
    consent: str
    owner: str
    user_id: str = ""
    resumed: bool = False


async def check_cap(cap: HourlyCap, owner: str, plan: Plan) -> None:
    """Refuse a deletion that is larger than what may be deleted now.

    Raises:
        CapReached: says how much room there is, and when there is enough.
        NotRecorded: what was deleted cannot be counted.
    """
    number = plan.size + plan.learnings_to_go
    with refusing(NO_COUNT):
        room = await anyio.to_thread.run_sync(cap.room, owner)
        wait = 0.0
        if room is not None and room < number:
            # Of what is larger than an hour's worth, a part can go when there is room for one.
            fits = number if number <= cap.limit else 1
            wait = await anyio.to_thread.run_sync(cap.wait, owner, fits)
    if room is None or number <= room:
        return
    what = _counted(plan.size, plan.noun)
    if plan.learnings_to_go:
        what += f" and {_counted(plan.learnings_to_go, 'learning')}"
    lead = f"Nothing was deleted: this would delete {what}, and {cap.limit:,} an hour are allowed ({room:,} left now)."
    minutes = max(1, round(wait / 60 + 0.5))
    if number > cap.limit:
        when = "" if room else f" in {minutes} min, when there is room again"
        raise CapReached(
            f"{lead} Delete a smaller part{when}, or ask the operator to raise REFLEXIO_MCP_DELETE_CAP (0 is no cap)."
        )
    raise CapReached(f"{lead} There is room for it in {minutes} min; do not retry before.")


def _counted(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number:,} {noun}s"


async def carry_out(
    scope: Scope,
    plan: Plan,
    origin: Origin,
    state: State,
    *,
    job: int,
    check: Check,
    read_at: float | None,
    progress: Progress,
) -> Receipt:
    """Delete what a plan names, within the hourly cap and with its recovery copy and audit log entry.

    Args:
        job: the key of its job.
        check: as `execute` takes it.
        read_at: when the reading behind the plan began, in monotonic seconds; `None` when others have had time to
            change something since, so that it must be made again.

    Raises:
        CapReached, NotRecorded: nothing was deleted.
        ReflexioError: what is stored could not be read again; nothing was deleted.
    """
    number = plan.size + plan.learnings_to_go
    # By the key: naming another user must not make more room.
    with refusing(NO_COUNT):
        taken = await anyio.to_thread.run_sync(state.cap.take, scope.caller, number, job)
    if taken is None:
        await check_cap(state.cap, scope.caller, plan)
        raise CapReached(FULL)
    deleted = 0
    try:
        receipt = await _recorded(scope, plan, origin, state, check, read_at, progress)
        # What may be deleted counts as deleted.
        gone = receipt.sent.union(receipt.ids("deleted"), receipt.ids("unknown"))
        erased = receipt.count("erased_from_copies") + receipt.learned_erased
        deleted = len(gone) + len(receipt.learned_sent) + erased
        if plan.noun == "record":
            # One call takes all of it.
            deleted = number
    except BaseException as error:
        if isinstance(error, TakenOver) or not isinstance(error, ReflexioError | TrafficError):
            # Left to another process, cancelled, or a fault of this program: how far it came is not known.
            deleted = number
        raise
    finally:
        # What cannot be given back counts on: the limit errs on the safe side.
        if not origin.resumed:  # else an earlier process deleted a part that is not known
            with anyio.CancelScope(shield=True), suppress(OSError):
                if deleted <= number:
                    await anyio.to_thread.run_sync(state.cap.give_back, taken, number - deleted)
                else:  # a merge that was under way brought up more, and it went too
                    await anyio.to_thread.run_sync(state.cap.count, scope.caller, deleted - number)
    return receipt


async def _recorded(
    scope: Scope,
    plan: Plan,
    origin: Origin,
    state: State,
    check: Check,
    read_at: float | None,
    progress: Progress,
) -> Receipt:
    copies = state.copies
    writer: CopyWriter | None = None
    found, learnings = Reread(), NOTHING
    copying = copies.days > 0 and not plan.erase and (plan.requests or isinstance(plan, LearningPlan))
    if copying:
        if plan.unreadable:
            raise NotRecorded(
                NO_COPY_OF_UNREADABLE.format(requests=_counted(len(plan.unreadable), "request"))
            )
        read_at = time.monotonic()
        writer, found, learnings = await _copied(scope, plan, origin.owner, copies, progress)
    audit_log = state.audit_log
    try:
        opening = _opening(plan, origin, writer)
        with refusing(NO_ENTRY, "make room, or correct the file that REFLEXIO_MCP_AUDIT_LOG names"):
            entry = await anyio.to_thread.run_sync(audit_log.open, opening) if audit_log else None
    except BaseException:
        if writer:
            await _shielded(copies.remove, origin.owner, writer.copy_id)
        raise
    try:
        receipt = await execute(
            scope,
            plan,
            only=found.same if writer else None,
            changed=found.changed,
            check=check,
            read_at=read_at,
            progress=progress,
        )
        if plan.erase:
            receipt = await erase_from_copies(receipt, origin.owner, copies)
    except BaseException as error:
        outcome, facts = "interrupted", dict[str, Any]()
        if isinstance(error, ReflexioError):
            if writer:
                await _shielded(copies.remove, origin.owner, writer.copy_id)
            outcome, facts = "nothing_deleted", {"failure": type(error).__name__}
        if entry:
            await _shielded(lambda: entry.close(outcome, **facts))
        raise
    receipt = replace(receipt, logged=entry is not None)
    if origin.resumed:
        before = (GONE_BEFORE, COPIED_BEFORE) if copying else (GONE_BEFORE,)
        receipt = replace(receipt, problems=(*receipt.problems, *before))
    with anyio.CancelScope(shield=True):
        receipt = await anyio.to_thread.run_sync(_closed, receipt, scope.caller, origin, state, entry)
    if writer is None:
        return receipt
    return await _kept(receipt, found.same, learnings, origin.owner, copies, writer)


async def _shielded(call: Callable[..., object], *arguments: Any) -> None:
    """Note something in a worker thread, also when the call is cancelled."""
    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(call, *arguments)


async def _copied(
    scope: Scope, plan: Plan, owner: str, copies: RecoveryCopies, progress: Progress
) -> tuple[CopyWriter, Reread, Learned]:
    with refusing(NO_COPY, "make room"):
        writer = await anyio.to_thread.run_sync(copies.begin, owner)

        async def keep(items: list[RequestWithInteractions]) -> None:
            if isinstance(plan, TurnPlan):
                items = [copy_of_turns(item, writer.copy_id) for item in items]
            await anyio.to_thread.run_sync(writer.add, items)

        try:
            found = await read_again(scope, plan, keep=keep, progress=progress)
            learnings = NOTHING
            if plan.include_learnings and plan.learned:
                sources = plan.sources(taken=found.changed)
                learnings = await find_learned(scope, sources, before=plan.learned.fed)
            rows = [one.row for one in learnings.learnings if one.row]
            await anyio.to_thread.run_sync(writer.add_learnings, rows)
            await anyio.to_thread.run_sync(writer.finish)
        except BaseException:
            await _shielded(writer.discard)
            raise
    return writer, found, learnings


def _closed(receipt: Receipt, caller: str, origin: Origin, state: State, entry: Entry | None) -> Receipt:
    """Note how a deletion ended and, in the same step, what has to go on after it."""
    outcome, facts = _closing(receipt)
    not_closed = replace(receipt, problems=(*receipt.problems, NOT_CLOSED))
    record: JobRecord | None = None
    if needs_follow_up(receipt):
        # What cannot be recorded is not done.
        with suppress(OSError):
            record = state.jobs.add(origin.owner, caller, receipt.plan.on_record, follows=True)
    if record is None:
        return receipt if entry is None or entry.close(outcome, **facts) else not_closed
    opening = _whence(origin) | {"follow_up_of": list(receipt.plan.ids)}
    following = entry.hand_over(outcome, facts, opening) if entry else None
    if entry and following is None:
        with suppress(OSError):
            state.jobs.forget(record.key)
        return not_closed
    return replace(receipt, promise=Promise(state.jobs, record, following))


async def _kept(
    receipt: Receipt,
    kept: Collection[str],
    learnings: Learned,
    owner: str,
    copies: RecoveryCopies,
    writer: CopyWriter,
) -> Receipt:
    # A reading can lag behind a deletion, and an answer too: the copy goes only when no call can have deleted anything.
    gone = receipt.sent.union(*(receipt.ids(outcome) for outcome in ("deleted", "unknown", "changed")))
    if gone.isdisjoint(kept) and receipt.learned_sent.isdisjoint(learnings.fed):
        await anyio.to_thread.run_sync(copies.remove, owner, writer.copy_id)
        return receipt
    try:
        copy = await anyio.to_thread.run_sync(copies.find, owner, writer.copy_id)
    except OSError:
        return replace(receipt, copy_id=writer.copy_id, kept_until=writer.kept_until)
    if copy:
        copied = {one.learning_id: one.digest for one in learnings.learnings}
        later = sum(copied.get(one.learning_id) != one.digest for one in receipt.learned_gone.learnings)
        return replace(receipt, copy_id=copy.copy_id, kept_until=copy.kept_until, not_copied=later)
    return receipt


def _opening(plan: Plan, origin: Origin, writer: CopyWriter | None) -> Mapping[str, Any]:
    facts = _whence(origin) | {"request_ids": [item.request_id for item in plan.requests]}
    if isinstance(plan, TurnPlan):
        facts["interaction_ids"] = list(plan.ids)
    if plan.kept:
        facts["only_in_copies"] = [item.request_id for item in plan.kept]
    if isinstance(plan, UserPlan):
        facts |= {"everything_of": plan.user_id, "session_outcomes": len(plan.outcomes)}
    if origin.user_id:
        facts["user_id"] = origin.user_id
    if origin.resumed:
        facts["resumed"] = True
    if plan.include_learnings and plan.learned:
        facts["profile_ids"] = ids_of(plan.learned.learnings, "profile")
        facts["user_playbook_ids"] = ids_of(plan.learned.learnings, "user_playbook")
    if writer:
        facts["recovery_copy"] = writer.copy_id
    return facts


def _whence(origin: Origin) -> dict[str, Any]:
    return {"tool": origin.tool, "client": origin.client, "consent": origin.consent}


def _closing(receipt: Receipt) -> tuple[str, dict[str, Any]]:
    counts = {outcome: receipt.count(outcome) for outcome in OUTCOMES}
    facts: dict[str, Any] = {"counts": {outcome: count for outcome, count in counts.items() if count}}
    if receipt.by_others:
        facts["deleted_by_others"] = receipt.by_others
    for outcome in ("not_allowed", "still_present", "changed", "unknown"):
        if ids := receipt.ids(outcome):
            facts[outcome] = ids
    if receipt.learned_gone.count:
        facts["learnings_deleted"] = receipt.learned_gone.count
    if receipt.correlation_ids:
        facts["service_correlation_ids"] = list(receipt.correlation_ids)
    if isinstance(receipt.failure, ReflexioError):
        facts["failure"] = type(receipt.failure).__name__
    return ("complete" if receipt.complete else "incomplete"), facts
