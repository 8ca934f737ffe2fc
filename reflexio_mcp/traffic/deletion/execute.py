"""Carries out a plan: record, look, copy, delete by id, read again, record."""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Container, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import anyio

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.rest.exchange import may_succeed_later
from reflexio_mcp.rest.models import DeleteReply, RequestQuery, RequestWithInteractions
from reflexio_mcp.results.base import at, shown_name
from reflexio_mcp.results.deletion import (
    Excepted,
    Outcome,
    Receipt,
    TaughtLearning,
    WayBack,
    excepted,
    few,
)
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress, Step
from reflexio_mcp.state.records import (
    CodeUsed,
    Copied,
    CopyNote,
    Deed,
    Intention,
    JobNumber,
    LearningDeeds,
    LookAgain,
)
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.deletion.claims import claim, release
from reflexio_mcp.traffic.deletion.erasures import (
    TakenOut,
    notes_of_copies,
    take_out_copied,
    take_out_waiting,
)
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import (
    Item,
    content_item,
    content_of,
    copy_of,
    copy_of_learning,
    counts_of,
    item_of,
    learning_item,
    names_of,
)
from reflexio_mcp.traffic.deletion.plan import (
    SKIPPED_COPIES,
    Planned,
    call_of,
    describe_target,
    kept_form,
    skipped_copies,
    within_cap,
)
from reflexio_mcp.traffic.deletion.plan_learnings import WITH_WORDS
from reflexio_mcp.traffic.deletion.targets import Correction, User
from reflexio_mcp.traffic.errors import CodeSpent, NotRecorded, TrafficError, facts_of, needing_state
from reflexio_mcp.traffic.learnings.find import Learned, learnings_of_user
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import (
    DeletedLearnings,
    delete_by_id,
    delete_learnings,
    make_current,
    update_text,
    wait_for_learning,
)
from reflexio_mcp.traffic.policy import HoldsInForce
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope
from reflexio_mcp.traffic.tasks import send

if TYPE_CHECKING:
    from reflexio_mcp.traffic.deletion.shared_rules import Rules

__all__ = ["Origin", "begin", "carry_out"]

BATCH: Final = 500

WAITS: Final = (0.25, 0.5, 1.0)
"""Seconds before each further try of a deletion."""

LONGEST_WAIT: Final = 30.0
"""Seconds to wait at most for a service that says when to try again."""

_TEXTS: Final[Mapping[str, Any]] = {
    "change": True,
    "learnings": {"__all__": {"content": True, "earlier": {"__all__": {"content"}}}},
    "earlier": {"__all__": {"content"}},
    "shared_rules": {"__all__": {"content", "trigger"}},
}
"""The fields of a receipt that contain stored text."""


@dataclass(frozen=True, slots=True)
class Origin:
    """How a deletion was asked for, for the record."""

    tool: str
    client: str
    consent: str
    code: str = ""


async def begin(planned: Planned, origin: Origin, state: State) -> JobNumber:
    """Record a deletion, count it and use up its code, in one step; return its number.

    Raises:
        CapReached, CodeSpent, NotRecorded: nothing was deleted.
    """
    unreadable = sum(item.unreadable for item in planned.items)
    if unreadable and planned.days:
        raise NotRecorded(
            Fact(code=FactCode.NOTHING_DELETED),
            Fact(code=FactCode.UNREADABLE_NEED_ERASURE, number=unreadable),
        )
    intention = Intention(
        origin.tool,
        target=describe_target(planned.target, words=False),
        number=len(planned.items) + len(planned.copied),
        code=origin.code,
        planned=[item.id for item in planned.stored if item.kind == "request"],
        back=[(learning.learning_id, learning.user_id) for learning in planned.comes_back],
        erases=planned.erases if planned.options.erase else {},
        facts={
            "client": origin.client,
            "consent": origin.consent,
            "user_id": planned.owner.user,
            "erase": planned.options.erase,
            "reason": planned.options.reason,
            "finding": planned.target.finding,
            "ids": [item.id for item in (*planned.items, *planned.copied)],
        },
        call=call_of(planned.target, planned.options, planned.owner),
    )
    try:
        with within_cap(intention.number):
            return await in_thread(state.begin, planned.owner, intention)
    except CodeUsed as error:
        raise CodeSpent(
            Fact(code=FactCode.NOTHING_DELETED), Fact(code=FactCode.CODE_USED, number=error.number)
        ) from None


async def carry_out(
    scope: Scope, planned: Planned, state: State, number: JobNumber, progress: Progress
) -> Receipt:
    """Delete or correct what a plan names, and read again what is stored.

    Except for a whole user, requests are deleted by id, and only if they are unchanged: a call for a whole session
    would include later arrivals. Learnings come last, after learning has ended.

    Failures do not raise: the receipt says what is gone and what is not.
    """
    act = _Act(
        scope,
        planned,
        state,
        number,
        progress,
        _Ledger.of(planned),
        scope.policy.holds_now(),
        copy_notes=planned.copy_notes,
    )
    if isinstance(planned.target, Correction):
        await act.correct(planned.target)
    elif planned.selected.decision:
        await act.decide()
    else:
        await act.delete()
        await act.delete_learnings()
        await act.make_current()
        await act.delete_restored()
        await act.read_again()
    return await act.close()


