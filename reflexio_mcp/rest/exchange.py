"""Sending a call, repeating it if that is safe, and reading the reply."""

import json
import logging
import re
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pydantic import ValidationError
from pydantic_core import from_json

from reflexio_mcp.rest import api_limits, errors, models

__all__ = [
    "EMBEDDED_STORE",
    "Call",
    "HttpReply",
    "correlation_ids",
    "in_thread_if",
    "may_succeed_later",
    "parsed_json",
]

JsonObject: TypeAlias = dict[str, Any]
Kind: TypeAlias = Literal["read", "publish", "delete"]
"""What a call does: nothing that lasts, store something, or delete or overwrite something."""

ReceivedT = TypeVar("ReceivedT", bound=models.Received)

T = TypeVar("T")

LONG_BYTES: Final = 32 * 1024
LONG_REQUESTS: Final = 20
"""Replies with more are read in a thread, so that the event loop answers others meanwhile."""

LONGEST_LINE: Final = 200
_LONGEST_READ: Final = 10_000
"""How many characters of a service's text are shown and looked at."""

_MOST_FIELDS: Final = 3
_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_WORD: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_UNKNOWN_ROUTE: Final = "Not Found"
"""What the service says of a route that it does not have."""
_TAKEN: Final = re.compile(r"request_id .* already exists", re.DOTALL)
_LIMIT: Final = re.compile(r"\bper (\d{1,4} )?(second|minute|hour|day)\b")
_UNIT_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_REFUSED_BEFORE_WORK: Final = frozenset({400, 413, 415})
"""Statuses by which nothing was done."""
_INTERNAL: Final = re.compile(
    r"Traceback|Stack trace|File \"|\.py\b|[A-Za-z]:\\|(?:^|[\s'\"(=:])~?/[^\s/]+/|\w://"
)

_collected_ids: ContextVar[list[str] | None] = ContextVar("reflexio_mcp_correlation_ids", default=None)


@contextmanager
def correlation_ids() -> Generator[list[str]]:
    """Collect the correlation ids of all replies inside this context and tasks started there."""
    ids: list[str] = []
    token = _collected_ids.set(ids)
    try:
        yield ids
    finally:
        _collected_ids.reset(token)


def collect_correlation_id(correlation_id: str | None) -> None:
    ids = _collected_ids.get()
    if ids is not None and correlation_id:
        ids.append(correlation_id)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API.

    Args:
        required: keys that every 2xx reply to this call has.
        by_id: a 404 means an unknown id, not an unknown route.
        repeat: the call is repeated after any failure after which that is safe (`_is_safe_to_repeat`); without it, only
            after a rate limit and, unless it is a publish, after a lost connection.
        look_first: the caller has to look again before each try, so the call is repeated here only if it was lost with
            a connection that had been idle. Other deletions are repeated while `Sender.holds` returns the same.
        most_body_bytes: a longer body is `BodyTooLarge`.
        most_reply_bytes: longest reply in bytes, if less than the client's limit; a longer one is `ReplyTooLarge`.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    route: str
    kind: Kind
    timeout: float
    content: bytes | None = None
    params: Mapping[str, str] = field(default_factory=dict[str, str])
    required: tuple[str, ...] = ()
    by_id: bool = False
    repeat: bool = True
    look_first: bool = False
    most_body_bytes: int = api_limits.MAX_BODY_BYTES
    most_reply_bytes: int | None = None


EMBEDDED_STORE: Final = "reflexio-mcp-embedded-store"
"""The header `server` of the store in this process."""


