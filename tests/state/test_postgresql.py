"""What PostgreSQL alone can do to the state: be away, be full, restart, differ in time, version and rights."""

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from reflexio_mcp.state.database import StateUnusable
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import LEASE_SECONDS, JobRecords
from tests.state.conftest import KEY
from tests.state.test_copies import made, profile, request
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.serving import free_port

pytest.importorskip("psycopg", reason="psycopg is not installed")

import psycopg

from reflexio_mcp.state.postgresql import migrations
from reflexio_mcp.state.postgresql.audit_table import AuditTable
from reflexio_mcp.state.postgresql.copy_table import CopyTable
from reflexio_mcp.state.postgresql.database import (
    IN_USE,
    PostgresqlDatabase,
    _PostgresqlTransaction,
    connect,
    make_tables,
)
from reflexio_mcp.state.postgresql.migrations import SERVERS
from reflexio_mcp.state.postgresql.sealing import Sealer


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def database(postgres_url: str, opened: ExitStack) -> PostgresqlDatabase:
    return opened.enter_context(closing(PostgresqlDatabase(postgres_url)))


def count(database: PostgresqlDatabase, table: str) -> int:
    with database.transaction() as transaction:
        return transaction.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_a_database_that_is_away_is_said_so_in_bounded_time_and_comes_back_by_itself(
    postgres: PostgresServer, postgres_url: str, opened: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    database = opened.enter_context(closing(PostgresqlDatabase(postgres_url, wait=0.5)))
    cap = HourlyCap(10, database)
    assert cap.take("me", 4)
    postgres.stop()
    try:
        for _ in range(2):
            with pytest.raises(StateUnusable) as refused:
                cap.take("me", 1)
            assert refused.value.strerror == "the state database: it does not answer"
            assert not refused.value.unknown
    finally:
        postgres.start()
    cap = HourlyCap(10, database)
    until = time.monotonic() + 60
    while True:
        try:
            assert cap.room("me") == 6
            break
        except StateUnusable:
            assert time.monotonic() < until
    assert PASSWORD not in caplog.text


def test_connections_that_a_restart_broke_are_noticed_before_they_are_used(
    postgres: PostgresServer, postgres_url: str, opened: ExitStack
) -> None:
    database = opened.enter_context(closing(PostgresqlDatabase(postgres_url, pool_size=3, wait=30)))
    with ExitStack() as several:
        for _ in range(3):
            several.enter_context(database.transaction())
    postgres.stop()
    postgres.start()
    # No use of it fails.
    assert HourlyCap(10, database).take("me", 1)


def test_a_pool_without_a_free_connection_refuses_and_serves_again(
    postgres_url: str, opened: ExitStack
) -> None:
    database = opened.enter_context(closing(PostgresqlDatabase(postgres_url, pool_size=1, wait=0.2)))
    records = JobRecords(database)
    with (
        database.transaction(),
        pytest.raises(StateUnusable, match="all of this server's connections are in use"),
    ):
        records.add("owner", "caller", "what")
    for _ in range(100):  # a thread of the pool's takes the connection back
        with suppress(StateUnusable):
            assert records.add("owner", "caller", "what").number == 1
            break
    else:
        pytest.fail("no connection came free")


def test_what_waits_for_too_long_is_refused(
    postgres_url: str, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.state.postgresql.database.LOCK_MS", 100)
    monkeypatch.setattr("reflexio_mcp.state.postgresql.database.STATEMENT_MS", 300)
    database = opened.enter_context(closing(PostgresqlDatabase(postgres_url)))
    with database.transaction() as one:
        one.serialise("subject")
        with pytest.raises(StateUnusable, match="took too long"), database.transaction() as another:
            another.serialise("subject")
        with database.transaction() as another:
            another.serialise("another subject")
    with pytest.raises(StateUnusable, match="took too long"), database.transaction() as slow:
        slow.execute("SELECT pg_sleep(20)")


def test_a_connection_that_is_lost_at_the_end_leaves_it_open_whether_it_stands(
    database: PostgresqlDatabase, postgres: PostgresServer
) -> None:
    def lose(*more: str) -> None:
        with database.transaction() as transaction:
            own = transaction.execute("SELECT pg_backend_pid()").fetchone()[0]
            postgres.sql(f"SELECT pg_terminate_backend({own})")
            for statement in more:
                transaction.execute(statement)

    with pytest.raises(StateUnusable) as lost:
        lose()
    assert lost.value.unknown
    with pytest.raises(StateUnusable) as lost:
        lose("SELECT 1")
    assert not lost.value.unknown


@pytest.mark.parametrize("at_the_end", [False, True])
def test_a_database_that_says_nothing_is_given_up(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch, opened: ExitStack, at_the_end: bool
) -> None:
    def use() -> None:
        with monkeypatch.context() as patch, database.transaction() as transaction:
            own = transaction.execute("SELECT pg_backend_pid()").fetchone()[0]
            os.kill(own, signal.SIGSTOP)
            opened.callback(os.kill, own, signal.SIGCONT)
            patch.setattr("reflexio_mcp.state.postgresql.database.SILENT_SECONDS", 0.5)
            if not at_the_end:
                transaction.execute("SELECT 1")

    with pytest.raises(StateUnusable, match="does not answer") as given_up:
        use()
    assert given_up.value.unknown is at_the_end
    assert HourlyCap(10, database).take("me", 1)


def test_a_connection_of_before_it_was_closed_is_closed_too(database: PostgresqlDatabase) -> None:
    with database.transaction() as first:
        assert isinstance(first, _PostgresqlTransaction)
        connection = first.cursor.connection
        database.close()
        database.open()
        with database.transaction():
            pass
    assert connection.closed


def test_what_a_replica_has_for_the_time_does_not_matter(
    postgres_url: str, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replica(skew: float) -> tuple[JobRecords, HourlyCap]:
        monkeypatch.setattr(time, "time", lambda: 1_800_000_000 + skew)
        database = opened.enter_context(closing(PostgresqlDatabase(postgres_url)))
        return JobRecords(database), HourlyCap(10, database)

    jobs, cap = replica(0)
    key = jobs.add("owner", "caller", "what", tool="delete_requests", order="an order").key
    assert cap.take("me", 10)
    for skew in (-1e8, 1e8):
        others, other_cap = replica(skew)
        assert others.claim(["delete_requests"]) is None
        assert others.of("owner")[0].state == "running"
        assert other_cap.take("me", 1) is None
        assert others.keep(key) is False
        assert jobs.keep(key)
    postgres_age(jobs, LEASE_SECONDS + 1)
    others, _ = replica(-1e8)
    assert others.claim(["delete_requests"])


def postgres_age(jobs: JobRecords, seconds: float) -> None:
    """As if so many seconds had passed."""
    with jobs._database.transaction() as transaction:
        transaction.execute("UPDATE jobs SET alive = alive - ?, began = began - ?", (seconds, seconds))


async def together(times: int, work: Any) -> None:
    """Run something in so many threads that begin at once."""
    ready = threading.Barrier(times)

    def one() -> None:
        ready.wait(30)
        work()

    async with anyio.create_task_group() as tasks:
        for _ in range(times):
            tasks.start_soon(anyio.to_thread.run_sync, one)


@pytest.mark.anyio
async def test_replicas_that_start_together_make_the_tables_once(
    postgres_url: str, opened: ExitStack
) -> None:
    made_by: list[int] = []

    def replica() -> None:
        database = opened.enter_context(closing(PostgresqlDatabase(postgres_url, pool_size=1, wait=30)))
        made_by.append(JobRecords(database).add("owner", "caller", "what").number)

    await together(8, replica)
    assert sorted(made_by) == list(range(1, 9))
    database = opened.enter_context(closing(PostgresqlDatabase(postgres_url)))
    assert count(database, "state_version") == len(migrations._MIGRATIONS)


def test_tables_of_a_newer_version_are_left_alone(
    database: PostgresqlDatabase, postgres_url: str, opened: ExitStack
) -> None:
    with database.transaction() as transaction:
        transaction.execute("INSERT INTO state_version VALUES (99)")
    older = opened.enter_context(closing(PostgresqlDatabase(postgres_url)))
    with pytest.raises(StateUnusable, match="made by a newer version"):
        HourlyCap(10, older).take("me", 1)
    assert count(database, "deletions") == 0


OTHERS = (
    (
        "INSERT INTO deletions (owner, at, number) SELECT 'o' || n, extract(epoch FROM now()), 1 "
        "FROM generate_series(1, 5000) n"
    ),
    (
        "INSERT INTO recovery_copies (copy_id, owner, made_at, kept_until, requests, finished) "
        "SELECT 'c' || n, 'o' || mod(n, 500), extract(epoch FROM now()), extract(epoch FROM now()) + 86400, 1, true "
        "FROM generate_series(1, 5000) n"
    ),
    "INSERT INTO recovery_lines SELECT 'c' || n, 0, 'sealed' FROM generate_series(1, 5000) n",
    "ANALYZE",
)
"""What five hundred other people deleted in an hour."""


def test_a_deletion_reads_nothing_of_what_others_deleted(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.transaction() as transaction:
        for statement in OTHERS:
            transaction.execute(statement)
    read = Counter[str]()
    whole = _PostgresqlTransaction.execute

    def counting(self: _PostgresqlTransaction, sql: str, parameters: Sequence[object] = ()) -> Any:
        scans = "SELECT sum(seq_scan) FROM pg_stat_xact_user_tables WHERE relname ~ '^(deletions|recovery)'"
        before = self.cursor.execute(scans).fetchone()
        done = whole(self, sql, parameters)
        with self.cursor.connection.cursor() as other:
            after = other.execute(scans).fetchone()
        read[sql] += after != before
        return done

    monkeypatch.setattr(_PostgresqlTransaction, "execute", counting)
    cap, jobs, copies = HourlyCap(10, database), JobRecords(database), CopyTable(database, 7, Sealer([KEY]))
    job = jobs.add("me", "caller", "what")
    taken = cap.take("me", 2, job.key)
    assert taken
    assert cap.room("me") == 8
    assert cap.wait("me", 9) > 0
    copy_id = made(copies, "r1", "r2")
    [copy] = copies.of("owner")
    assert copies.contents(copy) == {"r1": 0, "r2": 1}
    assert copies.forget("owner", ["r1"], lambda *_: False)[0] == 1
    copies.remove("owner", copy_id)
    cap.give_back(taken, 1)
    jobs.end(job.key, "done", "")
    assert not [sql for sql, scans in read.items() if scans]
    assert len(read) > 20


def documented(heading: str) -> str:
    """The SQL that docs/scaling.md gives under a heading."""
    page = (Path(__file__).parent.parent.parent / "docs" / "scaling.md").read_text(encoding="utf-8")
    return page.split(heading)[1].split("```sql\n")[1].split("```")[0]


def test_the_documented_rights_are_enough_and_no_more(
    postgres: PostgresServer, postgres_url: str, opened: ExitStack
) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    secret = "a password"
    try:
        postgres.sql(documented("### Its role").replace("'...'", f"'{secret}'"), name)
        url = postgres.url(name, "reflexio_mcp", secret)
        owner = opened.enter_context(closing(PostgresqlDatabase(url)))
        assert HourlyCap(10, owner).take("me", 1)
        assert not make_tables(url)
        postgres.sql(
            documented("### A role that cannot change the tables").replace("'...'", f"'{secret}'"), name
        )
        with pytest.raises(StateUnusable, match="lacks a right"):
            connect(postgres.url(name, SERVERS, secret))
        assert make_tables(url)
        assert make_tables(url)
        url = postgres.url(name, SERVERS, secret)
        lesser = opened.enter_context(closing(PostgresqlDatabase(url)))
        assert HourlyCap(10, lesser).take("me", 1)
        records = JobRecords(lesser)
        records.end(records.add("owner", "caller", "what").key, "done", "")
        copies = CopyTable(lesser, 7, Sealer([KEY]))
        made(copies, "r1", "r2")
        assert copies.forget("owner", ["r1"], lambda *_: False)[0] == 1
        copies.prune()
        assert AuditTable(lesser).open({"tool": "delete_request"}).close("complete")
        connect(url)
        assert "delete_request" in postgres.sql(documented("### What it holds"), name)
        for forbidden in (
            "DELETE FROM audit_log",
            "SELECT line FROM audit_log",
            "UPDATE audit_log SET line = '{}'",
            "CREATE TABLE more ()",
        ):
            with pytest.raises(StateUnusable, match="lacks a right"), lesser.transaction() as transaction:
                transaction.execute(forbidden)
    finally:
        opened.close()
        roles = "reflexio_mcp, reflexio_mcp_server"
        postgres.sql(f"DROP OWNED BY {roles}; DROP ROLE {roles}", name)


def test_a_role_without_rights_is_told_so(
    postgres: PostgresServer, postgres_url: str, opened: ExitStack
) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    postgres.sql("CREATE ROLE nobody LOGIN PASSWORD 'x'")
    try:
        database = opened.enter_context(closing(PostgresqlDatabase(postgres.url(name, "nobody", "x"))))
        with pytest.raises(StateUnusable, match="its role lacks a right that this server needs"):
            HourlyCap(10, database).take("me", 1)
        with pytest.raises(StateUnusable, match="its role lacks a right that this server needs"):
            connect(postgres.url(name, "nobody", "x"))
    finally:
        opened.close()
        postgres.sql("DROP ROLE nobody")


@pytest.fixture
def barred(postgres: PostgresServer, postgres_url: str, opened: ExitStack) -> str:
    """The URL of a role that may not use the schema, with the rights that every role has."""
    name = postgres_url.rsplit("/", 1)[1]
    postgres.sql("CREATE ROLE barred LOGIN PASSWORD 'x'")
    opened.callback(postgres.sql, "DROP ROLE barred")
    return postgres.url(name, "barred", "x")


@pytest.mark.parametrize("made", [False, True], ids=["schema", "schema and tables"])
def test_a_role_that_may_not_use_the_schema_gets_no_tables_of_its_own(
    postgres: PostgresServer, postgres_url: str, database: PostgresqlDatabase, barred: str, made: bool
) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    if made:
        connect(postgres_url)
        assert HourlyCap(3, database).take("me", 1)
    else:
        postgres.sql("CREATE SCHEMA reflexio_mcp", name)
    with closing(PostgresqlDatabase(barred)) as another:
        for use in (
            lambda: HourlyCap(3, another).take("me", 1),
            lambda: JobRecords(another).add("owner", "caller", "what"),
            lambda: AuditTable(another).append({"tool": "delete_request"}),
            another.check,
            lambda: connect(barred),
            lambda: make_tables(barred),
        ):
            with pytest.raises(
                StateUnusable, match="its role lacks a right that this server needs"
            ) as refused:
                use()
            assert "ALTER SCHEMA reflexio_mcp OWNER TO" in refused.value.advice
        assert postgres.sql("SELECT count(*) FROM pg_class WHERE relpersistence = 't'", name) == "0"
    for right in ("USAGE ON SCHEMA reflexio_mcp", "ALL ON ALL TABLES IN SCHEMA reflexio_mcp"):
        postgres.sql(f"GRANT {right} TO barred", name)
    with closing(PostgresqlDatabase(barred)) as another:
        if made:
            assert HourlyCap(3, another).room("me") == 2
        else:
            with pytest.raises(StateUnusable, match="lacks a right"):
                another.check()
    postgres.sql("DROP OWNED BY barred", name)


def test_a_temporary_table_of_the_same_name_stands_for_none(
    postgres: PostgresServer, postgres_url: str, opened: ExitStack
) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    database = opened.enter_context(closing(PostgresqlDatabase(postgres_url, pool_size=1)))
    assert HourlyCap(3, database).take("me", 1)
    with database.transaction() as transaction:
        for table in migrations.TABLES:
            transaction.execute(f"CREATE TEMPORARY TABLE {table} (LIKE reflexio_mcp.{table} INCLUDING ALL)")
        own = transaction.execute("SELECT pg_backend_pid()").fetchone()
    # The pool's only connection, for whatever comes next.
    assert HourlyCap(3, database).room("me") == 2
    assert HourlyCap(3, database).take("me", 2)
    JobRecords(database).add("owner", "caller", "what")
    AuditTable(database).append({"tool": "delete_request"})
    copies = CopyTable(database, 7, Sealer([KEY]))
    made(copies, "r1", "r2")
    assert copies.forget("owner", ["r1"], lambda *_: False)[0] == 1
    with database.transaction() as transaction:
        assert transaction.execute("SELECT pg_backend_pid()").fetchone() == own
        for table in migrations.TABLES:
            assert not transaction.execute(f"SELECT count(*) FROM pg_temp.{table}").fetchone()[0]
    # Nor where a table of the schema is gone.
    postgres.sql("DROP TABLE reflexio_mcp.deletions", name)
    with pytest.raises(StateUnusable, match="one of its tables is gone"):
        HourlyCap(3, database).take("me", 1)


def test_a_table_without_its_schema_is_not_found(database: PostgresqlDatabase) -> None:
    for table in migrations.TABLES:
        with database.transaction() as transaction:
            assert isinstance(transaction, _PostgresqlTransaction)
            with pytest.raises(psycopg.errors.UndefinedTable):
                transaction.cursor.execute(f"SELECT 1 FROM {table}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "mistyped"}, "it refuses this server's role or password"),
        ({"role": "nobody"}, "it refuses this server's role or password"),
        ({"database": "elsewhere"}, "its role or database does not exist"),
        ({"sslmode": "require"}, "it does not speak TLS as the URL asks"),
    ],
)
def test_why_a_connection_is_refused_is_said_without_names_or_secrets(
    postgres: PostgresServer, change: dict[str, str], said: str, opened: ExitStack
) -> None:
    url = postgres.url(**({"database": "postgres"} | change))
    database = opened.enter_context(closing(PostgresqlDatabase(url, wait=0.2)))
    until = time.monotonic() + 60
    for use in (lambda: connect(url), lambda: HourlyCap(10, database).room("me")):
        with pytest.raises(StateUnusable) as refused:
            use()
        while refused.value.strerror == IN_USE and time.monotonic() < until:  # it has not been refused yet
            with pytest.raises(StateUnusable) as refused:
                use()
        assert refused.value.strerror == f"the state database: {said}"
        told = f"{refused.value} {refused.value.advice} {refused.value.__cause__}"
        assert not any(word in told for word in (PASSWORD, "mistyped", "127.0.0.1", "elsewhere"))


def test_a_database_that_can_only_be_read_is_said_before_a_deletion_needs_it(
    postgres: PostgresServer, postgres_url: str, database: PostgresqlDatabase
) -> None:
    assert HourlyCap(10, database).take("me", 1)
    connect(postgres_url)
    name = postgres_url.rsplit("/", 1)[1]
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StateUnusable, match="it can only be read now"):
        connect(postgres_url)


def test_nobody_listens_at_the_address() -> None:
    with pytest.raises(StateUnusable, match="does not answer"):
        connect(f"postgresql://a:{'secret'}@127.0.0.1:{free_port()}/x")


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    cap = HourlyCap(10, PostgresqlDatabase("postgresql://a:secret@[broken/x"))
    with pytest.raises(StateUnusable, match="URL of the state database cannot be read") as refused:
        cap.room("me")
    assert "secret" not in repr(refused.value)


def test_what_is_recorded_is_on_the_disk_whatever_the_database_is_set_to(
    postgres: PostgresServer, postgres_url: str, opened: ExitStack
) -> None:
    name = postgres_url.rsplit("/", 1)[1]
    for configured, effective in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        postgres.sql(f"ALTER DATABASE {name} SET synchronous_commit = {configured}")
        with closing(PostgresqlDatabase(postgres_url)) as database, database.transaction() as transaction:
            assert transaction.execute("SHOW synchronous_commit").fetchone()[0] == effective


def test_no_stored_text_can_be_read_in_the_database(
    database: PostgresqlDatabase, postgres: PostgresServer, postgres_url: str
) -> None:
    writer = (copies := CopyTable(database, 7, Sealer([KEY]))).begin("owner")
    writer.add([request("r1", "canary in a turn")])
    writer.add_learnings([profile("canary in a learning")])
    writer.finish()
    sealed = postgres.sql("SELECT string_agg(encode(sealed, 'escape'), ' ') FROM reflexio_mcp.recovery_lines",
                          postgres_url.rsplit("/", 1)[1])  # fmt: skip
    assert len(sealed) > 100
    assert "canary" not in sealed
    assert copies.holding("owner", ["r1"]).items == ("r1",)


def test_a_state_key_is_changed_without_losing_a_copy(database: PostgresqlDatabase) -> None:
    other = "another state key, just as long as the first"
    first = made(CopyTable(database, 7, Sealer([KEY])), "r1")
    both = CopyTable(database, 7, Sealer([other, KEY]))
    second = made(both, "r2")
    assert {copy.copy_id for copy in both.holding("owner", ["r1", "r2"]).copies} == {first, second}
    after = CopyTable(database, 7, Sealer([other])).holding("owner", ["r1", "r2"])
    assert after.items == ("r2",)
    # What cannot be opened any more is said, and not taken for empty.
    assert [copy.copy_id for copy in after.unreadable] == [first]


def test_a_line_that_was_moved_or_changed_is_not_trusted(database: PostgresqlDatabase) -> None:
    copies = CopyTable(database, 7, Sealer([KEY]))
    moved, changed = made(copies, "r1", "r2"), made(copies, "r3")
    with database.transaction() as transaction:
        transaction.execute("UPDATE recovery_lines SET place = place + 10 WHERE copy_id = ?", (moved,))
        transaction.execute(
            "UPDATE recovery_lines SET sealed = set_byte(sealed, 40, get_byte(sealed, 40) # 1) WHERE copy_id = ?",
            (changed,),
        )
    found = copies.holding("owner", ["r1", "r2", "r3"])
    assert not found.items
    assert {copy.copy_id for copy in found.unreadable} == {moved, changed}


def test_a_copy_that_is_put_under_another_name_is_not_opened(database: PostgresqlDatabase) -> None:
    copies = CopyTable(database, 7, Sealer([KEY]))
    made(copies, "r1")
    theirs = made(copies, "r2", owner="somebody else")
    with database.transaction() as transaction:
        transaction.execute(
            "UPDATE recovery_copies SET owner = (SELECT owner FROM recovery_copies WHERE copy_id != ?) "
            "WHERE copy_id = ?",
            (theirs, theirs),
        )
    found = copies.holding("owner", ["r1", "r2"])
    assert found.items == ("r1",)
    assert [copy.copy_id for copy in found.unreadable] == [theirs]
    copy = next(copy for copy in copies.of("owner") if copy.copy_id == theirs)
    with pytest.raises(ValueError, match="not what this server sealed"):
        copies.read_at(copy, 0)


def test_two_that_take_something_out_of_one_copy_take_both_out(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = CopyTable(database, 7, Sealer([KEY]))
    made(copies, *(f"r{number}" for number in range(8)))

    async def all_at_once() -> None:
        numbers = iter(range(8))
        await together(8, lambda: copies.forget("owner", [f"r{next(numbers)}"], lambda *_: False))

    anyio.run(all_at_once)
    assert not copies.of("owner")


def test_any_text_is_kept(database: PostgresqlDatabase) -> None:
    records = JobRecords(database)
    records.end(records.add("owner", "caller", "a\0b\ud800", order="\0").key, "done", "t\0ld")
    [job] = records.of("owner")
    assert (job.what, job.told) == ("a\ufffdb?", "t\ufffdld")


def test_no_line_of_the_audit_log_stops_a_query_over_it(
    database: PostgresqlDatabase, postgres: PostgresServer, postgres_url: str
) -> None:
    AuditTable(database).append({"tool": "delete_request", "request_ids": ["a\0b", "\ud800", r"c\u0000"]})
    name = postgres_url.rsplit("/", 1)[1]
    assert "delete_request" in postgres.sql(documented("### What it holds"), name)
    with database.transaction() as transaction:
        [line] = transaction.execute("SELECT line FROM audit_log").fetchone()
    assert line["request_ids"] == ["a\ufffdb", "?", r"c\u0000"]


def test_a_copy_whose_end_is_not_known_is_left_to_nobody(
    database: PostgresqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = CopyTable(database, 7, Sealer([KEY]))
    writer = copies.begin("owner")
    writer.add([request("r1")])
    commit = psycopg.Connection.commit

    def lost(connection: psycopg.Connection[Any]) -> None:
        commit(connection)
        raise psycopg.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Connection, "commit", lost)
        with pytest.raises(StateUnusable):
            writer.finish()
    assert copies.of("owner")
    writer.discard()
    assert not copies.of("owner")


def test_the_pool_logs_nothing(
    postgres: PostgresServer, opened: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    database = opened.enter_context(closing(PostgresqlDatabase(postgres.url("elsewhere"), wait=0.5)))
    with pytest.raises(StateUnusable):
        HourlyCap(10, database).room("me")
    assert "elsewhere" not in caplog.text
