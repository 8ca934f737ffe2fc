"""What everything that a server, a proxy or a network can answer becomes, and what an error must not say."""

import gzip
import json
import logging
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from reflexio_mcp.rest import api_limits
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
    ReplyTooLarge,
    ServerFault,
    TimedOut,
    Unreachable,
)
from reflexio_mcp.rest.models import RequestQuery
from tests.rest.helpers import KEY, PAYLOAD, TRACE, URL, FakeTime, body, client_over
from tests.support.facts import said_of
from tests.support.wire import Reaction, free_port, response, serve

pytestmark = pytest.mark.anyio

ID = "abcd1234"
JSON = {"content-type": "application/json", "x-correlation-id": ID}
ROUTE = f"{URL}/api/publish_interaction"


@dataclass(frozen=True)
class Fault:
    """A reply and the error that a publish makes of it."""

    name: str
    status: int
    content: bytes
    kind: type[ReflexioError]
    detail: str = ""
    said: str = ""
    effect: Effect = "none"
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))

    def __str__(self) -> str:
        return self.name


def fault(
    name: str,
    status: int,
    content: Any,
    kind: type[ReflexioError],
    detail: str = "",
    said: str = "",
    **headers: str,
) -> Fault:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    unsure = kind in {ServerFault, OperationFailed} or (kind is NotTheApi and status == 200)
    return Fault(name, status, raw, kind, detail, said, "unknown" if unsure else "none", {**JSON, **headers})


FIELDS = {
    "detail": [
        {"loc": ["body", "source"], "msg": f"no: {PAYLOAD}", "input": PAYLOAD},
        {"loc": ["body", "interaction_data_list", 0, PAYLOAD], "msg": PAYLOAD, "input": PAYLOAD},
    ]
}
OVERLOAD = {"detail": {"reason": "admission_timeout", "request_id": "r-1", "message": TRACE}}
BACKSTOP = {"detail": "Request timeout", "reason": "backstop_timeout"}
FAILED = {"success": False, "message": f"StorageError: disk full\nStack trace:\n{TRACE}"}
REDIRECT = f"https://user:pw@login.test/{KEY}?next={KEY}"

FAULTS = [
    fault("forbidden", 403, {"detail": f"not with {KEY}"}, NotAuthorized, "403"),
    fault("refused key", 401, {"detail": f"bad key {KEY}"}, NotAuthorized, "401"),
    fault("refused fields", 422, FIELDS, InvalidBody, "source, interaction_data_list.0"),
    fault("bad request", 400, {"detail": PAYLOAD}, Refused, "400"),
    fault("rate limit", 429, b"slow down", RateLimited, "429", **{"retry-after": "120"}),
    fault("crash", 500, b"Internal Server Error", ServerFault, "500"),
    fault("bad gateway", 502, b"<html>nginx</html>", ServerFault, "502"),
    fault("overload", 503, OVERLOAD, ServerFault, "503, admission_timeout"),
    fault("backstop", 504, BACKSTOP, ServerFault, "504, backstop_timeout"),
    fault("redirect", 302, b"", NotTheApi, f"{ROUTE} answered 302, a redirect to https://login.test",
          location=REDIRECT),
    fault("no such route", 404, {"detail": "Not Found"}, NotTheApi, f"{ROUTE} answered 404"),
    fault("page", 200, f"<html>{KEY}</html>".encode(), NotTheApi, f"{ROUTE} answered 200 without JSON"),
    fault("half of the JSON", 200, b'{"success": tr', NotTheApi, f"{ROUTE} answered 200 without JSON"),
    fault("JSON of something else", 200, {"hello": PAYLOAD}, NotTheApi,
          f"{ROUTE} answered 200 with JSON that lacks success"),
    fault("another success", 200, {"success": PAYLOAD, "sessions": []}, NotTheApi,
          f"{ROUTE} answered with other JSON at success"),
    fault("JSON of another shape", 200, {"success": True, "sessions": PAYLOAD, "warnings": PAYLOAD}, NotTheApi,
          f"{ROUTE} answered with other JSON at warnings"),
    fault("failed storage", 200, FAILED, OperationFailed, said="StorageError: disk full"),
    fault("failed storage with a trace alone", 200,
          {"success": False, "message": TRACE.replace("\n", " ")}, OperationFailed),
    fault("failed storage that echoes", 200,
          {"success": False, "message": f"cannot store {PAYLOAD}"}, OperationFailed),
    fault("failure that names the key", 200,
          {"success": False, "message": f"no tenant for {KEY}"}, OperationFailed),
]  # fmt: skip


def assert_safe(error: ReflexioError, caplog: pytest.LogCaptureFixture) -> None:
    logged = [record.getMessage() for record in caplog.records if record.name == "reflexio_mcp.rest"]
    assert logged
    for text in (repr(error), str(vars(error)), said_of(error), said_of(error, "read"), *logged):
        for secret in (KEY, PAYLOAD, "Traceback", "/srv", "canary", ".py"):
            assert secret not in text


