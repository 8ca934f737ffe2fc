"""Items that an erasure named while a restore of their copies was running, or had been interrupted.

The restore may store them, or may have stored them, after the erasure has looked. So the erasure leaves a note here, in
the transaction that removes the copies. The restore reads the notes after each item, and deletes what they name. Every
other process with this state does so, too, in case the restore has died. A note contains ids and keyed tags, and no
text. It names what the erasure named, and not what the same copies contain besides.

A note is open, and then settled. It never opens again. These open or settle one:

| to | who | when |
|---|---|---|
| open | an erasure that finds copies | a restore of them is not over, or has ended since the erasure began |
| open | an erasure of a learning | a deletion makes it current again, and is not over or has ended since |
| settled | the restore, as it records its end | the item is not stored, and nothing that was sent can still be stored |
| settled | anybody who has looked | the item is not stored, and the restore or deletion is over (`jobs_not_over`) |

Another erasure may remove a copy before the one that has found it ends. Both leave their notes.

The erasure is incomplete as long as a note of it is open. No recovery copy of what the note names is kept, and nobody
stores it again through this server: it would be mistaken for what the restore stored, and be deleted. A restore that
goes on after it was given up leaves out what its notes name, and deletes what it has stored of it.

The column `restore` has the number of that restore, or of that deletion.

The seal of a note covers the columns by which it is found, and whether it is settled. So nobody can change a row to
have the note carried out for another user, or a second time.
"""

import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from reflexio_mcp.state.copies import Copies, Row
from reflexio_mcp.state.keys import Keys, RowChanged
from reflexio_mcp.state.records import Copied, CopyNote, Erasure, Meant, MustGo, Name, NotKept, Owner
from reflexio_mcp.state.restores import jobs_not_over
from reflexio_mcp.state.tables import Database, Transaction

SETTLED_AT_ONCE: Final = 500

COLUMNS: Final = ", ".join(("id", "restore", "erasure", "account", "user_id", "settled", "sealed"))
"""The columns of a `_NoteRow`."""

FIRST_FIELDS: Final = ("kind", "id", "user", "texts")
"""What notes of all versions begin with."""

LATER_FIELDS: Final[tuple[Any, ...]] = ({}, [], "", {})
"""Parts, what stays, what was corrected, and what was said, of a note that names a whole item.

A note of an earlier version has `FIRST_FIELDS` and perhaps some of these. Those that it lacks are taken from here.
"""

PLAYBOOK: Final = "user_playbook"
"""A restored playbook has another id."""


class Noting(NamedTuple):
    """What an erasure has noted.

    Args:
        notes: how many notes.
        partly_named: the rows of copies with something that it did not name, which a restore may store.
    """

    notes: int
    partly_named: list[Row]


class _Restored(NamedTuple):
    """An item that restores of a deletion store."""

    deletion: int
    kind: str
    id: str
    user: str

    @classmethod
    def of(cls, deletion: int, note: MustGo) -> "_Restored":
        return cls(deletion, note.kind, note.id, note.user)


class _NoteRow(NamedTuple):
    id: int
    restore: int
    erasure: int
    account: str
    user: str
    settled: float | None
    sealed: bytes

    @property
    def identity(self) -> str:
        """What the content is sealed with."""
        of = (self.restore, self.erasure, self.account, self.user, self.settled is not None)
        return f"must go {json.dumps(of, default=repr)}"

    @property
    def earlier_identity(self) -> str:
        """What earlier versions sealed with."""
        return f"must go {self.restore} {self.erasure}"


