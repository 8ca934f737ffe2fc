"""Errors of calls to the API, as one tree.

ReflexioError
├── NotSent
│   ├── BadAddress
│   ├── BodyTooLarge
│   └── Closed
├── Unreachable
├── OutcomeUnknown
│   ├── TimedOut
│   ├── ConnectionLost
│   └── ReplyTooLarge
├── NotTheApi
└── Refused
    ├── InvalidBody
    ├── NotAuthorized
    ├── NotFound
    ├── AlreadyExists
    ├── RateLimited
    ├── OperationFailed
    └── ServerFault
"""

from typing import Any, Literal

__all__ = [
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
]

Effect = Literal["none", "unknown"]


class ReflexioError(Exception):
    """Base of the tree.

    Args:
        detail: one line that is safe to show: no key, no payload, no words of the service.
        effect: whether the call may have changed anything; `None` for the effect of the class.
        said: the service's own words in one line. They may come from anybody, so they are shown in a fence.
    """

    effect: Effect = "none"
    wait: float | None = None
    """Seconds from the `Retry-After` header, which space our own tries. `RateLimited.retry_after` is for the caller."""
    from_embedded_store: bool = False
    """Whether the embedded store answered. It has no server and no log of its own."""

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
    """Refused in this process."""


class BadAddress(NotSent):
    """The URL, the key or a proxy cannot work."""


class BodyTooLarge(NotSent):
    """Over the 10 MiB that the server takes."""


class Closed(NotSent):
    """The client was closed."""


class Unreachable(ReflexioError):
    """No connection.

    Args:
        bad_certificate: the server's TLS certificate could not be verified.
    """

    def __init__(self, detail: str = "", *, bad_certificate: bool = False, **known: Any) -> None:
        super().__init__(detail, **known)
        self.bad_certificate = bad_certificate


class OutcomeUnknown(ReflexioError):
    """Sent, and no answer."""

    effect = "unknown"


class TimedOut(OutcomeUnknown):
    """No answer in time."""


class ConnectionLost(OutcomeUnknown):
    """Reset, or cut in the middle of a reply."""


class ReplyTooLarge(OutcomeUnknown):
    """Over the 64 MiB that this client reads."""


class NotTheApi(ReflexioError):
    """A redirect, no such route, or other JSON."""

    effect = "unknown"


class Refused(ReflexioError):
    """The service refused or failed."""


class InvalidBody(Refused):
    """422."""


class NotAuthorized(Refused):
    """401 or 403: the key."""


class NotFound(Refused):
    """404 for an id."""


class AlreadyExists(Refused):
    """A publish whose `request_id` is taken."""


class RateLimited(Refused):
    """429 for longer than the call may wait.

    Args:
        retry_after: seconds for which the caller is told to wait, from the `Retry-After` header, or else from the limit
            that the service names.
    """

    def __init__(self, detail: str = "", *, retry_after: float | None = None, **known: Any) -> None:
        super().__init__(detail, **known)
        self.retry_after = retry_after


class OperationFailed(Refused):
    """200 with `success: false`: the server's storage failed, perhaps half-way."""

    effect = "unknown"


class ServerFault(Refused):
    """5xx."""

    effect = "unknown"
