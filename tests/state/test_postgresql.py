"""What PostgreSQL alone can do to the state: be away, say nothing, restart, lack rights, and stand behind a pooler."""

import logging
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import anyio
import pytest
from mcp.client.client import Client

from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.state.state import State
from reflexio_mcp.state.tables import FIRST_VERSION, TABLES, VERSION, Database, StateUnusable
from tests.doctor.servers import certificate
from tests.state.conftest import ALICE, KEY, OPERATOR, copied, deleted, deletion, of_servers
from tests.state.test_races import together
from tests.support.facts import fact_of
from tests.support.pgbouncer import PGBOUNCER, pgbouncer
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.support.serving import free_port

pytest.importorskip("psycopg", reason="psycopg is not installed")

from reflexio_mcp.cli import main
from reflexio_mcp.state import postgresql
from reflexio_mcp.state.postgresql import ENGINE, SERVERS, PostgresqlDatabase

pytestmark = pytest.mark.ci

THE_OWNER_CONNECTS = "SELECT 'the owner connects'"

ROOT = Path(__file__).parent.parent.parent

DOCUMENTED = ROOT / "docs" / "shared-server.md"

OPERATION = ROOT / "packaging" / "README.md"


@pytest.fixture
def opened() -> Iterator[Callable[[str], State]]:
    """Makes one more process at a URL."""
    with ExitStack() as stack:

        def process(url: str) -> State:
            database = stack.enter_context(closing(PostgresqlDatabase(url)))
            return State(database, lambda: [KEY], limit=100, days=7)

        yield process


@pytest.fixture
def state(opened: Callable[[str], State], postgres_url: str) -> State:
    return opened(postgres_url)


def name_of(url: str) -> str:
    return url.rsplit("/", 1)[1]


def refusal(use: Callable[[], object]) -> StateUnusable:
    with pytest.raises(StateUnusable) as refused:
        use()
    return refused.value


@contextmanager
def begun(database: Database) -> Iterator[int]:
    """A transaction, by the process of the server that works on it."""
    with database.transaction() as transaction:
        yield transaction.execute("SELECT pg_backend_pid()")[0][0]
        transaction.execute("SELECT 1")


def test_a_database_without_an_encoding_is_used_as_any_other(
    postgres: PostgresServer, opened: Callable[[str], State]
) -> None:
    postgres.sql("CREATE DATABASE plain ENCODING SQL_ASCII TEMPLATE template0")
    try:
        first = opened(postgres.url("plain"))
        number = first.begin(OPERATOR, deletion())
        assert opened(postgres.url("plain")).begin(OPERATOR, deletion()) == number + 1
    finally:
        postgres.sql("DROP DATABASE plain WITH (FORCE)")


