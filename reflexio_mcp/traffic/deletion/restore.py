"""Restores a recovery copy: first the requests, then the learnings from them.

A restore is a recorded job, like a deletion. After storing each item, it checks whether an erasure has named the item
meanwhile.
"""

import hashlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Container, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, Literal

from reflexio_mcp.rest.errors import AlreadyExists, InvalidBody, NotSent, ReflexioError
from reflexio_mcp.rest.models import PublishBody, RequestWithInteractions, UserProfile
from reflexio_mcp.results.base import NOTICE, shown_name
from reflexio_mcp.results.deletion import Counts, Outcome, Restored, excepted
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.progress import Progress, Step
from reflexio_mcp.state.copies import Reading
from reflexio_mcp.state.keys import KEY_ADVICE, NO_KEY
from reflexio_mcp.state.records import (
    Copied,
    Deed,
    JobNumber,
    LearningDeeds,
    Name,
    Owner,
    RestoreIntention,
)
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.traffic.content import opening
from reflexio_mcp.traffic.deletion.claims import release
from reflexio_mcp.traffic.deletion.copied_learnings import Comparison, Renumbered, paired
from reflexio_mcp.traffic.deletion.erasures import Erasures, TakenOut
from reflexio_mcp.traffic.deletion.execute import Origin
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import (
    Content,
    Item,
    content_item,
    content_of,
    counts_of,
    is_stored_as,
    item_of,
    learning_item,
    publishable,
)
from reflexio_mcp.traffic.deletion.past import gone_from_copies
from reflexio_mcp.traffic.deletion.plan import examples, skipped_copies
from reflexio_mcp.traffic.deletion.targets import OPENING_CHARS
from reflexio_mcp.traffic.errors import (
    NotStored,
    TrafficError,
    Unreadable,
    facts_of,
    needing_state,
    state_facts,
)
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.lineage import Lineage
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import add_learnings, as_current, retire, update_text
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["Storing", "Undo", "begin_restore", "plan_restore", "restore"]

BATCH: Final = 50

PUBLISH_SECONDS: Final = 90.0
"""Time limit of storing one request, longer than a rate limit of a minute."""

SPARE_SECONDS: Final = 2 * PUBLISH_SECONDS
"""How long after its time limit a restore may store something: a request, and learnings."""

SHOWN: Final = 50
"""Maximum number of requests in the plan of a restore."""


@dataclass(frozen=True)
class Undo:
    """What is to be restored.

    Args:
        ids: only these requests and the learnings from them; all if empty.
        evaluation_only: store them so that nothing is learned from them again.
        seconds: time limit. A restore that it ends names what is left, and a repeated one continues.
    """

    number: int
    ids: frozenset[str] = frozenset()
    evaluation_only: bool = False
    seconds: float = math.inf


@dataclass(frozen=True)
class PlannedRestore:
    """A restore that could be carried out.

    Args:
        ids: the items, by the ids under which they are restored.
        bound: what a code for the plan is bound to.
        copies_gone: the fact that deleted items have no copy any more.
    """

    undo: Undo
    owner: Owner
    plan: Restored
    ids: Sequence[str]
    bound: str
    copies_gone: Sequence[Fact] = ()


def _reading(state: State, owner: Owner, undo: Undo) -> Reading:
    names = [Name.of("request", request_id) for request_id in undo.ids] or None
    return state.copies.read(owner, deletion=undo.number, names=names)


async def _selected(
    state: State, owner: Owner, undo: Undo, reading: Reading
) -> AsyncIterator[dict[str, tuple[Copied, Content]]]:
    """Open the copies of a restore as `_opened` does, and then those of what the restored learnings had replaced.

    A replaced learning came from other requests than the chosen ones, so no name of these leads to its copy.
    """
    learnings: dict[str, Learning] = {}
    async for batch in _opened(reading):
        learnings |= {key: content for key, (_, content) in batch.items() if isinstance(content, Learning)}
        yield batch
    if not (undo.ids and learnings):
        return
    made_current = await _made_current(state, owner, undo.number)
    left = [Name.of("learning", learning_id) for learning_id in made_current - learnings.keys()]
    if not left:
        return
    async for batch in _opened(state.copies.read(owner, deletion=undo.number, names=left)):
        lineage = Lineage(
            [
                *learnings.values(),
                *(content for _, content in batch.values() if isinstance(content, Learning)),
            ]
        )
        yield {
            key: (copied, content)
            for key, (copied, content) in batch.items()
            if key in made_current
            and isinstance(content, Learning)
            and any(successor.learning_id in learnings for successor in lineage.current_successors(content))
        }


