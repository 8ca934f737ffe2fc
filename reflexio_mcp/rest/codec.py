"""Bodies between Python and the wire: encoding with its refusals, and models from an answer's data."""

import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from reflexio_mcp.rest.errors import NotSent, NotTheApi
from reflexio_mcp.rest.models import Read
from reflexio_mcp.rest.responses import Answer, Call

ReadT = TypeVar("ReadT", bound=Read)


_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode(body: dict[str, Any]) -> bytes:
    try:
        return _json.encode(body).encode()
    except UnicodeEncodeError:
        raise NotSent("a text holds half of a surrogate pair, which is no character") from None
    except (ValueError, TypeError, RecursionError):
        raise NotSent("the body holds something that JSON cannot say, such as NaN") from None


def iso_time(epoch: int) -> str:
    try:
        return datetime.fromtimestamp(epoch, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise NotSent("a time is out of range") from None


def parsed(model: type[ReadT], answer: Answer, call: Call, **set_here: object) -> ReadT:
    data = {**answer.data, "correlation_id": answer.correlation_id, **set_here}
    return validated(model, data, answer, call)


def validated(model: type[ReadT], data: object, answer: Answer, call: Call, at: str = "") -> ReadT:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in (at, *problem["loc"]) if part != "") or "the top"
    detail = f"{answer.url} answered with other JSON at {place}"
    effect = "none" if call.kind == "read" else None
    raise NotTheApi(detail, correlation_id=answer.correlation_id, effect=effect)
