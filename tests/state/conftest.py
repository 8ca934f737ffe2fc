"""Both engines of the state, each with a clock that a test can move."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.state.audit_log import AuditLog
from reflexio_mcp.state.database import StateDatabase, Transaction
from reflexio_mcp.state.hourly_cap import HourlyCap
from reflexio_mcp.state.job_records import JobRecords
from reflexio_mcp.state.local.audit_file import AuditFile
from reflexio_mcp.state.local.copy_folder import CopyFolder
from reflexio_mcp.state.local.database import LocalDatabase
from reflexio_mcp.state.recovery_copies import RecoveryCopies
from tests.support.embedded import Clock
from tests.support.pgbouncer import PGBOUNCER, pgbouncer
from tests.support.postgres_server import PostgresServer

KEY = "Zk3v9Qw7xR2mT8pL5nJ4hB6cF1dS0aGy"


@dataclass
class Engine:
    """What several processes share. Each `process`, `jobs`, `cap` and so on is that of one more process.

    Args:
        clock: the time that all of them see.
        process: makes what one more process has open.
        copies: makes the recovery copies of one more process.
        audit_log: makes the audit log of one more process.
        lines: what stands in the audit log.
    """

    clock: Clock
    process: Callable[[], StateDatabase]
    copies: Callable[[], RecoveryCopies]
    audit_log: Callable[[], AuditLog]
    lines: Callable[[], list[dict[str, Any]]]
    is_local: bool = False

    def jobs(self, account: str = "account") -> JobRecords:
        return JobRecords(self.process(), account)

    def cap(self, limit: int = 10) -> HourlyCap:
        return HourlyCap(limit, self.process())


@pytest.fixture(scope="session")
def pooler(postgres: PostgresServer) -> Iterator[int]:
    """The port of a PgBouncer that gives each transaction a connection."""
    if PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed")
    with pgbouncer(postgres, "transaction") as port:
        yield port


@pytest.fixture(params=["local", "postgresql", "postgresql-behind-pgbouncer"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    clock = Clock()
    opened: list[StateDatabase] = []
    if request.param == "local":

        def file() -> LocalDatabase:
            return LocalDatabase(lambda: tmp_path / "state.db", clock)

        log = tmp_path / "audit.jsonl"
        yield Engine(
            clock,
            file,
            lambda: CopyFolder(lambda: tmp_path / "copies", 7, clock),
            lambda: AuditFile(str(log), clock),
            lambda: [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()],
            is_local=True,
        )
        return
    url: str = request.getfixturevalue("postgres_url")
    if request.param == "postgresql-behind-pgbouncer":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = url.replace(f":{server.port}/", f":{request.getfixturevalue('pooler')}/")
    # Imported where psycopg is installed alone.
    from reflexio_mcp.state.postgresql.audit_table import AuditTable
    from reflexio_mcp.state.postgresql.copy_table import CopyTable
    from reflexio_mcp.state.postgresql.database import PostgresqlDatabase
    from reflexio_mcp.state.postgresql.sealing import Sealer

    class Clocked(PostgresqlDatabase):
        def _made(self, cursor: Any, now: float) -> Transaction:
            return super()._made(cursor, clock())

    def process() -> StateDatabase:
        opened.append(Clocked(url, pool_size=2))
        return opened[-1]

    def lines() -> list[dict[str, Any]]:
        with process().transaction() as transaction:
            rows = transaction.execute("SELECT line FROM audit_log ORDER BY id").fetchall()
        return [row[0] for row in rows]

    yield Engine(
        clock,
        process,
        lambda: CopyTable(process(), 7, Sealer([KEY])),
        lambda: AuditTable(process()),
        lines,
    )
    for database in opened:
        database.close()
