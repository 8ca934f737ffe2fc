"""What the tests of the client share: a clock without waiting, a client over a function, and secrets to look for."""

from collections.abc import Callable
from typing import Any

import httpx

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.models import Interaction, PublishBody

KEY = "canary-key-0123456789"
PAYLOAD = "canary payload words"
TRACE = 'Traceback (most recent call last):\n  File "/srv/canary/reflexio/server/app.py", line 7, in run'
URL = "http://reflexio.test"

Handler = Callable[[httpx.Request], httpx.Response]


class FakeTime:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def client_over(
    handler: Any, *, fake_time: FakeTime | None = None, timeout: float = 30.0, api_key: str | None = KEY
) -> ReflexioClient:
    """Make a client whose server is a function (sync or async) from request to response."""
    fake_time = fake_time or FakeTime()
    return ReflexioClient(
        URL,
        api_key=api_key,
        timeout=timeout,
        transport=httpx.MockTransport(handler),
        sleep=fake_time.sleep,
        clock=fake_time.clock,
        jitter=lambda: 0.0,
    )


def body(request_id: str = "r-1", content: str = PAYLOAD, **fields: Any) -> PublishBody:
    """Make a small publish."""
    return PublishBody(
        user_id="u",
        session_id="s",
        request_id=request_id,
        interaction_data_list=[Interaction(content=content)],
        **fields,
    )
