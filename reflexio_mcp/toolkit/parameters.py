"""Parameters that several tools share, so that one word means one thing everywhere."""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, TypeVar, cast

from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from reflexio_mcp.toolkit.arguments import SAID
from reflexio_mcp.toolkit.context import Call, scope_of
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.reading.filters import TrafficFilter, make_filter

__all__ = [
    "MASKED",
    "AgentVersion",
    "AskedFilter",
    "Confirm",
    "Contains",
    "Cursor",
    "Detail",
    "EndTime",
    "Erase",
    "Finding",
    "IncludeLearnings",
    "Limit",
    "ListDetail",
    "SessionId",
    "Source",
    "StartTime",
    "UserId",
    "WaitForReceipt",
    "alone",
    "asked_filter",
    "filtered",
    "no_switch",
]

T = TypeVar("T")
Tool = TypeVar("Tool", bound=Callable[..., Awaitable[CallToolResult]])


def alone(check: Callable[[T], object]) -> AfterValidator:
    """Check an argument together with its type, so that the refusal names its place.

    Args:
        check: raises `InvalidInput`; a field that begins with a dot is one inside the argument.
    """

    def validate(value: T) -> T:
        try:
            check(value)
        except InvalidInput as error:
            below = error.field if error.field.startswith(".") else ""
            raise PydanticCustomError(SAID, "{said}", {"said": f"{below} {error.problem}"}) from error
        return value

    return AfterValidator(validate)


def no_switch(value: object) -> object:
    """Refuse true and false as numbers."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


UserId = Annotated[str, Field()]
SessionId = Annotated[str, Field()]
Source = Annotated[str, Field()]
AgentVersion = Annotated[str, Field()]
StartTime = Annotated[str, Field(description="ISO 8601 (no zone: UTC) or age: 30m, 24h, 7d")]
EndTime = Annotated[str, Field(description="as start_time; both inclusive")]
Contains = Annotated[
    str,
    Field(
        description="all these words, also inside longer ones; quote a phrase; this OR that; in texts and ids"
    ),
]
# Its values are not listed: the audit hands them out, and another one is answered with the list.
Finding = Annotated[str, Field(description="a rule of audit_traffic")]
EvaluationOnly = Annotated[
    bool | SkipJsonSchema[None],
    Field(description="true: only requests that are never learned from; false: only others"),
]
Limit = Annotated[int, Field(ge=1, le=100), BeforeValidator(no_switch)]
Cursor = Annotated[str, Field(description="from the page before")]
MASKED: Final = "masked: fingerprints, no text"
Detail = Annotated[Literal["summary", "full", "masked"], Field(description=MASKED)]
ListDetail = Annotated[Literal["summary", "masked"], Field(description=MASKED)]
Confirm = Annotated[str, Field(description="code from this call's plan")]
IncludeLearnings = Annotated[bool, Field(description="also what was learned from it")]
Erase = Annotated[bool, Field(description="keep no recovery copy")]
WaitForReceipt = Annotated[bool, Field(description="false: return at once, receipt in get_status")]


async def asked_filter(
    call: Call,
    user_id: UserId = "",
    session_id: SessionId = "",
    source: Source = "",
    agent_version: AgentVersion = "",
    start_time: StartTime = "",
    end_time: EndTime = "",
    contains: Contains = "",
    finding: Finding = "",
    evaluation_only: EvaluationOnly = None,
) -> TrafficFilter:
    """The filter of a tool that has all parameters of the filter.

    Raises:
        InvalidInput: one of the arguments cannot be used.
    """
    scope = scope_of(call)
    return make_filter(
        user_id=scope.user(user_id),
        session_id=session_id,
        source=source,
        agent_version=agent_version,
        start_time=start_time,
        end_time=end_time,
        contains=contains,
        finding=finding,
        evaluation_only=evaluation_only,
        masked=scope.masked,
    )


AskedFilter = Annotated[TrafficFilter, Resolve(asked_filter)]
"""The filter for a resolver of a tool that is `filtered`; the model does not see it."""


FILTER: Final = tuple(inspect.signature(asked_filter, eval_str=True).parameters.values())[1:]
"""The parameters of the filter, the same in every tool."""


def filtered(*without: str) -> Callable[[Tool], Tool]:
    """Give a tool the parameters of the filter, all but some, flat in its schema.

    If the tool has a parameter `asked`, it gets the filter that they make. A parameter that the tool declares itself is
    no part of that filter.
    """

    def decorate(tool: Tool) -> Tool:
        own = inspect.signature(tool, eval_str=True)
        flat = [one for one in FILTER if one.name not in (*without, *own.parameters)]
        call, *others = (one for one in own.parameters.values() if one.name != "asked")
        seen = [call, *flat, *others]

        @functools.wraps(tool)
        async def flat_tool(call: Call, **arguments: Any) -> CallToolResult:
            given = {one.name: arguments.pop(one.name, one.default) for one in flat}
            if "asked" in own.parameters:
                arguments["asked"] = await asked_filter(call, **given)
            return await tool(call, **arguments)

        hints = {one.name: one.annotation for one in seen} | {"return": own.return_annotation}
        flat_tool.__annotations__ = hints
        flat_tool.__dict__["__signature__"] = own.replace(
            parameters=[seen[0], *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in seen[1:])]
        )
        return cast("Tool", flat_tool)

    return decorate
