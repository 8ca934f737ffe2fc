"""SDK middleware around every call of every transport: it limits, logs and ends calls, and sets whose call it is."""

import logging
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR
from opentelemetry import trace
from pydantic import BaseModel

from reflexio_mcp.logs import event
from reflexio_mcp.rest.correlation import correlation_ids
from reflexio_mcp.server.callers import Caller, granted
from reflexio_mcp.server.metrics import record_call
from reflexio_mcp.server.scopes import Scopes
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.state import named_call
from reflexio_mcp.toolkit.caller_quota import Quota

__all__ = ["CallLimiter", "Ctx", "caller_of"]

Ctx: TypeAlias = ServerRequestContext[Any, Any]

WORK: Final = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
"""Methods that reach Reflexio: they are counted, limited, logged, and waited for when the server stops."""

HEAVY: Final = frozenset({"audit_traffic"})
"""Tools that read and examine a whole set of requests."""

MOST_HEAVY: Final = 4
"""Heavy calls of one caller that may run at a time, so that light calls of others never wait behind them."""

BUSY: Final = (
    "Busy: {most} calls of yours are running already; nothing was done. Try again when one has returned."
)
STOPPING: Final = "This server is stopping; nothing was done. Try again in a moment."
STOPPED: Final = (
    "This server was stopped before the call was finished; whether it took effect is not known. "
    "Look at what is stored, then try again."
)


class CallLimiter:
    """Lets calls in up to a limit for each caller, and knows which are running.

    Args:
        tools: the names of the tools that are offered.
    """

    def __init__(self, settings: Settings, scopes: Scopes, tools: frozenset[str]) -> None:
        self._scopes = scopes
        self._tools = tools
        self._running = Quota(settings.max_in_flight)
        self._heavy = Quota(MOST_HEAVY)
        self._most = settings.max_in_flight
        self._cancel_scopes: set[anyio.CancelScope] = set()
        self._stopping = False
        self._idle = anyio.Event()
        self._idle.set()

    async def __call__(self, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        caller = caller_of(ctx) or self._scopes.local_caller()
        reset = granted.set(caller.permissions)
        try:
            with self._scopes.calling(caller):
                if ctx.request_id is None or ctx.method not in WORK:
                    return await call_next(ctx)
                return await self._logged(ctx, call_next, caller)
        finally:
            granted.reset(reset)

    async def _logged(self, ctx: Ctx, call_next: CallNext, caller: Caller) -> HandlerResult:
        call_id, began, outcome = secrets.token_hex(8), time.perf_counter(), "cancelled"
        with correlation_ids() as ids, named_call(caller.name, call_id):
            try:
                outcome, result = await self._limited(ctx, call_next, caller)
                return result
            except MCPError:
                outcome = "refused"
                raise
            except Exception:
                outcome = "failed"
                raise
            finally:
                self._log(ctx, caller, outcome, time.perf_counter() - began, ids, call_id)

    async def _limited(self, ctx: Ctx, call_next: CallNext, caller: Caller) -> tuple[str, HandlerResult]:
        if self._stopping:
            return "stopping", _refused(ctx, STOPPING)
        # A client over stdio is alone and limits itself.
        account = caller.account if ctx.request is not None else ""
        with self._counted(account, self._tool_of(ctx) in HEAVY) as most:
            if most:
                return "busy", _refused(ctx, BUSY.format(most=most))
            scope = anyio.CancelScope()
            self._cancel_scopes.add(scope)
            try:
                with scope:
                    result = await call_next(ctx)
                    return _outcome(result), result
            finally:
                self._cancel_scopes.discard(scope)
                if not self._cancel_scopes:
                    self._idle.set()
            return "stopped", _refused(ctx, STOPPED)

    @contextmanager
    def _counted(self, account: str, heavy: bool) -> Generator[int]:
        """Count a call of an account; yields the limit that it exceeds, or 0 if it may run."""
        if not account:
            yield 0
            return
        quota, most = (self._heavy, MOST_HEAVY) if heavy else (self._running, self._most)
        with quota.hold(account) as taken:
            yield 0 if taken else most

    def refuse_new(self) -> None:
        """Answer every further call with "try again"."""
        self._stopping = True

    def end_running(self) -> None:
        """End the calls that are running with "try again"; what is shielded goes on to its end."""
        for scope in self._cancel_scopes:
            scope.cancel()

    async def wait_idle(self) -> None:
        """Wait until no call is running."""
        if self._cancel_scopes:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _tool_of(self, ctx: Ctx) -> str:
        """The tool that is called; "unknown" if there is no such tool, since its name may be anything."""
        name = (ctx.params or {}).get("name") if ctx.method == "tools/call" else ""
        return name if isinstance(name, str) and name in self._tools else "unknown" if name else ""

    def _log(
        self, ctx: Ctx, caller: Caller, outcome: str, seconds: float, ids: list[str], call_id: str
    ) -> None:
        tool = self._tool_of(ctx)
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


def caller_of(ctx: Ctx) -> Caller | None:
    """The caller of the HTTP request that brought this message; `None` over stdio, or if no token is asked for."""
    scope: dict[str, Any] = getattr(ctx.request, "scope", {})
    user = scope.get("user")
    return getattr(getattr(user, "access_token", None), "caller", None)


def _outcome(result: HandlerResult) -> str:
    wire: Any = result.model_dump(by_alias=True) if isinstance(result, BaseModel) else result or {}
    if wire.get("isError"):
        return "error"
    return "input_required" if wire.get("resultType") == "input_required" else "ok"


def _refused(ctx: Ctx, text: str) -> HandlerResult:
    """A refusal that the model can read, if the method has a place for it.

    Raises:
        MCPError: the method has none.
    """
    if ctx.method != "tools/call":
        raise MCPError(INTERNAL_ERROR, text)
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    # What middleware returns goes out as it is, so the later revision's mark has to be here.
    return result | {"resultType": "complete"} if ctx.protocol_version >= "2026-07-28" else result
