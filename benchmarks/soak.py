"""Mixed traffic of many people on three replicas behind nginx that share their state in PostgreSQL.

Prints, for each sixth of the time, how long calls took and what each replica held. Ends with exit code 1 where an
answer was wrong, something that was acknowledged is not so, or a replica grew. How long calls take is not judged: it
also depends on what else the machine does. Needs Linux, nginx and PostgreSQL.
"""

import argparse
import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path
from statistics import linear_regression, median, quantiles
from typing import Any

import anyio
import anyio.to_thread
import httpx

from tests.support.load import Ledger, LoadClient
from tests.support.postgres_server import PostgresServer, postgres_server, programs
from tests.support.replicas import HOST, NGINX, behind_nginx, replicas
from tests.support.serving import Served, turns

CLIENTS = 64
MINUTES = 60.0
PAUSE = 1.0
"""Seconds between two calls of one person, in the mean."""

SESSIONS_KEPT = 2
REQUESTS_A_SESSION = 3
WARM_CALLS = 15
"""Answers for each client before anything is measured: modules are imported, pools and caches filled."""

SAMPLES = 120
PARTS = 6

GROWTH_MIB = 16.0
"""Memory that a replica may hold in the last sixth beyond the first."""

GROWTH_HELD = 24
"""Threads that it may have more of in the last sixth than ever in the first, and tasks at rest. Of files, one for each
client: each of them may have come to have one more connection kept open."""

REST_SECONDS = 60.0
"""How long the last tasks may take when everybody has gone."""

RATIO = 1.2
"""The aim for the 99th percentile of the last sixth over that of the first."""

KINDS = {"replicas": "serve", "service": "loopback_store", "database": "postgres", "proxy": "nginx"}
"""Kinds of process, and what stands in the command line of each and of no other."""

START = """
import asyncio, os, signal, sys
from pathlib import Path
from reflexio_mcp.cli import main
def count(*_):
    Path(f"tasks-{os.getpid()}").write_text(str(len(asyncio.all_tasks())))
signal.signal(signal.SIGUSR1, count)
sys.exit(main())
"""
"""Starts a replica that writes down how many tasks it has when it is asked to."""


@dataclass
class Book(Ledger):
    """A ledger that also knows what was answered and when.

    Args:
        answers: how many of each kind.
        timed: when each answer came, and after how many seconds.
        deleted: request ids whose deletion was acknowledged.
        until: when everybody stops, in seconds of the event loop.
    """

    answers: Counter[str] = field(default_factory=Counter[str])
    timed: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    deleted: set[str] = field(default_factory=set[str])
    until: float = math.inf


