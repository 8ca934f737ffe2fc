"""Everything that can go wrong between this process and the API, as one tree.

ReflexioError
├── NotSent              refused here; nothing left this process
│   ├── BadAddress       the URL, the key or a proxy cannot work
│   └── BodyTooLarge     over the 10 MiB the server takes
├── Unreachable          no connection was made; nothing can have changed
├── OutcomeUnknown       the request left, the answer did not come
│   ├── TimedOut
│   ├── ConnectionLost   reset, or cut in the middle of a reply
│   └── ReplyTooLarge    over the 64 MiB this client reads
├── NotTheApi            a redirect, no such route, or a 2xx that is not this API's JSON
└── Refused              the server answered no
    ├── InvalidBody      422
    ├── NotAuthorized    401, 403
    ├── NotFound         404 for an id
    ├── AlreadyExists    a publish whose `request_id` is taken
    ├── RateLimited      429
    ├── OperationFailed  200 with `success: false`
    └── ServerFault      5xx
"""

from typing import Final, Literal, NamedTuple

__all__ = [
    "Action",
    "AlreadyExists",
    "BadAddress",
    "BodyTooLarge",
    "ConnectionLost",
    "Effect",
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
]

Effect = Literal["none", "unknown"]
"""Whether the failed call may have changed anything on the server. A read never does."""

Action = Literal["read", "write"]
"""What the whole operation was for. After a failed read nobody asks what has changed."""


class ReflexioError(Exception):
    """Base of the tree.

    Each class says whether a write that fails in this way may have changed anything. The client sets `effect` where
    it knows better: a failed read changes nothing, and after a try whose answer was lost no refusal is certain.

    Args:
        detail: one line of text that is safe to show: no key, no payload, no words of the service.
        status: the HTTP status, when there was an answer.
        correlation_id: the server's id for the call, when it gave one.
        effect: whether the call may have changed anything, if not what the class says.
        said: the service's own words, one line of visible characters. They may be anybody's: a fence shows them.
    """

    effect: Effect = "none"

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
    """Refused here; nothing left this process."""


class BadAddress(NotSent):
    """The URL, the key or a proxy cannot work."""


class BodyTooLarge(NotSent):
    """The encoded body is larger than the server takes."""


class Unreachable(ReflexioError):
    """No connection was made; nothing can have changed."""


class OutcomeUnknown(ReflexioError):
    """The request left, the answer did not come."""

    effect: Effect = "unknown"


class TimedOut(OutcomeUnknown):
    """No answer within the time the call had."""


class ConnectionLost(OutcomeUnknown):
    """The connection was reset, or cut in the middle of a reply."""


class ReplyTooLarge(OutcomeUnknown):
    """The answer is larger than this client reads."""


class NotTheApi(ReflexioError):
    """A redirect, a route that does not exist, or a 2xx that is not this API's JSON."""

    effect: Effect = "unknown"


class Refused(ReflexioError):
    """The server answered no."""


class InvalidBody(Refused):
    """422: the server names fields that it does not accept."""


class NotAuthorized(Refused):
    """401 or 403: the key, or the User-Agent, is refused."""


class NotFound(Refused):
    """404 for an id."""


class AlreadyExists(Refused):
    """A publish whose `request_id` is taken."""


class RateLimited(Refused):
    """429 for longer than the call may wait.

    Args:
        retry_after: seconds until another try can succeed, when the server says or implies it.
    """

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: float | None = None,
        status: int | None = None,
        correlation_id: str | None = None,
        effect: Effect | None = None,
    ) -> None:
        super().__init__(detail, status=status, correlation_id=correlation_id, effect=effect)
        self.retry_after = retry_after


class OperationFailed(Refused):
    """200 with `success: false`: the server's storage failed, possibly half-way."""

    effect: Effect = "unknown"


class ServerFault(Refused):
    """5xx."""

    effect: Effect = "unknown"


class _Sentence(NamedTuple):
    happened: str
    next_step: str


_SENTENCES: Final[dict[type[ReflexioError], _Sentence]] = {
    ReflexioError: _Sentence("the call to Reflexio failed", "try again"),
    NotSent: _Sentence("the call was not sent", "correct the arguments and try again"),
    BadAddress: _Sentence(
        "the connection to Reflexio is not set up right",
        "correct that setting (REFLEXIO_URL, REFLEXIO_API_KEY or a proxy) and start again",
    ),
    BodyTooLarge: _Sentence(
        "the request is too large for Reflexio", "split it into several requests, or send images by URL"
    ),
    Unreachable: _Sentence(
        "Reflexio could not be reached",
        "check that the server runs and that REFLEXIO_URL is right, then try again",
    ),
    OutcomeUnknown: _Sentence("Reflexio's answer did not arrive", "try again"),
    TimedOut: _Sentence("Reflexio did not answer in time", "try again later"),
    ConnectionLost: _Sentence("the connection to Reflexio broke before its answer was complete", "try again"),
    ReplyTooLarge: _Sentence(
        "Reflexio's answer is too large to read", "ask for less, with a narrower filter or a smaller limit"
    ),
    NotTheApi: _Sentence(
        "what answered is not the Reflexio API",
        "check that REFLEXIO_URL is the API's address, without a page's path",
    ),
    Refused: _Sentence("Reflexio refused the call", "correct the arguments and try again"),
    InvalidBody: _Sentence("Reflexio does not accept the arguments", "correct them and try again"),
    NotAuthorized: _Sentence(
        "Reflexio refused access", "check REFLEXIO_API_KEY, and that it belongs to REFLEXIO_URL"
    ),
    NotFound: _Sentence(
        "Reflexio does not know this id", "check the id, for example by listing the requests"
    ),
    AlreadyExists: _Sentence(
        "a request with this request_id is already stored",
        "if it is the one you meant to store, all is done; else choose another request_id, or leave it out",
    ),
    RateLimited: _Sentence("Reflexio's rate limit is reached", "try again later"),
    OperationFailed: _Sentence(
        "Reflexio reported that the operation failed", "try again, or look at the server's log"
    ),
    ServerFault: _Sentence("Reflexio had an internal error", "try again later, or look at the server's log"),
}
"""What each class of error says. A test checks that no class is missing."""

_LOOK_FIRST: Final = "look at what is stored before you repeat it"


def explain(error: ReflexioError, action: Action = "write") -> str:
    """Say in one or two sentences what happened, whether anything changed and what to do next.

    Args:
        error: any error of the tree.
        action: what the whole operation was for; after a failed read there is nothing to say about changes.
    """
    happened, next_step = next(_SENTENCES[kind] for kind in type(error).__mro__ if kind in _SENTENCES)
    if isinstance(error, RateLimited) and error.retry_after is not None:
        next_step = f"try again in {max(1, round(error.retry_after))} s"
    known = [error.detail] if error.detail else []
    if error.correlation_id:
        known.append(f"correlation id {error.correlation_id}")
    first = f"{happened} ({'; '.join(known)})" if known else happened
    if action == "read":
        second = next_step
    elif error.effect == "none":
        second = f"Nothing was changed; {next_step}"
    else:
        second = f"Whether it took effect is not known; {next_step}, and {_LOOK_FIRST}"
    return f"{first[0].upper()}{first[1:]}. {second[0].upper()}{second[1:]}."
