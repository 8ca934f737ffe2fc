"""Callers without a token, foreign web pages and bodies out of bounds are refused, with a line that repeats nothing."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from reflexio_mcp.http import bodies
from reflexio_mcp.http import serving as serving_module
from reflexio_mcp.http.access import Tokens, bearer_tokens
from reflexio_mcp.http.app import HttpApp
from reflexio_mcp.settings import ConfigurationError, Settings
from tests.doctor.servers import api
from tests.support.serving import (
    AUTHORIZED,
    BOTH,
    TOKEN,
    Served,
    events,
    interactions,
    legacy_initialize,
    message_of,
    modern_call,
    post,
    serving,
)

pytestmark = pytest.mark.anyio

PATHS = ["/mcp", "/sse", "/messages/?session_id=00000000000000000000000000000000"]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(Settings()) as served:
        yield served


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=60) as client:
        yield client


async def send(served: Served, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    given, _ = modern_call("list_requests", {})
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(f"{served.url}/mcp", headers=given | AUTHORIZED | headers, content=content)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer wrong", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer"],
)
async def test_no_token_or_a_wrong_one_is_refused_everywhere(
    served: Served, http: httpx.AsyncClient, authorization: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in PATHS:
        method = "GET" if path == "/sse" else "POST"
        headers = {"authorization": authorization} if authorization else {}
        reply = await http.request(method, f"{served.url}{path}", headers=headers)
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"].startswith("Bearer")
        wrong = authorization.startswith("Bearer ")
        assert ("does not know this token" in reply.json()["error_description"]) == wrong
    assert [one["status"] for one in events(caplog, "refused")] == [401] * 3
    ours = [one.getMessage() for one in caplog.records if one.name.startswith(("reflexio_mcp", "mcp"))]
    assert TOKEN[:-1] not in str(ours)


@pytest.mark.parametrize("path", [*PATHS, "/health", "/ready", "/.well-known/oauth-protected-resource"])
@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""])
async def test_a_foreign_host_is_refused_on_every_path(
    served: Served, http: httpx.AsyncClient, path: str, host: str
) -> None:
    reply = await http.get(f"{served.url}{path}", headers=AUTHORIZED | {"host": host})
    assert reply.status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8479@evil.example", "localhost:80.evil.example", "localhost:x"])
async def test_a_host_that_only_begins_like_ours_is_refused(served: Served, host: str) -> None:
    assert (await send(served, b"{}", host=host)).status_code == 421


@pytest.mark.parametrize("origin", ["http://localhost:80.evil.example", "http://127.0.0.1:1@evil.example"])
async def test_an_origin_that_only_begins_like_ours_is_refused(served: Served, origin: str) -> None:
    assert (await send(served, b"{}", origin=origin)).status_code == 403


AMBIGUOUS: dict[str, tuple[str, str]] = {
    "two tokens": ("/mcp", f"authorization: Bearer {TOKEN}\r\nauthorization: Bearer other\r\n"),
    "a token in the address too": (f"/mcp?access_token={TOKEN}", f"authorization: Bearer {TOKEN}\r\n"),
    "two sessions": ("/mcp", f"authorization: Bearer {TOKEN}\r\nmcp-session-id: a\r\nmcp-session-id: b\r\n"),
    "two lengths": ("/mcp", f"authorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n"),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
async def test_a_request_that_can_be_read_in_two_ways_is_refused_and_its_connection_closed(
    served: Served, case: str
) -> None:
    path, fields = AMBIGUOUS[case]
    common = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 5\r\n"
    head = f"POST {path} HTTP/1.1\r\n{common}{fields}\r\n"
    async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        await stream.send(f"{head}0\r\n\r\nGET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        answer = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError), anyio.fail_after(10):
            while True:
                answer += await stream.receive()
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://"]
)
async def test_a_foreign_web_page_is_refused(served: Served, http: httpx.AsyncClient, origin: str) -> None:
    for path in PATHS:
        reply = await http.get(f"{served.url}{path}", headers=AUTHORIZED | {"origin": origin})
        assert reply.status_code == 403
        assert "access-control-allow-origin" not in reply.headers


async def test_the_page_of_an_allowed_origin_can_read_answers_and_refusals(http: httpx.AsyncClient) -> None:
    settings = Settings(allowed_origins=("https://app.example",), allowed_hosts=("mcp.example",))
    page = {"origin": "https://app.example", "host": "mcp.example:8443"}
    async with serving(settings) as served:
        asked = page | {"access-control-request-method": "POST"}
        preflight = await http.options(f"{served.url}/mcp", headers=asked)
        assert preflight.is_success
        headers, body = legacy_initialize()
        for token, status in ((AUTHORIZED, 200), ({}, 401)):
            reply = await http.post(f"{served.url}/mcp", headers=headers | page | token, json=body)
            assert reply.status_code == status
            assert reply.headers["access-control-allow-origin"] == "https://app.example"
            assert "mcp-session-id" in reply.headers["access-control-expose-headers"]


@pytest.mark.ci
async def test_only_a_publish_may_be_larger_than_a_mebibyte(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    large = {"user_id": "u", "session_id": "s", "interactions": interactions(*["x" * 900_000] * 2)}
    assert not message_of(await post(served, "publish_interaction", large))["result"].get("isError")
    for tool, arguments in (
        ("list_requests", {"contains": "x" * bodies.MOST_BYTES}),
        ("list_requests", {"contains": "publish_interaction" + "x" * bodies.MOST_BYTES}),
        ("publish_interaction", {"user_id": "x" * bodies.PUBLISH_BYTES}),
    ):
        with suppress(httpx.TransportError):  # the answer came while the client was still sending
            await post(served, tool, arguments)
    assert [one["status"] for one in events(caplog, "refused")] == [413] * 3


async def test_a_request_that_opens_a_session_is_small(served: Served, http: httpx.AsyncClient) -> None:
    headers, body = legacy_initialize()
    body["params"]["capabilities"] = {"experimental": {"x": {"y": "z" * bodies.OPENING_BYTES}}}
    reply = await http.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
    assert reply.status_code == 413


async def test_a_body_without_a_declared_length_is_cut_at_the_limit(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 2**16

    with suppress(httpx.TransportError):
        await send(served, endless())
    assert [one["status"] for one in events(caplog, "refused")] == [413]


@pytest.mark.parametrize(
    "filling",
    ['{"k%d":1}', "[%d]", '"%d"'],
    ids=["keys", "lists", "texts"],
)
async def test_a_body_with_very_many_values_is_refused_before_it_is_parsed(
    served: Served, filling: str
) -> None:
    values = ",".join(filling % number for number in range(bodies.MOST_VALUES))
    content = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"x":[{values}]}}}}'
    assert len(content) < bodies.MOST_BYTES
    assert (await send(served, content.encode())).status_code == 413


@pytest.mark.parametrize(
    "content",
    [b"[" * 1000, b'{"jsonrpc":"2.0","id":1,"method":"x', b"", b"\xff\xfe{}"],
    ids=["deep", "broken off", "empty", "no text"],
)
async def test_a_body_that_is_no_message_is_refused_and_the_server_goes_on(
    served: Served, content: bytes
) -> None:
    assert (await send(served, content)).status_code == 400
    assert (await post(served, "get_status")).status_code == 200


async def test_many_texts_with_punctuation_are_one_value_each(served: Served) -> None:
    text = '{"a": [1, 2, 3], "b": "c"}, ' * 20_000
    stored = {"user_id": "u", "session_id": "s", "interactions": interactions(text)}
    assert not message_of(await post(served, "publish_interaction", stored))["result"].get("isError")


async def test_a_half_sent_body_is_given_up_after_its_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        await stream.send(half_a_request())
        with anyio.fail_after(60):
            assert b" 408 " in await stream.receive()


async def test_one_callers_unfinished_bodies_have_a_share(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "SHARE_BYTES", 150_000)
    begun = b'{"x":"' + b"y" * 100_000
    async with await anyio.connect_tcp("127.0.0.1", served.port) as first:
        await first.send(half_a_request(200_000) + begun)
        assert served.app
        with anyio.fail_after(60):
            while served.app._bodies._held.total() < len(begun):  # noqa: ASYNC110 - nothing tells
                await anyio.sleep(0.01)
        assert (await send(served, begun)).status_code == 503
    assert (await post(served, "get_status")).status_code == 200


def half_a_request(length: int = 100) -> bytes:
    headers, _ = modern_call("list_requests", {})
    fields = "".join(f"{name}: {value}\r\n" for name, value in (headers | AUTHORIZED).items())
    return f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: {length}\r\n\r\n".encode()


async def test_a_body_in_tiny_chunks_ends_its_connection(served: Served) -> None:
    head = half_a_request().partition(b"content-length")[0] + b"transfer-encoding: chunked\r\n\r\n"
    for size, chunks in ((1, 20_000), (4_096, 200)):
        chunk = b"%x\r\n%b\r\n" % (size, b" " * size)
        async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
            with suppress(anyio.BrokenResourceError):
                await stream.send(head + chunk * chunks + b"0\r\n\r\n")
            if size == 1:
                with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                    await stream.receive()
            else:
                assert b" 400 " in await stream.receive()


@pytest.mark.parametrize("chunks_at_once", [600, 20])
async def test_tiny_chunks_of_a_body_are_read_slowly_however_they_arrive(
    served: Served, chunks_at_once: int
) -> None:
    head = half_a_request().partition(b"content-length")[0] + b"transfer-encoding: chunked\r\n\r\n"
    async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        await stream.send(head)
        began = anyio.current_time()
        for _ in range(600 // chunks_at_once):
            await stream.send(b"1\r\nx\r\n" * chunks_at_once)
            await anyio.sleep(0.001)
        await stream.send(b"0\r\n\r\n")
        with anyio.fail_after(10):
            assert b" 400 " in await stream.receive()
        rests = 1_200 // serving_module.LINES_AT_ONCE
        assert anyio.current_time() - began >= rests * serving_module.REST_SECONDS


async def test_many_requests_on_one_connection_are_not_slowed_down(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "REST_SECONDS", 60.0)
    request = b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + b"x-more: y\r\n" * 20 + b"\r\n"
    async with await anyio.connect_tcp("127.0.0.1", served.port) as stream:
        with anyio.fail_after(10):
            for _ in range(30):
                await stream.send(request)
                said = b""
                while not said.endswith(b"\r\n\r\nok"):
                    said += await stream.receive()


async def test_streams_are_opened_by_get_alone(served: Served, http: httpx.AsyncClient) -> None:
    for method, path in (
        ("HEAD", "/sse"),
        ("POST", "/sse"),
        ("GET", "/messages/"),
        ("HEAD", "/mcp"),
        ("POST", "/health"),
    ):
        assert (await http.request(method, f"{served.url}{path}", headers=AUTHORIZED)).status_code == 405


async def test_without_sessions_no_stream_is_opened_that_stays_silent(http: httpx.AsyncClient) -> None:
    async with serving(Settings(sessions="none")) as served:
        headers = AUTHORIZED | {"accept": BOTH}
        assert (await http.get(f"{served.url}/mcp", headers=headers)).status_code == 405


async def test_no_log_repeats_what_was_sent(
    served: Served, http: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "canary0000000000000000000000000000"
    headers, body = legacy_initialize()
    for status, path, changed in (
        (406, "/mcp", {"accept": f"text/{canary}"}),
        (400, "/mcp", {"content-type": f"text/{canary}"}),
        (404, "/mcp", {"mcp-session-id": canary}),
        (400, f"/messages/?session_id={canary}", {}),
        (421, "/mcp", {"host": canary}),
        (404, f"/{canary}", {}),
    ):
        reply = await http.post(f"{served.url}{path}", headers=headers | AUTHORIZED | changed, json=body)
        assert reply.status_code == status, path
    await post(served, canary, {"user_id": canary})
    ours = [one.getMessage() for one in caplog.records if one.name.startswith("reflexio_mcp")]
    assert canary not in str(ours)
    assert len(events(caplog, "refused")) == 6
    assert events(caplog, "call")[0]["tool"] == "unknown"


async def test_what_breaks_inside_is_answered_and_logged_by_its_kind_alone(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_given: object) -> None:
        raise ValueError("canary")

    assert served.app
    monkeypatch.setattr(served.app._bodies, "read", broken)
    assert (await post(served, "get_status")).status_code == 500
    assert "canary" not in caplog.text


@pytest.mark.parametrize("path", ["/register", "/authorize", "/.well-known/oauth-authorization-server"])
async def test_a_client_that_tries_to_sign_in_is_told_where_the_token_is(
    served: Served, http: httpx.AsyncClient, path: str
) -> None:
    reply = await http.get(f"{served.url}{path}")
    assert reply.status_code == 404
    assert "Authorization: Bearer TOKEN" in reply.json()["error_description"]


async def test_without_tokens_everybody_is_answered() -> None:
    async with (
        serving(Settings(unsafe_no_auth=True), tokens=()) as served,
        httpx.AsyncClient(timeout=60) as http,
    ):
        headers, body = modern_call("get_status", {})
        assert (await http.post(f"{served.url}/mcp", headers=headers, json=body)).status_code == 200
        assert "asks for a token" in (await http.get(f"{served.url}/register")).text


async def test_readiness_follows_the_backend(http: httpx.AsyncClient) -> None:
    async with serving(Settings()) as served:
        assert (await http.get(f"{served.url}/ready")).text == "ready"
    async with serving(Settings(url="http://127.0.0.1:9", timeout=1.0)) as served:
        reply = await http.get(f"{served.url}/ready")
        assert (reply.status_code, reply.text) == (503, "not ready")
        assert (await http.get(f"{served.url}/health")).status_code == 200


@pytest.mark.parametrize(("status", "ready"), [(429, True), (503, False)])
async def test_a_replica_is_ready_while_reflexio_answers_that_its_rate_limit_is_reached(
    http: httpx.AsyncClient, status: int, ready: bool
) -> None:
    with api(everywhere=(status, {"detail": "slow down"}), headers={"retry-after": "120"}) as url:
        async with serving(Settings(url=url)) as served:
            assert (await http.get(f"{served.url}/ready")).is_success is ready


STOPPED: dict[str, dict[str, Any]] = {
    "a public address without hosts": {"host": "0.0.0.0"},
    "every host": {"allowed_hosts": ("*",)},
    "every subdomain": {"allowed_hosts": ("*.example",)},
    "a URL as host": {"allowed_hosts": ("https://mcp.example",)},
    "every origin": {"allowed_origins": ("https://*",)},
    "a host as origin": {"allowed_origins": ("app.example",)},
    "an audience without an issuer": {"oauth_audience": "https://memory.example/mcp"},
}


@pytest.mark.parametrize("case", STOPPED)
def test_a_configuration_that_would_leave_the_server_open_stops_the_start(case: str) -> None:
    with pytest.raises(ConfigurationError):
        HttpApp(Settings(store=":memory:", **STOPPED[case]), Tokens([TOKEN]))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(unsafe_no_auth=True, auth_token=("t",)),
        Settings(user_id="ada", auth_token=("bob:t",)),
        Settings(auth_token=("ada:t", "bob:t")),
        Settings(auth_token=("ada:",)),
        Settings(auth_token=("ada:t;bob:u",)),
        Settings(auth_token=(":t",)),
    ],
)
def test_tokens_that_contradict_each_other_stop_the_start(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        bearer_tokens(settings)


def test_a_message_of_the_wire_stays_below_the_bound_on_values() -> None:
    ids = {"request_ids": [f"r{number}" for number in range(10_000)]}
    given = {"interactions": interactions(*["x"] * 1000)}
    for arguments in (ids, given):
        _, body = modern_call("x", arguments)
        content = json.dumps(body).encode()
        assert bodies.values_in(content) < bodies.MOST_VALUES


@pytest.mark.parametrize("text", ["x", '"', "\\", '\\"', "[{,:"])
def test_a_text_is_one_value_wherever_it_is_divided(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    content = json.dumps([text * 20, {text: [text, 1]}]).encode()
    # The list, a text, a comma, the object, its name, a colon, the list, a text, a comma.
    for size in range(2, 90):
        monkeypatch.setattr(bodies, "_TEXT_BYTES", size)
        assert bodies.values_in(content) == 9


@pytest.mark.parametrize("token", ["x", "ann:fifteen-letters"])
def test_a_token_that_can_be_guessed_stops_the_start(token: str) -> None:
    with pytest.raises(ConfigurationError, match="16 characters or more"):
        bearer_tokens(Settings(auth_token=(token,)))
