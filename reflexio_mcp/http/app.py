"""The ASGI app: its paths, and its checks before the SDK's transports."""

import contextlib
import functools
import logging
import time
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reflexio_mcp.http.access import Tokens, fault_of, peer, transport_security
from reflexio_mcp.http.answers import CountedAnswers, counting
from reflexio_mcp.http.bodies import LIGHT_BYTES, PUBLISH_BYTES, Bodies, Body
from reflexio_mcp.http.refusal import AGAIN, Refusal, answer_refusal
from reflexio_mcp.logs import event
from reflexio_mcp.metrics import count, count_refusal, observe
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import RateLimited, ReflexioError
from reflexio_mcp.server.callers import Caller, Quota, holder_of
from reflexio_mcp.server.calls import BUSY, arrival
from reflexio_mcp.server.sdk import limit_sessions, lowlevel
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit.context import DOWNLOADS_PATH
from reflexio_mcp.traffic.reading.filters import EXPIRED
from reflexio_mcp.traffic.tasks import task_group
from reflexio_mcp.traffic.turns import REFUSAL_SECONDS, Turn, Turns

if TYPE_CHECKING:
    from reflexio_mcp.http.oauth import SignIn

MCP_PATH: Final = "/mcp"
SSE_PATH: Final = "/sse"
MESSAGES_PATH: Final = "/messages/"
READY_PATH: Final = "/ready"
SIGN_IN_PATHS: Final = ("/register", "/authorize", "/token", "/.well-known/{rest:path}")
"""Paths that OAuth clients ask for if they have no token."""

VERSION_WITHOUT_SESSIONS: Final = b"2026-07-28"
SESSIONS_EACH: Final = 20
"""Maximum number of sessions, and of streams and downloads, per caller if callers are distinguished."""

READY_SECONDS: Final = 2.0
"""Lifetime of an answer of `/ready`, so that probes do not load the backend."""

DOWNLOADED_AT_ONCE: Final = 256 * 1024
ARCHIVE_HEADERS: Final = {
    "cache-control": "no-store",
    "content-disposition": 'attachment; filename="reflexio-export.zip"',
}

WATCH_SECONDS: Final = 5.0
"""Time between two looks whether the token of an open stream is still accepted."""

PROBE_SECONDS: Final = 5.0
BEGIN_SECONDS: Final = 0.5
"""Time for a call over SSE to begin after its POST was answered."""

LAST_WORDS_SECONDS: Final = 0.05
"""Time for the last answers to reach their streams."""

NO_SIGN_IN: Final = (
    "This server has no sign-in. If it asks for a token, give the client one as the header Authorization: Bearer "
    "TOKEN. The operator has it: it is REFLEXIO_MCP_AUTH_TOKEN, or in the file that the server names when it starts."
)
NOT_OURS: Final = "This server does not know this token. Ask its operator for yours."

METHODS: Final = ("GET", "POST", "DELETE")

logger = logging.getLogger("reflexio_mcp.http")


class CallerToken(AccessToken):
    """An accepted token. The SDK binds a session to the token's client and subject."""

    caller: Any


def _authenticated(caller: Caller) -> AuthenticatedUser:
    token = CallerToken(token="", client_id=caller.name, scopes=[], subject=caller.account, caller=caller)
    return AuthenticatedUser(token)


class Everybody(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, AuthenticatedUser]:
        return AuthCredentials(), _authenticated(Caller())


class SseCall:
    """A call over SSE, whose POST is answered before it begins."""

    def __init__(self, turns: Turns, account: str, address: str) -> None:
        self.until_over = contextlib.ExitStack()
        """What the account holds for this call: its POST puts the body in here."""
        self._turns = turns
        self._account = account
        self._address = address
        self._has_begun = anyio.Event()

    @contextlib.asynccontextmanager
    async def begun(self) -> AsyncGenerator[None]:
        self._has_begun.set()
        with self.until_over:
            async with self._turns.take(self._account, self._address):
                yield

    async def close_unless_begun(self) -> None:
        """Let go of the body if no call begins with it: the SDK refused it, or it was an answer to a form."""
        with anyio.move_on_after(BEGIN_SECONDS):
            await self._has_begun.wait()
        if not self._has_begun.is_set():
            self.until_over.close()


