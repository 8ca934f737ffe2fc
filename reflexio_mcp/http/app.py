"""The ASGI app: its paths, and how a request passes the guard on its way to the SDK's transports."""

import functools
import json
import logging
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import INVALID_REQUEST
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflexio_mcp.http.bearer_tokens import Tokens, bearer_tokens
from reflexio_mcp.http.exchange import Exchange, Exchanges
from reflexio_mcp.http.guard import Guard
from reflexio_mcp.http.refusal import PROTECTED_RESOURCE, Refusal
from reflexio_mcp.http.request_body import read_body
from reflexio_mcp.logs import event
from reflexio_mcp.rest.api_limits import MAX_BODY_BYTES
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.server.call_limiter import CALLER
from reflexio_mcp.server.callers import Caller, ending_with_token, share_of
from reflexio_mcp.server.sdk import SessionOwners
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.toolkit.caller_quota import Quota
from reflexio_mcp.toolkit.spec import Permission

if TYPE_CHECKING:
    from reflexio_mcp.http.oauth import SignIn

__all__ = ["MCP_PATH", "HttpApp", "create_app"]

MCP_PATH: Final = "/mcp"
SSE_PATH: Final = "/sse"
MESSAGES_PATH: Final = "/messages/"
HEALTH_PATH: Final = "/health"
READY_PATH: Final = "/ready"

_METHODS: Final = {MCP_PATH: ("GET", "POST", "DELETE"), SSE_PATH: ("GET",), MESSAGES_PATH: ("POST",)}

WITHOUT_SESSIONS: Final = b"2026-07-28"
"""The revision whose clients open no session."""

MOST_BYTES: Final = MAX_BODY_BYTES + 64 * 1024
"""What the API takes, and the envelope around it."""

READY_SECONDS: Final = 2.0
"""How long an answer of `/ready` is kept, so that asking often does not load the backend."""

PROBE_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 1.0

_SIGN_IN_PATHS: Final = frozenset({"/register", "/authorize", "/token"})
_SIGN_IN_METADATA: Final = ("/.well-known/oauth-", "/.well-known/openid-configuration")
"""Where OAuth clients look when they have no token. They show the answer to the person."""

NO_SIGN_IN: Final = (
    "This server has no sign-in: give the client its bearer token, as the header Authorization: Bearer TOKEN. The "
    "operator has it: it is REFLEXIO_MCP_AUTH_TOKEN, or in the file that the server names when it starts."
)
ASKS_FOR_NONE: Final = "This server has no sign-in and asks for no token: connect without one."

_KNOWN_PATHS: Final = frozenset({*_METHODS, HEALTH_PATH, READY_PATH, *_SIGN_IN_PATHS})
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_Headers = Sequence[tuple[bytes, bytes]]

_SHARED_HEADERS: Final = (
    "authorization", "content-type", "accept", "last-event-id", "mcp-session-id", "mcp-protocol-version", "mcp-method",
    "mcp-name", "traceparent", "tracestate", "x-reflexio-api-key", "x-reflexio-user-id",
)  # fmt: skip
"""Headers that the page of an allowed origin may send."""

_PUBLIC: Final = (
    (b"content-type", b"application/json"),
    (b"access-control-allow-origin", b"*"),
    (b"cache-control", b"max-age=300"),
)
"""Headers of answers that any page may read before anybody has signed in."""

_ANY_PAGE: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"*"),
)
"""Headers that let a page send such a request with headers of its own, as SDKs do."""

logger = logging.getLogger("reflexio_mcp.http")


