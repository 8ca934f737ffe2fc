"""A PostgreSQL server of this test run, from the programs that Debian installs, started as an ordinary user."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tests.support.serving import free_port

USER = "postgres"
PASSWORD = "a-password/nobody:may?see"
"""With characters that a URL has to escape."""


@functools.cache
def programs() -> Path | None:
    """The folder with `initdb` and `postgres`; Debian keeps it off the PATH. `None` where there is none."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: float(one.parent.name))
    found = shutil.which("initdb")
    folder = newest[-1] if newest else Path(found).parent if found else None
    if folder is None or sys.platform == "win32":
        return None
    # It refuses to run as root, so root runs it as the user that the package made.
    return folder if os.geteuid() != 0 or shutil.which("runuser") else None


class PostgresServer:
    """A running server on a port of 127.0.0.1.

    Args:
        folder: its own folder, which an ordinary user can write.
        programs: the folder of PostgreSQL's programs.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Make the cluster. Everybody who connects needs a password."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if os.geteuid() == 0:
            for path in (self._folder, secret):
                shutil.chown(path, USER)
        options = ["-D", f"{self._folder}/data", "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}"]
        self._run("initdb", *options, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self._folder}",
            "max_connections=60",
        ]
        given = [part for setting in settings for part in ("-c", setting)]
        command = self._command("postgres", "-D", f"{self._folder}/data", "-p", str(self.port), *given)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "60", until=60)

    def stop(self) -> None:
        """Stop it as its administrator would, ending every connection."""
        assert self._process
        self._run("pg_ctl", "stop", "-D", f"{self._folder}/data", "-m", "fast", "-w", "-t", "60")
        self._process.wait(timeout=60)
        self._process = None

    @property
    def running(self) -> bool:
        return self._process is not None

    def url(self, database: str, role: str = USER, password: str = PASSWORD, **parameters: str) -> str:
        """The URL of a database."""
        tail = "&".join(f"{name}={quote(value)}" for name, value in parameters.items())
        sign_in = f"{quote(role)}:{quote(password, safe='')}"
        return f"postgresql://{sign_in}@127.0.0.1:{self.port}/{database}{'?' if tail else ''}{tail}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the administrator, and return what it printed."""
        return self._run("psql", self.url(database), "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def speak_tls(self, certificate: Path) -> None:
        """Answer over TLS too, with the certificate and key of a file."""
        own = Path(self.sql("SHOW data_directory")) / "tls.pem"
        shutil.copy(certificate, own)
        own.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(own, USER)
        for name in ("ssl_cert_file", "ssl_key_file"):
            self.sql(f"ALTER SYSTEM SET {name} = '{own}'")
        self._switch_tls("ALTER SYSTEM SET ssl = on", "on")

    def stop_tls(self) -> None:
        """Answer without TLS alone."""
        self._switch_tls("ALTER SYSTEM RESET ssl", "off")
        for name in ("ssl_cert_file", "ssl_key_file"):
            self.sql(f"ALTER SYSTEM RESET {name}")

    def _switch_tls(self, statement: str, wanted: str) -> None:
        self.sql(statement)
        self.sql("SELECT pg_reload_conf()")
        over = time.monotonic() + 60
        while self.sql("SHOW ssl") != wanted:
            assert time.monotonic() < over
            time.sleep(0.05)

    def _command(self, name: str, *arguments: str) -> list[str]:
        command = [str(self._programs / name), *arguments]
        return ["runuser", "-u", USER, "--", *command] if os.geteuid() == 0 else command

    def _run(self, name: str, *arguments: str, until: float = 0) -> str:
        over = time.monotonic() + until
        while True:
            done = subprocess.run(
                self._command(name, *arguments),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                timeout=120,
                check=False,
            )
            if done.returncode == 0:
                return done.stdout.strip()
            if time.monotonic() >= over:
                raise AssertionError(f"{name} failed: {done.stdout}{done.stderr}")
            time.sleep(0.1)


@contextmanager
def postgres_server() -> Iterator[PostgresServer | None]:
    """A server for as long as the block runs; `None` where PostgreSQL is not installed."""
    found = programs()
    if found is None:
        yield None
        return
    # A short path: the name of a socket has a limit.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        server = PostgresServer(Path(name), found)
        server.create()
        server.start()
        try:
            yield server
        finally:
            if server.running:
                server.stop()
