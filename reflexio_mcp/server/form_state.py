"""The state of an open form, which the client holds: sealed with keys that outlast the process.

The SDK binds it to the call, its arguments and its caller, and lets it expire after ten minutes. The answer counts only
for the question as it was asked, and the question names the set.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Final, cast

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware
from mcp.server.request_state import AESGCMRequestStateCodec
from mcp.shared.exceptions import MCPError

from reflexio_mcp.consent.policy import FORMS_DO_NOT_LAST
from reflexio_mcp.server.call_limiter import Ctx

__all__ = ["FormSealing", "telling_form_is_over"]

OVER: Final = (
    "Nothing was done: the form that this answers has expired, or was for another call, caller, configuration or "
    "process."
)
ASK_AGAIN: Final = (
    "Make the call again without requestState and inputResponses, and the person is asked again."
)


class FormSealing:
    """The SDK's sealing, whose keys are looked up with the first form: a start writes no file.

    Args:
        keys: returns the keys, the newest first.
    """

    def __init__(self, keys: Callable[[], list[bytes]]) -> None:
        self._keys = keys

    @cached_property
    def _codec(self) -> AESGCMRequestStateCodec:
        return AESGCMRequestStateCodec(self._keys())

    def seal(self, payload: bytes) -> str:
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        return self._codec.unseal(token)


def telling_form_is_over(lasting: Callable[[], bool]) -> ServerMiddleware[Any]:
    """What says what the SDK's refusal of a form's state means, and what to do.

    Args:
        lasting: returns whether the keys outlast the process.
    """

    async def tell(ctx: Ctx, call_next: CallNext) -> HandlerResult:
        return await _told(ctx, call_next, lasting)

    return tell


async def _told(ctx: Ctx, call_next: CallNext, lasting: Callable[[], bool]) -> HandlerResult:
    try:
        return await call_next(ctx)
    except MCPError as error:
        data: Any = error.error.data
        if isinstance(data, dict) and cast("dict[str, Any]", data).get("reason") == "invalid_request_state":
            # Where each call has a process of its own, a repeat would be refused like this one.
            error.error.message = f"{OVER} {ASK_AGAIN if lasting() else FORMS_DO_NOT_LAST}"
        raise