def test_a_database_that_restarts_is_refused_meanwhile_and_used_again_afterwards(
    postgres: PostgresServer, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    state.begin(OPERATOR, deletion())
    postgres.stop()
    try:
        assert refusal(state.prune).strerror == (
            "the state database: nothing answers at the host and port in its URL"
        )
    finally:
        postgres.start()
    assert state.check_room(OPERATOR) == 99
    assert not any(word in caplog.text for word in (PASSWORD, "127.0.0.1", str(postgres.port)))


def test_one_connection_serves_many_transactions_until_the_server_ends_it(
    postgres: PostgresServer, state: State
) -> None:
    with begun(state.database) as first:
        pass
    with begun(state.database) as second, begun(state.database) as beside:
        assert second == first != beside
    for worker in (first, beside):
        postgres.sql(f"SELECT pg_terminate_backend({worker})")
    assert state.begin(OPERATOR, deletion())


def test_a_transaction_that_ends_after_the_database_was_closed_leaves_no_connection_open(
    postgres_url: str,
) -> None:
    database = PostgresqlDatabase(postgres_url)
    with database.transaction() as transaction:
        database.close()
        connection = transaction._cursor.connection  # pyright: ignore[reportPrivateUsage]
    assert connection.closed


def test_a_database_that_says_nothing_is_given_up(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    state.check()
    monkeypatch.setattr(postgresql, "REPLY_SECONDS", 0.5)
    with ExitStack() as stack:

        def use() -> None:
            with begun(state.database) as worker:
                os.kill(worker, signal.SIGSTOP)
                stack.callback(os.kill, worker, signal.SIGCONT)

        assert refusal(use).strerror == "the state database: it does not answer"
    assert state.begin(OPERATOR, deletion())


def test_a_lock_that_is_not_given_up_is_not_waited_for_for_ever(
    state: State, opened: Callable[[str], State], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        postgresql,
        "TIME_AND_SETTINGS",
        postgresql.TIME_AND_SETTINGS.replace("'lock_timeout', '10000'", "'lock_timeout', '100'"),
    )
    other = opened(postgres_url)
    with state.database.transaction() as transaction:
        transaction.serialise("cap")
        refused = refusal(lambda: other.begin(OPERATOR, deletion()))
    assert refused.strerror == "the state database: lock not available"
    assert other.begin(OPERATOR, deletion())


def test_replicas_that_start_together_make_the_tables_once(
    postgres_url: str, opened: Callable[[str], State]
) -> None:
    replicas = [opened(postgres_url) for _ in range(8)]
    assert sorted(together([lambda one=one: one.begin(OPERATOR, deletion()) for one in replicas])) == list(
        range(1, 9)
    )


@pytest.mark.parametrize("comment", ["NULL", f"'{VERSION + 1}'"])
def test_tables_of_another_version_are_left_alone(
    postgres: PostgresServer,
    postgres_url: str,
    state: State,
    opened: Callable[[str], State],
    comment: str,
) -> None:
    state.begin(OPERATOR, deletion())
    postgres.sql(f"COMMENT ON TABLE reflexio_mcp.deletions IS {comment}", name_of(postgres_url))
    assert "made by another version" in str(refusal(lambda: opened(postgres_url).begin(OPERATOR, deletion())))
    assert postgres.sql("SELECT count(*) FROM reflexio_mcp.deletions", name_of(postgres_url)) == "1"


def state_command(
    code: int, action: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What `reflexio-mcp state` says; the key is that of the test's states."""
    monkeypatch.setenv("REFLEXIO_MCP_STATE", url)
    if action == "check":
        monkeypatch.setenv("REFLEXIO_MCP_STATE_KEYS", KEY.decode())
    done = main(["state", action])
    said = capsys.readouterr()
    assert (done, "a password" in said.err) == (code, False), said
    return said.out + said.err


def test_what_is_wrong_with_the_database_is_named(
    postgres: PostgresServer,
    postgres_url: str,
    opened: Callable[[str], State],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = name_of(postgres_url)

    def told(code: int, action: str, url: str = postgres_url) -> str:
        return state_command(code, action, url, monkeypatch, capsys)

    assert "There are no tables. Run `reflexio-mcp state create`" in told(1, "check")
    postgres.sql(
        ";".join(f"CREATE ROLE {role} LOGIN PASSWORD 'a password'" for role in ("other", SERVERS)), name
    )
    try:
        other = postgres.url(name, "other", "a password")
        assert "CREATE SCHEMA reflexio_mcp AUTHORIZATION other;" in told(1, "create", other)
        told(0, "create")
        assert "belongs to the role postgres, and REFLEXIO_MCP_STATE names other" in told(1, "create", other)
        not_of_servers = "REFLEXIO_MCP_STATE names the role other. Servers connect as reflexio_mcp_server:"
        assert not_of_servers in told(1, "check", other)
        can_change = "names the role postgres, which can change the audit log. Servers connect as"
        assert can_change in told(1, "check")
        opened(postgres_url).begin(OPERATOR, deletion())
        monkeypatch.setenv("REFLEXIO_MCP_STATE_KEYS", "k" * 32)
        monkeypatch.setenv("REFLEXIO_MCP_STATE", postgres.url(name, SERVERS, "a password"))
        assert (main(["state", "check"]), "REFLEXIO_MCP_STATE_KEYS" in capsys.readouterr().err) == (2, True)
        postgres.sql(f"COMMENT ON TABLE reflexio_mcp.deletions IS '{VERSION + 1}'", name)
        for action in ("create", "upgrade", "check"):
            assert "made by another version" in told(1, action)
        postgres.sql("ALTER SCHEMA reflexio_mcp RENAME TO backup", name)
        assert "The tables are in the schema backup" in told(1, "check")
        assert "The tables are in the schema backup" in told(1, "create")
    finally:
        postgres.sql("DROP OWNED BY other, reflexio_mcp_server; DROP ROLE other, reflexio_mcp_server", name)


def test_tables_of_an_earlier_version_are_changed_by_an_upgrade_alone(
    postgres: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = name_of(postgres_url)
    first = [part.strip() for part in TABLES.format(**ENGINE).split(";")]
    mark = f"COMMENT ON TABLE reflexio_mcp.deletions IS '{FIRST_VERSION}'"
    postgres.sql(
        ";".join(["CREATE SCHEMA reflexio_mcp", *first, mark, "CREATE ROLE reflexio_mcp_server"]), name
    )
    try:
        for action in ("create", "check"):
            said = state_command(1, action, postgres_url, monkeypatch, capsys)
            assert f"The tables have version {FIRST_VERSION}" in said
            assert "state upgrade`" in said
        assert f"version {VERSION}" in state_command(0, "upgrade", postgres_url, monkeypatch, capsys)
    finally:
        postgres.sql("DROP OWNED BY reflexio_mcp_server; DROP ROLE reflexio_mcp_server", name)


def documented(heading: str, secret: str = "a password") -> str:
    """The SQL that docs/shared-server.md gives under a heading."""
    page = DOCUMENTED.read_text(encoding="utf-8")
    return page.split(heading)[1].split("```sql\n")[1].split("```")[0].replace("'...'", f"'{secret}'")


def test_the_documented_rights_are_enough_and_no_line_can_be_backdated_or_changed(
    postgres: PostgresServer,
    postgres_url: str,
    opened: Callable[[str], State],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = name_of(postgres_url)
    states: list[State] = []
    try:
        postgres.sql(documented("### The owner's role"), name)
        url = postgres.url(name, "reflexio_mcp", "a password")
        assert "CREATE ROLE reflexio_mcp_server LOGIN" in state_command(1, "create", url, monkeypatch, capsys)
        postgres.sql(documented("### The servers' role"), name)
        lesser = opened(postgres.url(name, SERVERS, "a password"))
        states.append(lesser)
        refused = refusal(lesser.check)
        assert "insufficient privilege" in str(refused)
        assert "`reflexio-mcp state check`" in refused.advice
        for action in ("create", "upgrade"):
            assert "can use them" in state_command(0, action, url, monkeypatch, capsys)
        servers = postgres.url(name, SERVERS, "a password")
        assert "Deletions can be recorded." in state_command(0, "check", servers, monkeypatch, capsys)
        lesser.check()
        deleted(lesser, ALICE, copied())
        deleted(lesser, OPERATOR, erase=("r:r1",))
        lesser.note_export(ALICE, "a filter", {"requests": 1})
        lesser.prune()
        [erasure, deletion_of_alice] = lesser.last(OPERATOR)
        assert "delete_requests" in erasure.began
        assert deletion_of_alice.receipt == "a receipt"
        assert [one.line for one in lesser.noted(ALICE)]
        for forbidden in (
            "DELETE FROM main.log",
            "UPDATE main.log SET line = ''",
            "INSERT INTO main.log (line, chain, at) VALUES ('', '', 0)",
            "INSERT INTO main.log (line, chain, id) OVERRIDING SYSTEM VALUE VALUES ('', '', 99)",
            "SELECT nextval('main.log_id_seq')",
            "CREATE TABLE main.more ()",
            "TRUNCATE main.copies",
        ):
            with (
                pytest.raises(StateUnusable, match="insufficient privilege"),
                lesser.database.transaction() as transaction,
            ):
                transaction.execute(forbidden)
        owner = opened(postgres.url(name, "reflexio_mcp", "a password"))
        states.append(owner)
        assert owner.log.verify().lines == lesser.log.verify().lines == 5
        assert owner.log.verify().wrong is None
        assert "begin" in postgres.sql(documented("### The audit log"), name)
    finally:
        for state in states:
            state.database.close()
        postgres.sql(f"DROP OWNED BY reflexio_mcp, {SERVERS}; DROP ROLE reflexio_mcp, {SERVERS}", name)


def test_the_documented_way_to_leave_removes_the_tables_and_both_roles(
    postgres: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = name_of(postgres_url)
    [leave] = re.findall(r"`(DROP SCHEMA [^`]*)`", OPERATION.read_text(encoding="utf-8"))
    for heading in ("### The owner's role", "### The servers' role"):
        postgres.sql(documented(heading), name)
    owners = postgres.url(name, "reflexio_mcp", "a password")
    state_command(0, "create", owners, monkeypatch, capsys)
    postgres.sql(leave, name)
    assert postgres.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'reflexio%'") == ""
    assert "CREATE ROLE reflexio_mcp_server" in state_command(1, "create", postgres_url, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"REVOKE {right} ON reflexio_mcp.{table} FROM {SERVERS}", f"lacks {right} on {table}.")
        for table, rights in postgresql.RIGHTS.items()
        for right in rights
    ]
    + [
        (f"GRANT {right} ON reflexio_mcp.log TO {SERVERS}", f"must not have {right} on log.")
        for right in ("UPDATE", "DELETE", "INSERT (at)", "TRUNCATE")
    ]
    + [
        (f"REVOKE USAGE ON SCHEMA reflexio_mcp FROM {SERVERS}", "lacks USAGE on schema reflexio_mcp."),
        ("GRANT UPDATE ON reflexio_mcp.log TO PUBLIC", "must not have UPDATE on log."),
    ],
)
def test_each_right_that_the_servers_lack_or_must_not_have_is_named_until_it_is_mended(
    change: str,
    said: str,
    postgres: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with of_servers(postgres, postgres_url) as servers:
        postgres.sql(change, name_of(postgres_url))
        assert said in state_command(1, "check", servers, monkeypatch, capsys)
        assert main(["doctor"]) == 1
        assert said in capsys.readouterr().out
        state_command(0, "create", postgres_url, monkeypatch, capsys)
        assert "Deletions can be recorded." in state_command(0, "check", servers, monkeypatch, capsys)


def test_what_the_owner_cannot_take_from_the_servers_is_named_with_who_can(
    postgres: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with of_servers(postgres, postgres_url) as servers:
        postgres.sql(f"ALTER ROLE {SERVERS} SUPERUSER")
        for action, url in (("check", servers), ("create", postgres_url)):
            said = state_command(1, action, url, monkeypatch, capsys)
            assert f"run: ALTER ROLE {SERVERS} NOSUPERUSER;" in said
        postgres.sql(f"ALTER ROLE {SERVERS} NOSUPERUSER; GRANT pg_write_all_data TO {SERVERS}")
        assert "must not have" in state_command(1, "check", servers, monkeypatch, capsys)
        said = state_command(1, "create", postgres_url, monkeypatch, capsys)
        assert "UPDATE on log" in said
        assert "This command could not change that" in said


WHAT_IS_WRONG = "`reflexio-mcp state check` says what is wrong"


@pytest.mark.anyio
async def test_the_start_and_the_status_name_rights_that_the_check_of_the_state_does_not_want(
    postgres: PostgresServer, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with of_servers(postgres, postgres_url) as servers:
        variables = {
            "REFLEXIO_MCP_STORE": ":memory:",
            "REFLEXIO_MCP_STATE": servers,
            "REFLEXIO_MCP_STATE_KEYS": KEY.decode(),
        }
        for change, named in (
            ("SELECT 1", False),
            (f"REVOKE INSERT ON reflexio_mcp.judged FROM {SERVERS}", True),
            (f"GRANT INSERT ON reflexio_mcp.judged TO {SERVERS}", False),
            (f"GRANT UPDATE ON reflexio_mcp.log TO {SERVERS}", True),
            (f"REVOKE UPDATE ON reflexio_mcp.log FROM {SERVERS}", False),
            (THE_OWNER_CONNECTS, True),
        ):
            if change == THE_OWNER_CONNECTS:
                variables["REFLEXIO_MCP_STATE"] = postgres_url
            postgres.sql(change, name_of(postgres_url))
            caplog.clear()
            async with Client(ReflexioServer(load(variables))) as client:
                status = await client.call_tool("get_status", {})
                with anyio.fail_after(30):
                    # The start says it when it has looked, which no call waits for.
                    while named and WHAT_IS_WRONG not in caplog.text:  # noqa: ASYNC110
                        await anyio.sleep(0.01)
            assert (fact_of(status.structured_content or {}, "state_does_not_fit") is not None) is named
            assert (WHAT_IS_WRONG in caplog.text) is named


@pytest.mark.parametrize("table", postgresql.RIGHTS)
def test_a_table_in_another_schema_is_named_with_that_schema(
    table: str,
    postgres: PostgresServer,
    postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with of_servers(postgres, postgres_url) as servers:
        postgres.sql(f"ALTER TABLE reflexio_mcp.{table} SET SCHEMA public", name_of(postgres_url))
        for url, action in ((servers, "check"), (postgres_url, "create")):
            said = state_command(1, action, url, monkeypatch, capsys)
            assert f"The table {table} is not in the schema reflexio_mcp but in public." in said
        postgres.sql(f"DROP TABLE public.{table}", name_of(postgres_url))
        said = state_command(1, "check", servers, monkeypatch, capsys)
        assert f"The table {table} is not in the schema reflexio_mcp." in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "mistyped"}, "it refuses the role postgres or the password in its URL"),
        ({"role": "nobody"}, "it refuses the role nobody or the password in its URL"),
        ({"database": "elsewhere"}, "the database in its URL does not exist"),
        ({"host": "canary.invalid"}, "the host in its URL is not known"),
        ({"sslmode": "require"}, "it does not speak TLS as the URL asks"),
        ({"target_session_attrs": "canary"}, "a parameter of its URL has a wrong value"),
    ],
)
def test_why_a_connection_is_refused_is_said_with_its_role_and_without_addresses_or_secrets(
    postgres: PostgresServer,
    opened: Callable[[str], State],
    caplog: pytest.LogCaptureFixture,
    change: dict[str, str],
    said: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    refused = refusal(opened(postgres.url(**({"database": "postgres"} | change))).check)
    assert refused.strerror == f"the state database: {said}"
    told = f"{refused} {refused.advice} {refused.__cause__} {caplog.text}"
    assert "state check" not in told
    assert not any(word in told for word in (PASSWORD, "mistyped", "127.0.0.1", "elsewhere", "canary"))


def test_nobody_listens_at_the_address(opened: Callable[[str], State]) -> None:
    state = opened(f"postgresql://a:secret@127.0.0.1:{free_port()}/x")
    assert refusal(state.prune).strerror == (
        "the state database: nothing answers at the host and port in its URL"
    )


def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    assert "secret" not in repr(refusal(lambda: PostgresqlDatabase("postgresql://a:secret@[broken/x")))


def test_databases_that_the_environment_chooses_do_not_share_the_note_of_the_last_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def name(url: str, **variables: str) -> str:
        with monkeypatch.context() as patch:
            for variable in ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE"):
                patch.delenv(variable, raising=False)
            for variable, value in variables.items():
                patch.setenv(variable, value)
            with closing(PostgresqlDatabase(url)) as database:
                return database.name

    url = "postgresql://ada@localhost:5432/"
    names = [
        name(f"{url}one"),
        name(f"{url}two"),
        name(url),
        name(url.replace("ada", "ben")),
        name("postgresql://localhost:5432/", PGSERVICE="one"),
        name("postgresql:///?service=two"),
    ]
    assert len(set(names)) == len(names)
    assert name(url, PGDATABASE="one") == names[0]
    assert name("postgresql:///one", PGHOST="localhost", PGPORT="5432") == names[0]


def test_a_database_that_can_only_be_read_is_said_before_a_deletion_needs_it(
    postgres: PostgresServer, postgres_url: str, state: State, opened: Callable[[str], State]
) -> None:
    state.check()
    postgres.sql(f"ALTER DATABASE {name_of(postgres_url)} SET default_transaction_read_only = on")
    assert "read only sql transaction" in str(refusal(opened(postgres_url).check))


def test_what_is_recorded_is_on_the_disk_whatever_the_database_is_set_to(
    postgres: PostgresServer, postgres_url: str
) -> None:
    for configured, effective in (("off", "on"), ("remote_apply", "remote_apply")):
        postgres.sql(f"ALTER DATABASE {name_of(postgres_url)} SET synchronous_commit = {configured}")
        with closing(PostgresqlDatabase(postgres_url)) as database, database.transaction() as transaction:
            assert transaction.execute("SHOW synchronous_commit") == [(effective,)]


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
def test_replicas_may_share_a_pooler(
    postgres: PostgresServer, postgres_url: str, opened: Callable[[str], State]
) -> None:
    with pgbouncer(postgres, "transaction") as port:
        replicas = [opened(postgres_url.replace(f":{postgres.port}/", f":{port}/")) for _ in range(6)]
        numbers = together(
            [lambda one=one: deleted(one, ALICE, copied(), erase=("r:r1",)) for one in replicas]
        )
        assert sorted(numbers) == list(range(1, 7))
        assert not replicas[0].copies.listed(ALICE)
        assert replicas[0].log.verify().wrong is None
        for one in replicas:
            one.database.close()


@pytest.fixture
def issuer(postgres: PostgresServer, tmp_path: Path) -> Iterator[Path]:
    """The server speaks TLS; what its certificate can be checked with."""
    _, file = certificate(tmp_path)
    postgres.speak_tls(file)
    yield file
    postgres.stop_tls()


def test_a_certificate_is_checked_against_its_issuer_and_its_name(
    postgres_url: str, issuer: Path, opened: Callable[[str], State]
) -> None:
    checked = f"{postgres_url}?sslmode=verify-full&sslrootcert={issuer}"
    with opened(checked).database.transaction() as transaction:
        assert transaction.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == [(True,)]
    for wrong in (checked.replace("@127.0.0.1:", "@localhost:"), f"{checked}.missing"):
        assert "certificate" in str(refusal(opened(wrong).check))


def test_what_is_written_during_the_wait_for_a_lock_is_seen_whatever_the_database_says(
    postgres_url: str,
) -> None:
    strict = f"{postgres_url}?options=-c%20default_transaction_isolation%3Dserializable"
    with closing(PostgresqlDatabase(strict)) as database:
        assert database.read("SELECT current_setting('transaction_isolation')") == [("read committed",)]
        assert database.read("SELECT current_setting('default_transaction_isolation')") == [("serializable",)]
