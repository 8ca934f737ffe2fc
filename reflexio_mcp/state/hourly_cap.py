"""How much may be deleted in an hour, so that a runaway loop stops early."""

import hashlib
from typing import Final

from reflexio_mcp.state.database import StateDatabase, Transaction

__all__ = ["HourlyCap"]

WINDOW_SECONDS: Final = 3600.0


class HourlyCap:
    """Counts what was deleted in the last hour, for each owner, in every process that shares the database.

    Every method blocks, and raises `OSError` where the counts cannot be read or changed; call it in a worker thread.

    Args:
        limit: deletions an hour; 0 means no cap.
        account: what tells the owners of one backend and key from those of another; it is not stored as it is.
    """

    def __init__(self, limit: int, database: StateDatabase, account: str = "") -> None:
        self.limit = limit
        self._database = database
        self._account = account

    def room(self, owner: str) -> int | None:
        """Return how many more may be deleted now; `None` when there is no cap."""
        if not self.limit:
            return None
        with self._database.transaction() as transaction:
            return self._room(transaction, owner)

    def take(self, owner: str, number: int, job: int = 0) -> int | None:
        """Count deletions that are about to happen.

        Args:
            job: the job they belong to; what an earlier process counted for it is counted anew.

        Returns:
            What `give_back` takes, or `None` when they do not fit; then nothing is counted.
        """
        if not self.limit or not number:
            return 0
        with self._database.transaction() as transaction:
            self._serialise(transaction, owner)
            transaction.execute(
                "DELETE FROM deletions WHERE id IN (SELECT id FROM deletions WHERE at <= ? FOR UPDATE SKIP LOCKED)",
                (transaction.now - WINDOW_SECONDS,),
            )
            if number > self._room(transaction, owner, job):
                return None
            if job:
                # With its owner, which the index begins with: what everybody deleted in an hour is not read for it.
                transaction.execute(
                    "DELETE FROM deletions WHERE owner = ? AND job = ?", (self._key(owner), job)
                )
            return self._add(transaction, owner, number, job)

    def count(self, owner: str, number: int) -> None:
        """Count what was deleted already, also where it is more than there was room for."""
        if not self.limit or number <= 0:
            return
        with self._database.transaction() as transaction:
            self._serialise(transaction, owner)
            self._add(transaction, owner, number)

    def give_back(self, taken: int, number: int) -> None:
        """Uncount `number` of what `take` returned as `taken`: they were not deleted after all."""
        if not taken or number <= 0:
            return
        with self._database.transaction() as transaction:
            transaction.execute("UPDATE deletions SET number = number - ? WHERE id = ?", (number, taken))
            transaction.execute("DELETE FROM deletions WHERE id = ? AND number <= 0", (taken,))

    def wait(self, owner: str, number: int) -> float:
        """Return the seconds until `number` more deletions fit, provided that nothing else is deleted."""
        with self._database.transaction() as transaction:
            needed = number - self._room(transaction, owner)
            rows = transaction.execute(
                "SELECT at, number FROM deletions WHERE owner = ? AND at > ? ORDER BY at",
                self._window(transaction, owner),
            ).fetchall()
        for at, taken in rows:
            if needed <= 0:
                break
            needed -= taken
            if needed <= 0:
                return max(0.0, at + WINDOW_SECONDS - transaction.now)
        return WINDOW_SECONDS if needed > 0 else 0.0

    def _add(self, transaction: Transaction, owner: str, number: int, job: int = 0) -> int:
        added = transaction.execute(
            "INSERT INTO deletions (owner, at, number, job) VALUES (?, ?, ?, ?) RETURNING id",
            (self._key(owner), transaction.now, number, job),
        )
        return added.fetchone()[0]

    def _room(self, transaction: Transaction, owner: str, job: int = 0) -> int:
        counted = transaction.execute(
            "SELECT coalesce(sum(number), 0) FROM deletions WHERE owner = ? AND at > ? AND (job != ? OR job = 0)",
            (*self._window(transaction, owner), job),
        )
        return max(0, self.limit - counted.fetchone()[0])

    def _serialise(self, transaction: Transaction, owner: str) -> None:
        # No two see the same room.
        transaction.serialise(f"hourly cap {self._key(owner)}")

    def _window(self, transaction: Transaction, owner: str) -> tuple[str, float]:
        return self._key(owner), transaction.now - WINDOW_SECONDS

    def _key(self, owner: str) -> str:
        named = f"hourly cap\0{self._account}\0{owner}"
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]
