"""Recovery copies: requests and learnings that deletions removed, sealed, a row each.

The account, the user and the names of a row are keyed marks, so a row is found without being opened. Whoever removes
rows holds the lock "copies" until the end of the transaction.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from reflexio_mcp.state.records import Copied, Owner, RecoveryCopy
from reflexio_mcp.state.sealing import Keys
from reflexio_mcp.state.tables import Database, StateUnusable, Transaction

__all__ = ["Copies"]

DAY: Final = 86_400.0

READ_AT_ONCE: Final = 20

ERASURE: Final = "erasure"
"""The kind of a row that notes an erasure for a day: a deletion or a restore that runs beside it looks for it."""

FOLLOWED: Final = ("request", "interaction")
"""Kinds of copies whose interactions lead to the copied learnings that they fed."""

NO_KEY: Final = "some recovery copies are sealed with a key that this server does not have"
KEY_ADVICE: Final = (
    "put the key back (in REFLEXIO_MCP_STATE_KEYS, or the file fingerprint.key beside state.db), or to delete the rows "
    "of the table copies that have its name"
)


class Row(NamedTuple):
    """A copy that is not opened. Each name is its kind (`r:`) and its mark."""

    id: int
    deletion: int
    at: float
    until: float
    account: str
    user: str
    kind: str
    names: str

    @property
    def place(self) -> str:
        """What it is sealed for: moved to another deletion or user, it cannot be opened."""
        return f"copy {self.deletion} {self.account} {self.user} {self.kind}"


class Copies:
    """The recovery copies of all processes that share a database.

    Args:
        days: how long a new copy is kept; 0 means that none are made.
    """

    def __init__(self, database: Database, keys: Keys, days: int) -> None:
        self.days = days
        self._database = database
        self._keys = keys

    def listed(self, owner: Owner) -> list[RecoveryCopy]:
        """What can be put back of each deletion, the newest first."""
        with self._database.transaction(writes=False) as transaction:
            rows = self._rows(transaction, owner)
        found: dict[int, RecoveryCopy] = {}
        for row in reversed(rows):
            copy = found.setdefault(row.deletion, RecoveryCopy(row.deletion, row.at, row.until, Counter()))
            copy.counts[row.kind] += 1
        return list(found.values())

    def read(
        self, owner: Owner, *, deletion: int | None = None, names: Collection[str] | None = None
    ) -> Iterator[Copied]:
        """What the copies hold, the oldest first.

        Args:
            deletion: only what this deletion removed.
            names: only what an erasure of these names would remove.
        """
        with self._database.transaction(writes=False) as transaction:
            rows = self._rows(transaction, owner)
        if names is not None:
            rows, _ = self._named(rows, names)
        rows = {row.id: row for row in rows if deletion in (None, row.deletion)}
        for start in range(0, len(rows), READ_AT_ONCE):
            with self._database.transaction(writes=False) as transaction:
                found = transaction.execute(
                    "SELECT id, sealed FROM main.copies WHERE id IN ? ORDER BY id",
                    [list(rows)[start : start + READ_AT_ONCE]],
                ).fetchall()
            for number, sealed in found:
                row = rows[number]
                item, user, its_names, content = json.loads(self._keys.open(sealed, row.place))
                yield Copied(row.kind, item, user, its_names, content, row.deletion)

    def erased_since(self, owner: Owner, at: float, copies: Iterable[Copied]) -> set[tuple[str, str]]:
        """The kind and id of copies that were erased since a time, for whoever has stored them again meanwhile.

        Args:
            at: what `State.now` returned before the copies were read.
        """
        with self._database.transaction(writes=False) as transaction:
            return self._erased_since(transaction, owner, at, copies)

    def keep(
        self, transaction: Transaction, owner: Owner, number: int, began: float, copies: Sequence[Copied]
    ) -> set[tuple[str, str]]:
        """Add copies, as `State.keep` says."""
        transaction.serialise("copies")
        erased = self._erased_since(transaction, owner, began, copies)
        kept = [copy for copy in copies if (copy.kind, copy.id) not in erased]
        equal = [[mark] for copy in kept for mark in self._contents(owner, copy)]
        transaction.execute_many("DELETE FROM main.copies WHERE content = ?", equal)
        self._add(transaction, owner, number, transaction.now + self.days * DAY, kept)
        return erased

    def drop(self, transaction: Transaction, number: int, items: Iterable[tuple[str, str]]) -> None:
        """Remove copies of one deletion by their kind and id."""
        transaction.serialise("copies")
        marks = [[number, mark] for item in items for mark in self._keys.marks("item", *item)]
        transaction.execute_many("DELETE FROM main.copies WHERE deletion = ? AND item = ?", marks)

    def erase(self, transaction: Transaction, owner: Owner, number: int, names: Collection[str]) -> int:
        """Remove every copy that has one of these names, whoever made it, and return how many there were."""
        self.prune(transaction)
        rows, marks = self._named(self._rows(transaction, owner), names)
        transaction.execute_many("DELETE FROM main.copies WHERE id = ?", [[row.id] for row in rows])
        noted = Copied(ERASURE, "", owner.user, sorted(marks), "")
        self._add(transaction, owner, number, transaction.now + DAY, [noted])
        return len(rows)

    def prune(self, transaction: Transaction) -> None:
        """Remove copies whose days are over."""
        transaction.serialise("copies")
        transaction.execute("DELETE FROM main.copies WHERE until <= ?", [transaction.now])

    def _add(
        self, transaction: Transaction, owner: Owner, number: int, until: float, copies: Iterable[Copied]
    ) -> None:
        keys, account = self._keys, self._keys.mark("account", owner.account)
        rows: list[Sequence[object]] = []
        for copy in copies:
            marks = copy.names
            if copy.kind != ERASURE:
                marks = [name[:2] + keys.mark("name", name) for name in _names(copy)]
            user, item = keys.mark("user", copy.user), keys.mark("item", copy.kind, copy.id)
            row = Row(0, number, transaction.now, until, account, user, copy.kind, " ".join(marks))
            sealed = keys.seal(json.dumps([copy.id, copy.user, copy.names, copy.content]), row.place)
            rows.append((*row[1:], item, self._contents(owner, copy)[0], keys.names[0], sealed))
        transaction.execute_many(
            "INSERT INTO main.copies (deletion, at, until, account, user_id, kind, names, item, content, sealing_key, "
            "sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )

    def _contents(self, owner: Owner, copy: Copied) -> list[str]:
        return self._keys.marks("content", owner.account, copy.kind, copy.id, copy.user, copy.content)

    def _rows(self, transaction: Transaction, owner: Owner) -> list[Row]:
        """The copies that an owner may see, the oldest first."""
        keys = self._keys
        unknown = "SELECT 1 FROM main.copies WHERE sealing_key NOT IN ? AND until > ?"
        if transaction.execute(unknown, [keys.names, transaction.now]).fetchone():
            # Whose it is cannot be told, so it may be one of these.
            raise StateUnusable(NO_KEY, KEY_ADVICE)
        rows = transaction.execute(
            "SELECT id, deletion, at, until, account, user_id, kind, names FROM main.copies WHERE "
            "until > ? AND kind != ? AND account IN ? AND (? OR user_id IN ?) ORDER BY id",
            [
                *(transaction.now, ERASURE, keys.marks("account", owner.account)),
                *(not owner.user, keys.marks("user", owner.user)),
            ],
        )
        return [Row(*row) for row in rows.fetchall()]

    def _named(self, rows: Sequence[Row], names: Iterable[str]) -> tuple[list[Row], set[str]]:
        """The rows that have one of these names, and those of learnings that the interactions of these rows fed.

        Returns:
            The rows, and the marks of all names that led to them.
        """
        wanted = self._marks(names)
        for row in rows:
            marks = row.names.split()
            if row.kind in FOLLOWED and not wanted.isdisjoint(marks):
                wanted.update(one for one in marks if one.startswith("i:"))
        return [row for row in rows if not wanted.isdisjoint(row.names.split())], wanted

    def _erased_since(
        self, transaction: Transaction, owner: Owner, at: float, copies: Iterable[Copied]
    ) -> set[tuple[str, str]]:
        keys = self._keys
        rows = transaction.execute(
            "SELECT user_id, names FROM main.copies WHERE kind = ? AND account IN ? AND at >= ?",
            [ERASURE, keys.marks("account", owner.account), at],
        ).fetchall()

        def reached(copy: Copied) -> bool:
            users, marks = (
                [*keys.marks("user", ""), *keys.marks("user", copy.user)],
                self._marks(_names(copy)),
            )
            return any(user in users and not marks.isdisjoint(names.split()) for user, names in rows)

        return {(copy.kind, copy.id) for copy in copies if rows and reached(copy)}

    def _marks(self, names: Iterable[str]) -> set[str]:
        return {name[:2] + mark for name in names for mark in self._keys.marks("name", name)}


def _names(copy: Copied) -> Sequence[str]:
    return [*copy.names, f"u:{copy.user}"]
