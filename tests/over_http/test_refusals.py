"""Requests of an odd form: each is answered once, closed when it has to be, and leaves a line without what it held."""

import logging
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.abc
import httpx
import httpx2
import pytest
from mcp.client.auth import OAuthRegistrationError
from mcp.client.auth.utils import handle_registration_response

from reflexio_mcp.http import serving as serving_module
from reflexio_mcp.http.guard import MOST_HEAD_BYTES
from reflexio_mcp.settings import ConfigurationError, Settings
from tests.over_http.test_attacks import AUTHORIZED, ask, events
from tests.support.serving import TOKEN, Served, legacy_initialize, serving

pytestmark = pytest.mark.anyio

SLOW = 0.5
SOON = 12.0
"""Seconds that a busy machine may take, below what a slow client has where nothing is set."""


async def until_closed(stream: anyio.abc.ByteStream) -> bytes:
    received = b""
    with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
        while True:
            received += await stream.receive()
    return received


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_body_that_drips_on_after_its_answer_holds_no_connection(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Settings(slow_client=SLOW)) as served:
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        async with stream:
            await stream.send(
                f"{method} /health HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n".encode()
            )
            with anyio.fail_after(SOON):
                assert b" 200 " in await stream.receive()
                await stream.send(b"x")
                await until_closed(stream)
    assert events(caplog, "refused")[-1]["reason"] == "unread_body"


