"""What was learned, as lists show it."""

from typing import Annotated, Literal

from pydantic import Field

from reflexio_mcp.results.base import Moment, Result, Row
from reflexio_mcp.results.reading import Gap, Learning

__all__ = ["FromRequest", "LearningPage", "LearningRow"]


class FromRequest(Row):
    """A stored request that a learning came from."""

    request_id: str
    interactions: Annotated[list[int], Field(description="which of its interactions, counted from 1")]


class LearningRow(Row):
    """One profile or playbook, with the requests that it came from."""

    learning_id: str
    state: str
    changed_at: Moment | None = None
    user_id: Annotated[str | None, Field(description="left out if the call names the user")] = None
    content: str = ""
    characters: Annotated[int | None, Field(description="of the content, if content is hidden")] = None
    trigger: str = ""
    quotes: str = ""
    source: Annotated[
        Literal["recorded", "reconstructed", "not_known"],
        Field(description="reconstructed: from the last request of the window that it was learned in"),
    ]
    from_requests: list[FromRequest] = []
    more_requests: int = 0
    said_in: Annotated[list[str], Field(description="requests with the words that it quotes")] = []
    interactions_deleted: Annotated[int, Field(description="it came from, and not stored any more")] = 0
    interactions_not_looked_up: int = 0
    last_request: Annotated[str, Field(description="the request it names, if it lists no interactions")] = ""


class LearningPage(Result):
    """Learnings, current ones first, then the last changed."""

    of: Annotated[str, Field(description="what the learnings were selected by")]
    returned: int
    total: int
    learnings: list[LearningRow]
    users_not_read: int = 0
    unlinked: Annotated[int, Field(description="learnings that do not say what they came from")] = 0
    learning: Annotated[Learning | None, Field(description="where the learning of the request stands")] = None
    unreadable: list[Gap] = []
    cursor: str | None = None
