from typing import Annotated, Literal

from pydantic import Field

from reflexio_mcp.results.audit import NotLooked
from reflexio_mcp.results.base import Moment, Row
from reflexio_mcp.results.deletion import Logged, PastDeletion
from reflexio_mcp.results.facts import Result
from reflexio_mcp.results.reading import ChangeRow

__all__ = ["FindingCount", "Report"]


class FindingCount(Row):
    """A finding of the audit, without its places."""

    finding: str
    severity: Literal["high", "medium", "low"]
    count: Annotated[int, Field(description="requests, or learnings")]


class Report(Result):
    """What happened between two times. Of stored text it has learnings alone, with secrets redacted.

    `facts` say what cannot be known.
    """

    since: Moment
    until: Moment
    changes: Annotated[list[ChangeRow], Field(description="in what is believed")] = []
    requests: Annotated[int, Field(description="stored since then, and audited")] = 0
    findings: Annotated[list[FindingCount], Field(description="in these requests")] = []
    not_looked_for: list[NotLooked] = []
    expired: Annotated[list[PastDeletion], Field(description="deletions of what the policy lets expire")] = []
    deletions: Annotated[list[PastDeletion], Field(description="the others, and restores")] = []
    recorded_since: Annotated[
        Moment | None, Field(description="deletions before this time are in the audit log alone")
    ] = None
    logged: list[Logged] = []
