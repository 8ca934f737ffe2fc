"""Carries out a plan: record, look, copy, delete by id, read again, record."""

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reflexio_mcp.rest.errors import ReflexioError, explain
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import Outcome, Receipt, WayBack, excepted
from reflexio_mcp.state.records import CodeUsed, Copied, Intention
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.deletion.erasures import take_out_waiting
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import (
    Item,
    copy_of,
    copy_of_learning,
    counts_of,
    item_for,
    item_of,
    learning_item,
    names_of,
    opened,
)
from reflexio_mcp.traffic.deletion.plan import Planned, kept_form, named, recording
from reflexio_mcp.traffic.deletion.targets import Correction, User
from reflexio_mcp.traffic.errors import CodeSpent, NotRecorded, TrafficError, refusing
from reflexio_mcp.traffic.learnings.find import Learned
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import (
    DeletedLearnings,
    delete_learnings,
    update_text,
    wait_for_learning,
)
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import send

__all__ = ["Origin", "begin", "carry_out"]

BATCH: Final = 500

REASONS: Final[tuple[Outcome, ...]] = ("held", "changed", "unknown", "still_present")
"""Why an item was not deleted, the most important first."""

NO_COPY_OF_UNREADABLE: Final = (
    "Nothing was deleted: Reflexio fails to return {number:,} of these requests, so no recovery copy can contain "
    "them. Delete them with erase, which keeps no copy."
)
CODE_USED: Final = (
    "Nothing was deleted: confirm was used already, for deletion {number}. get_status shows its receipt. Call without "
    "confirm for a new plan."
)
NO_COPY: Final = (
    "a recovery copy cannot be written ({why}). Repeat the call with erase, or ask the operator to {advice}."
)
COPIES_AWAY: Final = "the state of this server cannot be used now ({why}). Ask the operator to {advice}."
MAY_STILL_GO: Final = (
    "{number:,} items are still stored and may disappear or change: the answer to a call was lost. Look again before "
    "you rely on them."
)
STILL_LEARNING: Final = (
    "Reflexio may still be learning from {number:,} of the users; new learnings can contain the old text."
)
CAME_UP: Final = "{number:,} more learnings appeared meanwhile and were deleted too."
ARRIVED: Final = "More of this user's data arrived meanwhile and is stored ({number:,})."
AGAIN: Final = "Call again with the same arguments to finish."
HELD_COPIES: Final = "No recovery copy was erased, because a hold keeps {number:,} of them."
TAKEN_OUT: Final = (
    "{number:,} items that were erased for good and that a restore had stored again were deleted."
)
MAY_RETURN: Final = (
    "A restore of the same copy is running or was interrupted, and can store {number:,} of the erased items again. "
    "They are deleted as soon as that is seen."
)
LOOK_AT_STATUS: Final = "get_status says when nothing of it can return any more."
NOT_FOUND_AGAIN: Final = (
    "That call may not find learnings whose requests are gone: look with list_learnings in some minutes, and pass "
    "their ids to delete_learnings."
)


@dataclass(frozen=True, slots=True)
class Origin:
    """How a deletion was asked for, for the record."""

    tool: str
    client: str
    consent: str
    code: str = ""


async def begin(planned: Planned, origin: Origin, state: State) -> int:
    """Record a deletion, count it and use up its code, in one step; return its number.

    Raises:
        CapReached, CodeSpent, NotRecorded: nothing was deleted.
    """
    unreadable = sum(one.unreadable for one in planned.items)
    if unreadable and planned.days:
        raise NotRecorded(NO_COPY_OF_UNREADABLE.format(number=unreadable))
    intention = Intention(
        origin.tool,
        named(planned.target, words=False),
        len(planned.items) + len(planned.copied),
        origin.code,
        planned=[one.id for one in planned.stored if one.kind == "request"],
        facts={
            "client": origin.client,
            "consent": origin.consent,
            "user_id": planned.owner.user,
            "erase": planned.options.erase,
            "reason": planned.options.reason,
            "ids": [one.id for one in (*planned.items, *planned.copied)],
        },
    )
    try:
        with recording(intention.number):
            return await in_thread(state.begin, planned.owner, intention)
    except CodeUsed as error:
        raise CodeSpent(CODE_USED.format(number=error.number)) from None


