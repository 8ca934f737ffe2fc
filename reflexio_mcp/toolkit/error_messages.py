"""Failures as one or two sentences: what happened, whether anything changed, what to do next."""

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from reflexio_mcp.rest.errors import Action, ReflexioError
from reflexio_mcp.traffic.errors import TrafficError
from reflexio_mcp.results.text import explained, quoting

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["SAID", "describe", "invalid_arguments", "wrong_arguments"]

SAID: Final = "said"
"""The kind of a problem that a check of ours found; its text goes on behind the argument's name."""

_BRANCH = re.compile(r"(list|dict|tuple|literal|function-before)\[.*\]|(constrained-)?int|str|float|bool")
"""How pydantic names the branch of a union in a location; no field of ours is called so."""

SENTENCES: Final = 10
"""Wrong arguments that a refusal explains one by one."""

NAMES: Final = 8
"""Missing arguments that it names."""

UNEXPECTED = (
    "Something went wrong inside reflexio-mcp; whether it took effect is not known. "
    "Look at what is stored before you repeat it, and see the server's log."
)


def describe(error: BaseException, action: Action = "write") -> str:
    """Any failure in words that are safe to show; `action` says whether the call could have changed anything."""
    if isinstance(error, ReflexioError):
        return explained(error, action)
    if isinstance(error, TrafficError):
        cause = error.__cause__
        return quoting(str(error), cause.said) if isinstance(cause, ReflexioError) else str(error)
    if isinstance(error, ValidationError):
        return invalid_arguments(error)
    if isinstance(error, TimeoutError):
        return "The call took too long and was ended; look at what is stored before you repeat it."
    return UNEXPECTED


def invalid_arguments(error: ValidationError) -> str:
    """What is wrong with the arguments, naming each field and what it accepts, never its value."""
    return f"{' '.join(wrong_arguments(error))} Nothing was sent."


def wrong_arguments(error: ValidationError, named: Collection[str] = ()) -> list[str]:
    """What `invalid_arguments` says, as sentences.

    Args:
        named: arguments of which something was said before, and is enough.
    """
    # A value that may also be left out is a union to pydantic: its other branch only says that it is not null.
    problems = [
        one
        for one in error.errors(include_url=False, include_context=True, include_input=False)
        if one["type"] != "none_required" and not any(name in named for name in one["loc"][:1])
    ]
    missing = [_field(one["loc"]) for one in problems if one["type"] == "missing"]
    sentences = [_required(missing)] if missing else []
    sentences += [_sentence(one) for one in problems if one["type"] != "missing"]
    if (left := len(sentences) - SENTENCES) > 0:
        sentences[SENTENCES:] = [f"{left:,} more {'is' if left == 1 else 'are'} wrong."]
    return sentences


def _required(names: list[str]) -> str:
    named = names[:NAMES] + ([f"{len(names) - NAMES:,} more"] if len(names) > NAMES else [])
    if len(named) == 1:
        return f"{named[0]} is required."
    return f"{', '.join(named[:-1])} and {named[-1]} are required."


def _sentence(problem: "ErrorDetails") -> str:
    name = _field(problem["loc"])
    context: dict[str, Any] = problem.get("ctx", {})
    match problem["type"]:
        case "said":
            return f"{name}{context['said']}"
        case "extra_forbidden":
            return f"{name} is not a field here."
        case "literal_error":
            return f"{name} must be {context['expected']}."
        case "string_too_long":
            return f"{name} takes {context['max_length']:,} characters at most."
        case "string_too_short":
            return f"{name} must not be empty."
        case "string_type":
            return f"{name} must be a string."
        case "list_type":
            return f"{name} must be a list."
        case "bool_type" | "bool_parsing":
            return f"{name} must be true or false."
        case "int_type" | "int_parsing" | "int_from_float" | "int_parsing_size":
            return f"{name} must be a whole number."
        case "greater_than_equal":
            return f"{name} must be {context['ge']} or more."
        case "less_than_equal":
            return f"{name} must be {context['le']:,} or less."
        case "too_long":
            return f"{name} takes {context['max_length']:,} at most."
        case "too_short":
            return f"{name} takes {context['min_length']:,} at least."
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"{name} must be an object."
        case "value_error":
            return f"{name} {context['error']}."
        case _:
            return f"{name}: {problem['msg']}."


def _field(location: tuple[int | str, ...]) -> str:
    name = ""
    for part in location:
        if isinstance(part, str) and _BRANCH.fullmatch(part):
            continue
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else part
    # What is wrong with all of them together has no location.
    return name[:120] or "arguments"
