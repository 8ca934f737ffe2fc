"""Rows of the table `deletions`: what they seal, and whether they were changed.

A row has two sealed parts: the intention of a job, and its end. Both open only with the columns that say which job it
is and whose. The intention contains the chain value of the job's first log line, and the end repeats the columns that
say how the job ended. So it is noticed if somebody without the key changes the owner of a row or the end of its job, or
puts a row of another state in its place. What such a row says is not believed.

Rows in the earlier form seal neither the owner nor the end. They are believed until they are pruned.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, get_args

from reflexio_mcp.state.keys import Keys, RowChanged
from reflexio_mcp.state.records import Deletion, Name, Outcome
from reflexio_mcp.state.tables import is_number, is_time

OUTCOMES: Final = ("", *get_args(Outcome))

IDENTITY: Final = ", ".join(("id", "account", "user_id", "caller", "code", "restores"))
"""The columns of a `JobIdentity`."""

OF_FIRST_LINE: Final = "SELECT {} FROM main.log WHERE id = deletions.begun"

COLUMNS: Final = ", ".join(
    (
        IDENTITY,
        *("at", "gone", "finished", "outcome", "chain", "intention", "receipt"),
        *(f"({OF_FIRST_LINE.format(column)})" for column in ("chain", "line")),
    )
)
"""The columns of a `JobRow`, whose `end` is sealed in the column `receipt`."""


class JobIdentity(NamedTuple):
    """The columns that say which job a row records, and whose it is. The sealed parts open only with them."""

    number: int
    account: str
    user: str
    caller: str
    code: str
    restores: int

    def sealing_context(self, part: Literal["intention", "end"]) -> str:
        # `default`: somebody may have written bytes into a column, which JSON cannot express.
        return f"{part} of job {json.dumps(self, default=repr)}"


class Intended(NamedTuple):
    """What a job meant to do.

    Args:
        back: id and user of each learning that becomes current again.
        first_chain: chain value of its first log line; `None` in the earlier form.
        erases: of an erasure: the names of what it erases, by user.
        call: a tag of all that its caller asked for; empty in the earlier form, and for a restore.
        caller: its account and the caller whose cap counts it. The tags in the columns are others under each key.
            Empty in rows that were made before callers were sealed.
    """

    target: str
    asked: int
    planned: Sequence[str]
    back: Sequence[tuple[str, str]] = ()
    first_chain: str | None = None
    erases: Mapping[str, Sequence[str]] | None = None
    call: str = ""
    caller: Sequence[str] = ()


class JobEnd(NamedTuple):
    """How a job ended. Columns repeat all of it except the receipt.

    Args:
        chain: chain value of its last log line.
        receipt: of a deletion; empty for a restore.
    """

    outcome: Outcome | Literal[""] = ""
    gone: int = 0
    finished: float | None = None
    chain: str = ""
    receipt: str = ""

    @property
    def in_columns(self) -> tuple[str, int, float | None, str]:
        return self.outcome, self.gone, self.finished, self.chain


NOT_ENDED: Final = JobEnd()


class JobRow(NamedTuple):
    """A row as it stands, whatever somebody may have written into its columns.

    `first_chain` and `first_line` are the chain value and the text of the log line that the row names as its first one.
    """

    identity: JobIdentity
    at: Any
    gone: Any
    finished: Any
    outcome: Any
    chain: Any
    intention: Any
    end: Any
    first_chain: str | None
    first_line: str | None

    @classmethod
    def of(cls, values: Sequence[Any]) -> "JobRow":
        """Make it of `COLUMNS`."""
        own = len(JobIdentity._fields)
        return cls(JobIdentity(*values[:own]), *values[own:])

    def says(self, end: JobEnd) -> bool:
        return (self.outcome, self.gone, self.finished, self.chain) == end.in_columns


class JobSeals:
    """Seals the parts of rows, and opens them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    def seal_intention(self, identity: JobIdentity, intended: Intended) -> bytes:
        return self._keys.seal(json.dumps(intended), identity.sealing_context("intention"))

    def seal_end(self, identity: JobIdentity, end: JobEnd) -> bytes:
        return self._keys.seal(json.dumps(end), identity.sealing_context("end"))

    def open_intention(self, identity: JobIdentity, sealed: Any) -> Intended:
        """Open an intention. Raises `RowChanged`."""
        try:
            return Intended(*json.loads(self._keys.open(sealed, identity.sealing_context("intention"))))
        except RowChanged:
            # The earlier form, whose oldest rows have no learnings that come back.
            return Intended(*json.loads(self._keys.open(sealed, f"intention {identity.code}")))

    def open_end(self, identity: JobIdentity, sealed: Any) -> JobEnd:
        """Open an end. Raises `RowChanged`."""
        return JobEnd(*json.loads(self._keys.open(sealed, identity.sealing_context("end"))))

    def with_outcome(self, row: JobRow, outcome: Outcome) -> bytes | None:
        """Return the end of a row, sealed with another outcome. Raises `RowChanged`.

        The earlier form does not seal the outcome, so its end stays the same.
        """
        if self.open_intention(row.identity, row.intention).first_chain is None:
            return row.end
        end = self.open_end(row.identity, row.end) if row.end is not None else NOT_ENDED
        return self.seal_end(row.identity, end._replace(outcome=outcome))

    def read(self, row: JobRow, *, own: bool = True, may_return: int = 0) -> Deletion:
        """Return what a row records. If it was changed, it is `damaged`, and what it only claims is left out."""
        number, when = row.identity.number, row.at if is_time(row.at) else 0.0
        intended = self._intention_of_this_state(row)
        if intended is None:
            return Deletion(
                number=number,
                at=when,
                own=own,
                gone=0,
                finished=None,
                outcome="",
                chain="",
                restores=0,
                may_return=may_return,
                target="",
                asked=0,
                planned=[],
                receipt="",
                damaged=True,
            )
        end = self._end(row, intended)
        shown = end or NOT_ENDED
        return Deletion(
            number=number,
            at=when,
            own=own,
            gone=shown.gone,
            finished=shown.finished,
            outcome=shown.outcome,
            chain=shown.chain,
            restores=row.identity.restores if is_number(row.identity.restores) else 0,
            may_return=may_return,
            target=intended.target,
            asked=intended.asked,
            planned=list(intended.planned),
            receipt=shown.receipt,
            began=row.first_line or "",
            damaged=end is None or not row.says(end) or not is_time(row.at),
            back=[(learning_id, user_id) for learning_id, user_id in intended.back],
            erases={user: list(map(Name, names)) for user, names in (intended.erases or {}).items()},
            call=intended.call,
        )

    def _intention_of_this_state(self, row: JobRow) -> Intended | None:
        """Return the intention of a row, unless the row was changed or comes from another state."""
        try:
            intended = self.open_intention(row.identity, row.intention)
        except RowChanged:
            return None
        return intended if intended.first_chain in (None, row.first_chain) else None

    def _end(self, row: JobRow, intended: Intended) -> JobEnd | None:
        """Return the sealed end of a job, or what the columns say in the earlier form; `None` if it was changed."""
        try:
            if intended.first_chain is None:
                return self._earlier_end(row)
            return self.open_end(row.identity, row.end) if row.end is not None else NOT_ENDED
        except RowChanged:
            return None

    def _earlier_end(self, row: JobRow) -> JobEnd | None:
        has_finished_time = row.finished is None or is_time(row.finished)
        typed = is_number(row.gone) and has_finished_time and isinstance(row.chain, str)
        if not typed or row.outcome not in OUTCOMES:
            return None
        receipt = self._keys.open(row.end, f"receipt {row.identity.number}") if row.end else ""
        return JobEnd(row.outcome, row.gone, row.finished, row.chain, receipt)