async def carry_out(scope: Scope, planned: Planned, state: State, number: int, progress: Progress) -> Receipt:
    """Delete or correct what a plan names, and read again what is stored.

    Except for a whole user, requests are deleted by id, and only if they are unchanged: a call for a whole session
    would include later arrivals. Learnings come last, after learning has ended.

    Failures do not raise: the receipt says what is gone and what is not.
    """
    act = _Act(scope, planned, state, number, progress)
    if isinstance(planned.target, Correction):
        await act.correct(planned.target)
    else:
        await act.delete()
        await act.delete_learnings()
        await act.read_again()
    return await act.close()


@dataclass
class _Act:
    """One running deletion.

    Args:
        sent: ids in delete calls that took effect, or that may still do so.
        noted: ids of items that are perhaps not deleted, by the reason.
        failure: the error that ended it early.
        arrived: number of the user's stored items that were not planned.
    """

    scope: Scope
    planned: Planned
    state: State
    number: int
    progress: Progress
    copied: bool = False
    sent: set[str] = field(default_factory=set[str])
    noted: defaultdict[Outcome, set[str]] = field(default_factory=lambda: defaultdict(set))
    deleted: DeletedLearnings = field(default_factory=DeletedLearnings)
    failure: ReflexioError | TrafficError | None = None
    arrived: int = 0

    @contextmanager
    def _noting_failure(self) -> Generator[None]:
        try:
            yield
        except (ReflexioError, TrafficError) as error:
            self.failure = self.failure or error

    async def delete(self) -> None:
        target, items = self.planned.target, self.planned.stored
        with self._noting_failure():
            if isinstance(target, User):
                ids = [one.id for one in self.planned.items]
                held = await self._hold((await target.select(self.scope, self.progress)).items)
                if held or await self._held_copies():
                    self.noted["held"].update(ids)  # one call would delete the held items too
                else:
                    await send(self.scope.client.clear_user_data(target.wanted.user_id), ids, self.sent)
                return
            for start in range(0, len(items), BATCH):
                await self._delete(items[start : start + BATCH])
                await self.progress(f"{target.noun}s deleted", start + BATCH, len(items))

    async def _delete(self, batch: Sequence[Item]) -> None:
        """Read items again, copy the unchanged ones, and delete them."""
        held = await self._hold(batch)
        batch = [one for one in batch if one.id not in held]
        stored = await self._stored(batch, whole=self.planned.days > 0)
        erased = await self._keep([stored[one.id] for one in batch if one.id in stored])
        ids = [one for one in stored if one not in erased]
        client = self.scope.client
        if self.planned.target.noun == "request" and ids:
            await send(client.delete_requests_by_ids(ids), ids, self.sent)
            return
        for one in ids:  # the API deletes one interaction per call
            await send(client.delete_interaction(batch[0].user_id, int(one)), [one], self.sent)

    async def correct(self, target: Correction) -> None:
        """Change the text of a learning if nobody has changed it since the plan, and read it again."""
        [item] = self.planned.items
        with self._noting_failure():
            # An extraction that runs now can still replace the learning.
            busy = await wait_for_learning(self.scope, [item.user_id], self.progress)
            self.deleted = DeletedLearnings(still_learning=busy)
            before = await target.read(self.scope)
            if before and before.digest == item.digest and not await self._hold([item]):
                after = replace(before, content=target.text)
                if not await self._keep([copy_of_learning(before, after)]):
                    await send(update_text(self.scope, before, target.text), [item.id], self.sent)
        self.noted["unknown"] = {item.id}
        with self._noting_failure():
            now = await target.read(self.scope)
            self.noted["unknown"].clear()
            if now is None:
                self.sent.clear()
            elif now.content == target.text:
                self.sent.add(item.id)
            else:
                self.noted["still_present" if now.digest == item.digest else "changed"].add(item.id)

    async def _hold(self, items: Sequence[Item]) -> set[str]:
        """Note and return the ids of items that a hold keeps. The plan may be older than the hold."""
        held = set(await holds_on(self.scope, items, self.state, self.planned.owner))
        self.noted["held"] |= held.intersection(one.id for one in self.planned.items)
        return held

    @property
    def _erased_names(self) -> list[str]:
        """The names of the copies that an erasure removes."""
        planned, target = self.planned, self.planned.target
        names = [name for one in (*planned.items, *planned.copied) for name in names_of(one)]
        return [*names, f"u:{target.wanted.user_id}"] if isinstance(target, User) else names

    async def _held_copies(self) -> int:
        """Count the copies that this erasure removes and that a hold keeps. The hold may be newer than the plan."""
        planned = self.planned
        if not planned.options.erase or not self.scope.policy.now().hold:
            return 0

        def copied() -> list[Item]:
            copies = self.state.copies.read(planned.owner, names=self._erased_names)
            return [item_for(opened(one)) for one in copies]

        with refusing(COPIES_AWAY):
            items = await in_thread(copied)
        held = await holds_on(self.scope, items, self.state, planned.owner)
        # Something else may be stored under the id of a copy, so only items of the copies are noted.
        self.noted["held"].update(one.id for one in planned.copied if one.id in held)
        return len(held)

    async def _keep(self, copies: Sequence[Copied]) -> set[str]:
        """Keep recovery copies, and return the ids that another call has erased meanwhile."""
        if not self.planned.days or not copies:
            return set()
        with refusing(NO_COPY):
            erased = await in_thread(self.state.keep, self.planned.owner, self.number, copies)
        self.copied = True
        return {one for _, one in erased}

    async def _stored(self, items: Sequence[Item], *, whole: bool = False) -> dict[str, Copied]:
        """Return the items that are stored unchanged: their ids, each with its recovery copy."""
        planned = {one.id: one for one in items}
        single = self.planned.target.noun == "interaction"
        found: dict[str, Copied] = {}

        async def take(requests: list[RequestWithInteractions]) -> None:
            for stored in requests:
                for interaction in stored.interactions if single else [None]:
                    item = item_of(stored, interaction)
                    before = planned.get(item.id)
                    if before and item.digest == before.digest:
                        found[item.id] = copy_of(stored, interaction)
                    elif before:
                        self.noted["changed"].add(item.id)

        times = [one.created_at for one in items if not one.unreadable]
        users = {one.user_id for one in items}
        user = users.pop() if len(users) == 1 else ""
        filters = [TrafficFilter(user, start_time=min(times), end_time=max(times))] if times else []
        ids = list({one.request_id: None for one in items})
        await read_set(self.scope, ids, take, filters=filters, whole=whole, progress=self.progress)
        return found

    async def delete_learnings(self) -> None:
        planned = self.planned
        if not planned.takes_learnings or (isinstance(planned.target, User) and self.noted["held"]):
            return

        async def keep(learnings: Sequence[Learning]) -> None:
            await self._keep([copy_of_learning(one) for one in learnings])

        users = sorted({one.user_id for one in planned.items})
        deleted = self.deleted = await delete_learnings(
            self.scope, users, self._look, keep, progress=self.progress
        )
        self.failure = self.failure or deleted.failure
        self.sent |= deleted.sent
        if deleted.left is None:
            self.noted["unknown"].update(planned.learnings)

    async def _look(self) -> Learned:
        found = await self.planned.target.learned(self.scope, self.planned.selected)
        held = await self._hold(list(map(learning_item, found.learnings)))
        linked = {key: one for key, one in found.linked.items() if key not in held}
        self.noted["changed"] |= found.changed
        self.noted["still_present"] = set(linked)
        return replace(found, linked=linked)

    async def read_again(self) -> None:
        """Read what is stored of the planned items, even after an early end."""
        planned, target = self.planned, self.planned.target
        unread = {one.id for one in planned.items if not one.is_learning}
        self.noted["unknown"] |= unread
        with self._noting_failure():
            if isinstance(target, User):
                stored = {one.id for one in (await target.select(self.scope, self.progress)).items}
                self.arrived = len(stored.difference(one.id for one in planned.items))
            else:
                stored = await self._stored(planned.stored)
            self.noted["still_present"].update(stored)
            self.noted["unknown"] -= unread

    def _became(self, one: Item) -> Outcome | None:
        """Return why an item was not deleted or corrected; `None` if it was."""
        for why in REASONS:
            if one.id in self.noted[why]:
                return why
        return None if one.id in self.sent else "gone_before"

    async def close(self) -> Receipt:
        """Record the receipt and erase copies, in one step."""
        planned = self.planned
        held_copies = 0
        with self._noting_failure():
            held_copies = await self._held_copies()
        erases = planned.options.erase and not (self.failure or self.noted["held"] or held_copies)
        erased = planned.copied if erases else ()
        became: dict[str, Outcome] = {one.id: why for one in planned.items if (why := self._became(one))}
        done = [one for one in planned.items if one.id not in became]
        if not erases:
            became |= {
                one.id: "held" if one.id in self.noted["held"] else "still_present" for one in planned.copied
            }
        left = held_copies or any(why != "gone_before" for why in became.values())
        complete = not (left or self.failure or self.deleted.still_learning or self.arrived)
        missing: dict[str, Outcome] = dict.fromkeys(planned.selected.not_found, "not_found")
        corrects = planned.plan.change is not None
        lost = self.deleted.still_learning or not became.keys().isdisjoint(planned.learnings)
        again = f"{AGAIN} {NOT_FOUND_AGAIN}" if lost else AGAIN
        if corrects:
            again = "Look again in some minutes." if done else AGAIN
        receipt = Receipt(
            number=self.number,
            planned=planned.plan.selected,
            deleted=counts_of([] if corrects else done, erased),
            reason=planned.options.reason,
            change=planned.plan.change,
            corrected=len(done) if corrects else 0,
            not_deleted=excepted(became | missing, self.scope.shown_id),
            facts=planned.plan.facts,
            remains=[*planned.plan.remains, *self._remains(became, held_copies)],
            way_back=await self._way_back(erases=erases),
            next="" if complete else again,
        )
        facts = receipt.model_dump(include={"corrected", "deleted"}, exclude_defaults=True)
        try:
            ended = await in_thread(
                self.state.finish,
                planned.owner,
                self.number,
                outcome="complete" if complete else "incomplete",
                counted=len(self.sent) + len(erased),
                gone=len(done) + len(erased),
                # A later erasure could not remove the texts of a correction from the receipt.
                receipt=receipt.model_dump_json(exclude_defaults=True, exclude={"change"}),
                facts=facts | {"not_deleted": became},
                erase=self._erased_names if erases else [],
            )
        except StateUnusable as error:
            undo = WayBack(state="unknown") if erases else receipt.way_back
            became |= {one.id: "unknown" for one in erased}
            return _with(
                receipt,
                f"The receipt could not be recorded: {error.strerror}.",
                way_back=undo,
                deleted=receipt.deleted.model_copy(update={"only_in_copies": 0}),
                not_deleted=excepted(became | missing, self.scope.shown_id),
            )
        return await self._look_after_restores(receipt.model_copy(update={"log": ended.chain}))

    async def _look_after_restores(self, receipt: Receipt) -> Receipt:
        """Delete again what restores have stored although this or an earlier erasure had named it."""
        owner, state = self.planned.owner, self.state
        with self._noting_failure(), refusing(COPIES_AWAY):
            taken = await take_out_waiting(self.scope, state, owner)
            if taken.gone:
                again = TAKEN_OUT.format(number=len({one.id for one in taken.gone}))
                receipt = receipt.model_copy(update={"remains": [*receipt.remains, again]})
        with self._noting_failure(), refusing(COPIES_AWAY):
            waiting = await in_thread(state.must_go.waiting, owner)
            if left := {one.id for one in waiting if one.erasure == self.number}:
                return _with(receipt, MAY_RETURN.format(number=len(left)), next=LOOK_AT_STATUS)
        return receipt

    def _remains(self, became: Mapping[str, Outcome], held_copies: int) -> list[str]:
        uncertain = sum(became.get(one) == "still_present" for one in self.sent)
        said = {
            MAY_STILL_GO: uncertain if self.failure else 0,
            ARRIVED: self.arrived,
            STILL_LEARNING: len(self.deleted.still_learning),
            CAME_UP: len(self.deleted.gone.difference(self.planned.learnings)),
            HELD_COPIES: held_copies,
        }
        sentences = [sentence.format(number=number) for sentence, number in said.items() if number]
        if self.failure is None:
            return sentences
        why = explain(self.failure, "read") if isinstance(self.failure, ReflexioError) else self.failure
        return [f"The call ended early: {why}", *sentences]

    async def _way_back(self, *, erases: bool) -> WayBack:
        planned = self.planned
        if planned.options.erase:
            return WayBack(state="erased" if erases else "unknown")
        if not self.copied:
            return WayBack(state="none" if planned.days else "off")
        try:
            copies = await in_thread(self.state.copies.listed, planned.owner)
        except StateUnusable:
            return WayBack(state="unknown")
        if not (copy := copies.get(self.number)):  # another call has erased them meanwhile
            return WayBack(state="erased")
        return WayBack(state=kept_form(self.scope, planned.plan.change), until=at(copy.until))


def _with(receipt: Receipt, sentence: str, **changed: Any) -> Receipt:
    update = {"remains": [*receipt.remains, sentence], "next": AGAIN, **changed}
    return receipt.model_copy(update=update)
