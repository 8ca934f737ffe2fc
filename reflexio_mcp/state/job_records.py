"""Deletions that were promised, in every process that shares them: who works on them, and what came of them.

A process that works on a job says so again and again. Where it falls silent its lease runs out, and another process
may claim the job, if what was promised can be done by another one. Everything here blocks and runs in worker threads.
"""

import hashlib
import json
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from reflexio_mcp.state.audit_log import Entry
from reflexio_mcp.state.database import StateDatabase, Transaction

__all__ = ["LEASE_SECONDS", "TOLD_SECONDS", "JobRecord", "JobRecords", "JobState", "KeptIds", "Promise"]

LEASE_SECONDS: Final = 60.0
"""A process that said nothing about a job for so long has ended."""

TOLD_SECONDS: Final = 7 * 86_400.0
"""For how long a job is told, its ids are kept, and an unfinished one is gone on with."""

REMEMBERED: Final = 50
"""Finished jobs that are kept for each owner."""

MOST_REMEMBERED: Final = 1000
"""Finished jobs that are kept for all owners. Beyond it the caller with the most loses its oldest, so that nobody can
crowd out another."""

TRIES: Final = 3
"""Processes that may work on a job: what ended so many of them would end the next one too."""

JobState = Literal["running", "done", "failed", "stopped"]

TURNS_OF: Final = "interactions of"
"""What the target of a deletion of interactions begins with: the ids on its record are no requests'."""

_ANSWERED: Final = "answered"
"""The state of a job whose caller has its receipt, kept for the ids that the receipt left out."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is known of one job.

    Args:
        key: what the other methods take.
        number: counts the jobs of its owner.
        what: what is deleted, in words.
        follows: it goes on after a deletion.
        began: epoch seconds.
        state: `stopped` where its process ended before it was through.
        told: what came of it, as `end` got it; empty before.
        order: what another process needs to go on with it; empty where none can.
    """

    key: int
    number: int
    what: str
    follows: bool
    state: JobState
    told: str = ""
    order: str = ""
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class KeptIds:
    """All ids of a receipt.

    Args:
        what: what was deleted, in words.
        began: epoch seconds.
        ids: as `end` got them.
    """

    what: str
    began: float
    ids: str


