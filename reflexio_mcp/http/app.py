"""The ASGI app: its paths, and what a request has to pass on its way to the SDK's transports."""

import contextlib
import functools
import logging
import re
import time
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflexio_mcp.http.addresses import allowed_hosts, allowed_origins, peer
from reflexio_mcp.http.bearer_tokens import Tokens
from reflexio_mcp.http.bodies import PUBLISH_BYTES, Bodies
from reflexio_mcp.http.refusal import AGAIN, Refusal, answer_refusal
from reflexio_mcp.logs import event
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.server.callers import Caller, ending_with_token, holder_of
from reflexio_mcp.server.sdk import SessionOwners, lowlevel
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.toolkit.caller_quota import Quota

if TYPE_CHECKING:
    from reflexio_mcp.http.oauth import SignIn

__all__ = ["MCP_PATH", "HttpApp"]

MCP_PATH: Final = "/mcp"
SSE_PATH: Final = "/sse"
MESSAGES_PATH: Final = "/messages/"
READY_PATH: Final = "/ready"
SIGN_IN_PATHS: Final = ("/register", "/authorize", "/token", "/.well-known/{rest:path}")
"""Where OAuth clients look when they have no token. They show the answer to the person."""

WITHOUT_SESSIONS: Final = b"2026-07-28"
"""The revision whose clients open no session."""

SESSIONS_EACH: Final = 20
"""Sessions, and streams at /sse, of one caller where callers are told apart."""

READY_SECONDS: Final = 2.0
"""How long an answer of `/ready` is kept, so that asking often does not load the backend."""

PROBE_SECONDS: Final = 5.0
LAST_WORDS_SECONDS: Final = 0.05
"""How long answers have that are on their way to a stream."""

NO_SIGN_IN: Final = (
    "This server has no sign-in: give the client its bearer token, as the header Authorization: Bearer TOKEN. The "
    "operator has it: it is REFLEXIO_MCP_AUTH_TOKEN, or in the file that the server names when it starts."
)
ASKS_FOR_NONE: Final = "This server has no sign-in and asks for no token: connect without one."

_SHARED_HEADERS: Final = (
    "authorization", "content-type", "accept", "last-event-id", "mcp-session-id", "mcp-protocol-version", "mcp-method",
    "mcp-name",
)  # fmt: skip
"""Headers that the page of an allowed origin may send."""

_KNOWN_PATHS: Final = frozenset({MCP_PATH, SSE_PATH, MESSAGES_PATH, "/health", READY_PATH, *SIGN_IN_PATHS})
_METHOD: Final = re.compile(r"[A-Z]{3,7}")

logger = logging.getLogger("reflexio_mcp.http")


class CallerToken(AccessToken):
    """What the SDK keeps of an accepted token; the SDK gives a session to the token that opened it, and to no other."""

    caller: Any


def _token_of(caller: Caller) -> CallerToken:
    return CallerToken(token="", client_id=caller.name, scopes=[], subject=caller.account, caller=caller)


