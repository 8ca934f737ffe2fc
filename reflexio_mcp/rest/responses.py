"""Reads a reply of the server: its data, or an error of the tree whose text is safe to show."""

import functools
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import urlsplit

from reflexio_mcp.rest import api_limits, errors, models

JsonObject: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["read", "publish", "delete"]

LONGEST_LINE: Final = 200
"""Characters of a server's text that are shown; the rest is cut."""

_LONGEST_READ: Final = 10_000
"""Characters of a server's text that are looked at."""

_MOST_FIELDS: Final = 3
_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REASON: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN: Final = re.compile(r"request_id .* already exists", re.DOTALL)
_LIMIT: Final = re.compile(r"\bper (\d{1,4} )?(second|minute|hour|day)\b")
_KNOWN_REFUSALS: Final = frozenset({400, 413, 415})
_UNIT_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_INTERNAL: Final = re.compile(
    r"Traceback|Stack trace|File \"|\.py\b|[A-Za-z]:\\|(?:^|[\s'\"(=:])~?/[^\s/]+/|\w://"
)
"""Signs of a stack trace, a path or an address in a line of text."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API, ready to be sent any number of times.

    Args:
        route: path below the base URL, starting with `/`.
        kind: decides what is repeated: a 500 only for a `read`.
        content: the encoded JSON body.
        most_bytes: how long that may be.
        timeout: seconds the whole call may take, repeats and waits included.
        required: keys without which a 2xx is not this API's answer.
        by_id: a 404 means that the id is unknown, and not that the route is.
        repeat: whether a failure that may pass is tried again.
    """

    method: Literal["GET", "POST", "DELETE"]
    route: str
    kind: Kind
    timeout: float
    content: bytes | None = None
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    required: tuple[str, ...] = ()
    by_id: bool = False
    repeat: bool = True
    most_bytes: int = api_limits.MAX_BODY_BYTES


class HttpReply(NamedTuple):
    """A complete reply as it came.

    Args:
        headers: a mapping of names in any case, or of lower-case ones.
        content: the decoded body.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes | bytearray


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that is this API's JSON and does not say `success: false`."""

    url: str
    data: JsonObject
    correlation_id: str | None
    server_time: float | None
    repeated: bool = False
    """An earlier try of the same call may have taken effect, its answer was lost."""


def read_answer(call: Call, url: str, reply: HttpReply) -> Answer | errors.ReflexioError:
    """Return the answer that a reply is, or the error to raise when the call is not repeated.

    Args:
        url: what was called, without its query.
    """
    status, headers, content = reply
    data, correlation_id = _json_object(content), _correlation_id(headers)
    if not 200 <= status < 300:
        error = _refusal(call, url, status, headers, data)
    elif data is None:
        error = errors.NotTheApi(f"{url} answered {status} without JSON")
    elif data.get("success") is False:
        error = _failed_operation(call, data)
    elif missing := [name for name in call.required if data.get(name) is None]:
        error = errors.NotTheApi(f"{url} answered {status} with JSON that lacks {', '.join(missing)}")
    elif "success" in call.required and data["success"] is not True:
        error = errors.NotTheApi(f"{url} answered {status} with another success than true")
    else:
        return Answer(url, data, correlation_id, http_time(headers.get("date", "")))
    error.status, error.correlation_id = status, correlation_id
    if call.kind == "delete":
        # A proxy can answer for a server that goes on, whatever the status: only reading again tells.
        error.effect = "unknown"
    return error


def _refusal(
    call: Call, url: str, status: int, headers: Mapping[str, str], data: JsonObject | None
) -> errors.ReflexioError:
    if status < 400:
        return errors.NotTheApi(f"{url} answered {status}{_redirect_target(headers)}", effect="none")
    said = data.get("detail") if data else None
    if status == 422:
        fields, words = _invalid_fields(said)
        return errors.InvalidBody(fields, said=words)
    if status in {401, 403}:
        about_agent = isinstance(said, str) and "user agent" in said.lower()
        return errors.NotAuthorized(
            f"{status}, it does not accept the User-Agent" if about_agent else f"{status}"
        )
    if status == 404 and call.by_id and isinstance(said, str) and said != "Not Found":
        return errors.NotFound()
    if status in {404, 405}:
        return errors.NotTheApi(f"{url} answered {status}", effect="none")
    if status == 429:
        wait = retry_after(headers)
        if wait is None:
            wait = _implied_wait(data.get("error") if data else None)
        return errors.RateLimited("429", retry_after=wait)
    if status >= 500:
        reason = (
            cast("JsonObject", said).get("reason") if isinstance(said, dict) else (data or {}).get("reason")
        )
        known = isinstance(reason, str) and _REASON.fullmatch(reason)
        return errors.ServerFault(f"{status}, {reason}" if known else f"{status}")
    # No answer of this API: whoever gave it may not know what became of the call.
    return errors.Refused(f"{status}", effect="none" if status in _KNOWN_REFUSALS else "unknown")


