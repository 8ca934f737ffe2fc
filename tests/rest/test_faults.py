"""What a person reads for everything a server, a proxy or a network can answer, and what it must not say.

Each reply is tried twice: as a transport's response, and as bytes on a socket.
"""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx
import pytest

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.rest.errors import (
    BadAddress,
    BodyTooLarge,
    ConnectionLost,
    Effect,
    InvalidBody,
    NotAuthorized,
    NotTheApi,
    OperationFailed,
    RateLimited,
    ReflexioError,
    Refused,
    ServerFault,
    TimedOut,
    Unreachable,
    explain,
)
from reflexio_mcp.rest.models import Interaction, RequestQuery
from tests.rest.helpers import KEY, PAYLOAD, TRACE, URL, FakeTime, body
from tests.support.wire import Reaction, Script, answering, free_port, response, serve

pytestmark = pytest.mark.anyio

ID = "abcd1234"
JSON = {"content-type": "application/json", "x-correlation-id": ID}
REFUSED_FIELD = {
    "detail": [
        {"loc": ["body", "source"], "msg": "String should match pattern '^[a-z]'", "input": PAYLOAD},
        {"loc": ["body", "interaction_data_list", 0, PAYLOAD], "msg": f"no: {PAYLOAD}", "input": PAYLOAD},
    ]
}


@dataclass(frozen=True)
class Fault:
    """A reply, the error it becomes, and what a publish that met it says; `{url}` is the route's URL."""

    name: str
    status: int
    content: bytes
    kind: type[ReflexioError]
    text: str
    said: str = ""
    effect: Effect = "none"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))

    def __str__(self) -> str:
        return self.name


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


UNKNOWN = "Whether it took effect is not known; "
LOOK = "look at what is stored before you repeat it."
ADDRESS = "check that REFLEXIO_URL is the API's address, without a page's path"
LATER = f"try again later, or look at the server's log, and {LOOK}"
KEY_HINT = "Nothing was changed; check REFLEXIO_API_KEY, and that it belongs to REFLEXIO_URL."

