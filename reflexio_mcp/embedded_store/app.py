"""The embedded store: the API's routes over one SQLite file, for the client in this process.

    client = ReflexioClient(url, transport=EmbeddedStore(path))

It is an ASGI app too, for tests and tools that speak HTTP to it. The first call that needs the file opens it, and
whoever makes the store closes it.
"""

import asyncio
import functools
import json
import logging
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Final
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel
import anyio.to_thread
from starlette.types import Receive, Scope, Send

from reflexio_mcp.embedded_store import routes
from reflexio_mcp.embedded_store.database import BUSY_SECONDS, MAX_READERS, Connection, Database, TakesLonger
from reflexio_mcp.embedded_store.errors import StoreBusy, StoreFailed, store_error
from reflexio_mcp.rest import responses as rest

__all__ = ["EmbeddedStore"]

logger = logging.getLogger(__name__)

MAX_BATCH_BYTES: Final = 1024 * 1024
"""Bodies that share one commit, so that it holds the file only for a moment."""

Reply = tuple[int, list[bytes]]
"""An HTTP status and the parts of a body."""


@dataclass(eq=False)
class _Write:
    """A write that waits for its turn, and then its reply."""

    route: routes.WriteRoute
    call: routes.Call
    deletes: bool
    reply: Reply | None = None


class EmbeddedStore:
    """An ASGI app over one store file. Several of them, in several processes, can share the file.

    Publishes that arrive while the disk is busy with others share the next commit, since waiting for the disk is
    most of what one costs. Each is answered only when its commit is on the disk.

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
        self._readers = ThreadPoolExecutor(MAX_READERS, "store-reader")
        self._reading = anyio.Semaphore(MAX_READERS, fast_acquire=True)
        self._writer = anyio.Lock()
        self._waiting: deque[_Write] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the store answers HTTP only, not {scope['type']}")
        query = dict(parse_qsl(scope["query_string"].decode()))
        status, headers, content = await self._reply(
            scope["method"], scope["path"], query, await _body(receive)
        )
        headers = {**headers, "content-length": str(len(content))}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        await send({"type": "http.response.body", "body": content})

    async def exchange(self, call: rest.Call, seconds: float) -> rest.HttpReply:
        """Answer the client in this process: what the API would, without HTTP in between."""
        return await self._reply(call.method, call.route, call.params, call.content or b"")

    async def aclose(self) -> None:
        """Close the file, in a worker thread. Runs to its end even when the caller is cancelled."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    def close(self) -> None:
        """Close the file. No call may be running; later calls fail. Closing twice is fine."""
        self._database.close()
        self._readers.shutdown(wait=False)

    async def _reply(self, method: str, path: str, query: Mapping[str, str], raw: bytes) -> rest.HttpReply:
        call = routes.Call(store=self._database, now=int(self._clock()), query=query, raw=raw)
        if read := routes.READING.get((method, path)):
            status, parts = await self._read(read, call)
        elif write := routes.WRITING.get((method, path)):
            status, parts = await self._write(_Write(write, call, deletes=method == "DELETE"))
        else:
            status, parts = 404, [routes.compact({"detail": "Not Found"}).encode()]
        headers = {
            "date": _http_date(int(self._clock())),
            "content-type": "text/plain; charset=utf-8" if status == 500 else "application/json",
            "x-correlation-id": secrets.token_hex(4),
        }
        return rest.HttpReply(status, headers, b"".join(parts))

    async def _read(self, route: routes.ReadRoute, call: routes.Call) -> Reply:
        # A turn of the loop for others, who might wait long behind a caller that reads and reads.
        await anyio.lowlevel.checkpoint()
        with suppress(TakesLonger):
            return _read(route, replace(call, at_once=True))
        # A pool of its own: the way through `anyio.to_thread` costs three times as much, and more than most reads.
        async with self._reading:  # a caller that is cancelled ends here: what goes to the pool is waited for
            reading = asyncio.get_running_loop().run_in_executor(self._readers, _read, route, call)
            with anyio.CancelScope(shield=True):  # nothing may be running when the file is closed
                await reading
        return reading.result()

    async def _write(self, mine: _Write) -> Reply:
        self._waiting.append(mine)
        try:
            # The lock is fair: whoever gets it is either the first that still waits, or answered already.
            async with self._writer:
                if mine.reply is None:
                    batch = self._next_batch()
                    with anyio.CancelScope(shield=True):  # others wait for this batch too
                        await anyio.to_thread.run_sync(self._commit, batch)
        finally:
            if mine in self._waiting:  # its caller went away before its turn
                self._waiting.remove(mine)
        assert mine.reply is not None
        return mine.reply

    def _next_batch(self) -> list[_Write]:
        """The first write that waits, and if that is a publish, the publishes behind it."""
        batch = [self._waiting.popleft()]
        size = len(batch[0].call.raw)
        while not batch[0].deletes and self._waiting and not self._waiting[0].deletes:
            size += len(self._waiting[0].call.raw)
            if size > MAX_BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _commit(self, batch: list[_Write]) -> None:
        """Carry out writes in one transaction, and set their replies when it is on the disk."""
        changes: list[tuple[_Write, routes.Change]] = []
        for write in batch:
            try:
                changes.append((write, write.route(write.call)))
            except Exception as error:  # noqa: BLE001 - becomes the reply
                write.reply = _failure(write.route, error)
        if not changes:
            return
        try:
            with self._database.writing(deletes=batch[0].deletes) as connection:
                alone = len(changes) == 1
                replies = [
                    _changed(connection, write.route, change, alone=alone) for write, change in changes
                ]
        except Exception as error:  # noqa: BLE001 - becomes the reply
            replies = [_failure(write.route, error) for write, _ in changes]
        for (write, _), reply in zip(changes, replies, strict=True):
            write.reply = reply


def _read(route: routes.ReadRoute, call: routes.Call) -> Reply:
    try:
        return _success(route(call))
    except TakesLonger:
        raise
    except Exception as error:  # noqa: BLE001 - becomes the reply
        return _failure(route, error)


def _changed(
    connection: Connection, route: routes.WriteRoute, change: routes.Change, *, alone: bool
) -> Reply:
    """Carry out a write in a transaction. If it is not alone there and fails, the others stand."""
    if alone:
        return _success(change(connection))
    connection.execute("SAVEPOINT one")
    try:
        reply = _success(change(connection))
    except Exception as error:
        if not connection.in_transaction:  # SQLite gave up the whole of it, on a full disk for example
            raise
        connection.execute("ROLLBACK TO one")
        reply = _failure(route, error)
    connection.execute("RELEASE one")
    return reply


def _success(body: routes.Json | list[bytes]) -> Reply:
    return 200, body if isinstance(body, list) else [routes.compact(body).encode()]


def _failure(route: routes.ReadRoute | routes.WriteRoute, error: Exception) -> Reply:
    if isinstance(error, sqlite3.Error | OverflowError):
        error = store_error(error)
    if isinstance(error, StoreBusy):
        error = routes.unavailable(error)
    if isinstance(error, StoreFailed):
        return _success(routes.failed(error))
    if isinstance(error, routes.Refusal):
        # The name of a field that was sent need not be valid Unicode: hence the ASCII of `dumps`.
        return error.status, [json.dumps(error.body).encode()]
    # As a server answers a fault of its own.
    logger.error("%s failed: %s", route.__name__, type(error).__name__)
    return 500, [b"Internal Server Error"]


@functools.lru_cache(maxsize=1)
def _http_date(epoch: int) -> str:
    return formatdate(epoch, usegmt=True)


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
