"""What outlives a call: the hourly cap, deletions with their receipts, recovery copies and the audit log.

A deletion begins with one transaction (cap, plan code, record, first log line) and ends with another one (receipt,
erasure, last log line). Locks are taken in one order: cap, copies, log.
"""

import json
import os
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from reflexio_mcp.state.copies import Copies
from reflexio_mcp.state.log import AuditLog
from reflexio_mcp.state.records import (
    CapReached,
    CodeUsed,
    Copied,
    Deletion,
    Finished,
    Intention,
    Outcome,
    Owner,
)
from reflexio_mcp.state.sealing import Keys
from reflexio_mcp.state.tables import Database, StateUnusable, Transaction

__all__ = ["RECORD_SECONDS", "State", "in_thread"]

HOUR: Final = 3_600.0
DAY: Final = 86_400.0

RECORD_SECONDS: Final = 7 * DAY
"""For how long a deletion stays on record; longer if there are copies of it. A plan code is over long before."""

THREADS: Final = 8
"""Threads for the state alone: heavy work of others must not hold up a deletion."""

RECORD_GONE: Final = "the record of this deletion is gone"
RECORD_ADVICE: Final = "find out who removed it from the state"

ATTEMPTS: Final = (
    "UPDATE main.deletions SET gone = gone WHERE false",
    "DELETE FROM main.copies WHERE false",
    "INSERT INTO main.log (line, chain) SELECT chain, chain FROM main.log WHERE false",
)
"""Statements that fail if the database can only be read, or if a right is missing."""

Parameters = ParamSpec("Parameters")
T = TypeVar("T")

_threads: RunVar[anyio.CapacityLimiter] = RunVar("reflexio_mcp_state_threads")


async def in_thread(
    call: Callable[Parameters, T], *arguments: Parameters.args, **named: Parameters.kwargs
) -> T:
    """Call a method of the state in a thread, to its end even if the task is cancelled."""
    try:
        limiter = _threads.get()
    except LookupError:
        _threads.set(limiter := anyio.CapacityLimiter(THREADS))
    # Not abandoned: a cancelled task waits for the end of the thread.
    return await anyio.to_thread.run_sync(lambda: call(*arguments, **named), limiter=limiter)


