"""Deletes again what a restore has stored although an erasure had named it.

An erasure that meets a restore leaves notes in the state (`state/must_go.py`). The restore reads them after each item.
The next deletion, the next command and a running server read them, too, in case the restore has died.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from reflexio_mcp.rest.models import RequestWithInteractions, UnreadableRequest
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.state.records import Copied, CopyNote, Erasure, JobNumber, Meant, MustGo, Name, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.content import interaction_digest
from reflexio_mcp.traffic.deletion.claims import claim
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import (
    LEARNING_MODELS,
    Item,
    content_of,
    interactions_said,
    item_of,
    learning_item,
    names_of,
    said_by,
    said_digest,
)
from reflexio_mcp.traffic.errors import needing_state
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.records import Learning
from reflexio_mcp.traffic.learnings.remove import delete_by_id
from reflexio_mcp.traffic.policy import HoldsInForce
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["ErasuresBesideImport", "take_out_waiting", "would_be_erased"]


@dataclass
class Naming:
    """What an erasure names, to tell it from what the same recovery copies contain besides.

    Call `meant` once with each copy, the oldest first. The copy of a request then comes before those of the learnings
    from it. `meant` remembers the interactions of each named request, by which it knows what learnings came from.

    A restore may have stored interactions again, under other numbers than in older copies. So what they say decides.

    Args:
        user_id: everything of this user; empty for `items` alone.
        items: the planned items.
        request_id, interactions: only these interactions of this request.
        others_say: how many interactions of `request_id` that are not named are stored, by a digest of what they say.
        of_learnings: the erasure names learnings, not requests.
        takes_learnings: learnings that only copies contain go with the requests, even if they also came from others.
        requests_stay: ids of stored requests that the copies contain too and that the erasure does not name.
        learnings_stay: learnings that are stored and do not go, by id.
        corrected: the id of a learning that gets another text and does not go.
    """

    user_id: str = ""
    items: Sequence[Item] = ()
    request_id: str = ""
    interactions: frozenset[int] = frozenset()
    others_say: Mapping[str, int] = field(default_factory=dict[str, int])
    of_learnings: bool = False
    takes_learnings: bool = False
    requests_stay: Collection[str] = ()
    learnings_stay: Mapping[str, Learning] = field(default_factory=dict[str, Learning])
    corrected: str = ""

    def __post_init__(self) -> None:
        self._ids = {(item.user_id, item.id) for item in self.items}
        self._came_from = {(item.user_id, number) for item in self.items for number in item.interaction_ids}
        self._said = {(item.user_id, digest) for item in self.items for digest in item.said}
        self._named_say = Counter(said_by(self.items, self.interactions).values())

    def meant(self, copied: Copied) -> Meant | None:
        """Return what of a copy is named; `None` if nothing is."""
        content = content_of(copied)
        if self.user_id:
            said = [] if isinstance(content, Learning) else interactions_said(content)
            return Meant(said=said) if copied.user == self.user_id else None
        if isinstance(content, Learning):
            return self._of_learning(content)
        if self.interactions:
            return self._of_interactions(copied, content)
        return self._of_request(copied, content)

    def _of_request(self, copied: Copied, content: RequestWithInteractions) -> Meant | None:
        says = {(copied.user, digest) for digest in interactions_said(content)}
        is_planned = (copied.user, copied.restored_id) in self._ids
        repeats_named = copied.kind == "interaction" and says <= self._said
        if copied.restored_id in self.requests_stay or not (is_planned or repeats_named):
            return None
        self._came_from |= {(copied.user, interaction.interaction_id) for interaction in content.interactions}
        self._said |= says
        return Meant(said=interactions_said(content))

    def _of_interactions(self, copied: Copied, content: RequestWithInteractions) -> Meant | None:
        becomes_the_request = copied.restored_id == self.request_id
        # The first name of a copy names the request.
        is_of_the_request = copied.names[0] == Name.of("request", self.request_id)
        named = self._named_in(content) if becomes_the_request or is_of_the_request else ()
        if not named:
            return None
        self._came_from |= {(copied.user, number) for number in named}
        if becomes_the_request:
            return Meant(parts=self._parts(content, named))
        stays = copied.restored_id in self.requests_stay
        return None if stays else Meant(said=interactions_said(content))

    def _named_in(self, content: RequestWithInteractions) -> set[int]:
        """Return the numbers, in a copy, of the named interactions.

        If the copy lacks the number of a named one, another that says the same counts as that one.
        """
        said = {
            interaction.interaction_id: interaction_digest(interaction)
            for interaction in content.interactions
        }
        named = said.keys() & self.interactions
        missing = self._named_say - Counter(said[number] for number in named)
        for number, digest in said.items():
            if number not in named and missing[digest] > 0:
                missing[digest] -= 1
                named.add(number)
        return named

    def _parts(self, content: RequestWithInteractions, named: Collection[int]) -> dict[str, int]:
        """Return digests of the named interactions of a request, each with how many others say the same and stay.

        The same others can be in the copy and be stored, so the larger number counts, not the sum.
        """
        ids = [interaction.interaction_id for interaction in content.interactions]
        said = list(zip(ids, interactions_said(content), strict=True))
        others_in_copy = Counter(digest for number, digest in said if number not in named)
        return {
            digest: max(others_in_copy[digest], self.others_say.get(digest, 0))
            for number, digest in said
            if number in named
        }

    def _of_learning(self, learning: Learning) -> Meant | None:
        same_stay = [
            learning_id
            for learning_id, other in self.learnings_stay.items()
            if other.digest == learning.digest
        ]
        if (learning.user_id, learning.learning_id) in self._ids:
            return Meant(stay=same_stay, corrected=self.corrected)
        if learning.learning_id in self.learnings_stay:
            return None
        if self.of_learnings and learning.kind == "user_playbook":
            # A name of the erasure has found the copy. A restored playbook has another id, so its text decides later.
            return Meant(stay=same_stay, corrected=self.corrected)
        if self.of_learnings:
            return None
        if self.takes_learnings and self._came_from_named(learning):
            return Meant(stay=same_stay)
        return None

    def _came_from_named(self, learning: Learning) -> bool:
        """Whether a learning lists anything that is named, so that the erasure removes its copy."""
        if not learning.interaction_ids:
            return (learning.user_id, learning.last_request_id) in self._ids
        sources = {(learning.user_id, number) for number in learning.interaction_ids}
        return not sources.isdisjoint(self._came_from)


@dataclass(frozen=True, slots=True)
class TakenOut:
    """What came of notes.

    Args:
        gone: their items were stored again, and were deleted again.
        absent: their items are not stored.
        held: their items are stored again, and a hold keeps them.
        left: their items are still stored, or may be, and no hold keeps them.
        anew: their items are stored again, and not by a restore. They stay.
    """

    gone: Sequence[MustGo] = ()
    absent: Sequence[MustGo] = ()
    held: Sequence[MustGo] = ()
    left: Sequence[MustGo] = ()
    anew: Sequence[MustGo] = ()


async def take_out(scope: Scope, state: State, owner: Owner, notes: Sequence[MustGo]) -> TakenOut:
    """Delete the items of notes that are stored with the text that was erased, and read again.

    Raises:
        ReflexioError, TrafficError, StateUnusable: some of them may still be stored. The notes stay.
    """
    taken = await _take_out(scope, state, owner, notes)
    await in_thread(state.note_taken_out, taken.absent, taken.gone)
    return taken


async def take_out_copied(
    scope: Scope,
    state: State,
    owner: Owner,
    copied: Sequence[CopyNote],
    restored: Container[int],
) -> TakenOut:
    """Delete what a restore has stored since the plan of an erasure that has begun.

    What somebody has published or imported again since the plan stays: nobody has agreed to delete it.

    Args:
        copied: what the erasure has found in copies and does not delete without this.
        restored: the numbers of the deletions of which a restore may have stored something since the plan.

    Raises:
        ReflexioError, TrafficError, StateUnusable: some of it may be stored.
    """
    by_restore, others = list[MustGo](), list[MustGo]()
    # These notes are not in the state, so they get the numbers here by which their items are found.
    for deletion, note in copied:
        found = by_restore if deletion in restored else others
        found.append(replace(note, number=len(found)))
    taken = await _take_out(scope, state, owner, by_restore) if by_restore else TakenOut()
    stored = await _stored(scope, state, others) if others else {}
    return replace(taken, anew=[note for note in others if note.number in stored])


def notes_of_copies(state: State, owner: Owner, erasure: Erasure) -> list[CopyNote]:
    """Return a note of what an erasure names of each copy that it removes. Raises `StateUnusable`."""
    return [
        CopyNote(copied.deletion, state.must_go.note_of(copied, named))
        for copied in state.copies.read(owner, erasure=erasure)
        if (named := erasure.means(copied))
    ]


async def _take_out(scope: Scope, state: State, owner: Owner, notes: Sequence[MustGo]) -> TakenOut:
    policy_holds = scope.policy.holds_now()
    found = await _stored(scope, state, notes)
    holds = await holds_on(scope, [item for items in found.values() for item in items], state, owner)
    held = {number for number, items in found.items() if any(item.id in holds for item in items)}
    going = [
        item
        for note in notes
        for item in found.get(note.number, ())
        if item.id not in holds and item.id != note.corrected
    ]
    if going:
        await _delete(scope, going, policy_holds)
        there = await _stored(scope, state, [note for note in notes if note.number in found])
    else:
        there = found
    absent = [note for note in notes if note.number not in there]
    still = [note for note in notes if note.number in there]
    return TakenOut(
        gone=[note for note in absent if note.number in found],
        absent=absent,
        held=[note for note in still if note.number in held],
        left=[note for note in still if note.number not in held],
    )


async def would_be_erased(
    state: State, owner: Callable[[], Awaitable[Owner]], requests: Iterable[RequestWithInteractions]
) -> set[str]:
    """Return the ids of requests that would be deleted again if they were stored now, in whole or in part.

    An erasure has named what they say, and a restore of it is not over.

    Raises:
        NotRecorded: that is not known.
    """
    with needing_state(FactCode.STATE_UNUSABLE):
        if not await in_thread(state.must_go.any):
            return set()
        notes = await in_thread(state.must_go.waiting, await owner())
    return {
        request.request.request_id
        for request in requests
        if any(note.id == request.request.request_id and _meant_items(state, note, request) for note in notes)
    }


@dataclass(frozen=True)
class ErasuresBesideImport:
    """The erasures that one import has to know."""

    scope: Scope
    state: State
    owner: Owner

    async def would_erase(self, requests: Iterable[RequestWithInteractions]) -> set[str]:
        """Return what `would_be_erased` does of requests."""

        async def owner() -> Owner:
            return self.owner

        return await would_be_erased(self.state, owner, requests)

    async def take_out(self, stored: Iterable[RequestWithInteractions]) -> TakenOut:
        """Delete what an erasure has named of requests since they were looked at. Raises as `take_out` does."""
        if not await self.would_erase(stored):
            return TakenOut()
        return await take_out_waiting(self.scope, self.state, self.owner)

    async def note(self, stored: Sequence[Item]) -> list[Fact]:
        """Log what was stored, and say what of it had been erased, as far as erasures are on record.

        Raises:
            NotRecorded: the log cannot be written.
        """
        copies = [Copied(item.kind, item.id, item.user_id, names_of(item), "") for item in stored]
        counts = {
            "requests": len(stored),
            "interactions": sum(len(item.interaction_ids) for item in stored),
        }
        with needing_state(FactCode.STATE_UNUSABLE):
            erased = await in_thread(self.state.note_import, self.owner, copies, counts)
        if not erased.items:
            return []
        return [
            Fact(
                code=FactCode.ERASED_BEFORE,
                number=erased.items,
                names=[str(number) for number in erased.deletions],
            )
        ]


async def take_out_waiting(scope: Scope, state: State, owner: Owner) -> TakenOut:
    """Carry out the notes of all restores, as far as the owner sees them. Raises as `take_out` does."""
    waiting = await in_thread(state.must_go.waiting, owner)
    return await take_out(scope, state, owner, waiting) if waiting else TakenOut()


async def _stored(scope: Scope, state: State, notes: Sequence[MustGo]) -> dict[int, list[Item]]:
    """Return the stored items that notes mean, by the numbers of the notes.

    If the service fails to return a request, nobody knows what it says. Then the list of its note is empty.
    """
    of_learnings = [note for note in notes if note.kind in LEARNING_MODELS]
    of_requests = [note for note in notes if note.kind not in LEARNING_MODELS]
    return await _stored_requests(scope, state, of_requests) | await _stored_learnings(
        scope, state, of_learnings
    )


async def _stored_requests(scope: Scope, state: State, notes: Sequence[MustGo]) -> dict[int, list[Item]]:
    found: dict[int, list[Item]] = {}
    by_id: defaultdict[str, list[MustGo]] = defaultdict(list)
    for note in notes:
        by_id[note.id].append(note)

    async def take(requests: list[RequestWithInteractions]) -> None:
        for stored in requests:
            for note in by_id[stored.request.request_id]:
                if isinstance(stored, UnreadableRequest):
                    found[note.number] = []
                elif items := _meant_items(state, note, stored):
                    found[note.number] = items

    filters = [TrafficFilter(user) for user in sorted({note.user for note in notes})]
    await read_set(scope, list(by_id), take, filters=filters, whole=True)
    return found


def _meant_items(state: State, note: MustGo, stored: RequestWithInteractions) -> list[Item]:
    """Return the items that a note means of the stored request with the id of the note."""
    if note.user != stored.request.user_id or note.kind in LEARNING_MODELS:
        return []
    if note.parts:
        places = state.must_go.parts_in(note, interactions_said(stored))
        return [item_of(stored, stored.interactions[place]) for place in places]
    is_meant = state.must_go.has_text(note, said_digest(stored)) or state.must_go.is_left_of(
        note, interactions_said(stored)
    )
    return [item_of(stored)] if is_meant else []


async def _stored_learnings(scope: Scope, state: State, notes: Sequence[MustGo]) -> dict[int, list[Item]]:
    found: defaultdict[int, list[Item]] = defaultdict(list)
    for user in sorted({note.user for note in notes}):
        of_user = [note for note in notes if note.user == user]
        for learning in await learnings_of_user(scope, user):
            for note in of_user:
                # A restored playbook has another id.
                same = note.id == learning.learning_id or note.kind == learning.kind == "user_playbook"
                stays = learning.learning_id in note.stay
                if same and not stays and state.must_go.has_text(note, learning.digest):
                    found[note.number].append(learning_item(learning))
    return found


async def _delete(scope: Scope, items: Iterable[Item], looked_at: HoldsInForce) -> None:
    """Delete items, unless the holds change meanwhile. Then the rest stays, for a look that knows the new holds.

    Args:
        looked_at: the holds of which none keeps any of the items.
    """

    def holds_changed() -> bool:
        return scope.policy.holds_now() != looked_at

    async def held(learning_ids: Sequence[str]) -> Collection[str]:
        return learning_ids if holds_changed() else ()

    by_id = {(item.kind, item.id): item for item in items}
    requests = [item.id for item in by_id.values() if item.kind == "request"]
    if requests and not holds_changed():
        await scope.client.delete_requests_by_ids(requests)
    for item in by_id.values():
        if item.kind == "interaction" and not holds_changed():
            await scope.client.delete_interaction(item.user_id, int(item.id))
    learnings = [item.id for item in by_id.values() if item.is_learning]
    await delete_by_id(scope, learnings, set(), held)


@dataclass
class Erasures:
    """The erasures beside one running restore.

    Args:
        absent: the numbers of the notes whose items are not stored, and of those that were given up, unless this
            restore has stored the item since.
        held: the ids that a hold keeps although an erasure named them.
        left: the ids under which something that an erasure named is still stored, or may be, and no hold keeps it.
    """

    scope: Scope
    state: State
    owner: Owner
    restore: JobNumber
    absent: set[int] = field(default_factory=set[int])
    held: set[str] = field(default_factory=set[str])
    left: set[str] = field(default_factory=set[str])

    async def claim(self, learnings: Iterable[Copied]) -> None:
        """Claim learnings before they are stored. Raises as `claims.claim` does."""
        named = [
            (copied.user, name)
            for copied in learnings
            for name in copied.names
            if name.kind in ("learning", "text")
        ]
        await claim(self.state, self.owner, self.restore, named, self.scope.client.timeout)

    async def look(self, stored: Collection[str] = ()) -> set[str]:
        """Take out what erasures have named.

        Args:
            stored: ids that the restore has stored since the last look, as they are in the copy.

        Returns:
            The ids that the restore has to leave out, as they are in the copy.

        Raises:
            ReflexioError, TrafficError, StateUnusable: what was stored may have been erased.
        """
        notes = await in_thread(self.state.must_go_of, self.owner, self.restore)
        # When a note was given up, its item was not stored. By now somebody else may have stored the same item, so it
        # is taken out only if this restore has stored it.
        known_absent = self.absent | {note.number for note in notes if note.given_up}
        to_look_up = [note for note in notes if note.number not in known_absent or note.id in stored]
        self.absent = known_absent - {note.number for note in to_look_up}
        self.left = set()
        if to_look_up:
            taken = await take_out(self.scope, self.state, self.owner, to_look_up)
            self.absent |= {note.number for note in taken.absent}
            self.held |= {note.id for note in taken.held}
            self.left = {note.id for note in taken.left}
        # This restore need not leave out what only notes of other restores name. Nor a request of which only parts were
        # erased: it is stored, and then the parts are taken out.
        erased = {note.id for note in notes if not note.parts and note.restore == self.restore}
        return erased - self.held
