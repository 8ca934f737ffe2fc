"""Parameters that several tools share, so that one word means one thing everywhere."""

from typing import Annotated, Literal

from pydantic import Field

__all__ = [
    "AgentVersion",
    "Confirm",
    "Contains",
    "Cursor",
    "Detail",
    "EndTime",
    "Erase",
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
StartTime = Annotated[str, Field(description="ISO 8601 or age: 30m, 24h, 7d, 2w")]
EndTime = Annotated[str, Field(description="as start_time; both inclusive")]
Contains = Annotated[
    str, Field(description="words in the stored text; or fingerprint:…, rule:… (audit), size>N")
]
Limit = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str, Field(description="from the page before")]
Detail = Literal["summary", "full", "masked"]
Confirm = Annotated[str, Field(description="code from this call's plan")]
IncludeLearnings = Annotated[bool, Field(description="also what was learned from it")]
Erase = Annotated[bool, Field(description="keep no recovery copy")]
WaitForReceipt = Annotated[bool, Field(description="false: return at once, receipt in get_status")]
