"""The audit log: a line before and after each deletion and restore, and lines about holds, exports and the like.

The chain value of a line is a keyed digest of the line, and of the number, time and chain value of the line before it.
So a changed or removed line is found. The last line is noted in a second place, a file of this machine, so lines that
are cut off at the end are found too, and so is a log that was emptied or removed. Receipts contain chain values, too.
"""

import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from reflexio_mcp import private_files
from reflexio_mcp.logs import audited_call
from reflexio_mcp.state.job_rows import COLUMNS, JobRow, JobSeals
from reflexio_mcp.state.keys import KeyedDatabase, Keys, LineBefore, chained
from reflexio_mcp.state.tables import BEHIND_ALL_LINES, Transaction, is_number, is_time

__all__ = ["Entry", "Verified", "said_in"]

LINES_AT_ONCE: Final = 500

RECORDS_AT_ONCE: Final = 20

CUT: Final = "log_cut"
"""The event of a line that says that earlier lines are gone."""

logger = logging.getLogger("reflexio_mcp")


class Entry(NamedTuple):
    number: int
    at: float
    line: str
    chain: str


NOTHING: Final = Entry(0, 0.0, "", "")


class End(NamedTuple):
    """The last line of a log, as the database has it or as a file notes it.

    `number` is 0 if the log is empty, or if the file was changed or is damaged.

    Args:
        by_other_server: another server of this machine may have noted it, with a newer key that this server lacks.
    """

    number: int
    at: float
    chain: str
    by_other_server: bool = False


DAMAGED: Final = End(0, 0.0, "")
"""No log has a line 0, so `AuditLog.add` reports a damaged note as a cut. The line that says so names 0 as last."""

ENDS: Final = ("end", "restored")
"""The events of the last lines of jobs."""


class Verified(NamedTuple):
    """The result of a check of the log, and of the records of deletions and restores.

    Args:
        wrong: number of the first line that does not fit the line before it.
        missing: chain values, of the receipt asked about and of records, that no line has.
        end: whether the log has the line that this machine noted as its last one. `none`: nothing was noted. `damaged`:
            the note was changed. `sealed`: this server lacks the key of the note.
        cut: numbers of the lines that say that lines before them are gone.
        lost: a line is not there although the database has given its number to a line, or a record names it.
        older: how many lines are of earlier versions, whose chain values leave out number and time of the line before.
        records: numbers of the deletions and restores whose records were changed, or are sealed with a key that this
            server lacks. No column says with which key a record is sealed.
        asked_for: the line that ends with the value asked about.
    """

    lines: int
    wrong: int | None
    missing: set[str]
    end: Literal["there", "gone", "damaged", "none", "sealed"]
    cut: list[int]
    lost: bool
    older: int
    records: list[int]
    asked_for: Entry | None = None

    @property
    def sound(self) -> bool:
        return self.has_all_lines and not self.records

    @property
    def has_all_lines(self) -> bool:
        """Whether no line is changed or missing."""
        gone = self.missing or self.cut or self.lost
        return self.wrong is None and not gone and self.end in ("there", "none")


class _Records(NamedTuple):
    """What the records of deletions and restores say, without their content.

    Args:
        chains: the chain values of the last lines of jobs.
        last_line: the highest number of a line that any record names.
        unfinished: numbers of the jobs that have no end on record.
        changed: numbers of the jobs whose records were changed.
    """

    chains: set[str]
    last_line: int
    unfinished: set[int]
    changed: set[int]


