"""The state: cap, deletions, restores, recovery copies and audit log.

A deletion begins with one transaction (cap, plan code, record, first log line) and ends with another one (receipt,
erasure, last log line). A restore is recorded like a deletion, so that an erasure beside it knows of it. Locks are
always taken in this order: cap, copies, log.
"""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, ParamSpec, TypeVar, cast

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from reflexio_mcp.metrics import count, count_refusal, record
from reflexio_mcp.state.copies import Copies
from reflexio_mcp.state.days import DAY, certain_day, days_seen, days_with_today, note_day, uptime
from reflexio_mcp.state.job_rows import (
    COLUMNS,
    IDENTITY,
    Intended,
    JobEnd,
    JobIdentity,
    JobRow,
    JobSeals,
)
from reflexio_mcp.state.judgements import Judgements
from reflexio_mcp.state.keys import KEY_ADVICE, KeyedDatabase, Keys, RowChanged
from reflexio_mcp.state.log import AuditLog, said_in
from reflexio_mcp.state.must_go import MustGoNotes, stored_tags
from reflexio_mcp.state.records import (
    CapReached,
    Claimed,
    CodeUsed,
    Copied,
    Deletion,
    ErasedBefore,
    Erasure,
    Intention,
    JobNumber,
    LearningDeed,
    LearningDeeds,
    LookAgain,
    MustGo,
    Name,
    Noted,
    NotKept,
    Outcome,
    Owner,
    RestoreIntention,
)
from reflexio_mcp.state.restores import GIVEN_UP_DAYS, jobs_not_over
from reflexio_mcp.state.tables import (
    BEHIND_ALL_LINES,
    Database,
    StateUnusable,
    Transaction,
    is_number,
    is_time,
)

__all__ = ["RECORD_DAYS", "State", "in_thread"]

HOUR: Final = 3_600.0

MAY_RUN_SECONDS: Final = HOUR
"""How long after its beginning a deletion without an end may still delete something."""

RECORD_DAYS: Final = 7
"""How long a deletion is recorded, unless its copies last longer."""

THREADS: Final = 8
"""Separate threads, so that other work does not delay a deletion."""

CLAIM_SECONDS: Final = 150.0
"""How long a job has learnings to itself besides the time of a call: to read them, and for a call without an answer to
take effect."""

CLAIM_IN_FORCE: Final = "claimed_until > ? AND (at <= ? OR seen >= ?)"
"""Whether the time of a claim is not over. Its parameters are the time, again the time, and the days of use with today.

A claim from the future was dated by a clock that was ahead: it counts until the state is in use on another day.
"""

RECORD_GONE: Final = (
    "the record of this deletion is gone",
    "find out who writes to the state, or whether it was restored from a backup",
)

ATTEMPTS: Final = (
    "UPDATE main.deletions SET gone = gone WHERE false",
    "DELETE FROM main.copies WHERE false",
    "DELETE FROM main.must_go WHERE false",
    "DELETE FROM main.judged WHERE false",
    "INSERT INTO main.log (line, chain) SELECT line, chain FROM main.log WHERE false",
)
"""Statements that need the rights on the tables that work changes; `Database.fits` compares those on all."""

DEEDS: Final = "learnings"
"""The part of a log line that says what was done to learnings."""

REPORTED: Final = "reported"
"""The event of a line that says until when a report tells."""

MOST_SEARCHED: Final = 20
"""How many lines of the log are looked through for each one that is returned: others are of other users."""

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
    began = time.perf_counter()
    try:
        return await anyio.to_thread.run_sync(partial(call, *arguments, **named), limiter=limiter)
    finally:
        record("reflexio_mcp.state.duration", time.perf_counter() - began)


class _Erased(NamedTuple):
    """What an erasure has removed.

    Args:
        copies: number of recovery copies.
        tags: of the names that it follows.
        may_return: number of items that a restore may have stored again, or may still store.
    """

    copies: int = 0
    tags: Collection[str] = ()
    may_return: int = 0


class Ended(NamedTuple):
    """The recorded end of a deletion.

    Args:
        chain: of its last log line.
        may_return: number of erased items that a restore may have stored again, or may still store.
    """

    chain: str
    may_return: int


