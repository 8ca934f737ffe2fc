"""Parameters that several tools share, so that one word means one thing everywhere."""

from typing import Annotated, Literal

from pydantic import Field

from reflexio_mcp.traffic.reading.search import FINDINGS

__all__ = [
    "AgentVersion",
    "Confirm",
    "Contains",
    "Cursor",
    "Detail",
    "EndTime",
    "Erase",
    "Finding",
    "IncludeLearnings",
    "Limit",
    "SessionId",
    "Source",
    "StartTime",
    "UserId",
    "WaitForReceipt",
]

UserId = Annotated[str, Field()]
SessionId = Annotated[str, Field()]
Source = Annotated[str, Field()]
AgentVersion = Annotated[str, Field()]
StartTime = Annotated[str, Field(description="ISO 8601 (no zone: UTC) or age: 30m, 24h, 7d, 2w")]
EndTime = Annotated[str, Field(description="as start_time; both inclusive")]
Contains = Annotated[
    str, Field(description='all these words, in any order and case; "a phrase" in quotes; ids too')
]
Finding = Annotated[str, Field(description="what the audit finds", json_schema_extra={"enum": [*FINDINGS]})]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str, Field(description="from the page before")]
Detail = Literal["summary", "full", "masked"]
Confirm = Annotated[str, Field(description="code from this call's plan")]
IncludeLearnings = Annotated[bool, Field(description="also what was learned from it")]
Erase = Annotated[bool, Field(description="keep no recovery copy")]
WaitForReceipt = Annotated[bool, Field(description="false: return at once, receipt in get_status")]
