"""Mixed traffic of many people on three replicas behind nginx that share their state in PostgreSQL.

Prints, for each third of the time, how long calls took and what each replica held. Ends with exit code 1 if an answer
was wrong, something that was acknowledged is not stored, or a replica grew. How long calls take is not judged: it also
depends on what else the machine does. Needs Linux, nginx and PostgreSQL.
"""

import argparse
import math
import re
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import anyio
import httpx

from benchmarks.over_http import loopback_store
from tests.state.conftest import of_servers
from tests.support.load import Ledger, LoadClient
from tests.support.postgres_server import postgres_server, programs
from tests.support.replicas import HOST, NGINX, behind_nginx, replicas
from tests.support.serving import Served, interactions
from tests.support.stdio import SERVER

CLIENTS = 64
MINUTES = 60.0
PAUSE = 1.0
"""Mean seconds between two calls of one person."""

SESSIONS_KEPT = 2
REQUESTS_A_SESSION = 3
WARM_CALLS = 15
"""Answers for each client before anything is measured: modules are imported, pools and caches filled."""

MOST_CALLS = 10
"""Calls after which a deletion or a restore should be complete."""

PARTS = 3
SAMPLES_A_PART = 40
GROWTH_MIB = 16
GROWTH_THREADS = 24
"""Memory and threads that a replica may hold in the last third beyond the first. Each client may have one more
connection that is kept open."""


@dataclass
class Book(Ledger):
    """A ledger that also knows after how many seconds each answer came, and which requests are deleted."""

    timed: list[float] = field(default_factory=list[float])
    deleted: set[str] = field(default_factory=set[str])
    until: float = math.inf


class Person(LoadClient):
    """Somebody with a token of their own, who does everything that a person does, a call at a time."""

    def __init__(self, number: int, url: str, book: Book) -> None:
        super().__init__(number, url, book, sys.maxsize)
        self._book = book
        self._sessions: dict[str, list[str]] = {}
        self._numbers = count(1)

    async def run(self) -> None:
        headers = {"authorization": f"Bearer token-of-{self._name}", "host": HOST}
        ways = [
            self._publish,
            self._read,
            self._list,
            self._list_sessions,
            self._audit,
            self._status,
        ]
        weights = [30, 20, 15, 5, 8, 10]
        async with httpx.AsyncClient(headers=headers, timeout=60) as http:
            while anyio.current_time() < self._book.until:
                if len(self._sessions) > SESSIONS_KEPT:
                    await self._delete(http)
                elif not self._sessions:
                    await self._publish(http)
                else:
                    [way] = self._random.choices(ways, weights)
                    await way(http)
                await anyio.sleep(self._random.uniform(0, 2 * PAUSE))

    async def _publish(self, http: httpx.AsyncClient) -> None:
        newest = next(reversed(self._sessions), "")
        if not newest or len(self._sessions[newest]) == REQUESTS_A_SESSION:
            newest = f"{self._name}-session-{next(self._numbers)}"
            self._sessions[newest] = []
        request_id = f"{self._name}-{next(self._numbers)}"
        text = f"{request_id} asks for a table of {self._random.random()} and a summary. " * 5
        given = {"session_id": newest, "request_id": request_id, "interactions": interactions(text, "Noted.")}
        answer = await self._call(http, "publish_interaction", given)
        self._expect(answer.get("request_id") == request_id, "publish", answer)
        self._book.acknowledged[request_id] = text.strip()
        self._sessions[newest].append(request_id)

    async def _read(self, http: httpx.AsyncClient) -> None:
        request_id = self._random.choice([one for ids in self._sessions.values() for one in ids])
        answer = await self._call(http, "get_request", {"request_id": request_id})
        self._expect(self._book.acknowledged[request_id] in str(answer), "get", answer)

    async def _list(self, http: httpx.AsyncClient) -> None:
        session, ids = self._random.choice(list(self._sessions.items()))
        answer = await self._call(http, "list_requests", {"session_id": session})
        self._expect(all(f"'{one}'" in str(answer) for one in ids), "list", answer)

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
        self._expect(answer.get("backend", {}).get("reachable") and "problem" not in answer, "status", answer)

    async def _delete(self, http: httpx.AsyncClient) -> None:
        """Delete the oldest session, bring it back, and delete it with its copies."""
        session, ids = next(iter(self._sessions.items()))
        gone, numbers = await self._until_done(http, "delete_session", {"session_id": session}, "deleted")
        back = 0
        for number in numbers:
            restored, _ = await self._until_done(http, "restore_requests", {"deletion": number}, "restored")
            back += restored
        erasure = {"session_id": session, "erase": True}
        erased, _ = await self._until_done(http, "delete_session", erasure, "deleted")
        self._expect(
            gone == back == erased == len(ids), f"{len(ids)}", f"{gone}, {back}, {erased} of {session}"
        )
        self._book.deleted.update(ids)
        del self._sessions[session]

    async def _until_done(
        self, http: httpx.AsyncClient, tool: str, given: dict[str, Any], did: str
    ) -> tuple[int, list[int]]:
        """Call again while the answer says that something is left, as it advises.

        Returns:
            The number of requests in the counts `did`, which leave out a zero, and the numbers of the receipts.
        """
        count, numbers, status = 0, list[int](), "incomplete"
        while status == "incomplete" and len(numbers) < MOST_CALLS:
            answer = await self._confirmed(http, tool, given)
            said, status = answer.get("receipt", answer), answer.get("status", "")
            count += said.get(did, {}).get("requests", 0)
            numbers.append(said.get("number", 0))
            self._expect(status in ("complete", "incomplete"), tool, answer)
            if status == "incomplete":
                self._book.failures[f"{tool} incomplete"] += 1
        return count, numbers

    async def _confirmed(self, http: httpx.AsyncClient, tool: str, given: dict[str, Any]) -> dict[str, Any]:
        answer = await self._call(http, tool, given)
        code = answer.get("plan", answer).get("confirm", "")
        return await self._call(http, tool, given | {"confirm": code})

    async def _ask(
        self, http: httpx.AsyncClient, method: str, name: str, params: dict[str, Any]
    ) -> dict[str, Any]:
        began = anyio.current_time()
        answer = await super()._ask(http, method, name, params)
        self._book.timed.append(anyio.current_time() - began)
        return answer

    def _expect(self, true: bool, what: str, answer: object) -> None:
        if not true:
            self._book.wrong.append(f"{self._name}: {what}: {str(answer)[:500]}")


