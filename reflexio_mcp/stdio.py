"""Serving over standard input and output, and stopping without breaking a promise."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import anyio

from reflexio_mcp.runtime import calm_collector
from reflexio_mcp.server import build_server
from reflexio_mcp.settings import Settings

__all__ = ["serve"]

DRAIN_SECONDS: Final = 60.0
"""Longest wait for promised deletions after a signal; at the end of input there is no bound."""


def serve(settings: Settings) -> int:
    """Serve until the end of input (0), SIGTERM (0) or Ctrl-C (130)."""
    anyio.run(_serve, settings)
    return 0


async def _serve(settings: Settings) -> None:
    server = build_server(settings)
    calm_collector()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, server.runtime.schedule.drain)
        await server.run_stdio_async()
        tasks.cancel_scope.cancel()


async def _stop_on_signal(drain: Callable[[], Awaitable[None]]) -> None:
    signals = [signal.SIGINT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM]
    with suppress(NotImplementedError), anyio.open_signal_receiver(*signals) as received:
        async for number in received:
            with anyio.move_on_after(DRAIN_SECONDS):
                await drain()
            # The reader is blocked on standard input, so an ordinary exit would wait for the client.
            sys.stderr.flush()
            os._exit(130 if number == signal.SIGINT else 0)
