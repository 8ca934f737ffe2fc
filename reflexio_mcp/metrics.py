"""Measurements for OpenTelemetry. Without an SDK of it in this process, nothing is measured."""

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

__all__ = ["count", "count_refusal", "observe", "record"]

BUCKETS_OF_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def _meter() -> Any:
    """Return the meter; `None` without an SDK."""
    metrics: Any = sys.modules.get("opentelemetry.metrics")
    return None if metrics is None else metrics.get_meter("reflexio-mcp")


def record(name: str, seconds: float, attributes: Mapping[str, str] | None = None) -> None:
    """Add a time to a histogram."""
    if (meter := _meter()) is not None:
        _histogram(meter, name).record(seconds, attributes or {})


def count_refusal(reason: str) -> None:
    """Count a refused request, a deletion over the hourly cap, or something that a hold kept."""
    if (meter := _meter()) is not None:
        _counter(meter, "reflexio_mcp.refusals", "refused requests").add(1, {"reason": reason})


def count(name: str, description: str, number: int) -> None:
    """Add a number to a counter."""
    if (meter := _meter()) is not None:
        _counter(meter, name, description).add(number)


def observe(name: str, description: str, read: Callable[[], int | None]) -> None:
    """Read a number whenever measurements are exported; `None` if it is not known."""

    def observations(_options: Any) -> Iterable[Any]:
        from opentelemetry.metrics import Observation  # only an SDK calls this

        number = read()
        return [] if number is None else [Observation(number)]

    if (meter := _meter()) is not None:
        meter.create_observable_gauge(name, callbacks=[observations], description=description)


@functools.cache
def _histogram(meter: Any, name: str) -> Any:
    return meter.create_histogram(name, unit="s", explicit_bucket_boundaries_advisory=BUCKETS_OF_SECONDS)


@functools.cache
def _counter(meter: Any, name: str, description: str) -> Any:
    return meter.create_counter(name, description=description)
