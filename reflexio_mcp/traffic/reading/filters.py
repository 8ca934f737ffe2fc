"""One filter for lists, audits and deletions."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import anyio.to_thread

from reflexio_mcp.matching.words import Words, tool_texts, words_of
from reflexio_mcp.rest.api_limits import SOURCE_PATTERN
from reflexio_mcp.rest.models import RequestQuery, RequestWithInteractions, Search, StoredRequest
from reflexio_mcp.results.reading import Matched
from reflexio_mcp.traffic.audit.rules import FINDINGS, FINDINGS_NEEDING_NEWEST, select
from reflexio_mcp.traffic.content import texts_of
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.filter_fields import FILTER_FIELDS
from reflexio_mcp.traffic.policy import current_policy
from reflexio_mcp.traffic.tasks import in_heavy_thread
from reflexio_mcp.traffic.times import iso, parse_time

__all__ = [
    "EXPIRED",
    "INJECTIONS",
    "TrafficFilter",
    "check_source",
    "make_filter",
    "matched",
]

SEARCH_IS_MASKED: Final = (
    "is not offered here: this server hides what is stored, and a search would reveal it. "
    "Use finding or the other filters."
)

MOST_CONTAINS: Final = 1000
"""Most characters of `contains`: each word takes time in every text."""

Items = Sequence[RequestWithInteractions]


def check_search(contains: str, finding: str, *, masked: bool = False) -> None:
    """Refuse an unknown finding, empty words, and words on a server that hides stored text."""
    if contains and masked:
        raise InvalidInput("contains", SEARCH_IS_MASKED)
    # A forged cursor may contain more words than an argument.
    if contains and not (len(contains) <= MOST_CONTAINS and words_of(contains)):
        raise InvalidInput("contains", "has no word in it, or is too long.")
    if finding and finding not in FINDINGS:
        raise InvalidInput("finding", f"must be one of {', '.join(FINDINGS)}.")


def matched(item: RequestWithInteractions, words: Words) -> tuple[Matched | None, int | None]:
    """Return where a request has one of the words.

    Returns:
        The part of the request and `None`; or `None` and the index of an interaction, if the interaction's own text has
        a word. Both are `None` if the request has none of the words.
    """
    for part, index, text in _texts(item):
        if words.terms_in(text):
            return part, index
    for part, text in _ids(item):
        if words.terms_in_id(text, item.request.user_id):
            return part, None
    return None, None


def _texts(item: RequestWithInteractions) -> Iterator[tuple[Matched | None, int | None, str]]:
    for index, interaction in enumerate(item.interactions):
        for text in texts_of(interaction):
            if text:
                yield None, index, text
    for interaction in item.interactions:
        for text in tool_texts([*interaction.tools_used, *interaction.retrieved_learnings]):
            yield "tool data", None, text
        if interaction.interacted_image_url:
            yield "image address", None, interaction.interacted_image_url


def _ids(item: RequestWithInteractions) -> Iterator[tuple[Matched, str]]:
    yield "request_id", item.request.request_id
    yield "session_id", item.request.session_id


PART_OF_SESSIONS: Final = (
    "{finding} cannot be combined with these filters: it needs whole sessions, so leave out source, agent_version, "
    "contains, evaluation_only and end_time."
)
SOURCE_ACCEPTS: Final = (
    "must be lower-case letters, digits and ._:- (128 characters at most), starting with a letter or digit."
)
NOTHING_EXPIRES: Final = (
    "cannot be “expired” here: the operator's policy (REFLEXIO_MCP_POLICY) lets nothing expire."
)

TEST_TRAFFIC: Final = "test-traffic"

EXPIRED: Final = "expired"
"""The finding of the operator's policy. A deletion needs no other filter with it."""

INJECTIONS: Final = frozenset(["prompt-injection", "possible-prompt-injection"])
"""The findings whose first words are never shown, because they address the assistant that reads them."""


