"""One filter for lists, audits and deletions."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import anyio.to_thread

from reflexio_mcp.rest.api_limits import SOURCE_PATTERN
from reflexio_mcp.rest.models import RequestQuery, RequestWithInteractions, StoredRequest
from reflexio_mcp.results.text import label
from reflexio_mcp.traffic.audit.rules import ASKED, ASKED_FINDINGS, WHOLE_SESSIONS
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.search import check_search, search, words_of
from reflexio_mcp.traffic.times import iso, lacks_zone, parse_time

__all__ = ["NO_FILTER", "UNSEEN", "WORDS_NOT_KEPT", "TrafficFilter", "check_source", "make_filter"]

NO_FILTER: Final = "no filter"
WORDS_NOT_KEPT: Final = "containing words that are not kept"
ASSUMED_UTC: Final = " (no zone: taken as UTC)"
PART_OF_SESSIONS: Final = (
    "{finding} does not go with these filters: it takes a whole session, so leave out source, agent_version, contains, "
    "evaluation_only and end_time."
)
SOURCE_ACCEPTS: Final = (
    "must be lower-case letters, digits and ._:- (128 characters at most), starting with a letter or digit."
)

UNSEEN: Final = "planted-instructions"
"""The finding whose words no plan and no call shows, because they address the assistant that reads them."""


@dataclass(frozen=True, slots=True)
class TrafficFilter:
    """Which requests. Empty strings and `None` do not filter; times are epoch seconds, both inclusive.

    The API filters by user, session, source and time. The rest is applied here while paging.
    """

    user_id: str = ""
    session_id: str = ""
    source: str = ""
    agent_version: str = ""
    start: int | None = None
    end: int | None = None
    contains: str = ""
    finding: str = ""
    evaluation_only: bool | None = None
    assumed_utc: bool = field(default=False, compare=False)
    """A time was given without a zone."""

    @property
    def narrows(self) -> bool:
        """Whether it selects by anything but the user."""
        return self != TrafficFilter(user_id=self.user_id)

    @property
    def looks_inside(self) -> bool:
        """Whether a part of it is applied here and not by the API."""
        return bool(self.agent_version or self.contains or self.finding or self.evaluation_only is not None)

    @property
    def counts_part_of_sessions(self) -> bool:
        """Whether the API may leave out requests of a session that it selects from."""
        return bool(self.source or self.start is not None or self.end is not None)

    @property
    def may_leave_out_newest(self) -> bool:
        """Whether it may leave out the newest requests of a session that it selects from."""
        inside = self.source or self.agent_version or self.contains or self.evaluation_only is not None
        return bool(inside or self.end is not None)

    def query(self, *, top_k: int, offset: int = 0, end: int | None = None) -> RequestQuery:
        """The API's part of the filter; `end`, if given, replaces the filter's own."""
        return RequestQuery(
            user_id=self.user_id or None,
            session_id=self.session_id or None,
            source=self.source or None,
            start_time=self.start,
            end_time=self.end if end is None else end,
            top_k=top_k,
            offset=offset,
        )

    def pick(self, items: Sequence[RequestWithInteractions]) -> list[RequestWithInteractions]:
        """The requests of one session, newest first, that pass the whole filter."""
        picked = [item for item in items if self.matches_request(item.request)]
        return list(search(self.contains, self.finding, picked)) if self.contains or self.finding else picked

    async def pick_in_thread(self, items: Sequence[RequestWithInteractions]) -> list[RequestWithInteractions]:
        """As `pick`; a search in texts runs in a worker thread, so that other calls go on meanwhile."""
        if not (self.contains or self.finding):
            return self.pick(items)
        return await anyio.to_thread.run_sync(self.pick, items)

    def matches_request(self, request: StoredRequest) -> bool:
        """The part of `pick` that needs no interactions."""
        return (
            (not self.user_id or request.user_id == self.user_id)
            and (not self.session_id or request.session_id == self.session_id)
            and (not self.source or request.source == self.source)
            and (not self.agent_version or request.agent_version == self.agent_version)
            and (self.start is None or request.created_at >= self.start)
            and (self.end is None or request.created_at <= self.end)
            and (self.evaluation_only is None or request.evaluation_only is self.evaluation_only)
        )

    def describe(self, *, words: bool = True, most: int | None = None, plain: bool = False) -> str:
        """The filter in words.

        Args:
            words: with the words of `contains`; what outlives a deletion must not have them.
            most: how many alternatives of `contains` are named.
            plain: name only what is safe outside a fence.
        """
        names = {
            "user": self.user_id,
            "session": self.session_id,
            "source": self.source,
            "agent version": self.agent_version,
        }
        zone = ASSUMED_UTC if self.assumed_utc else ""
        parts = [f"{name} {label(value) if plain else value}" for name, value in names.items() if value]
        if self.start is not None:
            parts.append(f"from {iso(self.start)}{zone}")
        if self.end is not None:
            parts.append(f"until {iso(self.end)}{zone}")
        if self.evaluation_only is not None:
            parts.append("for evaluation only" if self.evaluation_only else "not for evaluation only")
        if self.finding:
            among = f" among the {ASKED} newest" if self.finding in ASKED_FINDINGS else ""
            parts.append(f"found as {self.finding}{among}")
        if self.contains:
            parts.append(f"containing {words_of(self.contains).described(most)}" if words else WORDS_NOT_KEPT)
        return ", ".join(parts) or NO_FILTER


def check_source(field: str, source: str) -> None:
    """Refuse the argument `field` if it can be no source."""
    if source and not SOURCE_PATTERN.fullmatch(source):
        raise InvalidInput(field, SOURCE_ACCEPTS)


def make_filter(
    *,
    user_id: str = "",
    session_id: str = "",
    source: str = "",
    agent_version: str = "",
    start_time: str = "",
    end_time: str = "",
    contains: str = "",
    finding: str = "",
    evaluation_only: bool | None = None,
    masked: bool = False,
) -> TrafficFilter:
    """Check the arguments of a list, audit or deletion and make the filter that they mean.

    Args:
        user_id: as `Scope.user` gives it.
        start_time, end_time: ISO 8601 or an age; both inclusive.
        masked: this server hides what is stored.

    Raises:
        InvalidInput: an argument that cannot be used.
    """
    now = time.time()
    made = TrafficFilter(
        user_id=user_id,
        session_id=session_id.strip(),
        source=source.strip(),
        agent_version=agent_version.strip(),
        start=parse_time("start_time", start_time, now=now) if start_time.strip() else None,
        end=parse_time("end_time", end_time, now=now, end=True) if end_time.strip() else None,
        contains=contains.strip(),
        finding=finding.strip(),
        evaluation_only=evaluation_only,
        assumed_utc=any(lacks_zone(one) for one in (start_time, end_time) if one),
    )
    check_source("source", made.source)
    if made.start is not None and made.end is not None and made.end < made.start:
        raise InvalidInput(
            "end_time", f"({iso(made.end)}) must not be before start_time ({iso(made.start)})."
        )
    check_search(made.contains, made.finding, masked=masked)
    if made.finding in WHOLE_SESSIONS and made.may_leave_out_newest:
        raise InvalidInput("finding", PART_OF_SESSIONS.format(finding=made.finding))
    return made
