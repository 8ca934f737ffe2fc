"""PgBouncer in front of the PostgreSQL server of this test run, started as an ordinary user."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.postgres_server import PASSWORD, USER, PostgresServer
from tests.support.serving import free_port

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")

SERVER_CONNECTIONS = 4
"""Fewer than what the tests have open, so that they are really shared."""


@contextmanager
def pgbouncer(server: PostgresServer, pool_mode: str) -> Iterator[int]:
    """A pooler for every database of the server. Yields its port."""
    assert PGBOUNCER
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="pgb-") as name:
        folder = Path(name)
        users = folder / "users"
        users.write_text(f'"{USER}" "{PASSWORD}"\n', encoding="utf-8")
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"""
            [databases]
            * = host=127.0.0.1 port={server.port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {users}
            pool_mode = {pool_mode}
            default_pool_size = {SERVER_CONNECTIONS}
            """.replace("            ", ""),
            encoding="utf-8",
        )
        command = [PGBOUNCER, "-q", str(settings)]
        if os.geteuid() == 0:
            for path in (folder, users, settings):
                shutil.chown(path, USER)
            command = ["runuser", "-u", USER, "--", *command]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            over = time.monotonic() + 60
            while True:
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                said = (folder / "log").read_text(encoding="utf-8")
                assert process.poll() is None and time.monotonic() < over, said  # noqa: PT018
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(60)