class State:
    """The state that all processes with this database share. Its methods block: use `in_thread`.

    Every method raises `StateUnusable` if the state cannot be used.

    Args:
        secrets: returns the keys, the newest first.
        limit: items deleted per hour and caller; 0 for no cap.
        days: how long a recovery copy is kept.
        folder: where the end of the audit log is noted, outside the database; `None` for nowhere.
    """

    def __init__(
        self,
        database: Database,
        secrets: Callable[[], Sequence[bytes]],
        *,
        limit: int,
        days: int,
        folder: Path | None = None,
    ) -> None:
        self.limit = limit
        self._keys = Keys(secrets)
        self._seals = JobSeals(self._keys)
        self.database = KeyedDatabase(database, self._keys)
        self.copies = Copies(self.database, self._keys, days)
        self.must_go = MustGoNotes(self.database, self._keys, self.copies)
        self.log = AuditLog(self.database, self._keys, folder)
        self.judgements = Judgements(self.database, self._keys, self.log)

    def check_room(self, owner: Owner, number: int = 0) -> int | None:
        """Return how many items may be deleted now, or `None` for no cap. Raises `CapReached` if `number` is larger."""
        with self.database.transaction(writes=False) as transaction:
            return self._check_room(transaction, owner, number)

    def least_room(self, without: Collection[str] = ()) -> int | None:
        """Return how many items the caller that deleted most may still delete in this hour; `None` for no cap.

        Args:
            without: callers that have a cap of their own.
        """
        if not self.limit:
            return None
        with self.database.transaction(writes=False) as transaction:
            recent = self._recent(transaction)
        callers = self._callers(recent)
        counted = Counter[str]()
        # A caller has another tag under each key, so what a caller has deleted is added up under the newest of them.
        for job in recent:
            tag = job.identity.caller
            if tag in callers:
                account, caller = callers[tag]
                if caller in without:
                    continue
                tag = self._keys.tag("caller", account, caller)
            counted[tag] += job.items
        return max(0, self.limit - max(counted.values(), default=0))

    def _callers(self, recent: Sequence["CountedJob"]) -> dict[str, Sequence[str]]:
        """Return account and name of each caller, by each tag of the caller in these records."""
        callers: dict[str, Sequence[str]] = {}
        for job in recent:
            with suppress(RowChanged):
                if caller := self._seals.open_intention(job.identity, job.intention).caller:
                    callers[job.identity.caller] = caller
        return callers

    def begin(self, owner: Owner, intention: Intention) -> JobNumber:
        """Record a deletion: cap, plan code and first log line. Return its number.

        Raises:
            CapReached, CodeUsed, WrongKey: nothing was recorded.
        """
        # Without a code, a random one: the column is unique.
        codes = self._keys.tags("code", owner.account, intention.code or uuid.uuid4().hex)
        intended = Intended(
            intention.target,
            intention.number,
            intention.planned,
            intention.back,
            erases=dict(intention.erases),
            call=self._keys.tag("call", intention.call) if intention.call else "",
        )

        def first_line(number: int) -> dict[str, Any]:
            line = {"event": "begin", "deletion": number, "tool": intention.tool, "target": intention.target}
            return line | dict(intention.facts)

        with self.database.transaction() as transaction:
            self._keys.require(transaction)
            transaction.serialise("cap")
            if used := transaction.execute("SELECT id FROM main.deletions WHERE code IN ?", codes):
                raise CodeUsed(used[0][0])
            self._check_room(transaction, owner, intention.number)
            return self._insert(transaction, owner, codes[0], intended, first_line, counted=intention.number)

    def count_more(self, owner: Owner, job: JobNumber, number: int) -> bool:
        """Count further items of a running deletion against the cap. Return whether they fit; else none is counted."""
        with self.database.transaction() as transaction:
            transaction.serialise("cap")
            _start_of(transaction, job)
            try:
                self._check_room(transaction, owner, number)
            except CapReached:
                return False
            transaction.execute("UPDATE main.deletions SET counted = counted + ? WHERE id = ?", number, job)
        return True

    def note_back(self, number: JobNumber, learnings: Sequence[tuple[str, str]]) -> JobNumber:
        """Record further learnings that a running deletion makes current again.

        Args:
            learnings: id and user of each.

        Returns:
            The number of the changed record, which is needed from then on.
        """
        with self.database.transaction() as transaction:
            identity = _start_of(transaction, number).identity
            try:
                intended = self._seals.open_intention(identity, number.sealed)
            except RowChanged:  # its key was taken out meanwhile
                raise StateUnusable(*RECORD_GONE) from None
            back = [*intended.back, *learnings]
            sealed = self._seals.seal_intention(identity, intended._replace(back=back))
            transaction.execute("UPDATE main.deletions SET intention = ? WHERE id = ?", sealed, number)
        return JobNumber(number, sealed)

    def begin_restore(self, owner: Owner, intention: RestoreIntention) -> JobNumber:
        """Record a restore before it reads its copies. Return its number.

        An erasure either has removed those copies by then, or finds this record.

        Raises as `refuse_if_maybe_erased` does.
        """
        code = self._keys.tag("code", owner.account, uuid.uuid4().hex)
        intended = Intended(f"restore of deletion {intention.deletion}", intention.number, [])

        def first_line(number: int) -> dict[str, Any]:
            line = {"event": "restoring", "deletion": intention.deletion, "restore": number}
            return line | dict(intention.facts)

        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            self._refuse_if_maybe_erased(transaction, intention.deletion)
            return self._insert(
                transaction,
                owner,
                code,
                intended,
                first_line,
                restores=intention.deletion,
                stores_until=transaction.now + intention.seconds,
            )

    def refuse_if_maybe_erased(self, deletion: int) -> None:
        """Raise `StateUnusable` if an erasure that nobody can read may have removed the copies of a deletion.

        Lines of the log after the copies are missing: a backup may have been put back, which lacks the erasure. Or the
        record of an erasure after them was changed, or is sealed with a key that this server does not have.
        """
        with self.database.transaction(writes=False) as transaction:
            self._refuse_if_maybe_erased(transaction, deletion)

    def _refuse_if_maybe_erased(self, transaction: Transaction, deletion: int) -> None:
        if deletion in self._copies_before(transaction, self.log.last_gap(transaction)):
            raise StateUnusable(
                "the audit log lacks lines, so this copy may come from a backup and may have been erased since",
                "remove the copies of the backup, as docs/shared-server.md says",
            )
        if deletion in self._copies_before(transaction, self._last_unreadable_erasure(transaction)):
            raise StateUnusable(
                "the record of a later deletion that erased copies cannot be read, so it may have erased this copy",
                KEY_ADVICE,
            )

    def older_copies(self) -> int:
        """Count the copies, of whatever owner, that `refuse_if_maybe_erased` keeps from being restored."""
        with self.database.transaction(writes=False) as transaction:
            line = max(self.log.last_gap(transaction), self._last_unreadable_erasure(transaction))
            return self._copies_before(transaction, line).total()

    def _copies_before(self, transaction: Transaction, line: int) -> Counter[int]:
        """Count by deletion the copies that are not known to be newer than a line of the log; 0 for no line."""
        if not line:
            return Counter()
        recorded = transaction.execute("SELECT id, begun FROM main.deletions")
        newer = {number for number, begun in recorded if is_number(begun) and begun >= line}
        copied = transaction.execute("SELECT deletion FROM main.copies")
        return Counter(deletion for (deletion,) in copied if deletion not in newer)

    def _last_unreadable_erasure(self, transaction: Transaction) -> int:
        """Return the last log line of the newest erasure whose record these keys do not open; 0 if they open all.

        Its names are tags under a key that this server may not have, so nobody can compare them with those of a copy.
        """
        rows = transaction.execute(
            f"SELECT ended, intention, {IDENTITY} FROM main.deletions WHERE erased_names != '' ORDER BY ended DESC"  # noqa: S608
        )
        for ended, intention, *identity in rows:
            try:
                self._seals.open_intention(JobIdentity(*identity), intention)
            except RowChanged:
                return ended if is_number(ended) else BEHIND_ALL_LINES
        return 0

    def _insert(
        self,
        transaction: Transaction,
        owner: Owner,
        code: str,
        intended: Intended,
        first_line: Callable[[int], Mapping[str, Any]],
        *,
        counted: int = 0,
        restores: int = 0,
        stores_until: float | None = None,
    ) -> JobNumber:
        """Record a job, with its first log line, which is made of its number."""
        keys = self._keys
        note_day(transaction)
        [values] = transaction.execute(
            "INSERT INTO main.deletions "  # noqa: S608
            "(at, seen, boot, uptime, account, user_id, caller, code, counted, restores, stores_until) "
            f"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING {IDENTITY}",
            transaction.now,
            days_seen(transaction),
            *uptime(),
            keys.tag("account", owner.account),
            keys.tag("user", owner.user),
            keys.tag("caller", owner.account, owner.caller),
            code,
            counted,
            restores,
            stores_until,
        )
        job = JobIdentity(*values)
        chain = self.log.add(transaction, first_line(job.number))
        intended = intended._replace(first_chain=chain, caller=(owner.account, owner.caller))
        sealed = self._seals.seal_intention(job, intended)
        transaction.execute(
            "UPDATE main.deletions SET intention = ?, begun = (SELECT max(id) FROM main.log) WHERE id = ?",
            sealed,
            job.number,
        )
        return JobNumber(job.number, sealed)

    def keep(self, owner: Owner, number: JobNumber, copies: Sequence[Copied]) -> NotKept:
        """Keep copies of items before a deletion, but not of what an erasure has named."""
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            job = _start_of(transaction, number)
            not_kept = self.must_go.not_kept(transaction, owner, copies)
            left_out = not_kept.must_go | not_kept.partly
            kept = [copy for copy in copies if (copy.kind, copy.id) not in left_out]
            erased = self.copies.keep(transaction, owner, number, job.at, job.begun, job.seen, kept)
        return not_kept._replace(erased=erased)

    def erased_beside(self, owner: Owner, number: JobNumber, copies: Sequence[Copied]) -> set[str]:
        """Return the ids of what other deletions have erased since this one began."""
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            begun = _start_of(transaction, number).begun
            return {item_id for _, item_id in self.copies.erased_since(transaction, owner, begun, copies)}

    def claim(
        self,
        owner: Owner,
        number: JobNumber,
        learnings: Iterable[tuple[str, Name]],
        call_seconds: float,
        *,
        alone: bool,
        stores: bool = False,
    ) -> bool:
        """Claim learnings, by user and name, before they are read in order to be written.

        Reflexio overwrites a text without a comparison. So a correction claims its learning alone; restores and
        deletions share theirs. The claim ends with `release`, or `CLAIM_SECONDS` after the longest call.

        Args:
            call_seconds: how long a call that writes may take.
            stores: the job stores the learnings, so an erasure of them reckons with it until it is over.

        Returns:
            Whether another job shares one of them, or has never ended its claim on one: a call of it may still
            overwrite what this job writes.

        Raises:
            Claimed: another job has one of them to itself, or has one that this job wants for itself.
        """
        named = set(learnings)
        tags = [self._keys.tags("claim", owner.account, user, name) for user, name in named]
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            _start_of(transaction, number)
            wanted = {tag for under_each_key in tags for tag in under_each_key}
            others = _other_claims(transaction, number, wanted)
            if any(other.in_force and (alone or other.alone) for other in others):
                raise Claimed
            if stores:
                for user, name in named:
                    tags += stored_tags(self._keys, owner, user, [name])
            transaction.execute(
                "UPDATE main.deletions SET claims = claims || ?, claims_alone = ?, claimed_until = ? WHERE id = ?",
                "".join(f" {under_each_key[0]}" for under_each_key in tags),
                int(alone),
                transaction.now + call_seconds + CLAIM_SECONDS,
                number,
            )
        return bool(others)

    def release(self, number: JobNumber) -> None:
        """End the claims of a job, of which no call can still take effect.

        Those of a deletion stay in its row: an erasure that began before this deletion ends looks for them there
        (`MustGoNotes.add_claimed`).
        """
        with self.database.transaction() as transaction:
            transaction.execute(
                "UPDATE main.deletions SET claimed_until = 0, claims = CASE restores WHEN 0 THEN claims ELSE '' END "
                "WHERE id = ? AND intention = ?",
                number,
                number.sealed,
            )

    def last_line_number(self) -> int:
        """Return the number of the last log line, for `restored_since`."""
        return self.database.read("SELECT coalesce(max(id), 0) FROM main.log")[0][0]

    def restored_since(self, line: int) -> set[int]:
        """Return the numbers of the deletions of which a restore may have stored something after a log line."""
        with self.database.transaction(writes=False) as transaction:
            ended = transaction.execute(
                "SELECT restores FROM main.deletions WHERE restores > 0 AND ended > ?", line
            )
            return {*jobs_not_over(transaction).deletions, *(number for (number,) in ended)}

    def note_held(self, owner: Owner, target: str, held: Sequence[str], number: int) -> None:
        """Log how many items each hold kept from a deletion.

        Args:
            number: of items that all holds kept.
        """
        count_refusal("hold")
        count("reflexio_mcp.held", "held items", number)
        self._note(owner, {"event": "held", "target": target, "held": held})

    def note_export(self, owner: Owner, target: str, counts: Mapping[str, int]) -> None:
        """Log what an export contains."""
        self._note(owner, {"event": "exported", "target": target, "counts": dict(counts)})

    def note_import(self, owner: Owner, stored: Sequence[Copied], counts: Mapping[str, int]) -> ErasedBefore:
        """Log what an import has stored, and return what had been erased of it."""
        with self.database.transaction(writes=False) as transaction:
            erased = self.copies.erased_before(transaction, owner, stored)
        line = {
            "event": "imported",
            "target": "export",
            "counts": dict(counts),
            "ids": [item.id for item in stored],
            "erased_by": erased.deletions,
        }
        self._note(owner, line)
        return erased

    def note_report(self, owner: Owner, until: int) -> None:
        """Log that a report tells of everything until a time."""
        self._note(owner, {"event": REPORTED, "until": until})

    def last_reported(self, owner: Owner) -> int | None:
        """Return the time until which the last report of this account and user tells; `None` without one."""
        accounts = self._keys.accounts(owner)
        rows = self.database.read(
            "SELECT line FROM main.log WHERE line LIKE ? ORDER BY id DESC", f'%"event": "{REPORTED}"%'
        )
        for (line,) in rows:
            said = said_in(line)
            ours = said.get("account") in accounts and said.get("user_id") == owner.user
            if ours and isinstance(until := said.get("until"), int):
                return until
        return None

    def note_refusal(self, owner: Owner, tool: str, target: str, why: str, client: str) -> None:
        """Log that a person who was asked did not agree.

        Args:
            why: `declined`, `unanswered` or `wrong_number`.
            client: the program that asked.
        """
        self._note(owner, {"event": "refused", "tool": tool, "target": target, "why": why, "client": client})

    def _note(self, owner: Owner, line: Mapping[str, Any]) -> None:
        account = self._keys.tag("account", owner.account)
        with self.database.transaction() as transaction:
            self._keys.note_first_key(transaction)
            self.log.add(transaction, {**line, "user_id": owner.user, "account": account})

    def noted(
        self,
        owner: Owner,
        most: int = 10,
        *,
        events: Sequence[str] = ("exported", "imported", "refused", "held"),
        since: float = 0,
    ) -> list[Noted]:
        """Return the last lines of the log about some events, the newest first.

        An owner that is a user gets only lines about that user. The event of a hold that kept something is `held`.
        """
        accounts = self._keys.accounts(owner)
        are_of_events = " OR ".join("line LIKE ?" for _ in events)
        rows = self.database.read(
            f"SELECT at, line FROM main.log WHERE at >= ? AND ({are_of_events}) ORDER BY id DESC LIMIT ?",  # noqa: S608
            since,
            *(f'%"event": "{event}"%' for event in events),
            most * MOST_SEARCHED,
        )
        found = [Noted(_time(at), line) for at, line in rows if _is_of(line, owner.user, accounts)]
        return found[:most]

    def learning_deeds(self, owner: Owner, since: float) -> list[LearningDeed]:
        """Return what was done to learnings, the oldest first.

        An owner that is a user gets what was done to this user's learnings, whoever did it.
        """
        accounts = self._keys.accounts(owner)
        rows = self.database.read(
            "SELECT at, line FROM main.log WHERE at >= ? AND line LIKE ? ORDER BY id",
            since,
            f'%"{DEEDS}": {{%',
        )
        return [
            deed
            for at, text in rows
            if (line := said_in(text)).get("account") in accounts
            for deed in _deeds_in(_time(at), line)
            if owner.user in ("", deed.user)
        ]

    def restored_ids(self, owner: Owner) -> set[str]:
        """Return the ids, as in the copies, of what restores have stored, as long as they are recorded.

        A restored playbook has another id than its copy.
        """
        rows = self.database.read(
            "SELECT line FROM main.log WHERE id IN "
            "(SELECT ended FROM main.deletions WHERE restores > 0 AND account IN ?)",
            self._keys.accounts(owner),
        )
        lines = (said_in(line).get("ids") for (line,) in rows)
        return {item_id for ids in lines if isinstance(ids, list) for item_id in cast("list[str]", ids)}

    def must_go_of(self, owner: Owner, number: JobNumber) -> list[MustGo]:
        """Return the open must-go notes of every restore, and the settled ones of this running restore.

        Raises:
            StateUnusable: its record is gone, so no erasure knows of it; or a note of it cannot be unsealed.
        """
        with self.database.transaction(writes=False) as transaction:
            _start_of(transaction, number)
        return self.must_go.waiting(owner, number)

    def note_taken_out(self, absent: Sequence[MustGo], gone: Sequence[MustGo]) -> None:
        """Log what was deleted again, and settle the must-go notes of `absent`, whose items are not stored."""
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            settled = self.must_go.settle(transaction, {note.number for note in absent})
            self.copies.expire(transaction)
            if gone or settled:
                line = {
                    "event": "erased_again",
                    "restores": sorted({note.restore for note in absent}),
                    "ids": sorted({note.id for note in gone}),
                    "settled": sorted(settled),
                }
                self.log.add(transaction, line)

    def finish_restore(
        self,
        owner: Owner,
        number: JobNumber,
        *,
        outcome: Literal["complete", "incomplete"],
        back: int,
        all_of_it: bool,
        facts: Mapping[str, Any],
        absent: Collection[int] | None,
        deeds: LearningDeeds | None = None,
    ) -> bool:
        """Record the end of a restore, unless an erasure has left must-go notes whose items it has to look for first.

        The record of the restored deletion then says whether everything is back, also of other users.

        Args:
            number: of the restore.
            back: number of items that it has stored.
            all_of_it: whether all that its deletion removed is stored.
            facts: content of the last log line.
            absent: numbers of the must-go notes whose items are not stored. `None` if that is not known, or if
                something may still be stored; then erasures go on to reckon with this restore.
            deeds: what it has done to learnings.

        Returns:
            Whether the end is recorded.
        """
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            job = _start_of(transaction, number).identity
            if absent is not None and self.must_go.has_others(transaction, owner, number, absent):
                return False
            deletion = job.restores
            line = {"event": "restored", "deletion": deletion, "restore": number, "outcome": outcome}
            chain = self.log.add(transaction, line | dict(facts) | self._deeds(owner, deeds))
            finished = None if absent is None else transaction.now
            self._end(transaction, job, JobEnd(outcome, back, finished, chain))
            self.must_go.settle(transaction, absent or ())
            self.copies.expire(transaction)
            if back > 0 or all_of_it:
                self._note_restored(transaction, owner, deletion, all_of_it=all_of_it)
        return True

    def _note_restored(
        self, transaction: Transaction, owner: Owner, deletion: int, *, all_of_it: bool
    ) -> None:
        """Note that a restore by this owner has stored items of a deletion, or all of the owner's items."""
        others = transaction.execute(
            "SELECT 1 FROM main.copies WHERE deletion = ? AND NOT (? OR user_id IN ?) LIMIT 1",
            deletion,
            not owner.user,
            self._keys.tags("user", owner.user),
        )
        outcome: Outcome = "restored" if all_of_it and not others else "partly_restored"
        # A deletion that did not finish stays so for `last_unfinished`, until all of it is restored.
        final = ["restored"] if outcome == "restored" else ["restored", "", "incomplete"]
        rows = transaction.execute(
            f"SELECT {COLUMNS} FROM main.deletions WHERE id = ? AND outcome NOT IN ?",  # noqa: S608
            deletion,
            final,
        )
        for row in map(JobRow.of, rows):
            with suppress(RowChanged):  # a row that was changed stays as it is
                transaction.execute(
                    "UPDATE main.deletions SET outcome = ?, receipt = ? WHERE id = ?",
                    outcome,
                    self._seals.with_outcome(row, outcome),
                    deletion,
                )

    def _end(self, transaction: Transaction, job: JobIdentity, end: JobEnd) -> None:
        """Record the end of a job, of which the last log line has been added."""
        transaction.execute(
            "UPDATE main.deletions SET outcome = ?, gone = ?, finished = ?, chain = ?, receipt = ?, "
            "ended = (SELECT max(id) FROM main.log) WHERE id = ?",
            *end.in_columns,
            self._seals.seal_end(job, end),
            job.number,
        )

    def finish(
        self,
        owner: Owner,
        number: JobNumber,
        *,
        outcome: Outcome,
        counted: int,
        gone: int,
        receipt: str,
        facts: Mapping[str, Any],
        erasure: Erasure | None = None,
        later_copies: int = 0,
        holds_are_same: Callable[[], bool] = lambda: True,
        deeds: LearningDeeds | None = None,
    ) -> Ended:
        """Record the end of a deletion, erase copies and write the last log line, in one step.

        Expired copies are erased too.

        Args:
            later_copies: how many copies the receipt says that the erasure leaves (`Copies.count_later`).
            holds_are_same: whether the holds are those under which the erasure was found to be allowed. It is asked
                once the lock is held, because waiting for the lock can take a while.
            counted: number of items that the hourly cap counts from now on.
            facts: content of the last log line.
            deeds: what it has done to learnings.

        Raises:
            LookAgain: nothing was recorded or erased.
        """
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            if erasure and not holds_are_same():
                raise LookAgain
            job = _start_of(transaction, number)
            self.copies.expire(transaction)
            erased = self._erase(transaction, owner, number, job.begun, erasure, later_copies)
            line = {"event": "end", "deletion": number, "outcome": outcome, "copies_erased": erased.copies}
            if erased.may_return:
                # Only the line says so. The record keeps its outcome: `last` counts what may still return.
                line |= {"outcome": "incomplete", "may_return": erased.may_return}
            chain = self.log.add(transaction, line | dict(facts) | self._deeds(owner, deeds))
            self._end(transaction, job.identity, JobEnd(outcome, gone, transaction.now, chain, receipt))
            transaction.execute(
                "UPDATE main.deletions SET counted = ?, erased_names = ? WHERE id = ?",
                counted,
                " ".join(erased.tags),
                number,
            )
        return Ended(chain, erased.may_return)

    def _deeds(self, owner: Owner, deeds: LearningDeeds | None) -> dict[str, Any]:
        """Return the part of a last log line that `learning_deeds` finds, also when the record is gone."""
        return {"account": self._keys.tag("account", owner.account), DEEDS: deeds} if deeds else {}

    def _erase(
        self,
        transaction: Transaction,
        owner: Owner,
        number: int,
        begun: int,
        erasure: Erasure | None,
        later_copies: int,
    ) -> _Erased:
        """Erase copies. Raises `LookAgain` before that if another number of copies than `later_copies` stays."""
        if not erasure or not erasure.names:
            return _Erased()
        rows, tags, later = self.copies.removal_of(transaction, owner, erasure)
        if later != later_copies:
            raise LookAgain
        noting = self.must_go.add(transaction, owner, number, begun, rows, erasure)
        notes_of_claims = self.must_go.add_claimed(
            transaction, owner, number, begun, erasure.learnings, erasure.means
        )
        self.copies.remove(transaction, rows, noting.partly_named)
        return _Erased(len(rows), tags, noting.notes + notes_of_claims)

    def may_run(self, number: int) -> bool:
        """Whether a deletion has no end on record and may still delete something.

        Processes that share a file have clocks of their own, so there only the days count on which the state was used.
        """
        with self.database.transaction(writes=False) as transaction:
            rows = transaction.execute(
                # `outcome` does not tell whether a deletion has ended: a restore of it may have noted one already.
                "SELECT at, seen FROM main.deletions WHERE id = ? AND finished IS NULL",
                number,
            )
            if not rows:
                return False
            [(at, seen)] = rows
            if self.database.has_clock:
                return at > transaction.now - MAY_RUN_SECONDS
            # Of a row that was changed nobody knows when the deletion began.
            return not is_number(seen) or seen > days_seen(transaction) - GIVEN_UP_DAYS

    def last(
        self, owner: Owner, most: int = 20, number: int = 0, *, restorable: bool = False
    ) -> list[Deletion]:
        """Return the deletions and restores of this account and user, or of every user, the newest first.

        A user's deletions include those by an operator that left copies of the user's data.

        Args:
            number: only this deletion or restore.
            restorable: only deletions that left copies.
        """
        users = self._keys.tags("user", owner.user)
        return self._recorded(
            owner,
            "(? OR user_id IN ? OR id IN (SELECT deletion FROM main.copies WHERE user_id IN ?)) "
            "AND ? IN (0, id) AND (? OR id IN (SELECT deletion FROM main.copies)) ORDER BY id DESC LIMIT ?",
            not owner.user,
            users,
            users,
            number,
            not restorable,
            most,
        )

    def last_unfinished(self, owner: Owner, call: str) -> Deletion | None:
        """Return the last deletion of this account and user, or of every user, by the same call, if it did not finish.

        Args:
            call: as in its `Intention`.
        """
        tags = self._keys.tags("call", call)
        of_owner = "(? OR user_id IN ?) AND restores = 0 AND {} ORDER BY id DESC"
        users = (not owner.user, self._keys.tags("user", owner.user))
        # The outcome is empty as long as no end is recorded.
        unfinished = self._recorded(owner, of_owner.format("outcome IN ('', 'incomplete')"), *users)
        last = next((record for record in unfinished if record.call in tags), None)
        if last is None:
            return None
        later = self._recorded(owner, of_owner.format("id > ?"), *users, last.number)
        return None if any(record.call in tags for record in later) else last

    def _recorded(self, owner: Owner, condition: str, *parameters: Any) -> list[Deletion]:
        """Return the deletions and restores of an account that meet a condition, in its order."""
        rows = self.database.read(
            f"SELECT (SELECT count(*) FROM main.must_go WHERE erasure = deletions.id AND settled IS NULL), {COLUMNS} "  # noqa: S608
            f"FROM main.deletions WHERE account IN ? AND {condition}",
            self._keys.accounts(owner),
            *parameters,
        )
        users = self._keys.tags("user", owner.user)
        found: list[Deletion] = []
        for may_return, *values in rows:
            row = JobRow.of(values)
            own = not owner.user or row.identity.user in users
            deletion = self._seals.read(row, own=own, may_return=may_return)
            line_changed = bool(deletion.began) and not said_in(deletion.began)
            found.append(deletion._replace(damaged=deletion.damaged or line_changed))
        return found

    def check(self) -> None:
        """Raise `StateUnusable` if the state cannot be written now."""
        with self.database.unkeyed.transaction() as transaction:
            # Again, because another server may have begun with a newer key.
            self._keys.compare(transaction, notes=False)
            for attempt in ATTEMPTS:
                transaction.execute(attempt)

    def prune(self) -> None:
        """Remove copies that are over, and records and notes that are old and that nothing needs any more."""
        # Somebody may put back the row of a copy that an erasure has removed. So the erasure stays on record at least
        # as long as the copy could last.
        days_of_erasures = max(RECORD_DAYS, self.copies.days)
        with self.database.transaction() as transaction:
            transaction.serialise("copies")
            note_day(transaction)
            self.copies.expire(transaction)
            transaction.execute(
                "DELETE FROM main.deletions "
                "WHERE ((erased_names = '' AND at <= ? AND seen <= ?) OR (at <= ? AND seen <= ?)) "
                "AND id NOT IN (SELECT deletion FROM main.copies) "
                "AND id NOT IN (SELECT restore FROM main.must_go WHERE settled IS NULL) "
                # An erasure stays on record as long as there are copies that it would have removed.
                "AND (erased_names = '' OR ended <= coalesce((SELECT min(begun) FROM main.deletions AS kept "
                "WHERE kept.id IN (SELECT deletion FROM main.copies)), ended))",
                transaction.now - RECORD_DAYS * DAY,
                days_seen(transaction) - RECORD_DAYS,
                transaction.now - days_of_erasures * DAY,
                days_seen(transaction) - days_of_erasures,
            )
            transaction.execute(
                "DELETE FROM main.must_go WHERE settled IS NOT NULL "
                "AND restore NOT IN (SELECT id FROM main.deletions)"
            )

    def certain_day(self) -> date:
        """Return the last day that something besides this machine's clock confirms.

        Notes that the state is in use today.
        """
        with self.database.transaction() as transaction:
            note_day(transaction)
            return certain_day(transaction, has_clock=self.database.has_clock)

    async def keep_pruned(self) -> None:
        """Prune now and every hour, until cancelled."""
        while True:
            with suppress(StateUnusable):
                await in_thread(self.prune)
            await anyio.sleep(HOUR)

    def _check_room(self, transaction: Transaction, owner: Owner, number: int) -> int | None:
        if not self.limit:
            return None
        recent = self._recent(transaction, self._keys.tags("caller", owner.account, owner.caller))
        room = max(0, self.limit - sum(job.items for job in recent))
        if number > room:
            count_refusal("cap")
            raise CapReached(self.limit, room, self._wait_for_room(recent, min(number, self.limit)))
        return room

    def _wait_for_room(self, recent: Sequence["CountedJob"], number: int) -> float:
        """Return in how many seconds enough of the recent deletions have stopped counting for `number` items to fit."""
        room, wait = self.limit - sum(job.items for job in recent), 0.0
        for job in recent:
            if room >= number:
                break
            room += job.items
            wait = job.seconds
        return wait

    def _recent(self, transaction: Transaction, callers: Sequence[str] = ()) -> list["CountedJob"]:
        """Return the deletions of the last hour, those first that stop counting first.

        The uptime of this machine tells the age of what it has recorded since it started. A deletion from the future
        was dated by a clock that was ahead: it counts until the state is in use on another day.

        Args:
            callers: the tags of one caller, under each key; none for all callers.
        """
        now, days, running = transaction.now, days_with_today(transaction), uptime()
        of_callers = "caller IN ? AND" if callers else ""
        rows = transaction.execute(
            f"SELECT at, seen, boot, uptime, counted, intention, {IDENTITY} FROM main.deletions "  # noqa: S608
            f"WHERE {of_callers} (at > ? OR (boot = ? AND boot != '' AND uptime > ?))",
            *([[*callers]] if callers else []),
            now - HOUR,
            running.boot,
            running.seconds - HOUR,
        )
        recent: list[CountedJob] = []
        for at, seen, boot, uptime_then, counted, intention, *values in rows:
            if not (is_time(at) and is_number(seen) and is_time(uptime_then)):
                seconds = HOUR  # a row that was changed: nobody knows when it began
            elif boot and boot == running.boot:
                seconds = uptime_then + HOUR - running.seconds
            elif at > now:
                seconds = DAY - now % DAY if seen >= days else 0.0
            else:
                seconds = at + HOUR - now
            if seconds > 0:
                identity = JobIdentity(*values)
                recent.append(
                    CountedJob(seconds, self._counted(counted, identity, intention), identity, intention)
                )
        return sorted(recent, key=lambda job: job.seconds)

    def _counted(self, counted: Any, job: JobIdentity, intention: Any) -> int:
        """Return what a deletion counts against the cap: for a row that was changed, what it meant to delete."""
        if isinstance(counted, int) and counted >= 0:
            return counted
        try:
            return self._seals.open_intention(job, intention).asked
        except RowChanged:
            return self.limit


