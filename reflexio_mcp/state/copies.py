"""Recovery copies of deleted requests and learnings, each a sealed row.

Rows are found by keyed tags of account, user and names. A caller that changes rows holds the lock "copies".
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from hmac import digest
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from reflexio_mcp.state.records import Copied, Owner, RecoveryCopy
from reflexio_mcp.state.tables import Database, StateUnusable, Transaction

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DAY: Final = 86_400.0

NONCE_BYTES: Final = 12
READ_AT_ONCE: Final = 20

CHANGED: Final = "a row of the state was changed or moved"
NO_KEY: Final = "some recovery copies are sealed with a key that this server does not have"
KEY_ADVICE: Final = (
    "put the key back (in REFLEXIO_MCP_STATE_KEYS, or the file fingerprint.key next to state.db), or delete the rows "
    "of the table copies that were sealed with that key"
)


class Keys:
    """Secrets that the database does not have, the newest first. Older secrets open and find existing rows."""

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets

    @cached_property
    def _keys(self) -> list[tuple[bytes, "AESGCM"]]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return [
            (digest(one, b"reflexio-mcp mark", "sha256"), AESGCM(digest(one, b"reflexio-mcp seal", "sha256")))
            for one in self._secrets()
        ]

    def tags(self, *parts: str) -> list[str]:
        text = json.dumps(parts).encode()
        return [digest(key, text, "sha256").hex()[:32] for key, _ in self._keys]

    def tag(self, *parts: str) -> str:
        return self.tags(*parts)[0]

    def seal(self, text: str, row: str) -> bytes:
        """Encrypt a text so that only the same `row` opens it."""
        nonce, content = os.urandom(NONCE_BYTES), text.encode("utf-8", "surrogatepass")
        return nonce + self._keys[0][1].encrypt(nonce, content, row.encode())

    def open(self, sealed: bytes, row: str) -> str:
        """Decrypt a text. Raises `StateUnusable` if it was changed or moved, or its key is missing."""
        from cryptography.exceptions import InvalidTag

        for _, key in self._keys:
            try:
                content = key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.encode())
                return content.decode("utf-8", "surrogatepass")
            except (InvalidTag, ValueError):
                continue
        raise StateUnusable(CHANGED, "find out who writes to the state")


class Row(NamedTuple):
    """A copy without its content. `names` are tags with their kind, such as `r:`."""

    id: int
    deletion: int
    at: float
    until: float
    account: str
    user: str
    kind: str
    names: str

    @property
    def identity(self) -> str:
        return f"copy {self.deletion} {self.account} {self.user} {self.kind}"


class Copies:
    def __init__(self, database: Database, keys: Keys, days: int) -> None:
        self.days = days
        self._database = database
        self._keys = keys

    def listed(self, owner: Owner) -> dict[int, RecoveryCopy]:
        """Return recovery copies by the number of their deletion, the newest first."""
        found: dict[int, RecoveryCopy] = {}
        for row in reversed(self._rows(owner)):
            copy = found.setdefault(row.deletion, RecoveryCopy(row.until, Counter()))
            copy.counts[row.kind] += 1
        return found

    def read(
        self, owner: Owner, *, deletion: int | None = None, names: Collection[str] | None = None
    ) -> Iterator[Copied]:
        """Read copies, the oldest first.

        Args:
            names: only copies that an erasure of these names would remove.
        """
        rows = self._rows(owner)
        if names is not None:
            rows, _ = self._named(rows, names)
        rows = [row for row in rows if deletion in (None, row.deletion)]
        for start in range(0, len(rows), READ_AT_ONCE):
            for _, copied in self._opened(self._database.read, rows[start : start + READ_AT_ONCE]):
                yield copied

    def opened(self, transaction: Transaction, rows: Sequence[Row]) -> Iterator[tuple[Row, Copied]]:
        """Open the copies of rows."""
        for start in range(0, len(rows), READ_AT_ONCE):
            yield from self._opened(transaction.execute, rows[start : start + READ_AT_ONCE])

    def _opened(self, read: Callable[..., list[Any]], rows: Sequence[Row]) -> Iterator[tuple[Row, Copied]]:
        batch = {row.id: row for row in rows}
        select = "SELECT id, sealed FROM main.copies WHERE id IN ? ORDER BY id"
        for number, sealed in read(select, list(batch)):
            row = batch[number]
            item, user, its_names, content = json.loads(self._keys.open(sealed, row.identity))
            yield row, Copied(row.kind, item, user, its_names, content)

    def _erased_since(
        self, transaction: Transaction, owner: Owner, begun: int, copies: Sequence[Copied]
    ) -> set[tuple[str, str]]:
        """Return the kind and id of copies that a deletion has erased after the log line `begun`."""
        keys = self._keys
        erasures = transaction.execute(
            "SELECT user_id, erased_names FROM main.deletions "
            "WHERE ended > ? AND account IN ? AND erased_names != ''",
            begun,
            keys.tags("account", owner.account),
        )
        return {
            (copy.kind, copy.id)
            for user, names in erasures
            for copy in copies
            if user in (*keys.tags("user", ""), *keys.tags("user", copy.user))
            and not self.tags(_names(copy)).isdisjoint(names.split())
        }

    def keep(
        self,
        transaction: Transaction,
        owner: Owner,
        number: int,
        began: float,
        begun: int,
        copies: Sequence[Copied],
    ) -> set[tuple[str, str]]:
        """Keep copies for a deletion that began at the time `began` with the log line `begun`."""
        keys = self._keys
        erased = self._erased_since(transaction, owner, begun, copies)
        account, until = keys.tag("account", owner.account), began + self.days * DAY
        for copy in copies:
            if (copy.kind, copy.id) in erased:
                continue
            names = " ".join(name[:2] + keys.tag("name", name) for name in _names(copy))
            user = keys.tag("user", copy.user)
            row = Row(0, number, transaction.now, until, account, user, copy.kind, names)
            content = json.dumps([copy.id, copy.user, copy.names, copy.content])
            transaction.execute(
                "INSERT INTO main.copies (deletion, at, until, account, user_id, kind, names, sealing_key, sealed) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *row[1:],
                keys.tag("key"),
                keys.seal(content, row.identity),
            )
        return erased

    def named(
        self, transaction: Transaction, owner: Owner, names: Collection[str]
    ) -> tuple[list[Row], set[str]]:
        """Return what `_named` finds of the owner's copies."""
        return self._named(self._visible(transaction, owner), names)

    def remove(self, transaction: Transaction, rows: Sequence[Row]) -> None:
        transaction.execute_many("DELETE FROM main.copies WHERE id = ?", [(row.id,) for row in rows])

    def _rows(self, owner: Owner) -> list[Row]:
        with self._database.transaction(writes=False) as transaction:
            return self._visible(transaction, owner)

    def _visible(self, transaction: Transaction, owner: Owner) -> list[Row]:
        keys, now = self._keys, transaction.now
        unknown = "SELECT 1 FROM main.copies WHERE sealing_key NOT IN ? AND until > ?"
        if transaction.execute(unknown, keys.tags("key"), now):
            # A row with an unknown key may be the owner's.
            raise StateUnusable(NO_KEY, KEY_ADVICE)
        rows = transaction.execute(
            "SELECT id, deletion, at, until, account, user_id, kind, names FROM main.copies "
            "WHERE until > ? AND account IN ? AND (? OR user_id IN ?) ORDER BY id",
            now,
            keys.tags("account", owner.account),
            not owner.user,
            keys.tags("user", owner.user),
        )
        return [Row(*row) for row in rows]

    def _named(self, rows: Sequence[Row], names: Iterable[str]) -> tuple[list[Row], set[str]]:
        """Return the rows that an erasure of these names removes, and the tags of all names that it follows.

        A request leads to the learnings from its interactions, and a learning to its earlier texts.
        """
        wanted = self.tags(names)
        for row in reversed(rows):
            tags = row.names.split()
            if not wanted.isdisjoint(tags):
                followed = "i:" if row.kind in ("request", "interaction") else ("l:", "t:")
                wanted.update(tag for tag in tags if tag.startswith(followed))
        return [row for row in rows if not wanted.isdisjoint(row.names.split())], wanted

    def tags(self, names: Iterable[str]) -> set[str]:
        """Return the tags that names may have in a row, each with the kind of its name."""
        return {name[:2] + tag for name in names for tag in self._keys.tags("name", name)}


def _names(copy: Copied) -> Sequence[str]:
    return [*copy.names, f"u:{copy.user}"]