class Everybody(AuthenticationBackend):
    """Takes every request for that of one caller."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, AuthenticatedUser]:
        return AuthCredentials(), AuthenticatedUser(_token_of(Caller()))


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
        self.sign_in = _sign_in(settings, self.server)
        self.stopping = False
        self._tokens = tokens
        self._runtime = self.server.runtime
        public = self.sign_in.host if self.sign_in else ""
        security = TransportSecuritySettings(
            allowed_hosts=allowed_hosts(settings, public), allowed_origins=allowed_origins(settings)
        )
        self._security = TransportSecurityMiddleware(security)
        low = lowlevel(self.server)
        self._manager = StreamableHTTPSessionManager(
            low,
            stateless=not settings.keeps_sessions,
            max_request_body_size=PUBLISH_BYTES,
            session_idle_timeout=settings.session_idle,
            max_sessions=settings.max_sessions,
        )
        self._owners = SessionOwners(self._manager)
        self._sse = SseServerTransport(MESSAGES_PATH, max_request_body_size=PUBLISH_BYTES)
        self._bodies = Bodies()
        self._share = (
            min(SESSIONS_EACH, settings.max_sessions) if settings.many_callers else settings.max_sessions
        )
        self._sse_streams = Quota(self._share, settings.max_sessions)
        self._streams: set[anyio.CancelScope] = set()
        self._ready = False
        self._asked_at = -READY_SECONDS
        self._asking = anyio.Lock()
        self._app = Starlette(
            routes=[
                Route("/health", self._health, methods=["GET"]),
                Route(READY_PATH, self._readiness, methods=["GET"]),
                Route(
                    MCP_PATH, self._protected(self._manager.handle_request), methods=["GET", "POST", "DELETE"]
                ),
                Route(SSE_PATH, self._protected(self._sse_stream), methods=["GET"]),
                Route(MESSAGES_PATH, self._protected(self._sse.handle_post_message), methods=["POST"]),
                *(self.sign_in.metadata_routes() if self.sign_in else ()),
                *(Route(path, self._no_sign_in, methods=["GET", "POST"]) for path in SIGN_IN_PATHS),
            ],
            # Outside the handler of refusals, so that the page of an allowed origin can read them.
            middleware=[
                Middleware(
                    CORSMiddleware,
                    allow_origin_regex=".*",  # the Origin has been checked before
                    allow_methods=("GET", "POST", "DELETE"),
                    allow_headers=_SHARED_HEADERS,
                    expose_headers=("mcp-session-id", "mcp-protocol-version", "www-authenticate"),
                )
            ],
            exception_handlers={Refusal: answer_refusal},
            lifespan=lambda _: self.running(),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send)
        peer.set(answer.peer)
        try:
            wrong = await self._security.validate_request(Request(scope))
            await (wrong or self._app)(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 - the message may contain what the caller sent
            logger.error("a request failed: %s", type(error).__name__)
            if not answer.started:
                await Response("This server failed; try again.", 500)(scope, receive, answer.send)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Enter this before the first request and leave it after the last."""
        async with self._runtime.open(), self._manager.run():
            yield
        if self.sign_in is not None:
            await self.sign_in.aclose()

    async def drain(self, seconds: float) -> None:
        """Let running calls finish, end the rest, and wait for deletions that have begun.

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
        await anyio.sleep(LAST_WORDS_SECONDS)
        for stream in self._streams:
            stream.cancel()
        await self._runtime.finish_jobs()

    def _protected(self, transport: ASGIApp) -> ASGIApp:
        """A transport of the SDK, for callers with a token."""
        metadata = self.sign_in.metadata_url if self.sign_in else None
        required = RequireAuthMiddleware(functools.partial(self._admit, transport), [], metadata)
        backend = Everybody() if self.settings.unsafe_no_auth else BearerAuthBackend(self)
        return AuthenticationMiddleware(required, backend=backend)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Whose token it is, for the SDK.

        Raises:
            Refusal: it is a token of the authorization server that is not accepted, or cannot be checked now.
        """
        user = self._tokens.user_of(token)
        if user is not None:
            return _token_of(holder_of(token, user))
        return _token_of(await self.sign_in.caller(token)) if self.sign_in else None

    async def _admit(self, transport: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        caller: Caller = cast("CallerToken", cast("AuthenticatedUser", scope["user"]).access_token).caller
        headers = dict(reversed(scope["headers"]))  # of two, the SDK reads the first
        in_session = b"mcp-session-id" in headers or scope["path"] == MESSAGES_PATH
        if self.stopping and (not in_session or scope["method"] == "GET"):
            raise Refusal(503, "This server is stopping; try again.", AGAIN)
        if scope["method"] == "GET":
            await self._stream(caller, transport, scope, receive, send)
            return
        if scope["method"] == "HEAD":
            raise Refusal(405, "This address takes no HEAD.")
        if scope["method"] == "DELETE":
            await transport(scope, receive, send)
            return
        opens = (
            self.settings.keeps_sessions
            and not in_session
            and headers.get(b"mcp-protocol-version") != WITHOUT_SESSIONS
        )
        if opens and self._owners.count(caller.account) >= self._share:
            raise _too_many()
        async with self._bodies.read(receive, caller.account, opens_session=opens) as body:
            if self.sign_in and caller.permissions is not None:
                self.sign_in.check_tool(body.tool, caller)
            await transport(scope, body.replay, send)

    async def _stream(
        self, caller: Caller, transport: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """A response that stays open until its client, its token or this server ends it."""
        ended = anyio.CancelScope()
        quota = (
            self._sse_streams.hold(caller.account)
            if scope["path"] == SSE_PATH
            else contextlib.nullcontext(True)
        )
        answer = _Answer(scope, send, logs=False)
        with quota as taken:
            if not taken:
                raise _too_many()
            self._streams.add(ended)
            try:
                async with ending_with_token(caller, ended):
                    with ended:
                        await transport(scope, receive, answer.send)
            finally:
                self._streams.discard(ended)
        if ended.cancelled_caught:
            await answer.finish()

    async def _sse_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        low = lowlevel(self.server)
        async with self._sse.connect_sse(scope, receive, send) as (incoming, outgoing):
            await low.run(incoming, outgoing, low.create_initialization_options())

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok", headers={"cache-control": "no-store"})

    async def _readiness(self, _request: Request) -> Response:
        ready = await self._is_ready()
        text = "ready" if ready else "not ready"
        return PlainTextResponse(text, 200 if ready else 503, {"cache-control": "no-store"})

    async def _is_ready(self) -> bool:
        async with self._asking:
            if time.monotonic() - self._asked_at >= READY_SECONDS:
                self._ready = False
                with anyio.move_on_after(PROBE_SECONDS):
                    try:
                        await self._runtime.scopes.client.health()
                        self._ready = True
                    except ReflexioError as error:
                        logger.warning("the backend is not ready: %s", type(error).__name__)
                self._asked_at = time.monotonic()
            return self._ready and not self.stopping

    async def _no_sign_in(self, _request: Request) -> Response:
        text = ASKS_FOR_NONE if self.settings.unsafe_no_auth else NO_SIGN_IN
        if self.sign_in is not None:
            text = f"This server issues no tokens: sign in at {self.settings.oauth_issuer}."
        raise Refusal(404, text, error="access_denied")


class _Answer:
    """The response to one request: whether it has begun, and a line in the log if it is a refusal."""

    def __init__(self, scope: Scope, send: Send, *, logs: bool = True) -> None:
        self._scope = scope
        self._send = send
        self._logs = logs
        self._began = time.perf_counter()
        self.peer: str = (scope.get("client") or ("",))[0]
        self.started = self.complete = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            if self._logs and message["status"] >= 400 and self._scope["path"] != READY_PATH:
                self._log(message["status"])
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def finish(self) -> None:
        """End a response in good order, so that its client does not take it for a broken connection."""
        if self.started and not self.complete:
            with contextlib.suppress(OSError), anyio.move_on_after(1.0):
                await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def _log(self, status: int) -> None:
        scope = self._scope
        event(
            "refused",
            logging.WARNING,
            reason=HTTPStatus(status).phrase.lower().replace(" ", "_"),
            status=status,
            method=scope["method"] if _METHOD.fullmatch(scope["method"]) else "",
            path=scope["path"] if scope["path"] in _KNOWN_PATHS else "",
            peer=self.peer,
            ms=round((time.perf_counter() - self._began) * 1000, 1),
        )


def _too_many() -> Refusal:
    return Refusal(503, "Too many sessions are open; try again later.", AGAIN)


def _sign_in(settings: Settings, server: ReflexioServer) -> "SignIn | None":
    if not settings.oauth_issuer:
        if settings.oauth_audience or settings.oauth_client_id or settings.oauth_client_secret:
            raise ConfigurationError(
                "REFLEXIO_MCP_OAUTH_AUDIENCE and the client of REFLEXIO_MCP_OAUTH_CLIENT_ID need "
                "REFLEXIO_MCP_OAUTH_ISSUER: nobody could sign in."
            )
        return None
    from reflexio_mcp.http.oauth import SignIn  # only servers with a sign-in need what it imports

    return SignIn(settings, server.permissions)