class HttpReply(NamedTuple):
    """A complete reply. `headers` ignores case, or has names in lower case.

    Args:
        content: JSON text, or the object that a store in this process would write as JSON.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes | JsonObject

    @property
    def size(self) -> int:
        """The bytes of a JSON text; 0 for an object."""
        return len(self.content) if isinstance(self.content, bytes) else 0

    @property
    def is_long(self) -> bool:
        """Whether reading it takes so long that the event loop must not do it."""
        if isinstance(self.content, bytes):
            return self.size > LONG_BYTES
        groups: list[JsonObject] = self.content.get("sessions", [])
        return sum(len(group["requests"]) for group in groups) > LONG_REQUESTS


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful reply in this API's JSON.

    Args:
        repeated: an earlier try may have taken effect.
        size: the bytes of the reply over HTTP.
        is_long: the event loop must not convert it.
    """

    url: str
    data: JsonObject
    correlation_id: str | None
    server_time: float | None
    repeated: bool = False
    size: int = 0
    is_long: bool = False

    def parsed(self, model: type[ReceivedT]) -> ReceivedT:
        """Return the answer as a model, or raise `NotTheApi` if it has another shape."""
        # The service may have fields of the same names.
        set_by_client = {
            "correlation_id": self.correlation_id,
            "server_time": self.server_time,
            "repeated": self.repeated,
            "already_stored": False,
            "size": self.size,
        }
        return self._validated(model, {**self.data, **set_by_client})

    def parsed_list(self, model: type[ReceivedT], name: str) -> list[ReceivedT]:
        items: object = self.data[name]
        if not isinstance(items, list):
            raise self._other_json(name)
        return [self._validated(model, item, name) for item in cast("list[Any]", items)]

    def _validated(self, model: type[ReceivedT], data: object, *at: str) -> ReceivedT:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            place = error.errors(include_url=False, include_context=False, include_input=False)[0]["loc"]
        raise self._other_json(".".join(map(str, (*at, *place))) or "the top")

    def _other_json(self, place: str) -> errors.NotTheApi:
        detail = f"{self.url} answered with other JSON at {place}"
        return errors.NotTheApi(detail, correlation_id=self.correlation_id)


def parsed_json(content: bytes) -> Any:
    """Read JSON as `json.loads` does, but a large text in a tenth of the time. Meanwhile, no other thread can run.

    Raises:
        ValueError, RecursionError: it is not JSON, or nested too deeply.
    """
    try:
        return from_json(content, cache_strings="keys")  # values can be secrets
    except ValueError:
        return json.loads(content)  # it also reads half of a surrogate pair, and deeper nesting


async def in_thread_if(is_long: bool, work: Callable[[], T]) -> T:
    """Do long work in a thread. Short work is faster without one."""
    return await anyio.to_thread.run_sync(work) if is_long else work()


def read_answer(call: Call, url: str, reply: HttpReply) -> Answer:
    status, headers, content = reply
    data = _json_object(content)
    correlation_id = headers.get("x-correlation-id", "")
    known_id = correlation_id if _CORRELATION_ID.fullmatch(correlation_id) else None
    if not 200 <= status < 300:
        error = _refusal(call, url, reply, data or {})
    elif data is None:
        error = errors.NotTheApi(f"{url} answered {status} without JSON")
    elif data.get("success") is False:
        error = _failed_operation(call, data)
    elif missing := [name for name in call.required if data.get(name) is None]:
        error = errors.NotTheApi(f"{url} answered {status} with JSON that lacks {', '.join(missing)}")
    else:
        time = _http_time(headers.get("date", ""))
        return Answer(url, data, known_id, time, size=reply.size, is_long=reply.is_long)
    error.status, error.correlation_id = status, known_id
    error.from_embedded_store = headers.get("server") == EMBEDDED_STORE
    asked = headers.get("retry-after", "").strip()
    error.wait = float(asked) if re.fullmatch(r"\d{1,9}", asked) else None
    if isinstance(error, errors.RateLimited) and error.wait is not None:
        error.retry_after = error.wait
    if call.kind == "delete":
        # A proxy can answer while the server is still deleting.
        error.effect = "unknown"
    raise error


def _refusal(call: Call, url: str, reply: HttpReply, data: JsonObject) -> errors.ReflexioError:
    status, said = reply.status, data.get("detail")
    if status < 400:
        target = _redirect_target(reply.headers.get("location", ""))
        return errors.NotTheApi(f"{url} answered {status}{target}", effect="none")
    if status == 422:
        return errors.InvalidBody(_invalid_fields(said) or "422")
    if status in {401, 403}:
        return errors.NotAuthorized(f"{status}")
    if status == 404 and call.by_id and isinstance(said, str) and said != _UNKNOWN_ROUTE:
        return errors.NotFound()
    if status in {404, 405}:
        return errors.NotTheApi(f"{url} answered {status}", effect="none")
    if status == 429:
        window = _LIMIT.search(str(data.get("error")))
        seconds = int(window[1] or 1) * _UNIT_SECONDS[window[2]] if window else None
        return errors.RateLimited("429", retry_after=seconds)
    if status >= 500:
        fields = cast("JsonObject", said) if isinstance(said, dict) else data
        reason = fields.get("reason")
        is_word = isinstance(reason, str) and _WORD.fullmatch(reason)
        return errors.ServerFault(f"{status}, {reason}" if is_word else f"{status}")
    # The refusal may come from a proxy, which does not know what became of the call.
    return errors.Refused(f"{status}", effect="none" if status in _REFUSED_BEFORE_WORK else "unknown")