FAULTS = [
    Fault(
        "refused user agent",
        403,
        as_json({"detail": "Forbidden: Suspicious user agent"}),
        NotAuthorized,
        f"Reflexio refused access (403, it does not accept the User-Agent; correlation id {ID}). {KEY_HINT}",
    ),
    Fault(
        "refused key",
        401,
        as_json({"detail": f"bad key {KEY}"}),
        NotAuthorized,
        f"Reflexio refused access (401; correlation id {ID}). {KEY_HINT}",
    ),
    Fault(
        "refused fields",
        422,
        as_json(REFUSED_FIELD),
        InvalidBody,
        f"Reflexio does not accept the arguments (source, interaction_data_list.0; correlation id {ID}). "
        "Nothing was changed; correct them and try again.",
        said="source: String should match pattern '^[a-z]'",
    ),
    Fault(
        "other 422",
        422,
        as_json({"detail": PAYLOAD}),
        InvalidBody,
        f"Reflexio does not accept the arguments (422; correlation id {ID}). "
        "Nothing was changed; correct them and try again.",
    ),
    Fault(
        "bad request",
        400,
        as_json({"detail": PAYLOAD}),
        Refused,
        f"Reflexio refused the call (400; correlation id {ID}). "
        "Nothing was changed; correct the arguments and try again.",
    ),
    Fault(
        "rate limit without a header",
        429,
        as_json({"error": "Rate limit exceeded: 60 per 1 hour"}),
        RateLimited,
        # The client has waited for 30 of the 3600 seconds in vain, in steps of up to 4.
        "Reflexio's rate limit is reached (429; correlation id {id}). "
        "Nothing was changed; try again in {left} s.",
    ),
    Fault(
        "rate limit with a header",
        429,
        b"slow down",
        RateLimited,
        "Reflexio's rate limit is reached (429). Nothing was changed; try again in 120 s.",
        headers={"retry-after": "120"},
    ),
    Fault(
        "crash",
        500,
        b"Internal Server Error",
        ServerFault,
        f"Reflexio had an internal error (500). {UNKNOWN}{LATER}",
        effect="unknown",
        headers={"content-type": "text/plain"},
    ),
    Fault(
        "bad gateway",
        502,
        b"<html>nginx</html>",
        ServerFault,
        f"Reflexio had an internal error (502). {UNKNOWN}{LATER}",
        effect="unknown",
        headers={"content-type": "text/html"},
    ),
    Fault(
        "overload",
        503,
        as_json({"detail": {"reason": "admission_timeout", "request_id": "r-1", "message": TRACE}}),
        ServerFault,
        f"Reflexio had an internal error (503, admission_timeout; correlation id {ID}). {UNKNOWN}{LATER}",
        effect="unknown",
    ),
    Fault(
        "backstop",
        504,
        as_json({"detail": "Request timeout", "reason": "backstop_timeout", "correlation_id": ID}),
        ServerFault,
        f"Reflexio had an internal error (504, backstop_timeout; correlation id {ID}). {UNKNOWN}{LATER}",
        effect="unknown",
    ),
    Fault(
        "redirect",
        302,
        b"",
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered 302, a redirect to https://login.test). "
        f"Nothing was changed; {ADDRESS}.",
        headers={"location": f"https://user:pw@login.test/{KEY}?next={KEY}"},
    ),
    Fault(
        "no such route",
        404,
        as_json({"detail": "Not Found"}),
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered 404; correlation id {id}). "
        f"Nothing was changed; {ADDRESS}.",
    ),
    Fault(
        "page",
        200,
        f"<html>{KEY}</html>".encode(),
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered 200 without JSON). "
        f"{UNKNOWN}{ADDRESS}, and {LOOK}",
        effect="unknown",
        headers={"content-type": "text/html"},
    ),
    Fault(
        "JSON that stops in the middle",
        200,
        b'{"success": true, "sessions": [{"sess',
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered 200 without JSON; correlation id {id}). "
        f"{UNKNOWN}{ADDRESS}, and {LOOK}",
        effect="unknown",
    ),
    Fault(
        "JSON of something else",
        200,
        as_json({"hello": PAYLOAD}),
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered 200 with JSON that lacks success; "
        "correlation id {id}). "
        f"{UNKNOWN}{ADDRESS}, and {LOOK}",
        effect="unknown",
    ),
    Fault(
        "another success",
        200,
        as_json({"success": PAYLOAD, "sessions": []}),
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered 200 with another success than true; "
        "correlation id {id}). "
        f"{UNKNOWN}{ADDRESS}, and {LOOK}",
        effect="unknown",
    ),
    Fault(
        "JSON of another shape",
        200,
        as_json({"success": True, "sessions": PAYLOAD, "warnings": PAYLOAD}),
        NotTheApi,
        "What answered is not the Reflexio API ({url} answered with other JSON at warnings; "
        "correlation id {id}). "
        f"{UNKNOWN}{ADDRESS}, and {LOOK}",
        effect="unknown",
    ),
    Fault(
        "failed storage",
        200,
        as_json({"success": False, "message": f"StorageError: disk full\nStack trace:\n{TRACE}"}),
        OperationFailed,
        f"Reflexio reported that the operation failed (correlation id {ID}). "
        f"{UNKNOWN}try again, or look at the server's log, and {LOOK}",
        said="StorageError: disk full",
        effect="unknown",
    ),
    Fault(
        "failed storage with nothing to show",
        200,
        as_json({"success": False, "message": TRACE.replace("\n", " ")}),
        OperationFailed,
        f"Reflexio reported that the operation failed (correlation id {ID}). "
        f"{UNKNOWN}try again, or look at the server's log, and {LOOK}",
        effect="unknown",
    ),
    Fault(
        "failed storage that echoes",
        200,
        as_json({"success": False, "message": f"cannot store {PAYLOAD}"}),
        OperationFailed,
        f"Reflexio reported that the operation failed (correlation id {ID}). "
        f"{UNKNOWN}try again, or look at the server's log, and {LOOK}",
        effect="unknown",
    ),
    Fault(
        "failure that names the key",
        200,
        as_json({"success": False, "message": f"no tenant for {KEY}"}),
        OperationFailed,
        f"Reflexio reported that the operation failed (correlation id {ID}). "
        f"{UNKNOWN}try again, or look at the server's log, and {LOOK}",
        effect="unknown",
    ),
]

SECRETS = (KEY, PAYLOAD, "Traceback", "/srv", "canary", ".py")