class CountedJob(NamedTuple):
    """A deletion that counts against the cap.

    Args:
        seconds: for how many more seconds it counts.
        items: how many items it counts.
    """

    seconds: float
    items: int
    identity: JobIdentity
    intention: Any


def _time(value: Any) -> float:
    return value if is_time(value) else 0.0


def _deeds_in(at: float, line: Mapping[str, Any]) -> list[LearningDeed]:
    """Return what a line says was done to learnings; nothing if it was changed into something else."""
    try:
        job = line.get("restore") or line["deletion"]
        deeds: LearningDeeds = line[DEEDS]
        return [
            LearningDeed(at, job, user, deed, learning_id)
            for user, of_user in deeds.items()
            for deed, ids in of_user.items()
            for learning_id in ids
        ]
    except (AttributeError, KeyError, TypeError, ValueError):
        return []


def _is_of(line: str, user: str, accounts: Sequence[str]) -> bool:
    said = said_in(line)
    return said.get("account") in accounts and user in ("", said.get("user_id"))


class OtherClaim(NamedTuple):
    """A claim of another job on learnings that a job wants.

    Args:
        in_force: its time is not over.
        alone: the other job has them to itself.
    """

    in_force: bool
    alone: bool


def _other_claims(transaction: Transaction, number: JobNumber, wanted: Container[str]) -> list[OtherClaim]:
    """Return the claims of other jobs, with one of these tags, that are in force or whose job is not over."""
    in_force = (transaction.now, transaction.now, days_with_today(transaction))
    rows = transaction.execute(
        f"SELECT claims, {CLAIM_IN_FORCE}, claims_alone > 0 FROM main.deletions "  # noqa: S608
        f"WHERE id != ? AND claims != '' AND ({CLAIM_IN_FORCE} OR id IN ?)",
        *in_force,
        number,
        *in_force,
        jobs_not_over(transaction).jobs,
    )
    return [
        OtherClaim(bool(is_in_force), bool(is_alone))
        for claims, is_in_force, is_alone in rows
        if any(tag in wanted for tag in claims.split())
    ]


class JobStart(NamedTuple):
    """Which job it is, and when it began: the time, its first log line, and how many days the state had seen."""

    identity: JobIdentity
    at: float
    begun: int
    seen: int


def _start_of(transaction: Transaction, number: JobNumber) -> JobStart:
    """Return when a job began. Raises `StateUnusable` if its record is gone, also if another one has its number now."""
    rows = transaction.execute(
        f"SELECT at, begun, seen, {IDENTITY} FROM main.deletions WHERE id = ? AND intention = ?",  # noqa: S608
        number,
        number.sealed,
    )
    if not rows:
        raise StateUnusable(*RECORD_GONE)
    at, begun, seen, *identity = rows[0]
    if not (is_time(at) and is_number(begun) and is_number(seen)):
        raise StateUnusable(*RECORD_GONE)
    return JobStart(JobIdentity(*identity), at, begun, seen)