class Person(LoadClient):
    """Somebody with a key of their own, who does everything that a person does, a call at a time.

    Args:
        number: makes the ids, and decides the era.
        url: of the proxy.
        book: shared by all.
    """

    def __init__(self, number: int, url: str, book: Book) -> None:
        super().__init__(number, url, book, sys.maxsize)
        self._book = book
        self._sessions: dict[str, list[str]] = {}
        self._numbers = count(1)

    async def run(self) -> None:
        headers = {"authorization": f"Bearer token-of-{self._name}", "host": HOST}
        limits = httpx.Limits(max_connections=2, max_keepalive_connections=2)
        everything = {
            self._publish: 30,
            self._read: 20,
            self._list: 15,
            self._list_sessions: 5,
            self._audit: 8,
            self._status: 10,
            self._resource: 10,
        }
        async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as http:
            while anyio.current_time() < self._book.until:
                if len(self._sessions) > SESSIONS_KEPT:
                    await self._delete(http)
                elif not self._sessions:
                    await self._publish(http)
                else:
                    [one] = self._random.choices(list(everything), list(everything.values()))
                    await one(http)
                await anyio.sleep(self._random.uniform(0, 2 * PAUSE))

    async def _publish(self, http: httpx.AsyncClient) -> None:
        newest = next(reversed(self._sessions), "")
        if not newest or len(self._sessions[newest]) == REQUESTS_A_SESSION:
            newest = f"{self._name}-session-{next(self._numbers)}"
            self._sessions[newest] = []
        request_id = f"{self._name}-{next(self._numbers)}"
        text = f"{request_id} asks for a table of {self._random.random()} and a summary. " * 5
        given = {"session_id": newest, "request_id": request_id, "interactions": turns(text, "Noted.")}
        answer = await self._call(http, "publish_interaction", given)
        self._expect(answer.get("request_id") == request_id, "publish", answer)
        self._book.acknowledged[request_id] = text.strip()
        self._sessions[newest].append(request_id)

    async def _read(self, http: httpx.AsyncClient) -> None:
        request_id = self._random.choice([one for ids in self._sessions.values() for one in ids])
        answer = await self._call(http, "get_request", {"request_id": request_id})
        self._expect(self._book.acknowledged[request_id] in str(answer), "get", answer)

    async def _list(self, http: httpx.AsyncClient) -> None:
        session = self._random.choice(list(self._sessions))
        answer = await self._call(http, "list_requests", {"session_id": session})
        missing = [one for one in self._sessions[session] if f"'{one}'" not in str(answer)]
        self._expect(not missing, f"list without {missing}", answer)

    async def _list_sessions(self, http: httpx.AsyncClient) -> None:
        answer = await self._call(http, "list_sessions", {})
        self._expect(all(one in str(answer) for one in self._sessions), "list_sessions", answer)
        named = set(re.findall(r"client-\d+(?=-)", str(answer)))
        self._expect(named == {self._name}, "others' sessions", answer)

    async def _audit(self, http: httpx.AsyncClient) -> None:
        answer = await self._call(http, "audit_traffic", {})
        own = sum(map(len, self._sessions.values()))
        self._expect(answer.get("traffic", {}).get("requests") == own, f"audit of {own}", answer)

    async def _status(self, http: httpx.AsyncClient) -> None:
        answer = await self._call(http, "get_status", {})
        well = answer.get("backend", {}).get("reachable") and "problem" not in answer
        self._expect(well, "status", answer)

    async def _resource(self, http: httpx.AsyncClient) -> None:
        session = self._random.choice(list(self._sessions))
        uri = f"reflexio://sessions/{session}"
        answer = await self._ask(http, "resources/read", uri, {"uri": uri})
        self._expect(self._sessions[session][-1] in str(answer), "resource", answer)

    async def _delete(self, http: httpx.AsyncClient) -> None:
        """Delete the oldest session, bring it back, and delete it with its copies."""
        session, ids = next(iter(self._sessions.items()))
        done = await self._confirmed(http, {"session_id": session})
        self._expect(done["deleted"]["requests"] == len(ids), f"delete of {len(ids)}", done)
        given = {"deletion": done["number"]}
        plan = await self._call(http, "restore_requests", given)
        back = await self._call(http, "restore_requests", given | {"confirm": plan.get("confirm", "")})
        self._expect(back["restored"]["requests"] == len(ids), f"restore of {len(ids)}", back)
        done = await self._confirmed(http, {"session_id": session, "erase": True})
        self._expect(done["deleted"]["requests"] == len(ids), f"erasure of {len(ids)}", done)
        self._book.deleted.update(ids)
        del self._sessions[session]

    async def _confirmed(self, http: httpx.AsyncClient, given: dict[str, Any]) -> dict[str, Any]:
        plan = await self._call(http, "delete_session", given)
        code = plan.get("plan", {}).get("confirm", "")
        return (await self._call(http, "delete_session", given | {"confirm": code}))["receipt"]

    async def _ask(
        self, http: httpx.AsyncClient, method: str, name: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        began = anyio.current_time()
        answer = await super()._ask(http, method, name, params)
        over = anyio.current_time()
        self._book.timed.append((over, over - began))
        self._book.answers[method if method != "tools/call" else name] += 1
        return answer

    def _expect(self, true: bool, what: str, answer: object) -> None:
        if not true:
            self._book.wrong.append(f"{self._name}: {what}: {str(answer)[:500]}")


@dataclass(frozen=True)
class Sample:
    """What one replica held at one time.

    Args:
        at: when, in seconds of the event loop.
        memory: resident, in MiB.
    """

    at: float
    memory: float
    files: int
    threads: int
    tasks: int


def sample(served: Served, at: float) -> Sample:
    """What a replica holds now, and how many tasks it had when it was asked the last time."""
    assert served.process
    assert served.log
    process = Path(f"/proc/{served.process.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    written = served.log.parent / f"tasks-{served.process.pid}"
    tasks = int(written.read_text() or 0) if written.exists() else 0
    served.process.send_signal(signal.SIGUSR1)
    files = len(list((process / "fd").iterdir()))
    return Sample(at, int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]), tasks)


def spent() -> dict[str, float]:
    """Processor seconds so far, of this process and of each kind that it started, with all that those started."""
    children: dict[int, list[int]] = {}
    ticks: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            words = path.read_text().rpartition(")")[2].split()
            number = int(path.parent.name)
            children.setdefault(int(words[1]), []).append(number)
            own, of_the_reaped = sum(map(int, words[11:13])), sum(map(int, words[13:15]))
            ticks[number] = own if number == os.getpid() else own + of_the_reaped
    tick = os.sysconf("SC_CLK_TCK")

    def all_of(number: int) -> float:
        return ticks[number] / tick + sum(map(all_of, children.get(number, ())))

    seconds = dict.fromkeys(KINDS, 0.0) | {"clients": ticks[os.getpid()] / tick}
    for number in children.get(os.getpid(), ()):
        with suppress(OSError):
            line = Path(f"/proc/{number}/cmdline").read_text()
            kind = next((kind for kind, word in KINDS.items() if word in line), "")
            if kind:
                seconds[kind] += all_of(number)
    return seconds