class State:
    """The state that all processes with this database share. Everything but `keep_pruned` blocks: use `in_thread`.

    Every method raises `StateUnusable` if the state cannot be read or written. An empty answer means "not there".

    Args:
        database: where it is kept.
        secrets: returns the keys, the newest first; called at the first use.
        limit: deletions an hour for each caller; 0 means no cap.
        days: how long a new recovery copy is kept; 0 means that none are made.
    """

    def __init__(
        self, database: Database, secrets: Callable[[], Sequence[bytes]], *, limit: int, days: int
    ) -> None:
        self.limit = limit
        self.database = database
        self._keys = Keys(secrets)
        self.copies = Copies(database, self._keys, days)
        self.log = AuditLog(database, self._keys)
        self._process = f"{os.getpid()} {uuid.uuid4()}"

    def now(self) -> float:
        """The time by the clock that all processes of this state share, in epoch seconds."""
        with self.database.transaction(writes=False) as transaction:
            return transaction.now

    def check_room(self, owner: Owner, number: int = 0) -> int | None:
        """Check that so many may be deleted now.

        Returns:
            How many may be deleted now; `None` if there is no cap.

        Raises:
            CapReached: it is less than `number`.
        """
        with self.database.transaction(writes=False) as transaction:
            return self._check_room(transaction, owner, number)

    def begin(self, owner: Owner, intention: Intention) -> int:
        """Count and record a deletion, use up its plan code and write its first log line: all of it or nothing.

        Returns:
            The number of the deletion.

        Raises:
            CapReached, CodeUsed: nothing was recorded.
        """
        keys = self._keys
        account, user = keys.mark("account", owner.account), keys.mark("user", owner.user)
        with self.database.transaction() as transaction:
            transaction.serialise("cap")
            codes = keys.marks("code", owner.account, intention.code) if intention.code else [None]
            used = transaction.execute("SELECT id FROM main.deletions WHERE code IN ?", [codes]).fetchone()
            if used:
                raise CodeUsed(used[0])
            self._check_room(transaction, owner, intention.number)
            number = transaction.execute(
                "INSERT INTO main.deletions (at, account, user_id, caller, code, process, counted) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
                [
                    *(transaction.now, account, user, keys.mark(*_caller(owner)), codes[0]),
                    *(self._process, intention.number),
                ],
            ).fetchone()[0]
            words = [intention.tool, intention.target, intention.number, intention.planned]
            sealed = keys.seal(json.dumps(words), f"intention {number} {account} {user}")
            transaction.execute("UPDATE main.deletions SET intention = ? WHERE id = ?", [sealed, number])
            begin = {"event": "begin", "deletion": number, "tool": intention.tool}
            self.log.add(transaction, begin | dict(intention.facts))
        return number

    def keep(self, owner: Owner, number: int, copies: Sequence[Copied]) -> set[tuple[str, str]]:
        """Keep copies of what a deletion removes next. An equal copy of an earlier deletion is replaced.

        Args:
            copies: what was read after the deletion had begun.

        Returns:
            The kind and id of what another deletion has erased meanwhile; it is not kept.
        """
        with self.database.transaction() as transaction:
            began = _record(transaction, number)[0]
            return self.copies.keep(transaction, owner, number, began, copies)

    def note(self, number: int, gone: int) -> None:
        """Note how many are gone so far."""
        with self.database.transaction() as transaction:
            transaction.execute(
                "UPDATE main.deletions SET gone = ? WHERE id = ? AND finished IS NULL", (gone, number)
            )

    def finish(
        self,
        owner: Owner,
        number: int,
        *,
        outcome: Outcome,
        counted: int,
        gone: int,
        receipt: str,
        facts: Mapping[str, Any],
        drop: Collection[tuple[str, str]] = (),
        erase: Collection[str] = (),
    ) -> Finished:
        """Record how a deletion ended, erase copies and write its last log line: all of it or nothing.

        It can be repeated after a failure: what is on record already stays.

        Args:
            counted: how many the hourly cap counts from now on.
            receipt: what the caller wants back from `Deletion.receipt`; sealed.
            facts: what the last line of the log says.
            drop: the kind and id of what was copied and is still stored.
            erase: names; every copy that has one of them goes, whoever made it, and so do copied learnings that the
                interactions of these requests fed. `u:` and a user names all of that user.
        """
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            _, finished, erased, chain = _record(transaction, number)
            if finished is not None:
                return Finished(erased, chain)
            self.copies.drop(transaction, number, drop)
            erased = self.copies.erase(transaction, owner, number, erase) if erase else 0
            end = {"event": "end", "deletion": number, "outcome": outcome, "copies_erased": erased}
            chain = self.log.add(transaction, end | dict(facts))
            sealed = self._keys.seal(receipt, f"receipt {number}")
            transaction.execute(
                "UPDATE main.deletions SET finished = ?, outcome = ?, counted = ?, gone = ?, receipt = ?, erased = ?, "
                "chain = ? WHERE id = ?",
                (transaction.now, outcome, counted, gone, sealed, erased, chain, number),
            )
        return Finished(erased, chain)

    def last(self, owner: Owner, most: int = 20) -> list[Deletion]:
        """The deletions of this account and user, the newest first."""
        keys = self._keys
        with self.database.transaction(writes=False) as transaction:
            rows = transaction.execute(
                "SELECT id, at, gone, finished, outcome, erased, chain, process = ?, account, user_id, intention, "
                "receipt FROM main.deletions WHERE account IN ? AND user_id IN ? ORDER BY id DESC LIMIT ?",
                [self._process, keys.marks("account", owner.account), keys.marks("user", owner.user), most],
            ).fetchall()
        found: list[Deletion] = []
        for *known, account, user, intention, receipt in rows:
            place = f"intention {known[0]} {account} {user}"
            told = keys.open(receipt, f"receipt {known[0]}") if receipt else ""
            known += [*json.loads(keys.open(intention, place)), told]
            found.append(Deletion(*known))
        return found

    def check(self) -> None:
        """Check that a deletion could be recorded now.

        Raises:
            StateUnusable: why it could not.
        """
        with self.database.transaction() as transaction:
            for attempt in ATTEMPTS:
                transaction.execute(attempt)

    def prune(self) -> None:
        """Remove copies and records whose time is over."""
        with self.database.transaction() as transaction:
            self.copies.prune(transaction)
            transaction.execute(
                "DELETE FROM main.deletions WHERE at <= ? AND id NOT IN (SELECT deletion FROM main.copies)",
                (transaction.now - RECORD_SECONDS,),
            )

    async def keep_pruned(self) -> None:
        """Prune now and every hour, until cancelled."""
        while True:
            with suppress(StateUnusable):
                await in_thread(self.prune)
            await anyio.sleep(HOUR)

    def _check_room(self, transaction: Transaction, owner: Owner, number: int) -> int | None:
        if not self.limit:
            return None
        counted = transaction.execute(
            "SELECT at, counted FROM main.deletions WHERE caller IN ? AND at > ? ORDER BY at",
            [self._keys.marks(*_caller(owner)), transaction.now - HOUR],
        ).fetchall()
        room = left = max(0, self.limit - sum(of_one for _, of_one in counted))
        wait = 0.0
        for at, of_one in counted:
            if left < min(number, self.limit):
                left += of_one
                wait = at + HOUR - transaction.now
        if number > room:
            raise CapReached(self.limit, room, wait)
        return room


def _record(transaction: Transaction, number: int) -> tuple[float, float | None, int, str]:
    """When a deletion began and ended, and what its end noted."""
    row = transaction.execute(
        "SELECT at, finished, erased, chain FROM main.deletions WHERE id = ?", (number,)
    ).fetchone()
    if row is None:
        raise StateUnusable(RECORD_GONE, RECORD_ADVICE)
    return row


def _caller(owner: Owner) -> tuple[str, ...]:
    return "caller", owner.account, owner.caller
