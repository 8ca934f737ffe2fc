"""Middleware around every message: it sets the caller, and limits, logs and ends calls."""

import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, Final, Protocol, TypeAlias, cast

import anyio
from mcp import types
from mcp.server.apps import EXTENSION_ID, client_supports_apps
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS
from opentelemetry import trace

from reflexio_mcp.logs import event, named_call
from reflexio_mcp.metrics import record
from reflexio_mcp.server.callers import Caller, current_caller
from reflexio_mcp.server.runtime import Runtime
from reflexio_mcp.server.sdk import drop_body
from reflexio_mcp.toolkit.context import PAGE_TOOLS
from reflexio_mcp.traffic.policy import use_policy
from reflexio_mcp.traffic.turns import current_turn

__all__ = ["BUSY", "arrival"]

Ctx: TypeAlias = ServerRequestContext[Any, Any]

WORK: Final = frozenset({"tools/call", "resources/read", "prompts/get", "completion/complete"})
"""Methods that are limited, logged, and waited for when the server stops."""

LISTS: Final = ("tools/list", "prompts/list", "resources/list", "resources/templates/list")
"""Methods whose answers are complete in one page."""

GUIDE: Final = "reflexio://guide"

LIST_SECONDS: Final = 300
"""How long a client may use a list or the guide: they follow from configuration and permissions."""

LONG_LIST_SECONDS: Final = 0.05
"""Time between two lists of tools of one account while others call: the SDK writes each in one step of the loop."""

BUSY: Final = (
    "Busy: {most} calls of yours wait or run already; nothing was done. Try again when one has returned."
)
STOPPING: Final = "This server is stopping; nothing was done. Try again in a moment."
STOPPED: Final = (
    "This server was stopped before the call was finished; whether it took effect is not known. "
    "Look at what is stored, then try again."
)
FORM_IS_OVER: Final = (
    "Nothing was done: the answered form has expired, or was for another call, caller, configuration or "
    "process. Make the call again without requestState and inputResponses, and the person is asked again."
)


class Arrival(Protocol):
    """A message that its transport has taken without waiting for the turn of its call."""

    def begun(self) -> AbstractAsyncContextManager[None]:
        """Wait for the turn of the call. Until the block ends, the message's body counts towards the caller's share."""
        ...


arrival: Final[ContextVar[Arrival | None]] = ContextVar("reflexio_mcp_arrival", default=None)
"""`None` if the transport has waited, or if there is nobody to wait for."""


