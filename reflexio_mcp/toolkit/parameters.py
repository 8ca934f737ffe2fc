"""Parameters that tools share, and arguments as clients really send them."""

import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, cast

from mcp.server.mcpserver.resolve import Resolve
from mcp.types import CallToolResult, Tool
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from reflexio_mcp.render.words import Words, refusal
from reflexio_mcp.rest.api_limits import is_blank
from reflexio_mcp.rest.errors import ReflexioError
from reflexio_mcp.results.deletion import MOST_REASON
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.results.failures import Action, failure_facts
from reflexio_mcp.toolkit.context import PAGE_TOOLS, Call, scope_of
from reflexio_mcp.traffic.errors import InvalidInput, TrafficError
from reflexio_mcp.traffic.filter_fields import FILTER_FIELDS, FilterField
from reflexio_mcp.traffic.reading.filters import TrafficFilter, make_filter
from reflexio_mcp.traffic.scope import IDS, Scope

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "MASKED",
    "NOT_GIVEN",
    "AskedFilter",
    "Confirm",
    "Cursor",
    "Detail",
    "Erase",
    "IncludeLearnings",
    "Limit",
    "ListDetail",
    "PageLimit",
    "Reason",
    "SessionId",
    "UserId",
    "WaitForReceipt",
    "describe",
    "filtered",
    "invalid_arguments",
    "may_be_wider_than_meant",
    "prepared_arguments",
    "refuse_boolean",
    "validated_by",
]

MAX_ARGUMENT_CHARS: Final = 1000
"""Limit of one id, name or search. A cursor and a new text have their own limits."""

MOST_WRONG: Final = 10
"""Number of wrong arguments that a refusal names."""

SAID: Final = "said"
"""The kind of a problem from our own checks; its text follows the argument's name."""

PROBLEMS: Final = {
    SAID: "{said}",
    "missing": " is required.",
    "extra_forbidden": " is not a field here.",
    "literal_error": " must be {expected}.",
    "string_too_long": " takes {max_length:,} characters at most.",
    "string_too_short": " must not be empty.",
    "string_type": " must be a string.",
    "list_type": " must be a list.",
    "bool_type": " must be true or false.",
    "bool_parsing": " must be true or false.",
    "int_type": " must be a whole number.",
    "int_parsing": " must be a whole number.",
    "int_from_float": " must be a whole number.",
    "int_parsing_size": " must be a whole number.",
    "greater_than_equal": " must be {ge} or more.",
    "less_than_equal": " must be {le:,} or less.",
    "too_long": " takes {max_length:,} at most.",
    "too_short": " takes {min_length:,} at least.",
    "model_type": " must be an object.",
    "dict_type": " must be an object.",
    "model_attributes_type": " must be an object.",
    "value_error": " {error}.",
}
"""Text after the name of an argument, by pydantic's kind of problem."""

_BRANCH = re.compile(r"(list|dict|tuple|literal|function-before)\[.*\]|(constrained-)?int|str|float|bool")
"""Pydantic's names of union branches in a location; no field has such a name."""


def describe(error: BaseException, words: Words, action: Action = "write") -> str:
    """Describe any failure in words that are safe to show.

    Args:
        words: those of the reader.
        action: whether the call could change anything.
    """
    if isinstance(error, ReflexioError):
        return refusal(failure_facts(error, action), words).text
    if isinstance(error, TrafficError):
        return refusal([str(error), *error.facts], words).text
    if isinstance(error, ValidationError):
        return invalid_arguments(error)
    happened = FactCode.CALL_TOO_LONG if isinstance(error, TimeoutError) else FactCode.UNEXPECTED
    return refusal([Fact(code=happened), Fact(code=FactCode.EFFECT_UNKNOWN)], words).text


def invalid_arguments(error: ValidationError) -> str:
    """Describe wrong arguments: each field and what it accepts, never its value."""
    # For pydantic, an optional value is a union, whose other branch only says that it is not null.
    problems = [
        problem
        for problem in error.errors(include_url=False, include_context=True, include_input=False)
        if problem["type"] != "none_required"
    ]
    return f"{' '.join(map(_sentence, problems[:MOST_WRONG]))} Nothing was sent."


