"""Encodes what is sent, raising `NotSent` where that cannot be, and makes models of the data of an answer."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias, TypeVar, cast

from pydantic import ValidationError

from reflexio_mcp.rest.errors import NotSent, NotTheApi
from reflexio_mcp.rest.models import Read, Reply
from reflexio_mcp.rest.responses import Answer

__all__ = ["Choose", "encode", "iso_time", "parsed", "parsed_list", "text"]

Choose: TypeAlias = Callable[[list[Any]], list[Any]]
"""Picks the wanted items of a list from their JSON."""

ReadT = TypeVar("ReadT", bound=Read)
ReplyT = TypeVar("ReplyT", bound=Reply)

_json: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(body: dict[str, Any]) -> bytes:
    """Encode a JSON body."""
    try:
        return _json.encode(body).encode()
    except UnicodeEncodeError:
        raise NotSent(_HALF_A_CHARACTER) from None
    except (ValueError, TypeError, RecursionError):
        raise NotSent("the body holds something that JSON cannot say, such as NaN") from None


_HALF_A_CHARACTER: Final = "a text holds half of a surrogate pair, which is no character"


def text(value: str) -> str:
    """Return a text that can stand in a URL's query."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotSent(_HALF_A_CHARACTER) from None
    return value


def iso_time(epoch: int) -> str:
    """Return epoch seconds in ISO 8601 with an offset."""
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise NotSent("a time is out of range") from None


def parsed(model: type[ReplyT], answer: Answer) -> ReplyT:
    """Return an answer as a model. What the client itself knows replaces what the server says of it.

    Raises:
        NotTheApi: the data has another shape.
    """
    ours = {
        "correlation_id": answer.correlation_id,
        "server_time": answer.server_time,
        "repeated": answer.repeated,
        "already_stored": False,
    }
    return _validated(model, {**answer.data, **ours}, answer)


def parsed_list(model: type[ReadT], answer: Answer, name: str, choose: Choose | None = None) -> list[ReadT]:
    """Return the list under a key of an answer.

    Args:
        choose: picks the items that are wanted from their JSON; the others are not even checked.

    Raises:
        NotTheApi: it is no list, or an item has another shape.
    """
    items: object = answer.data[name]
    if not isinstance(items, list):
        raise _other_json(answer, name)
    wanted = cast("list[Any]", items)
    if choose is not None:
        wanted = choose(wanted)
    return [_validated(model, item, answer, at=name) for item in wanted]


def _validated(model: type[ReadT], data: object, answer: Answer, at: str = "") -> ReadT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    raise _other_json(
        answer, ".".join(str(part) for part in (at, *problem["loc"]) if part != "") or "the top"
    )


def _other_json(answer: Answer, place: str) -> NotTheApi:
    detail = f"{answer.url} answered with other JSON at {place}"
    return NotTheApi(detail, correlation_id=answer.correlation_id)