async def _made_current(state: State, owner: Owner, number: int) -> frozenset[str]:
    """Return the ids of the replaced learnings that a deletion was to make current again. Raises `Unreadable`."""
    with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
        deletions = await in_thread(state.last, owner, 1, number)
    return frozenset(learning_id for deletion in deletions for learning_id, _ in deletion.back)


async def _opened(reading: Reading) -> AsyncIterator[dict[str, tuple[Copied, Content]]]:
    """Open copies in batches, by the ids under which they are restored, the oldest first.

    Raises:
        Unreadable: they cannot be read.
    """
    with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
        while copies := await in_thread(lambda: list(islice(reading, BATCH))):
            contents = [(copy, content_of(copy)) for copy in copies]
            yield {content_item(content).id: (copy, content) for copy, content in contents}


async def _skipped(state: State, undo: Undo, reading: Reading) -> list[Fact]:
    """Name the copies of the deletion that cannot be opened. Raises `Unreadable`."""
    with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
        return await skipped_copies(state, undo.number, damaged=reading.damaged)


async def plan_restore(scope: Scope, state: State, owner: Owner, undo: Undo) -> PlannedRestore:
    """Look up what a restore would put back.

    Raises:
        NotStored: there is no copy of it.
        Unreadable: the copies cannot be read, or may have been erased.
    """
    with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
        await in_thread(state.refuse_if_maybe_erased, undo.number)
    ids, counts, shown = list[str](), Counts(), list[RequestWithInteractions]()
    bound = hashlib.sha256(repr((undo.number, sorted(undo.ids), undo.evaluation_only)).encode())
    missing = {Name.of("request", request_id) for request_id in undo.ids}
    reading = _reading(state, owner, undo)
    async for batch in _selected(state, owner, undo, reading):
        missing.difference_update(*(copied.names for copied, _ in batch.values()))
        contents = [content for _, content in batch.values()]
        counts += counts_of(map(content_item, contents))
        requests = [content for content in contents if isinstance(content, RequestWithInteractions)]
        shown += requests[: SHOWN - len(shown)]
        bound.update("\0".join(batch.keys()).encode("utf-8", "surrogatepass"))
        ids += batch.keys()
    skipped = await _skipped(state, undo, reading)
    copies_gone = [] if undo.ids else await _facts_about_missing_copies(state, owner, undo.number)
    if not ids:
        if any(fact.code == FactCode.COPIES_SEALED for fact in skipped):
            raise Unreadable(*state_facts(StateUnusable(NO_KEY, KEY_ADVICE), FactCode.COPIES_UNREADABLE))
        code = FactCode.NO_COPY_OF_REQUESTS if undo.ids else FactCode.NO_COPY
        raise NotStored(Fact(code=code, number=undo.number), *skipped, Fact(code=FactCode.LIST_COPIES))
    if missing:
        first_missing = scope.shown_id(min(missing).id)
        raise NotStored(
            Fact(code=FactCode.NO_COPY_OF_REQUESTS, number=undo.number, names=[first_missing]),
            *skipped,
            Fact(code=FactCode.LIST_COPIES),
        )
    openings = (
        {} if scope.masked else {item.request.request_id: opening(item, OPENING_CHARS) for item in shown}
    )
    not_shown: list[Fact] = []
    if counts.requests > SHOWN:
        not_shown.append(Fact(code=FactCode.REQUESTS_NOT_SHOWN, number=counts.requests))
    plan = Restored(
        notice=NOTICE,
        status="planned",
        number=undo.number,
        planned=counts,
        facts=[*not_shown, *skipped, *copies_gone],
        examples=await examples(scope, [item_of(item) for item in shown], openings),
    )
    return PlannedRestore(undo, owner, plan, list(dict.fromkeys(ids)), bound.hexdigest(), copies_gone)


async def _facts_about_missing_copies(state: State, owner: Owner, number: int) -> list[Fact]:
    """Name the deleted items that have no copy any more. Raises `Unreadable`."""
    with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
        gone = await gone_from_copies(state, owner, number)
    return [Fact(code=FactCode.COPIES_GONE, number=gone)] if gone else []


