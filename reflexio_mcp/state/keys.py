"""The keys that seal the state, and the check that a server has the right ones."""

import json
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import cached_property
from hmac import digest
from typing import TYPE_CHECKING, Final, NamedTuple

from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.tables import Database, StateUnusable, Transaction

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["KEY_ADVICE", "NO_KEY", "WrongKey"]

NONCE_BYTES: Final = 12

LATER_BY: Final = 0.001
"""Seconds by which a key is newer than the one before, even if the clock was set back."""

CHANGED: Final = "a row of the state was changed or moved"
NO_KEY: Final = "they are encrypted with a key that this server does not have"
KEY_ADVICE: Final = (
    "put the key back (in REFLEXIO_MCP_STATE_KEYS, or the file fingerprint.key next to state.db), or remove what it "
    "has encrypted, as docs/shared-server.md says"
)
OTHER_KEY: Final = "the state is encrypted with a key that this server does not have"


class RowChanged(StateUnusable):
    """One sealed row cannot be opened; the others can."""


class WrongKey(StateUnusable):
    """The keys of this server are not those of the state, or its key file cannot be used."""


class LineBefore(NamedTuple):
    """What the chain value of a line of the audit log says of the line before it; these values before the first."""

    number: int = 0
    at: float = 0.0
    chain: str = ""


class Keys:
    """Secrets that the database does not have, the newest first. Older secrets open and find existing rows.

    Under each secret, a *tag* is a keyed digest by which a row is found, a *seal* encrypts a row, and a *check* is the
    tag of a known value. The table `keys` notes the checks, so that a server can see whether it has the right secrets.
    """

    def __init__(self, secrets: Callable[[], Sequence[bytes]]) -> None:
        self._secrets = secrets

    @cached_property
    def _given(self) -> Sequence[bytes]:
        return self._secrets()

    @cached_property
    def _tag_keys(self) -> list[bytes]:
        return [digest(secret, b"reflexio-mcp mark", "sha256") for secret in self._given]

    @cached_property
    def _seals(self) -> list["AESGCM"]:
        # Imported late, because a tag does not need it and it takes a while.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return [AESGCM(digest(secret, b"reflexio-mcp seal", "sha256")) for secret in self._given]

    def tags(self, *parts: str | float) -> list[str]:
        """Return a keyed digest of the parts under each key, the newest first."""
        # `default`: a changed row may have bytes where a text belongs, as SQLite allows. Its tag then matches nothing.
        text = json.dumps(parts, default=repr).encode()
        return [digest(key, text, "sha256").hex()[:32] for key in self._tag_keys]

    def tag(self, *parts: str | float) -> str:
        return self.tags(*parts)[0]

    @property
    def checks(self) -> list[str]:
        """A known value under each key, the newest first."""
        return self.tags("key")

    @property
    def newest_check(self) -> str:
        """The known value under the key that seals."""
        return self.checks[0]

    def accounts(self, owner: Owner) -> list[str]:
        """Return the tags of an owner's account, also under the name that earlier versions gave it."""
        names = [owner.account, *([owner.earlier_account] if owner.earlier_account else [])]
        return [tag for name in names for tag in self.tags("account", name)]

    def seal(self, text: str, row: str) -> bytes:
        """Encrypt a text so that only the same `row` opens it."""
        nonce, content = os.urandom(NONCE_BYTES), text.encode("utf-8", "surrogatepass")
        return nonce + self._seals[0].encrypt(nonce, content, row.encode())

    def open(self, sealed: bytes, row: str) -> str:
        """Decrypt a text. Raises `RowChanged` if it was changed or moved, or its key is missing."""
        from cryptography.exceptions import InvalidTag

        for key in self._seals:
            try:
                content = key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], row.encode())
                return content.decode("utf-8", "surrogatepass")
            except (InvalidTag, TypeError, ValueError):  # a changed row can contain anything
                continue
        raise RowChanged(CHANGED, "find out who writes to the state")

    def compare(self, transaction: Transaction, *, notes: bool) -> bool:
        """Check that these keys include the one that was noted last, with which other servers seal.

        Args:
            notes: note the newest key of this server if it was not noted last, so that servers without it stop. A
                transaction that only reads notes none.

        Returns:
            Whether the newest key of this server is now the last one noted, so that no later transaction has to
            compare. False if nothing is sealed yet, because then nothing is noted.

        Raises:
            WrongKey: the key that was noted last is not among these, so this server could not open what it sealed.
        """
        noted = _noted(transaction)
        if not noted and not _any_sealed(transaction):
            return False
        is_among_these = noted in self.checks if noted else self._sealed_some(transaction)
        if not is_among_these:
            raise WrongKey(OTHER_KEY, KEY_ADVICE)
        if notes and noted != self.newest_check:
            self._note(transaction)
            return True
        return noted == self.newest_check

    def require(self, transaction: Transaction) -> None:
        """Compare the keys again before rows of other servers are counted or erased.

        Another server may have begun to seal with a newer key after this one had started. Unlike `compare`, this notes
        the key of this server also in a state that has none.

        Raises:
            WrongKey: the server that started last seals with a key that is not among these, so its rows would be
                missed.
        """
        noted = _noted(transaction)
        if not noted:
            self._note(transaction)
        elif noted not in self.checks:
            raise WrongKey(OTHER_KEY, KEY_ADVICE)

    def are_all(self, transaction: Transaction) -> bool:
        """Whether servers have sealed with no other keys than these."""
        return not transaction.execute("SELECT 1 FROM main.keys WHERE key NOT IN ? LIMIT 1", self.checks)

    def note_first_key(self, transaction: Transaction) -> None:
        """Note the key of the first server that seals anything."""
        if not _noted(transaction):
            self._note(transaction)

    def _note(self, transaction: Transaction) -> None:
        transaction.execute(
            "INSERT INTO main.keys (key, at) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET at = excluded.at",
            self.newest_check,
            max(transaction.now, _last_noted(transaction) + LATER_BY),
        )

    def made_line(self, before: LineBefore, line: str, chain: str) -> bool:
        """Whether a line of the audit log was made with one of these keys."""
        earlier_form = ("log", before.chain, line)  # earlier versions left out number and time
        return chain in self.tags(*chained(before, line)) or chain in self.tags(*earlier_form)

    def _sealed_some(self, transaction: Transaction) -> bool:
        """Whether a version that noted no keys has sealed anything with one of these keys."""
        if transaction.execute("SELECT 1 FROM main.copies WHERE sealing_key IN ? LIMIT 1", self.checks):
            return True
        before = LineBefore()
        for number, at, line, chain in transaction.execute(
            "SELECT id, at, line, chain FROM main.log ORDER BY id"
        ):
            if self.made_line(before, line, chain):
                return True
            before = LineBefore(number, at, chain)
        return False


