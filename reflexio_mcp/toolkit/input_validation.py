"""Arguments as clients really send them, before they reach a tool."""

from typing import Any, Final, cast

from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from reflexio_mcp.rest.api_limits import is_blank
from reflexio_mcp.toolkit.error_messages import NAMES, wrong_arguments
from reflexio_mcp.traffic.errors import InvalidInput
from reflexio_mcp.traffic.scope import Scope

__all__ = ["checked"]

IDS: Final = ("user_id", "session_id", "request_id", "request_ids", "learning_ids")

MAX_ARGUMENT_CHARS: Final = 50_000
"""Characters of one id, name or search. A cursor carries a whole filter and has a limit of its own."""


def checked(tool: Tool, arguments: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """The arguments without nulls, every one of them known, and the scope's user filled in.

    Args:
        arguments: as they came.
        scope: its user is filled in if the caller named nobody. Somebody else is refused later.

    Raises:
        InvalidInput: an argument the tool does not have, a blank one, or one that is too long; nothing was done. It
            says of all arguments what is wrong with them.
    """
    user_id = scope.user_id
    wrong: dict[str, str] = {}
    advice: list[str] = []
    # A page's own tool lists none.
    accepted = list(tool.parameters["properties"] or tool.fn_metadata.arg_model.model_fields)
    if unknown := sorted(set(arguments).difference(accepted)):
        names = ", ".join(repr(name[:60]) for name in unknown[:NAMES])
        more = f" and {len(unknown) - NAMES:,} more" if len(unknown) > NAMES else ""
        wrong[tool.name] = f"has no argument {names}{more}"
        if "user_id" in unknown and user_id:
            advice.append("user_id is fixed by the configuration.")
        advice.append(f"It takes {', '.join(accepted) or 'no arguments'}.")
    # Some clients spell "not given" as null.
    given = {name: value for name, value in arguments.items() if value is not None and name in accepted}
    for name, value in given.items():
        # Length first: later steps may take time for each character.
        texts = cast("list[Any]", value) if isinstance(value, list) else [value]
        longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
        if name != "cursor" and longest > MAX_ARGUMENT_CHARS:
            wrong[name] = f"takes {MAX_ARGUMENT_CHARS:,} characters at most"
            continue
        # Clients send empty text for what is not given. Blanks were meant as a value, and would select everything.
        # What is invisible was not meant at all; a stored id of that kind is given as results show it, in escapes.
        # A user that is fixed is filled in below, also where a tool needs one.
        needed = name in tool.parameters.get("required", ()) and not (name == "user_id" and user_id)
        if isinstance(value, str) and (value or needed) and is_blank(value):
            wrong[name] = "must not be blank"
            if not needed:
                advice.append("Leave it out to select nothing by it.")
    if tool.annotations and (tool.annotations.read_only_hint or tool.annotations.destructive_hint):
        given |= {name: _ids_as_stored(scope, given[name]) for name in IDS if name in given}
    if user_id and not given.get("user_id") and "user_id" in tool.fn_metadata.arg_model.model_fields:
        given["user_id"] = user_id
    if wrong:
        raise _refusal(tool, given, wrong, advice)
    return given


def _refusal(tool: Tool, given: dict[str, Any], wrong: dict[str, str], advice: list[str]) -> InvalidInput:
    """What is wrong with a call, all of it.

    Args:
        wrong: the arguments of which something is wrong that no type says, and what.
        advice: what to do about these, as sentences.
    """
    others: list[str] = []
    try:
        # What is too long is not looked at again: that may take time for each character.
        short = {name: "" if name in wrong else value for name, value in given.items()}
        tool.fn_metadata.arg_model.model_validate(tool.fn_metadata.pre_parse_json(short))
    except ValidationError as error:
        others = wrong_arguments(error, wrong)
    (field, problem), *more = wrong.items()
    if not (more or others):
        return InvalidInput(field, " ".join([f"{problem}; nothing was done.", *advice]))
    faults = [f"{problem}.", *(f"{name} {what}." for name, what in more), *others]
    return InvalidInput(field, " ".join([*faults, "Nothing was done.", *dict.fromkeys(advice)]))


def _ids_as_stored(scope: Scope, value: Any) -> Any:
    # What a result showed as an escape must find the id it stands for: else an id with a hidden character
    # could be seen and never be deleted.
    if isinstance(value, str):
        return scope.stored_id(value)
    if isinstance(value, list):
        return [_ids_as_stored(scope, one) for one in cast("list[Any]", value)]
    return value