def _failed_operation(call: Call, data: JsonObject) -> errors.ReflexioError:
    message = data.get("message") or data.get("msg")
    text = message if isinstance(message, str) else ""
    if call.kind == "publish" and _TAKEN.fullmatch(text[:_LONGEST_READ].strip()):
        return errors.AlreadyExists()
    effect: errors.Effect | None = "none" if data.get("changed") is False else None
    return errors.OperationFailed(effect=effect, said=safe_line(text, call.content))


def safe_line(text: str, sent: bytes | None = None) -> str:
    """Return the first line of a server's text; empty if it shows internals or repeats what was sent."""
    lines = text.strip()[:_LONGEST_READ].splitlines()
    line = "".join(character if character.isprintable() else " " for character in lines[0]) if lines else ""
    if len(line) == _LONGEST_READ or _INTERNAL.search(line):
        return ""
    if any(len(value) >= 6 and value in line for value in _texts(_json_object(sent or b""))):
        return ""
    return line if len(line) <= LONGEST_LINE else f"{line[: LONGEST_LINE - 1]}…"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, dict | list):
        inner = cast("JsonObject", value).values() if isinstance(value, dict) else cast("list[Any]", value)
        for item in inner:
            yield from _texts(item)


def _invalid_fields(said: object) -> str:
    """Return the field names in a 422. The rest of it repeats the payload."""
    items = cast("list[Any]", said) if isinstance(said, list) else []
    places = [cast("JsonObject", item).get("loc") for item in items if isinstance(item, dict)]
    named = [_field(place) for place in places[:_MOST_FIELDS]]
    return ", ".join(named if len(places) == len(named) else [*named, f"{len(places) - len(named)} more"])


def _field(location: object) -> str:
    parts = cast("list[Any]", location) if isinstance(location, list) else []
    # The API's names are words in lower case. Other keys are the caller's data.
    named = [str(part) for part in parts if isinstance(part, int) or _WORD.fullmatch(str(part))]
    return ".".join(name for name in named if name != "body") or "body"


def _http_time(text: str) -> float | None:
    try:
        moment: datetime = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _redirect_target(location: str) -> str:
    """Return the origin of a redirect; the rest may contain anything."""
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
    except ValueError:
        return ""
    known = parts.scheme and re.fullmatch(r"[\w.-]{1,253}", host)
    return f", a redirect to {parts.scheme}://{host}" if known else ""


def _json_object(content: bytes | JsonObject) -> JsonObject | None:
    if isinstance(content, dict):
        return content
    try:
        value = parsed_json(content)
    except (ValueError, RecursionError):
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


log = logging.getLogger("reflexio_mcp.rest")

MOST_TRIES: Final = 4
"""Maximum number of tries. A try that a rate limit refused does not count."""

_FIRST_BACKOFF: Final = 0.25
_LONGEST_BACKOFF: Final = 8.0
_SEEN_AFTER: Final = 2.0
"""Seconds after a try within which nobody can have seen and erased what it stored."""
_IDLE_LOSS: Final = 0.5
"""If the server has closed an idle connection, a call over it fails within this many seconds."""
_GATEWAY_FAULTS: Final = frozenset({502, 503, 504})


class Transport(Protocol):
    """One way to reach the service: HTTP, or a store in this process."""

    async def exchange(self, call: Call, seconds: float) -> HttpReply:
        """Send a call once. Raises `ReflexioError` if there is no reply."""
        ...

    async def aclose(self) -> None: ...