def answering(one: Fault) -> ReflexioClient:
    return client_over(lambda _: httpx.Response(one.status, content=one.content, headers=one.headers))


@pytest.fixture(autouse=True)
def log_everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@pytest.mark.parametrize("one", FAULTS, ids=str)
async def test_a_publish_that_fails_says_what_happened_and_gives_nothing_away(
    one: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(one) as client:
        with pytest.raises(ReflexioError) as caught:
            await client.publish(body(), minted=True)
    error = caught.value
    assert (type(error), error.detail, error.said) == (one.kind, one.detail, one.said)
    assert error.effect == one.effect
    assert error.correlation_id == ID
    assert_safe(error, caplog)


@pytest.mark.parametrize("one", FAULTS, ids=str)
async def test_a_read_that_fails_changes_nothing_and_a_deletion_may_have_taken_effect(
    one: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with answering(one) as client:
        with pytest.raises(one.kind) as caught:
            await client.get_requests(RequestQuery(user_id=PAYLOAD))
        assert caught.value.effect == "none"
        assert_safe(caught.value, caplog)
        if one.name != "JSON of another shape":  # a deletion's reply has no such fields
            with pytest.raises(one.kind) as caught:
                await client.delete_requests_by_ids([PAYLOAD])
            assert caught.value.effect == "unknown"
            assert_safe(caught.value, caplog)


async def test_an_address_is_not_named_to_callers_who_have_no_business_with_it() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(302))
    async with ReflexioClient(URL, transport=transport, names_address=False) as client:
        with pytest.raises(NotTheApi) as caught:
            await client.whoami()
    assert "reflexio.test" not in said_of(caught.value)


async def test_a_closed_port_is_unreachable_and_nothing_has_changed() -> None:
    url, time = f"http://127.0.0.1:{free_port()}", FakeTime()
    async with ReflexioClient(url, sleep=time.sleep, clock=time.clock) as client:
        with pytest.raises(Unreachable) as caught:
            await client.publish(body(), minted=True)
    assert said_of(caught.value) == (
        f"Reflexio could not be reached (“{url}: connection refused”). Nothing was changed. "
        "Check that Reflexio runs and that REFLEXIO_URL is right, then try again."
    )


@pytest.mark.parametrize(("name", "value"), [("HTTP_PROXY", "http://[::1"), ("ALL_PROXY", "nonsense://x")])
async def test_a_proxy_that_cannot_be_used_is_a_wrong_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    async with ReflexioClient(URL) as client:
        with pytest.raises(BadAddress) as caught:
            await client.whoami()
    assert name in said_of(caught.value)
    assert value not in said_of(caught.value)


@pytest.mark.parametrize("end", ["reset", "close"])
async def test_a_reply_that_breaks_off_leaves_the_outcome_unknown(end: str) -> None:
    half, time = response(200, b'{"success": true}')[:-5], FakeTime()
    async with (
        serve(lambda _: Reaction((half,), end=end)) as server,
        ReflexioClient(server.url, sleep=time.sleep, clock=time.clock, jitter=lambda: 0) as client,
    ):
        with pytest.raises(ConnectionLost) as caught:
            await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"
    assert len(server.received) == 4


async def test_a_silent_server_ends_with_the_time_of_the_call() -> None:
    async with (
        serve(lambda _: Reaction(end="hang")) as server,
        ReflexioClient(server.url, timeout=0.1) as client,
    ):
        with pytest.raises(TimedOut) as caught:
            await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"


async def test_a_body_over_the_limit_is_not_sent_and_both_sizes_are_named() -> None:
    sent: list[httpx.Request] = []
    large = body()
    large.interaction_data_list *= 12
    large.interaction_data_list[0].content = "x" * 999_999
    async with client_over(sent.append) as client:
        with pytest.raises(BodyTooLarge, match=r"11\.4 MiB as sent, the limit is 10 MiB"):
            await client.publish(large, minted=True)
    assert sent == []


async def test_a_reply_is_read_up_to_a_limit_and_a_write_may_have_taken_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = json.dumps({"success": True, "sessions": [], "msg": "x" * 5000}).encode()
    monkeypatch.setattr(api_limits, "MAX_REPLY_BYTES", len(page))
    packed = {"content-encoding": "gzip"}

    def reply(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "gzip"
        larger = b" " * (request.url.path == "/api/publish_interaction")
        return httpx.Response(200, content=gzip.compress(page + larger), headers=packed)

    async with client_over(reply) as client:
        assert (await client.get_requests(RequestQuery())).sessions == []
        with pytest.raises(ReplyTooLarge) as caught:
            await client.publish(body(), minted=True)
    assert caught.value.effect == "unknown"


async def test_a_reply_in_an_encoding_that_was_not_asked_for_is_not_unpacked() -> None:
    twice = gzip.compress(gzip.compress(b"{}"))
    headers = {"content-encoding": "gzip, gzip"}
    async with client_over(lambda _: httpx.Response(200, content=twice, headers=headers)) as client:
        with pytest.raises(NotTheApi, match="encoding was not asked for"):
            await client.whoami()