@dataclass
class Run:
    """One soak.

    Args:
        began, seconds: when the measuring began, in seconds of the event loop, and how long it took.
        samples: of each replica.
        connections: to the database, of each sixth.
        spent: processor seconds of each kind of process so far, at the beginning of each sixth and at the end.
    """

    began: float
    seconds: float
    book: Book
    samples: list[list[Sample]]
    connections: list[int] = field(default_factory=list[int])
    spent: list[dict[str, float]] = field(default_factory=list[dict[str, float]])

    def part(self, at: float) -> int:
        """The sixth that a time is in; -1 before the first."""
        return min(PARTS - 1, math.floor((at - self.began) / self.seconds * PARTS))

    def samples_of(self, replica: int, part: int) -> list[Sample]:
        return [one for one in self.samples[replica] if self.part(one.at) == part]

    def held(self, replica: int, part: int) -> Sample:
        """The median of what a replica held in one sixth."""
        some = self.samples_of(replica, part)
        memory = median(one.memory for one in some)
        files, threads, tasks = (
            int(median(getattr(one, what) for one in some)) for what in ("files", "threads", "tasks")
        )
        return Sample(some[0].at, memory, files, threads, tasks)

    def waits(self, part: int) -> tuple[float, float]:
        """The median and the 99th percentile of one sixth, in seconds."""
        took = [took for at, took in self.book.timed if self.part(at) == part]
        if len(took) < 2:
            return math.nan, math.nan
        percent = quantiles(took, n=100)
        return percent[49], percent[98]

    def slope(self, replica: int) -> float:
        """MiB an hour."""
        some = self.samples[replica]
        return linear_regression([one.at for one in some], [one.memory for one in some]).slope * 3600

    def told(self) -> str:
        lines = ["sixth  calls   p50 ms   p99 ms  db  replicas: MiB/files/threads/tasks"]
        for part in range(PARTS):
            calls = sum(self.part(at) == part for at, _ in self.book.timed)
            p50, p99 = self.waits(part)
            each = [self.held(replica, part) for replica in range(len(self.samples))]
            held = "   ".join(f"{one.memory:.1f}/{one.files}/{one.threads}/{one.tasks}" for one in each)
            lines.append(
                f"{part + 1:5}  {calls:5}  {p50 * 1000:7.1f}  {p99 * 1000:7.1f}  {self.connections[part]:2}  {held}"
            )
        lines.append("sixth  processor ms a call")
        for part, (before, after) in enumerate(pairwise(self.spent)):
            calls = sum(self.part(at) == part for at, _ in self.book.timed)
            each = (f"{kind} {(after[kind] - before[kind]) / calls * 1000:.2f}" for kind in after)
            lines.append(f"{part + 1:5}  {', '.join(each)}")
        slopes = ", ".join(f"{self.slope(replica):+.1f}" for replica in range(len(self.samples)))
        lines.append(f"memory: {slopes} MiB an hour")
        lines.append("answers: " + ", ".join(f"{name} {n}" for name, n in self.book.answers.most_common()))
        lines.append(f"retried: {dict(self.book.failures) or 'none'}")
        ratio = self.waits(PARTS - 1)[1] / self.waits(0)[1]
        lines.append(f"p99 of the last sixth over the first: {ratio:.2f} (aim {RATIO})")
        return "\n".join(lines)

    def grown(self, clients: int) -> list[str]:
        """What a replica holds more of than it may, as sentences."""
        found: list[str] = []
        for replica in range(len(self.samples)):
            first, end = self.samples_of(replica, 0), self.held(replica, PARTS - 1)
            if end.memory - (warm := self.held(replica, 0).memory) > GROWTH_MIB:
                found.append(f"Replica {replica + 1} grew from {warm:.1f} to {end.memory:.1f} MiB.")
            for what, most in (("files", clients), ("threads", GROWTH_HELD)):
                before, after = max(getattr(one, what) for one in first), getattr(end, what)
                if after - before > most:
                    found.append(f"Replica {replica + 1} had {before} {what} and has {after}.")
        return found

    def silent(self) -> list[str]:
        """The sixths without an answer, as sentences."""
        answered = {self.part(at) for at, _ in self.book.timed}
        return [f"Nothing was answered in sixth {one + 1}." for one in range(PARTS) if one not in answered]


