"""An audit of 100,000 requests in the embedded store, against reading the same rows with the bare client."""

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure
from benchmarks.filling import fill, read_all

REQUESTS = 100_000
RATIO = 3.0
"""Reading is most of the work: a look at each row may cost twice as much again."""

MEGABYTES = 60.0
"""Peak above that of a process that has read the rows and kept none."""


def measure() -> list[Figure]:
    """Each pass in a process of its own, so that its peak is its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        fill(store, REQUESTS)
        read, audited = (_in_a_process(what, store) for what in ("read", "audit"))
    return [
        Figure(
            f"audit of {REQUESTS:,} requests over reading them",
            audited["seconds"] / read["seconds"],
            RATIO,
            "x",
            f"{audited['seconds']:.1f} s / {read['seconds']:.1f} s, {audited['requests']:,} looked at",
        ),
        Figure(
            "peak memory of that audit above reading",
            audited["megabytes"] - read["megabytes"],
            MEGABYTES,
            "MB",
            f"{audited['megabytes']:.0f} MB - {read['megabytes']:.0f} MB",
        ),
    ]


def _in_a_process(what: str, store: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.audit", what, str(store)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


async def _pass(what: str, store: str) -> int:
    import httpx

    from reflexio_mcp.rest.client import ReflexioClient
    from reflexio_mcp.traffic.audit import run
    from reflexio_mcp.traffic.audit.calls import Offer
    from reflexio_mcp.traffic.audit.run import run_audit
    from reflexio_mcp.traffic.reading.filters import TrafficFilter
    from reflexio_mcp.traffic.scope import Scope
    from tests.support.store_app import StoreApp

    app = StoreApp(store)
    client = ReflexioClient(
        "http://store.invalid", timeout=600, transport=lambda: httpx.ASGITransport(app=app)
    )
    try:
        if what == "audit":
            run.AUDIT_SECONDS = 3600.0  # of all of it, however long it takes
            everything = TrafficFilter(start_time=0)
            scope = Scope(client)
            audit = await run_audit(scope, everything, offer=Offer(frozenset(), scope))
            return audit.traffic.requests
        return await read_all(client)
    finally:
        await client.aclose()
        await app.aclose()


if __name__ == "__main__":
    begun = time.process_time()  # of all threads: a machine with other work measures the same
    count = asyncio.run(_pass(sys.argv[1], sys.argv[2]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in kB
    print(json.dumps({"seconds": time.process_time() - begun, "requests": count, "megabytes": peak}))