class HttpApp:
    """Serves clients with and without sessions. `client` replaces the configured backend.

    Raises:
        ConfigurationError: the configuration would leave the server open, or cannot work.
    """

    def __init__(self, settings: Settings, tokens: Tokens, *, client: ReflexioClient | None = None) -> None:
        self.settings = settings
        self.server = ReflexioServer(settings, client=client)
        self.sign_in = _sign_in(settings, self.server)
        self.stopping = False
        self._tokens = tokens
        self._runtime = self.server.runtime
        security = transport_security(settings, self.sign_in.host if self.sign_in else "")
        self._security = TransportSecurityMiddleware(security)
        self._manager = StreamableHTTPSessionManager(
            lowlevel(self.server),
            stateless=not settings.keeps_sessions,
            session_idle_timeout=settings.session_idle,
            max_sessions=settings.max_sessions,
        )
        self._sse = SseServerTransport(MESSAGES_PATH, max_request_body_size=PUBLISH_BYTES)
        self._bodies = Bodies()
        self._turns = Turns(settings.max_in_flight)
        sessions_each = (
            min(SESSIONS_EACH, settings.max_sessions) if settings.many_callers else settings.max_sessions
        )
        count_sessions = limit_sessions(self._manager, sessions_each)
        observe("reflexio_mcp.sessions", "open sessions at /mcp", count_sessions)
        observe(
            "reflexio_mcp.jobs", "running deletions and restores", lambda: len(self._runtime.jobs.running)
        )
        count("reflexio_mcp.held", "held items", 0)  # 0 is a measurement too
        state = self._runtime.state
        observe("reflexio_mcp.copies", "kept copies", _none_if_unusable(state.copies.count_kept))
        observe(
            "reflexio_mcp.cap_left",
            "remaining cap",
            # The cap of what expires is in the policy.
            _none_if_unusable(functools.partial(state.least_room, without={EXPIRED})),
        )
        self._sse_streams = Quota(sessions_each, settings.max_sessions)
        self._streams: set[anyio.CancelScope] = set()
        self._ready = False
        self._ask_again_at = 0.0
        self._asking = anyio.Lock()
        self._app = Starlette(
            routes=[
                Route("/health", self._health),
                Route(READY_PATH, self._readiness),
                Route(
                    MCP_PATH,
                    # `.app` leaves out the SDK's limit of bodies, which would copy each body twice in the event loop.
                    # `_bodies` has limited the body before.
                    self._protected(self._manager.asgi_app.app),
                    # Without sessions, the stream of a GET would remain empty.
                    methods=METHODS if settings.keeps_sessions else ["POST"],
                ),
                Route(SSE_PATH, self._protected(self._sse_stream), methods=["GET"]),
                Route(MESSAGES_PATH, self._protected(self._sse.handle_post_message), methods=["POST"]),
                Route(f"{DOWNLOADS_PATH}{{token}}", self._protected(self._download), methods=["GET"]),
                *(self.sign_in.metadata_routes() if self.sign_in else ()),
                *(Route(path, self._no_sign_in, methods=["GET", "POST"]) for path in SIGN_IN_PATHS),
            ],
            # CORS is outside the handler of refusals, so that pages of allowed origins can read refusals.
            middleware=[
                Middleware(
                    CORSMiddleware,
                    allow_origin_regex=".*",  # the Origin was checked before
                    allow_methods=METHODS,
                    allow_headers=("*",),
                    expose_headers=("mcp-session-id", "www-authenticate"),
                )
            ],
            exception_handlers={Refusal: answer_refusal},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, started = time.perf_counter(), False
        peer.set((scope.get("client") or ("",))[0])

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] >= 400 and scope["path"] != READY_PATH:
                    await self._wait_to_refuse(scope)
                    _log_refusal(scope, message["status"], time.perf_counter() - began)
            await send(message)

        try:
            wrong: ASGIApp | None = None
            if fault := fault_of(scope["headers"], scope["query_string"]):
                status, reason = fault
                wrong = PlainTextResponse(reason, status, {"connection": "close"})
            wrong = wrong or await self._security.validate_request(Request(scope))
            await (wrong or self._app)(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the message may contain what the caller sent
            logger.error("a request failed: %s", type(error).__name__)
            if not started:
                await Response("This server failed; try again.", 500)(scope, receive, answer)

    async def _wait_to_refuse(self, scope: Scope) -> None:
        """Wait before a request is refused, for whatever reason.

        Refusals of one caller wait one after another. Those of requests without a good token do not wait for each
        other: otherwise one of the people who share an address could keep the others from signing in.
        """
        if self.stopping:
            return  # another server answers
        # What was read of the body is dropped by now.
        if isinstance(scope.get("user"), AuthenticatedUser):
            await self._turns.wait_to_refuse(_caller(scope).account)
        else:
            await anyio.sleep(REFUSAL_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with self._runtime.open(), self._manager.run():
            yield
        if self.sign_in is not None:
            await self.sign_in.aclose()

    async def drain(self, seconds: float) -> None:
        """Let running calls finish for `seconds`, end the rest, and wait for running deletions."""
        self.stopping = True
        limiter, jobs = self.server.limiter, self._runtime.jobs
        limiter.refuse_new()
        with anyio.move_on_after(seconds):
            await limiter.wait_idle()
        limiter.end_running()
        await limiter.wait_idle()  # a running deletion continues to its receipt
        await anyio.sleep(LAST_WORDS_SECONDS)
        for stream in self._streams:
            stream.cancel()
        jobs.close()
        await jobs.drain()

    def _protected(self, transport: ASGIApp) -> ASGIApp:
        metadata = self.sign_in.metadata_url if self.sign_in else None
        required = RequireAuthMiddleware(functools.partial(self._admit, transport), [], metadata)
        backend = Everybody() if self.settings.unsafe_no_auth else BearerAuthBackend(self)
        return AuthenticationMiddleware(required, backend=backend)

    async def verify_token(self, token: str) -> AccessToken:
        """Return the caller of a token; raise a `Refusal` that says more than "401"."""
        user = self._tokens.user_of(token)
        if user is not None:
            return _authenticated(holder_of(token, user)).access_token
        if self.sign_in:
            return _authenticated(await self.sign_in.caller(token)).access_token
        challenge = {"www-authenticate": 'Bearer error="invalid_token"'}
        raise Refusal(401, NOT_OURS, challenge, error="invalid_token")

    async def _admit(self, transport: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        caller = _caller(scope)
        method = scope["method"]
        headers = dict(reversed(scope["headers"]))  # the SDK reads the first of two equal headers
        in_session = b"mcp-session-id" in headers or scope["path"] == MESSAGES_PATH
        # A stopping server answers the calls of its sessions; another replica can answer others. It begins no stream.
        if not in_session or method == "GET":
            self._refuse_if_stopping()
        if method == "HEAD":
            raise Refusal(405, "This address does not accept HEAD.")
        if method == "GET":
            await self._stream(caller, transport, scope, receive, send)
        elif method == "DELETE":
            # Like a notice, the end of a session does not wait for the calls that run in it.
            async with self._turns.take(caller.account, peer.get(), notice=True):
                await transport(scope, receive, send)
        else:
            modern = headers.get(b"mcp-protocol-version") == VERSION_WITHOUT_SESSIONS
            opens_session = self.settings.keeps_sessions and not in_session and not modern
            declared = headers.get(b"content-length", b"")
            size = int(declared) if declared.isdigit() else None
            reading = self._bodies.read(receive, caller.account, opens_session=opens_session, declared=size)
            async with (
                reading as body,
                self._turns.take(caller.account, peer.get(), notice=body.is_notice) as turn,
            ):
                if not in_session:  # again: the call may have waited long
                    self._refuse_if_stopping()
                await self._check_and_pass_on(transport, caller, body, turn, scope, send)

    def _refuse_if_stopping(self) -> None:
        if self.stopping:
            raise Refusal(503, "This server is stopping; try again.", AGAIN)

    async def _check_and_pass_on(
        self, transport: ASGIApp, caller: Caller, body: Body, turn: Turn, scope: Scope, send: Send
    ) -> None:
        """Check the body and pass it on, in the caller's turn."""
        # A refused call with a light body is passed on, to be refused in its own protocol. A heavy one is not parsed.
        if turn.refused and body.size > LIGHT_BYTES:
            raise Refusal(503, BUSY.format(most=self.settings.max_in_flight), AGAIN)
        await body.check()
        if self.sign_in and caller.permissions is not None:
            self.sign_in.check_tool(body.tool, caller)
        sse_call: SseCall | None = None
        if scope["path"] == MESSAGES_PATH:
            sse_call = SseCall(self._turns, caller.account, peer.get())
            arrival.set(sse_call)
        body.keep_until(sse_call.until_over if sse_call else turn.until_over)
        try:
            await transport(scope, body.replay, counting(self._turns, caller.account, send))
        finally:
            if sse_call:
                turn.give_up()
                await sse_call.close_unless_begun()
            else:
                turn.client_left()

    async def _stream(
        self, caller: Caller, transport: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a stream until its client, its token or this server ends it."""
        more_to_come = False

        async def noted(message: Message) -> None:
            nonlocal more_to_come
            more_to_come = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        quota = contextlib.nullcontext(True)
        # At `/mcp`, a limit of sessions is enough: each has one stream.
        if scope["path"] != MCP_PATH:
            quota = self._sse_streams.hold(caller.account)
        ended = anyio.CancelScope(deadline=anyio.current_time() + caller.expires_at - time.time())
        with quota as taken:
            if not taken:
                raise Refusal(503, "Too many streams are open; try again later.", AGAIN)
            self._streams.add(ended)
            try:
                async with task_group() as watching:
                    watching.start_soon(self._watch, scope, ended)
                    with ended:
                        await transport(scope, receive, noted)
                    watching.cancel_scope.cancel()
            finally:
                self._streams.discard(ended)
        if ended.cancelled_caught and more_to_come:
            # Without a proper end, clients report a broken connection.
            with contextlib.suppress(OSError), anyio.move_on_after(1.0):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, scope: Scope, stream: anyio.CancelScope) -> None:
        """End a stream whose token is revoked."""
        if self.sign_in is None or _caller(scope).permissions is None:
            return
        token = dict(scope["headers"])[b"authorization"].split(b" ", 1)[1].decode("latin-1").strip()
        while True:
            await anyio.sleep(WATCH_SECONDS)
            if not await self.sign_in.still_accepts(token):
                stream.cancel()

    async def _sse_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        low = lowlevel(self.server)
        async with self._sse.connect_sse(scope, receive, send) as (incoming, outgoing):
            answers = CountedAnswers(outgoing, self._turns, _caller(scope).account)
            await low.run(incoming, answers, low.create_initialization_options())

    async def _download(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = self._runtime.scopes.of(_caller(scope)).owner, scope["path_params"]["token"]
        if (file := self._runtime.downloads.pop(key, None)) is None:
            raise Refusal(404, "This link was used, has expired, or is another caller's. Export again.")
        with file:
            chunks = iter(functools.partial(file.read, DOWNLOADED_AT_ONCE), b"")
            await StreamingResponse(chunks, headers=ARCHIVE_HEADERS, media_type="application/zip")(
                scope, receive, send
            )

    async def _health(self, _request: Request) -> Response:
        return PlainTextResponse("ok", headers={"cache-control": "no-store"})

    async def _readiness(self, _request: Request) -> Response:
        async with self._asking:
            if time.monotonic() >= self._ask_again_at:
                self._ready = False
                with anyio.move_on_after(PROBE_SECONDS):
                    self._ready = await _is_usable(self._runtime.scopes.client)
                self._ask_again_at = time.monotonic() + READY_SECONDS
        ready = self._ready and not self.stopping
        text, status = ("ready", 200) if ready else ("not ready", 503)
        return PlainTextResponse(text, status, {"cache-control": "no-store"})

    async def _no_sign_in(self, _request: Request) -> Response:
        text = NO_SIGN_IN
        if self.sign_in:
            text = f"This server issues no tokens: sign in at {self.settings.oauth_issuer}."
        raise Refusal(404, text, error="access_denied")


async def _is_usable(client: "ReflexioClient") -> bool:
    """Whether Reflexio can be used. Its rate limit is the same for every replica, so no proxy has to avoid this one."""
    try:
        await client.health()
    except RateLimited:
        return True
    except ReflexioError:
        return False
    return True


def _none_if_unusable(read: Callable[[], int | None]) -> Callable[[], int | None]:
    """Return a function that reads a number of the state, or `None` while the state cannot be used."""

    def number() -> int | None:
        try:
            return read()
        except StateUnusable:
            return None

    return number


def _caller(scope: Scope) -> Caller:
    return cast("CallerToken", cast("AuthenticatedUser", scope["user"]).access_token).caller


def _log_refusal(scope: Scope, status: int, seconds: float) -> None:
    path, method = scope["path"], scope["method"]
    reason = HTTPStatus(status).phrase.lower().replace(" ", "_")
    count_refusal(reason)
    event(
        "refused",
        logging.WARNING,
        reason=reason,
        status=status,
        # A path or method that is not known may contain anything.
        method=method if method in METHODS else "",
        path=path if path in (MCP_PATH, SSE_PATH, MESSAGES_PATH, "/health") else "",
        peer=peer.get(),
        ms=round(seconds * 1000, 1),
    )


def _sign_in(settings: Settings, server: ReflexioServer) -> "SignIn | None":
    if settings.oauth_issuer:
        from reflexio_mcp.http.oauth import SignIn  # it is slow to import

        return SignIn(settings, server.tool_permissions)
    if settings.oauth_audience or settings.oauth_client_id or settings.oauth_client_secret:
        raise ConfigurationError(
            "REFLEXIO_MCP_OAUTH_AUDIENCE and the client of REFLEXIO_MCP_OAUTH_CLIENT_ID need "
            "REFLEXIO_MCP_OAUTH_ISSUER: nobody could sign in."
        )
    return None
