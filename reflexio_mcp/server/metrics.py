"""How long calls take, for whoever runs this server with an OpenTelemetry SDK.

Without one nothing is imported and nothing is recorded. Names follow OpenTelemetry's semantic conventions for MCP.
"""

import functools
import sys
from typing import Any, Final

__all__ = ["record_call"]

_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def record_call(method: str, tool: str, outcome: str, seconds: float) -> None:
    """Record one call.

    Args:
        method: of the protocol.
        tool: the tool's name, of those that are offered; empty for other methods.
        outcome: as in the log.
        seconds: how long it took.
    """
    # Whoever configures an SDK has imported it.
    metrics: Any = sys.modules.get("opentelemetry.metrics")
    if metrics is None:
        return
    attributes = {"mcp.method.name": method}
    if tool:
        attributes["gen_ai.tool.name"] = tool
    if outcome not in ("ok", "input_required"):
        attributes["error.type"] = "tool_error" if outcome == "error" else outcome
    _durations(metrics).record(seconds, attributes)


@functools.cache
def _durations(metrics: Any) -> Any:
    return metrics.get_meter("reflexio-mcp").create_histogram(
        "mcp.server.operation.duration",
        unit="s",
        description="How long calls take.",
        explicit_bucket_boundaries_advisory=_SECONDS,
    )
