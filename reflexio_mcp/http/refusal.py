from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

AGAIN: Final = {"retry-after": "5"}


class Refusal(HTTPException):
    """A refused request.

    Args:
        text: a sentence for the caller, without anything that was sent.
        error: the name of the error in OAuth.
    """

    def __init__(
        self,
        status: int,
        text: str,
        headers: Mapping[str, str] | None = None,
        *,
        error: str = "invalid_request",
    ) -> None:
        super().__init__(status, text, headers)
        self.error = error


async def answer_refusal(_request: Request, refused: Exception) -> JSONResponse:
    """Answer, and close the connection, because the request's body may be unread."""
    assert isinstance(refused, Refusal)
    headers = {"connection": "close", **(refused.headers or {})}
    body = {"error": refused.error, "error_description": refused.detail}
    return JSONResponse(body, refused.status_code, headers)