class Sender:
    """Sends calls and repeats them if that is safe.

    Args:
        api_key: never shown in an error, even if the service repeats it.
        jitter: a number from 0 to 1 that spreads the waits of several clients.
        holds: what nobody may delete at the moment. If it changes between two tries of a deletion, there is no further
            one: whoever makes the deletion has to look again whether a hold keeps what it names.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        transport: Transport,
        sleep: Callable[[float], Awaitable[object]],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        holds: Callable[[], object],
    ) -> None:
        self._base_url = base_url
        self._api_key = api_key
        self._transport = transport
        self._sleep = sleep
        self._clock = clock
        self._jitter = jitter
        self._holds = holds

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def send(self, call: Call) -> Answer:
        """Send a call until it is answered, refused for good, or out of time.

        Raises:
            ReflexioError: `effect` is "unknown" if any try may have changed something.
        """
        first = self._clock()
        deadline = first + call.timeout
        unknown = False
        attempt = faults = 0
        server_fault: errors.ServerFault | None = None
        deletes = call.kind == "delete"
        holds = self._holds() if deletes else ()
        while True:
            attempt += 1
            begun = self._clock()
            found = await self._try(call, deadline - begun)
            collect_correlation_id(found.correlation_id)
            log.debug(
                "%s %s -> %s in %.0f ms (attempt %d, correlation id %s)",
                call.method,
                call.route,
                type(found).__name__,
                (self._clock() - begun) * 1000,
                attempt,
                found.correlation_id or "-",
            )
            if isinstance(found, Answer):
                return replace(found, repeated=unknown)
            if not isinstance(found, errors.RateLimited):
                faults += 1
            # The try after a 500 often loses its connection or times out. The 500 says more.
            if isinstance(found, errors.ServerFault):
                server_fault = found
            # The server may close an idle connection before a try. So `repeat` limits no tries after a lost connection.
            tries = MOST_TRIES if call.repeat or isinstance(found, errors.ConnectionLost) else 1
            wait = self._backoff(attempt, found.wait)
            unknown = unknown or found.effect == "unknown"
            now = self._clock()
            safe = _is_safe_to_repeat(
                found, call, unknown=unknown, took=now - begun, since_first=now + wait - first
            )
            if safe and faults < tries and wait < deadline - now:
                await self._sleep(wait)
                # If the holds have changed meanwhile, the caller has to look again before anything is deleted.
                if not deletes or self._holds() == holds:
                    continue
            if server_fault and isinstance(found, errors.ConnectionLost | errors.TimedOut):
                found = server_fault
            if unknown:
                found.effect = "unknown"
            try:
                raise found
            finally:
                del found, server_fault  # the traceback would keep the caller's data

    def _backoff(self, attempt: int, asked: float | None) -> float:
        longest = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2.0 ** min(attempt, 10))
        drawn = longest * (0.5 + 0.5 * self._jitter())
        return drawn if asked is None else asked + drawn * 0.25

    async def _try(self, call: Call, seconds: float) -> Answer | errors.ReflexioError:
        try:
            with anyio.fail_after(seconds):
                reply = await self._transport.exchange(call, seconds)
            url = f"{self._base_url}{call.route}"
            return await in_thread_if(reply.is_long, lambda: read_answer(call, url, reply))
        except TimeoutError:
            return errors.TimedOut(f"within {call.timeout:g} s")
        except errors.ReflexioError as error:
            if self._api_key and self._api_key in error.said:
                error.said = ""
            # The traceback would keep the caller's data.
            error.__traceback__ = error.__context__ = None
            return error
        except Exception:  # noqa: BLE001 - whatever broke, the call may have arrived
            return errors.ServerFault("the connection failed in a way that is not known")


def may_succeed_later(error: errors.ReflexioError, kind: Kind) -> bool:
    """Return whether the same call may succeed a moment later."""
    if isinstance(error, errors.ServerFault):
        return error.status in _GATEWAY_FAULTS or (error.status == 500 and kind == "read")
    return isinstance(error, errors.RateLimited | errors.ConnectionLost | errors.Unreachable)


def _is_safe_to_repeat(
    error: errors.ReflexioError, call: Call, *, unknown: bool, took: float, since_first: float
) -> bool:
    """Return whether a further try does nothing that the first could not do.

    Args:
        unknown: this try or an earlier one may have taken effect.
        took: seconds of this try.
        since_first: seconds from the first try to the next.
    """
    if call.look_first or (unknown and call.kind == "delete"):
        # A further try would also delete what somebody has stored since, or overwrite it.
        return isinstance(error, errors.ConnectionLost) and took < _IDLE_LOSS
    if unknown and call.kind == "publish":
        # An earlier try may have stored it. If somebody has seen and erased that since, a further try would store it
        # again.
        may_be_erased = since_first > _SEEN_AFTER
        # Learnings are sent without `repeat`: a playbook has no id yet, so a further try would store a second one.
        may_be_stored_twice = not call.repeat
        if may_be_erased or may_be_stored_twice:
            return False
    return may_succeed_later(error, call.kind)
