"""The state: cap, deletions, restores, recovery copies and audit log.

A deletion begins with one transaction (cap, plan code, record, first log line) and ends with another one (receipt,
erasure, last log line). A restore is recorded like a deletion, so that an erasure beside it knows of it. Locks are
always taken in this order: cap, copies, log.
"""

import json
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal, NamedTuple, ParamSpec, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from reflexio_mcp.logs import audited_call
from reflexio_mcp.state.copies import DAY, Copies, Keys
from reflexio_mcp.state.must_go import MustGoNotes
from reflexio_mcp.state.records import (
    CapReached,
    CodeUsed,
    Copied,
    Deletion,
    Intention,
    MustGo,
    Outcome,
    Owner,
    RestoreIntention,
)
from reflexio_mcp.state.tables import Database, StateUnusable, Transaction

__all__ = ["State", "in_thread"]

HOUR: Final = 3_600.0

RECORD_SECONDS: Final = 7 * DAY
"""How long a deletion is recorded, unless its copies last longer."""

LINES_AT_ONCE: Final = 500

THREADS: Final = 8
"""Separate threads, so that other work does not delay a deletion."""

OVER: Final = "DELETE FROM main.copies WHERE until <= ?"

RECORD_GONE: Final = (
    "the record of this deletion is gone",
    "find out who writes to the state, or whether it was restored from a backup",
)

ATTEMPTS: Final = (
    "UPDATE main.deletions SET gone = gone WHERE false",
    "DELETE FROM main.copies WHERE false",
    "DELETE FROM main.must_go WHERE false",
    "INSERT INTO main.log (line, chain) SELECT chain, chain FROM main.log WHERE false",
)
"""Statements that need a right on each table."""

Parameters = ParamSpec("Parameters")
T = TypeVar("T")

_threads: RunVar[anyio.CapacityLimiter] = RunVar("reflexio_mcp_state_threads")


async def in_thread(
    call: Callable[Parameters, T], *arguments: Parameters.args, **named: Parameters.kwargs
) -> T:
    """Call a method of the state in a thread. Cancellation waits for its end."""
    try:
        limiter = _threads.get()
    except LookupError:
        _threads.set(limiter := anyio.CapacityLimiter(THREADS))
    return await anyio.to_thread.run_sync(partial(call, *arguments, **named), limiter=limiter)


class Entry(NamedTuple):
    number: int
    line: str
    chain: str


class Ended(NamedTuple):
    """The recorded end of a deletion.

    Args:
        chain: of its last log line.
        may_return: number of erased items that a restore may have stored again, or may still store.
    """

    chain: str
    may_return: int


class Verified(NamedTuple):
    """The result of a check of the log.

    Args:
        wrong: the row of the first line that does not fit the line before it.
        missing: chain values of receipts that no line has.
    """

    lines: int
    wrong: int | None
    missing: set[str]


