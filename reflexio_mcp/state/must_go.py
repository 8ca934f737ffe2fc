"""Items that an erasure named while a restore of their copies was running, or had been interrupted.

The restore may store them, or may have stored them, after the erasure has looked. So the erasure leaves a note here, in
the transaction that removes the copies. The restore reads the notes after each item. Every other process with this
state carries them out, too, in case the restore has died. A note contains ids and keyed tags, and no text.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final

from reflexio_mcp.state.copies import Copies, Row
from reflexio_mcp.state.keys import Keys, RowChanged
from reflexio_mcp.state.records import MustGo, Owner
from reflexio_mcp.state.tables import Database, Transaction

SETTLED_AT_ONCE: Final = 500


class MustGoNotes:
    def __init__(self, database: Database, keys: Keys, copies: Copies) -> None:
        self._database = database
        self._keys = keys
        self._copies = copies

    def add(self, transaction: Transaction, erasure: int, begun: int, rows: Sequence[Row]) -> int:
        """Note the copies that an erasure removes and that a restore may store or have stored.

        Args:
            begun: the first log line of the erasure. A restore that has ended before that has stored nothing that the
                erasure did not see.

        Returns:
            The number of notes.
        """
        if not rows:
            return 0
        restores = defaultdict[int, list[int]](list)
        for restore, deletion in transaction.execute(
            "SELECT id, restores FROM main.deletions WHERE restores IN ? AND (finished IS NULL OR ended > ?)",
            sorted({row.deletion for row in rows}),
            begun,
        ):
            restores[deletion].append(restore)
        meant = [row for row in rows if row.deletion in restores]
        number = 0
        for row, copied in self._copies.opened(transaction, meant):
            texts = [name for name in row.names.split() if name.startswith("t:")]
            content = json.dumps([copied.kind, copied.restored_id, copied.user, texts])
            for restore in restores[row.deletion]:
                number += 1
                transaction.execute(
                    "INSERT INTO main.must_go (restore, erasure, account, user_id, sealing_key, sealed) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    restore,
                    erasure,
                    row.account,
                    row.user,
                    self._keys.checks[0],
                    self._keys.seal(content, _identity(restore, erasure)),
                )
        return number

    def waiting(self, owner: Owner, restore: int = 0) -> list[MustGo]:
        """Return the notes that are not settled, and all of `restore`.

        A note that was changed, or whose key is missing, is left out. It stays open, and the record of its erasure
        counts it.

        Raises:
            RowChanged: a note of `restore` itself cannot be opened, so it may store what was erased.
        """
        keys = self._keys
        rows = self._database.read(
            "SELECT id, restore, erasure, sealed FROM main.must_go WHERE (settled IS NULL OR restore = ?) "
            "AND account IN ? AND (? OR user_id IN ?) ORDER BY id",
            restore,
            keys.accounts(owner),
            not owner.user,
            keys.tags("user", owner.user),
        )
        found: list[MustGo] = []
        for number, of, erasure, sealed in rows:
            try:
                kind, item, user, texts = json.loads(keys.open(sealed, _identity(of, erasure)))
            except RowChanged:
                if of == restore:
                    raise
                continue
            found.append(MustGo(number, of, erasure, kind, item, user, frozenset(texts)))
        return found

    def any(self) -> bool:
        return bool(self._database.read("SELECT 1 FROM main.must_go WHERE settled IS NULL LIMIT 1"))

    def has_text(self, note: MustGo, digest: str) -> bool:
        """Whether a text is that of the item."""
        return not note.texts.isdisjoint(self._copies.tags([f"t:{digest}"]))

    def settle(self, transaction: Transaction, numbers: Collection[int]) -> set[int]:
        """Settle notes whose items are not stored, unless a restore may still store them.

        Returns:
            The erasures whose notes were settled.
        """
        looked, erasures = sorted(numbers), set[int]()
        for start in range(0, len(looked), SETTLED_AT_ONCE):
            settled = transaction.execute(
                "UPDATE main.must_go SET settled = ? WHERE id IN ? AND settled IS NULL AND restore NOT IN "
                "(SELECT id FROM main.deletions WHERE restores > 0 AND finished IS NULL AND stores_until >= ?) "
                "RETURNING erasure",
                transaction.now,
                looked[start : start + SETTLED_AT_ONCE],
                transaction.now,
            )
            erasures.update(erasure for (erasure,) in settled)
        return erasures

    def unlooked(self, transaction: Transaction, restore: int, looked: Collection[int]) -> bool:
        """Whether a restore has notes after which it has not looked."""
        rows = transaction.execute("SELECT id FROM main.must_go WHERE restore = ?", restore)
        return any(number not in looked for (number,) in rows)


def _identity(restore: int, erasure: int) -> str:
    return f"must go {restore} {erasure}"
