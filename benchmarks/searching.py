"""Searches of a large embedded store: how much processor time one call takes, and how long it takes on a busy machine.

A call may not answer with a part: each figure is of one call that looked at everything.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from benchmarks.figures import Figure
from benchmarks.filling import REQUESTS_A_SESSION, fill, read_all
from reflexio_mcp.embedded_store.database import Database

SHORT = 250_000
LONG = 10_000
LONG_CHARS = 11_000
"""Requests, and the characters of a long one."""

SECONDS = 3.0
BUSY = 2
BUSY_FACTOR = 3.0
"""Processor time of a search without a hit. Busy loops beside a call, and how much longer it may take then."""

NO_HIT = "zeppelin"


def measure() -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.db", Path(folder) / "long.db"
        fill(short, SHORT)
        fill(long, LONG)
        _lengthen(long)
        words = _call("words", short)
        yield Figure(
            f"a word that none of {SHORT:,} short requests has",
            words["processor"],
            SECONDS,
            "s",
            f"processor time, one call, {words['seconds']:.1f} s, {words['looked_at']:,} looked at",
        )
        reading, words = _call("read", long), _call("words", long)
        yield Figure(
            f"a word that none of {LONG:,} requests of {LONG_CHARS:,} characters has, over reading their rows",
            words["processor"] / reading["processor"],
            2.0,
            "x",
            f"processor time {words['processor']:.1f} s / {reading['processor']:.1f} s",
        )
        ten_thousand = Path(folder) / "ten_thousand.db"
        fill(ten_thousand, 10_000)
        for what, store in (("longest", short), ("audit", ten_thousand)):
            quiet = _call(what, store)
            with _busy():
                beside = _call(what, store)
            yield Figure(
                f"{what} of {quiet['looked_at']:,} requests beside {BUSY} busy loops, over the quiet call",
                beside["seconds"] / quiet["seconds"],
                BUSY_FACTOR,
                "x",
                f"{beside['seconds']:.1f} s / {quiet['seconds']:.1f} s of wall time, "
                f"{beside['looked_at']:,} looked at",
            )


def _lengthen(path: Path) -> None:
    """Make the words of each person long. They differ, so that none is found by its digest."""
    text = ("Please remember that I prefer short answers in the morning. " * (LONG_CHARS // 60 + 1))[
        :LONG_CHARS
    ]
    database = Database(str(path))
    with database.writing() as connection:
        connection.execute("UPDATE interactions SET content = request || ? WHERE role = 'User'", (text,))
    database.close()


@contextmanager
def _busy() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(BUSY)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _call(what: str, store: Path) -> dict[str, Any]:
    """Make the call in a process of its own, so that its processor time is its own."""
    command = [sys.executable, "-m", "benchmarks.searching", what, str(store)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


async def _made(what: str, store: str) -> dict[str, Any]:
    from reflexio_mcp.embedded_store.app import EmbeddedStore
    from reflexio_mcp.rest.client import ReflexioClient
    from reflexio_mcp.traffic.audit.calls import Offer
    from reflexio_mcp.traffic.audit.run import run_audit
    from reflexio_mcp.traffic.reading.filters import TrafficFilter
    from reflexio_mcp.traffic.reading.listing import list_requests, list_sessions
    from reflexio_mcp.traffic.scope import Scope

    client = ReflexioClient("http://embedded.invalid", transport=EmbeddedStore(store))
    try:
        scope = Scope(client, embedded=True, learns=False)
        begun, processor = time.perf_counter(), time.process_time()
        if what == "read":
            looked_at = await read_all(client)
        elif what == "audit":
            audit = await run_audit(scope, TrafficFilter(), offer=Offer(frozenset(), scope))
            assert not audit.cursor, "the audit stopped before its end"
            looked_at = audit.traffic.requests
        elif what == "longest":
            listed = await list_sessions(scope, TrafficFilter(), limit=10, order="longest")
            looked_at = listed.total * REQUESTS_A_SESSION if listed.total else 0
            assert looked_at == SHORT, "the list is not of all sessions"
        else:
            found = await list_requests(scope, TrafficFilter(contains=NO_HIT), limit=20)
            assert found.looked_at.complete, "one call did not look at everything"
            assert not found.returned
            looked_at = found.looked_at.requests or 0
        seconds, spent = time.perf_counter() - begun, time.process_time() - processor
    finally:
        await client.aclose()
    return {"seconds": seconds, "processor": spent, "looked_at": looked_at}


if __name__ == "__main__":
    print(json.dumps(anyio.run(_made, sys.argv[1], sys.argv[2])))