def chained(before: LineBefore, line: str) -> tuple[str | float, ...]:
    """Return the parts of which a chain value of the audit log is the digest."""
    return ("log line", *before, line)


def _noted(transaction: Transaction) -> str:
    """Return the known value under the key that was noted last; empty if none was."""
    rows = transaction.execute("SELECT key FROM main.keys ORDER BY at DESC LIMIT 1")
    return rows[0][0] if rows else ""


def _last_noted(transaction: Transaction) -> float:
    rows = transaction.execute("SELECT at FROM main.keys")
    # SQLite keeps other values in a column of numbers, too.
    return max((at for (at,) in rows if isinstance(at, int | float)), default=0.0)


def _any_sealed(transaction: Transaction) -> bool:
    tables = ("copies", "deletions", "log")
    return any(transaction.execute(f"SELECT 1 FROM main.{table} LIMIT 1") for table in tables)  # noqa: S608


class KeyedDatabase(Database):
    """A database that is used only after the keys were compared with those of the state.

    Calls that a transaction has in `afterwards` run when it has taken effect.

    Args:
        database: the same database without the comparison, for what needs no key.
    """

    def __init__(self, database: Database, keys: Keys) -> None:
        self.name = database.name
        self.unkeyed = database
        self._keys = keys
        self._compared = False

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Generator[Transaction]:
        with self.unkeyed.transaction(writes=writes) as transaction:
            compared = self._compared or self._keys.compare(transaction, notes=writes)
            yield transaction
        self._compared = compared
        for call in transaction.afterwards:
            call()

    def last_number(self, table: str) -> int:
        return self.unkeyed.last_number(table)

    def fits(self) -> bool:
        return self.unkeyed.fits()

    def close(self) -> None:
        self.unkeyed.close()
