"""Which sessions stand on a page: newest matching request first, then id descending.

The API pages by an offset that counts sessions. A page is found by scanning an index that is in this order already:
the scan stops at the page's last session, and each row it reads belongs to a session of this page or of an earlier
one. The connection keeps the scan, so that the next page continues it, for as long as nobody writes.
"""

import sqlite3
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.embedded_store.bodies import GetRequests
from reflexio_mcp.embedded_store.database import Connection

DEFAULT_PAGE: Final = 100
"""Sessions on a page when `top_k` is null."""

MAX_INTEGER: Final = 2**63 - 1
MAX_REMEMBERED: Final = 100_000
"""Sessions of a scan that are kept, some 100 bytes each."""


@dataclass(frozen=True)
class Filter:
    """The filters of `get_requests` as SQL: the condition, its values, and the index that serves it.

    The upper time bound stands apart, because a scan that continues starts below it.
    """

    lower: str
    lower_values: tuple[str | int, ...]
    end: int | None
    index: str

    @property
    def condition(self) -> str:
        return self.lower if self.end is None else f"{self.lower} AND created_at <= ?"

    @property
    def values(self) -> tuple[str | int, ...]:
        return self.lower_values if self.end is None else (*self.lower_values, self.end)

    @classmethod
    def of(cls, query: GetRequests) -> "Filter":
        terms: list[str] = []
        values: list[str | int] = []
        # The API takes an empty id for no filter, but an empty source for requests without one.
        for column, value in (
            ("user_id", query.user_id or None),
            ("request_id", query.request_id or None),
            ("session_id", query.session_id or None),
            ("source", query.source),
        ):
            if value is not None:
                terms.append(f"{column} = ?")
                values.append(value)
        if query.start_time is not None:
            terms.append("created_at >= ?")
            values.append(int(query.start_time.timestamp()))
        end = None if query.end_time is None else int(query.end_time.timestamp())
        return cls(" AND ".join(terms) or "1", tuple(values), end, cls._index(query))

    @staticmethod
    def _index(query: GetRequests) -> str:
        if query.request_id:
            return ""  # its unique index; SQLite needs no advice
        if query.session_id:
            return "INDEXED BY requests_by_session"
        if query.user_id:
            by = "user" if query.source is None else "user_and_source"
        else:
            by = "time" if query.source is None else "source"
        return f"INDEXED BY requests_by_{by}"


@dataclass
class SessionScan:
    """The sessions of a filter that a connection has read, and where it continues."""

    found: Filter
    version: tuple[int, int]
    order: list[str] = field(default_factory=list[str])
    seen: set[str] = field(default_factory=set[str])
    place: tuple[int, str] | None = None
    ended: bool = False

    def read(self, connection: sqlite3.Connection, sessions: int) -> None:
        """Continue until so many sessions are known, or there are no more."""
        if self.ended or len(self.order) >= sessions:
            return
        condition, values = self.found.condition, self.found.values
        if self.place is not None:
            condition = f"{self.found.lower} AND (created_at, session_id) <= (?, ?)"
            values = (*self.found.lower_values, *self.place)
        rows = connection.execute(
            f"SELECT created_at, session_id FROM requests {self.found.index} WHERE {condition}"  # noqa: S608
            " ORDER BY created_at DESC, session_id DESC",
            values,
        )
        for place in rows:
            session_id = place[1]
            if session_id not in self.seen:
                self.seen.add(session_id)
                self.order.append(session_id)
                if len(self.order) >= sessions:
                    self.place = place
                    break
        else:
            self.ended = True
        rows.close()


def page_of(connection: Connection, found: Filter, query: GetRequests) -> list[str]:
    """The ids of the page's sessions, in order.

    Raises:
        OverflowError: a number that SQLite could not hold.
    """
    size, offset = query.top_k or DEFAULT_PAGE, query.offset or 0
    if size > MAX_INTEGER or offset > MAX_INTEGER:
        raise OverflowError
    version = _version(connection)
    scan = connection.scan
    if not isinstance(scan, SessionScan) or scan.found != found or scan.version != version:
        scan = SessionScan(found, version)
    scan.read(connection, offset + size)
    connection.scan = scan if len(scan.order) <= MAX_REMEMBERED else None
    return scan.order[offset : offset + size]


def _version(connection: sqlite3.Connection) -> tuple[int, int]:
    """Changes with every write: the first number with those of others, the second with this connection's."""
    (others,) = connection.execute("PRAGMA data_version").fetchone()
    return others, connection.total_changes