async def begin_restore(planned: PlannedRestore, origin: Origin, state: State) -> JobNumber:
    """Record a restore; return its number. Raises `NotRecorded`: nothing was restored."""
    intention = RestoreIntention(
        deletion=planned.undo.number,
        number=len(planned.ids),
        seconds=planned.undo.seconds + SPARE_SECONDS,
        facts={
            "tool": origin.tool,
            "client": origin.client,
            "consent": origin.consent,
            "user_id": planned.owner.user,
            "ids": planned.ids,
        },
    )
    with needing_state(FactCode.NOTHING_RESTORED, FactCode.STATE_UNUSABLE):
        return await in_thread(state.begin_restore, planned.owner, intention)


async def restore(
    scope: Scope, state: State, planned: PlannedRestore, number: JobNumber, progress: Progress
) -> Restored:
    """Carry out a recorded restore.

    What is stored stays, except the text of a corrected learning, which is put back as it was, and learnings whose
    successor is in use again, which become replaced ones.

    Failures do not raise: the result says what is restored and what is not.

    Args:
        number: of the restore, from `begin_restore`.
    """
    act = _Restore(scope, state, planned, number, progress)
    await act.run()
    return await act.close()


@dataclass(frozen=True)
class _ToWrite:
    """What a restore writes of one user's learnings, by their ids in the copy.

    Args:
        missing: learnings to store.
        corrected: stored learnings that get the text of the copy back.
        revived: stored learnings that the deletion made current again. A learning whose successor is in use again is
            retired.
        replaced_already: the ids of those `revived` learnings that are also stored as the copy has them, as replaced.
        outdated: stored learnings that list interactions by earlier ids. A restore of only some requests leaves such
            learnings, because it does not know which ids the interactions of the other requests will get.
    """

    missing: Mapping[str, Learning]
    corrected: Mapping[str, Learning]
    revived: Mapping[str, Learning]
    replaced_already: Collection[str]
    outdated: Mapping[str, Learning]


