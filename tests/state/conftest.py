"""The state on both engines. Each `process` is what one more process has open."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import reflexio_mcp.state.state as state_module
from reflexio_mcp.state.copies import Row
from reflexio_mcp.state.days import uptime
from reflexio_mcp.state.records import (
    Copied,
    Erasure,
    Intention,
    JobNumber,
    Meant,
    Name,
    Owner,
    RestoreIntention,
    whole,
)
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import FIRST_VERSION, Database, SqliteDatabase
from tests.support.postgres_server import PostgresServer
from tests.support.resealing import reseal, reseal_jobs_in_earlier_form, unchanged

KEY = b"Zk3v9Qw7xR2mT8pL5nJ4hB6cF1dS0aGy"
OPERATOR = Owner("account", caller="key of the operator")
ALICE = Owner("account", "alice", "key of alice")
LONG_SECONDS = 1000 * 86_400
"""Longer than any test lets pass."""


@pytest.fixture(autouse=True)
def a_machine_that_has_long_been_running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time passes for rows by being taken from them, so a machine that has just started would be older than itself."""
    monkeypatch.setattr(
        state_module, "uptime", lambda: uptime()._replace(seconds=uptime().seconds + LONG_SECONDS)
    )


@dataclass
class Place:
    """Where the state is kept.

    Args:
        database: opens it once more, with the rights of its owner.
        folder: where the end of the log is noted.
        of_servers: opens it with the rights of a server.
    """

    database: Callable[[], Database]
    folder: Path
    of_servers: Callable[[], Database]
    opened: ExitStack = field(default_factory=ExitStack)
    keys: set[bytes] = field(default_factory=set[bytes])

    def process(self, *, limit: int = 100, days: int = 7, keys: tuple[bytes, ...] = (KEY,)) -> State:
        database = self.of_servers()
        self.opened.callback(database.close)
        self.keys.update(keys)
        return State(database, lambda: keys, limit=limit, days=days, folder=self.folder)

    def sql(self, statement: str, *parameters: float | bytes) -> None:
        """Do to the tables what the state itself never does."""
        with closing(self.database()) as database, database.transaction() as transaction:
            transaction.execute(statement, *parameters)

    def rows(self, statement: str) -> list[Any]:
        with closing(self.database()) as database:
            return database.read(statement)

    def advance_clock(self, seconds: float) -> None:
        self.sql("UPDATE main.deletions SET at = at - ?, stores_until = stores_until - ?", seconds, seconds)
        self.reseal(lambda row: row._replace(at=row.at - seconds, until=row.until - seconds))

    def pass_time(self, seconds: float) -> None:
        """Let the state see the time pass."""
        self.advance_clock(seconds)
        days = int(seconds // 86_400)
        self.sql("UPDATE main.deletions SET uptime = uptime - ?", seconds)
        self.sql("UPDATE main.deletions SET seen = seen - ?", days)
        self.reseal(lambda row: row._replace(seen_until=row.seen_until - days))

    def reseal(self, change: Callable[[Row], Row] = unchanged, *, earlier: bool = False) -> None:
        with closing(self.database()) as database:
            reseal(database, list(self.keys), change, earlier=earlier)

    def make_first(self) -> None:
        """Turn the tables into those of version 12, the oldest that is upgraded. Then processes are the owner's."""
        self.of_servers = self.database
        self.reseal(earlier=True)
        with closing(self.database()) as database:
            reseal_jobs_in_earlier_form(database, list(self.keys))
        with closing(self.database()) as database, database.transaction() as transaction:
            for statement in (
                "DROP TABLE main.keys",
                "DROP TABLE main.days",
                "DROP TABLE main.must_go",
                "DROP TABLE main.judged",
                *(
                    f"ALTER TABLE main.deletions DROP COLUMN {column}"
                    for column in (
                        *("begun", "ended", "restores", "stores_until", "seen"),
                        *("claims", "claims_alone", "claimed_until", "boot", "uptime"),
                    )
                ),
                "ALTER TABLE main.copies DROP COLUMN seen_until",
                *(
                    ("PRAGMA application_id = 0", f"PRAGMA user_version = {FIRST_VERSION}")
                    if isinstance(database, SqliteDatabase)
                    else (f"COMMENT ON TABLE main.deletions IS '{FIRST_VERSION}'",)
                ),
            ):
                transaction.execute(statement)


def deletion(number: int = 1, code: str = "") -> Intention:
    return Intention("delete_requests", "some requests", number, code, facts={"request_ids": ["r1"]})


def restoring(of: int, number: int = 1, seconds: float = 45) -> RestoreIntention:
    return RestoreIntention(of, number, seconds, {"ids": ["r1"]})


def copied(request_id: str = "r1", user: str = "alice", text: str = "some words") -> Copied:
    names = [Name(f"r:{request_id}"), Name(f"i:of {request_id}"), Name(f"t:{text} of {request_id}")]
    return Copied("request", request_id, user, names, text)


def learned(learning_id: str = "p1", source: str = "r1", user: str = "alice") -> Copied:
    return Copied(
        "profile",
        learning_id,
        user,
        [Name.of("learning", learning_id), Name.of("interaction", f"of {source}")],
        "what was learned",
    )


def deleted(state: State, owner: Owner, *copies: Copied, erase: tuple[str, ...] = ()) -> JobNumber:
    """A whole deletion, with copies of what it removed."""
    number = state.begin(owner, deletion(len(copies)))
    state.keep(owner, number, copies)
    ended(state, owner, number, erase=erase)
    return number


def ended(
    state: State,
    owner: Owner,
    number: JobNumber,
    counted: int = 1,
    erase: Sequence[str] = (),
    means: Callable[[Copied], Meant | None] = whole,
    **named: Any,
) -> Any:
    named = {"outcome": "complete", "gone": counted, "receipt": "a receipt", "facts": {}} | named
    erasure = Erasure(erase, means)
    return state.finish(owner, number, counted=counted, erasure=erasure, **named)


def restored(state: State, owner: Owner, number: JobNumber, back: int = 1, **named: Any) -> bool:
    named = {"outcome": "complete", "all_of_it": False, "facts": {}, "absent": ()} | named
    return state.finish_restore(owner, number, back=back, **named)


@contextmanager
def of_servers(postgres: PostgresServer, url: str) -> Iterator[str]:
    """Make the tables as their owner, and return the URL of the servers' role."""
    # Imported only if psycopg is installed.
    from reflexio_mcp.state.postgresql import SERVERS, PostgresqlDatabase

    name = url.rsplit("/", 1)[1]
    postgres.sql(f"CREATE ROLE {SERVERS} LOGIN PASSWORD 'a password'")
    try:
        with closing(PostgresqlDatabase(url)) as database:
            database.set_up()
        yield postgres.url(name, SERVERS, "a password")
    finally:
        postgres.sql(f"DROP OWNED BY {SERVERS}; DROP ROLE {SERVERS}", name)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.ci)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param == "sqlite":

            def file() -> Database:
                return SqliteDatabase(lambda: tmp_path / "state.db")

            place = Place(file, tmp_path, file)
        else:
            url: str = request.getfixturevalue("postgres_url")
            lesser = stack.enter_context(of_servers(request.getfixturevalue("postgres"), url))
            from reflexio_mcp.state.postgresql import PostgresqlDatabase  # as above

            place = Place(lambda: PostgresqlDatabase(url), tmp_path, lambda: PostgresqlDatabase(lesser))
        stack.enter_context(place.opened)
        yield place


@pytest.fixture
def state(place: Place) -> State:
    return place.process()
