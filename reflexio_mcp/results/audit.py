from typing import Annotated, Any, Literal

from pydantic import Field

from reflexio_mcp.results.base import Moment, Row
from reflexio_mcp.results.facts import Fact, Result
from reflexio_mcp.results.reading import LearningRow

__all__ = [
    "AuditResult",
    "Call",
    "Count",
    "DuplicateRun",
    "FindingRow",
    "Found",
    "NotLooked",
    "Place",
]


class Count(Row):
    """A name and its number of requests."""

    name: str
    count: int


class Call(Row):
    """A tool call with its exact arguments."""

    tool: str
    arguments: dict[str, Any]


# A place is a request (or a part of one) or a learning, so most fields are empty.
class Place(Row):
    """The place of a finding. `around` is the text around it, with the finding redacted.

    The words of a prompt injection have dots for blanks.
    """

    number: Annotated[int, Field(description="in the list of all places of the finding")] = 0
    request_id: str = ""
    session_id: str = ""
    user_id: str = ""
    created_at: Moment | None = None
    interaction_id: int | None = None
    role: str = ""
    points: Annotated[int, Field(description="how suspicious it is, in points")] = 0
    kind: str = ""
    around: str = ""
    repeats: Annotated[str, Field(description="the request with the same content, which stays")] = ""
    learning_id: str = ""


class DuplicateRun(Row):
    """Duplicates of one source in a row, such as an import that was made twice."""

    source: str = ""
    requests: int
    sessions: int
    users: int
    first: Moment
    last: Moment
    stays_source: Annotated[str, Field(description="of the requests that they repeat, which stay")] = ""
    stays_first: Moment
    stays_last: Moment
    act: Annotated[Call | None, Field(description="deletes this run alone")] = None


class FindingRow(Row):
    """One finding, its extent, its first places and the calls that follow."""

    finding: str
    severity: Literal["high", "medium", "low"]
    count: Annotated[int, Field(description="requests, or learnings")]
    # A request can have several places. They are counted only if no other finding was asked for.
    place_count: Annotated[int, Field(description="all places, if only this finding was asked for")] = 0
    kinds: list[Count] = []
    why: str
    advice: str
    places: list[Place] = []
    learnings: Annotated[
        list[LearningRow], Field(description="the found learnings, with what taught each")
    ] = []
    runs: list[DuplicateRun] = []
    learned: Annotated[Call | None, Field(description="lists what was learned from the requests")] = None
    show: Annotated[Call | None, Field(description="shows what was found")] = None
    act: Annotated[Call | None, Field(description="make it only after the person has seen its effect")] = None


class NotLooked(Row):
    """Findings that were not fully searched for, and why."""

    findings: list[str]
    because: Fact


class Found(Row):
    """The traffic in numbers, with the most frequent names."""

    requests: int
    interactions: int = 0
    sessions: int = 0
    evaluation_only: int = 0
    oldest: Moment | None = None
    newest: Moment | None = None
    users: int = 0
    by_user: list[Count] = []
    by_source: list[Count] = []
    by_agent_version: list[Count] = []


class AuditResult(Result):
    """An audit: numbers, findings, the text around them, what was not searched, and what each rule can know."""

    filter: str = ""
    traffic: Found
    findings: list[FindingRow] = []
    findings_left_out: int = 0
    no_problem: Annotated[
        list[Count],
        Field(description="requests that a person judged to be no problem; not counted in findings"),
    ] = []
    not_looked_for: list[NotLooked] = []
    cursor: Annotated[str, Field(description="audits the rest, or lists more places")] = ""