@dataclass
class Storing:
    """Stores requests and learnings that are not stored, and reads again.

    Args:
        until: when to stop, in monotonic seconds.
        erasures: erasures that may run beside it; `None` if nothing comes from a recovery copy.
        became: the outcome of each id that is not back.
        back: the restored items as they are stored now, by the id in the copy.
        interactions: the ids that restored interactions have now, by the ids that they had.
        left_out: ids that an erasure has named.
        skipped: copies of the deletion that cannot be opened.
        images_not_compared: a request counts as stored already, although the service returns no images to compare.
        stopped: the restore has ended early, and stores nothing more.
        uncertain: something that was sent may still be stored later, or it was not looked whether it was erased.
        deletion_runs: the deletion may still delete what is stored already.
        made_current: the ids of the replaced learnings that the deletion was to make current again.
        some_gone: the deletion has deleted something that has no copy any more.
        not_linked: how many stored learnings list interactions by ids that these do not have any more.
    """

    scope: Scope
    evaluation_only: bool = False
    until: float = math.inf
    erasures: Erasures | None = None
    became: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    back: dict[str, Item] = field(default_factory=dict[str, Item])
    interactions: dict[int, int] = field(default_factory=dict[int, int])
    interactions_lost: int = 0
    left_out: set[str] = field(default_factory=set[str])
    skipped: list[Fact] = field(default_factory=list[Fact])
    facts: list[Fact] = field(default_factory=list[Fact])
    images_not_compared: bool = False
    stopped: bool = False
    uncertain: bool = False
    deletion_runs: bool = False
    made_current: frozenset[str] = frozenset()
    some_gone: bool = False
    not_linked: int = 0

    @property
    def may_still_go(self) -> int:
        """How many items are stored already, and may still be deleted."""
        return list(self.became.values()).count("already_there") if self.deletion_runs else 0

    @property
    def outcome(self) -> Literal["complete", "incomplete"]:
        """`complete` if everything is stored now that can be stored and was not erased meanwhile."""
        done = set(self.became.values()) <= {"already_there", "not_restorable", "erased"}
        left = self.stopped or self.skipped or self.may_still_go
        return "complete" if done and not left else "incomplete"

    def result(self, number: int = 0) -> Restored:
        facts = [*self.facts, *self.skipped]
        if self.interactions_lost:
            facts.append(Fact(code=FactCode.INTERACTIONS_LOST, number=self.interactions_lost))
        if self.not_linked:
            facts.append(Fact(code=FactCode.SOURCES_NOT_LINKED, number=self.not_linked))
        if self.images_not_compared:
            facts.append(Fact(code=FactCode.IMAGES_NOT_COMPARED))
        if self.may_still_go:
            facts.append(Fact(code=FactCode.MAY_STILL_GO, number=self.may_still_go))
        if self.stopped or self.may_still_go or not {"left", "unknown"}.isdisjoint(self.became.values()):
            facts.append(Fact(code=FactCode.RESTORE_REST))
        return Restored(
            notice=NOTICE if self.became else "",
            status=self.outcome,
            number=number,
            restored=counts_of(self.back.values()),
            not_restored=excepted(self.became, self.scope.shown_id),
            facts=facts,
        )

    @contextmanager
    def stopping(self) -> Generator[None]:
        """Let a failure end the restore early."""
        try:
            yield
        except (ReflexioError, TrafficError) as error:
            self._stop(error)

    def _stop(self, error: ReflexioError | TrafficError) -> None:
        self.stopped = True
        self.uncertain = self.uncertain or not isinstance(error, ReflexioError) or error.effect != "none"
        self.facts += [Fact(code=FactCode.ENDED_EARLY), *facts_of(error)]

    async def look_for_erasures(self, stored: Sequence[str] = ()) -> None:
        """Leave out what was erased meanwhile, and take out what was stored of it. Raises as reading does.

        Args:
            stored: ids that have been stored since the last look.
        """
        if self.erasures is None:
            return
        before = self.uncertain
        self.uncertain = True  # if looking fails, it stays
        with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
            self.left_out = await self.erasures.look(stored)
        self.uncertain = before
        for key in self.left_out & (self.became.keys() | self.back.keys()):
            self.back.pop(key, None)
            self.became[key] = "unknown" if key in self.erasures.left else "erased"

    def note_taken_out(self, taken: TakenOut) -> None:
        """Note what erasures have deleted of what is back. A request of which only parts were deleted is still back."""
        for note in (*taken.gone, *taken.left):
            if not note.parts and self.back.pop(note.id, None):
                self.became[note.id] = "unknown" if note in taken.left else "erased"

    async def requests(
        self, requests: Mapping[str, RequestWithInteractions], single: Mapping[str, Copied] | None = None
    ) -> None:
        """Store requests.

        Args:
            single: copies of interactions among them. Each becomes a request, unless it is still in its old one.
        """
        self.became |= dict.fromkeys(requests, "left")
        with self.stopping():
            await self.look_for_erasures()
            for key, item in (await self._stored(requests, single or {})).items():
                self._note_there(key, item)
            for key, request in requests.items():
                if self.became[key] == "left" and key not in self.left_out:
                    self.became[key] = await self._store(request)
                    await self.look_for_erasures([key])
        with self.stopping():
            await self._read_again(requests)
            await self.look_for_erasures()

    async def _read_again(self, requests: Mapping[str, RequestWithInteractions]) -> None:
        """Say what became of the requests that were sent, and of those whose id was taken."""
        sent = {
            key: request for key, request in requests.items() if self.became[key] in ("unknown", "id_taken")
        }
        stored = await self._stored(sent, {})
        for key in sent:
            item, was_sent = stored.get(key), self.became[key] == "unknown"
            if item and was_sent:
                self._note_restored(key, item)
            elif item:  # somebody else has stored the same a moment ago
                self._note_there(key, item)
            elif was_sent:
                self.became[key] = "id_taken" if key in stored else "left"

    def _note_there(self, key: str, item: Item | None) -> None:
        """Note that the same is stored already, or something else if `item` is `None`."""
        self.became[key] = "already_there" if item else "id_taken"
        self.images_not_compared |= item is not None and not self.scope.embedded

    def _note_restored(self, key: str, item: Item) -> None:
        self.back[key] = item
        del self.became[key]

    async def _stored(
        self, requests: Mapping[str, RequestWithInteractions], single: Mapping[str, Copied]
    ) -> dict[str, Item | None]:
        """Return the stored requests and `single` interactions; `None` if something else has the id."""
        found: dict[str, Item | None] = {}

        async def take(items: list[RequestWithInteractions]) -> None:
            for stored in items:
                found.update(
                    (key, item_of(stored)) for key in single if self._has_interaction(stored, requests[key])
                )
                request_id = stored.request.request_id
                if restored := requests.get(request_id):
                    same = self._is_same(stored, self._as_sent(restored))
                    found[request_id] = item_of(stored) if same else None
                    if same:  # restored interactions have new ids
                        self.interactions |= dict(
                            zip(_preserved_ids(restored), _preserved_ids(stored), strict=True)
                        )

        # The first name of a copy names the request.
        ids = dict.fromkeys([*requests, *(copy.names[0].id for copy in single.values())])
        await read_set(self.scope, list(ids), take, whole=True)
        return found

    def _is_same(self, stored: RequestWithInteractions, restored: RequestWithInteractions) -> bool:
        """Whether a request has all that `_store` preserves."""
        return is_stored_as(stored, restored, put_back=self._puts_back(restored))

    def _puts_back(self, item: RequestWithInteractions) -> bool:
        """Whether `_store` puts a request back with every field, and does not publish it again."""
        return self.scope.embedded and item.request.whole

    def _as_sent(self, item: RequestWithInteractions) -> RequestWithInteractions:
        evaluation_only = self.evaluation_only or item.request.evaluation_only
        return item.model_copy(
            update={"request": item.request.model_copy(update={"evaluation_only": evaluation_only})}
        )

    def _has_interaction(self, stored: RequestWithInteractions, restored: RequestWithInteractions) -> bool:
        """Whether a request has a copied interaction.

        A request of another store, or one that was stored again, can have something else under the same number.
        """
        [copied] = restored.interactions
        same_number = [
            interaction
            for interaction in stored.interactions
            if interaction.interaction_id == copied.interaction_id
        ]
        alone = stored.model_copy(update={"interactions": same_number})
        return bool(same_number) and self._is_same(alone, restored)

    async def _store(self, item: RequestWithInteractions) -> Outcome:
        """Store one request. The outcome is `unknown` until the request is read again."""
        if self.stopped or (seconds := self.until - time.monotonic()) <= 0:
            self.stopped = True
            return "left"
        item = self._as_sent(item)
        interactions = [sendable for stored in item.interactions if (sendable := publishable(stored))]
        try:
            if self._puts_back(item):
                await self.scope.client.put_back(item)
            elif interactions:
                self.interactions_lost += len(item.interactions) - len(interactions)
                fields = {**item.request.model_dump(), "interaction_data_list": interactions}
                body = PublishBody.model_validate(fields, extra="ignore")
                limit = min(seconds, PUBLISH_SECONDS)
                reply = await self.scope.client.publish(body, minted=False, timeout=limit)
                self.uncertain = self.uncertain or reply.repeated
            else:
                return "not_restorable"
        except AlreadyExists:
            return "id_taken"
        except (NotSent, InvalidBody):  # only this request is refused
            return "not_restorable"
        except ReflexioError as error:
            self._stop(error)
            return "left" if error.effect == "none" else "unknown"
        return "unknown"

    async def learnings(self, learnings: Mapping[str, Learning], copies: Mapping[str, Copied]) -> None:
        """Store learnings, and put the old text of corrected ones back."""
        self.became |= dict.fromkeys(learnings, "left")
        by_user: defaultdict[str, dict[str, Learning]] = defaultdict(dict)
        for key, learning in learnings.items():
            by_user[learning.user_id][key] = learning
        with self.stopping():
            for user_id, of_user in by_user.items():
                if self.stopped:
                    return
                await self.look_for_erasures()
                left = {key: learning for key, learning in of_user.items() if key not in self.left_out}
                await self._of_user(user_id, left, copies)
                await self.look_for_erasures(list(left))

    async def _of_user(
        self, user_id: str, learnings: Mapping[str, Learning], copies: Mapping[str, Copied]
    ) -> None:
        """Put the learnings of one user back, by their ids in the copy, and note what became of each."""
        assert self.erasures  # learnings come from recovery copies alone
        await self.erasures.claim(copies[key] for key in learnings)
        before = await self._stored_learnings(user_id)
        renumbered = Renumbered(self.interactions)
        to_write = await self._to_write(user_id, learnings, copies, before, renumbered)
        replaced_again = dict[str, Learning]()
        with self.stopping():  # a failed call may have taken effect
            await self._write(to_write, learnings, renumbered)
            superseded = await self._with_successor(user_id, to_write.revived, learnings)
            self.became |= dict.fromkeys(to_write.revived.keys() - superseded.keys(), "already_there")
            replaced_again = {
                key: learnings[key] for key in superseded if key not in to_write.replaced_already
            }
            self.uncertain |= await retire(
                self.scope, renumbered.relisted(replaced_again.values()), list(superseded.values())
            )
        if not self.uncertain:
            await release(self.erasures.state, self.erasures.restore)
        after = await self._stored_learnings(user_id)
        outdated = [
            after[there.learning_id] for there in to_write.outdated.values() if there.learning_id in after
        ]
        self.not_linked += sum(bool(renumbered.old_ids(learning)) for learning in outdated)
        again = {**to_write.missing, **replaced_again, **{key: learnings[key] for key in to_write.corrected}}
        await self._note_learnings(again, to_write.corrected, renumbered, before, after)

    async def _to_write(
        self,
        user_id: str,
        learnings: Mapping[str, Learning],
        copies: Mapping[str, Copied],
        stored: Mapping[str, Learning],
        renumbered: Renumbered,
    ) -> _ToWrite:
        """Return what has to be written of the copied learnings of a user, and note what became of the others."""
        later_texts = await self._later_texts(learnings)
        in_use_again = await self._without_successors(user_id, learnings, stored)
        current_by_now = self.made_current | in_use_again
        found = Comparison(learnings, copies, stored, renumbered, current_by_now, later_texts).compare()
        missing = {
            key: as_current(learning) if key in in_use_again else learning
            for key, learning in found.missing.items()
            if not _has_expired(learning)
        }
        changing = found.corrected | found.revived
        free = await self._without_held(changing)
        self.became |= dict.fromkeys(found.same, "already_there")
        self.became |= dict.fromkeys(found.taken, "id_taken")
        self.became |= dict.fromkeys(found.missing.keys() - missing.keys(), "not_restorable")
        self.became |= dict.fromkeys(changing.keys() - free.keys(), "held")
        return _ToWrite(
            missing,
            corrected={key: there for key, there in free.items() if key in found.corrected},
            revived={key: there for key, there in free.items() if key in found.revived},
            replaced_already=found.revived.keys() & found.same.keys(),
            outdated={
                key: there
                for key, there in found.same.items()
                if renumbered.old_ids(there) & learnings[key].interaction_ids
            },
        )

    async def _write(
        self, to_write: _ToWrite, learnings: Mapping[str, Learning], renumbered: Renumbered
    ) -> None:
        """Write the old texts of corrected learnings, the missing learnings, and the new sources of outdated ones."""
        for key, there in to_write.corrected.items():
            self.uncertain |= await update_text(self.scope, there, learnings[key].content)
        # A profile keeps its id and is stored over itself. A playbook would be stored once more, under another id.
        outdated_profiles = {
            key: there for key, there in to_write.outdated.items() if there.kind == "profile"
        }
        relisted = await self._without_held(outdated_profiles)
        self.uncertain |= await add_learnings(
            self.scope, renumbered.relisted([*to_write.missing.values(), *relisted.values()])
        )

    async def _later_texts(self, learnings: Mapping[str, Learning]) -> dict[str, set[str]]:
        """Return the digests of the texts that corrections have given to playbooks since, by that of the copied text.

        Raises:
            Unreadable: the copies of the corrections cannot be read.
        """
        assert self.erasures  # learnings come from recovery copies alone
        state, owner = self.erasures.state, self.erasures.owner
        texts = {
            learning.digest: {learning.digest}
            for learning in learnings.values()
            if learning.kind == "user_playbook"
        }

        def follow(found: set[str]) -> None:
            following = set(found)
            while following:
                names = [Name.of("text", text) for text in following]
                copies = state.copies.read(owner, having=names)
                said = {name.id for copied in copies for name in copied.names if name.kind == "text"}
                following = said - found
                found |= following

        def follow_each() -> None:
            for found in texts.values():
                follow(found)

        with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
            await in_thread(follow_each)
        return {text: found - {text} for text, found in texts.items()}

    async def _without_successors(
        self, user_id: str, learnings: Mapping[str, Learning], stored: Mapping[str, Learning]
    ) -> frozenset[str]:
        """Return the ids of copied replaced learnings that come back in use, because what replaced them was erased.

        Raises:
            Unreadable: the copies cannot be read.
        """
        assert self.erasures  # learnings come from recovery copies alone
        state, owner = self.erasures.state, self.erasures.owner
        replaced = [learning for learning in learnings.values() if learning.is_replaced]
        if not (self.some_gone and replaced):
            return frozenset()

        def search() -> frozenset[str]:
            copied = map(content_of, state.copies.read(owner, having={Name.of("user", user_id)}))
            others = [content for content in copied if isinstance(content, Learning)]
            lineage = Lineage([*learnings.values(), *stored.values(), *others])
            return frozenset(learning.learning_id for learning in lineage.last(replaced))

        with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
            return await in_thread(search)

    async def _with_successor(
        self, user_id: str, revived: Mapping[str, Learning], copied: Mapping[str, Learning]
    ) -> dict[str, Learning]:
        """Return the learnings that the deletion made current again and whose successor is in use again.

        The others stay in use: if the successor was erased or cannot be stored, nothing else says what they say.

        Args:
            revived: the learnings as they are stored, by their ids in the copy.
            copied: the learnings of the deletion as they were before it.
        """
        if not revived:
            return {}
        stored = await self._stored_learnings(user_id)
        digests_in_use = {learning.digest for learning in stored.values() if learning.state == "current"}
        # If the deletion was repeated, an earlier call of it has the copy of the successor, and `copied` lacks it. So
        # stored learnings are looked at, too.
        lineage = Lineage([*copied.values(), *stored.values()])
        return {
            key: there
            for key, there in revived.items()
            if any(
                successor.digest in digests_in_use and successor.learning_id != there.learning_id
                for successor in lineage.current_successors(copied[key])
            )
        }

    async def _stored_learnings(self, user_id: str) -> dict[str, Learning]:
        return {learning.learning_id: learning for learning in await learnings_of_user(self.scope, user_id)}

    async def _without_held(self, stored: Mapping[str, Learning]) -> dict[str, Learning]:
        """Leave out stored learnings that a hold keeps as they are."""
        assert self.erasures  # learnings come from recovery copies alone
        items = list(map(learning_item, stored.values()))
        held = await holds_on(self.scope, items, self.erasures.state, self.erasures.owner)
        return {key: learning for key, learning in stored.items() if learning.learning_id not in held}

    async def _note_learnings(
        self,
        again: Mapping[str, Learning],
        corrected: Mapping[str, Learning],
        renumbered: Renumbered,
        before: Container[str],
        after: Mapping[str, Learning],
    ) -> None:
        """Note which learnings are back, and delete playbooks that are stored once too often.

        Args:
            again: the learnings that this restore has put back, by their ids in the copy.
            corrected: those of them that were stored with the new text of a correction, as they were stored.
            before: the ids of what was stored before.
            after: what is stored now.
        """
        ids = {key: corrected[key].learning_id if key in corrected else key for key in again}
        now = {key: after[learning_id] for key, learning_id in ids.items() if learning_id in after}
        added = [there for key, there in after.items() if key not in before and there.kind == "user_playbook"]
        added.sort(key=lambda playbook: int(playbook.number))
        playbooks = {
            key: learning
            for key, learning in again.items()
            if learning.kind == "user_playbook" and key not in corrected
        }
        # A restored playbook has another id, so it is known by what it says: first with its time, because several can
        # say the same, and then without, because the service may have given it another time.
        stored = paired({key: _said_when(learning) for key, learning in playbooks.items()}, added, _said_when)
        ours = {there.learning_id for there in stored.values()}
        stored |= paired(
            {key: _said(learning) for key, learning in playbooks.items() if key not in stored},
            [there for there in added if there.learning_id not in ours],
            _said,
        )
        await self._delete_doubles(stored, added, renumbered)
        for key, there in (now | stored).items():
            if self.became[key] == "left" and _said(there) == _said(again[key]):
                self._note_restored(key, learning_item(there))

    async def _delete_doubles(
        self, stored: Mapping[str, Learning], added: Sequence[Learning], renumbered: Renumbered
    ) -> None:
        """Delete playbooks that are like a restored one in each field, and newer: `paired` takes the oldest.

        Another restore of the copy may store the same playbook at the same time, and each gets an id of its own. Of two
        restores that see both, only one deletes the newer: the other finds it gone.

        Args:
            stored: the restored playbooks as they are stored now, by their ids in the copy.
            added: all playbooks that were stored since this restore looked, the oldest first.
        """
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for key, playbook in stored.items():
            keys[_all_fields(playbook, renumbered)].append(key)
        ours = {playbook.learning_id for playbook in stored.values()}
        for playbook in added:
            fields = _all_fields(playbook, renumbered)
            if playbook.learning_id in ours or fields not in keys:
                continue
            reply = await self.scope.client.delete_user_playbooks([playbook.number])
            # The restore that deletes the newer one leaves it to the other to count the playbook as restored.
            if reply.deleted_count and keys[fields]:
                self.became[keys[fields].pop()] = "already_there"