class CallLimiter:
    """Limits calls per caller and knows the running calls. `tools` are the names of the offered tools."""

    def __init__(self, runtime: Runtime, tools: frozenset[str]) -> None:
        self._runtime = runtime
        self._tools = tools
        self._most = runtime.settings.max_in_flight
        self._cancel_scopes: set[anyio.CancelScope] = set()
        self._stopping = False
        self._idle = anyio.Event()

    async def __call__(self, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        caller = caller_of(ctx) or self._runtime.scopes.local_caller()
        token = current_caller.set(caller)
        try:
            waiting = arrival.get()
            async with waiting.begun() if waiting else nullcontext():
                turn = current_turn()
                async with turn.used() if turn else nullcontext():
                    try:
                        return await self._answered(ctx, call_next, caller)
                    finally:
                        if turn:
                            # The transport uses the turn, too, until the client has read the answer, which may
                            # take long.
                            turn.give_up()
        finally:
            current_caller.reset(token)
            if ctx.request is not None and ctx.method in WORK and isinstance(ctx.params, dict):
                # The SDK keeps the last message of a session until the next one, with its request.
                ctx.params.clear()
                drop_body(ctx.request)

    async def _answered(self, ctx: Ctx, call_next: CallNext, caller: Caller) -> HandlerResult:
        if ctx.request_id is not None and ctx.method in WORK:
            _drop_empty_answers(ctx.params)
            result = await self._logged(ctx, call_next, caller)
            is_guide = ctx.method == "resources/read" and (ctx.params or {}).get("uri") == GUIDE
            # Only newer revisions of the protocol have the field.
            if is_guide and isinstance(result, dict) and "ttlMs" in result:
                return {**result, "ttlMs": LIST_SECONDS * 1000}
            return result
        if ctx.method in LISTS and isinstance(ctx.params, dict) and ctx.params.get("cursor"):
            raise MCPError(INVALID_PARAMS, "This cursor is not known: the list is complete in one page.")
        result = await call_next(ctx)
        if ctx.method == "tools/list":
            if turn := current_turn():
                await turn.rest_before(LONG_LIST_SECONDS)
            return _without_page_tools(ctx, result)
        return self._with_apps(result) if ctx.method == "initialize" else result

    def _with_apps(self, result: HandlerResult) -> HandlerResult:
        # The SDK drops extensions from this reply before revision 2026-07-28.
        if not isinstance(result, dict) or "explore_traffic" not in self._tools:
            return result
        return {**result, "capabilities": {**result["capabilities"], "extensions": {EXTENSION_ID: {}}}}

    async def _logged(self, ctx: Ctx, call_next: CallNext, caller: Caller) -> HandlerResult:
        from reflexio_mcp.rest.exchange import correlation_ids  # not needed at startup

        call_id, began, outcome = secrets.token_hex(8), time.perf_counter(), "cancelled"
        policy = self._runtime.scopes.policy
        with correlation_ids() as ids, named_call(caller.name, call_id, caller.known_as), use_policy(policy):
            try:
                outcome, result = await self._limited(ctx, call_next, caller)
                return result
            except NotAnswered as error:
                outcome = error.outcome
                raise
            except MCPError as error:
                outcome = "refused"
                if "invalid_request_state" in str(error.error.data):
                    error.error.message = FORM_IS_OVER
                raise
            except Exception:
                outcome = "failed"
                raise
            finally:
                seconds = time.perf_counter() - began
                tool = self._tool_of(ctx)
                _measure(ctx.method, tool, outcome, seconds)
                span = trace.get_current_span().get_span_context()
                event(
                    "call",
                    logging.INFO,
                    method="" if tool else ctx.method,
                    tool=tool,
                    outcome=outcome,
                    ms=round(seconds * 1000, 1),
                    correlation_id=ids[-1][:64] if ids else "",
                    rest_calls=len(ids) or "",
                    call_id=call_id,
                    caller=caller.name,
                    person=caller.known_as,
                    trace_id=f"{span.trace_id:032x}" if span.is_valid else "",
                )

    async def _limited(self, ctx: Ctx, call_next: CallNext, caller: Caller) -> tuple[str, HandlerResult]:
        if self._stopping:
            return _refused(ctx, "stopping", STOPPING)
        if (turn := current_turn()) and turn.refused:
            await turn.wait_to_refuse()
            return _refused(ctx, "busy", BUSY.format(most=self._most))
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
        return _refused(ctx, "stopped", STOPPED)  # `end_running` has cancelled the call

    def refuse_new(self) -> None:
        """Answer new calls with "try again"."""
        self._stopping = True

    def end_running(self) -> None:
        """Answer running calls with "try again". Shielded work still finishes."""
        for scope in self._cancel_scopes:
            scope.cancel()

    async def wait_idle(self) -> None:
        if self._cancel_scopes:
            self._idle = anyio.Event()
            await self._idle.wait()

    def _tool_of(self, ctx: Ctx) -> str:
        """The called tool; "unknown" for any other name, which may contain anything."""
        if ctx.method != "tools/call":
            return ""
        name = (ctx.params or {}).get("name")
        return name if isinstance(name, str) and name in self._tools else "unknown"


class KeptTools:
    """Keeps the forms that the SDK makes of tools: to make all of them would hold up the event loop at each list.

    The SDK checks each list as before. It is only given the tools that it has not seen in this revision.

    Args:
        offered: returns the tools of the current caller.
    """

    def __init__(self, offered: Callable[[], Mapping[str, types.Tool]]) -> None:
        self._offered = offered
        self._forms = defaultdict[str, dict[str, Any]](dict)
        """Forms by protocol revision and name."""

    async def list_new(self, ctx: Ctx, _params: types.PaginatedRequestParams) -> types.ListToolsResult:
        forms = self._forms[ctx.protocol_version]
        return types.ListToolsResult(
            tools=[tool for name, tool in self._offered().items() if name not in forms]
        )

    async def __call__(self, ctx: Ctx, call_next: CallNext) -> HandlerResult:
        """Complete the list of new tools; a middleware."""
        result = await call_next(ctx)
        if ctx.method != "tools/list" or not isinstance(result, dict):
            return result
        forms = self._forms[ctx.protocol_version]
        forms.update({tool["name"]: tool for tool in result["tools"]})
        return {**result, "tools": [forms[name] for name in self._offered()]}


def caller_of(ctx: Ctx) -> Caller | None:
    """The caller of the HTTP request; `None` over stdio."""
    scope: dict[str, Any] = getattr(ctx.request, "scope", {})
    return getattr(getattr(scope.get("user"), "access_token", None), "caller", None)


def _without_page_tools(ctx: Ctx, result: HandlerResult) -> HandlerResult:
    """Leave out the tools of the page for a client that is known to show no pages."""
    if not isinstance(result, dict) or ctx.session.client_capabilities is None or client_supports_apps(ctx):
        return result
    return {**result, "tools": [tool for tool in result["tools"] if tool["name"] not in PAGE_TOOLS]}


def _drop_empty_answers(params: object) -> None:
    """Drop forms that came back without content, so that they are shown again; the SDK would end the call."""
    given = cast("dict[str, Any]", params).get("inputResponses") if isinstance(params, dict) else None
    if not isinstance(given, dict):
        return
    answers = cast("dict[str, Any]", given)
    for key, answer in list(answers.items()):
        if isinstance(answer, dict) and answer == {"action": "accept"}:
            del answers[key]


def _outcome(result: HandlerResult) -> str:
    wire = result if isinstance(result, dict) else {}
    if wire.get("isError"):
        return "error"
    return "input_required" if wire.get("resultType") == "input_required" else "ok"


class NotAnswered(MCPError):
    """Something other than a tool call that is not answered. `outcome` is logged."""

    def __init__(self, outcome: str, text: str) -> None:
        super().__init__(INTERNAL_ERROR, text)
        self.outcome = outcome


def _refused(ctx: Ctx, outcome: str, text: str) -> tuple[str, HandlerResult]:
    """Return the outcome and an answer that the model can read; raise `NotAnswered` if it is not a tool call."""
    if ctx.method != "tools/call":
        raise NotAnswered(outcome, text)
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}], "isError": True}
    # The SDK does not add this field to results of middleware.
    newer = ctx.protocol_version >= "2026-07-28"
    return outcome, result | {"resultType": "complete"} if newer else result


def _measure(method: str, tool: str, outcome: str, seconds: float) -> None:
    attributes = {"mcp.method.name": method}
    if tool:
        attributes["gen_ai.tool.name"] = tool
    if outcome not in ("ok", "input_required"):
        attributes["error.type"] = "tool_error" if outcome == "error" else outcome
    record("mcp.server.operation.duration", seconds, attributes)
