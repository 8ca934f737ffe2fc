"""Serving over standard input and output."""

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Final

import anyio

from reflexio_mcp.logs import flush
from reflexio_mcp.server.runtime import tune_collector
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Settings

DRAIN_SECONDS: Final = 60.0
"""Longest wait for deletions after a signal. After the end of input, no limit applies."""

LAST_WORDS_SECONDS: Final = 1.0
"""Longest wait for calls to be answered after the wait for deletions."""


def serve(settings: Settings) -> int:
    """Serve until the end of input (0), SIGTERM (0) or Ctrl-C (130)."""
    anyio.run(_serve, settings)
    return 0


async def _serve(settings: Settings) -> None:
    server = ReflexioServer(replace(settings, auth_token=(), oauth_issuer=""))  # Both are for HTTP.
    tune_collector()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_on_signal, server)
        await server.run_stdio_async()
        tasks.cancel_scope.cancel()


async def _stop_on_signal(server: ReflexioServer) -> None:
    signals = [signal.SIGINT] if sys.platform == "win32" else [signal.SIGINT, signal.SIGTERM]
    with suppress(NotImplementedError), anyio.open_signal_receiver(*signals) as received:
        async for number in received:
            await _finish(server)
            # A thread is blocked on standard input, so an ordinary exit would wait for the client.
            flush()
            os._exit(130 if number == signal.SIGINT else 0)


async def _finish(server: ReflexioServer) -> None:
    """Finish running deletions and answer their calls. Begin nothing."""
    jobs = server.runtime.jobs
    server.limiter.refuse_new()
    jobs.close()
    if not jobs.running:
        return
    with anyio.move_on_after(DRAIN_SECONDS):
        await jobs.drain()
    with anyio.move_on_after(LAST_WORDS_SECONDS):
        await server.limiter.wait_idle()
        await anyio.sleep(LAST_WORDS_SECONDS / 10)  # answers are still being written