def assert_safe(error: ReflexioError, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the error in any of its forms nor a log line holds a key, a payload or a trace."""
    logged = [record.getMessage() for record in caplog.records if not record.name.startswith("httpcore")]
    forms = [str(error), repr(error), str(vars(error)), explain(error), explain(error, "read"), *logged]
    for secret in SECRETS:
        assert not [text for text in forms if secret in text]
    everything = "\n".join(record.getMessage() for record in caplog.records)
    assert f"Bearer {KEY}" not in everything


@asynccontextmanager
async def in_process(fault: Fault, fake_time: FakeTime) -> AsyncIterator[ReflexioClient]:
    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(fault.status, content=fault.content, headers=fault.headers)

    transport = httpx.MockTransport(answer)
    async with ReflexioClient(
        URL,
        api_key=KEY,
        transport=transport,
        sleep=fake_time.sleep,
        clock=fake_time.clock,
        jitter=lambda: 0.0,
    ) as client:
        yield client


@asynccontextmanager
async def on_the_wire(fault: Fault, fake_time: FakeTime) -> AsyncIterator[ReflexioClient]:
    async with over_wire(answering(fault.status, fault.content, fault.headers), fake_time) as client:
        yield client


@asynccontextmanager
async def over_wire(
    script: Script, fake_time: FakeTime, timeout: float = 30.0
) -> AsyncIterator[ReflexioClient]:
    async with (
        serve(script) as server,
        ReflexioClient(
            server.url,
            api_key=KEY,
            timeout=timeout,
            sleep=fake_time.sleep,
            clock=fake_time.clock,
            jitter=lambda: 0.0,
        ) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("seam", [in_process, on_the_wire])
@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_publish_that_fails_says_what_happened_and_gives_nothing_away(
    fault: Fault, seam: Callable[..., AsyncIterator[ReflexioClient]], caplog: pytest.LogCaptureFixture
) -> None:
    fake_time = FakeTime()
    with anyio.fail_after(60):
        async with seam(fault, fake_time) as client:  # type: ignore[attr-defined]
            with pytest.raises(ReflexioError) as caught:
                await client.publish(body(), minted=True)
            route = f"{client.base_url}/api/publish_interaction"
    error = caught.value
    assert type(error) is fault.kind
    assert error.effect == fault.effect
    assert sum(fake_time.slept) <= 30
    left = round(3600 - sum(fake_time.slept))
    assert explain(error) == fault.text.format(url=route, id=ID, left=left)
    assert error.said == fault.said
    assert_safe(error, caplog)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_read_that_fails_becomes_the_same_kind_of_error(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with in_process(fault, FakeTime()) as client:
        with pytest.raises(fault.kind) as caught:
            await client.get_requests(RequestQuery(user_id=PAYLOAD))
    assert "changed" not in explain(caught.value, "read")
    assert caught.value.effect == "none", "a read changes nothing, however it fails"
    assert "Nothing was changed" in explain(caught.value)
    assert_safe(caught.value, caplog)


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.name != "JSON of another shape"], ids=str)
async def test_no_delete_takes_a_failure_for_success(fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    async with in_process(fault, FakeTime()) as client:
        deletes: list[Awaitable[object]] = [
            client.delete_request(PAYLOAD),
            client.delete_session(PAYLOAD),
            client.delete_requests_by_ids([PAYLOAD]),
            client.delete_profiles([PAYLOAD]),
        ]
        for delete in deletes:
            with pytest.raises(fault.kind) as caught:
                await delete
            # What answered may be a proxy, and the server behind it may have deleted.
            assert caught.value.effect == "unknown"
            assert_safe(caught.value, caplog)


async def test_a_closed_port_is_unreachable_and_nothing_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    fake_time = FakeTime()
    async with ReflexioClient(url, api_key=KEY, sleep=fake_time.sleep, clock=fake_time.clock) as client:
        with pytest.raises(Unreachable) as caught:
            await client.publish(body(), minted=True)
    assert explain(caught.value) == (
        f"Reflexio could not be reached ({url}: connection refused). "
        "Nothing was changed; check that the server runs and that REFLEXIO_URL is right, then try again."
    )
    assert len(fake_time.slept) == 3
    assert_safe(caught.value, caplog)


@pytest.mark.parametrize(
    ("name", "value"),
    [("HTTP_PROXY", "http://[::1"), ("ALL_PROXY", "nonsense://x"), ("HTTPS_PROXY", "http://x:port")],
)
async def test_a_proxy_that_is_none_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    async with ReflexioClient(URL, api_key=KEY) as client:
        with pytest.raises(BadAddress) as caught:
            await client.whoami()
    assert name in explain(caught.value)
    assert value not in explain(caught.value)


HALF = response(200, b'{"success": true, "sessions": []}')[:-12]
LOST = f"The connection to Reflexio broke before its answer was complete. {UNKNOWN}try again, and {LOOK}"


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction((HALF,), end="reset"),
        Reaction((HALF,), end="close"),
        Reaction(end="reset"),
        Reaction(end="close"),
        Reaction((b"this is not HTTP\r\n\r\n",), end="close"),
        Reaction((response(200, b"not gzip at all", {"content-encoding": "gzip"}),)),
    ],
    ids=["reset in a reply", "end in a reply", "reset", "end", "not HTTP", "garbled encoding"],
)
async def test_a_lost_reply_leaves_the_outcome_unknown(
    reaction: Reaction, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(60):
        async with over_wire(lambda _received: reaction, FakeTime()) as client:
            with pytest.raises(ConnectionLost) as caught:
                await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"
    assert explain(caught.value) == LOST
    assert_safe(caught.value, caplog)


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(end="hang"),
        Reaction((HALF,), end="hang"),
        Reaction(tuple(HALF[i : i + 1] for i in range(80)), 0.05),
    ],
    ids=["silence", "silence in a reply", "a byte now and then"],
)
async def test_a_slow_reply_ends_with_the_time_the_call_has(
    reaction: Reaction, caplog: pytest.LogCaptureFixture
) -> None:
    with anyio.fail_after(60):
        async with (
            serve(lambda _received: reaction) as server,
            ReflexioClient(server.url, api_key=KEY, timeout=1.0) as client,
        ):
            with pytest.raises(TimedOut) as caught:
                await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"
    assert explain(caught.value) == (
        f"Reflexio did not answer in time (within 1 s). {UNKNOWN}try again later, and {LOOK}"
    )
    assert_safe(caught.value, caplog)


async def test_health_answers_soon_even_when_the_server_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reflexio_mcp.rest.client.HEALTH_SECONDS", 0.1)
    with anyio.fail_after(20):
        async with (
            serve(lambda _received: Reaction(end="hang")) as server,
            ReflexioClient(server.url) as client,
        ):
            with pytest.raises(TimedOut):
                await client.health()


async def test_a_body_over_the_limit_is_not_sent_and_both_sizes_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serve(answering(200, b"{}")) as server, ReflexioClient(server.url, api_key=KEY) as client:
        large = body()
        large.interaction_data_list = [Interaction(image_encoding="A" * (11 * 2**20))]
        with pytest.raises(BodyTooLarge) as caught:
            await client.publish(large, minted=True)
    assert server.received == []
    assert explain(caught.value) == (
        "The request is too large for Reflexio (11.0 MiB as sent, the limit is 10 MiB). "
        "Nothing was changed; split it into several requests, or send images by URL."
    )
    assert_safe(caught.value, caplog)


async def test_a_backend_in_this_process_that_raises_is_a_server_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError(f"{TRACE} {KEY} {PAYLOAD}")

    async with ReflexioClient(URL, api_key=KEY, transport=httpx.MockTransport(answer)) as client:
        with pytest.raises(ServerFault) as caught:
            await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"
    assert_safe(caught.value, caplog)


async def test_one_log_line_a_try_names_the_call_and_the_servers_id(caplog: pytest.LogCaptureFixture) -> None:
    fault = next(f for f in FAULTS if f.name == "overload")
    async with in_process(fault, FakeTime()) as client:
        with pytest.raises(ServerFault):
            await client.delete_request("r-1")
    lines = [record for record in caplog.records if record.name == "reflexio_mcp.rest"]
    assert [line.levelname for line in lines] == ["DEBUG"] * 4
    assert lines[1].getMessage() == (
        f"DELETE /api/delete_request -> 503 in 0 ms (attempt 2, correlation id {ID})"
    )
