"""Runs the app, and stops it so that every call gets an answer."""

import asyncio
import importlib
import os
import pkgutil
import signal
import socket
import struct
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final

import anyio
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from reflexio_mcp.backend import location_of, state_file
from reflexio_mcp.http.access import bearer_tokens
from reflexio_mcp.http.app import MCP_PATH, HttpApp
from reflexio_mcp.logs import event, flush
from reflexio_mcp.results.base import visible
from reflexio_mcp.server.runtime import tune_collector
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.tools.catalog import sdk_tool

DRAIN_SECONDS: Final = 60.0
"""Longest wait for running deletions, after the time for calls."""

M_MMAP_THRESHOLD: Final = -3
MAPPED_BYTES: Final = 1024 * 1024

KEEP_ALIVE_SECONDS: Final = 65
"""Longer than a proxy's usual 60 s, so that no proxy uses a closing connection."""

SWITCH_SECONDS: Final = 0.0001
"""Thread switch interval. It is short, so that the event loop goes on while other threads run the embedded store and
audits."""

BACKLOG: Final = 2048

UNREAD_SECONDS: Final = 60.0
"""How long a client may leave an answer unread."""

IMPORTED_FIRST: Final = ("embedded_store", "render", "rest", "tools", "traffic")
"""Packages with modules that are otherwise imported by the first call that needs them."""

MOST_USERS: Final = 20
"""Maximum number of users that the start-up lines name."""

MOST_LINES: Final = 2000
"""Maximum number of lines in one read from a connection. Each chunk of a body has two; JSON itself has few."""

LINES_AT_ONCE: Final = 100
SHORT_LINE_BYTES: Final = 128
REST_SECONDS: Final = 0.1
"""After each `LINES_AT_ONCE` short lines of one request, its connection rests."""


class _Flow(FlowControl):
    """Flow control that also says when it resumes reading."""

    def __init__(self, transport: asyncio.Transport, resumed: Callable[[], None]) -> None:
        super().__init__(transport)
        self._resumed = resumed

    def resume_reading(self) -> None:
        super().resume_reading()
        self._resumed()


class _Protocol(H11Protocol):
    """Slows down and closes connections that would cost the others.

    These are connections on which a body comes in tiny chunks, each of which takes as much time as a large one, and
    connections whose client does not read its answer.
    """

    _unread: asyncio.TimerHandle | None = None
    _rest: asyncio.TimerHandle | None = None
    _held = b""
    """What was read and is not passed on yet."""
    _short_lines = 0
    """Short lines of the request since its connection rested."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport, self._pass_on)

    def data_received(self, data: bytes) -> None:
        if data.count(b"\r\n") > MOST_LINES:
            self.transport.close()
            return
        self._held += data
        self._pass_on()

    def _pass_on(self) -> None:
        """Pass on what was read, as long as uvicorn takes it and the connection need not rest."""
        while self._held and not (self._rest or self.flow.read_paused or self.transport.is_closing()):
            data, self._held = _split(self._held, LINES_AT_ONCE - self._short_lines)
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:  # another request has begun
                self._short_lines = 0
            self._short_lines += max(0, data.count(b"\r\n") - len(data) // SHORT_LINE_BYTES)
            if self._short_lines >= LINES_AT_ONCE:
                self._short_lines = 0
                self._rest = self.loop.call_later(REST_SECONDS, self._go_on)
        if self._held or self._rest:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        self._rest = None
        self._pass_on()
        if not self._held and not self._rest and not self.flow.read_paused:
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._give_up)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._forget_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_unread()
        self._held = b""
        if self._rest is not None:
            self._rest.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        # Otherwise the kernel would keep what is not read.
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def _split(data: bytes, lines: int) -> tuple[bytes, bytes]:
    """Return the first lines of the data, and the rest."""
    parts = data.split(b"\r\n", lines)
    rest = parts[lines] if len(parts) > lines else b""
    return data[: len(data) - len(rest)], rest


class _Server(uvicorn.Server):
    """Answers all calls before it stops. A second signal ends the process at once."""

    def __init__(self, config: uvicorn.Config, app: HttpApp) -> None:
        super().__init__(config)
        self.code = 0
        self._served = app

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Handle signals, but unlike uvicorn do not raise them again at the end."""
        numbers = (signal.SIGINT, signal.SIGTERM)

        # Not a bound method: in that, sse-starlette would find this server, and end all its streams when it stops.
        def stop(number: int, frame: FrameType | None) -> None:
            self.handle_exit(number, frame)

        earlier = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in earlier.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            event("interrupted")
            _leave(128 + sig)
        self.code = 130 if sig == signal.SIGINT else 0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        event("stopping")
        for listening in self.servers:
            listening.close()
        seconds = self._served.settings.stop_timeout
        with anyio.move_on_after(seconds + DRAIN_SECONDS) as limit:
            await self._served.drain(seconds)
        if limit.cancelled_caught:
            event("abandoned", deletions=len(self._served.server.runtime.jobs.running))
            _leave(1)
        await super().shutdown(sockets)