class AuditLog:
    """A line before and after each deletion and restore, and lines about holds and what was erased again.

    A chain value is a keyed digest of the line and of the previous chain value, so a changed or removed line is
    found. Receipts contain chain values, so a truncated log is found too.
    """

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    def add(self, transaction: Transaction, facts: Mapping[str, Any]) -> str:
        transaction.serialise("log")
        last = transaction.execute("SELECT chain FROM main.log ORDER BY id DESC LIMIT 1")
        time = datetime.fromtimestamp(transaction.now, UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": time, **(audited_call.get() or {}), **facts})
        chain = self._keys.tag("log", last[0][0] if last else "", line)
        transaction.execute("INSERT INTO main.log (line, chain) VALUES (?, ?)", line, chain)
        return chain

    def entries(self) -> Iterator[Entry]:
        select = "SELECT id, line, chain FROM main.log WHERE id > ? ORDER BY id LIMIT ?"
        number = 0
        while rows := self._database.read(select, number, LINES_AT_ONCE):
            yield from (Entry(*row) for row in rows)
            number = rows[-1][0]

    def verify(self, noted: str = "") -> Verified:
        """Look for changed and removed lines. `noted` is a chain value from a receipt, or empty."""
        ends = self._database.read("SELECT chain FROM main.deletions")
        missing = {noted, *(chain for (chain,) in ends)} - {""}
        lines, wrong, last = 0, None, ""
        for entry in self.entries():
            lines += 1
            if wrong is None and entry.chain not in self._keys.tags("log", last, entry.line):
                wrong = entry.number
            last = entry.chain
            missing.discard(last)
        return Verified(lines, wrong, missing)


class State:
    """The state that all processes with this database share. Its methods block: use `in_thread`.

    Every method raises `StateUnusable` if the state cannot be used.

    Args:
        secrets: returns the keys, the newest first.
        limit: items deleted per hour and caller; 0 for no cap.
        days: how long a recovery copy is kept.
    """

    def __init__(
        self, database: Database, secrets: Callable[[], Sequence[bytes]], *, limit: int, days: int
    ) -> None:
        self.limit = limit
        self.database = database
        self._keys = Keys(secrets)
        self.copies = Copies(database, self._keys, days)
        self.must_go = MustGoNotes(database, self._keys, self.copies)
        self.log = AuditLog(database, self._keys)

    def check_room(self, owner: Owner, number: int = 0) -> int | None:
        """Return how many items may be deleted now, or `None` for no cap. Raises `CapReached` if `number` is larger."""
        with self.database.transaction(writes=False) as transaction:
            return self._check_room(transaction, owner, number)

    def begin(self, owner: Owner, intention: Intention) -> int:
        """Record a deletion: cap, plan code and first log line. Return its number.

        Raises:
            CapReached, CodeUsed: nothing was recorded.
        """
        codes = self._keys.tags("code", owner.account, intention.code or uuid.uuid4().hex)
        words = [intention.target, intention.number, intention.planned]
        with self.database.transaction() as transaction:
            transaction.serialise("cap")
            if used := transaction.execute("SELECT id FROM main.deletions WHERE code IN ?", codes):
                raise CodeUsed(used[0][0])
            self._check_room(transaction, owner, intention.number)
            number = self._insert(transaction, owner, codes[0], words, counted=intention.number)
            line = {"event": "begin", "deletion": number, "tool": intention.tool}
            self._begin(transaction, number, line | dict(intention.facts))
        return number

    def begin_restore(self, owner: Owner, intention: RestoreIntention) -> int:
        """Record a restore before it reads its copies. Return its number.

        An erasure either has removed those copies by then, or finds this record.
        """
        code = self._keys.tag("code", owner.account, uuid.uuid4().hex)
        words = [f"restore of deletion {intention.deletion}", intention.number, list[str]()]
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            number = self._insert(transaction, owner, code, words, counted=0)
            transaction.execute(
                "UPDATE main.deletions SET restores = ?, stores_until = ? WHERE id = ?",
                intention.deletion,
                transaction.now + intention.seconds,
                number,
            )
            line = {"event": "restoring", "deletion": intention.deletion, "restore": number}
            self._begin(transaction, number, line | dict(intention.facts))
        return number

    def _insert(
        self, transaction: Transaction, owner: Owner, code: str, words: Sequence[Any], counted: int
    ) -> int:
        keys = self._keys
        ((number,),) = transaction.execute(
            "INSERT INTO main.deletions (at, account, user_id, caller, code, counted, intention) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id",
            transaction.now,
            keys.tag("account", owner.account),
            keys.tag("user", owner.user),
            keys.tag("caller", owner.account, owner.caller),
            code,
            counted,
            keys.seal(json.dumps(words), f"intention {code}"),
        )
        return number

    def _begin(self, transaction: Transaction, number: int, line: Mapping[str, Any]) -> None:
        self.log.add(transaction, line)
        transaction.execute(
            "UPDATE main.deletions SET begun = (SELECT max(id) FROM main.log) WHERE id = ?", number
        )

    def keep(self, owner: Owner, number: int, copies: Sequence[Copied]) -> set[tuple[str, str]]:
        """Keep copies of items before a deletion.

        Returns:
            The kind and id of copies that are not kept, because another deletion erased them since this one began.
        """
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            began, begun = _began(transaction, number)
            return self.copies.keep(transaction, owner, number, began, begun, copies)

    def note_held(self, target: str, held: Sequence[str]) -> None:
        """Log how many items each hold kept from a deletion."""
        with self.database.transaction() as transaction:
            self.log.add(transaction, {"event": "held", "target": target, "held": held})

    def note_taken_out(self, looked: Sequence[MustGo], gone: Sequence[MustGo]) -> None:
        """Log what was deleted again, and settle the notes whose items are not stored."""
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            settled = self.must_go.settle(transaction, {one.number for one in looked})
            if gone or settled:
                line = {
                    "event": "erased_again",
                    "restores": sorted({one.restore for one in looked}),
                    "ids": sorted({one.id for one in gone}),
                    "settled": sorted(settled),
                }
                self.log.add(transaction, line)

    def finish_restore(
        self,
        owner: Owner,
        number: int,
        *,
        outcome: Literal["complete", "incomplete"],
        back: int,
        all_of_it: bool,
        facts: Mapping[str, Any],
        looked: Collection[int] | None,
    ) -> bool:
        """Record the end of a restore, unless an erasure has left notes after which it has to look first.

        The record of its deletion says whether everything is back, for every user.

        Args:
            number: of the restore.
            back: number of items that it has stored.
            all_of_it: whether all that its deletion removed is stored.
            facts: content of the last log line.
            looked: numbers of the notes whose items are not stored. `None` if that is not known, or if something may
                still be stored; then erasures go on to reckon with this restore.

        Returns:
            Whether the end is recorded.
        """
        keys = self._keys
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            _began(transaction, number)
            if looked is not None and self.must_go.unlooked(transaction, number, looked):
                return False
            ((deletion,),) = transaction.execute("SELECT restores FROM main.deletions WHERE id = ?", number)
            line = {"event": "restored", "deletion": deletion, "restore": number, "outcome": outcome}
            chain = self.log.add(transaction, line | dict(facts))
            transaction.execute(
                "UPDATE main.deletions SET finished = ?, outcome = ?, gone = ?, chain = ?, "
                "ended = (SELECT max(id) FROM main.log) WHERE id = ?",
                transaction.now if looked is not None else None,
                outcome,
                back,
                chain,
                number,
            )
            self.must_go.settle(transaction, looked or ())
            transaction.execute(
                "UPDATE main.deletions SET outcome = CASE WHEN ? AND NOT EXISTS "
                "(SELECT 1 FROM main.copies WHERE deletion = deletions.id AND NOT (? OR user_id IN ?)) "
                "THEN 'restored' ELSE 'partly_restored' END WHERE ? AND id = ? AND outcome != 'restored'",
                all_of_it,
                not owner.user,
                keys.tags("user", owner.user),
                back > 0 or all_of_it,
                deletion,
            )
        return True

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
        erase: Collection[str] = (),
    ) -> Ended:
        """Record the end of a deletion, erase copies and write the last log line, in one step.

        Expired copies are erased too.

        Args:
            counted: number of items that the hourly cap counts from now on.
            facts: content of the last log line.
            erase: names; `u:alice` means all copies of that user. Every matching copy is erased, whoever made it,
                with the copied learnings from its interactions.
        """
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            _, begun = _began(transaction, number)
            transaction.execute(OVER, transaction.now)
            rows, names = self.copies.named(transaction, owner, erase) if erase else ([], set[str]())
            may_return = self.must_go.add(transaction, number, begun, rows)
            self.copies.remove(transaction, rows)
            line = {"event": "end", "deletion": number, "outcome": outcome, "copies_erased": len(rows)}
            if may_return:
                line |= {"outcome": "incomplete", "may_return": may_return}
            chain = self.log.add(transaction, line | dict(facts))
            transaction.execute(
                "UPDATE main.deletions SET finished = ?, outcome = ?, counted = ?, gone = ?, receipt = ?, "
                "erased_names = ?, chain = ?, ended = (SELECT max(id) FROM main.log) WHERE id = ?",
                transaction.now,
                outcome,
                counted,
                gone,
                self._keys.seal(receipt, f"receipt {number}"),
                " ".join(names),
                chain,
                number,
            )
        return Ended(chain, may_return)

    def last(
        self, owner: Owner, most: int = 20, number: int = 0, *, restorable: bool = False
    ) -> list[Deletion]:
        """Return the deletions of this account and user, or of every user, the newest first.

        A user's deletions include those by an operator that left copies of the user's data.

        Args:
            number: only this deletion.
            restorable: only deletions that left copies.
        """
        keys = self._keys
        users = keys.tags("user", owner.user)
        rows = self.database.read(
            "SELECT id, at, user_id, gone, finished, outcome, chain, restores, "
            "(SELECT count(*) FROM main.must_go WHERE erasure = deletions.id AND settled IS NULL), "
            "code, intention, receipt FROM main.deletions "
            "WHERE account IN ? AND (? OR user_id IN ? OR id IN (SELECT deletion FROM main.copies WHERE user_id IN ?)) "
            "AND ? IN (0, id) AND (? OR id IN (SELECT deletion FROM main.copies)) ORDER BY id DESC LIMIT ?",
            keys.tags("account", owner.account),
            not owner.user,
            users,
            users,
            number,
            not restorable,
            most,
        )
        return [
            Deletion(
                number,
                when,
                not owner.user or user in users,
                *facts,
                *json.loads(keys.open(intention, f"intention {code}")),
                receipt=keys.open(receipt, f"receipt {number}") if receipt else "",
            )
            for number, when, user, *facts, code, intention, receipt in rows
        ]

    def check(self) -> None:
        """Raise `StateUnusable` if the state cannot be written now."""
        with self.database.transaction() as transaction:
            for attempt in ATTEMPTS:
                transaction.execute(attempt)

    def prune(self) -> None:
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            transaction.execute(OVER, transaction.now)
            transaction.execute(
                "DELETE FROM main.deletions WHERE at <= ? AND id NOT IN (SELECT deletion FROM main.copies) "
                "AND id NOT IN (SELECT restore FROM main.must_go WHERE settled IS NULL)",
                transaction.now - RECORD_SECONDS,
            )
            transaction.execute(
                "DELETE FROM main.must_go WHERE settled IS NOT NULL "
                "AND restore NOT IN (SELECT id FROM main.deletions)"
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
        recent = transaction.execute(
            "SELECT at, counted FROM main.deletions WHERE caller IN ? AND at > ? ORDER BY at, id",
            self._keys.tags("caller", owner.account, owner.caller),
            transaction.now - HOUR,
        )
        room = left = max(0, self.limit - sum(counted for _, counted in recent))
        if number > room:
            wait = 0.0
            for at, counted in recent:
                if left < min(number, self.limit):
                    left += counted
                    wait = at + HOUR - transaction.now
            raise CapReached(self.limit, room, wait)
        return room


def _began(transaction: Transaction, number: int) -> tuple[float, int]:
    """Return the time at which a job began, and its first log line. Raises `StateUnusable` if its record is gone."""
    rows = transaction.execute("SELECT at, begun FROM main.deletions WHERE id = ?", number)
    if not rows:
        raise StateUnusable(*RECORD_GONE)
    return rows[0]
