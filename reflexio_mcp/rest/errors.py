"""Errors of calls to the API, as one tree.

ReflexioError
├── NotSent              refused in this process
│   ├── BadAddress       the URL, the key or a proxy cannot work
│   ├── BodyTooLarge     over the 10 MiB the server takes
│   └── Closed           the client was closed
├── Unreachable          no connection
├── OutcomeUnknown       sent, and no answer
│   ├── TimedOut
│   ├── ConnectionLost   reset, or cut in the middle of a reply
│   └── ReplyTooLarge    over the 64 MiB this client reads
├── NotTheApi            a redirect, no such route, or other JSON
└── Refused
    ├── InvalidBody      422
    ├── NotAuthorized    401, 403: the key
    ├── NotFound         404 for an id
    ├── AlreadyExists    a publish whose `request_id` is taken
    ├── RateLimited      429
    ├── OperationFailed  200 with `success: false`
    └── ServerFault      5xx
"""

from typing import Any, Literal

__all__ = [
    "Action",
    "AlreadyExists",
    "BadAddress",
    "BodyTooLarge",
    "Closed",
    "ConnectionLost",
    "InvalidBody",
    "NotAuthorized",
    "NotFound",
    "NotSent",
    "NotTheApi",
    "OperationFailed",
    "OutcomeUnknown",
    "RateLimited",
    "ReflexioError",
    "Refused",
    "ReplyTooLarge",
    "ServerFault",
    "TimedOut",
    "Unreachable",
    "explain",
    "what_happened",
    "what_to_do",
]

Effect = Literal["none", "unknown"]

Action = Literal["read", "write"]


class ReflexioError(Exception):
    """Base of the tree.

    Args:
        detail: one line that is safe to show: no key, no payload, no words of the service.
        effect: whether the call may have changed anything; `None` for the effect of the class.
        said: the service's own words in one line. They may come from anybody, so they are shown in a fence.
    """

    effect: Effect = "none"
    wait: float | None = None
    """Seconds from the `Retry-After` header."""
    happened: str = "the call to Reflexio failed"
    next_step: str = "try again"

    def __init__(
        self,
        detail: str = "",
        *,
        status: int | None = None,
        correlation_id: str | None = None,
        effect: Effect | None = None,
        said: str = "",
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.said = said
        self.status = status
        self.correlation_id = correlation_id
        if effect is not None:
            self.effect = effect


class NotSent(ReflexioError):
    happened = "the call was not sent"
    next_step = "correct the arguments and try again"


class BadAddress(NotSent):
    happened = "the connection to Reflexio is not set up right"
    next_step = "correct that setting (REFLEXIO_URL, REFLEXIO_API_KEY or a proxy) and start again"


class BodyTooLarge(NotSent):
    happened = "the request is too large for Reflexio"
    next_step = "split it into several requests, or send images by URL"


class Closed(NotSent):
    happened = "the connection to Reflexio is closed here"
    next_step = "try again, after a restart if need be"


class Unreachable(ReflexioError):
    happened = "Reflexio could not be reached"
    next_step = "check that the server runs and that REFLEXIO_URL is right, then try again"


class OutcomeUnknown(ReflexioError):
    effect = "unknown"
    happened = "Reflexio's answer did not arrive"
    next_step = "try again"


class TimedOut(OutcomeUnknown):
    happened = "Reflexio did not answer in time"
    next_step = "try again later"


class ConnectionLost(OutcomeUnknown):
    happened = "the connection to Reflexio broke before its answer was complete"
    next_step = "try again"


class ReplyTooLarge(OutcomeUnknown):
    happened = "Reflexio's answer is too large to read"
    next_step = "ask for less, with a narrower filter or a smaller limit"


class NotTheApi(ReflexioError):
    effect = "unknown"
    happened = "the answer is not from the Reflexio API"
    next_step = "check that REFLEXIO_URL is the API's address, without a page's path"


class Refused(ReflexioError):
    happened = "Reflexio refused the call"
    next_step = "correct the arguments and try again"


class InvalidBody(Refused):
    happened = "Reflexio does not accept the arguments"
    next_step = "correct them and try again"


class NotAuthorized(Refused):
    happened = "Reflexio refused access"
    next_step = "check REFLEXIO_API_KEY, and that it belongs to REFLEXIO_URL"


class NotFound(Refused):
    happened = "Reflexio does not know this id"
    next_step = "check the id, for example by listing the requests"


class AlreadyExists(Refused):
    happened = "this request_id is taken"
    next_step = "choose another request_id, or leave it out"


class RateLimited(Refused):
    """429 for longer than the call may wait. `retry_after` is in seconds."""

    happened = "Reflexio's rate limit is reached"
    next_step = "try again later"

    def __init__(self, detail: str = "", *, retry_after: float | None = None, **known: Any) -> None:
        super().__init__(detail, **known)
        self.retry_after = retry_after


class OperationFailed(Refused):
    """200 with `success: false`: the server's storage failed, perhaps half-way."""

    effect = "unknown"
    happened = "Reflexio reported that the operation failed"
    next_step = "try again, or look at the server's log"


class ServerFault(Refused):
    effect = "unknown"
    happened = "Reflexio had an internal error"
    next_step = "try again later, or look at the server's log"


def what_happened(error: ReflexioError) -> str:
    """Say what happened, with what is known of it, in a sentence."""
    known = [error.detail] if error.detail else []
    if error.correlation_id:
        known.append(f"correlation id {error.correlation_id}")
    return _sentence(f"{error.happened} ({'; '.join(known)})" if known else error.happened)


def what_to_do(error: ReflexioError) -> str:
    """Say what to do next, in a sentence."""
    return _sentence(_next_step(error))


def explain(error: ReflexioError, action: Action = "write") -> str:
    """Say in two sentences what happened, whether anything changed and what to do next."""
    if action == "read":
        second = what_to_do(error)
    elif error.effect == "none":
        second = f"Nothing was changed; {_next_step(error)}."
    else:
        unknown = "Whether the call took effect is not known"
        second = f"{unknown}; {_next_step(error)}, and look at what is stored before you repeat it."
    return f"{what_happened(error)} {second}"


def _next_step(error: ReflexioError) -> str:
    if isinstance(error, RateLimited) and error.retry_after is not None:
        return f"try again in {max(1, round(error.retry_after))} s"
    return error.next_step


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
