"""A server that is ended at one point of what it keeps about deletions. Run in a process and a folder of its own.

The points are the moments before and after each write to the audit log and each transaction of the state file. At
point number `ENDS_AT`, from 1, the process sends itself the signal `ENDS_WITH`; a stop has begun before it goes on.
The file `points` has a character for each point that was passed.
"""

import contextlib
import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any
from unittest import mock

from reflexio_mcp import cli
from reflexio_mcp.state.local.audit_file import AuditFile
from reflexio_mcp.state.local.database import LocalDatabase
from reflexio_mcp.traffic.deletion.jobs import Jobs

PASSED = Path("points")
append, transaction, close = AuditFile.append, LocalDatabase.transaction, Jobs.close
stopping = threading.Event()


def point() -> None:
    with PASSED.open("a") as file:
        file.write(".")
    if PASSED.stat().st_size == int(os.environ["ENDS_AT"]):
        os.kill(os.getpid(), int(os.environ["ENDS_WITH"]))
        if threading.current_thread() is not threading.main_thread():
            stopping.wait(20)


def append_between(self: AuditFile, *lines: Any) -> None:
    point()
    append(self, *lines)
    point()


@contextlib.contextmanager
def transaction_between(self: LocalDatabase) -> Generator[Any]:
    point()
    with transaction(self) as connection:
        yield connection
    point()


def close_and_say(self: Jobs) -> None:
    close(self)
    stopping.set()


def run() -> int:
    with (
        mock.patch.object(AuditFile, "append", append_between),
        mock.patch.object(LocalDatabase, "transaction", transaction_between),
        mock.patch.object(Jobs, "close", close_and_say),
        mock.patch("reflexio_mcp.traffic.deletion.execute.LEARNING_WAIT_SECONDS", 0.1),
    ):
        return cli.main()
