"""SDK middleware that limits how many calls of one caller run at a time, logs each call, and ends it early.

It runs around every call of every transport. HTTP puts the caller into the request's ASGI scope; the call then runs
with that caller's client.
"""

import logging
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, cast

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_REQUEST
from opentelemetry import trace
from pydantic import BaseModel

from reflexio_mcp.logs import event
from reflexio_mcp.rest.correlation import correlation_ids
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.server.callers import Caller, granted
from reflexio_mcp.server.client_pool import PoolFull
from reflexio_mcp.server.metrics import record_call
from reflexio_mcp.server.tenancy import Scopes
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.audit_log import named_call
from reflexio_mcp.toolkit.caller_quota import Quota
from reflexio_mcp.toolkit.error_messages import describe

__all__ = [
    "CALLER",
    "DISCONNECT",
    "CallLimiter",
    "Ctx",
    "Disconnect",
    "bound_errors",
    "caller_of",
    "note_grants",
]

Ctx: TypeAlias = ServerRequestContext[Any, Any]

CALLER: Final = "reflexio_mcp.caller"
"""Key of the `Caller` in an ASGI scope."""

DISCONNECT: Final = "reflexio_mcp.disconnect"
"""Key of the `Disconnect` in an ASGI scope."""

WORK: Final = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
"""Methods that reach Reflexio: they are counted, limited, logged, and waited for when the server stops."""

BUSY: Final = (
    "Busy: {most} calls of yours are running already; nothing was done. Try again when one has returned."
)
FULL: Final = "Busy: every connection to Reflexio is in use; nothing was done. Try again in a moment."
STOPPING: Final = "This server is stopping; nothing was done. Try again in a moment."
STOPPED: Final = (
    "This server was stopped before the call was through; whether it took effect is not known. "
    "Look at what is stored, then try again."
)


class Disconnect:
    """Ends the calls of one HTTP request when its sender goes away."""

    def __init__(self) -> None:
        self._over = False
        self._scopes: set[anyio.CancelScope] = set()

    def leave(self) -> None:
        """Cancel what was added, and what is added later: the sender is gone."""
        self._over = True
        for scope in self._scopes:
            scope.cancel()

    def add(self, scope: anyio.CancelScope) -> None:
        self._scopes.add(scope)
        if self._over:
            scope.cancel()

    def discard(self, scope: anyio.CancelScope) -> None:
        self._scopes.discard(scope)


