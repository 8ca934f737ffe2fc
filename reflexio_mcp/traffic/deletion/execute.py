"""Carries out a plan: record, look, copy, delete by id, read again, record."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

from reflexio_mcp.rest.errors import NotAuthorized, ReflexioError, explain
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.results.base import at
from reflexio_mcp.results.deletion import Outcome, Receipt, WayBack, excepted, way_back
from reflexio_mcp.state import records
from reflexio_mcp.state.records import Copied, Intention
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.deletion.items import (
    Item,
    copy_of,
    copy_of_learning,
    counts_of,
    item_of,
    learning_item,
    names_of,
)
from reflexio_mcp.traffic.deletion.plan import Planned, kept_form, named, over_the_cap
from reflexio_mcp.traffic.deletion.targets import Correction, User
from reflexio_mcp.traffic.errors import CodeSpent, NotRecorded, TrafficError, refusing
from reflexio_mcp.traffic.learnings.find import Learned, learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import TakenBack, send, take_back, update_text, wait_for_learning
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import Progress, read_set
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.times import iso

__all__ = ["Origin", "begin", "carry_out"]

BATCH: Final = 500

NOT_RECORDED: Final = (
    "Nothing was deleted: the deletion cannot be recorded ({why}). Ask the operator to {advice}."
)
NO_COPY_OF_UNREADABLE: Final = (
    "Nothing was deleted: Reflexio fails to return {number:,} of these requests, so no recovery copy can contain "
    "them. Pass erase=true to delete them without a copy."
)
CODE_USED: Final = (
    "Nothing was deleted: confirm was used already, for deletion {number}. get_status shows its receipt. Call without "
    "confirm for a new plan."
)
NO_COPY: Final = (
    "a recovery copy cannot be written ({why}). Ask the operator to {advice}, or pass erase=true."
)
ENDED_EARLY: Final = "It ended early: {why}"
MAY_STILL_GO: Final = (
    "{number:,} that are still there may yet be deleted: the answer to a delete call was lost. Look again before you "
    "count on them."
)
STILL_LEARNING: Final = (
    "Reflexio was still learning from {number:,} of the users: what it learns can contain the old text again."
)
CAME_UP: Final = "{number:,} more learnings came up meanwhile and were deleted too."
ARRIVED: Final = "More of this user's data arrived meanwhile and is stored ({number:,})."
RESTORED_MEANWHILE: Final = "{number:,} of these were restored by another call meanwhile and are stored."
NOT_CLOSED: Final = "The receipt could not be recorded: {why}."
AGAIN: Final = "Call again with the same arguments to finish it."
NOT_FOUND_AGAIN: Final = (
    "That call does not find learnings whose requests are gone: look with list_learnings in some minutes, and pass "
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
        len(planned.items),
        origin.code,
        planned="\n".join(one.id for one in planned.stored if one.kind == "request"),
        facts={
            "client": origin.client,
            "consent": origin.consent,
            "user_id": planned.owner.user,
            "erase": planned.options.erase,
            "reason": planned.options.reason,
            "ids": [one.id for one in planned.items],
        },
    )
    try:
        with refusing(NOT_RECORDED):
            return await in_thread(state.begin, planned.owner, intention)
    except records.CapReached as error:
        raise over_the_cap(len(planned.items), error) from None
    except records.CodeUsed as error:
        raise CodeSpent(CODE_USED.format(number=error.number)) from None


async def carry_out(scope: Scope, planned: Planned, state: State, number: int, progress: Progress) -> Receipt:
    """Delete or correct what a plan names, and read again what is stored.

    Requests are deleted by id, and only if they are unchanged: a call for a whole session would include later
    arrivals. Learnings come last, after learning has ended.

    Failures do not raise: the receipt says what is gone and what is not.
    """
    act = _Act(scope, planned, state, number, progress)
    if isinstance(planned.target, Correction):
        return await act.close(await act.correct(planned.target))
    await act.delete()
    taken = await act.take_back()
    await act.read_again()
    return await act.close(taken)


@dataclass
class _Act:
    """One running deletion.

    Args:
        sent: ids in delete calls that took effect, or that may still do so.
        became: outcomes of planned ids that were not deleted.
        failure: what ended it early.
        arrived: number of the user's stored items that were not planned.
    """

    scope: Scope
    planned: Planned
    state: State
    number: int
    progress: Progress
    copied: bool = False
    sent: set[str] = field(default_factory=set[str])
    became: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    failure: ReflexioError | TrafficError | None = None
    arrived: int = 0

    async def delete(self) -> None:
        planned, items = self.planned, self.planned.stored
        try:
            if isinstance(planned.target, User):
                everything = (await planned.target.select(self.scope, self.progress)).items
                if self._hold(everything):
                    # One call would delete the held items too.
                    self._unless_known(planned.items, "held")
                    return
                ids = [one.id for one in planned.items if not one.only_in_copies]
                await send(self.scope.client.clear_user_data(planned.target.user_id), ids, self.sent)
                return
            for start in range(0, len(items), BATCH):
                await self._delete(items[start : start + BATCH])
                await self.progress(f"{planned.target.noun}s deleted", start + BATCH, len(items))
        except (ReflexioError, TrafficError) as error:
            self.failure = error

    async def correct(self, target: Correction) -> TakenBack:
        """Change the text of a learning if nobody has changed it since the plan, and read it again."""
        [item] = self.planned.items
        busy = TakenBack()
        try:
            # Learning that runs now can still replace the learning.
            busy = TakenBack(
                still_learning=await wait_for_learning(self.scope, [item.user_id], self.progress)
            )
            before = await target.read(self.scope)
            if before and before.digest == item.digest and not self._hold([item]):
                after = replace(before, content=target.text)
                if not await self._keep([copy_of_learning(before, after)]):
                    await send(update_text(self.scope, before, target.text), [item.id], self.sent)
        except (ReflexioError, TrafficError) as error:
            self.failure = error
        try:
            now = await target.read(self.scope)
        except ReflexioError as error:
            self.failure = self.failure or error
            self.became[item.id] = "unknown"
            return busy
        if now is None:
            self.became[item.id] = "gone_before"
        elif item.id not in self.became and now.content != target.text:
            self.became[item.id] = "still_present" if now.digest == item.digest else "changed"
        return busy

    async def _delete(self, batch: Sequence[Item]) -> None:
        """Read items again, copy the unchanged ones, and delete them."""
        held = self._hold(batch)
        batch = [one for one in batch if one.id not in held]
        stored = await self._stored(batch, whole=self.planned.days > 0)
        erased = await self._keep([stored[one.id] for one in batch if one.id in stored])
        ids = [one for one in stored if one not in erased]
        self._unless_known([one for one in batch if one.id not in stored or one.id in erased], "gone_before")
        client = self.scope.client
        if self.planned.target.noun == "request" and ids:
            await send(client.delete_requests_by_ids(ids), ids, self.sent)
            return
        for one in ids:  # the API deletes one interaction per call
            await send(client.delete_interaction(batch[0].user_id, int(one)), [one], self.sent)

    def _hold(self, items: Iterable[Item]) -> set[str]:
        """Return the ids of what a hold keeps now, and note it: the plan may be older than the hold."""
        policy = self.scope.policy.now()
        held = {one.id for one in items if one.held_by(policy)}
        self.became |= dict.fromkeys(held.intersection(one.id for one in self.planned.items), "held")
        return held

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
                for turn in stored.interactions if single else [None]:
                    item = item_of(stored, turn)
                    if (before := planned.get(item.id)) is None:
                        continue
                    if item.digest == before.digest:
                        found[item.id] = copy_of(stored, turn)
                    else:
                        self.became[item.id] = "changed"

        times = [one.created_at for one in items if not one.unreadable]
        users = {one.user_id for one in items}
        user = users.pop() if len(users) == 1 else ""
        places = [TrafficFilter(user, start=min(times), end=max(times))] if times else []
        ids = list({one.request_id: None for one in items})
        await read_set(self.scope, ids, take, places=places, whole=whole, progress=self.progress)
        return found

    async def take_back(self) -> TakenBack:
        planned = self.planned
        if not planned.takes_learnings:
            return TakenBack()

        async def keep(learnings: Sequence[Learning]) -> None:
            await self._keep([copy_of_learning(one) for one in learnings])

        async def look() -> Learned:
            found = await planned.learned_now(self.scope)
            held = self._hold(map(learning_item, found.learnings))
            return replace(found, fed={key: one for key, one in found.fed.items() if key not in held})

        if isinstance(planned.target, User) and "held" in self.became.values():
            return TakenBack()
        users = sorted({one.user_id for one in planned.items})
        taken = await take_back(self.scope, users, look, keep, progress=self.progress)
        self.failure = self.failure or taken.failure
        self.sent |= taken.sent
        for one in planned.learnings:
            if self.became.get(one) == "held":
                continue
            if taken.left is None:
                self.became[one] = "unknown"
            elif one in taken.left.fed:
                self.became[one] = "still_present"
            elif one in taken.left.changed:
                self.became[one] = "changed"
            elif one not in self.sent:
                self.became[one] = "gone_before"
        return taken

    async def read_again(self) -> None:
        """Read what became of all planned items, even after an early end."""
        planned, target = self.planned, self.planned.target
        left: Outcome = "not_allowed" if isinstance(self.failure, NotAuthorized) else "still_present"
        try:
            if isinstance(target, User):
                stored = {one.id for one in (await target.select(self.scope, self.progress)).items}
                self.arrived = len(stored.difference(one.id for one in planned.items))
            else:
                stored = set(await self._stored(planned.stored))
        except ReflexioError as error:
            self.failure = self.failure or error
            self._unless_known([one for one in planned.items if not one.is_learning], "unknown")
            return
        self.became |= {
            one.id: left for one in planned.items if one.id in stored and self.became.get(one.id) != "held"
        }
        self._unless_known([one for one in planned.stored if one.id not in self.sent], "gone_before")

    def _unless_known(self, items: Iterable[Item], became: Outcome) -> None:
        for one in items:
            if not one.only_in_copies:
                self.became.setdefault(one.id, became)

    async def close(self, taken: TakenBack) -> Receipt:
        """Record the receipt and erase copies, in one step."""
        planned, target = self.planned, self.planned.target
        erases = planned.options.erase and self.failure is None and "held" not in self.became.values()
        if not erases:
            self.became |= {one.id: "still_present" for one in planned.items if one.only_in_copies}
        deleted = [one for one in planned.items if one.id not in self.became]
        left = any(why != "gone_before" for why in self.became.values())
        complete = not (left or self.failure or taken.still_learning or self.arrived)
        missing: dict[str, Outcome] = dict.fromkeys(planned.selected.not_found, "not_found")
        corrects = planned.plan.change is not None
        receipt = Receipt(
            number=self.number,
            planned=counts_of(planned.items),
            deleted=counts_of([] if corrects else deleted),
            reason=planned.options.reason,
            change=planned.plan.change,
            corrected=len(deleted) if corrects else 0,
            not_deleted=excepted(self.became | missing, self.scope.shown_id),
            remains=[*planned.stays, *self._remains(taken)],
            way_back=await self._way_back(erases=erases),
            next="" if complete else self._next(taken),
        )
        names = [name for one in planned.items for name in names_of(one)]
        names += [f"u:{target.user_id}"] if isinstance(target, User) else []
        counts = receipt.deleted.model_dump(exclude_defaults=True)
        facts: dict[str, Any] = {"corrected": len(deleted)} if corrects else {"counts": counts}
        if self.became:
            facts["not_deleted"] = self.became
        try:
            finished = await in_thread(
                self.state.finish,
                planned.owner,
                self.number,
                outcome="complete" if complete else "incomplete",
                counted=len(self.sent) + receipt.deleted.only_in_copies,
                gone=len(deleted),
                receipt=receipt.model_dump_json(exclude_defaults=True),
                facts=facts,
                erase=names if erases else [],
            )
        except StateUnusable as error:
            undo = way_back("unknown") if erases else receipt.way_back
            return _with(receipt, NOT_CLOSED.format(why=error.strerror), way_back=undo, next=AGAIN)
        receipt = receipt.model_copy(update={"log": finished.chain})
        if erases and (back := await self._back_again()):
            return _with(receipt, RESTORED_MEANWHILE.format(number=back), next=AGAIN)
        return receipt

    def _next(self, taken: TakenBack) -> str:
        left = taken.still_learning or not self.became.keys().isdisjoint(self.planned.learnings)
        noun = self.planned.target.noun
        lost = left and (noun == "interaction" or (noun == "request" and not self.copied))
        return f"{AGAIN} {NOT_FOUND_AGAIN}" if lost else AGAIN

    def _remains(self, taken: TakenBack) -> list[str]:
        uncertain = sum(self.became.get(one) in ("still_present", "not_allowed") for one in self.sent)
        said = {
            MAY_STILL_GO: uncertain if self.failure else 0,
            ARRIVED: self.arrived,
            STILL_LEARNING: len(taken.still_learning),
            CAME_UP: len(taken.gone.difference(self.planned.learnings)),
        }
        sentences = [sentence.format(number=number) for sentence, number in said.items() if number]
        if self.failure is None:
            return sentences
        why = explain(self.failure, "read") if isinstance(self.failure, ReflexioError) else self.failure
        return [ENDED_EARLY.format(why=why), *sentences]

    async def _way_back(self, *, erases: bool) -> WayBack:
        planned = self.planned
        if planned.options.erase:
            return way_back("erased" if erases else "unknown")
        if not self.copied:
            return way_back("none" if planned.days else "off")
        try:
            copies = await in_thread(self.state.copies.listed, planned.owner)
        except StateUnusable:
            return way_back("unknown")
        until = next((one.until for one in copies if one.deletion == self.number), None)
        if until is None:  # another call has erased them meanwhile
            return way_back("erased")
        return way_back(
            kept_form(self.scope, planned.plan.change),
            kept=f"until {iso(until)}",
            number=self.number,
            until=at(until),
        )

    async def _back_again(self) -> int:
        """Count the erased items that are stored: a restore may have read their copies before the erasure."""
        stored: set[str] = set()

        async def take(found: list[RequestWithInteractions]) -> None:
            stored.update(one.request.request_id for one in found)

        erased = [one for one in self.planned.items if one.id not in self.became]
        texts = {one.digest for one in erased if one.is_learning}  # a restored playbook has another id
        with suppress(ReflexioError):
            await read_set(self.scope, [one.id for one in erased if one.kind == "request"], take)
            for user in {one.user_id for one in erased if one.is_learning}:
                learnings = await learnings_of_user(self.scope, user)
                stored.update(one.learning_id for one in learnings if one.digest in texts)
        return len(stored)


def _with(receipt: Receipt, sentence: str, **changed: Any) -> Receipt:
    return receipt.model_copy(update={"remains": [*receipt.remains, sentence], **changed})
