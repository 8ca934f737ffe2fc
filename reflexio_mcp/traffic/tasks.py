"""Concurrent work that raises its first failure; an anyio task group would wrap it in an `ExceptionGroup`."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import anyio
from anyio.abc import TaskGroup

__all__ = ["for_each", "task_group"]

T = TypeVar("T")


@asynccontextmanager
async def task_group() -> AsyncGenerator[TaskGroup]:
    """A task group that raises the first failure of its body or tasks."""
    error: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            yield tasks
    except ExceptionGroup as group:
        error = _first(group)
    # Raised outside the group's own handler: the two errors would keep each other alive, with all frames in their
    # tracebacks.
    if error is not None:
        try:
            raise error
        finally:
            del error


def _first(group: ExceptionGroup[Exception]) -> Exception:
    inside = group.exceptions[0]
    return _first(cast("ExceptionGroup[Exception]", inside)) if isinstance(inside, ExceptionGroup) else inside


async def for_each(items: Iterable[T], act: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Call `act` for each item, `at_once` of them at the same time.

    After a failure no further call begins. Running calls finish, since they may be changing something; then the first
    failure is raised.
    """
    limiter = anyio.CapacityLimiter(at_once)
    failures: list[Exception] = []

    async def one(item: T) -> None:
        async with limiter:
            if failures:
                return
            try:
                await act(item)
            except Exception as error:  # noqa: BLE001 - raised below
                failures.append(error)

    async with anyio.create_task_group() as tasks:
        for item in items:
            tasks.start_soon(one, item)
    if failures:
        error = failures[0]
        failures.clear()
        try:
            raise error
        finally:
            del error