class JobRecords:
    """The jobs of every process that shares the database. Every method raises `OSError` where it cannot be used.

    Args:
        account: what tells the owners of one backend and key from those of another; it is not stored as it is.
    """

    def __init__(self, database: StateDatabase, account: str = "") -> None:
        self._database = database
        self._account = account
        self._worker = secrets.token_hex(8)

    def add(
        self, owner: str, caller: str, what: str, *, tool: str = "", order: str = "", follows: bool = False
    ) -> JobRecord:
        """Record a job that this process begins.

        Args:
            owner: who sees it.
            caller: whose share of what is kept it takes.
            tool: the tool that was called.
            order: what another process needs to go on with it, or empty.
        """
        whose, of_caller = self._digest("owner", owner), self._digest("caller", caller)
        with self._database.transaction() as transaction:
            now = transaction.now
            # Two jobs of an owner never have the same number.
            transaction.serialise(f"jobs {whose}")
            counted = transaction.execute(
                "SELECT coalesce(max(number), 0) FROM jobs WHERE owner = ?", (whose,)
            )
            number = counted.fetchone()[0] + 1
            # After it is counted: an owner's own next job does not take the number of one that goes now.
            transaction.execute(
                "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE began < ? AND alive < ? "
                "FOR UPDATE SKIP LOCKED)",
                (now - TOLD_SECONDS, now),
            )
            added = transaction.execute(
                "INSERT INTO jobs (account, owner, caller, number, what, follows, tool, job_order, state, worker, "
                "began, alive) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, ?, ?) RETURNING id",
                (
                    *(self._digest("account"), whose, of_caller, number, what, int(follows), tool, order),
                    *(self._worker, now, now + LEASE_SECONDS),
                ),
            )
            key = added.fetchone()[0]
            self._make_room(transaction, whose)
            return JobRecord(key, number, what, follows, "running", order=order, began=now)

    def keep(self, key: int) -> bool:
        """Say that this process still works on a job, and return whether it is its own: another may have claimed it."""
        with self._database.transaction() as transaction:
            kept = transaction.execute(
                "UPDATE jobs SET alive = ? WHERE id = ? AND worker = ?",
                (transaction.now + LEASE_SECONDS, key, self._worker),
            )
            return kept.rowcount > 0

    def holds(self, key: int) -> bool:
        """Return whether a job is this process's now, for at least half a lease, by the clock that all share."""
        with self._database.transaction() as transaction:
            row = transaction.execute(
                "SELECT alive FROM jobs WHERE id = ? AND worker = ?", (key, self._worker)
            ).fetchone()
            if row is None:
                return False
            if row[0] >= transaction.now + LEASE_SECONDS / 2:
                return True
        return self.keep(key)

    def end(self, key: int, state: JobState, told: str, ids: str = "") -> None:
        """Record what came of a job, unless another process has claimed it or its caller has its receipt.

        Args:
            ids: all ids of its receipt, as `ids_of` gives them.
        """
        with self._database.transaction() as transaction:
            transaction.execute(
                "UPDATE jobs SET state = ?, told = ?, ids = ?, job_order = '', alive = 0 WHERE id = ? AND worker = ? "
                "AND state != ?",
                (state, told, ids, key, self._worker, _ANSWERED),
            )

    def answered(self, key: int) -> None:
        """Tell no more of a job whose caller has its receipt, and keep the ids that it left out."""
        with self._database.transaction() as transaction:
            transaction.execute(
                "UPDATE jobs SET state = ?, told = ? WHERE id = ? AND worker = ?",
                # An earlier version, which tells of it, then says no more than that.
                (_ANSWERED, '[[[""], {}]]', key, self._worker),
            )

    def forget(self, key: int) -> None:
        """Remove a job."""
        with self._database.transaction() as transaction:
            transaction.execute("DELETE FROM jobs WHERE id = ? AND worker = ?", (key, self._worker))

    def of(self, owner: str) -> list[JobRecord]:
        """The jobs of one owner, the newest first."""
        if not self._database.exists():
            return []
        with self._database.transaction() as transaction:
            now = transaction.now
            rows = transaction.execute(
                "SELECT id, number, what, follows, CASE WHEN state = 'running' AND alive < ? THEN 'stopped' ELSE state "
                "END, told, CASE WHEN tries < ? THEN job_order ELSE '' END, began FROM jobs WHERE owner = ? AND "
                "state != ? AND (began >= ? OR alive >= ?) ORDER BY number DESC",
                (now, TRIES, self._digest("owner", owner), _ANSWERED, now - TOLD_SECONDS, now),
            ).fetchall()
        return [_record(row) for row in rows]

    def ids_of(self, owner: str, number: int) -> KeptIds | None:
        """All ids of a receipt; `None` where they are not kept, or not any more."""
        if not self._database.exists():
            return None
        with self._database.transaction() as transaction:
            row = transaction.execute(
                "SELECT what, began, ids FROM jobs WHERE owner = ? AND number = ? AND began >= ? AND ids != ''",
                (self._digest("owner", owner), number, transaction.now - TOLD_SECONDS),
            ).fetchone()
        return KeptIds(*row) if row else None

    def deleted_before(self, owner: str, ids: Collection[str]) -> tuple[int, float] | None:
        """The newest deletion of requests of an owner that is still on record with all of these ids as deleted.

        Args:
            ids: those of requests. A learning or an interaction may have the same.

        Returns:
            Its number, and when it began in epoch seconds; `None` where there is none.
        """
        if not ids or not self._database.exists():
            return None
        with self._database.transaction() as transaction:
            rows = transaction.execute(
                "SELECT number, began, what, ids FROM jobs WHERE owner = ? AND began >= ? AND ids != '' AND "
                "tool IN ('delete_request', 'delete_session', 'delete_requests') ORDER BY number DESC",
                (self._digest("owner", owner), transaction.now - TOLD_SECONDS),
            ).fetchall()
        for number, began, what, kept in rows:
            if not what.startswith(TURNS_OF) and set(ids) <= set(json.loads(kept).get("deleted", ())):
                return number, began
        return None

    def claim(
        self, tools: Collection[str], owner: str | None = None, without: Collection[int] = ()
    ) -> JobRecord | None:
        """Take over a job whose process has ended; no other process gets it too.

        Args:
            tools: the tools that this process may use.
            owner: whose jobs; those of all owners of this account when `None`.
            without: the keys of jobs that are passed over.
        """
        if not self._database.exists():
            return None
        whose = () if owner is None else (self._digest("owner", owner),)
        chosen = f"tool IN ({', '.join('?' * len(tools))}){' AND owner = ?' if whose else ''}"
        if without:
            chosen += f" AND id NOT IN ({', '.join('?' * len(without))})"
        with self._database.transaction() as transaction:
            now = transaction.now
            row = transaction.execute(
                "SELECT id, number, what, follows, state, told, job_order, began FROM jobs WHERE account = ? AND "  # noqa: S608
                "state = 'running' AND alive < ? AND began >= ? AND job_order != '' AND tries < ? AND "
                + chosen
                + " ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
                (self._digest("account"), now, now - TOLD_SECONDS, TRIES, *tools, *whose, *without),
            ).fetchone()
            if row is None:
                return None
            transaction.execute(
                "UPDATE jobs SET worker = ?, alive = ?, tries = tries + 1 WHERE id = ?",
                (self._worker, now + LEASE_SECONDS, row[0]),
            )
        return _record(row)

    def _make_room(self, transaction: Transaction, owner: str) -> None:
        transaction.execute(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE owner = ? AND state != 'running' AND id NOT IN "
            "(SELECT id FROM jobs WHERE owner = ? ORDER BY CASE WHEN state = ? THEN 1 ELSE 0 END, number DESC LIMIT ?) "
            "FOR UPDATE SKIP LOCKED)",
            # Here and below, a receipt that nobody has read stays longer than the ids of one that somebody has.
            (owner, owner, _ANSWERED, REMEMBERED),
        )
        if transaction.execute("SELECT count(*) FROM jobs").fetchone()[0] <= MOST_REMEMBERED:
            return
        # By the key: a caller that names many users has no more than one that names one.
        transaction.execute(
            "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE id = (SELECT id FROM jobs WHERE state != "
            "'running' AND caller = (SELECT caller FROM jobs WHERE state != 'running' GROUP BY caller ORDER BY "
            "count(*) DESC LIMIT 1) ORDER BY CASE WHEN state = ? THEN 0 ELSE 1 END, id LIMIT 1) "
            "FOR UPDATE SKIP LOCKED)",
            (_ANSWERED,),
        )

    def _digest(self, *parts: str) -> str:
        named = "\0".join(("job", self._account, *parts))
        return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Promise:
    """A follow-up of a deletion that is on record, in the audit log and among the jobs, and has not ended.

    Args:
        jobs: where every process looks for it.
        record: how it is known there.
        entry: its entry in the audit log, if there is one.
    """

    jobs: JobRecords
    record: JobRecord
    entry: Entry | None

    def end(self, outcome: str, **facts: Any) -> None:
        """Note how it ended, `interrupted` when it was not through. What it found is noted by its job."""
        if self.entry:
            self.entry.close(outcome, **facts)
        if outcome == "interrupted":
            with suppress(OSError):
                self.jobs.end(self.record.key, "stopped", "")


def _record(row: tuple[int, int, str, int, JobState, str, str, float]) -> JobRecord:
    key, number, what, follows, state, told, order, began = row
    return JobRecord(key, number, what, bool(follows), state, told, order, began)
