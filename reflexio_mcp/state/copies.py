"""Recovery copies of deleted requests and learnings, each a sealed row.

Rows are found by keyed tags of account, user and names. A caller that changes rows holds the lock "copies". A row opens
only if all its columns are as they were sealed. So nobody can hide a copy from an erasure or a hold by changing a
column: a caller that looks for names is told how many rows do not open, whatever their columns claim.

A copy is over when its time has passed by the server's clock and the state was in use on as many days. An erasure
removes the copies that it names. If a restore may still store a part of a copy that the erasure does not name, the
erasure only ends that copy. The row of a copy that is over stays as long as a restore of its deletion is not over: the
restore may have read the copy, and later erasures need the row to find what may come back. Nobody else is given the
copy.

An erasure cannot find a row whose columns were changed. But its record has the names, so nobody is given the copy if
somebody puts the row back as it was.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from reflexio_mcp.metrics import count
from reflexio_mcp.state.days import DAY, days_seen
from reflexio_mcp.state.keys import Keys, RowChanged
from reflexio_mcp.state.records import Copied, ErasedBefore, Erasure, Name, Owner, RecoveryCopy
from reflexio_mcp.state.restores import jobs_not_over
from reflexio_mcp.state.tables import BEHIND_ALL_LINES, Database, Transaction, is_number, is_time

__all__ = ["Reading"]

READ_AT_ONCE: Final = 20

CHECKED_AT_ONCE: Final = 200

_OF_USER: Final = "of:"
"""Comes before the tag of a user in `erased_names`. If any do, the erasure removed only copies of these users."""

_UNTIL: Final = "until:"
"""Comes before the number of the newest copy that the erasure has seen. If none does, the erasure has seen all."""

VISIBLE: Final = "(until > ? OR seen_until > ? OR deletion IN ?) AND account IN ? AND (? OR user_id IN ?)"
"""Which rows an owner sees. `Copies._seen_by` returns the parameters."""

COLUMNS: Final = ", ".join(
    ("id", "deletion", "at", "until", "seen_until", "account", "user_id", "kind", "names")
)
"""The columns of a `Row`."""

REQUESTS: Final = ("request", "interaction")
"""The kinds of copies of requests. The other kinds are learnings."""

OF_INTERACTION: Final = Name.prefix("interaction")


class Row(NamedTuple):
    """A copy without its content. `names` are tags with their kind, such as `r:`."""

    id: int
    deletion: int
    at: float
    until: float
    seen_until: int
    account: str
    user: str
    kind: str
    names: str

    @property
    def identity(self) -> str:
        """What the content is sealed with: every column by which the row is found, kept or given to anybody."""
        return f"copy {json.dumps(self[1:], default=repr)}"

    @property
    def earlier_identity(self) -> str:
        """What versions before 14 sealed with."""
        return f"copy {self.deletion} {self.account} {self.user} {self.kind}"

    @property
    def is_typed(self) -> bool:
        """Whether the values have the types of their columns."""
        texts: tuple[Any, ...] = (self.account, self.user, self.kind, self.names)
        return (
            all(map(is_time, (self.at, self.until)))
            and all(map(is_number, (self.id, self.deletion, self.seen_until)))
            and all(isinstance(text, str) for text in texts)
        )

    @property
    def found_by(self) -> list[str]:
        """The names by which an erasure finds the copy.

        The names of interactions do not find the copy of their request, only learnings from them: another store can
        have other interactions with the same numbers.
        """
        return _names_that_find(self.kind, self.names.split())

    @property
    def own_names(self) -> list[str]:
        """The names of the copied item itself, and not of what it came from. An interaction has that of its request."""
        return _own_names(self.kind, self.names.split())


class Reading(Iterator[Copied]):
    """Copies that are read one after the other.

    Args:
        damaged: how many copies were left out so far, because their rows were changed and cannot be opened. For an
            erasure, and if names are looked for, every changed row counts, whatever account and user its columns say.
    """

    def __init__(self, opened: Iterator[tuple[Row, Copied | None]]) -> None:
        self._opened = opened
        self.damaged = 0

    def __next__(self) -> Copied:
        for _, copied in self._opened:
            if copied:
                return copied
            self.damaged += 1
        raise StopIteration


class Removal(NamedTuple):
    """What an erasure removes.

    Args:
        rows: of the copies that go.
        tags: for its record, the tags of the names that it follows.
        later: how many copies that have such names stay, because they are newer than its plan.
    """

    rows: list[Row]
    tags: set[str]
    later: int = 0


class _PastErasure(NamedTuple):
    """What an earlier erasure has named.

    Args:
        deletion: its number.
        ended: number of its last log line.
        owner_tag: the tag of its owner's user, whose copies were the only ones that it reached. An operator reaches
            every copy, and has the tag of the empty name.
        names: what it named: `r:TAG` in copies of any user, `USERTAG/i:TAG` only in copies of that user. If
            `of:USERTAG` is among them, it removed only copies of the users that it names in this way.
    """

    deletion: int
    ended: int
    owner_tag: str
    names: frozenset[str]

    @property
    def only_users(self) -> set[str]:
        """The tags of the users whose copies alone it removed; empty if it removed those of everybody."""
        return {name.removeprefix(_OF_USER) for name in self.names if name.startswith(_OF_USER)}

    def has_seen(self, copy_number: int) -> bool:
        """Whether a copy was there when what is erased was looked up."""
        newest = (name.removeprefix(_UNTIL) for name in self.names if name.startswith(_UNTIL))
        return all(not number.isdecimal() or copy_number <= int(number) for number in newest)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The tags of names that are looked for.

    Args:
        of_one_user: pairs of the tag of a user and the tag of a name that counts only in rows of this user. They are
            names that the found rows lead to, and interactions as versions before 13 named them: by the number alone,
            which an interaction of another user can have in another store.
    """

    tags: set[str]
    of_one_user: set[tuple[str, str]]

    def meets(self, user: str, names: Sequence[str]) -> bool:
        return not self.tags.isdisjoint(names) or any((user, name) in self.of_one_user for name in names)