class HttpApp:
    """One server for clients of both protocol eras.

    Args:
        tokens: the bearer tokens that are accepted.
        client: used instead of the configured backend.

    Raises:
        ConfigurationError: a configuration that would leave the server open, or that cannot work.
    """

    def __init__(self, settings: Settings, tokens: Tokens, *, client: ReflexioClient | None = None) -> None:
        self.settings = settings
        self.server = ReflexioServer(settings, client=client)
        self._runtime = self.server.runtime
        self._sign_in = _sign_in(settings, self.server.permissions)
        self._guard = Guard(settings, tokens, self._sign_in)
        # The guard has seen every request before the SDK does; a second check would log the Host that was sent.
        guarded = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self.server.streamable_http_app(
            streamable_http_path=MCP_PATH,
            stateless_http=not settings.keeps_sessions,
            max_request_body_size=MOST_BYTES,
            session_idle_timeout=settings.session_idle,
            max_sessions=settings.max_sessions,
            transport_security=guarded,
        )
        manager = self.server.session_manager
        self._mcp: ASGIApp = manager.handle_request
        self._owners = SessionOwners(manager)
        self._sse: ASGIApp = self.server.sse_app(
            sse_path=SSE_PATH,
            message_path=MESSAGES_PATH,
            max_request_body_size=MOST_BYTES,
            transport_security=guarded,
        )
        # The guard has checked the Origin before.
        self._shared: ASGIApp = CORSMiddleware(
            functools.partial(self._refusing, self._admitted),
            allow_origin_regex=".*",
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=_SHARED_HEADERS,
            expose_headers=("mcp-session-id", "mcp-protocol-version", "www-authenticate"),
        )
        self._exchanges = Exchanges()
        self._share = share_of(settings, settings.max_sessions)
        self._streams = Quota(self._share, settings.max_sessions)
        self.stopping = False
        self._ready = False
        self._asked_at = -READY_SECONDS
        self._asking = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._refusing(self._answer, scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Enter this before the first request and leave it after the last."""
        async with self._runtime.open(), self.server.session_manager.run():
            yield
        if self._sign_in is not None:
            await self._sign_in.aclose()

    async def sign_in_trouble(self) -> tuple[str, bool]:
        """Why people cannot sign in, and whether they can with a JWT; the reason is empty where they can, or need not.

        It is what follows the sign-in service's name.
        """
        return await self._sign_in.trouble() if self._sign_in else ("", False)

    async def drain(self, seconds: float) -> None:
        """Let running calls finish, end the rest, and wait for the deletions that were promised.

        Args:
            seconds: how long calls may go on; then they are told to try again.
        """
        self.stopping = True
        limiter = self.server.limiter
        limiter.refuse_new()
        with anyio.move_on_after(seconds):
            await limiter.wait_idle()
        limiter.end_running()
        await limiter.wait_idle()  # a deletion that has begun goes on to its receipt
        with anyio.move_on_after(LAST_WORDS_SECONDS):
            await self._exchanges.wait_answered()
            await anyio.sleep(LAST_WORDS_SECONDS / 20)  # answers on their way to a stream at /sse
        self._exchanges.end_all()
        self._runtime.jobs.close()
        await self._runtime.jobs.drain()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _refusing(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            await app(scope, receive, send)
        except Refusal as refused:
            _log_refusal(scope, refused.status, refused.reason, began)
            await _refuse(send, refused)
        except Exception as error:  # noqa: BLE001 - the message may hold what the caller sent
            logger.error("a request failed: %s", type(error).__name__)
            await _refuse(send, Refusal(500, "failed", "This server failed; try again."))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        self._guard.check_form(scope)
        if path in (HEALTH_PATH, READY_PATH):
            self._guard.check_method(scope, ("GET", "HEAD"))
            if path == HEALTH_PATH:
                await _text(send, 200, "ok")
            else:
                ready = await self._is_ready()
                await _text(send, 200 if ready else 503, "ready" if ready else "not ready")
            return
        if self._sign_in is not None and self._sign_in.is_metadata(path):
            self._guard.check_host(scope)
            self._guard.check_method(scope, ("GET", "HEAD", "OPTIONS"))
            if scope["method"] == "OPTIONS":
                await _respond(send, 200, b"", _ANY_PAGE)
            else:
                await _respond(send, 200, json.dumps(self._sign_in.metadata).encode(), _PUBLIC)
            return
        if path in _SIGN_IN_PATHS or path.startswith(_SIGN_IN_METADATA):
            told = ASKS_FOR_NONE if self.settings.unsafe_no_auth else NO_SIGN_IN
            if self._sign_in is not None:
                issuer = self.settings.oauth_issuer
                told = f"This server issues no tokens: sign in at {issuer}; see {PROTECTED_RESOURCE}."
            raise Refusal(404, "sign_in", told, oauth_error="access_denied")
        if path not in (MCP_PATH, SSE_PATH) and path != MESSAGES_PATH:
            raise Refusal(404, "path", f"There is nothing here; this server speaks MCP at {MCP_PATH}.")
        self._guard.check_host_and_origin(scope)
        await self._shared(scope, receive, send)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        method: str = scope["method"]
        caller = await self._guard.admit(scope)
        self._guard.check_method(scope, _METHODS[path])
        scope[CALLER] = caller
        scope["user"] = _user(caller.name, caller.account)
        if self.stopping and not _belongs_to_session(path, scope):
            raise Refusal(503, "stopping", "This server is stopping; try again.", [(b"retry-after", b"1")])
        if path == MCP_PATH and method == "POST" and self.settings.keeps_sessions:
            self._check_share(caller, scope)
        app = self._mcp if path == MCP_PATH else self._sse

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            if method == "POST":
                receive = await read_body(scope, receive, most=MOST_BYTES, seconds=self.settings.slow_client)
                if self._sign_in is not None:
                    receive = await self._sign_in.checked(receive, caller)
            await app(scope, receive, send)

        began = time.perf_counter()

        def started(message: Message) -> None:
            if message["status"] >= 400:
                reason = HTTPStatus(message["status"]).phrase.lower().replace(" ", "_")
                _log_refusal(scope, message["status"], reason, began)

        exchange = Exchange(send, standing=method == "GET", started=started)
        ending = ending_with_token(caller, exchange.scope) if exchange.standing else nullcontext()
        try:
            async with ending:
                if path == SSE_PATH:
                    await self._stream(exchange, answer, scope, receive)
                else:
                    await self._exchanges.run(exchange, answer, scope, receive)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001 - the message may hold what the caller sent
            logger.error("%s %s failed: %s", method, path, type(error).__name__)
            await exchange.finish()

    async def _stream(self, exchange: Exchange, app: ASGIApp, scope: Scope, receive: Receive) -> None:
        with self._streams.hold(scope[CALLER].account) as taken:
            if not taken:
                raise _too_many()
            await self._exchanges.run(exchange, app, scope, receive)

    def _check_share(self, caller: Caller, scope: Scope) -> None:
        # Whatever else may open a session counts; the SDK counts sessions too, but not whose they are.
        headers = dict(reversed(scope["headers"]))  # of two, the SDK reads the first
        if b"mcp-session-id" in headers or headers.get(b"mcp-protocol-version") == WITHOUT_SESSIONS:
            return
        if self._owners.count(caller.account) >= self._share:
            raise _too_many()

    async def _is_ready(self) -> bool:
        if self.stopping:
            return False
        async with self._asking:
            if time.monotonic() - self._asked_at >= READY_SECONDS:
                self._ready = False
                with anyio.move_on_after(PROBE_SECONDS):
                    try:
                        await self._runtime.scopes.probe()
                        self._ready = True
                    except ReflexioError as error:
                        logger.warning("the backend is not ready: %s", type(error).__name__)
                self._asked_at = time.monotonic()
            return self._ready


def create_app(settings: Settings) -> HttpApp:
    """Make the app for another ASGI server, which must send lifespan events.

    Raises:
        ConfigurationError: a configuration that would leave the server open, or that cannot work.
    """
    tokens, _ = bearer_tokens(settings)
    return HttpApp(settings, tokens)


def _sign_in(settings: Settings, tools: Mapping[str, Permission]) -> "SignIn | None":
    if not settings.oauth_issuer:
        if settings.oauth_audience or settings.oauth_client_id or settings.oauth_client_secret:
            raise ConfigurationError(
                "REFLEXIO_MCP_OAUTH_AUDIENCE and the client of REFLEXIO_MCP_OAUTH_CLIENT_ID need "
                "REFLEXIO_MCP_OAUTH_ISSUER: nobody could sign in."
            )
        return None
    from reflexio_mcp.http.oauth import SignIn  # only servers with a sign-in need what it imports

    return SignIn(settings, tools)


@functools.lru_cache(maxsize=4096)
def _user(name: str, account: str) -> AuthenticatedUser:
    # The SDK gives a session to the credential that opened it, and to no other.
    return AuthenticatedUser(AccessToken(token="", client_id=name, scopes=[], subject=account))


def _log_refusal(scope: Scope, status: int, reason: str, began: float) -> None:
    peer = scope.get("client")
    event(
        "refused",
        logging.WARNING,
        reason=reason,
        status=status,
        method=scope["method"] if scope["method"] in _KNOWN_METHODS else "",
        path=scope["path"] if scope["path"] in _KNOWN_PATHS else "",
        peer=peer[0] if peer else "",
        ms=round((time.perf_counter() - began) * 1000, 1),
    )


def _belongs_to_session(path: str, scope: Scope) -> bool:
    return path == MESSAGES_PATH or (
        scope["method"] != "GET" and any(name == b"mcp-session-id" for name, _ in scope["headers"])
    )


def _too_many() -> Refusal:
    return Refusal(503, "sessions", "Too many sessions are open; try again later.", [(b"retry-after", b"10")])


async def _text(send: Send, status: int, text: str) -> None:
    await _respond(
        send, status, text.encode(), [(b"content-type", b"text/plain"), (b"cache-control", b"no-store")]
    )


async def _refuse(send: Send, refused: Refusal) -> None:
    error: dict[str, object] = {
        "jsonrpc": "2.0",
        "id": None,
        "error": {"code": INVALID_REQUEST, "message": refused.text},
    }
    if refused.oauth_error:
        error = {"error": refused.oauth_error, "error_description": refused.text}
    # The body may be unread and stays unread.
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *refused.headers]
    await _respond(send, refused.status, json.dumps(error).encode(), headers)


async def _respond(send: Send, status: int, body: bytes, headers: _Headers) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
