"""What people judged to be no problem. A row has keyed tags and a time, and says nothing by itself.

A request that is stored again under the same id has another time, and has to be judged anew.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from reflexio_mcp.state.keys import Keys
from reflexio_mcp.state.log import AuditLog
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.tables import Database

__all__ = ["Judged", "StoredAt"]


class StoredAt(NamedTuple):
    """A request, and when it was stored in epoch seconds."""

    request_id: str
    created_at: int


class Judged:
    """Findings that people judged to be no problem, as keyed tags."""

    def __init__(self, keys: Keys | None = None, tags: Collection[str] = ()) -> None:
        self._keys = keys
        self._tags = frozenset(tags)

    def has(self, finding: str, request: StoredAt) -> bool:
        """Whether somebody judged a finding in a request to be no problem."""
        if not self._keys or not self._tags:
            return False
        return not self._tags.isdisjoint(self._keys.tags("judged", finding, *request))


class Judgements:
    def __init__(self, database: Database, keys: Keys, log: AuditLog) -> None:
        self._database = database
        self._keys = keys
        self._log = log

    def note(self, owner: Owner, finding: str, requests: Sequence[StoredAt], *, no_problem: bool) -> None:
        """Remember that a finding in these requests is no problem, or take that back. The log says who did it."""
        keys = self._keys
        account, caller = keys.tag("account", owner.account), keys.tag("caller", owner.account, owner.caller)
        with self._database.transaction() as transaction:
            keys.note_first_key(transaction)
            tags = [tag for request in requests for tag in keys.tags("judged", finding, *request)]
            transaction.execute(
                "DELETE FROM main.judged WHERE account IN ? AND place IN ?", keys.accounts(owner), tags
            )
            if no_problem:
                transaction.execute_many(
                    "INSERT INTO main.judged (at, account, caller, place) VALUES (?, ?, ?, ?)",
                    [
                        (transaction.now, account, caller, keys.tag("judged", finding, *request))
                        for request in requests
                    ],
                )
            self._log.add(
                transaction,
                {
                    "event": "judged",
                    "finding": finding,
                    "no_problem": no_problem,
                    "request_ids": [request.request_id for request in requests],
                    "user_id": owner.user,
                    "account": account,
                },
            )

    def of(self, owner: Owner) -> Judged:
        """Return what was judged in an account, whoever judged it."""
        rows = self._database.read(
            "SELECT place FROM main.judged WHERE account IN ?", self._keys.accounts(owner)
        )
        return Judged(self._keys, [place for (place,) in rows])
