"""The caller's trace, where it comes as an HTTP header. The SDK reads the one in a message's `_meta` itself."""

from collections.abc import Mapping
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from opentelemetry import context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["join_trace"]

_PROPAGATOR = TraceContextTextMapPropagator()


async def join_trace(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """SDK middleware: everything inside belongs to the trace of the `traceparent` header, if there is one.

    A `traceparent` in the message's `_meta` wins, since the SDK looks at it later.
    """
    headers: Mapping[str, str] | None = getattr(ctx.request, "headers", None)
    if not headers or "traceparent" not in headers:
        return await call_next(ctx)
    token = context.attach(_PROPAGATOR.extract(headers))
    try:
        return await call_next(ctx)
    finally:
        context.detach(token)