def held(served: Served) -> dict[str, float]:
    """What a replica holds now: memory in MiB, open files and threads."""
    assert served.process
    process = Path(f"/proc/{served.process.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    files = len(list((process / "fd").iterdir()))
    return {"MiB": int(status["VmRSS"].split()[0]) / 1024, "files": files, "threads": int(status["Threads"])}


async def soak(
    home: Path, service: str, state: str, clients: int, seconds: float
) -> tuple[list[str], list[str]]:
    """What was measured, a line a third of the time, and what was wrong with it, as sentences.

    Args:
        service: URL of the service.
        state: URL of the database in which the replicas share their state.
    """
    people = range(clients)
    options = {
        "REFLEXIO_URL": service,
        "REFLEXIO_MCP_STORE": "",
        "REFLEXIO_MCP_STATE": state,
        "REFLEXIO_MCP_AUTH_TOKEN": ",".join(f"client-{one}:token-of-client-{one}" for one in people),
        "REFLEXIO_MCP_CONFIRM": "preview",
        "REFLEXIO_MCP_DELETE_CAP": "100000",
        "REFLEXIO_MCP_RECOVERY_DAYS": "1",
        "REFLEXIO_MCP_LOG_LEVEL": "WARNING",
    }
    book = Book()
    parts: list[list[dict[str, float]]] = []
    told: list[str] = []
    async with (
        replicas(home, 3, clocks=(), command=SERVER, **options) as three,
        behind_nginx(home, three) as url,
    ):
        async with anyio.create_task_group() as tasks:
            for number in people:
                tasks.start_soon(Person(number, url, book).run)
            while book.calls < clients * WARM_CALLS:  # noqa: ASYNC110 - other tasks count
                await anyio.sleep(0.5)
            for part in range(PARTS):
                begun = len(book.timed)
                samples: list[list[dict[str, float]]] = []
                for _ in range(SAMPLES_A_PART):
                    await anyio.sleep(seconds / PARTS / SAMPLES_A_PART)
                    samples.append([held(served) for served in three])
                parts.append([_medians(each) for each in zip(*samples, strict=True)])
                waits = book.timed[begun:]
                told.append(_line(part + 1, waits, parts[-1]))
            book.until = 0
        wrong = [*book.wrong[:10], *grown(parts[0], parts[-1], clients)]
        for number, served in enumerate(three, 1):
            lines = [line for line in served.stderr().splitlines() if not line.startswith("reflexio-mcp: ")]
            if lines:
                wrong.append(f"Replica {number} logged: {lines[:20]}")
    told.append(f"retried: {dict(book.failures) or 'none'}")
    return told, [*wrong, *not_kept(home / "backend.db", book)]


def _medians(samples: tuple[dict[str, float], ...]) -> dict[str, float]:
    return {what: median(one[what] for one in samples) for what in samples[0]}


def _line(part: int, waits: list[float], each: list[dict[str, float]]) -> str:
    if len(waits) < 2:
        return f"third {part}: nothing was answered"
    percent = quantiles(waits, n=100)
    replicas_hold = "; ".join(", ".join(f"{value:.0f} {what}" for what, value in one.items()) for one in each)
    return (
        f"third {part}: {len(waits)} calls, p50 {percent[49] * 1000:.0f} ms, p99 {percent[98] * 1000:.0f} ms; "
        f"replicas: {replicas_hold}"
    )


def grown(first: list[dict[str, float]], last: list[dict[str, float]], clients: int) -> list[str]:
    """What a replica holds more of than it may, as sentences."""
    most = {"MiB": GROWTH_MIB, "files": clients, "threads": GROWTH_THREADS}
    return [
        f"Replica {number} had {before[what]:.0f} {what} in the first third and {after[what]:.0f} in the last."
        for number, (before, after) in enumerate(zip(first, last, strict=True), 1)
        for what, allowed in most.items()
        if after[what] - before[what] > allowed
    ]


def not_kept(path: Path, book: Book) -> list[str]:
    """What is stored otherwise than it was acknowledged, as sentences."""
    with closing(sqlite3.connect(path)) as store:
        stored = dict(
            store.execute("SELECT request_id, count(*) FROM requests GROUP BY request_id").fetchall()
        )
    expected = dict.fromkeys(book.acknowledged.keys() - book.deleted, 1)
    return [
        f"{one} is stored {stored.get(one, 0)} times and not {expected.get(one, 0)}."
        for one in sorted(stored.keys() | expected.keys())
        if stored.get(one) != expected.get(one)
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
        home = Path(folder)
        assert postgres
        with (
            loopback_store(home / "backend.db") as service,
            of_servers(postgres, postgres.url("postgres")) as state,
        ):
            told, wrong = anyio.run(soak, home, service, state, options.clients, options.minutes * 60)
    print(*told, *(f"WRONG: {sentence}" for sentence in wrong), sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