def _failed_operation(call: Call, data: JsonObject) -> errors.AlreadyExists | errors.OperationFailed:
    message = data.get("message") or data.get("msg")
    text = message if isinstance(message, str) else ""
    if call.kind == "publish" and _TAKEN.fullmatch(text[:_LONGEST_READ].strip()):
        return errors.AlreadyExists()
    # The embedded store says when nothing was changed; elsewhere a failed operation may have stopped half-way.
    effect: errors.Effect | None = "none" if data.get("changed") is False else None
    return errors.OperationFailed(effect=effect, said=safe_line(text, call.content))


def safe_line(text: str, sent: bytes | None = None) -> str:
    """Return the first line of a server's text, or nothing when it shows internals or repeats what was sent.

    Args:
        sent: the JSON body of the call; its text values of six or more characters must not come back.
    """
    lines = text.strip()[:_LONGEST_READ].splitlines()
    line = "".join(character if character.isprintable() else " " for character in lines[0]) if lines else ""
    if len(line) == _LONGEST_READ:
        return ""  # no sentence, and what it echoes may lie further on
    if _INTERNAL.search(line) or any(value in line for value in _texts(sent)):
        return ""
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _texts(sent: bytes | None) -> Iterator[str]:
    pending: list[Any] = [_json_object(sent)] if sent else []
    while pending:
        value: Any = pending.pop()
        if isinstance(value, dict):
            pending.extend(cast("JsonObject", value).values())
        elif isinstance(value, list):
            pending.extend(cast("list[Any]", value))
        elif isinstance(value, str) and len(value.strip()) >= 6:
            yield value.strip()


def _invalid_fields(said: object) -> tuple[str, str]:
    """Name the fields of a 422, and what it says of them; the `input` beside them echoes the payload."""
    if not isinstance(said, list):
        return "422", ""
    problems = [cast("JsonObject", item) for item in cast("list[Any]", said) if isinstance(item, dict)]
    fields = [_field(problem.get("loc")) for problem in problems[:_MOST_FIELDS]]
    words = [_message(problem) for problem in problems[:_MOST_FIELDS]]
    told = "; ".join(f"{name}: {said}" for name, said in zip(fields, words, strict=True) if said)
    if len(problems) > _MOST_FIELDS:
        fields.append(f"{len(problems) - _MOST_FIELDS} more")
    return ", ".join(fields) or "422", told


def _field(location: object) -> str:
    parts = cast("list[Any]", location) if isinstance(location, list) else []
    named = [str(part) for part in parts if isinstance(part, int) or str(part) in _FIELD_NAMES]
    return ".".join(named)[:LONGEST_LINE] or "body"


def _message(problem: JsonObject) -> str:
    message, echoed = problem.get("msg"), problem.get("input")
    if not isinstance(message, str):
        return ""
    if isinstance(echoed, str) and len(echoed.strip()) >= 3 and echoed.strip() in message:
        return ""
    return safe_line(message.removeprefix("Value error, "), json.dumps({"input": echoed}).encode())


_FIELD_NAMES: Final = frozenset(
    name
    for model in (
        models.PublishBody,
        models.Interaction,
        models.ToolUse,
        models.Citation,
        models.RetrievedLearning,
        models.RequestQuery,
    )
    for name in model.model_fields
) | {"request_ids", "profile_ids", "user_playbook_ids", "limit"}
"""The names that this client sends: anything else in a location may be a key of the caller's own data."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a `Retry-After` header asks for, in either of its forms."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    until, now = http_time(text), http_time(headers.get("date", ""))
    if until is None:
        return None
    now = time.time() if now is None else now
    return max(0.0, until - now)


def _implied_wait(said: object) -> float | None:
    """Return the length in seconds of the window in a text such as `60 per 1 minute`."""
    found = _LIMIT.search(said) if isinstance(said, str) else None
    return float(int(found[1] or 1) * _UNIT_SECONDS[found[2]]) if found else None


@functools.lru_cache(maxsize=8)  # the answers of one second bear the same date
def http_time(text: str) -> float | None:
    """Return an HTTP date as epoch seconds, or `None` when it is none."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _correlation_id(headers: Mapping[str, str]) -> str | None:
    text = headers.get("x-correlation-id", "")
    return text if _CORRELATION_ID.fullmatch(text) else None


def _redirect_target(headers: Mapping[str, str]) -> str:
    """Name where a redirect leads by its origin alone: the rest may hold anything."""
    try:
        parts = urlsplit(headers.get("location", ""))
        host = parts.hostname or ""
    except ValueError:
        return ""
    return (
        f", a redirect to {parts.scheme}://{host}"
        if parts.scheme and re.fullmatch(r"[\w.-]{1,253}", host)
        else ""
    )


def _json_object(content: bytes | bytearray) -> JsonObject | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None
