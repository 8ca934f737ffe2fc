"""SDK middleware that continues the trace of an HTTP request."""

from collections.abc import Mapping
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from opentelemetry import context as otel_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["join_trace"]

_PROPAGATOR: Final = TraceContextTextMapPropagator()


async def join_trace(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Continue the trace of the HTTP header `traceparent`, if there is one.

    A `traceparent` in the message's `_meta` wins, because the SDK reads it later.
    """
    headers: Mapping[str, str] | None = getattr(ctx.request, "headers", None)
    if not headers or "traceparent" not in headers:
        return await call_next(ctx)
    token = otel_context.attach(_PROPAGATOR.extract(headers))
    try:
        return await call_next(ctx)
    finally:
        otel_context.detach(token)
