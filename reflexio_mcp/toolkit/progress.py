"""Progress notifications of a long call."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from reflexio_mcp.toolkit.context import Call, app_of
from reflexio_mcp.traffic.tasks import task_group

__all__ = ["ProgressReporter"]

EVERY_SECONDS: Final = 5.0
"""Between two messages while the work advances."""

SILENCE_SECONDS: Final = 10.0
"""The longest silence while the work waits for one slow call to the service."""

SEND_SECONDS: Final = 1.0
"""How long a client has to accept a message."""

logger = logging.getLogger("reflexio_mcp")


class ProgressReporter:
    """Progress of one call. Its numbers grow through all stages of the work."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._sent = 0
        self._last = anyio.current_time()
        self._words = "working"
        self._nobody_reads = not _is_read(call)

    async def __call__(self, what: str, done: int, total: int | None) -> None:
        """Note how far the work is, and send that when the last message is old enough."""
        self._words = f"{what}: {done:,}{f' of {total:,}' if total is not None else ''}"
        if anyio.current_time() - self._last >= EVERY_SECONDS:
            await self._send()

    @asynccontextmanager
    async def steady(self, words: str = "working") -> AsyncGenerator["ProgressReporter"]:
        """Send messages while no progress is noted, too. An exception of the body is raised as it is.

        Args:
            words: what is being done, until something is noted.
        """
        self._words = words
        if self._nobody_reads:
            yield self
            return
        async with task_group() as tasks:
            tasks.start_soon(self._send_regularly)
            yield self
            tasks.cancel_scope.cancel()

    async def _send_regularly(self) -> None:
        while True:
            await anyio.sleep(1)
            if anyio.current_time() - self._last >= SILENCE_SECONDS:
                await self._send()

    async def _send(self) -> None:
        self._last = anyio.current_time()
        if self._nobody_reads:
            return
        self._sent += 1
        # When the caller has gone away, its stream blocks or breaks. The work goes on without it.
        with anyio.move_on_after(SEND_SECONDS) as limit:
            try:
                await self._call.report_progress(self._sent, None, self._words)
            except Exception as error:  # noqa: BLE001 - whatever a closed transport raises
                logger.debug("progress could not be sent: %s", type(error).__name__)
                self._nobody_reads = True
        self._nobody_reads = self._nobody_reads or limit.cancelled_caught


def _is_read(call: Call) -> bool:
    """Whether the caller asked for progress; in memory it does so by a callback, which nothing shows."""
    context = call.request_context
    in_memory = context.request is None and not app_of(call).over_stdio
    return in_memory or "progress_token" in (context.meta or {})