def _said(learning: Learning) -> tuple[str, bool]:
    return learning.digest, learning.is_replaced


def _said_when(learning: Learning) -> tuple[str, bool, int]:
    return learning.digest, learning.is_replaced, learning.changed_at


def _all_fields(playbook: Learning, renumbered: Renumbered) -> str:
    [listed] = renumbered.relisted([playbook])
    return listed.row.model_dump_json(exclude={"user_playbook_id"}) if listed.row else ""


def _has_expired(learning: Learning) -> bool:
    return isinstance(learning.row, UserProfile) and 0 < learning.row.expiration_timestamp <= time.time()


def _preserved_ids(item: RequestWithInteractions) -> list[int]:
    """Return the ids of the interactions that a restore preserves."""
    return [interaction.interaction_id for interaction in item.interactions if publishable(interaction)]


class _Restore:
    """One recorded restore of a recovery copy."""

    def __init__(
        self, scope: Scope, state: State, planned: PlannedRestore, number: JobNumber, progress: Progress
    ) -> None:
        self.state = state
        self.planned = planned
        self.number = number
        self.progress = progress
        undo = planned.undo
        self.erasures = Erasures(scope, state, planned.owner, number)
        self.storing = Storing(scope, undo.evaluation_only, time.monotonic() + undo.seconds, self.erasures)
        self.storing.became |= dict.fromkeys(planned.ids, "left")
        self.storing.facts += planned.copies_gone

    async def _look_up_deletion(self) -> None:
        """Note whether the deletion may still run, what it was to make current again, and whether copies are gone."""
        number = self.planned.undo.number
        self.storing.deletion_runs = await in_thread(self.state.may_run, number)
        self.storing.made_current = await _made_current(self.state, self.planned.owner, number)
        self.storing.some_gone = await gone_from_copies(self.state, self.planned.owner, number) > 0

    async def run(self) -> None:
        storing = self.storing
        copies, learnings = dict[str, Copied](), dict[str, Learning]()
        reading = _reading(self.state, self.planned.owner, self.planned.undo)
        with storing.stopping():
            with needing_state(FactCode.COPIES_UNREADABLE, kind=Unreadable):
                await self._look_up_deletion()
            async for batch in _selected(self.state, self.planned.owner, self.planned.undo, reading):
                copies |= {key: replace(copied, content="") for key, (copied, _) in batch.items()}
                learnings |= {
                    key: content for key, (_, content) in batch.items() if isinstance(content, Learning)
                }
                requests = {
                    key: content
                    for key, (_, content) in batch.items()
                    if isinstance(content, RequestWithInteractions)
                }
                single = {key: copies[key] for key in requests if copies[key].kind == "interaction"}
                await storing.requests(requests, single)
                await self.progress(Step.REQUESTS_RESTORED, len(storing.back), len(self.planned.ids))
            # Planned items that have no copy any more were erased between the plan and the first look.
            storing.became |= {key: "erased" for key in self.planned.ids if key not in copies}
            if not storing.stopped:
                await storing.learnings(learnings, copies)
            storing.skipped = await _skipped(self.state, self.planned.undo, reading)

    async def close(self) -> Restored:
        """Record the end, and return what was restored even if that fails."""
        storing = self.storing
        try:
            while not await self._record_end():
                with storing.stopping():  # if looking fails, the next try records an uncertain end
                    await storing.look_for_erasures()
        except StateUnusable as error:
            storing.stopped = True
            storing.facts.append(Fact(code=FactCode.RESTORE_NOT_RECORDED, names=[shown_name(error.problem)]))
        if held := len(self.erasures.held):
            storing.facts.append(Fact(code=FactCode.ERASED_BUT_ON_HOLD, number=held))
        return storing.result(self.planned.undo.number)

    def _deeds(self) -> LearningDeeds:
        """Return which learnings are in use again, under the ids that they have now."""
        back = [item.learning for item in self.storing.back.values() if item.learning]
        deeds = defaultdict[str, dict[Deed, list[str]]](lambda: {"put_back": []})
        for learning in back:
            if not learning.is_replaced:
                deeds[learning.user_id]["put_back"].append(learning.learning_id)
        return deeds

    async def _record_end(self) -> bool:
        """Record the end; return whether that was possible, as `State.finish_restore` says."""
        storing = self.storing
        certain = not (storing.uncertain or self.erasures.held or self.erasures.left)
        whole_copy = not (self.planned.undo.ids or self.planned.copies_gone or storing.skipped)
        all_stored = set(storing.became.values()) <= {"already_there"} and not storing.may_still_go
        return await in_thread(
            self.state.finish_restore,
            self.planned.owner,
            self.number,
            outcome=storing.outcome,
            back=len(storing.back),
            all_of_it=whole_copy and all_stored,
            facts={
                "tool": "restore_requests",
                "ids": [*storing.back],
                "not_restored": storing.became,
            },
            absent=self.erasures.absent if certain else None,
            deeds=self._deeds(),
        )
