"""Deletes again what a restore has stored although an erasure had named it.

An erasure that meets a restore leaves notes in the state (`state/must_go.py`). The restore looks after each item; the
next deletion, the next command and a running server look, too, in case the restore has died.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.state.records import MustGo, Owner
from reflexio_mcp.state.state import State, in_thread
from reflexio_mcp.traffic.deletion.holds import holds_on
from reflexio_mcp.traffic.deletion.items import LEARNINGS, Item, item_of, learning_item, said_digest
from reflexio_mcp.traffic.learnings.find import learnings_of_user
from reflexio_mcp.traffic.learnings.remove import delete_by_id
from reflexio_mcp.traffic.reading.filters import TrafficFilter
from reflexio_mcp.traffic.reading.lookup import read_set
from reflexio_mcp.traffic.scope import Scope

__all__ = ["take_out_waiting"]


@dataclass(frozen=True, slots=True)
class TakenOut:
    """What came of notes.

    Args:
        gone: their items were stored again, and were deleted again.
        absent: their items are not stored.
        held: their items are stored again, and a hold keeps them.
    """

    gone: Sequence[MustGo] = ()
    absent: Sequence[MustGo] = ()
    held: Sequence[MustGo] = ()


async def take_out(scope: Scope, state: State, owner: Owner, notes: Sequence[MustGo]) -> TakenOut:
    """Delete the items of notes that are stored with the text that was erased, and read again.

    Raises:
        ReflexioError, TrafficError, StateUnusable: some of them may still be stored. The notes stay.
    """
    found = await _stored(scope, state, notes)
    holds = await holds_on(scope, list(found.values()), state, owner)
    held = {number for number, item in found.items() if item.id in holds}
    going = [item for number, item in found.items() if number not in held]
    if going:
        await _delete(scope, going)
        there = await _stored(scope, state, [note for note in notes if note.number in found])
    else:
        there = found
    absent = [note for note in notes if note.number not in there]
    gone = [note for note in absent if note.number in found]
    await in_thread(state.note_taken_out, absent, gone)
    return TakenOut(gone, absent, [note for note in notes if note.number in held and note.number in there])


async def take_out_waiting(scope: Scope, state: State, owner: Owner) -> TakenOut:
    """Carry out the notes of all restores, as far as the owner sees them. Raises as `take_out` does."""
    waiting = await in_thread(state.must_go.waiting, owner)
    return await take_out(scope, state, owner, waiting) if waiting else TakenOut()


async def _stored(scope: Scope, state: State, notes: Sequence[MustGo]) -> dict[int, Item]:
    """Return the stored items that notes mean, by the numbers of the notes."""
    learned = [note for note in notes if note.kind in LEARNINGS]
    requested = [note for note in notes if note.kind not in LEARNINGS]
    return await _requests(scope, state, requested) | await _learnings(scope, state, learned)


async def _requests(scope: Scope, state: State, notes: Sequence[MustGo]) -> dict[int, Item]:
    found: dict[int, Item] = {}
    meant: defaultdict[str, list[MustGo]] = defaultdict(list)
    for note in notes:
        meant[note.id].append(note)

    async def take(requests: list[RequestWithInteractions]) -> None:
        for stored in requests:
            item, digest = item_of(stored), said_digest(stored)
            same = [note for note in meant[item.id] if state.must_go.has_text(note, digest)]
            found.update({note.number: item for note in same})

    filters = [TrafficFilter(user) for user in sorted({note.user for note in notes})]
    await read_set(scope, list(meant), take, filters=filters, whole=True)
    return found


async def _learnings(scope: Scope, state: State, notes: Sequence[MustGo]) -> dict[int, Item]:
    found: dict[int, Item] = {}
    for user in sorted({note.user for note in notes}):
        of_user = [note for note in notes if note.user == user]
        for learning in await learnings_of_user(scope, user):
            for note in of_user:
                # A restored playbook has another id.
                same = note.id == learning.learning_id or note.kind == learning.kind == "user_playbook"
                if same and state.must_go.has_text(note, learning.digest):
                    found[note.number] = learning_item(learning)
    return found


async def _delete(scope: Scope, items: Iterable[Item]) -> None:
    ids = {item.id: item for item in items}
    requests = [item.id for item in ids.values() if not item.is_learning]
    if requests:
        await scope.client.delete_requests_by_ids(requests)
    await delete_by_id(scope, [item.id for item in ids.values() if item.is_learning], set())


@dataclass
class Erasures:
    """The erasures beside one running restore.

    Args:
        looked: the numbers of the notes whose items are not stored.
        held: the ids that a hold keeps although an erasure named them.
    """

    scope: Scope
    state: State
    owner: Owner
    restore: int
    looked: set[int] = field(default_factory=set[int])
    held: set[str] = field(default_factory=set[str])

    async def look(self, stored: Collection[str] = ()) -> set[str]:
        """Take out what erasures have named.

        Args:
            stored: ids that the restore has stored since the last look, as they are in the copy.

        Returns:
            The ids that the restore has to leave out, as they are in the copy.

        Raises:
            ReflexioError, TrafficError, StateUnusable: what was stored may have been erased.
        """
        notes = await in_thread(self.state.must_go.waiting, self.owner, self.restore)
        fresh = [note for note in notes if note.number not in self.looked or note.id in stored]
        if fresh:
            taken = await take_out(self.scope, self.state, self.owner, fresh)
            self.looked |= {note.number for note in taken.absent}
            self.held |= {note.id for note in taken.held}
        return {note.id for note in notes if note.restore == self.restore} - self.held