class Copies:
    def __init__(self, database: Database, keys: Keys, days: int) -> None:
        self.days = days
        self._database = database
        self._keys = keys

    def listed(self, owner: Owner, deletion: int | None = None) -> dict[int, RecoveryCopy]:
        """Return recovery copies by the number of their deletion, the newest first.

        Args:
            deletion: the number of the only one that is wanted.
        """
        found: dict[int, RecoveryCopy] = {}
        for row in reversed(self._rows(owner, deletion)):
            copy = found.setdefault(row.deletion, RecoveryCopy(row.until, Counter()))
            copy.counts[row.kind] += 1
        return found

    def read(
        self,
        owner: Owner,
        *,
        deletion: int | None = None,
        names: Collection[str] | None = None,
        having: Collection[str] | None = None,
        erasing: bool = False,
        erasure: Erasure | None = None,
    ) -> Reading:
        """Read copies, the oldest first.

        Args:
            names: only copies that an erasure of these names would remove.
            having: only copies that have one of these names, also requests by the names of their interactions.
            erasing: also copies that are over but that a restore may still store.
            erasure: only copies that it removes, read as with `erasing`.
        """
        erasing = erasing or erasure is not None
        return Reading(self._read(owner, deletion, names, having, erasure, erasing=erasing))

    def _read(
        self,
        owner: Owner,
        deletion: int | None,
        names: Collection[str] | None,
        having: Collection[str] | None,
        erasure: Erasure | None,
        *,
        erasing: bool,
    ) -> Iterator[tuple[Row, Copied | None]]:
        if names is None and having is None and not erasing:
            yield from self._opened(self._database.read, owner, self._rows(owner, deletion))
            return
        with self._database.transaction(writes=False) as transaction:
            visible, others = self._all(transaction, owner, erasing=erasing)
        rows = visible
        if names is not None:
            rows = self._named(rows, names).rows
        if erasure is not None:
            rows = self._removal_of(rows, erasure).rows
        if having is not None:
            wanted = self._wanted(having)
            rows = [row for row in rows if wanted.meets(row.user, row.names.split())]
        rows = [row for row in rows if deletion in (None, row.deletion)]
        yield from self._opened(self._database.read, owner, rows, erasing=erasing)
        opened_ids = {row.id for row in rows}
        # A changed row may have had any owner and names, so each counts, whatever its columns say by now.
        for row in self._changed(self._database.read, [*visible, *others]):
            if row.id not in opened_ids and deletion in (None, row.deletion):
                yield row, None

    def count_changed(self, deletion: int = 0) -> int:
        """Count the copies, of whatever owner, whose rows were changed, so that nobody can open them.

        Args:
            deletion: count the copies of this deletion alone; 0 for those of every deletion.
        """
        rows = self._database.read(
            f"SELECT {COLUMNS} FROM main.copies WHERE sealing_key IN ? AND ? IN (0, deletion) ORDER BY id",  # noqa: S608
            self._keys.checks,
            deletion,
        )
        return len(self._changed(self._database.read, [Row(*row) for row in rows]))

    def _changed(self, read: Callable[..., list[Any]], rows: Sequence[Row]) -> list[Row]:
        """Return the rows that do not open. A row that opened before is opened again: its content may have changed."""
        return [row for row, sealed in self._sealed(read, rows) if not self._is_unchanged(row, sealed)]

    def _sealed(self, read: Callable[..., list[Any]], rows: Sequence[Row]) -> Iterator[tuple[Row, bytes]]:
        """Read the sealed content of rows, as far as they are still there."""
        for start in range(0, len(rows), CHECKED_AT_ONCE):
            batch = {row.id: row for row in rows[start : start + CHECKED_AT_ONCE]}
            for number, sealed in read("SELECT id, sealed FROM main.copies WHERE id IN ?", list(batch)):
                yield batch[number], sealed

    def _is_unchanged(self, row: Row, sealed: bytes) -> bool:
        try:
            self._keys.open(sealed, row.identity)
        except RowChanged:
            return self._copied(row, sealed) is not None  # it opens as a row of an earlier version
        return row.is_typed

    def of_learnings(self, owner: Owner, deletions: Collection[int]) -> Iterator[tuple[int, Copied]]:
        """Read the copies of learnings that these deletions left, the oldest first.

        Each comes with the number of its deletion. Copies that were changed are left out.
        """
        rows = [row for row in self._rows(owner) if row.deletion in deletions and row.kind not in REQUESTS]
        for row, copied in self._opened(self._database.read, owner, rows):
            if copied:
                yield row.deletion, copied

    def opened(
        self, transaction: Transaction, owner: Owner, rows: Sequence[Row]
    ) -> Iterator[tuple[Row, Copied]]:
        """Open the copies of rows, without those that were changed."""
        for row, copied in self._opened(transaction.execute, owner, rows, erasing=True):
            if copied:
                yield row, copied

    def _opened(
        self,
        read: Callable[..., list[Any]],
        owner: Owner,
        rows: Sequence[Row],
        *,
        erasing: bool = False,
    ) -> Iterator[tuple[Row, Copied | None]]:
        """Open the copies of rows; `None` for one that was changed.

        Args:
            read: executes a statement.
            erasing: also copies that an erasure has ended or named, which otherwise are left out. It may have ended
                them after the rows were found.
        """
        # An erasure ends a copy with `until = 0`.
        select = "SELECT id, sealed FROM main.copies WHERE id IN ? AND (until > 0 OR ?) ORDER BY id"
        for start in range(0, len(rows), READ_AT_ONCE):
            batch = {row.id: row for row in rows[start : start + READ_AT_ONCE]}
            found = [
                (batch[number], self._copied(batch[number], sealed))
                for number, sealed in read(select, list(batch), erasing)
            ]
            left_out = set[int]() if erasing else self._erased_of(read, owner, found)
            yield from ((row, copied) for row, copied in found if row.id not in left_out)

    def _erased_of(
        self, read: Callable[..., list[Any]], owner: Owner, found: Sequence[tuple[Row, Copied | None]]
    ) -> set[int]:
        """Return the numbers of the rows that an erasure after their deletion named but did not find.

        It did not find a row that had been changed before the erasure, and was put back as it was after it.
        """
        first_lines = {
            number: begun
            for number, begun in read(
                "SELECT id, begun FROM main.deletions WHERE id IN ?",
                # PostgreSQL takes no empty list, and 0 is no number.
                sorted({0, *(row.deletion for row, _ in found)}),
            )
            if isinstance(begun, int)
        }
        earliest = min((first_lines.get(row.deletion, 0) for row, _ in found), default=0)
        erasures = self._erasures(read, owner, earliest)

        def is_erased(row: Row, copied: Copied) -> bool:
            first_line = first_lines.get(row.deletion, 0)
            return any(
                self._is_named(erased, copied, own_name=not erased.has_seen(row.id))
                for erased in erasures
                if erased.ended > first_line
            )

        return {row.id for row, copied in found if copied and is_erased(row, copied)}

    def _copied(self, row: Row, sealed: bytes) -> Copied | None:
        """Open the copy of a row; `None` if the row was changed."""
        if not row.is_typed:
            return None
        try:
            item, user, names, content = json.loads(self._open(row, sealed))
        except RowChanged:
            return None
        copied = Copied(row.kind, item, user, [Name(name) for name in names], content, deletion=row.deletion)
        # Earlier versions did not seal the column `names`, so the names in the sealed content decide.
        return copied if row.names in self._tagged(copied) else None

    def _open(self, row: Row, sealed: bytes) -> str:
        try:
            return self._keys.open(sealed, row.identity)
        except RowChanged:
            return self._keys.open(sealed, row.earlier_identity)

    def _tagged(self, copy: Copied) -> list[str]:
        """Return what the column `names` of the row of a copy contains: under each key, the newest first."""
        names = _all_names(copy)
        tags_of_each_name = [self._keys.tags("name", name) for name in names]
        tags_under_each_key = zip(*tags_of_each_name, strict=True)
        return [" ".join(map(_tag_of, names, tags)) for tags in tags_under_each_key]

    def erased_since(
        self, transaction: Transaction, owner: Owner, since_line: int, copies: Sequence[Copied]
    ) -> set[tuple[str, str]]:
        """Return the kind and id of copies that a deletion has erased after the log line `since_line`."""
        erasures = self._erasures(transaction.execute, owner, since_line)
        return {
            (copy.kind, copy.id)
            for copy in copies
            if any(self._is_named(erased, copy) for erased in erasures)
        }

    def erased_before(self, transaction: Transaction, owner: Owner, items: Sequence[Copied]) -> ErasedBefore:
        """Return what erasures have named of these items, as far as the erasures are still on record."""
        found: set[tuple[str, str]] = set()
        deletions: list[int] = []
        for erased in self._erasures(transaction.execute, owner, 0):
            named = {(item.kind, item.id) for item in items if self._is_named(erased, item)}
            found |= named
            if named:
                deletions.append(erased.deletion)
        return ErasedBefore(len(found), sorted(deletions))

    def _erasures(self, read: Callable[..., list[Any]], owner: Owner, since_line: int) -> list[_PastErasure]:
        """Return the erasures that ended after the log line `since_line`."""
        rows = read(
            "SELECT id, ended, user_id, erased_names FROM main.deletions "
            "WHERE ended > ? AND account IN ? AND erased_names != ''",
            since_line,
            self._keys.accounts(owner),
        )
        # SQLite keeps other values in a column of numbers, too.
        return [
            _PastErasure(
                number,
                ended if isinstance(ended, int) else BEHIND_ALL_LINES,
                owner_tag,
                frozenset(str(names).split()),
            )
            for number, ended, owner_tag, names in rows
        ]

    def _is_named(self, erased: _PastErasure, copy: Copied, *, own_name: bool = False) -> bool:
        """Whether an erasure has named a copy. `own_name`: only one of its `Row.own_names` counts."""
        user_tags = self._keys.tags("user", copy.user)
        operator_tags = self._keys.tags("user", "")
        if erased.owner_tag not in (*operator_tags, *user_tags):
            return False
        only_users = erased.only_users
        if only_users and only_users.isdisjoint(user_tags):
            return False
        if own_name:
            return not erased.names.isdisjoint(self.tags(_own_names(copy.kind, copy.names)))
        tags = self.tags(_names_that_find(copy.kind, _all_names(copy)))
        tags_of_user = (f"{user_tag}/{tag}" for user_tag in user_tags for tag in tags)
        return not erased.names.isdisjoint({*tags, *tags_of_user})

    def keep(
        self,
        transaction: Transaction,
        owner: Owner,
        number: int,
        began_at: float,
        first_line: int,
        seen_days: int,
        copies: Sequence[Copied],
    ) -> set[tuple[str, str]]:
        """Keep copies for a deletion. Return the kind and id of those that another deletion has erased since it began.

        Args:
            began_at: the time when the deletion began.
            first_line: the number of its first log line.
            seen_days: how many days the state had seen by then.
        """
        keys = self._keys
        erased = self.erased_since(transaction, owner, first_line, copies)
        account, until = keys.tag("account", owner.account), began_at + self.days * DAY
        for copy in copies:
            if (copy.kind, copy.id) in erased:
                continue
            names = self._tagged(copy)[0]
            user = keys.tag("user", copy.user)
            row = Row(
                0, number, transaction.now, until, seen_days + self.days, account, user, copy.kind, names
            )
            content = json.dumps([copy.id, copy.user, copy.names, copy.content])
            transaction.execute(
                "INSERT INTO main.copies (deletion, at, until, seen_until, account, user_id, kind, names, "
                "sealing_key, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *row[1:],
                keys.newest_check,
                keys.seal(content, row.identity),
            )
        return erased

    def removal_of(self, transaction: Transaction, owner: Owner, erasure: Erasure) -> Removal:
        """Return what an erasure removes of the owner's copies, also of those that are over."""
        return self._removal_of(self._visible(transaction, owner, erasing=True), erasure)

    def _removal_of(self, visible: Sequence[Row], erasure: Erasure) -> Removal:
        users = {tag for user in erasure.users for tag in self._keys.tags("user", user)}
        of_users = [row for row in visible if not users or row.user in users]
        removal = self._named(of_users, erasure.names, erasure.newest_copy)
        tags = removal.tags | {f"{_OF_USER}{tag}" for tag in users}
        if erasure.newest_copy is not None:
            tags.add(f"{_UNTIL}{erasure.newest_copy}")
        return removal._replace(tags=tags)

    def newest(self) -> int:
        """Return the number of the newest copy, for `Erasure.newest_copy`; 0 if there was none."""
        return self._database.read("SELECT coalesce(max(id), 0) FROM main.copies")[0][0]

    def count_later(self, owner: Owner, erasure: Erasure) -> int:
        """Count the copies with names of an erasure that stay, because they are newer than its plan."""
        with self._database.transaction(writes=False) as transaction:
            return self.removal_of(transaction, owner, erasure).later

    def count_changed_besides(self, owner: Owner, erasure: Erasure) -> int:
        """Count the copies, of whatever owner, that nobody can open and that an erasure does not remove."""
        with self._database.transaction(writes=False) as transaction:
            visible, others = self._all(transaction, owner, erasing=True)
        removed = {row.id for row in self._removal_of(visible, erasure).rows}
        changed = self._changed(self._database.read, [*visible, *others])
        return sum(row.id not in removed for row in changed)

    def remove(self, transaction: Transaction, rows: Sequence[Row], partly: Sequence[Row]) -> None:
        """Remove copies. Those of `partly` are only ended, and stay as long as a restore may store the rest of them."""
        for row, sealed in self._sealed(transaction.execute, partly):
            over = row._replace(until=0.0, seen_until=0)
            transaction.execute(
                "UPDATE main.copies SET until = ?, seen_until = ?, sealing_key = ?, sealed = ? WHERE id = ?",
                over.until,
                over.seen_until,
                self._keys.newest_check,
                self._keys.seal(self._open(row, sealed), over.identity),
                row.id,
            )
        others = {row.id for row in rows} - {row.id for row in partly}
        transaction.execute_many("DELETE FROM main.copies WHERE id = ?", [(number,) for number in others])
        self.expire(transaction)

    def expire(self, transaction: Transaction) -> None:
        """Remove the copies that are over.

        A copy stays if its deletion has a restore that is not over, or if its row was changed, because perhaps only the
        change says that the copy is over. Rows of a key that this server lacks cannot be checked, and are removed.
        """
        over = transaction.execute(
            f"SELECT sealing_key, {COLUMNS} FROM main.copies "  # noqa: S608
            "WHERE until <= ? AND seen_until <= ? AND deletion NOT IN ? ORDER BY id",
            transaction.now,
            days_seen(transaction),
            jobs_not_over(transaction).deletions,
        )
        rows = [Row(*values) for _, *values in over]
        with_our_key = [row for row, (key, *_) in zip(rows, over, strict=True) if key in self._keys.checks]
        changed = {row.id for row in self._changed(transaction.execute, with_our_key)}
        removed = [row for row in rows if row.id not in changed]
        transaction.execute_many("DELETE FROM main.copies WHERE id = ?", [(row.id,) for row in removed])
        # An erasure sets the end of a copy to 0.
        count("reflexio_mcp.copies_expired", "expired copies", sum(row.until > 0 for row in removed))

    def count_kept(self) -> int:
        """Count the copies that a restore may still use, of whatever owner."""
        with self._database.transaction(writes=False) as transaction:
            [(number,)] = transaction.execute(
                "SELECT count(*) FROM main.copies WHERE until > ? OR seen_until > ?",
                transaction.now,
                days_seen(transaction),
            )
        return number

    def count_unreadable(self, deletion: int = 0) -> int:
        """Count the copies, of whatever owner, that are sealed with a key that this server does not have.

        Args:
            deletion: count the copies of this deletion alone; 0 for those of every deletion.
        """
        with self._database.transaction(writes=False) as transaction:
            [(number,)] = transaction.execute(
                "SELECT count(*) FROM main.copies "
                "WHERE sealing_key NOT IN ? AND ? IN (0, deletion) AND (until > ? OR seen_until > ?)",
                self._keys.checks,
                deletion,
                transaction.now,
                days_seen(transaction),
            )
        return number

    def _rows(self, owner: Owner, deletion: int | None = None) -> list[Row]:
        with self._database.transaction(writes=False) as transaction:
            return self._visible(transaction, owner, deletion)

    def _visible(
        self, transaction: Transaction, owner: Owner, deletion: int | None = None, *, erasing: bool = False
    ) -> list[Row]:
        rows = transaction.execute(
            f"SELECT {COLUMNS} FROM main.copies WHERE {VISIBLE} AND ? IN (0, deletion) ORDER BY id",  # noqa: S608
            *self._seen_by(transaction, owner, erasing=erasing),
            deletion or 0,
        )
        return [row for values in rows if (row := Row(*values)).is_typed]

    def _all(self, transaction: Transaction, owner: Owner, *, erasing: bool) -> tuple[list[Row], list[Row]]:
        """Return the rows that the owner sees, and the others that one of these keys has sealed."""
        rows = transaction.execute(
            f"SELECT CASE WHEN {VISIBLE} THEN 1 ELSE 0 END, sealing_key, {COLUMNS} "  # noqa: S608
            "FROM main.copies ORDER BY id",
            *self._seen_by(transaction, owner, erasing=erasing),
        )
        checks = self._keys.checks
        visible, others = list[Row](), list[Row]()
        for is_visible, key, *values in rows:
            row = Row(*values)
            if is_visible and row.is_typed:
                visible.append(row)
            elif key in checks:
                others.append(row)
        return visible, others

    def _seen_by(
        self, transaction: Transaction, owner: Owner, *, erasing: bool
    ) -> tuple[float, int, list[int], list[str], bool, list[str]]:
        """Return the parameters of `VISIBLE`."""
        keys = self._keys
        reached = jobs_not_over(transaction).deletions if erasing else [0]  # 0 is no deletion
        user = keys.tags("user", owner.user)
        return transaction.now, days_seen(transaction), reached, keys.accounts(owner), not owner.user, user

    def _named(self, rows: Sequence[Row], names: Collection[str], newest_copy: int | None = None) -> Removal:
        """Return the rows that have these names, and the tags of all names that they lead to.

        A request leads to the learnings from its interactions, and a learning to its earlier texts. A row that is newer
        than `newest_copy` is left out, unless one of the given names is that of its item itself.
        """
        wanted = self._wanted(names)
        given_tags = frozenset(wanted.tags)

        def is_later(row: Row) -> bool:
            is_newer = newest_copy is not None and row.id > newest_copy
            return is_newer and given_tags.isdisjoint(row.own_names)

        # From the newest row to the oldest, because a learning leads to its older copies. A learning that an older
        # request leads to comes too early to lead further, but its older copies list the same interactions.
        for row in reversed(rows):
            if wanted.meets(row.user, row.found_by) and not is_later(row):
                of_learning = (Name.prefix("learning"), Name.prefix("text"))
                followed = OF_INTERACTION if row.kind in REQUESTS else of_learning
                wanted.of_one_user.update(
                    (row.user, tag) for tag in row.names.split() if tag.startswith(followed)
                )
        found = [row for row in rows if wanted.meets(row.user, row.found_by)]
        removed = [row for row in found if not is_later(row)]
        tags = wanted.tags | {f"{user}/{tag}" for user, tag in wanted.of_one_user}
        return Removal(removed, tags, later=len(found) - len(removed))

    def tags(self, names: Iterable[str]) -> set[str]:
        """Return the tags that names may have in a row, each with the kind of its name."""
        return {_tag_of(name, tag) for name in names for tag in self._keys.tags("name", name)}

    def _wanted(self, names: Collection[str]) -> _Wanted:
        of_one_user: set[tuple[str, str]] = set()
        for name in names:
            user, slash, number = name.removeprefix(OF_INTERACTION).rpartition("/")
            if name.startswith(OF_INTERACTION) and slash:
                # Versions before 13 named an interaction by its number alone.
                earlier = self.tags([Name.of("interaction", number)])
                of_one_user.update(
                    (tag, earlier_tag) for tag in self._keys.tags("user", user) for earlier_tag in earlier
                )
        return _Wanted(self.tags(names), of_one_user)


def _tag_of(name: str, tag: str) -> str:
    """Put the kind of a name before its tag: `r:` and the tag, of `r:trip-1`."""
    kind, _, _ = name.partition(":")
    return f"{kind}:{tag}"


def _all_names(copy: Copied) -> Sequence[str]:
    return [*copy.names, Name.of("user", copy.user)]


def _names_that_find(kind: str, names: Sequence[str]) -> list[str]:
    return [name for name in names if kind not in REQUESTS or not name.startswith(OF_INTERACTION)]


def _own_names(kind: str, names: Sequence[str]) -> list[str]:
    own = ("request",) if kind in REQUESTS else ("learning", "text")
    return [name for name in names if name.startswith(tuple(map(Name.prefix, own)))]
