"""Running the app in this process, and stopping it so that nobody is left without an answer."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import uvicorn

from reflexio_mcp.http.app import MCP_PATH, HttpApp
from reflexio_mcp.http.guard import MOST_HEAD_BYTES
from reflexio_mcp.http.tokens import SHORT_TOKEN, bearer_tokens
from reflexio_mcp.http.wire import MOST_CONNECTIONS, bounded
from reflexio_mcp.logs import event, flush
from reflexio_mcp.server.runtime import tune_collector
from reflexio_mcp.settings import ConfigurationError, Settings

__all__ = ["serve", "uvicorn_server"]

DRAIN_SECONDS: Final = 60.0
"""Longest wait for deletions that have begun or were promised, after calls had their time."""

KEEP_ALIVE_SECONDS: Final = 65
"""A little longer than a proxy's usual 60 s, so that it is never the proxy that finds a closed connection."""

CLOSE_SECONDS: Final = 2
BACKLOG: Final = 2048

SPARE_DESCRIPTORS: Final = 128
"""Files of a process that are not connections to clients: the store's, those to Reflexio, the log."""

ACCEPT_LOG_SECONDS: Final = 10.0

SWITCH_SECONDS: Final = 0.0005
"""How soon a thread of the embedded store gets its turn beside the event loop: Python's own 5 ms add up in a call."""


class _Server(uvicorn.Server):
    """Without uvicorn's handling of signals, which ends in raising them again."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def serve(settings: Settings) -> int:
    """Serve until SIGTERM (0) or Ctrl-C (130).

    Raises:
        ConfigurationError: a configuration that would leave the server open, or that cannot work.
    """
    tokens, kept_in = bearer_tokens(settings)
    if any(len(token) < SHORT_TOKEN for token in settings.auth_token):
        sys.stderr.write(
            f"reflexio-mcp: a token of REFLEXIO_MCP_AUTH_TOKEN has less than {SHORT_TOKEN} characters and may be "
            "guessed; make a longer one\n"
        )
    app = HttpApp(settings, tokens)
    tune_collector()
    listener = _listen(settings)
    _allow_connections()
    sys.setswitchinterval(SWITCH_SECONDS)
    _announce(settings, listener, kept_in)
    return anyio.run(_serve, settings, app, listener)


def uvicorn_server(settings: Settings, app: HttpApp) -> uvicorn.Server:
    """The server that `serve` runs: with this project's limits, and signals left to others."""
    most = _most_connections()
    config = uvicorn.Config(
        app,
        http=bounded(settings.slow_client, most=most),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        # So many are accepted in one go, before the first of them can be counted.
        backlog=min(BACKLOG, most // 2),
    )
    return (uvicorn.Server if sys.platform == "win32" else _Server)(config)


async def _serve(settings: Settings, app: HttpApp, listener: socket.socket) -> int:
    server = uvicorn_server(settings, app)
    _calm_accepting(asyncio.get_running_loop())
    if sys.platform == "win32":
        async with app.running():
            await server.serve(sockets=[listener])
        return 0
    code = 0

    async def watch(received: AsyncIterator[signal.Signals]) -> None:
        nonlocal code
        async for number in received:
            if server.should_exit or app.stopping:
                event("interrupted")
                _leave(128 + number)
            code = 130 if number == signal.SIGINT else 0
            watching.start_soon(_stop, settings, app, server)

    # The receiver stays to the very end: without it a second signal would kill what is being tidied up.
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with anyio.create_task_group() as watching:
            watching.start_soon(watch, signals)
            async with app.running():
                await server.serve(sockets=[listener])
            watching.cancel_scope.cancel()
    return code


async def _stop(settings: Settings, app: HttpApp, server: uvicorn.Server) -> None:
    event("stopping")
    for listening in getattr(server, "servers", ()):
        listening.close()
    with anyio.move_on_after(settings.stop_timeout + DRAIN_SECONDS) as limit:
        await app.drain(settings.stop_timeout)
    if limit.cancelled_caught:
        event("abandoned", deletions=app.server.runtime.jobs.running)
        _leave(1)
    server.should_exit = True


def _leave(code: int) -> None:
    flush()
    os._exit(code)


def _listen(settings: Settings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"--host / REFLEXIO_MCP_HOST and --port / REFLEXIO_MCP_PORT: cannot listen on {host[:60]} port "
            f"{settings.port} ({error.strerror or type(error).__name__})."
        ) from None


def _allow_connections() -> None:
    """Raise the soft limit of open files, which is often 1,024, as far as the connections need it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS * 2
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _most_connections() -> int:
    """How many connections there may be, so that files are left for everything else."""
    if sys.platform == "win32":
        return MOST_CONNECTIONS
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else _connections_within(soft)


def _connections_within(descriptors: int) -> int:
    return max(16, min(MOST_CONNECTIONS, descriptors - SPARE_DESCRIPTORS))


def _calm_accepting(loop: asyncio.AbstractEventLoop) -> None:
    """Say seldom, and in one line, that no connection can be accepted; asyncio would at each try, with its place."""
    said = -ACCEPT_LOG_SECONDS

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        if not str(context.get("message", "")).startswith("socket.accept()"):
            loop.default_exception_handler(context)
        elif loop.time() - said >= ACCEPT_LOG_SECONDS:
            said = loop.time()
            event("refused", logging.WARNING, reason="descriptors")

    loop.set_exception_handler(handle)


def _announce(settings: Settings, listener: socket.socket, kept_in: Path | None) -> None:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    lines = [f"reflexio-mcp: serving http://{shown}:{port}{MCP_PATH} (and /sse); stop with SIGTERM or Ctrl-C"]
    if kept_in is not None:
        lines.append(f"reflexio-mcp: the bearer token that clients need is in {kept_in}")
    if settings.unsafe_no_auth:
        lines.append(
            "reflexio-mcp: UNSAFE: no bearer token is asked for; whoever reaches this port may use it"
        )
    for line in lines:
        sys.stderr.write(line + "\n")
    sys.stderr.flush()
