"""Everything that can go wrong between this process and the API, as one tree.

    ReflexioError
    ├── NotSent              refused here; nothing left this process
    │   ├── BadAddress       the URL or the User-Agent cannot work
    │   └── BodyTooLarge     over the 10 MiB the server takes
    ├── Unreachable          no connection was made; nothing can have changed
    ├── OutcomeUnknown       the request left, the answer did not come
    │   ├── TimedOut
    │   └── ConnectionLost   reset, or cut in the middle of a reply
    ├── NotTheApi            a redirect, or a 2xx that is not this API's JSON
    └── Refused              the server answered no
        ├── InvalidBody      422
        ├── NotAuthorized    401, 403
        ├── NotFound         404
        ├── AlreadyExists    a publish whose `request_id` is taken
        ├── RateLimited      429
        ├── OperationFailed  200 with `success: false`
        └── ServerFault      5xx
"""

from typing import ClassVar, Literal

Effect = Literal["none", "unknown"]
"""Whether the failed call may have changed anything on the server."""


class ReflexioError(Exception):
    """Base of the tree.

    `detail` is one line of text that is safe to show: no key, no payload, no server trace, no path.
    `effect` says whether the call may have changed anything. `correlation_id` is the server's, if it gave one.
    """

    effect: ClassVar[Effect] = "none"

    def __init__(self, detail: str = "", *, status: int | None = None, correlation_id: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.correlation_id = correlation_id