class CallLimiter:
    """Lets calls in up to a limit for each caller, and knows which are running.

    Args:
        scopes: gives a call its caller's client.
        tools: the names of the tools that are offered.
    """

    def __init__(self, settings: Settings, scopes: Scopes, tools: frozenset[str]) -> None:
        self._scopes = scopes
        self._tools = tools
        self._most = settings.max_in_flight
        # A client over stdio is alone and limits itself.
        self._running = Quota(settings.max_in_flight)
        self._running_alone = Quota(None)
        self._cancel_scopes: set[anyio.CancelScope] = set()
        self._stopping = False
        self._ended = False
        self._idle = anyio.Event()
        self._idle.set()

    async def __call__(self, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        if ctx.request_id is None or ctx.method not in WORK:
            return await call_next(ctx)
        caller = caller_of(ctx) or self._scopes.local_caller()
        if caller is None:
            raise MCPError(INVALID_REQUEST, "This call names no caller; nothing was done.")
        running = self._running if _scope(ctx) is not None else self._running_alone
        outcome, began = "cancelled", time.perf_counter()
        call_id = secrets.token_hex(8)
        with correlation_ids() as ids, named_call(caller.name, call_id):
            try:
                if self._stopping:
                    outcome = "stopping"
                    return _refused(ctx, STOPPING)
                with self._counted(running, caller) as taken:
                    if not taken:
                        outcome = "busy"
                        return _refused(ctx, BUSY.format(most=self._most))
                    outcome, result = await self._run(ctx, call_next, caller)
                return result
            except MCPError:
                outcome = "refused"
                raise
            except Exception:
                outcome = "failed"
                raise
            finally:
                self._log(ctx, caller, outcome, began, ids, call_id)

    async def _run(self, ctx: Ctx, call_next: CallNext, caller: Caller) -> tuple[str, HandlerResult]:
        scope = anyio.CancelScope()
        disconnect = cast("Disconnect | None", (_scope(ctx) or {}).get(DISCONNECT))
        self._cancel_scopes.add(scope)
        if disconnect is not None:
            disconnect.add(scope)
        try:
            with scope:
                try:
                    async with self._scopes.calling(caller):
                        result = await call_next(ctx)
                except PoolFull:
                    return "busy", _refused(ctx, FULL)
                except ReflexioError as error:  # the caller's key cannot be used at all
                    return "refused", _refused(ctx, describe(error, "read"))
                return _outcome(result), result
            return ("stopped" if self._ended else "gone"), _refused(ctx, STOPPED)
        finally:
            self._cancel_scopes.discard(scope)
            if disconnect is not None:
                disconnect.discard(scope)

    @contextmanager
    def _counted(self, running: Quota, caller: Caller) -> Generator[bool]:
        if not self._any_runs:
            self._idle = anyio.Event()
        try:
            with running.hold(caller.account) as taken:
                yield taken
        finally:
            if not self._any_runs:
                self._idle.set()

    @property
    def _any_runs(self) -> bool:
        return bool(self._running or self._running_alone)

    def refuse_new(self) -> None:
        """Answer every further call with "try again"."""
        self._stopping = True

    def end_running(self) -> None:
        """End the calls that are running with "try again"; what is shielded goes on to its end."""
        self._ended = True
        for scope in self._cancel_scopes:
            scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until no call is running."""
        await self._idle.wait()

    def _log(
        self, ctx: Ctx, caller: Caller, outcome: str, began: float, ids: list[str], call_id: str
    ) -> None:
        name = (ctx.params or {}).get("name") if ctx.method == "tools/call" else None
        # A name that is no tool's may be anything.
        tool = name if isinstance(name, str) and name in self._tools else "unknown" if name else ""
        seconds = time.perf_counter() - began
        record_call(ctx.method, tool, outcome, seconds)
        span = trace.get_current_span().get_span_context()
        event(
            "call",
            logging.INFO,
            method="" if ctx.method == "tools/call" else ctx.method,
            tool=tool,
            outcome=outcome,
            ms=round(seconds * 1000, 1),
            correlation_id=ids[-1][:64] if ids else "",
            rest_calls=len(ids) or "",
            call_id=call_id,
            caller=caller.name,
            trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
        )


async def note_grants(ctx: Ctx, call_next: CallNext) -> HandlerResult:
    """Let everything inside know what the sender of this message may do."""
    caller = caller_of(ctx)
    token = granted.set(caller.permissions if caller else frozenset())
    try:
        return await call_next(ctx)
    finally:
        granted.reset(token)


_MOST_ECHOED: Final = 512
"""Characters of what a caller sent that an error repeats: the SDK's own name the URI or method whole."""


async def bound_errors(ctx: Ctx, call_next: CallNext) -> HandlerResult:
    """Cut what an error repeats of its request."""
    try:
        return await call_next(ctx)
    except MCPError as error:
        error.error.message = _cut(error.error.message)
        error.error.data = _cut(error.error.data)
        raise


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MOST_ECHOED else f"{value[:_MOST_ECHOED]}…"
    if isinstance(value, dict):
        return {_cut(key): _cut(one) for key, one in cast("dict[Any, Any]", value).items()}
    return value


def caller_of(ctx: Ctx) -> Caller | None:
    """Return the caller of the HTTP request that brought this message; `None` over stdio."""
    return (_scope(ctx) or {}).get(CALLER)


def _scope(ctx: Ctx) -> Mapping[str, Any] | None:
    return getattr(ctx.request, "scope", None)


def _outcome(result: HandlerResult) -> str:
    wire: Any = result.model_dump(by_alias=True) if isinstance(result, BaseModel) else result or {}
    if wire.get("isError"):
        return "error"
    return "input_required" if wire.get("resultType") == "input_required" else "ok"


def _refused(ctx: Ctx, text: str) -> HandlerResult:
    """A refusal the model can read, where the method has a place for it.

    Raises:
        MCPError: the method has none.
    """
    if ctx.method != "tools/call":
        raise MCPError(INTERNAL_ERROR, text)
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    # What middleware returns goes out as it is, so the later revision's mark has to be here.
    return result | {"resultType": "complete"} if ctx.protocol_version >= "2026-07-28" else result