def _sentence(problem: "ErrorDetails") -> str:
    template = PROBLEMS.get(problem["type"])
    text = template.format(**problem.get("ctx", {})) if template else f": {problem['msg']}."
    return f"{_field(problem['loc'])}{text}{_known_fields(problem)}"


def _known_fields(problem: "ErrorDetails") -> str:
    """Name the fields of an interaction, if the problem is another field there."""
    location = problem["loc"]
    is_field_of_interaction = len(location) == 3 and location[0] == "interactions"
    if problem["type"] != "extra_forbidden" or not is_field_of_interaction:
        return ""
    from reflexio_mcp.rest.models import Interaction  # few calls need it

    return f" Fields: {', '.join(Interaction.model_fields)}."


def _field(location: tuple[int | str, ...]) -> str:
    name = ""
    for part in location:
        if isinstance(part, str) and _BRANCH.fullmatch(part):
            continue
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            name += f".{part}" if name else part
    # A problem with all arguments has no location.
    return name[:120] or "arguments"


def prepared_arguments(
    tool: Tool, fields: Collection[str], arguments: dict[str, Any], scope: Scope
) -> dict[str, Any]:
    """Prepare arguments: drop nulls, unescape and unseal ids that select, fill in the scope's user.

    Args:
        fields: the parameters of the tool's function.

    Raises:
        TrafficError: an argument is unknown, blank or too long; nothing was done.
    """
    # The page passes arguments to its tools that their schemas do not list.
    accepted = list(fields if tool.name in PAGE_TOOLS else tool.input_schema["properties"])
    given = {name: value for name, value in arguments.items() if value is not None and name in accepted}
    wrong: list[str] = []
    advice: list[str] = []
    if unknown := sorted(set(arguments).difference(accepted)):
        names = ", ".join(repr(name[:60]) for name in unknown[:MOST_WRONG])
        wrong.append(f"{tool.name} has no argument {names}")
        if "user_id" in unknown and scope.user_id:
            advice.append("user_id is fixed by the configuration.")
        advice.append(f"Accepted arguments: {', '.join(accepted) or 'none'}.")
    for name, value in given.items():
        # The length is checked before anything else: later steps take time for each character.
        texts = cast("list[Any]", value) if isinstance(value, list) else [value]
        longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
        # A fixed user is filled in below, even if it is required.
        needed = name in tool.input_schema.get("required", ()) and not (name == "user_id" and scope.user_id)
        if name not in ("cursor", "content") and longest > MAX_ARGUMENT_CHARS:
            wrong.append(f"{name} takes {MAX_ARGUMENT_CHARS:,} characters at most")
        # Clients send empty text for absent values. Blanks were meant as a value, and would select everything.
        elif isinstance(value, str) and (value or needed) and is_blank(value):
            wrong.append(f"{name} must not be blank")
            if not needed:
                advice.append("Leave out an argument that should not filter.")
    if wrong:
        raise TrafficError(" ".join([f"{'; '.join(wrong)}; nothing was done.", *dict.fromkeys(advice)]))
    given |= {name: _as_stored(scope, given[name]) for name in IDS if name in given}
    if scope.user_id and not given.get("user_id") and "user_id" in fields:
        given["user_id"] = scope.user_id
    return given


def _as_stored(scope: Scope, value: Any) -> Any:
    # Ids can be copied from results, which escape and seal them.
    if isinstance(value, str):
        return scope.stored_id(value)
    if isinstance(value, list):
        return [_as_stored(scope, item) for item in cast("list[Any]", value)]
    return value


T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Awaitable[CallToolResult]])


def validated_by(check: Callable[[T], object]) -> AfterValidator:
    """Check an argument while pydantic validates it, so that the refusal names it.

    Args:
        check: raises `InvalidInput`; a field that begins with a dot is inside the argument.
    """

    def validate(value: T) -> T:
        try:
            check(value)
        except InvalidInput as error:
            below = error.field if error.field.startswith(".") else ""
            raise PydanticCustomError(SAID, "{said}", {"said": f"{below} {error.problem}"}) from error
        return value

    return AfterValidator(validate)


def refuse_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    return value


NOT_GIVEN: Final[Any] = None
"""Default of a list that narrows a deletion. Typed `Any`, so that the schema is a list without null; then
the text "null" is refused, too.

Clients whose models fill in every argument send `[]` for a list that is not meant, so `[]` counts as not given. But the
call then shows a plan first, even where no plan is required: the list of a program can be empty by accident, and this
program wants to delete nothing.
"""


