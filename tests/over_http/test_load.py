"""64 clients on three replicas behind nginx, one of them killed and started again half-way."""

import os
import sqlite3
import sys
from contextlib import AsyncExitStack, closing
from pathlib import Path

import anyio
import pytest

from tests.support.load import load
from tests.support.replicas import NGINX, behind_nginx, replica, replicas

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.ci,
    pytest.mark.skipif(sys.platform == "win32", reason="a process is killed"),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]

CALLS = int(os.environ.get("REFLEXIO_TEST_LOAD_CALLS", "1200"))
"""10,000 is the full load; by itself the test runs a part of it."""


async def test_what_was_acknowledged_is_stored_once_and_errors_are_worth_another_try(tmp_path: Path) -> None:
    async with (
        replicas(tmp_path, 3) as three,
        behind_nginx(tmp_path, three) as url,
        AsyncExitStack() as stack,
    ):

        async def kill_and_restart() -> None:
            victim = three[1]
            assert victim.process
            victim.process.kill()
            await victim.process.wait()
            await stack.enter_async_context(replica(tmp_path, 9, port=victim.port))

        with anyio.fail_after(60 + CALLS / 20):
            ledger = await load(url, clients=64, calls=CALLS, half_way=kill_and_restart)
    assert not ledger.wrong, ledger.wrong[:5]
    assert ledger.calls >= CALLS
    print(f"\n{ledger.calls} calls, {len(ledger.acknowledged)} publishes; retried: {dict(ledger.failures)}")  # noqa: T201
    with closing(sqlite3.connect(tmp_path / "store.db")) as store:
        stored = dict(
            store.execute("SELECT request_id, count(*) FROM requests GROUP BY request_id").fetchall()
        )
    assert {stored.get(one) for one in ledger.acknowledged} == {1}
