"""What has changed in what is known of a user: from the stored rows, and from this server's own records.

Reflexio records no deletion, no correction of a playbook, and not when a playbook was replaced. Only recovery copies
have the text of a deleted learning, and the old text of a corrected one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.rest.models import UserProfile
from reflexio_mcp.results.reading import ChangeKind
from reflexio_mcp.state.records import LearningDeed
from reflexio_mcp.traffic.learnings.lineage import LONGEST_WRITE, Lineage
from reflexio_mcp.traffic.learnings.records import Learning

__all__: list[str] = []

# `taken_back` is what somebody deleted; what Reflexio itself let go is another kind of change.
KIND_OF_DEED: Final[Mapping[str, ChangeKind]] = {
    "corrected": "corrected",
    "deleted": "taken_back",
    "put_back": "put_back",
}


@dataclass(frozen=True, slots=True)
class Rows:
    """What is stored of a user.

    Args:
        learnings: all profiles and playbooks, whatever their state.
        created: the ids of the current profiles that were first stored since the time in question.
        expired: profiles past their expiry that the service still has.
    """

    learnings: Sequence[Learning]
    created: frozenset[str] = frozenset()
    expired: Sequence[Learning] = ()


@dataclass(frozen=True, slots=True)
class Records:
    """What this server has done to learnings of a user, the oldest first.

    Args:
        copied: the learnings in recovery copies, as they were before, by deletion and id.
    """

    deeds: Sequence[LearningDeed] = ()
    copied: Mapping[tuple[int, str], Learning] = field(default_factory=dict[tuple[int, str], Learning])


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Args:
        at: epoch seconds.
        learning: as it is now, or was before it was deleted; `None` if no text is left.
        old: what it said before, or the learnings that it replaced, the latest first.
        elsewhere: a correction that this server has no record of.
        maybe_deleted: either Reflexio forgot it, or what had replaced it was deleted: these cannot be told apart.
        job: the number of the recorded deletion, correction or restore.
        selected: what was exported, in words.
        exported: how many learnings were exported.
    """

    kind: ChangeKind
    at: int
    user_id: str
    learning_id: str = ""
    learning: Learning | None = None
    old: tuple[Learning, ...] = ()
    elsewhere: bool = False
    maybe_deleted: bool = False
    job: int = 0
    selected: str = ""
    exported: int = 0

    @property
    def key(self) -> str:
        """Orders changes, the latest first."""
        moment, job = 10**12 - self.at, 10**9 - self.job
        return f"{moment:013} {job:010} {self.user_id} {self.learning_id} {self.kind} {self.selected}"


def changes_of(user_id: str, rows: Rows, records: Records, since: int, now: int) -> list[Change]:
    """Return what has changed of a user, in no order."""
    return [*_Comparison(user_id, rows, records, since, now).changes()]


class _Comparison:
    def __init__(self, user_id: str, rows: Rows, records: Records, since: int, now: int) -> None:
        self._user_id = user_id
        self._rows = rows
        self._records = records
        self._since = since
        self._now = now
        self._stored = {learning.learning_id: learning for learning in rows.learnings}
        # What replaced a learning may have been deleted since. Then its recovery copy stands for it.
        deleted = [copy for copy in records.copied.values() if copy.learning_id not in self._stored]
        self._lineage = Lineage([*rows.learnings, *deleted])

    def changes(self) -> Iterator[Change]:
        for learning in self._rows.learnings:
            if learning.changed_at < self._since:
                continue
            if learning.state == "current":
                yield from self._of_current(learning)
            elif self._is_forgotten(learning):
                doubt = self._unseen_deletion(learning)
                yield self._change("forgotten", learning.changed_at, learning, maybe_deleted=doubt)
        for learning in self._rows.expired:
            if isinstance(learning.row, UserProfile):
                ended = learning.row.expiration_timestamp
                if self._since <= ended <= self._now:
                    yield self._change("expired", ended, learning)
        for deed in self._records.deeds:
            yield self._recorded(deed)

    def _of_current(self, learning: Learning) -> Iterator[Change]:
        replaced = self._replaced_since(learning)
        if replaced:
            old = tuple(earlier for earlier in replaced if not _says_the_same(earlier, learning))
            # A profile that is said again keeps its id, so another id is a change even if the text is the same.
            if old or learning.kind == "profile":
                yield self._change("replaced", learning.changed_at, learning, old or tuple(replaced))
                return
            # A playbook gets another id whenever it is said again, which is no change. But one that was first said in
            # the time in question is new.
            if min(earlier.changed_at for earlier in replaced) < self._since:
                return
        is_new_profile = learning.number in self._rows.created
        if learning.kind == "user_playbook" or is_new_profile:
            yield self._change("new", learning.changed_at, learning)
            return
        # It was there before, and was changed in place. That is a correction, by this server or by another client.
        ours = [deed.at for deed in self._records.deeds if deed.learning_id == learning.learning_id]
        if learning.changed_at > max(ours, default=0) + LONGEST_WRITE:
            yield self._change("corrected", learning.changed_at, learning, elsewhere=True)

    def _replaced_since(self, learning: Learning) -> Sequence[Learning]:
        """Return what a learning has replaced since the time in question, the latest first."""
        earlier = self._lineage.predecessors(learning)
        if learning.kind == "profile":  # a replaced profile has the time of its end
            return [replaced for replaced in earlier if replaced.changed_at >= self._since]
        # A replaced playbook has the time of its beginning: of those that are older than the time in question, only the
        # last was still in use then.
        older = self._lineage.newest(replaced for replaced in earlier if replaced.changed_at < self._since)
        return [replaced for replaced in earlier if replaced.changed_at >= self._since or replaced in older]

    def _is_forgotten(self, learning: Learning) -> bool:
        """Whether a profile ended and nothing took its place. The end of a playbook has no time."""
        return learning.kind == "profile" and learning.is_replaced and not self._lineage.successors(learning)

    def _unseen_deletion(self, learning: Learning) -> bool:
        """Whether some deleted profile, of which no copy is left, may be what replaced this learning."""
        return any(
            deed.deed == "deleted"
            and deed.learning_id.startswith("profile:")
            and deed.at >= learning.changed_at - LONGEST_WRITE
            and (deed.job, deed.learning_id) not in self._records.copied
            for deed in self._records.deeds
        )

    def _recorded(self, deed: LearningDeed) -> Change:
        copied = self._records.copied.get((deed.job, deed.learning_id))
        stored = self._stored.get(deed.learning_id)
        if stored and stored.is_replaced:
            # The same text may be current under another id by now.
            stored = next(iter(self._lineage.renamed(stored)), stored)
        learning, old = stored, ()
        if deed.deed == "deleted":
            learning = copied
            if copied:
                replaced = self._lineage.predecessors(copied)
                old = tuple(earlier for earlier in replaced if not _says_the_same(earlier, copied))
        elif deed.deed == "corrected" and copied:
            old = (copied,)
        return Change(
            KIND_OF_DEED[deed.deed], int(deed.at), deed.user, deed.learning_id, learning, old, job=deed.job
        )

    def _change(
        self,
        kind: ChangeKind,
        moment: int,
        learning: Learning,
        old: tuple[Learning, ...] = (),
        *,
        elsewhere: bool = False,
        maybe_deleted: bool = False,
    ) -> Change:
        return Change(
            kind,
            moment,
            self._user_id,
            learning.learning_id,
            learning,
            old,
            elsewhere=elsewhere,
            maybe_deleted=maybe_deleted,
        )


def _says_the_same(learning: Learning, other: Learning) -> bool:
    return (learning.content, learning.trigger) == (other.content, other.trigger)
