"""The body of an HTTP request: read whole, within a size and a time."""

from collections import deque

import anyio
from starlette.types import Message, Receive, Scope

from reflexio_mcp.http.refusal import Refusal

__all__ = ["read_body"]


async def read_body(scope: Scope, receive: Receive, *, most: int, seconds: float) -> Receive:
    """Read the whole body before anything else waits for it.

    Args:
        most: bytes that are taken.
        seconds: how long it may take to arrive.

    Returns:
        A `receive` that gives the body at once, and then what the connection gives.

    Raises:
        Refusal: too large, or too slow.
    """
    too_large = Refusal(413, "body_too_large", f"The body is larger than {most // 2**20} MiB.")
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if declared.isdigit() and int(declared) > most:
        raise too_large
    body = bytearray()
    messages: deque[Message] = deque()
    with anyio.move_on_after(seconds) as limit:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                messages.append(message)
                break
            body += message.get("body", b"")
            if len(body) > most:
                raise too_large
            if not message.get("more_body", False):
                messages.append({"type": "http.request", "body": bytes(body), "more_body": False})
                break
    if limit.cancelled_caught:
        raise Refusal(408, "slow_body", "The body did not arrive in time; nothing was done.")

    async def replay() -> Message:
        return messages.popleft() if messages else await receive()

    return replay
