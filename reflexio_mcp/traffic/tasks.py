"""Concurrent work that raises its first failure, threads for heavy work, and calls whose effect is noted.

An anyio task group would wrap the failure in an `ExceptionGroup`.
"""

import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar, cast

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import RunVar

from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.traffic.turns import share_of

__all__ = ["both", "for_each", "in_heavy_thread", "send", "task_group"]

HEAVY_THREADS: Final = 2

T = TypeVar("T")
U = TypeVar("U")
OwnerLocks = weakref.WeakValueDictionary[str, anyio.Lock]

_heavy_threads: RunVar[tuple[anyio.CapacityLimiter, OwnerLocks]] = RunVar("reflexio_mcp_heavy_threads")


async def in_heavy_thread(owner: str, work: Callable[[], T]) -> T:
    """Run a long search in one of a few threads, one at a time for each owner.

    Light work has other threads and never waits for these.
    """
    try:
        threads, locks = _heavy_threads.get()
    except LookupError:
        threads, locks = anyio.CapacityLimiter(HEAVY_THREADS), OwnerLocks()
        _heavy_threads.set((threads, locks))
    lock = locks.setdefault(owner, anyio.Lock())
    async with lock:
        return await anyio.to_thread.run_sync(work, limiter=threads)


@asynccontextmanager
async def task_group() -> AsyncGenerator[TaskGroup]:
    """A task group that raises the first failure of its body or tasks."""
    error: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except ExceptionGroup as group:
        error = _first(group)
    # If it was raised in the `except` block, the two errors would keep each other and all their frames in memory.
    if error is not None:
        try:
            raise error
        finally:
            del error


def _first(group: ExceptionGroup[Exception]) -> Exception:
    inside = group.exceptions[0]
    return _first(cast("ExceptionGroup[Exception]", inside)) if isinstance(inside, ExceptionGroup) else inside


async def both(first: Callable[[], Awaitable[T]], second: Callable[[], Awaitable[U]]) -> tuple[T, U]:
    """Wait for two calls at the same time. If one fails, the other is cancelled."""
    results: list[T] = []

    async def keep() -> None:
        results.append(await first())

    async with task_group() as tasks:
        tasks.start_soon(keep)
        other = await second()
    return results[0], other


async def for_each(items: Iterable[T], act: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Call `act` for each item, `at_once` of them at the same time, and fewer beside calls of other accounts.

    After a failure no further call begins. Running calls finish, since they may be changing something; then the first
    failure is raised.
    """
    limiter = anyio.CapacityLimiter(at_once)
    failures: list[Exception] = []

    async def act_in_limit(item: T) -> None:
        # Other accounts can begin or stop calling at any time, so the limit is set before each item and after it.
        limiter.total_tokens = share_of(at_once)
        async with limiter:
            if failures:
                return
            try:
                await act(item)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)
        limiter.total_tokens = share_of(at_once)

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(act_in_limit, item)
    if failures:
        error = failures[0]
        failures.clear()
        # The error's traceback has this frame. If the frame kept the error, both would stay in memory.
        try:
            raise error
        finally:
            del error


async def send(call: Awaitable[T], ids: Sequence[str], sent: set[str]) -> T:
    """Make a call that deletes or changes something. `sent` receives its ids, unless it had no effect."""
    sent.update(ids)
    try:
        return await call
    except ReflexioError as error:
        if error.effect == "none":
            sent.difference_update(ids)
        raise