def serve(settings: Settings) -> int:
    """Serve until SIGTERM (0) or Ctrl-C (130).

    Raises:
        ConfigurationError: the configuration would leave the server open, or cannot work.
    """
    tokens, kept_in = bearer_tokens(settings)
    app = HttpApp(settings, tokens)
    for name in app.server.tool_permissions:
        sdk_tool(name)  # otherwise calls would wait for its import
    _import_modules_of_calls()
    tune_collector()
    _return_large_blocks()
    listener = _listen(settings)
    sys.setswitchinterval(SWITCH_SECONDS)
    for line in start_lines(settings, listener.getsockname()[:2], kept_in):
        _say(line)
    return anyio.run(_serve, settings, app, listener)


def _return_large_blocks() -> None:
    """Let blocks of `MAPPED_BYTES` and more go back to the system when they are freed.

    glibc stops doing so for blocks up to the size of the largest that was freed, so a few large bodies would leave the
    process large (mallopt(3), M_MMAP_THRESHOLD).
    """
    if sys.platform != "linux":
        return
    import ctypes  # takes 10 ms, and only servers need it

    with suppress(AttributeError):  # musl has no such option
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)


def _import_modules_of_calls() -> None:
    """Import what a call would import while the calls of others wait for it."""
    for name in IMPORTED_FIRST:
        package = importlib.import_module(f"reflexio_mcp.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def uvicorn_server(app: HttpApp) -> _Server:
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=32 * 1024,
        backlog=BACKLOG,
    )
    return _Server(config, app)


async def _serve(settings: Settings, app: HttpApp, listener: socket.socket) -> int:
    server = uvicorn_server(app)
    async with app.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(_warn, settings, app)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()
    return server.code


async def _warn(settings: Settings, app: HttpApp) -> None:
    if app.sign_in and (why := await app.sign_in.trouble()):
        _say(f"warning: sign-in does not work while {settings.oauth_issuer} {why}; see reflexio-mcp doctor")


def _say(text: str) -> None:
    sys.stderr.write(f"reflexio-mcp: {text}\n")
    sys.stderr.flush()


def _leave(code: int) -> None:
    flush()
    os._exit(code)


def _listen(settings: Settings) -> socket.socket:
    host = settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            "--host / REFLEXIO_MCP_HOST and --port / REFLEXIO_MCP_PORT: cannot listen there on port "
            f"{settings.port} ({error.strerror or type(error).__name__})."
        ) from None
    # asyncio disables Nagle's algorithm, which delays answers, only if a socket names its protocol.
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=listener.detach())


def start_lines(settings: Settings, address: tuple[str, int], kept_in: Path | None) -> list[str]:
    """Say where the server listens, what it serves, who may connect, and where state and policy are.

    Args:
        kept_in: the file of a generated token.
    """
    host, port = address
    shown = f"[{host}]" if ":" in host else host
    where = f"the embedded store at {location_of(settings)}" if settings.embedded else location_of(settings)
    state = (
        "PostgreSQL, as REFLEXIO_MCP_STATE says" if settings.state else state_file(settings) or "in memory"
    )
    lines = [
        f"serving http://{shown}:{port}{MCP_PATH} (and /sse); stop with SIGTERM or Ctrl-C",
        f"memory: {where}",
        f"state: {state}",
        f"policy: {settings.policy or 'none'}",
        f"who may connect: {_who_may_connect(settings)}",
    ]
    if kept_in is not None:
        lines.append(f"the bearer token that clients need is in {kept_in}")
    if settings.unsafe_no_auth:
        lines.append("UNSAFE: no bearer token is asked for; whoever reaches this port may use it")
    return [visible(line) for line in lines]


def _who_may_connect(settings: Settings) -> str:
    if settings.unsafe_no_auth:
        return "everybody"
    users = [entry.rpartition(":")[0] for entry in settings.auth_token]
    named = sorted({user for user in users if user})
    told: list[str] = []
    if settings.oauth_issuer:
        told.append(f"whoever signs in at {settings.oauth_issuer}")
    if named:
        holders = "1 user" if len(named) == 1 else f"{len(named):,} users"
        told.append(f"{holders} with a token ({', '.join(named[:MOST_USERS])})")
    if "" in users or not told:
        told.append(f"holders of a token that reaches {settings.user_id or 'every user'}")
    return "; ".join(told)