def may_be_wider_than_meant(values: list[str] | list[int] | None) -> bool:
    """Whether a list was given, but empty: it then narrows nothing (see `NOT_GIVEN`)."""
    return values == []


UserId = Annotated[str, Field()]
SessionId = Annotated[str, Field()]
Limit = Annotated[int, Field(ge=1, le=100), BeforeValidator(refuse_boolean)]
# Left out, it is `SHORT_PAGE_ROWS`, and the page is cut sooner (`page_room`).
PageLimit = Annotated[Limit | SkipJsonSchema[None], Field(description="left out: 20 in a short page")]
Cursor = Annotated[str, Field(description="from the page before")]
MASKED: Final = "masked: fingerprints, no text"
Detail = Annotated[Literal["summary", "full", "masked"], Field(description=MASKED)]
ListDetail = Annotated[Literal["summary", "masked"], Field(description=MASKED)]
Confirm = Annotated[str, Field(description="code from this call's plan")]
IncludeLearnings = Annotated[bool, Field(description="also what was learned from it")]
Erase = Annotated[bool, Field(description="keep no recovery copy of it, new or earlier")]
Reason = Annotated[str, Field(max_length=MOST_REASON, description="why, kept on record")]
WaitForReceipt = Annotated[bool, Field(description="false: return at once, receipt in get_status")]


ONE_OF: Final[Any] = Literal
"""`Literal` for choices that a variable holds. Type checkers allow only written ones."""


def _parameter(field: FilterField) -> inspect.Parameter:
    """The parameter of a tool for a field of the filter."""
    described = Field(description=field.description or None)
    annotation, default = Annotated[str, described], ""
    if field.kind == "choice":
        annotation, default = Annotated[ONE_OF[field.choices], described], field.choices[0]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


FILTER_PARAMETERS: Final = tuple(_parameter(field) for field in FILTER_FIELDS)


def _sign(function: Callable[..., Any], parameters: Sequence[inspect.Parameter], returns: Any) -> None:
    """Give a function that takes its arguments as `**arguments` the signature that the SDK reads."""
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {
        "return": returns
    }
    function.__dict__["__signature__"] = inspect.Signature(parameters, return_annotation=returns)


CALL: Final = inspect.Parameter("call", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Call)


async def asked_filter(call: Call, **given: Any) -> TrafficFilter:
    """Make the filter from the arguments of a tool. Raises `InvalidInput`."""
    scope = scope_of(call)
    return make_filter(given | {"user_id": scope.user(given.get("user_id", ""))}, masked=scope.masked)


_sign(asked_filter, [CALL, *FILTER_PARAMETERS], TrafficFilter)

AskedFilter = Annotated[TrafficFilter, Resolve(asked_filter)]
"""The filter for resolvers of a `filtered` tool; the model does not see it."""


def filtered(*, without: Collection[str] = ()) -> Callable[[Function], Function]:
    """Add the filter's parameters except `without` to a tool's schema.

    If the tool has a parameter `asked`, it receives the resulting filter. Parameters that the tool declares itself
    are not part of the filter.

    The SDK's resolvers alone do not suffice. They take their arguments from the tool's signature, so that each tool
    would repeat all nine parameters, and a resolver refuses a tool that leaves one out. Other resolvers of a tool run
    before `asked` is made, so they take `AskedFilter`.
    """

    def decorate(tool: Function) -> Function:
        own = inspect.signature(tool, eval_str=True)
        flat = [
            parameter for parameter in FILTER_PARAMETERS if parameter.name not in (*without, *own.parameters)
        ]
        others = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in own.parameters.values()
            if parameter.name not in ("call", "asked")
        ]

        @functools.wraps(tool)
        async def flat_tool(call: Call, **arguments: Any) -> CallToolResult:
            given = {parameter.name: arguments.pop(parameter.name, parameter.default) for parameter in flat}
            if "asked" in own.parameters:
                arguments["asked"] = await asked_filter(call, **given)
            return await tool(call, **arguments)

        _sign(flat_tool, [CALL, *flat, *others], own.return_annotation)
        return cast("Function", flat_tool)

    return decorate
