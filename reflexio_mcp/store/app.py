"""The embedded store as an ASGI app: the API's routes, answers and refusals over one SQLite file.

    store = create_app(path)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=store), base_url="http://store")
    ...
    await store.aclose()

The file is opened by the first call that needs it: no lifespan is run in process.
"""

import functools
import json
import logging
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, QueryParams
from starlette.types import Receive, Scope, Send

from reflexio_mcp.rest.limits import MAX_BODY_BYTES, REFUSED_AGENT_WORDS
from reflexio_mcp.store.checking import Answer, Call
from reflexio_mcp.store.database import BUSY_SECONDS, MAX_READERS, Database
from reflexio_mcp.store.errors import StoreBusy
from reflexio_mcp.store.routes import ROUTES, WRITING, Route, compact, unavailable

__all__ = ["EmbeddedStore", "create_app"]

logger = logging.getLogger(__name__)

OPEN_TO_ANY_AGENT: Final = ("/health",)


class EmbeddedStore:
    """An ASGI app over one store file. Several of them, in several processes, can share the file.

    Args:
        path: the file, or `:memory:` to keep nothing.
        clock: seconds since the epoch; gives requests their arrival time and replies their `Date`.
        busy_seconds: how long a call waits for another process that holds the file.
    """

    def __init__(
        self, path: str, *, clock: Callable[[], float] = time.time, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self._database = Database(path, busy_seconds=busy_seconds)
        self._clock = clock
        self._read_threads: anyio.CapacityLimiter | None = None
        self._write_threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the store answers HTTP only, not {scope['type']}")
        status, parts = await self._answer(scope, receive)
        headers = [
            (b"date", _http_date(int(self._clock()))),
            (b"content-type", b"text/plain; charset=utf-8" if status == 500 else b"application/json"),
            (b"content-length", str(sum(map(len, parts))).encode()),
            (b"x-correlation-id", secrets.token_hex(4).encode()),
        ]
        if status == 405:
            headers.append((b"allow", ROUTES[scope["path"]][0].encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def aclose(self) -> None:
        """Close the file, in a worker thread. Runs to its end even when the caller is cancelled."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    def close(self) -> None:
        """Close the file. No call may be running; later calls fail. Closing twice is fine."""
        self._database.close()

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, list[bytes]]:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        if path not in OPEN_TO_ANY_AGENT and (refusal := _agent_refusal(headers.get("user-agent", ""))):
            return _refused(403, refusal)
        if path not in ROUTES:
            return _refused(404, "Not Found")
        method, route = ROUTES[path]
        if scope["method"] != method:
            return _refused(405, "Method Not Allowed")
        raw = await _read(receive)
        if raw is None:
            return _refused(413, "Request body too large")
        call = Call(
            store=self._database,
            now=int(self._clock()),
            query=dict(QueryParams(scope["query_string"])) if scope["query_string"] else {},
            content_type=headers.get("content-type", ""),
            raw=raw,
        )
        return await anyio.to_thread.run_sync(_run, route, call, limiter=self._threads_for(route))

    def _threads_for(self, route: Route) -> anyio.CapacityLimiter:
        # Made on first use, which is inside an event loop. Writers queue for one thread, since they queue for the
        # file anyway, and so never take the readers' threads.
        if route in WRITING:
            self._write_threads = self._write_threads or anyio.CapacityLimiter(1)
            return self._write_threads
        self._read_threads = self._read_threads or anyio.CapacityLimiter(MAX_READERS)
        return self._read_threads


def create_app(path: str, *, clock: Callable[[], float] = time.time) -> EmbeddedStore:
    """The embedded store over `path` (a file, or `:memory:`). Opens nothing until it is called."""
    return EmbeddedStore(path, clock=clock)


def _run(route: Route, call: Call) -> tuple[int, list[bytes]]:
    try:
        try:
            body = route(call)
            return 200, body if isinstance(body, list) else [compact(body).encode()]
        except StoreBusy as error:
            answer = unavailable(error)
        except Answer as early:
            answer = early
        # A refusal repeats what was sent, which need not be valid Unicode: hence the ASCII of `dumps`.
        return answer.status, [json.dumps(answer.body).encode()]
    except Exception as error:  # noqa: BLE001 - a fault here answers like a server's, it does not end the client
        logger.error("%s failed: %s", route.__name__, type(error).__name__)
        return 500, [b"Internal Server Error"]


@functools.lru_cache(maxsize=1)
def _http_date(epoch: int) -> bytes:
    return formatdate(epoch, usegmt=True).encode()


def _refused(status: int, detail: str) -> tuple[int, list[bytes]]:
    return status, [compact({"detail": detail}).encode()]


async def _read(receive: Receive) -> bytes | None:
    """The whole body; `None` when it is larger than the API takes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return None
        chunks.append(chunk)
        if not message.get("more_body", False):
            break
    return b"".join(chunks)


def _agent_refusal(agent: str) -> str | None:
    if not agent:
        return "Forbidden: Missing user agent"
    if any(word in agent.lower() for word in REFUSED_AGENT_WORDS):
        return "Forbidden: Suspicious user agent"
    return None
