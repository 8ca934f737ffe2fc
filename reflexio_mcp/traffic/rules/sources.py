"""Rules about how traffic is named: sources and agent versions."""

import re
import zlib
from typing import ClassVar, Final

from reflexio_mcp.rest.api_limits import DEFAULT_AGENT_VERSION
from reflexio_mcp.rest.models import RequestWithInteractions
from reflexio_mcp.traffic.rules.detector import Detector
from reflexio_mcp.traffic.rules.found import EXAMPLES, NOTES_KEPT, Example, example
from reflexio_mcp.traffic.rules.name_heuristics import (
    MANY_SOURCES,
    VOLATILE_SOURCES,
    has_id,
    is_volatile,
    shape_of_source,
    test_name,
)

__all__ = ["NoSource", "TestTraffic", "Unversioned", "Versions", "VolatileSources"]

SOURCES_KEPT: Final = 5_000
"""Distinct sources an audit remembers; more than that is a finding long before."""

UNVERSIONED_REQUESTS: Final = 10
"""Fewer are a first try of somebody."""

UNVERSIONED_SHARE: Final = 0.8
"""Below it most traffic has a version and the rest is an old client."""


NO_SOURCE_REQUESTS: Final = 10
"""Fewer are a first try of somebody."""

NO_SOURCE_SHARE: Final = 0.2
"""Below it they come from something old or forgotten, and most traffic can be told apart."""

ONE_VERSION_SOURCES: Final = 3
"""Integrations are released one by one: so many that agree in their version have it from a constant."""

_CONSTANT = re.compile(
    r"v?(?:0|1|0\.1|1\.0|0\.0\.0|0\.0\.1|0\.1\.0|1\.0\.0)|latest|main|master|prod|production|default|unknown|stable|current|none",
    re.IGNORECASE,
)
"""What is written where no version is known; one source is enough then."""

ONE_VERSION_DAYS: Final = 30
"""In a month something is released."""

ONE_VERSION_REQUESTS: Final = 200
"""Fewer do not say that anybody works on these agents."""

NEW_VERSIONS: Final = 10
"""Versions with a hash or time in it; less than that is what a team releases in days."""

NEW_VERSIONS_SHARE: Final = 0.9
"""Of them with a single session: a version that was released is used for more than one."""

NEW_VERSIONS_A_DAY: Final = 3
"""Nobody releases more often day by day."""


class TestTraffic(Detector):
    """`test-traffic`: a request at a time."""

    __test__ = False  # not a test class, whatever collects by name

    def request(self, item: RequestWithInteractions) -> None:
        if field := test_name(item.request):
            self.founds[0].add(item.request.request_id, item, note=f"by {field}")


class VolatileSources(Detector):
    """`volatile-source` and `many-sources`: sources by their shape."""

    carries: ClassVar = {"volatile-source": lambda item: is_volatile(shape_of_source(item.request.source))}

    def __init__(self) -> None:
        super().__init__()
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
                many.show(next(iter(sources.values())))


_DEFAULTED: Final = f"requests of {DEFAULT_AGENT_VERSION}, the version of those that name none"


class Unversioned(Detector):
    """`unversioned`: how much of each source has no version."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, list[int]] = {}
        self._examples: dict[str, list[Example]] = {}

    def request(self, item: RequestWithInteractions) -> None:
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
                found.notes[_DEFAULTED] = found.notes.get(_DEFAULTED, 0) + without
                for one in self._examples[source]:
                    found.show(one)


class NoSource(Detector):
    """`no-source`."""

    carries: ClassVar = {"no-source": lambda item: not item.request.source}

    def __init__(self) -> None:
        super().__init__()
        self._requests = 0

    def request(self, item: RequestWithInteractions) -> None:
        self._requests += 1
        if not item.request.source:
            self.founds[0].add(item.request.request_id, item)

    def finish(self) -> None:
        count = self.founds[0].count
        if count < NO_SOURCE_REQUESTS or count < NO_SOURCE_SHARE * self._requests:
            self.founds[0].clear()


class Versions(Detector):
    """`one-version` and `version-per-session`."""

    carries: ClassVar = {"version-per-session": lambda item: has_id(item.request.agent_version)}

    def __init__(self) -> None:
        super().__init__()
        self._only = ""
        self._one: Example | None = None
        self._several = False
        self._sources: set[str] = set()
        self._requests = 0
        self._first, self._last = 2**62, 0
        # Each volatile version with the session it was seen in, or -1 for several.
        self._sessions: dict[str, int] = {}
        self._examples: dict[str, Example] = {}
        self._days: set[int] = set()

    def request(self, item: RequestWithInteractions) -> None:
        request = item.request
        version = request.agent_version
        if has_id(version):
            self._see_volatile(version, item)
        if self._several:
            return
        if self._one is None:
            self._only, self._one = version, example(item)
        self._several = version != self._only
        self._requests += 1
        self._first, self._last = min(self._first, request.created_at), max(self._last, request.created_at)
        if request.source and len(self._sources) < ONE_VERSION_SOURCES:
            self._sources.add(request.source)

    def _see_volatile(self, version: str, item: RequestWithInteractions) -> None:
        session = zlib.crc32(item.request.session_id.encode("utf-8", "surrogatepass"))
        if version in self._sessions:
            if self._sessions[version] != session:
                self._sessions[version] = -1
        elif len(self._sessions) < SOURCES_KEPT:
            self._sessions[version] = session
            self._examples[version] = example(item)
            self._days.add(item.request.created_at // 86_400)

    def finish(self) -> None:
        one, new = self.founds
        is_default = self._only in ("", DEFAULT_AGENT_VERSION)
        if (
            self._one is not None
            and not (self._several or is_default or has_id(self._only))
            and self._requests >= ONE_VERSION_REQUESTS
            and self._last - self._first >= ONE_VERSION_DAYS * 86_400
            and (len(self._sources) >= ONE_VERSION_SOURCES or _CONSTANT.fullmatch(self._only))
        ):
            one.note_example(self._one, subject=self._only)
        single = sum(session >= 0 for session in self._sessions.values())
        if (
            len(self._sessions) >= NEW_VERSIONS
            and single >= NEW_VERSIONS_SHARE * len(self._sessions)
            and len(self._sessions) >= NEW_VERSIONS_A_DAY * len(self._days)
        ):
            for version, seen in self._examples.items():
                new.note_example(seen, subject=version)