class AuditLog:
    """The lines in a database.

    Args:
        folder: has the file that notes the last line; `None` for no such file.
    """

    def __init__(self, database: KeyedDatabase, keys: Keys, folder: Path | None = None) -> None:
        self._database = database
        self._keys = keys
        self._seals = JobSeals(keys)
        self._file = folder / f"{database.name}.end" if folder else None

    def add(self, transaction: Transaction, facts: Mapping[str, Any]) -> str:
        transaction.serialise("log")
        noted = self._noted(transaction)
        # A line that says that the log was cut stays for good. So a server adds it only if it has the key of the note,
        # by which it can tell that the note is genuine. Until one does, `last_gap` takes the log to be cut.
        if noted and not noted.by_other_server and not _has(transaction, noted):
            self._add(transaction, {"event": CUT, "last_line": noted.number, "value": noted.chain})
        transaction.afterwards.append(self._note)
        return self._add(transaction, {**(audited_call.get() or {}), **facts})

    def _add(self, transaction: Transaction, facts: Mapping[str, Any]) -> str:
        last = _last(transaction)
        time = datetime.fromtimestamp(transaction.now, UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": time, **facts})
        chain = self._keys.tag(*chained(LineBefore(last.number, last.at, last.chain), line))
        transaction.execute("INSERT INTO main.log (line, chain) VALUES (?, ?)", line, chain)
        return chain

    def entries(self) -> Iterator[Entry]:
        """Read the lines. This needs no key."""
        select = "SELECT id, at, line, chain FROM main.log WHERE id > ? ORDER BY id LIMIT ?"
        number = 0
        while rows := self._database.unkeyed.read(select, number, LINES_AT_ONCE):
            yield from (Entry(*row) for row in rows)
            number = rows[-1][0]

    def verify(self, receipt: str = "") -> Verified:
        """Look for changed and removed lines, and for changed records. `receipt` is a chain value, or empty."""
        # Other calls may add lines meanwhile, so everything that the lines are compared with is read first.
        with self._database.transaction(writes=False) as transaction:
            noted, last_before_records = self._noted(transaction), _last(transaction).number
        last_given = self._database.last_number("log")
        records = self._records()
        missing = {receipt, *records.chains} - {""}
        lines, found_of_given, older, wrong, last = 0, 0, 0, None, NOTHING
        cut, ended, has_noted = list[int](), set[int](), False
        asked_for: Entry | None = None
        for entry in self.entries():
            lines += 1
            found_of_given += entry.number <= last_given
            before = LineBefore(last.number, last.at, last.chain)
            if not self._keys.made_line(before, entry.line, entry.chain):
                wrong = wrong or entry.number
            elif entry.chain not in self._keys.tags(*chained(before, entry.line)):
                older += 1
            said = said_in(entry.line)
            if said.get("event") == CUT:
                cut.append(entry.number)
            if entry.number <= last_before_records and (job := _ended_job(said)):
                ended.add(job)
            has_noted = has_noted or noted == End(entry.number, entry.at, entry.chain)
            missing.discard(entry.chain)
            if receipt and entry.chain == receipt:
                asked_for = entry
            last = entry
        lost = found_of_given < last_given or records.last_line > last.number
        # The end of a job is recorded together with its last line, so a record without it was changed.
        lost_their_end = records.unfinished & ended
        return Verified(
            lines=lines,
            wrong=wrong,
            missing=missing,
            end=_end_found(noted, there=has_noted),
            cut=cut,
            lost=lost,
            older=older,
            records=sorted(records.changed | lost_their_end),
            asked_for=asked_for,
        )

    def _records(self) -> _Records:
        found = _Records(set(), 0, set(), set())
        select = f"SELECT begun, ended, {COLUMNS} FROM main.deletions WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608
        number, last_line = 0, 0
        while rows := self._database.read(select, number, RECORDS_AT_ONCE):
            for begun, ended, *values in rows:
                row = JobRow.of(values)
                number = row.identity.number
                last_line = max([last_line, *filter(is_number, (begun, ended))])
                found.chains.add(row.chain)
                if not row.chain:
                    found.unfinished.add(number)
                if self._seals.read(row).damaged:
                    found.changed.add(number)
        return found._replace(last_line=last_line)

    def is_cut(self) -> bool:
        """Whether the log lacks the line that this machine noted as its last one, or another that was numbered."""
        last_given = self._database.last_number("log")
        with self._database.transaction(writes=False) as transaction:
            noted = self._noted(transaction)
            [(found_of_given,)] = transaction.execute(
                "SELECT count(*) FROM main.log WHERE id <= ?", last_given
            )
            return found_of_given < last_given or (noted is not None and not _has(transaction, noted))

    def last_gap(self, transaction: Transaction) -> int:
        """Return the number of the last line before which lines are gone.

        It is 0 if no lines are gone, and `BEHIND_ALL_LINES` if the line that will say so is not written yet. That
        the file with the noted end was changed proves nothing.
        """
        noted = self._noted(transaction)
        if noted and noted != DAMAGED and not _has(transaction, noted):
            return BEHIND_ALL_LINES
        rows = transaction.execute(
            "SELECT id, line FROM main.log WHERE line LIKE ? ORDER BY id DESC", f'%"event": "{CUT}"%'
        )
        # A line that was written because the file was changed names 0.
        return next((number for number, line in rows if said_in(line).get("last_line")), 0)

    def _noted(self, transaction: Transaction) -> End | None:
        if self._file is None:
            return None
        try:
            if self._file.exists() and not self._file.is_file():  # reading a pipe could take for ever
                return DAMAGED
            number, at, chain, seal = json.loads(self._file.read_text(encoding="utf-8"))
            is_proven = seal in self._keys.tags("end of the log", number, at, chain)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, TypeError, RecursionError):
            return DAMAGED
        if is_proven:
            return End(number, at, chain)
        typed = is_number(number) and is_time(at) and isinstance(chain, str)
        lacks_a_key = not self._keys.are_all(transaction)
        return End(number, at, chain, by_other_server=True) if typed and lacks_a_key else DAMAGED

    def _note(self) -> None:
        """Note the last line. A line that cannot be noted is in the log all the same.

        If the line that another server noted is gone, the note stays: a server with the note's key can tell whether the
        line was cut off.
        """
        if self._file is None:
            return
        try:
            with self._database.transaction() as transaction:
                transaction.serialise("log")
                noted = self._noted(transaction)
                if noted and noted.by_other_server and not _has(transaction, noted):
                    return
                last = _last(transaction)
                line = (last.number, last.at, last.chain)
                text = json.dumps([*line, self._keys.tag("end of the log", *line)])
                _replace(self._file, text.encode())
        except OSError:  # of the file, or of the state
            logger.warning("the end of the audit log cannot be noted in %s", self._file.name)


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    private_files.make_folder(path.parent)
    try:
        with os.fdopen(private_files.create(draft), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _last(transaction: Transaction) -> End:
    rows = transaction.execute("SELECT id, at, chain FROM main.log ORDER BY id DESC LIMIT 1")
    return End(*rows[0]) if rows else End(0, 0.0, "")


def _ended_job(said: Mapping[str, Any]) -> int:
    """Return the number of the job of which this is the last line; 0 if it is another line."""
    if said.get("event") not in ENDS:
        return 0
    job = said.get("restore", said.get("deletion"))
    return job if is_number(job) else 0


def _end_found(noted: End | None, *, there: bool) -> Literal["there", "gone", "damaged", "none", "sealed"]:
    if noted is None:
        return "none"
    if noted.by_other_server:
        return "sealed"
    if noted == DAMAGED:
        return "damaged"
    return "there" if there else "gone"


def _has(transaction: Transaction, end: End) -> bool:
    return transaction.execute("SELECT at, chain FROM main.log WHERE id = ?", end.number) == [
        (end.at, end.chain)
    ]


def said_in(line: str) -> dict[str, Any]:
    """Return what a line says; nothing if it was changed so that it is no JSON object any more."""
    try:
        said = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        return {}
    return cast(dict[str, Any], said) if isinstance(said, dict) else {}