@dataclass
class _Ledger:
    """What has become of the planned items.

    Args:
        outcomes: why an item was not deleted or corrected, by its id; `None` if it was. At first, stored items are
            `unknown`, and items that only recovery copies contain are `still_present`.
        sent: ids in calls that took effect, or that may still do so.
    """

    outcomes: dict[str, Outcome | None]
    sent: set[str] = field(default_factory=set[str])

    @classmethod
    def of(cls, planned: Planned) -> "_Ledger":
        outcomes: dict[str, Outcome | None] = dict.fromkeys([item.id for item in planned.items], "unknown")
        outcomes.update((item.id, "still_present") for item in planned.copied)
        return cls(outcomes)

    @property
    def any_held(self) -> bool:
        """Whether a hold keeps any planned item."""
        return "held" in self.outcomes.values()

    def note_held(self, ids: Iterable[str]) -> None:
        """Note that holds keep items, which is the most important of all reasons."""
        self.outcomes.update((item_id, "held") for item_id in ids if item_id in self.outcomes)

    def note_changed(self, ids: Iterable[str]) -> None:
        """Note that other content is stored under the ids of items."""
        for item_id in ids:
            if item_id in self.outcomes and self.outcomes[item_id] != "held":
                self.outcomes[item_id] = "changed"

    def note_stored(self, ids: Iterable[str], stored: Container[str]) -> None:
        """Note which items are still stored."""
        for item_id in ids:
            if item_id in stored:
                self.note(item_id, "still_present")
            elif item_id in self.sent:
                self.note(item_id, None)
            else:
                self.note(item_id, "gone_before")

    def note(self, item_id: str, outcome: Outcome | None) -> None:
        """Note what a reading shows of an item. A hold and a change that were seen before stay noted."""
        if self.outcomes[item_id] not in ("held", "changed"):
            self.outcomes[item_id] = outcome


def _unplanned(stored: Sequence[Item], planned: Sequence[Item]) -> set[str]:
    """Return the ids of stored items that are not planned, and of requests that have grown or changed since."""
    before = {item.id: item for item in planned}
    new = {item.id for item in stored if item.id not in before}
    read_twice = [
        item
        for item in stored
        if item.kind == "request"
        and item.id in before
        and not (item.unreadable or before[item.id].unreadable)
    ]
    return new | {item.id for item in read_twice if item.digest != before[item.id].digest}


@dataclass(frozen=True)
class _Reading:
    """What a reading found of some items.

    Args:
        unchanged: the recovery copies of items that are stored unchanged, by their ids.
        changed: ids under which other content is stored.
    """

    unchanged: Mapping[str, Copied]
    changed: frozenset[str]


@dataclass(frozen=True)
class _Ending:
    """What a deletion has come to.

    Args:
        holds: those under which copies were looked at.
        held_copies: number of copies that would be erased and that a hold keeps.
        unopened: facts about copies that nobody can open, so that what is erased may be in them.
        later_copies: number of copies that are newer than the plan of an erasure, so that they stay.
        erased: items that only recovery copies contained, and that are erased there.
        done: stored items that are deleted or corrected.
        left: why the other items are not, by their ids.
        complete: a repeated call would find nothing to do.
    """

    erases: bool
    holds: HoldsInForce
    held_copies: int
    unopened: Sequence[Fact]
    later_copies: int
    erased: Sequence[Item]
    done: Sequence[Item]
    left: Mapping[str, Outcome]
    complete: bool

    @property
    def outcome(self) -> Literal["complete", "incomplete"]:
        return "complete" if self.complete and not self.unopened else "incomplete"