@dataclass(frozen=True, slots=True)
class TrafficFilter:
    """Selects requests by `FILTER_FIELDS`, or one by `request_id`.

    Empty strings and `None` do not filter; times are inclusive epoch seconds.

    The API filters by id, source and time. Everything else is applied here while paging.
    """

    user_id: str = ""
    session_id: str = ""
    source: str = ""
    agent_version: str = ""
    start_time: int | None = None
    end_time: int | None = None
    contains: str = ""
    finding: str = ""
    evaluation_only: Literal["", "only", "never"] = ""
    request_id: str = ""

    @property
    def names(self) -> dict[str, str]:
        """The ids and names that a request needs to have, by its fields."""
        fields = ("request_id", *(field.name for field in FILTER_FIELDS if field.kind == "name"))
        return {field: name for field in fields if (name := getattr(self, field))}

    def arguments(self) -> dict[str, str]:
        """Return the arguments of a call with this filter, the times in ISO 8601. `request_id` is not among them."""
        given: dict[str, str] = {}
        for field in FILTER_FIELDS:
            value = getattr(self, field.name)
            if field.kind == "time" and value is not None:
                given[field.name] = iso(value)
            elif value not in (None, ""):
                given[field.name] = value
        return given

    @property
    def narrows(self) -> bool:
        return self != TrafficFilter(user_id=self.user_id)

    @property
    def names_something(self) -> bool:
        """Whether a deletion by this filter is limited to somebody's requests or to a part of the traffic.

        Words, a finding, and `evaluation_only="never"` do not limit it: what they select can be everybody's.
        """
        naming = replace(self, contains="", finding="")
        if naming.evaluation_only == "never":
            naming = replace(naming, evaluation_only="")
        return naming.narrows

    @property
    def looks_inside(self) -> bool:
        """Whether a part of the filter is applied here, not by the API."""
        return bool(self.agent_version or self.contains or self.finding or self.evaluation_only)

    @property
    def search(self) -> Search | None:
        """The part of the filter by which the embedded store can leave out sessions."""
        search = Search(
            contains=self.contains,
            agent_version=self.agent_version,
            evaluation_only=self._needs_evaluation_only,
            test_traffic=self.finding == TEST_TRAFFIC,
        )
        return None if search == Search() else search

    @property
    def counts_part_of_sessions(self) -> bool:
        """Whether the requests of a session are counted in part: the API leaves out those that do not match."""
        return bool(self.source or self.start_time is not None or self.end_time is not None)

    @property
    def may_leave_out_newest(self) -> bool:
        """Whether the filter may leave out the newest requests of a selected session."""
        narrows_sessions = self.source or self.agent_version or self.contains or self.evaluation_only
        return bool(narrows_sessions or self.end_time is not None)

    @property
    def _needs_evaluation_only(self) -> bool | None:
        """What `evaluation_only` of a request has to be; `None` if both values pass."""
        return {"only": True, "never": False}.get(self.evaluation_only)

    def query(self, *, top_k: int, offset: int = 0, end: int | None = None) -> RequestQuery:
        """Return the API's part of the filter; `end` replaces the filter's own end."""
        return RequestQuery(
            request_id=self.request_id or None,
            user_id=self.user_id or None,
            session_id=self.session_id or None,
            source=self.source or None,
            start_time=self.start_time,
            end_time=self.end_time if end is None else end,
            top_k=top_k,
            offset=offset,
        )

    def pick(self, items: Sequence[RequestWithInteractions]) -> list[RequestWithInteractions]:
        """Return the requests of one session, newest first, that pass the filter."""
        picked = [item for item in items if self.matches_request(item.request)]
        if self.finding:
            picked = select(self.finding, picked)
        if not self.contains:
            return list(picked)
        words = words_of(self.contains)
        return [
            item
            for item in picked
            if words.are_in(
                (text for _, _, text in _texts(item)),
                (text for _, text in _ids(item)),
                item.request.user_id,
            )
        ]

    async def pick_in_thread(
        self, owner: str, sessions: Sequence[Items]
    ) -> list[list[RequestWithInteractions]]:
        """Like `pick` for each of several sessions, but texts are searched in a worker thread.

        A search for a finding is heavy work of `owner`.
        """

        def pick() -> list[list[RequestWithInteractions]]:
            return [self.pick(items) for items in sessions]

        if not any(sessions):
            return pick()
        if self.finding:
            return await in_heavy_thread(owner, pick)
        return await anyio.to_thread.run_sync(pick) if self.contains else pick()

    def matches_request(self, request: StoredRequest) -> bool:
        evaluation_only = self._needs_evaluation_only
        return (
            all(getattr(request, field) == name for field, name in self.names.items())
            and (self.start_time is None or request.created_at >= self.start_time)
            and (self.end_time is None or request.created_at <= self.end_time)
            and (evaluation_only is None or request.evaluation_only is evaluation_only)
        )


def check_source(field: str, source: str) -> None:
    if source and not SOURCE_PATTERN.fullmatch(source):
        raise InvalidInput(field, SOURCE_ACCEPTS)


def make_filter(given: Mapping[str, str | None], *, masked: bool = False) -> TrafficFilter:
    """Check arguments and make the filter that they mean.

    Args:
        given: by the names of `FILTER_FIELDS`; missing, `None` and blank ones do not filter. `user_id` is as
            `Scope.user` returns it.
        masked: this server hides what is stored.

    Raises:
        InvalidInput: an argument cannot be used.
    """
    now = time.time()
    values: dict[str, Any] = {}
    for field in FILTER_FIELDS:
        value = given.get(field.name)
        if isinstance(value, str):
            value = value.strip()
        chooses_all = bool(field.choices) and value == field.choices[0]
        if value in (None, "") or chooses_all:
            continue
        if field.kind == "choice" and value not in field.choices:
            raise InvalidInput(field.name, f"must be one of {', '.join(field.choices)}.")
        if field.kind == "time":
            values[field.name] = parse_time(field.name, str(value), now=now, end=field.name == "end_time")
        else:
            values[field.name] = value
    made = TrafficFilter(**values)
    check_source("source", made.source)
    if made.start_time is not None and made.end_time is not None and made.end_time < made.start_time:
        raise InvalidInput(
            "end_time", f"({iso(made.end_time)}) must not be before start_time ({iso(made.start_time)})."
        )
    check_search(made.contains, made.finding, masked=masked)
    if made.finding == EXPIRED and not current_policy().expire:
        raise InvalidInput("finding", NOTHING_EXPIRES)
    if made.finding in FINDINGS_NEEDING_NEWEST and made.may_leave_out_newest:
        raise InvalidInput("finding", PART_OF_SESSIONS.format(finding=made.finding))
    return made
