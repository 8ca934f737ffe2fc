"""What the reading tools answer with: a page of sessions, a page of requests, one request."""

from typing import Annotated, Literal

from pydantic import Field

from reflexio_mcp.results.base import Moment, Result, Row

__all__ = [
    "Gap",
    "InteractionRow",
    "Learning",
    "Looked",
    "Matched",
    "OneRequest",
    "RequestPage",
    "RequestRow",
    "SessionPage",
    "SessionRequests",
    "SessionRow",
]

Matched = Literal["text", "tool data", "image address", "request_id", "session_id", "user_id"]
"""The part of a request that has the words of `contains`."""


class Looked(Row):
    """What a list was made from."""

    filter: Annotated[str, Field(description="the filter as it was understood")] = ""
    requests: Annotated[int | None, Field(description="requests read to apply the filter")] = None
    back_to: Annotated[Moment | None, Field(description="nothing older was looked at")] = None
    complete: Annotated[bool, Field(description="true: nothing else matches; false: see cursor, unreadable")]


class Gap(Row):
    """Something stored that the service fails to return, by the time of its arrival."""

    first: Moment | None = None
    last: Moment | None = None
    whole_session: Annotated[bool, Field(description="a session whose newest request arrived then")] = False


class SessionRow(Row):
    """One session, as far as the filter selects its requests."""

    session_id: str
    users: Annotated[
        list[str], Field(description="most frequent first; left out if the filter names one")
    ] = []
    more_users: int = 0
    requests: Annotated[int, Field(description="matching requests")]
    not_matching: Annotated[int, Field(description="requests looked at that do not match")] = 0
    interactions: int
    characters: Annotated[int, Field(description="of text in the matching requests")]
    first: Annotated[Moment, Field(description="arrival of its oldest matching request")]
    last: Annotated[Moment | None, Field(description="arrival of its newest one; left out if the same")] = (
        None
    )
    sources: list[str] = []
    agent_versions: list[str] = []
    evaluation_only: Annotated[int, Field(description="requests that are never learned from")] = 0
    first_words: str = ""
    fingerprint: Annotated[str, Field(description="of its oldest matching request, if content is hidden")] = (
        ""
    )
    redacted: Annotated[bool, Field(description="a secret was replaced in this row")] = False


class SessionPage(Result):
    """Stored sessions, newest first."""

    looked_at: Looked
    returned: Annotated[int, Field(description="sessions on this page")]
    total: Annotated[int | None, Field(description="sessions in all pages, if known")] = None
    sessions: list[SessionRow]
    unreadable: list[Gap] = []
    cursor: Annotated[str | None, Field(description="for the next page")] = None


class InteractionRow(Row):
    """One interaction. Texts are cut if they are long; `characters` is then the length of the whole content."""

    interaction_id: int
    role: str
    created_at: Annotated[Moment | None, Field(description="if it differs from that of the request")] = None
    content: str = ""
    content_from: Annotated[int, Field(description="the content begins at this character")] = 0
    characters: Annotated[int | None, Field(description="of the content, if it is cut or hidden")] = None
    user_action: str = ""
    user_action_description: str = ""
    interacted_image_url: str = ""
    shadow_content: str = ""
    expert_content: str = ""
    tools_used: Annotated[list[str], Field(description="each as JSON")] = []
    retrieved_learnings: Annotated[list[str], Field(description="each as JSON")] = []


class RequestRow(Row):
    """One stored request."""

    request_id: str
    user_id: Annotated[str | None, Field(description="left out if the filter names it")] = None
    created_at: Annotated[Moment, Field(description="when it arrived")]
    source: str = ""
    agent_version: str = ""
    evaluation_only: bool = False
    retrieval_experiment_id: str = ""
    retrieval_experiment_arm: str = ""
    interaction_count: int
    first_words: str = ""
    matched: Annotated[Matched | None, Field(description="what has the words of contains")] = None
    found: Annotated[str, Field(description="the words and what is around them")] = ""
    fingerprint: Annotated[str, Field(description="of the content, if content is hidden")] = ""
    characters: Annotated[int | None, Field(description="of text, if content is hidden")] = None
    roles: Annotated[list[str], Field(description="if content is hidden")] = []
    interactions: list[InteractionRow] = []
    interactions_left_out: int = 0
    redacted: Annotated[bool, Field(description="a secret was replaced in this row")] = False


class SessionRequests(Row):
    """Requests of one session, newest first."""

    session_id: str
    not_matching: Annotated[int, Field(description="its requests that were looked at and do not match")] = 0
    requests: list[RequestRow]


class RequestPage(Result):
    """Stored requests, grouped by session, newest first."""

    looked_at: Looked
    returned: Annotated[int, Field(description="requests on this page")]
    total: Annotated[int | None, Field(description="requests in all pages, if known")] = None
    sessions: list[SessionRequests]
    unreadable: list[Gap] = []
    cursor: Annotated[str | None, Field(description="for the next page")] = None

    @property
    def requests(self) -> list[RequestRow]:
        """The requests of all sessions."""
        return [one for session in self.sessions for one in session.requests]


class Learning(Row):
    """Where the learning of a request stands."""

    status: Annotated[str, Field(description="the service's word; `unknown` if it has none")]
    reason: str = ""
    means: Annotated[str, Field(description="the same in a sentence")]


class OneRequest(Result, RequestRow):
    """One stored request with its interactions."""

    session_id: str
    learning: Learning
    cursor: Annotated[str | None, Field(description="for its further interactions")] = None