@dataclass
class _Act:
    """One running deletion.

    Args:
        holds: those in force at its beginning.
        failure: the error that ended it early.
        arrived: number of the user's stored items that were not planned.
        deleted_unseen: number of the user's requests that arrived after the last look and were deleted.
        appeared: ids of learnings that appeared meanwhile and that the hourly cap has counted.
        back_appeared: the ids of the `replaced` that the plan did not know of.
        earlier_held: the ids of the `replaced` that a hold keeps as they are.
        over_cap: ids of learnings that appeared meanwhile and stay, because the hourly cap is reached.
        unplanned: ids of items outside the plan that were found right before the call that deletes a user. Then that
            call is not made.
        successor: what replaced a learning before it could be corrected.
        replaced: replaced learnings that become current again, by id.
        going: the learnings that were about to be deleted, by id.
        current: the ids of the `replaced` that are current again, by the ids that they had.
        restored: what became of items that only copies contained when the plan was made, and that a restore has stored
            since.
        copy_notes: what this erasure names of the copies that it has found, for restores until it ends.
        copies_kept: number of recovery copies that this deletion has kept.
        not_copied: ids of items without a recovery copy, because an erasure has named them.
        claimed: learnings are claimed for this job.
        uncertain: a lost earlier try may still write a learning.
        overwritable: a lost call of another job may still overwrite a claimed learning.
    """

    scope: Scope
    planned: Planned
    state: State
    number: JobNumber
    progress: Progress
    ledger: _Ledger
    holds: HoldsInForce
    copies_kept: int = 0
    deleted: DeletedLearnings = field(default_factory=DeletedLearnings)
    failure: ReflexioError | TrafficError | None = None
    arrived: int = 0
    deleted_unseen: int = 0
    appeared: set[str] = field(default_factory=set[str])
    back_appeared: set[str] = field(default_factory=set[str])
    earlier_held: set[str] = field(default_factory=set[str])
    over_cap: set[str] = field(default_factory=set[str])
    unplanned: set[str] = field(default_factory=set[str])
    successor: Learning | None = None
    replaced: dict[str, Learning] = field(default_factory=dict[str, Learning])
    going: dict[str, Learning] = field(default_factory=dict[str, Learning])
    current: dict[str, str] = field(default_factory=dict[str, str])
    restored: TakenOut = field(default_factory=TakenOut)
    copy_notes: Sequence[CopyNote] = ()
    not_copied: set[str] = field(default_factory=set[str])
    claimed: bool = False
    uncertain: bool = False
    overwritable: bool = False

    @contextmanager
    def _noting_failure(self) -> Generator[None]:
        try:
            yield
        except (ReflexioError, TrafficError) as error:
            self.failure = self.failure or error

    async def delete(self) -> None:
        with self._noting_failure():
            if isinstance(self.planned.target, User):
                await self._look_and_delete(partial(self._delete_user, self.planned.target))
            else:
                await self._delete_by_id()

    async def _look_and_delete(self, try_once: Callable[[], Awaitable[ReflexioError | None]]) -> None:
        """Try until the deletion is answered; raise the last fault.

        Args:
            try_once: looks at what is stored, and deletes. If an answer was lost, somebody may have stored something
                since. Returns a fault that may pass.
        """
        for seconds in WAITS:
            fault = await try_once()
            if fault is None:
                return
            await anyio.sleep(max(seconds, min(fault.wait or 0, LONGEST_WAIT)))
        if fault := await try_once():
            raise fault

    async def _send(self, call: Awaitable[DeleteReply], ids: Sequence[str]) -> ReflexioError | None:
        """Make a call that deletes. Return a fault that may pass, and raise any other."""
        try:
            await send(call, ids, self.ledger.sent)
        except ReflexioError as error:
            # The client has already repeated a call without effect, except the one for a whole user. But it stops
            # repeating when holds change, so that they are looked at before the next try.
            client_repeats = error.effect == "none" and not isinstance(self.planned.target, User)
            client_gave_up = client_repeats and not self._holds_changed
            if client_gave_up or not may_succeed_later(error, "delete"):
                raise
            return error
        return None

    async def _delete_user(self, target: User, *, looks_again: bool = False) -> ReflexioError | None:
        ids = [item.id for item in self.planned.items]
        holds = self.scope.policy.holds_now()
        stored = await target.read_stored(self.scope, self.progress)
        held = await self._note_held(stored.items)
        self.unplanned = _unplanned(stored.items, self.planned.items)
        self.arrived = len(self.unplanned)
        if self.unplanned:
            return None  # one call would delete what nobody has agreed to, and no cap has counted
        kept = held or target.hold(self.scope, stored) or await self._held_copies()
        if kept:
            self.ledger.note_held(ids)  # one call would delete the held items too
            return None
        requests = [item for item in stored.items if item.kind == "request"]
        # What Reflexio fails to return is not among these requests, so it cannot be told from what has arrived.
        all_read = not stored.part_unread
        # A second look finds what has arrived, and then nothing is deleted. There is no third one: after each look,
        # something can arrive.
        if all_read and not looks_again and await self._more_requests(target.wanted.user_id, requests):
            return await self._delete_user(target, looks_again=True)
        if self.scope.policy.holds_now() != holds:
            return await self._delete_user(target)

        async def clear() -> DeleteReply:
            reply = await self.scope.client.clear_user_data(target.wanted.user_id)
            if all_read:
                self.deleted_unseen = max(0, reply.deleted_counts.get("requests", 0) - len(requests))
            return reply

        return await self._send(clear(), ids)

    async def _more_requests(self, user_id: str, requests: Sequence[Item]) -> bool:
        """Whether a user has more requests by now. It is asked last, because the deletion is one call for all."""
        if self.scope.embedded:  # a restored request arrives with its old time
            page = await self.scope.client.get_requests(
                RequestQuery(user_id=user_id, top_k=1, count="requests")
            )
            return (page.total or 0) > len(requests)
        newest = max((item.created_at for item in requests), default=0)
        page = await self.scope.client.get_requests(RequestQuery(user_id=user_id, start_time=newest or None))
        found = [item.request for group in page.sessions for item in group.requests]
        known = {item.id for item in requests}
        return any(request.user_id == user_id and request.request_id not in known for request in found)

    async def _delete_by_id(self) -> None:
        items = self.planned.stored
        for start in range(0, len(items), BATCH):
            batch = items[start : start + BATCH]
            await self._look_and_delete(partial(self._delete_batch, batch))
            await self.progress(Step.ITEMS_DELETED, start + BATCH, len(items))

    async def _delete_batch(self, batch: Sequence[Item]) -> ReflexioError | None:
        """Read items again, copy the unchanged ones, and delete them."""
        reading = await self._read(batch, whole=self.planned.days > 0)
        self.ledger.note_changed(reading.changed)
        unchanged = [item for item in batch if item.id in reading.unchanged]
        stay = await self._note_held(unchanged)
        stay |= await self._keep([reading.unchanged[item.id] for item in unchanged if item.id not in stay])
        stay |= await self._held_since(unchanged)
        ids = [item_id for item_id in reading.unchanged if item_id not in stay]
        client = self.scope.client
        if not ids:
            return None
        if self.planned.target.noun == "request":
            return await self._send(client.delete_requests_by_ids(ids), ids)
        by_id = {item.id: item for item in batch}
        for item_id in ids:  # the API deletes one interaction per call, so a batch takes minutes
            if await self._held_since([by_id[item_id]]):
                continue
            call = client.delete_interaction(batch[0].user_id, int(item_id))
            if fault := await self._send(call, [item_id]):
                return fault
        return None

    async def correct(self, target: Correction) -> None:
        """Change the text of a learning if nobody has changed it since the plan, and read it again."""
        [item] = self.planned.items
        with self._noting_failure():
            # An extraction that runs now can still replace the learning.
            busy = await wait_for_learning(self.scope, [item.user_id], self.progress)
            self.deleted = DeletedLearnings(still_learning=busy)
            await self._claim([item], alone=True)
            before = await target.read(self.scope)
            unchanged = before is not None and before.state == "current" and before.digest == item.digest
            if before and unchanged and not await self._note_held([item]):
                target = target.under(before.learning_id)
                after = replace(before, content=target.text)
                stays = await self._keep([copy_of_learning(before, after)]) | await self._held_since([item])
                if not stays:
                    self.uncertain = await send(
                        update_text(self.scope, before, target.text), [item.id], self.ledger.sent
                    )
        with self._noting_failure():
            now = await target.read(self.scope)
            self._note_correction(item, target, now)
            await self._release()
            if now and now.is_replaced:
                self.successor = await target.successor(self.scope, now)

    def _note_correction(self, item: Item, target: Correction, now: Learning | None) -> None:
        """Note what has become of a learning, which is `None` if it is not stored any more."""
        if now is None:
            self.ledger.sent.discard(item.id)
            self.ledger.note(item.id, "gone_before")
        elif now.is_replaced:
            # An extraction that was running has taken the old text, so another learning is in use now.
            self.ledger.note_changed([item.id])
        elif now.content == target.text:
            # The cap counts it, even if it was another call that wrote this text.
            self.ledger.sent.add(item.id)
            self.ledger.note(item.id, None)
        elif now.digest == item.digest:
            self.ledger.note(item.id, "still_present")
        else:
            self.ledger.note_changed([item.id])

    async def decide(self) -> None:
        """Approve, reject or delete shared rules that nobody has changed since the plan, and read them again."""
        from reflexio_mcp.traffic.deletion.shared_rules import Rules  # few calls decide

        target = self.planned.target
        assert isinstance(target, Rules)
        with self._noting_failure():
            await self._claim(self.planned.items, alone=True)
            for rules in target.batches([item.id for item in self.planned.items]):
                await self._look_and_delete(partial(self._decide, target, rules))
        with self._noting_failure():
            ids = [item.id for item in self.planned.items]
            # A rule that is not as decided counts as stored. One that is not there leaves `sent`: it was gone before.
            self.ledger.note_stored(ids, await target.not_as_decided(self.scope, self.ledger.sent))
            await self._release()

    async def _decide(self, target: "Rules", rules: Sequence[str]) -> ReflexioError | None:
        """Look at the rules of one call again, and make the call for those that may be decided about."""
        planned = {item.id: item.digest for item in self.planned.items}
        items = await target.undecided(self.scope, rules, self.ledger.sent)
        held = await self._note_held(items)
        changed = {item.id for item in items if item.digest != planned[item.id]}
        self.ledger.note_changed(changed)
        free = [item for item in items if item.id not in held | changed]
        kept = await self._held_since(free)
        ids = [item.id for item in free if item.id not in kept]
        if not ids:
            return None
        # A lost call can still take effect after the one that repeats it.
        self.uncertain |= not self.ledger.sent.isdisjoint(ids)
        return await self._send(target.call(self.scope, ids), ids)

    async def _claim(self, learnings: Iterable[Item], *, alone: bool = False, stores: bool = False) -> None:
        """Claim learnings for this job. `alone`, `stores`: as `claim` takes them."""
        names = [(learning.user_id, name) for learning in learnings for name in names_of(learning)]
        if names:
            self.overwritable |= await claim(
                self.state,
                self.planned.owner,
                self.number,
                names,
                self.scope.client.timeout,
                alone=alone,
                stores=stores,
            )
            self.claimed = True

    async def _release(self) -> None:
        """End the claims, unless a call can still take effect."""
        if self.claimed and not (self.failure or self.uncertain):
            await release(self.state, self.number)

    async def _note_held(self, items: Sequence[Item]) -> set[str]:
        """Note and return the ids of items that a hold keeps. The plan may be older than the hold."""
        learned = self.planned.selected.learned or Learned()
        held = set(await holds_on(self.scope, items, self.state, self.planned.owner, deleted=learned.inside))
        # Of items that only copies contain, none is noted here: a stored item with the same id may be something else.
        self.ledger.note_held(held.intersection(item.id for item in self.planned.items))
        return held

    async def _held_since(self, items: Sequence[Item]) -> set[str]:
        """Note and return the ids of items that a hold keeps, if the holds have changed since this job began.

        What is about to be deleted was looked at before copies were kept, which can take a while. The holds can change
        during this look, too.
        """
        held: set[str] = set()
        looked_at = self.holds
        while (holds := self.scope.policy.holds_now()) != looked_at:
            looked_at = holds
            held |= await self._note_held(items)
        return held

    @property
    def _holds_changed(self) -> bool:
        return self.scope.policy.holds_now() != self.holds

    async def _held_copies(self) -> int:
        """Count the copies that this erasure removes and that a hold keeps. The hold may be newer than the plan."""
        planned = self.planned
        any_hold = self.scope.policy.now().may_hold(user_id="")
        if not planned.options.erase or not any_hold:
            return 0

        reading = self.state.copies.read(planned.owner, erasure=planned.erasure())
        with needing_state(FactCode.STATE_UNUSABLE):
            items = await in_thread(lambda: [content_item(content_of(copy)) for copy in reading])
        held = await holds_on(self.scope, items, self.state, planned.owner)
        self.ledger.note_held(item.id for item in planned.copied if item.id in held)
        # Nobody can say whether a hold covers what cannot be opened.
        return len(held) + reading.damaged

    async def _keep(self, copies: Sequence[Copied]) -> set[str]:
        """Keep recovery copies, and return the ids of items that are not deleted here, because of erasures.

        What an open note of an erasure names has to go, so it is deleted although it has no copy. What another deletion
        has erased since this one began is left: a repeated deletion can keep a copy of it. What an erasure has named in
        part is left, too: that part goes at the end of this deletion, which changes the item.
        """
        if not self.planned.days or not copies:
            return set()
        with needing_state(FactCode.NO_COPY_WRITTEN, advice=FactCode.ERASE_OR_MEND):
            not_kept = await in_thread(self.state.keep, self.planned.owner, self.number, copies)
        left_out = not_kept.erased | not_kept.must_go | not_kept.partly
        self.copies_kept += sum((copy.kind, copy.id) not in left_out for copy in copies)
        self.not_copied |= {item_id for _, item_id in not_kept.must_go}
        partly = {item_id for _, item_id in not_kept.partly}
        self.ledger.note_changed(partly)
        return partly | {item_id for _, item_id in not_kept.erased}

    async def _read(self, items: Sequence[Item], *, whole: bool = False) -> _Reading:
        """Read requests and interactions again. `whole`: with everything that a recovery copy needs."""
        planned = {item.id: item for item in items}
        single = self.planned.target.noun == "interaction"
        unchanged: dict[str, Copied] = {}
        changed: set[str] = set()

        async def take(requests: list[RequestWithInteractions]) -> None:
            for stored in requests:
                parts = stored.interactions if single else [None]  # `None`: the whole request
                for interaction in parts:
                    item = item_of(stored, interaction)
                    before = planned.get(item.id)
                    if before and item.digest == before.digest:
                        unchanged[item.id] = copy_of(stored, interaction)
                    elif before:
                        changed.add(item.id)

        times = [item.created_at for item in items if not item.unreadable]
        users = {item.user_id for item in items}
        user = users.pop() if len(users) == 1 else ""
        filters = [TrafficFilter(user, start_time=min(times), end_time=max(times))] if times else []
        ids = list({item.request_id: None for item in items})
        await read_set(self.scope, ids, take, filters=filters, whole=whole, progress=self.progress)
        return _Reading(unchanged, frozenset(changed))

    async def delete_learnings(self) -> None:
        planned = self.planned
        leaves_user = self.ledger.any_held or self.unplanned
        if not planned.takes_learnings or (isinstance(planned.target, User) and leaves_user):
            return

        async def keep(learnings: Sequence[Learning]) -> set[str]:
            return await self._keep([copy_of_learning(learning) for learning in learnings])

        async def held(learning_ids: Iterable[str]) -> set[str]:
            return await self._held_since([learning_item(self.going[key]) for key in learning_ids])

        users = sorted({item.user_id for item in planned.items})
        try:
            await self._claim(item for item in planned.items if item.is_learning)
            deleted = await delete_learnings(
                self.scope, users, self._learnings_to_delete, keep, held, progress=self.progress
            )
        except TrafficError as failure:  # nothing was sent
            deleted = DeletedLearnings(left=planned.selected.learned, failure=failure)
        self.deleted = deleted
        self.failure = self.failure or deleted.failure
        self.ledger.sent |= deleted.sent
        if deleted.left is not None:
            self.ledger.note_stored(planned.learnings, deleted.left.linked)

    async def _learnings_to_delete(self) -> Learned:
        """Read again which learnings to delete, without those that a hold keeps and those that changed.

        A learning that the plan left out stays, even if a hold on it was lifted since, or if the other requests that
        say the same were deleted since.
        """
        planned = self.planned
        left_out = (planned.selected.learned or Learned()).linked.keys() - set(planned.learnings)
        found = await planned.target.read_learned(self.scope, planned.selected)
        held = await self._note_held(list(map(learning_item, found.going)))
        may_go = {
            key: linked for key, linked in found.linked.items() if linked.goes and key not in held | left_out
        }
        await self._count_appeared(may_go.keys() - set(planned.learnings))
        going = {key: linked for key, linked in may_go.items() if key not in self.over_cap}
        stay = found.linked.keys() - going.keys()
        self.ledger.note_changed(found.changed | stay.intersection(self.planned.learnings))
        self.replaced |= found.current_again_after(going)
        await self._note_back()
        self.going |= {key: linked.learning for key, linked in going.items()}
        return replace(found, linked=going)

    async def _note_back(self) -> None:
        """Record which earlier learnings become current again that the plan did not know of: an undo looks there."""
        planned = {learning.learning_id for learning in self.planned.comes_back}
        new = self.replaced.keys() - planned - self.back_appeared
        if not new:
            return
        learnings = [(key, self.replaced[key].user_id) for key in sorted(new)]
        with needing_state(FactCode.STATE_UNUSABLE):
            self.number = await in_thread(self.state.note_back, self.number, learnings)
        self.back_appeared |= new

    async def _count_appeared(self, learning_ids: Collection[str]) -> None:
        """Count learnings that the plan did not have against the cap, or note that it has no room for them."""
        new = set(learning_ids) - self.appeared
        with needing_state(FactCode.STATE_UNUSABLE):
            fit = not new or await in_thread(self.state.count_more, self.planned.owner, self.number, len(new))
        if fit:
            self.appeared |= new
        self.over_cap = set() if fit else new

    async def delete_restored(self) -> None:
        """Delete what a restore has stored since the plan, before it knew of this erasure."""
        planned = self.planned
        if not planned.options.erase or self.ledger.any_held or self.unplanned:
            return
        ids = {item.id for item in planned.items}
        with self._noting_failure(), needing_state(FactCode.STATE_UNUSABLE):
            restored = await in_thread(self.state.restored_since, planned.at_line)
            found = await in_thread(notes_of_copies, self.state, planned.owner, planned.erasure())
            self.copy_notes = [*planned.copy_notes, *found]
            others = [copied for copied in self.copy_notes if copied.note.id not in ids]
            self.restored = await take_out_copied(self.scope, self.state, planned.owner, others, restored)
        self.ledger.note_held(note.id for note in self.restored.held)
        self.ledger.note_changed(note.id for note in self.restored.anew)

    async def make_current(self) -> None:
        """Make the learnings current again that a deleted one had replaced, and read them again."""
        self.replaced |= self.planned.selected.owed
        users = {learning.user_id for learning in self.replaced.values()}
        for user_id in users:
            with self._noting_failure():
                await self._make_current(user_id)
        await self._release()

    async def _make_current(self, user_id: str) -> None:
        replaced = map(learning_item, self.replaced.values())
        await self._claim((learning for learning in replaced if learning.user_id == user_id), stores=True)
        stored = await learnings_of_user(self.scope, user_id)
        lineage = Lineage(stored)
        there = {learning.learning_id: learning for learning in stored}
        wanted = [
            learning
            for key, before in self.replaced.items()
            if (learning := there.get(key))
            and learning.is_replaced
            and learning.digest == before.digest
            and not lineage.current_successors(learning)  # else what replaced it is in use
        ]
        held = await self._note_held(list(map(learning_item, wanted)))
        wanted = [learning for learning in wanted if learning.learning_id not in held]
        erased = await self._keep([copy_of_learning(learning) for learning in wanted])
        # An erasure that ends from here on finds the claim. One that ends during the call is looked for again below.
        erased |= await self._erased_beside(wanted)
        wanted = [learning for learning in wanted if learning.learning_id not in erased]
        items = {learning.learning_id: learning_item(learning) for learning in wanted}

        async def held_since(learning_ids: Iterable[str]) -> set[str]:
            kept = await self._held_since([items[key] for key in learning_ids])
            held.update(kept)
            return kept

        with self._noting_failure():  # a call without an answer may have taken effect
            self.uncertain |= await make_current(self.scope, wanted, held_since)
        await self._delete_doubles(user_id, wanted, there)
        current = await self._revived(user_id, wanted)
        if current and (erased_since := await self._erased_beside(wanted)):
            delete_again = [current[key].learning_id for key in erased_since if key in current]
            await delete_by_id(self.scope, delete_again, set())
            current = await self._revived(user_id, wanted)
        self.current |= {key: learning.learning_id for key, learning in current.items()}
        self.earlier_held |= held

    async def _delete_doubles(self, user_id: str, wanted: Sequence[Learning], before: Container[str]) -> None:
        """Delete playbooks that another deletion has made current again at the same time, except the first of each.

        Each gets an id of its own. If both deletions see both, they delete the same one.

        Args:
            before: the ids of what was stored before. That is no double.
        """
        playbooks = [learning for learning in wanted if learning.kind == "user_playbook"]
        if not playbooks:
            return
        added = [
            learning
            for learning in await learnings_of_user(self.scope, user_id)
            if learning.kind == "user_playbook"
            and learning.state == "current"
            and learning.learning_id not in before
        ]
        added.sort(key=lambda playbook: int(playbook.number))
        doubles: list[str] = []
        for said, number in Counter(map(_said_when, playbooks)).items():
            same = [playbook.learning_id for playbook in added if _said_when(playbook) == said]
            doubles += same[number:]
        await delete_by_id(self.scope, doubles, set())

    async def _revived(self, user_id: str, wanted: Sequence[Learning]) -> dict[str, Learning]:
        """Return what replaced learnings have become in use, by the ids that they had."""
        now = [
            learning
            for learning in await learnings_of_user(self.scope, user_id)
            if learning.state == "current"
        ]
        found: dict[str, Learning] = {}
        for before in wanted:
            same = (learning for learning in now if learning.is_same_as(before))
            if revived := next(same, None):
                found[before.learning_id] = revived
        return found

    async def _erased_beside(self, learnings: Sequence[Learning]) -> set[str]:
        """Return the ids of learnings that another call has erased while this one was storing them again."""
        copies = [copy_of_learning(learning) for learning in learnings]
        with needing_state(FactCode.STATE_UNUSABLE):
            return await in_thread(self.state.erased_beside, self.planned.owner, self.number, copies)

    async def read_again(self) -> None:
        """Read what is stored of the planned items, even after an early end."""
        planned, target = self.planned, self.planned.target
        with self._noting_failure():
            if isinstance(target, User):
                ids = [item.id for item in planned.items]  # a merge may have brought learnings back
                stored = {item.id for item in (await target.read_stored(self.scope, self.progress)).items}
                self.arrived = len(self.unplanned.union(stored.difference(ids)))
                self.ledger.note_stored(ids, stored)
            else:
                reading = await self._read(planned.stored)
                self.ledger.note_changed(reading.changed)
                self.ledger.note_stored([item.id for item in planned.stored], reading.unchanged)

    async def close(self) -> Receipt:
        """Record the receipt and erase copies, in one step."""
        while True:
            ending = await self._ending()
            receipt = await self._receipt(ending)
            try:
                chain = await self._record(receipt, ending)
            except LookAgain:
                continue  # holds or copies changed while this waited for the state
            except StateUnusable as error:
                return self._unrecorded(receipt, ending, error)
            return await self._look_after_restores(receipt.model_copy(update={"log": chain}))

    async def _ending(self) -> _Ending:
        planned, outcomes = self.planned, self.ledger.outcomes
        holds, held_copies = self.scope.policy.holds_now(), 0
        with self._noting_failure():
            held_copies = await self._held_copies()
        unopened: list[Fact] = []
        later_copies = 0
        if planned.options.erase:
            copies, erasure = self.state.copies, planned.erasure()
            with self._noting_failure(), needing_state(FactCode.STATE_UNUSABLE):
                damaged = await in_thread(copies.count_changed_besides, planned.owner, erasure)
                unopened = await skipped_copies(self.state, damaged=damaged)
                later_copies = await in_thread(copies.count_later, planned.owner, erasure)
        stopped = self.failure or self.ledger.any_held or held_copies or self.unplanned
        erases = planned.options.erase and not stopped
        still_stored = {note.id for note in (*self.restored.left, *self.restored.anew)}
        erased = [item for item in planned.copied if item.id not in still_stored] if erases else []
        erased_ids = {item.id for item in erased}
        left: dict[str, Outcome] = {
            item_id: why for item_id, why in outcomes.items() if why and item_id not in erased_ids
        }
        remains = held_copies or any(why != "gone_before" for why in left.values())
        return _Ending(
            erases=erases,
            holds=holds,
            held_copies=held_copies,
            unopened=unopened,
            later_copies=later_copies if erases else 0,
            erased=erased,
            done=[item for item in planned.items if outcomes[item.id] is None],
            left=left,
            complete=not (
                remains
                or later_copies
                or self.failure
                or self.deleted.still_learning
                or self.arrived
                or self.over_cap
                or self._not_current_again
            ),
        )

    async def _receipt(self, ending: _Ending) -> Receipt:
        planned = self.planned
        corrects = planned.plan.corrects
        current = self._shown_current
        way_back, copies_gone = await self._way_back(ending)
        return Receipt(
            number=self.number,
            planned=planned.plan.selected,
            deleted=counts_of([] if corrects else ending.done, ending.erased),
            reason=planned.options.reason,
            change=planned.plan.change,
            corrected=len(ending.done) if corrects else 0,
            decision=planned.plan.decision,
            not_deleted=self._excepted(ending.left),
            learnings=self._learnings(ending),
            earlier=[
                earlier.model_copy(update={"learning_id": current[earlier.learning_id]})
                for earlier in planned.plan.earlier
                if earlier.learning_id in current
            ],
            shared_rules=planned.plan.shared_rules,
            facts=[
                *(fact for fact in planned.plan.facts if fact.code not in SKIPPED_COPIES | WITH_WORDS),
                *ending.unopened,
                *self._happened(ending),
                *copies_gone,
                *self._advice(ending),
            ],
            way_back=way_back,
        )

    @property
    def _shown_current(self) -> dict[str, str]:
        """The ids of learnings that are current again, by the ids that they had, as answers show them."""
        return {self.scope.shown_id(key): self.scope.shown_id(name) for key, name in self.current.items()}

    def _learnings(self, ending: _Ending) -> list[TaughtLearning]:
        """Return the learnings of the plan as they are now."""
        done = {self.scope.shown_id(item.id) for item in ending.done}
        current = self._shown_current
        return [
            row.model_copy(
                update={
                    "goes": row.learning_id in done,
                    "earlier": [
                        earlier.model_copy(update={"learning_id": current[earlier.learning_id]})
                        for earlier in row.earlier
                        if earlier.learning_id in current
                    ],
                }
            )
            for row in self.planned.plan.learnings
        ]

    def _excepted(self, left: Mapping[str, Outcome]) -> list[Excepted]:
        missing: dict[str, Outcome] = dict.fromkeys(self.planned.selected.not_found, "not_found")
        return excepted({**left, **missing}, self.scope.shown_id)

    async def _record(self, receipt: Receipt, ending: _Ending) -> str:
        """Record the end of the deletion and return its value of the audit log.

        Raises `StateUnusable`, and `LookAgain` if a hold may keep copies by now, or copies have been added.
        """
        facts = receipt.model_dump(include={"corrected", "deleted"}, exclude_defaults=True)
        ended = await in_thread(
            self.state.finish,
            self.planned.owner,
            self.number,
            outcome=ending.outcome,
            counted=len(self.ledger.sent) + len(ending.erased) + self.deleted_unseen,
            gone=len(ending.done) + len(ending.erased),
            # A later erasure could not remove texts from the receipt.
            receipt=receipt.model_dump_json(exclude_defaults=True, exclude=_TEXTS),
            facts=facts | {"not_deleted": ending.left},
            deeds=self._deeds(ending),
            erasure=replace(self.planned.erasure(), seen=self.copy_notes) if ending.erases else None,
            later_copies=ending.later_copies,
            holds_are_same=lambda: self.scope.policy.holds_now() == ending.holds,
        )
        return ended.chain

    def _deeds(self, ending: _Ending) -> LearningDeeds:
        """Return what was done to learnings in use, by user. A replaced one was not in use, so it is left out."""
        done = {item.id: item.learning for item in ending.done if item.learning}
        done |= {key: self.going[key] for key in self.deleted.gone}
        deeds = defaultdict[str, dict[Deed, list[str]]](dict)
        for key, learning in done.items():
            if not learning.is_replaced:
                deed: Deed = "corrected" if self.planned.plan.corrects else "deleted"
                deeds[learning.user_id].setdefault(deed, []).append(key)
        for before, now in self.current.items():
            deeds[self.replaced[before].user_id].setdefault("put_back", []).append(now)
        return deeds

    def _unrecorded(self, receipt: Receipt, ending: _Ending, error: StateUnusable) -> Receipt:
        """Return the receipt of a deletion whose end could not be recorded.

        Nobody knows whether copies were erased, so none counts as erased.
        """
        unknown: dict[str, Outcome] = {item.id: "unknown" for item in ending.erased}
        known = receipt.model_copy(
            update={
                "way_back": WayBack(state="unknown") if ending.erases else receipt.way_back,
                "deleted": receipt.deleted.model_copy(update={"only_in_copies": 0}),
                "not_deleted": self._excepted({**ending.left, **unknown}),
            }
        )
        unrecorded = Fact(code=FactCode.NOT_RECORDED, names=[shown_name(error.problem)])
        return _with(known, unrecorded, *([Fact(code=FactCode.REPEAT_CALL)] if known.finished else []))

    async def _look_after_restores(self, receipt: Receipt) -> Receipt:
        """Delete again what restores have stored although this or an earlier erasure had named it."""
        owner, state = self.planned.owner, self.state
        with self._noting_failure(), needing_state(FactCode.STATE_UNUSABLE):
            taken = await take_out_waiting(self.scope, state, owner)
            if again := len({note.id for note in (*self.restored.gone, *taken.gone)}):
                receipt = _with(receipt, Fact(code=FactCode.DELETED_AGAIN, number=again))
        with self._noting_failure(), needing_state(FactCode.STATE_UNUSABLE):
            waiting = await in_thread(state.must_go.waiting, owner)
            if left := len({note.id for note in waiting if note.erasure == self.number}):
                receipt = _with(receipt, Fact(code=FactCode.MAY_RETURN, number=left))
        return receipt

    @property
    def _not_current_again(self) -> list[str]:
        return [key for key in self.replaced if key not in self.current]

    def _happened(self, ending: _Ending) -> list[Fact]:
        facts: list[Fact] = []
        if self.failure:
            facts += [Fact(code=FactCode.ENDED_EARLY), *facts_of(self.failure)]
            if uncertain := sum(ending.left.get(item_id) == "still_present" for item_id in self.ledger.sent):
                facts.append(Fact(code=FactCode.MAY_STILL_GO, number=uncertain))
        if self.overwritable and self.planned.plan.corrects:
            facts.append(Fact(code=FactCode.MAY_STILL_GO, number=len(self.planned.items)))
        if self.not_copied:
            facts.append(Fact(code=FactCode.NOT_COPIED, number=len(self.not_copied)))
        if self.arrived:
            facts.append(Fact(code=FactCode.ARRIVED, number=self.arrived))
        if self.deleted_unseen:
            facts.append(Fact(code=FactCode.ARRIVED_AND_DELETED, number=self.deleted_unseen))
        if self.over_cap:
            facts.append(Fact(code=FactCode.LEARNINGS_OVER_CAP, number=len(self.over_cap)))
        if busy := len(self.deleted.still_learning):
            facts.append(Fact(code=FactCode.STILL_LEARNING, number=busy))
        if held := self.earlier_held.difference(self.current):
            names = few(sorted(held), self.scope.shown_id)
            facts.append(Fact(code=FactCode.EARLIER_ON_HOLD, number=len(held), names=names))
        if missing := [key for key in self._not_current_again if key not in self.earlier_held]:
            names = few(missing, self.scope.shown_id)
            facts.append(Fact(code=FactCode.NOT_CURRENT_AGAIN, number=len(missing), names=names))
        if appeared := len(self.deleted.gone.difference(self.planned.learnings)):
            facts.append(Fact(code=FactCode.LEARNINGS_APPEARED, number=appeared))
        if back := [self.current[key] for key in sorted(self.back_appeared & self.current.keys())]:
            names = few(back, self.scope.shown_id)
            facts.append(Fact(code=FactCode.LEARNINGS_BACK_APPEARED, number=len(back), names=names))
        if self.successor:
            names = [self.scope.shown_id(self.successor.learning_id)]
            facts.append(Fact(code=FactCode.LEARNING_REPLACED, names=names))
        if ending.held_copies:
            facts.append(Fact(code=FactCode.COPIES_ON_HOLD, number=ending.held_copies))
        if ending.later_copies:
            facts.append(Fact(code=FactCode.LATER_COPIES, number=ending.later_copies))
        return facts

    def _advice(self, ending: _Ending) -> list[Fact]:
        if ending.complete:
            return []
        if self.planned.plan.change and ending.done:
            return [Fact(code=FactCode.LOOK_LATER)]
        facts = [Fact(code=FactCode.REPEAT_CALL)]
        lost = self.deleted.still_learning or not ending.left.keys().isdisjoint(self.planned.learnings)
        if lost and not self.planned.plan.corrects:
            facts.append(Fact(code=FactCode.LEARNINGS_MAY_BE_MISSED))
        return facts

    async def _way_back(self, ending: _Ending) -> tuple[WayBack | None, list[Fact]]:
        """Return how this deletion can be undone, and what another call has erased of its copies meanwhile."""
        planned = self.planned
        if planned.plan.decision in ("approve", "reject"):
            return None, []
        if planned.options.erase:
            return WayBack(state="erased" if ending.erases and not ending.unopened else "unknown"), []
        if not self.copies_kept:
            return WayBack(state="none" if planned.days else "off"), []
        try:
            copies = await in_thread(self.state.copies.listed, planned.owner, self.number)
        except StateUnusable:
            return WayBack(state="unknown"), []
        copy = copies.get(self.number)
        if copy is None:
            return WayBack(state="erased"), []
        way_back = WayBack(state=kept_form(self.scope, planned.plan.change), until=at(copy.until))
        gone = self.copies_kept - copy.counts.total()
        facts = [Fact(code=FactCode.COPIES_GONE, number=gone)] if gone > 0 else []
        return way_back, facts


def _said_when(playbook: Learning) -> tuple[str, frozenset[int], int]:
    """What a playbook has in common with what it was before it became current again."""
    return playbook.digest, playbook.interaction_ids, playbook.changed_at


def _with(receipt: Receipt, *facts: Fact) -> Receipt:
    return receipt.model_copy(update={"facts": [*receipt.facts, *facts]})