async def test_a_connection_whose_late_body_arrived_answers_the_next_request() -> None:
    async with serving(Settings(slow_client=SLOW)) as served:
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        async with stream:
            with anyio.fail_after(60):
                await stream.send(b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
                assert b" 200 " in await stream.receive()
                await stream.send(b"abcGET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                assert b" 200 " in await until_closed(stream)


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_health_and_readiness_take_no_posts(path: str) -> None:
    async with serving(Settings()) as served, httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{served.url}{path}", content=b"x")
        assert reply.status_code == 405
        assert reply.headers["allow"] == "GET, HEAD"
        assert reply.headers["connection"] == "close"
        assert (await client.head(f"{served.url}{path}")).status_code == 200


@pytest.mark.parametrize("headers", [{}, AUTHORIZED], ids=["no token", "token"])
async def test_very_many_parameters_are_refused_as_such(
    headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Settings()) as served:
        assert (await ask(served, headers, query="?" + "&".join(["a=1"] * 101))).status_code == 400
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_what_breaks_the_guard_itself_is_answered_and_logged_by_its_kind_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Settings()) as served:
        assert served.app

        def broken(scope: object) -> str:
            raise ValueError("canary")

        monkeypatch.setattr(served.app._guard, "check_host_and_origin", broken)
        assert (await ask(served, AUTHORIZED)).status_code == 500
    assert "canary" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_token_spelled_in_escapes_is_a_token_in_the_address() -> None:
    async with serving(Settings()) as served:
        escaped = "".join(f"%{byte:02x}" for byte in TOKEN.encode())
        assert (await ask(served, AUTHORIZED, query=f"?x={escaped}")).status_code == 400


async def test_a_body_with_a_length_and_in_chunks_is_refused_and_the_connection_closed() -> None:
    async with serving(Settings()) as served:
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        async with stream:
            fields = "content-length: 4\r\ntransfer-encoding: chunked\r\n"
            head = f"POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n{fields}\r\n"
            await stream.send(head.encode() + b"0\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            with anyio.fail_after(60):
                answered = await until_closed(stream)
    assert b" 400 " in answered.split(b"\r\n")[0]
    assert b" 200 " not in answered


async def test_a_long_head_is_refused_also_when_it_comes_in_one_piece() -> None:
    async with serving(Settings()) as served, httpx.AsyncClient(timeout=60) as client:
        long = {"x": "a" * (MOST_HEAD_BYTES // 2), "y": "a" * (MOST_HEAD_BYTES // 2)}
        assert (await client.get(f"{served.url}/mcp", headers=AUTHORIZED | long)).status_code in (400, 431)
        short = {"x": "a" * (MOST_HEAD_BYTES // 2)}
        assert (await client.get(f"{served.url}/health", headers=short)).status_code == 200


async def test_the_loopback_address_that_is_bound_is_answered_to() -> None:
    async with serving(Settings(host="127.0.0.2")) as served:
        for host in ("127.0.0.2", f"127.0.0.2:{served.port}"):
            assert (await ask(served, AUTHORIZED | {"host": host})).status_code == 200
        origin = {"host": "127.0.0.2", "origin": "http://127.0.0.2:3000"}
        assert (await ask(served, AUTHORIZED | origin)).status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_hosts_and_origins_are_the_same_in_capitals(path: str) -> None:
    async with serving(Settings(allowed_origins=("https://App.Example",))) as served:
        headers = AUTHORIZED | {"host": "LocalHost", "origin": "https://app.EXAMPLE"}
        async with httpx.AsyncClient(timeout=60) as client:
            asked = client.stream("GET", f"{served.url}/sse", headers=headers)
            if path == "/sse":
                async with asked as reply:
                    assert reply.status_code == 200
                return
        assert (await ask(served, headers)).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_hosts", "https://mcp.example"),
        ("allowed_hosts", "mcp.example/mcp"),
        ("allowed_origins", "app.example"),
        ("allowed_origins", "https://app.example/"),
    ],
)
async def test_what_could_never_match_stops_the_start(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name.upper()):
        async with serving(replace(Settings(), **{name: (value,)})):
            pass


async def test_streams_are_opened_by_get_alone() -> None:
    async with serving(Settings()) as served, httpx.AsyncClient(timeout=60) as client:
        for method, path in (("HEAD", "/sse"), ("POST", "/sse"), ("GET", "/messages/"), ("HEAD", "/mcp")):
            reply = await client.request(method, f"{served.url}{path}", headers=AUTHORIZED)
            assert reply.status_code == 405, (method, path)


CANARY = "canary0000000000000000000000000000"


async def test_every_refusal_has_its_line_and_none_repeats_what_was_sent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    base, body = legacy_initialize()
    async with serving(Settings()) as served, httpx.AsyncClient(timeout=60) as client:
        caplog.set_level(logging.DEBUG)
        tries = [
            (406, "/mcp", base | {"accept": f"text/{CANARY}"}),
            (400, "/mcp", base | {"content-type": f"text/{CANARY}"}),
            (404, "/mcp", base | {"mcp-session-id": CANARY}),
            (400, "/messages/", base),
            (400, f"/messages/?session_id={CANARY}", base),
            (404, "/messages/?session_id=" + "0" * 32, base),
        ]
        for status, path, headers in tries:
            reply = await client.post(f"{served.url}{path}", headers=headers | AUTHORIZED, json=body)
            assert reply.status_code == status, (path, reply.text)
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        async with stream:
            await stream.send(f"{CANARY}\r\n\r\n".encode())
            await until_closed(stream)
        upgrade = {"connection": "upgrade", "upgrade": CANARY}
        assert (await client.get(f"{served.url}/mcp", headers=upgrade)).status_code == 401
        stated = events(caplog, "refused")
        assert [line["status"] for line in stated] == [*(status for status, _, _ in tries), 400, 401]
        assert all(line["reason"] for line in stated)
    # The event loop and these tests' own client are no part of the server.
    ours = [one for one in caplog.records if one.name.startswith(("reflexio_mcp", "mcp", "uvicorn"))]
    assert not [one.getMessage() for one in ours if CANARY in one.getMessage()]
    assert not [one for one in ours if one.name == "uvicorn.error" and one.levelno < logging.ERROR]


async def test_a_half_sent_body_does_not_hold_a_stop_and_is_told_to_try_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Settings(slow_client=30.0)) as served:
        assert served.app
        stream = await anyio.connect_tcp("127.0.0.1", served.port)
        async with stream:
            await stream.send(_half_a_request(served))
            await _until_listed(served)
            with anyio.fail_after(60):
                await served.app.drain(0.1)
                answered = await until_closed(stream)
    assert b" 503 " in answered
    assert b"retry-after" in answered
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def _half_a_request(served: Served) -> bytes:
    headers, _ = legacy_initialize()
    fields = "".join(f"{name}: {value}\r\n" for name, value in (headers | AUTHORIZED).items())
    return f"POST /mcp HTTP/1.1\r\nhost: localhost\r\n{fields}content-length: 100\r\n\r\n{{".encode()


async def _until_listed(served: Served) -> None:
    assert served.app
    with anyio.fail_after(60):
        while not served.app._exchanges._open:  # noqa: ASYNC110 - nothing tells when a head has been read
            await anyio.sleep(0.01)


async def test_readiness_is_refused_when_the_embedded_stores_file_is_destroyed(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    async with serving(Settings(store=str(store))) as served, httpx.AsyncClient(timeout=60) as client:
        assert served.app
        assert (await client.get(f"{served.url}/ready")).status_code == 200
        for path in tmp_path.iterdir():  # noqa: ASYNC240 - a test's own folder
            path.write_bytes(b"garbage" * 5000)
        served.app._asked_at = -math.inf  # its answer is kept for a moment
        assert (await client.get(f"{served.url}/ready")).status_code == 503


def test_a_token_that_may_be_guessed_is_said_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving_module, "_listen", lambda settings: None)
    for name in ("_announce", "tune_collector"):
        monkeypatch.setattr(serving_module, name, lambda *given: None)
    monkeypatch.setattr(serving_module.sys, "setswitchinterval", lambda seconds: None)
    monkeypatch.setattr(serving_module.anyio, "run", lambda *given: 0)
    for token, warned in (("canary", True), ("a-token-of-good-length", False)):
        assert serving_module.serve(Settings(store=":memory:", auth_token=(token,))) == 0
        said = capsys.readouterr().err
        assert ("REFLEXIO_MCP_AUTH_TOKEN" in said) is warned
        assert "canary" not in said


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/register"),
        ("GET", "/authorize"),
        ("POST", "/token"),
        ("GET", "/.well-known/oauth-protected-resource"),
        ("GET", "/.well-known/oauth-protected-resource/mcp"),
        ("GET", "/.well-known/oauth-authorization-server"),
        ("GET", "/.well-known/openid-configuration"),
    ],
)
async def test_a_client_that_tries_to_sign_in_is_told_where_the_token_is(method: str, path: str) -> None:
    async with serving(Settings()) as served, httpx.AsyncClient(timeout=60) as client:
        reply = await client.request(method, f"{served.url}{path}", json={} if method == "POST" else None)
    assert reply.status_code == 404
    assert reply.json()["error"] == "access_denied"
    assert "Authorization: Bearer TOKEN" in reply.json()["error_description"]
    assert "REFLEXIO_MCP_AUTH_TOKEN" in reply.json()["error_description"]


async def test_the_official_client_shows_the_person_where_the_token_is() -> None:
    async with serving(Settings()) as served, httpx2.AsyncClient(timeout=60) as web:
        reply = await web.post(f"{served.url}/register", json={"redirect_uris": ["http://127.0.0.1:1/"]})
        with pytest.raises(OAuthRegistrationError, match="give the client its bearer token"):
            await handle_registration_response(reply)


async def test_a_server_without_tokens_says_that_none_is_needed() -> None:
    settings = Settings(unsafe_no_auth=True)
    async with serving(settings, tokens=()) as served, httpx.AsyncClient(timeout=60) as client:
        reply = await client.post(f"{served.url}/register", json={})
    assert "asks for no token" in reply.json()["error_description"]
