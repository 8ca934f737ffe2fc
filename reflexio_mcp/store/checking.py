"""From a raw call to a checked body, and the refusals on the way, in the form the API gives them."""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from reflexio_mcp.store import bodies
from reflexio_mcp.store.database import Database

Json = dict[str, Any]
Body = TypeVar("Body", bound=BaseModel)

MAX_NAMED_FIELDS: Final = 5
MAX_FIELD_WARNINGS: Final = 20
MAX_FIELD_CHARS: Final = 64
MAX_NAMED_POSITIONS: Final = 10

_flag = TypeAdapter(bool)
_escaped_surrogate = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True)
class Call:
    """One request as the routes see it."""

    store: Database
    now: int
    query: dict[str, str]
    content_type: str
    raw: bytes


class Answer(Exception):
    """Ends a call early with a status and a body."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


def invalid(errors: list[Json]) -> Answer:
    return Answer(422, {"detail": errors})


def body_of(model: type[Body], call: Call) -> Body:
    return checked(model, parsed(call))


def parsed(call: Call) -> Any:
    if not call.raw:
        raise invalid([{"type": "missing", "loc": ["body"], "msg": "Field required", "input": None}])
    if "json" not in call.content_type:
        return call.raw.decode("utf-8", "replace")
    try:
        # The API takes NaN and half a surrogate pair, and then fails on reading them back. Here they never get in.
        sent = json.loads(call.raw, parse_constant=_refuse_constant)
        if _escaped_surrogate.search(call.raw):
            json.dumps(sent, ensure_ascii=False).encode()
        return sent
    except UnicodeEncodeError as error:
        raise invalid([_json_error(0, "Half of a surrogate pair")]) from error
    except UnicodeDecodeError as error:
        raise Answer(400, {"detail": "There was an error parsing the body"}) from error
    except json.JSONDecodeError as error:
        raise invalid([_json_error(error.pos, error.msg)]) from error
    except (ValueError, RecursionError) as error:
        raise invalid([_json_error(0, "Unsupported number or nesting")]) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _json_error(position: int, reason: str) -> Json:
    return {
        "type": "json_invalid",
        "loc": ["body", position],
        "msg": "JSON decode error",
        "input": {},
        "ctx": {"error": reason},
    }


def checked(model: type[Body], sent: Any) -> Body:
    if not isinstance(sent, dict):
        raise invalid(
            [
                {
                    "type": "model_attributes_type",
                    "loc": ["body"],
                    "msg": "Input should be a valid dictionary or object to extract fields from",
                    "input": sent,
                }
            ]
        )
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise invalid([_shown(one, "body") for one in error.errors(include_url=False)]) from error


def wait_flag(call: Call) -> None:
    """Nothing is learned here, so there is nothing to wait for; the flag is only checked."""
    value = call.query.get("wait_for_response", "false")
    try:
        _flag.validate_python(value)
    except ValidationError as error:
        raise invalid(
            [
                {**_shown(one, "query"), "loc": ["query", "wait_for_response"]}
                for one in error.errors(include_url=False)
            ]
        ) from error


def _shown(error: Any, where: str) -> Json:
    """A validation error in the API's form. Like the API's, it repeats the input: never show it."""
    shown = dict(error)
    shown["loc"] = [where, *shown["loc"]]
    if "ctx" in shown:
        shown["ctx"] = {
            name: {} if isinstance(value, Exception) else value for name, value in shown["ctx"].items()
        }
    return shown


def warnings(publish: bodies.Publish, sent: Json) -> list[str]:
    """What was dropped from a publish: unknown fields by name, empty interactions by position."""
    sent_list: list[Json] = sent["interaction_data_list"]
    found = [
        f"interaction_data_list[{position}]: ignored unrecognised field(s) {_named(names)}"
        for position, one in enumerate(sent_list)
        if (names := _unknown_in_interaction(one))
    ]
    if len(found) > MAX_FIELD_WARNINGS:
        rest = len(found) - MAX_FIELD_WARNINGS
        found[MAX_FIELD_WARNINGS:] = [f"...and {rest} more interaction(s) with the same problem"]
    if names := _unknown(sent, bodies.Publish):
        found.append(f"publish request: ignored unrecognised field(s) {_named(names)}")
    empty = [
        str(position)
        for position, one in enumerate(publish.interaction_data_list)
        if not one.says_something()
    ]
    if empty:
        more = len(empty) - MAX_NAMED_POSITIONS
        found.append(
            f"skipped {len(empty)} empty interaction(s) that carried no content, at index(es) "
            + ", ".join(empty[:MAX_NAMED_POSITIONS])
            + (f", +{more} more" if more > 0 else "")
        )
    return found


def _unknown_in_interaction(sent: Json) -> list[str]:
    names = _unknown(sent, bodies.Interaction)
    for field, model in (
        ("tools_used", bodies.ToolUse),
        ("citations", bodies.Citation),
        ("retrieved_learnings", bodies.RetrievedLearning),
    ):
        for position, item in enumerate(sent.get(field, ())):
            names.extend(f"{field}[{position}].{name}" for name in _unknown(item, model))
    return sorted(names)


def _unknown(sent: Json, model: type[BaseModel]) -> list[str]:
    silent = frozenset[str]() if model is bodies.Publish else bodies.SILENT_UNKNOWN_FIELDS
    return sorted(name for name in sent if name not in model.model_fields and name not in silent)


def _named(names: list[str]) -> str:
    shown = [_printable(name) for name in names[:MAX_NAMED_FIELDS]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f", +{more} more" if more else "")


def _printable(name: str) -> str:
    cleaned = "".join(char if char.isprintable() else "?" for char in name)
    return cleaned if len(cleaned) <= MAX_FIELD_CHARS else f"{cleaned[:MAX_FIELD_CHARS]}..."
