"""Carrying out a plan: record, copy, delete by id, read again, record."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from reflexio_mcp.rest.errors import NotAuthorized, ReflexioError, explain
from reflexio_mcp.rest.models import DeleteReply, RequestWithInteractions
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import Excepted, Outcome, Receipt, WayBack, WayBackState
from reflexio_mcp.state import records
from reflexio_mcp.state.records import Copied, Finished, Intention
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.deletion.items import (
    Item,
    copy_of_learning,
    counts_of,
    found_again,
    names_of,
)
from reflexio_mcp.traffic.deletion.plan import USERS_COUNTED, Planned, about_learnings, few, over_the_cap
from reflexio_mcp.traffic.deletion.targets import User
from reflexio_mcp.traffic.errors import CodeSpent, NotRecorded, TrafficError, refusing
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import TakenBack, take_back
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.reading.paging import SessionPager
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.stored_text import label
from reflexio_mcp.traffic.times import iso

__all__ = ["Origin", "begin", "carry_out", "excepted"]

BATCH: Final = 500
"""Items that are looked at, copied and deleted at a time."""

CLEARINGS: Final = 3
"""Times that a user's data is cleared if more of it arrived meanwhile."""

RECORD_TRIES: Final = 3
RECORD_PAUSE: Final = 0.5
"""How often a receipt is put on record if that fails, and seconds in between."""

NOT_RECORDED: Final = (
    "Nothing was deleted: the deletion cannot be recorded ({why}). Ask the operator to {advice}."
)
NO_COPY: Final = (
    "Nothing was deleted: its recovery copy cannot be written ({why}). Ask the operator to {advice}, or pass "
    "erase=true."
)
NO_COPY_OF_UNREADABLE: Final = (
    "Nothing was deleted: Reflexio fails to return {number:,} of these requests, so no recovery copy can hold them. "
    "Pass erase=true to delete them without a copy."
)

DONE: Final[dict[WayBackState, str]] = {
    "whole": "A recovery copy is kept until {until}: restore_requests deletion={number} puts it back as it was.",
    "words": "A recovery copy is kept until {until}: restore_requests deletion={number} puts it back with a new time "
    "and without base64 images and citations.",
    "none": "No recovery copy is kept, because nothing was deleted.",
    "off": "This cannot be undone: no recovery copy is kept.",
    "erased": "This cannot be undone: no recovery copy is kept, and what earlier ones held of it is erased too.",
    "unknown": "Earlier recovery copies may still hold some of it. Repeat the call with erase=true once the state can "
    "be written again.",
}
"""The way back of a receipt."""