@asynccontextmanager
async def backend(home: Path) -> AsyncIterator[str]:
    """The embedded store as the service behind all replicas."""
    command = [sys.executable, "-m", "benchmarks.loopback_store", str(home / "backend.db")]
    with (home / "backend.log").open("wb") as log:
        process = await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=log)
    assert process.stdout
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.receive())}"
    finally:
        process.terminate()
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def soak(home: Path, postgres: PostgresServer, clients: int, seconds: float) -> tuple[Run, list[str]]:
    """The run, and what was wrong with it as sentences."""
    async with backend(home) as service:
        options = {
            "REFLEXIO_URL": service,
            "REFLEXIO_MCP_STORE": "",
            "REFLEXIO_MCP_STATE": postgres.url("postgres"),
            "REFLEXIO_MCP_AUTH_TOKEN": ",".join(
                f"client-{number}:token-of-client-{number}" for number in range(clients)
            ),
            "REFLEXIO_MCP_CONFIRM": "preview",
            "REFLEXIO_MCP_DELETE_CAP": "100000",
            "REFLEXIO_MCP_RECOVERY_DAYS": "1",
            "REFLEXIO_MCP_LOG_LEVEL": "WARNING",
        }
        async with (
            replicas(home, 3, clocks=(), command=(sys.executable, "-c", START), **options) as three,
            behind_nginx(home, three) as url,
        ):
            book = Book()
            run = Run(math.inf, seconds, book, [[] for _ in three])
            async with anyio.create_task_group() as tasks:
                for number in range(clients):
                    tasks.start_soon(Person(number, url, book).run)
                while book.calls < clients * WARM_CALLS:  # noqa: ASYNC110 - other tasks count
                    await anyio.sleep(0.5)
                run.began = anyio.current_time()
                book.until = run.began + seconds
                while (now := anyio.current_time()) < book.until:
                    for own, served in zip(run.samples, three, strict=True):
                        own.append(sample(served, now))
                    if run.part(now) == len(run.connections):
                        counted = (
                            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'reflexio-mcp'"
                        )
                        run.connections.append(int(await anyio.to_thread.run_sync(postgres.sql, counted)))
                        run.spent.append(spent())
                    await anyio.sleep(seconds / SAMPLES)
                run.spent.append(spent())
            wrong = [*book.wrong[:10], *run.grown(clients), *run.silent(), *await busy(three)]
            for number, served in enumerate(three, 1):
                lines = served.stderr().splitlines()
                if told := "\n".join(line for line in lines if not line.startswith("reflexio-mcp: ")):
                    wrong.append(f"Replica {number} logged: {told[:2000]}")
    wrong += kept(home / "backend.db", book)
    return run, wrong


async def busy(three: list[Served]) -> list[str]:
    """The replicas that still have tasks when everybody has gone, as sentences."""
    over = anyio.current_time() + REST_SECONDS
    while True:
        tasks = [sample(served, 0).tasks for served in three]
        found = [
            f"Replica {number} still has {one} tasks when everybody has gone."
            for number, one in enumerate(tasks, 1)
            if one > GROWTH_HELD
        ]
        if not found or anyio.current_time() > over:
            return found
        await anyio.sleep(1)


def kept(path: Path, book: Book) -> list[str]:
    """What is stored otherwise than it was acknowledged, as sentences."""
    store = sqlite3.connect(path)
    stored = dict(store.execute("SELECT request_id, count(*) FROM requests GROUP BY request_id").fetchall())
    store.close()
    expected = dict.fromkeys(book.acknowledged.keys() - book.deleted, 1)
    return [
        f"{request_id} is stored {stored.get(request_id, 0)} times and not {expected.get(request_id, 0)}."
        for request_id in sorted(stored.keys() | expected.keys())
        if stored.get(request_id) != expected.get(request_id)
    ][:10]


def main() -> int:
    parser = argparse.ArgumentParser(description="Mixed traffic on three replicas for a while.")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long (default {MINUTES:g})")
    parser.add_argument("--clients", type=int, default=CLIENTS, help=f"how many (default {CLIENTS})")
    options = parser.parse_args()
    if sys.platform != "linux" or NGINX is None or programs() is None:
        print("Not run: the soak needs Linux, nginx and PostgreSQL.")
        return 0
    with tempfile.TemporaryDirectory() as folder, postgres_server() as postgres:
        assert postgres
        run, wrong = anyio.run(soak, Path(folder), postgres, options.clients, options.minutes * 60)
    for sentence in wrong:
        print(f"WRONG: {sentence}")
    print(run.told())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