class MustGoNotes:
    def __init__(self, database: Database, keys: Keys, copies: Copies) -> None:
        self._database = database
        self._keys = keys
        self._copies = copies

    def add(
        self,
        transaction: Transaction,
        owner: Owner,
        erasure: int,
        begun: int,
        rows: Sequence[Row],
        named_by: Erasure,
    ) -> Noting:
        """Note what an erasure names and a restore may store or have stored.

        Args:
            begun: the first log line of the erasure. A restore that has ended before that has stored nothing that the
                erasure did not see.
            rows: the copies that the erasure removes.
        """
        deletions = {row.deletion for row in rows} | {seen.deletion for seen in named_by.seen}
        if not deletions:
            return Noting(0, [])
        restores = _restores_since(transaction, deletions, begun)
        reached = [row for row in rows if row.deletion in restores]
        partly_named, to_write = list[Row](), list[CopyNote]()
        for row, copied in self._copies.opened(transaction, owner, reached):
            named = named_by.means(copied)
            if not named or named.parts:
                partly_named.append(row)
            if named:
                to_write.append(CopyNote(row.deletion, self.note_of(copied, named)))
        # Another erasure may have removed copies that this one has seen, so `rows` lacks them.
        noted = {_Restored.of(*found) for found in to_write}
        for seen in named_by.seen:
            if (restored := _Restored.of(*seen)) not in noted:
                noted.add(restored)
                to_write.append(seen)
        notes = 0
        for deletion, note in to_write:
            for restore in restores.get(deletion, ()):
                notes += 1
                self._write(transaction, owner, erasure, restore, note)
        return Noting(notes, partly_named)

    def add_claimed(
        self,
        transaction: Transaction,
        owner: Owner,
        erasure: int,
        begun: int,
        learnings: Sequence[Copied],
        means: Callable[[Copied], Meant | None],
    ) -> int:
        """Note the learnings that other deletions make current again; return how many notes.

        Args:
            begun: the first log line of the erasure, as `add` takes it.
        """
        keys, notes = self._keys, 0
        jobs = transaction.execute(
            "SELECT id, claims FROM main.deletions WHERE id != ? AND restores = 0 AND claims != '' "
            "AND (id IN ? OR finished IS NULL OR ended > ?)",
            erasure,
            jobs_not_over(transaction).jobs,
            begun,
        )
        for job, claims in jobs:
            claimed = set(str(claims).split())
            for learning in learnings:
                tags = stored_tags(keys, owner, learning.user, learning.names)
                if claimed.isdisjoint(tag for under_each_key in tags for tag in under_each_key):
                    continue
                if named := means(learning):
                    notes += 1
                    self._write(transaction, owner, erasure, job, self.note_of(learning, named))
        return notes

    def _write(self, transaction: Transaction, owner: Owner, erasure: int, job: int, note: MustGo) -> None:
        """Leave a note for a job that may store its item."""
        account, user = self._keys.tag("account", owner.account), self._keys.tag("user", note.user)
        texts, parts, stay = sorted(note.texts), dict(note.parts), sorted(note.stay)
        said = dict(note.said)
        content = json.dumps([note.kind, note.id, note.user, texts, parts, stay, note.corrected, said])
        row = _NoteRow(0, job, erasure, account, user, None, b"")
        transaction.execute(
            "INSERT INTO main.must_go (restore, erasure, account, user_id, sealing_key, sealed) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            job,
            erasure,
            account,
            user,
            self._keys.newest_check,
            self._keys.seal(content, row.identity),
        )

    def note_of(self, copied: Copied, named: Meant) -> MustGo:
        """Return a note of what an erasure names of a copy. It is not in the state."""
        return MustGo(
            number=0,
            restore=0,
            erasure=0,
            kind=copied.kind,
            id=copied.restored_id,
            user=copied.user,
            texts=frozenset(self._copies.tags(name for name in copied.names if name.kind == "text")),
            parts={self._part(digest): how_many_stay for digest, how_many_stay in named.parts.items()},
            stay=frozenset(named.stay),
            corrected=named.corrected,
            said=Counter(map(self._part, named.said)),
        )

    def _part(self, digest: str) -> str:
        return self._keys.tag("part", digest)

    def waiting(self, owner: Owner, restore: int = 0) -> list[MustGo]:
        """Return the open notes.

        A note that was changed, or whose key is missing, is left out. It stays open, and the record of its erasure
        counts it.

        Args:
            restore: a running restore, whose settled notes are returned, too. Others settle its notes only if it was
                given up.

        Raises:
            RowChanged: a note of `restore` itself cannot be unsealed, so it may store what was erased.
        """
        keys = self._keys
        rows = self._database.read(
            f"SELECT {COLUMNS} FROM main.must_go WHERE (restore = ? AND restore > 0) OR "  # noqa: S608
            "(settled IS NULL AND account IN ? AND (? OR user_id IN ?)) ORDER BY id",
            restore,
            keys.accounts(owner),
            not owner.user,
            keys.tags("user", owner.user),
        )
        found: list[MustGo] = []
        for row in itertools.starmap(_NoteRow, rows):
            try:
                note, _ = self._unsealed(row)
            except RowChanged:
                if restore and row.restore == restore:
                    raise
                continue
            if owner.user in ("", note.user):
                found.append(note)
        return found

    def _unsealed(self, row: _NoteRow) -> tuple[MustGo, str]:
        """Unseal a note; return it, and the text that was sealed. Raises `RowChanged`."""
        try:
            text = self._keys.open(row.sealed, row.identity)
        except RowChanged:
            text = self._keys.open(row.sealed, row.earlier_identity)
        content: list[Any] = json.loads(text)
        content += LATER_FIELDS[len(content) - len(FIRST_FIELDS) :]  # what an earlier version did not write
        kind, item, user, texts, parts, stay, corrected, said = content
        note = MustGo(
            row.id,
            row.restore,
            row.erasure,
            kind,
            item,
            user,
            frozenset(texts),
            parts,
            frozenset(stay),
            corrected,
            said,
            given_up=row.settled is not None,
        )
        return note, text

    def any(self) -> bool:
        return bool(self._database.read("SELECT 1 FROM main.must_go WHERE settled IS NULL LIMIT 1"))

    def has_text(self, note: MustGo, digest: str) -> bool:
        """Whether a text is that of the item."""
        return not note.texts.isdisjoint(self._copies.tags([Name.of("text", digest)]))

    def is_left_of(self, note: MustGo, said: Sequence[str]) -> bool:
        """Whether a request says some of what the request of a note says, and nothing else.

        Args:
            said: a digest of what each interaction says.
        """
        not_found = Counter(note.said)
        for digest in said:
            tags = [tag for tag in self._keys.tags("part", digest) if not_found[tag] > 0]
            if not tags:
                return False
            not_found[tags[0]] -= 1
        return bool(said)

    def parts_in(self, note: MustGo, said: Sequence[str]) -> list[int]:
        """Return the places, in a request, of the interactions that a note names.

        Args:
            said: a digest of what each interaction of the request says.
        """
        found: list[int] = []
        for tag, how_many_stay in note.parts.items():
            same = [place for place, digest in enumerate(said) if tag in self._keys.tags("part", digest)]
            # As many of them stay as the erasure left. They say the same, so it does not matter which.
            found += same[: max(0, len(same) - how_many_stay)]
        return sorted(found)

    def not_kept(self, transaction: Transaction, owner: Owner, copies: Sequence[Copied]) -> NotKept:
        """Return the copies that are not kept because open notes name their items, whoever started the restore."""
        not_kept = NotKept(set(), set(), set())
        if not copies:
            return not_kept
        keys = self._keys
        users = sorted({tag for user in {copy.user for copy in copies} for tag in keys.tags("user", user)})
        rows = transaction.execute(
            f"SELECT {COLUMNS} FROM main.must_go "  # noqa: S608
            "WHERE settled IS NULL AND account IN ? AND user_id IN ?",
            keys.accounts(owner),
            users,
        )
        for note in self._readable(rows):
            for copy in copies:
                if self._is_of(note, copy) and note.parts and self.parts_in(note, copy.said):
                    not_kept.partly.add((copy.kind, copy.id))
                elif self._is_of(note, copy) and not note.parts and self._says(note, copy):
                    not_kept.must_go.add((copy.kind, copy.id))
        return not_kept

    def _is_of(self, note: MustGo, copy: Copied) -> bool:
        """Whether a copy is of the item that a note names, or of an interaction of that item, as far as names tell.

        A playbook has another id once it is restored, so its text decides (`_says`). The first name of a copy is that
        of its item, or of the request of its interaction.
        """
        if copy.user != note.user:
            return False
        if copy.kind == note.kind == PLAYBOOK:
            return copy.id not in note.stay
        return copy.names[0].id == note.id

    def _says(self, note: MustGo, copy: Copied) -> bool:
        names = [name for name in copy.names if name.kind == "text"]
        if copy.request_says:  # of an interaction, whose whole request the note may name
            names.append(Name.of("text", copy.request_says))
        return not note.texts.isdisjoint(self._copies.tags(names)) or self.is_left_of(note, copy.said)

    def settle(self, transaction: Transaction, numbers: Collection[int]) -> set[int]:
        """Settle notes whose items are not stored, unless their restore is not over.

        Returns:
            The erasures whose notes were settled.
        """
        to_settle, erasures = sorted(numbers), set[int]()
        not_over = jobs_not_over(transaction).jobs
        for start in range(0, len(to_settle), SETTLED_AT_ONCE):
            rows = transaction.execute(
                f"SELECT {COLUMNS} FROM main.must_go "  # noqa: S608
                "WHERE id IN ? AND settled IS NULL AND restore NOT IN ?",
                to_settle[start : start + SETTLED_AT_ONCE],
                not_over,
            )
            for row in itertools.starmap(_NoteRow, rows):
                with suppress(RowChanged):
                    self._settle(transaction, row)
                    erasures.add(row.erasure)
        return erasures

    def _settle(self, transaction: Transaction, row: _NoteRow) -> None:
        """Settle a note and seal it again. Raises `RowChanged`."""
        _, text = self._unsealed(row)
        settled = row._replace(settled=transaction.now)
        transaction.execute(
            "UPDATE main.must_go SET settled = ?, sealing_key = ?, sealed = ? WHERE id = ?",
            settled.settled,
            self._keys.newest_check,
            self._keys.seal(text, settled.identity),
            row.id,
        )

    def _readable(self, rows: Iterable[Sequence[Any]]) -> Iterator[MustGo]:
        """Unseal rows, without those that were changed: the records of their erasures count them."""
        for row in itertools.starmap(_NoteRow, rows):
            with suppress(RowChanged):
                yield self._unsealed(row)[0]

    def has_others(
        self, transaction: Transaction, owner: Owner, restore: int, absent: Collection[int]
    ) -> bool:
        """Whether a restore has notes other than these, so that it has to look whether their items are stored."""
        rows = transaction.execute(
            "SELECT id FROM main.must_go WHERE restore = ? AND (? OR user_id IN ?)",
            restore,
            not owner.user,
            self._keys.tags("user", owner.user),
        )
        return any(number not in absent for (number,) in rows)


def _restores_since(transaction: Transaction, deletions: Collection[int], line: int) -> dict[int, list[int]]:
    """Return the restores of these deletions, by deletion, that may have stored something after a log line."""
    restores = defaultdict[int, list[int]](list)
    for restore, deletion in transaction.execute(
        "SELECT id, restores FROM main.deletions WHERE restores IN ? AND (finished IS NULL OR ended > ?)",
        sorted(deletions),
        line,
    ):
        restores[deletion].append(restore)
    return restores


def stored_tags(keys: Keys, owner: Owner, user: str, names: Iterable[Name]) -> list[list[str]]:
    """Return the tags with which a job claims a learning that it stores: for each name, under each key."""
    return [keys.tags("stores", owner.account, user, name) for name in names]