MAY_STILL_GO: Final = (
    "{number:,} that are still there may yet be deleted: the answer to a delete call was lost. Look again before you "
    "count on them."
)
STILL_LEARNING: Final = (
    "Reflexio was still learning from {number:,} of the users ({words}), and what it learns can hold the deleted text "
    "again. Repeat the call in some minutes."
)
CAME_UP: Final = "{number:,} more learnings came up meanwhile and were deleted too."
ARRIVED: Final = "{number:,} requests of this user have arrived meanwhile and are stored."
OUTCOMES_LEFT: Final = "{number:,} session outcomes of this user are still stored."
NOT_READ: Final = "Whether more of this user arrived meanwhile could not be read."
RESTORED_MEANWHILE: Final = (
    "{number:,} of these requests were restored by another call meanwhile and are stored."
)
NOT_CLOSED: Final = "The receipt could not be recorded: {why}."
AGAIN: Final = "Call again with the same arguments to finish it."


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a deletion comes from, for the record.

    Args:
        tool: the tool that was called.
        client: the name and version that the client gives itself.
        consent: the mode of consent that let it through.
        code: the plan code that it used up, if any.
    """

    tool: str
    client: str
    consent: str
    code: str = ""


async def begin(planned: Planned, origin: Origin, state: State) -> int:
    """Record a deletion, count it and use up its code, in one step.

    Returns:
        The number of the deletion.

    Raises:
        CapReached, CodeSpent, NotRecorded: nothing was deleted.
    """
    unreadable = sum(one.unreadable for one in planned.items)
    if unreadable and planned.days:
        raise NotRecorded(NO_COPY_OF_UNREADABLE.format(number=unreadable))
    everything = [*planned.items, *planned.learnings]
    intention = Intention(
        origin.tool,
        planned.target.name(words=False),
        len(everything),
        origin.code,
        planned="\n".join(
            one.id for one in planned.items if one.kind == "request" and not one.only_in_copies
        ),
        facts={
            "client": origin.client,
            "consent": origin.consent,
            "user_id": planned.owner.user,
            "erase": planned.options.erase,
            "ids": _by_kind(everything),
        },
    )
    try:
        with refusing(NOT_RECORDED):
            return await in_thread(state.begin, planned.owner, intention)
    except records.CapReached as error:
        raise over_the_cap(planned, error) from None
    except records.CodeUsed as error:
        raise CodeSpent(
            f"Nothing was deleted: confirm was used already, for deletion {error.number}. get_status shows its "
            "receipt. Call without confirm for a new plan."
        ) from None


def _by_kind(items: Iterable[Item]) -> dict[str, list[str]]:
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for one in items:
        ids[one.kind].append(one.id)
    return dict(ids)


async def carry_out(scope: Scope, planned: Planned, state: State, number: int, progress: Progress) -> Receipt:
    """Delete what a plan names, and read again what is there.

    Always by id, and only what still is what was planned: a call for a whole session would also take what arrived
    since. Learnings go last, once nothing is being learned from their users any more.

    Args:
        number: of the deletion that `begin` recorded.

    Returns:
        The receipt. A failure of the service half-way does not raise: the receipt says what is gone and what is not.

    Raises:
        ReflexioError, NotRecorded: nothing was deleted.
    """
    act = _Act(scope, planned, state, number, progress)
    try:
        return await act.run()
    except BaseException as error:
        if not act.sent and not isinstance(error, anyio.get_cancelled_exc_class()):
            with suppress(OSError):
                await act.record(
                    "failed", counted=0, gone=0, facts={"failure": type(error).__name__}, drop=act.copied
                )
        raise


@dataclass
class _Act:
    """One deletion on its way.

    Args:
        copied: kind and id of what recovery copies were made of.
        sent: ids in delete calls that took effect, or that may still do so.
        changed: ids that something else has taken since the plan.
        gone_before: ids that were seen to be gone before anything was sent.
        unfinished: something is left that was not planned.
    """

    scope: Scope
    planned: Planned
    state: State
    number: int
    progress: Progress
    copied: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    sent: set[str] = field(default_factory=set[str])
    changed: set[str] = field(default_factory=set[str])
    gone_before: set[str] = field(default_factory=set[str])
    failure: ReflexioError | TrafficError | None = None
    unfinished: bool = False
    began: float = field(default_factory=time.time)

    async def run(self) -> Receipt:
        planned = self.planned
        items = [
            one for one in planned.items if one.kind in ("request", "interaction") and not one.only_in_copies
        ]
        if isinstance(planned.target, User):
            await self._clear(planned.target)
        else:
            for start in range(0, len(items), BATCH):
                await self._delete(items[start : start + BATCH])
                if self.failure:
                    break
                with suppress(StateUnusable):  # it only tells how far a deletion is whose process ends
                    await in_thread(self.state.note, self.number, len(self.sent))
                await self.progress(f"{planned.target.noun}s deleted", start + BATCH, len(items))
        became = await self._read_again(items)
        taken = await self._take_back()
        self.failure, self.sent = self.failure or taken.failure, self.sent | taken.sent
        became |= self._became_of_learnings(taken)
        remains = [*planned.stays, *self._about_failure(became)]
        if isinstance(planned.target, User):
            left = await self._about_user(planned.target, became)
            remains, self.unfinished = remains + left, bool(left)
        remains += self._about_learnings(taken)
        return await self._closed(became, taken, remains)

    async def _delete(self, batch: Sequence[Item]) -> None:
        """Look at some items again, copy those that are still what was planned, and delete them."""
        try:
            stored = await self._stored(batch, whole=self.planned.days > 0)
            same = [one for one in batch if one.id in stored]
            refused = await self._keep([stored[one.id] for one in same])
        except (ReflexioError, TrafficError) as error:
            if not self.sent:
                raise
            self.failure = error
            return
        same = [one for one in same if one.id not in refused]
        self.gone_before |= {one.id for one in batch if one not in same and one.id not in self.changed}
        client = self.scope.client
        if same and same[0].kind == "request":
            await self._send(
                [one.id for one in same], client.delete_requests_by_ids([one.id for one in same])
            )
            return
        for one in same:  # the API takes one interaction a call
            if self.failure is None:
                await self._send([one.id], client.delete_interaction(one.user_id, int(one.id)))

    async def _keep(self, copies: Sequence[Copied]) -> set[str]:
        """Keep recovery copies, and return the ids of what somebody else has erased meanwhile."""
        if not self.planned.days or not copies:
            return set()
        with refusing(NO_COPY):
            refused = await in_thread(self.state.keep, self.planned.owner, self.number, copies)
        self.copied |= {(one.kind, one.id) for one in copies} - refused
        return {one_id for _, one_id in refused}

    async def _send(self, ids: Sequence[str], call: Awaitable[DeleteReply]) -> None:
        self.sent.update(ids)
        try:
            await call
        except ReflexioError as error:
            self.failure = error
            if error.effect == "none":  # it never took effect
                self.sent.difference_update(ids)

    async def _stored(self, items: Sequence[Item], *, whole: bool = False) -> dict[str, Copied]:
        """The ids of the items that are stored as planned, each with its recovery copy.

        Args:
            whole: read all that the copies need.
        """
        planned: defaultdict[str, list[Item]] = defaultdict(list)
        for one in items:
            planned[one.request_id or one.id].append(one)
        found: dict[str, Copied] = {}

        async def take(requests: list[RequestWithInteractions]) -> None:
            for request in requests:
                for one in planned[request.request.request_id]:
                    there = found_again(request, one)
                    if there and there[0].digest == one.digest:
                        found[one.id] = there[1]
                    elif there:
                        self.changed.add(one.id)

        times = [one.created_at for one in items if not one.unreadable]
        users = {one.user_id for one in items}
        places = (
            [TrafficFilter(users.pop() if len(users) == 1 else "", start=min(times), end=max(times))]
            if times
            else []
        )
        await read_set(self.scope, list(planned), take, places=places, whole=whole, progress=self.progress)
        return found

    async def _read_again(self, items: Sequence[Item]) -> dict[str, Outcome]:
        """What became of each planned request or interaction that was not deleted."""
        left: Outcome = "not_allowed" if isinstance(self.failure, NotAuthorized) else "still_present"
        became: dict[str, Outcome] = dict.fromkeys(self.gone_before, "gone_before")
        try:
            stored = await self._stored(items)
        except ReflexioError as error:
            self.failure = self.failure or error
            became |= dict.fromkeys((one.id for one in items if one.id not in self.gone_before), "unknown")
            return became
        for one in items:
            if one.id in stored:
                became[one.id] = left
            elif one.id in self.changed:
                became[one.id] = "changed"
            elif one.id not in self.sent:
                became[one.id] = "gone_before"
        return became

    async def _take_back(self) -> TakenBack:
        """Delete what the items fed if that was agreed to; otherwise read what stays."""
        planned, target = self.planned, self.planned.target
        items = [one for one in planned.items if one.id not in self.changed]

        async def look() -> Learned:
            return await target.learned(self.scope, items, planned.learned)

        async def keep(learnings: Sequence[Learning]) -> None:
            await self._keep([copy_of_learning(one) for one in learnings])

        if not (planned.options.include_learnings or planned.selects_learnings) or self.failure:
            try:
                return TakenBack(left=await target.learned(self.scope, items, planned.learned, USERS_COUNTED))
            except ReflexioError:
                return TakenBack(left=None)
        users = {one.user_id for one in planned.items} | {one.user_id for one in planned.learnings}
        return await take_back(self.scope, sorted(users), look, keep, progress=self.progress)

    async def _clear(self, target: User) -> None:
        """Delete everything of a user, and again if something arrived meanwhile."""
        ids = [one.id for one in self.planned.items]
        for _ in range(CLEARINGS):
            await self._send(ids, self.scope.client.clear_user_data(target.user_id))
            try:
                if self.failure or not await self._arrived(target):
                    return
            except ReflexioError as error:
                self.failure = error
                return

    async def _arrived(self, target: User) -> int:
        """How many requests of the user are stored that were not planned."""
        planned = {one.id for one in self.planned.items}
        pager = SessionPager(self.scope, TrafficFilter(user_id=target.user_id))
        found = 0
        async for part in pager.slices():
            found += sum(one.request.request_id not in planned for one in part.requests)
        return found

    async def _about_user(self, target: User, became: dict[str, Outcome]) -> list[str]:
        """What is left of a user besides what was planned. Session outcomes that are left are noted as such."""
        try:
            arrived = await self._arrived(target)
            outcomes = await self.scope.client.get_session_outcomes(target.user_id)
        except ReflexioError:
            became |= {one.id: "unknown" for one in self.planned.items if one.kind == "session_outcome"}
            return [NOT_READ]
        left = [one.session_id for one in outcomes if one.user_id == target.user_id]
        became |= dict.fromkeys(left, "still_present")
        return [ARRIVED.format(number=arrived)] * bool(arrived) + [
            OUTCOMES_LEFT.format(number=len(left))
        ] * bool(left)

    def _became_of_learnings(self, taken: TakenBack) -> dict[str, Outcome]:
        """What became of each planned learning that was not deleted."""
        became: dict[str, Outcome] = {}
        planned = self._planned_learnings()
        if taken.left is None:
            return dict.fromkeys(planned, "unknown")
        for one in planned:
            if one in taken.left.fed:
                became[one] = "still_present"
            elif one in taken.left.changed:
                became[one] = "changed"
            elif one not in taken.gone and not isinstance(self.planned.target, User):
                became[one] = "gone_before"
        return became

    def _planned_learnings(self) -> list[str]:
        kinds = ("profile", "user_playbook")
        everything = (*self.planned.items, *self.planned.learnings)
        return [one.id for one in everything if one.kind in kinds and not one.only_in_copies]

    def _about_failure(self, became: dict[str, Outcome]) -> list[str]:
        said: list[str] = []
        if isinstance(self.failure, ReflexioError):
            said.append(f"It ended early: {explain(self.failure, 'write')}")
        elif self.failure:
            said.append(f"It ended early: {self.failure}")
        uncertain = sum(became.get(one) in ("still_present", "not_allowed") for one in self.sent)
        if uncertain and self.failure:
            said.append(MAY_STILL_GO.format(number=uncertain))
        return said

    def _about_learnings(self, taken: TakenBack) -> list[str]:
        planned = self.planned
        said: list[str] = []
        if not planned.options.include_learnings or taken.left is None:
            said += about_learnings(taken.left, planned.options, planned.target)
        if taken.still_learning:
            words = ", ".join(sorted({label(one) for one in taken.still_learning.values()}))
            said.append(STILL_LEARNING.format(number=len(taken.still_learning), words=words))
        if more := len(taken.gone.difference(self._planned_learnings())):
            said.append(CAME_UP.format(number=more))
        return said

    async def _closed(self, became: dict[str, Outcome], taken: TakenBack, remains: list[str]) -> Receipt:
        """Put the receipt on record, erase what is to be erased, and return the receipt."""
        planned = self.planned
        everything = [*planned.items, *planned.learnings]
        erases = planned.options.erase and self.failure is None
        if not erases:
            became |= {one.id: "still_present" for one in everything if one.only_in_copies}
        deleted = [one for one in everything if one.id not in became]
        left = any(why != "gone_before" for why in became.values())
        complete = not (left or self.failure or taken.still_learning or self.unfinished)
        stored = {one.id for one in everything if became.get(one.id) in ("still_present", "not_allowed")}
        drop = {one for one in self.copied if one[1] in stored and one[1] not in self.sent}
        kept = self.copied - drop
        state = await self._way_back(bool(kept), erases=erases)
        until = at(self.began + planned.days * 86_400)
        missing: dict[str, Outcome] = dict.fromkeys(planned.not_found, "not_found")
        receipt = Receipt(
            number=self.number,
            planned=counts_of(everything),
            deleted=counts_of(deleted),
            not_deleted=excepted(became | missing),
            remains=remains,
            way_back=WayBack(
                state=state,
                sentence=DONE[state].format(until=iso(until.timestamp()), number=self.number),
                until=until if state in ("whole", "words") else None,
            ),
            next="" if complete else AGAIN,
        )
        names = (
            [name for one in everything if one.id not in stored for name in names_of(one)] if erases else []
        )
        names += [f"u:{planned.target.user_id}"] if erases and isinstance(planned.target, User) else []
        facts: dict[str, Any] = {"counts": receipt.deleted.model_dump(exclude_defaults=True)}
        facts |= {
            one.why: [key for key, why in became.items() if why == one.why] for one in receipt.not_deleted
        }
        try:
            finished = await self.record(
                "complete" if complete else "incomplete",
                counted=len(self.sent) + receipt.deleted.only_in_copies,
                gone=len(deleted),
                receipt=receipt.model_dump_json(exclude_defaults=True),
                facts=facts,
                drop=drop,
                erase=names,
            )
        except StateUnusable as error:
            remains = [*remains, NOT_CLOSED.format(why=error.strerror)]
            way_back = WayBack(state="unknown", sentence=DONE["unknown"]) if erases else receipt.way_back
            return receipt.model_copy(update={"remains": remains, "way_back": way_back, "next": AGAIN})
        receipt = receipt.model_copy(update={"log": finished.chain})
        if erases and (back := await self._back_again(everything)):
            remains = [*remains, RESTORED_MEANWHILE.format(number=back)]
            return receipt.model_copy(update={"remains": remains, "next": AGAIN})
        return receipt

    async def _way_back(self, kept: bool, *, erases: bool) -> WayBackState:
        if self.planned.options.erase:
            return "erased" if erases else "unknown"
        if not kept:
            return "none" if self.planned.days else "off"
        try:
            listed = await in_thread(self.state.copies.listed, self.planned.owner)
        except StateUnusable:
            return "unknown"
        if all(one.deletion != self.number for one in listed):
            return "erased"  # by another deletion, meanwhile
        return "whole" if self.scope.exact else "words"

    async def _back_again(self, items: Sequence[Item]) -> int:
        """How many erased requests are stored: a restore may have read their copies before these were erased."""
        stored: set[str] = set()

        async def take(found: list[RequestWithInteractions]) -> None:
            stored.update(one.request.request_id for one in found)

        erased = [one.id for one in items if one.kind == "request" and one.id not in self.changed]
        with suppress(ReflexioError):
            await read_set(self.scope, erased, take)
        return len(stored)

    async def record(
        self,
        outcome: records.Outcome,
        *,
        counted: int,
        gone: int,
        facts: dict[str, Any],
        receipt: str = "",
        drop: Collection[tuple[str, str]] = (),
        erase: Collection[str] = (),
    ) -> Finished:
        """Put on record how it ended. What is on record already stays, so it is tried more than once."""

        def finish() -> Finished:
            return self.state.finish(
                self.planned.owner,
                self.number,
                outcome=outcome,
                counted=counted,
                gone=gone,
                receipt=receipt,
                facts=facts,
                drop=drop,
                erase=erase,
            )

        for _ in range(RECORD_TRIES - 1):
            with suppress(OSError):
                return await in_thread(finish)
            await anyio.sleep(RECORD_PAUSE)
        return await in_thread(finish)


def excepted(became: dict[str, Outcome]) -> list[Excepted]:
    """What was not deleted, or not restored, by its reason."""
    by_reason: defaultdict[Outcome, list[str]] = defaultdict(list)
    for one, why in became.items():
        by_reason[why].append(one)
    return [Excepted(why=why, count=len(ids), ids=few(ids)) for why, ids in by_reason.items()]
