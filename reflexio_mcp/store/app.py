"""The embedded store as an ASGI app: the API's routes, answers and refusals over one SQLite file.

    store = create_app(path)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=store), base_url="http://store")
    ...
    await store.aclose()

The file is opened by the first call that needs it: no lifespan is run in process.
"""

import json
import time
import uuid
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Final

import anyio
import anyio.to_thread
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reflexio_mcp.rest.limits import MAX_BODY_BYTES, REFUSED_AGENT_WORDS
from reflexio_mcp.store.database import MAX_READERS, Database
from reflexio_mcp.store.errors import StoreBusy
from reflexio_mcp.store.routes import ROUTES, Answer, Call, Json, unavailable

__all__ = ["EmbeddedStore", "create_app"]

OPEN_TO_ANY_AGENT: Final = ("/health",)


class EmbeddedStore:
    """An ASGI app over one store file. Several of them, in several processes, can share the file.

    Args:
        path: the file, or `:memory:` to keep nothing.
        clock: seconds since the epoch; gives requests their arrival time and replies their `Date`.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path)
        self._clock = clock
        self._threads: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the store answers HTTP only, not {scope['type']}")
        status, body, extra = await self._answer(scope, receive)
        response = Response(
            body,
            status,
            media_type="application/json",
            headers={
                "date": formatdate(self._clock(), usegmt=True),
                "x-correlation-id": uuid.uuid4().hex[:8],
                **extra,
            },
        )
        await response(scope, receive, send)

    async def aclose(self) -> None:
        """Close the file, in a worker thread."""
        await anyio.to_thread.run_sync(self.close)

    def close(self) -> None:
        """Close the file. No call may be running; later calls fail. Closing twice is fine."""
        self._database.close()

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes, dict[str, str]]:
        headers = Headers(scope=scope)
        path: str = scope["path"]
        if path not in OPEN_TO_ANY_AGENT and (refusal := _agent_refusal(headers.get("user-agent", ""))):
            return 403, _encoded({"detail": refusal}), {}
        if path not in ROUTES:
            return 404, _encoded({"detail": "Not Found"}), {}
        method, route = ROUTES[path]
        if scope["method"] != method:
            return 405, _encoded({"detail": "Method Not Allowed"}), {"allow": method}
        raw = await _read(receive)
        if raw is None:
            return 413, _encoded({"detail": "Request body too large"}), {}
        call = Call(
            store=self._database,
            now=int(self._clock()),
            query=dict(QueryParams(scope["query_string"])),
            content_type=headers.get("content-type", ""),
            raw=raw,
        )
        if self._threads is None:
            # One thread more than readers, so that a write waiting for the file does not hold up the reads.
            self._threads = anyio.CapacityLimiter(MAX_READERS + 1)
        status, body = await anyio.to_thread.run_sync(_run, route, call, limiter=self._threads)
        return status, body, {}


def create_app(path: str, *, clock: Callable[[], float] = time.time) -> EmbeddedStore:
    """The embedded store over `path` (a file, or `:memory:`). Opens nothing until it is called."""
    return EmbeddedStore(path, clock=clock)


def _run(route: Callable[[Call], Json], call: Call) -> tuple[int, bytes]:
    try:
        return 200, _encoded(route(call))
    except StoreBusy as error:
        answer = unavailable(error)
    except Answer as early:
        answer = early
    return answer.status, _encoded(answer.body)


def _encoded(body: Json) -> bytes:
    return json.dumps(
        body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_unencodable
    ).encode(
        # A refusal repeats what was sent, which need not be valid Unicode.
        "utf-8",
        "replace",
    )


def _unencodable(value: Any) -> str:
    return type(value).__name__


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
