"""Rules about how traffic is named: sources and agent versions."""

from typing import Final

from reflexio_mcp.rest.limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.detector import Detector
from reflexio_mcp.traffic.rules.found import EXAMPLES, NOTES_KEPT, Example, example
from reflexio_mcp.traffic.rules.names import (
    MANY_SOURCES,
    VOLATILE_SOURCES,
    is_volatile,
    shape_of_source,
    test_name,
)

__all__ = ["TestTraffic", "Unversioned", "VolatileSources"]

SOURCES_KEPT: Final = 5_000
"""Distinct sources an audit remembers; more than that is a finding long before."""

UNVERSIONED_REQUESTS: Final = 10
"""Fewer are a first try of somebody."""

UNVERSIONED_SHARE: Final = 0.8
"""Below it most traffic has a version and the rest is an old client."""


class TestTraffic(Detector):
    """`test-traffic`: a request at a time."""

    __test__ = False  # not a test class, whatever collects by name

    def __init__(self) -> None:
        super().__init__("test-traffic")

    def request(self, item: RequestWithInteractions) -> None:
        if field := test_name(item.request):
            self.founds[0].add(item.request.request_id, item, note=f"by {field}")


class VolatileSources(Detector):
    """`volatile-source` and `many-sources`: sources by their shape."""

    def __init__(self) -> None:
        super().__init__("volatile-source", "many-sources")
        self._shapes: dict[str, dict[str, Example]] = {}
        self._shape_of: dict[str, str] = {}

    def request(self, item: RequestWithInteractions) -> None:
        source = item.request.source
        if source and source not in self._shape_of and len(self._shape_of) < SOURCES_KEPT:
            shape = self._shape_of[source] = shape_of_source(source)
            self._shapes.setdefault(shape, {})[source] = example(item)

    def finish(self) -> None:
        volatile, many = self.founds
        habit = any(
            is_volatile(shape) and len(these) >= VOLATILE_SOURCES for shape, these in self._shapes.items()
        )
        distinct = 0
        for shape, sources in self._shapes.items():
            distinct += 1 if len(sources) >= VOLATILE_SOURCES else len(sources)
            if not (habit and is_volatile(shape)):
                continue
            if len(volatile.notes) < NOTES_KEPT:
                volatile.notes[shape] = len(sources)
            for source, one in sources.items():
                volatile.note_example(one, subject=source)
        if distinct > MANY_SOURCES:
            many.add("")
            many.notes["distinct sources"] = distinct
            for sources in list(self._shapes.values())[:EXAMPLES]:
                one = next(iter(sources.values()))
                many.examples.append(one)
                many.span(one.created_at)


class Unversioned(Detector):
    """`unversioned`: how much of each source has no version."""

    def __init__(self) -> None:
        super().__init__("unversioned")
        self._counts: dict[str, list[int]] = {}
        self._examples: dict[str, list[Example]] = {}

    def request(self, item: RequestWithInteractions) -> None:
        self._count(item)

    def _count(self, item: RequestWithInteractions) -> None:
        request = item.request
        counts = self._counts.get(request.source)
        if counts is None:
            if len(self._counts) >= SOURCES_KEPT:
                return
            counts = self._counts[request.source] = [0, 0]
        counts[0] += 1
        if request.agent_version in ("", DEFAULT_AGENT_VERSION):
            counts[1] += 1
            examples = self._examples.setdefault(request.source, [])
            if len(examples) < 2:
                examples.append(example(item))

    def finish(self) -> None:
        (found,) = self.founds
        for source, (total, without) in self._counts.items():
            if without >= UNVERSIONED_REQUESTS and without >= UNVERSIONED_SHARE * total:
                found.add(source)
                found.notes["requests without a version"] = (
                    found.notes.get("requests without a version", 0) + without
                )
                for one in self._examples[source]:
                    found.span(one.created_at)
                    if len(found.examples) < EXAMPLES:
                        found.examples.append(one)
