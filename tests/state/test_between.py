"""What stands between a replica and its database: TLS with a checked certificate, and a pooler."""

import os
import shutil
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reflexio_mcp.state.database import StateUnusable
from reflexio_mcp.state.hourly_cap import HourlyCap
from tests.doctor.servers import certificate
from tests.support.pgbouncer import PGBOUNCER, pgbouncer
from tests.support.postgres_server import USER, PostgresServer

pytest.importorskip("psycopg", reason="psycopg is not installed")

from reflexio_mcp.state.postgresql.database import PostgresqlDatabase, connect


@pytest.fixture
def issuer(postgres: PostgresServer, tmp_path: Path) -> Iterator[Path]:
    """The server speaks TLS; what its certificate can be checked with."""
    _, file = certificate(tmp_path)
    own = Path(postgres.sql("SHOW data_directory")) / "tls.pem"
    shutil.copy(file, own)
    own.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(own, USER)
    for name in ("ssl_cert_file", "ssl_key_file"):
        postgres.sql(f"ALTER SYSTEM SET {name} = '{own}'")
    switched(postgres, "ALTER SYSTEM SET ssl = on", "on")
    yield file
    switched(postgres, "ALTER SYSTEM RESET ssl", "off")
    for name in ("ssl_cert_file", "ssl_key_file"):
        postgres.sql(f"ALTER SYSTEM RESET {name}")


def switched(postgres: PostgresServer, statement: str, to: str) -> None:
    postgres.sql(statement)
    postgres.sql("SELECT pg_reload_conf()")
    over = time.monotonic() + 60
    while postgres.sql("SHOW ssl") != to:
        assert time.monotonic() < over
        time.sleep(0.05)


def refusal(url: str) -> str:
    with pytest.raises(StateUnusable) as refused:
        connect(url)
    assert "/" not in str(refused.value), "no path is named"
    return refused.value.strerror or ""


def encrypted(url: str) -> bool:
    with closing(PostgresqlDatabase(url)) as database, database.transaction() as transaction:
        own = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        return transaction.execute(own).fetchone()[0]


def test_a_certificate_is_checked_against_its_issuer_and_its_name(
    postgres: PostgresServer, postgres_url: str, issuer: Path, tmp_path: Path
) -> None:
    checked = f"{postgres_url}?sslmode=verify-full&sslrootcert="
    connect(checked + str(issuer))
    assert encrypted(checked + str(issuer))
    (tmp_path / "another").mkdir()
    _, another = certificate(tmp_path / "another")
    assert refusal(checked + str(another)) == "the state database: its certificate is not trusted"
    elsewhere = checked.replace("@127.0.0.1:", "@localhost:") + str(issuer)
    assert refusal(elsewhere) == "the state database: its certificate is made out to another name"
    missing = refusal(checked + str(tmp_path / "missing.pem"))
    assert missing == "the state database: the file of issuers that the URL names cannot be read"
    with closing(PostgresqlDatabase(checked + str(another))) as database:
        cap = HourlyCap(10, database)
        with pytest.raises(StateUnusable):
            cap.take("me", 1)


def test_the_issuers_of_this_machine_are_those_that_its_python_trusts(
    postgres_url: str, issuer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{postgres_url}?sslrootcert=system"
    assert refusal(url) == "the state database: its certificate is not trusted"
    trusted = ssl.get_default_verify_paths()._replace(cafile=str(issuer))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: trusted)
    assert encrypted(url)
    # The name is checked too, whatever the URL says of it.
    elsewhere = url.replace("@127.0.0.1:", "@localhost:") + "&sslmode=require"
    assert refusal(elsewhere) == "the state database: its certificate is made out to another name"


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")
def test_a_pooler_that_takes_transactions_apart_is_said_to(
    postgres: PostgresServer, postgres_url: str
) -> None:
    with pgbouncer(postgres, "statement") as port:
        url = postgres_url.replace(f":{postgres.port}/", f":{port}/")
        assert refusal(url) == (
            "the state database: a pooler before it takes transactions apart; PgBouncer needs pool_mode = transaction "
            "or session"
        )
        with closing(PostgresqlDatabase(url)) as database, pytest.raises(StateUnusable, match="pool_mode"):
            HourlyCap(10, database).take("me", 1)
