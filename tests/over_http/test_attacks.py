"""Callers without a token, foreign web pages and broken clients are refused quickly, with a line in the log."""

import json
import logging
import os
import stat
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from reflexio_mcp.http.app import MOST_BYTES
from reflexio_mcp.http.bearer_tokens import bearer_tokens
from reflexio_mcp.http.guard import MOST_HEAD_BYTES
from reflexio_mcp.settings import ConfigurationError, Settings
from tests.support.serving import TOKEN, Served, legacy_initialize, modern_call, serving

pytestmark = pytest.mark.anyio

SLOW = 0.5
SOON = 12.0
"""Seconds that a busy machine may take, below what a slow client has where nothing is set."""


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(Settings(slow_client=SLOW)) as served:
        yield served


def events(caplog: pytest.LogCaptureFixture, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(one.getMessage()) for one in caplog.records if one.name == "reflexio_mcp.events"]
    return [line for line in lines if line["event"] == kind]


async def ask(
    served: Served, headers: dict[str, str] | list[tuple[str, str]], *, query: str = "", path: str = "/mcp"
) -> httpx.Response:
    base, body = legacy_initialize()
    given = list(base.items()) + (list(headers.items()) if isinstance(headers, dict) else headers)
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(f"{served.url}{path}{query}", headers=given, json=body)


AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


WANTED = "A bearer token is required: send Authorization: Bearer TOKEN."
OUTDATED = "The bearer token is not one that this server accepts; ask its operator for the current one."
NOT_ENOUGH: list[tuple[dict[str, str], str]] = [
    ({}, WANTED),
    ({"authorization": "Bearer wrong"}, OUTDATED),
    ({"authorization": f"Bearer {TOKEN}x"}, OUTDATED),
    ({"authorization": f"Bearer {TOKEN[:-1]}"}, OUTDATED),
    ({"authorization": f"Basic {TOKEN}"}, WANTED),
    ({"authorization": TOKEN}, WANTED),
    ({"authorization": "Bearer"}, WANTED),
]


@pytest.mark.parametrize("path", ["/mcp", "/sse", "/messages/?session_id=00000000000000000000000000000000"])
async def test_no_token_or_a_wrong_one_is_refused_everywhere(
    served: Served, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for headers, said in NOT_ENOUGH:
            for method in ("GET", "POST", "DELETE"):
                reply = await client.request(method, f"{served.url}{path}", headers=headers)
                assert reply.status_code == 401, headers
                assert reply.headers["www-authenticate"] == "Bearer"
                assert said in reply.text, headers
                assert "tools" not in reply.text
    refused = events(caplog, "refused")
    assert len(refused) == 3 * len(NOT_ENOUGH)
    assert {line["reason"] for line in refused} == {"token", "no_token"}
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "query", [f"?token={TOKEN}", f"?access_token={TOKEN}", f"?x={TOKEN}", "?api_key=guess"]
)
@pytest.mark.parametrize("headers", [{}, AUTHORIZED], ids=["alone", "beside the header"])
async def test_a_token_in_the_address_is_refused_and_not_logged(
    served: Served, query: str, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    reply = await ask(served, headers, query=query)
    assert reply.status_code == 400
    assert events(caplog, "refused")[0]["reason"] == "token_in_query"
    assert TOKEN not in caplog.text
    assert "guess" not in caplog.text


HOSTS = [
    "evil.example",
    "evil.example:8765",
    "localhost.evil.example",
    "127.0.0.1.evil.example:80",
    "",
    "127.0.0.1:x",
]


async def test_a_host_of_somebody_elses_is_refused(served: Served) -> None:
    for path in ("/mcp", "/sse"):
        for host in HOSTS:
            reply = await ask(served, AUTHORIZED | {"host": host}, path=path)
            assert reply.status_code == 421, host


ORIGINS = [
    "https://evil.example",
    "null",
    "http://localhost.evil.example",
    "http://127.0.0.1@evil.example",
    "file://",
]


async def test_a_web_page_of_somebody_elses_is_refused(served: Served) -> None:
    for path in ("/mcp", "/sse"):
        for origin in ORIGINS:
            reply = await ask(served, AUTHORIZED | {"origin": origin}, path=path)
            assert reply.status_code == 403, origin
            assert "access-control-allow-origin" not in reply.headers


async def test_an_allowed_web_page_is_answered_with_the_headers_its_browser_wants() -> None:
    settings = Settings(allowed_origins=("https://app.example",), allowed_hosts=("mcp.example",))
    async with serving(settings) as served, httpx.AsyncClient(timeout=60) as client:
        origin = {"origin": "https://app.example", "host": "mcp.example"}
        asked = origin | {"access-control-request-method": "POST"}
        preflight = await client.options(f"{served.url}/mcp", headers=asked)
        assert preflight.is_success
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert "x-reflexio-api-key" in preflight.headers["access-control-allow-headers"]
        reply = await ask(served, AUTHORIZED | origin)
        assert reply.status_code == 200
        assert reply.headers["access-control-allow-origin"] == "https://app.example"
        assert "mcp-session-id" in reply.headers["access-control-expose-headers"]
        refused = await ask(served, origin)
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "https://app.example", "its page reads why"


@pytest.mark.parametrize(
    "twice",
    [
        [("authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer other")],
        [
            ("authorization", f"Bearer {TOKEN}"),
            ("origin", "http://localhost"),
            ("origin", "https://evil.example"),
        ],
        [("authorization", f"Bearer {TOKEN}"), ("mcp-session-id", "a"), ("mcp-session-id", "b")],
    ],
)
async def test_a_header_that_decides_and_comes_twice_is_refused(
    served: Served, twice: list[tuple[str, str]]
) -> None:
    assert (await ask(served, twice)).status_code in (400, 403)


async def test_an_oversized_body_is_refused_before_it_is_read(served: Served) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", served.port)
    async with stream:
        head = _head(served, f"content-length: {MOST_BYTES + 1}")
        await stream.send(head)
        with anyio.fail_after(60):
            assert b" 413 " in await stream.receive()


async def test_an_oversized_body_without_a_declared_length_is_cut_at_the_limit(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MOST_BYTES // 2**18 + 2):
            yield b" " * 2**18

    headers, _ = legacy_initialize()
    # Patient, so that a slow machine is not what cuts it.
    async with serving(Settings()) as served, httpx.AsyncClient(timeout=60) as client:
        with suppress(httpx.TransportError):  # the connection was closed while the client was still sending
            reply = await client.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, content=endless())
            assert reply.status_code == 413
    assert [one["status"] for one in events(caplog, "refused")] == [413]


async def test_a_half_sent_body_is_given_up_after_its_time(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", served.port)
    async with stream:
        await stream.send(_head(served, "content-length: 100") + b'{"jsonrpc"')
        with anyio.fail_after(SOON):
            assert b" 408 " in await stream.receive()
    assert events(caplog, "refused")[0]["reason"] == "slow_body"


@pytest.mark.parametrize("sent", [b"", b"P", b"POST /mcp HTTP/1.1\r\nhost: 127"])
async def test_a_half_sent_head_is_given_up_after_its_time(
    served: Served, sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", served.port)
    async with stream:
        if sent:
            await stream.send(sent)
        with anyio.fail_after(SOON), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
    assert events(caplog, "refused")[0]["reason"] == "slow_head"


async def test_a_second_request_that_stops_half_way_is_given_up_too(served: Served) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", served.port)
    async with stream:
        await stream.send(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        with anyio.fail_after(SOON):
            assert b" 200 " in await stream.receive()
            await stream.send(b"GET /hea")
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                while await stream.receive():
                    pass


async def test_a_head_that_is_too_long_is_refused(served: Served) -> None:
    stream = await anyio.connect_tcp("127.0.0.1", served.port)
    async with stream:
        with anyio.fail_after(60):
            await stream.send(b"GET /mcp HTTP/1.1\r\nx: " + b"y" * (MOST_HEAD_BYTES * 2))
            with suppress(anyio.EndOfStream, anyio.BrokenResourceError):
                assert b" 400 " in await stream.receive()


async def test_a_thousand_idle_connections_keep_nobody_out() -> None:
    _raise_limit(4096)
    async with serving(Settings(slow_client=300.0)) as served, AsyncExitStack() as stack:
        for _ in range(1000):
            await stack.enter_async_context(await anyio.connect_tcp("127.0.0.1", served.port))
        headers, body = modern_call("get_status", {})
        async with httpx.AsyncClient(timeout=60) as client:
            with anyio.fail_after(60):
                reply = await client.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
        assert reply.status_code == 200
        assert not reply.json()["result"].get("isError")


async def test_sessions_beyond_the_limit_are_refused_and_the_others_go_on() -> None:
    async with (
        serving(Settings(max_sessions=2)) as served,
        httpx.AsyncClient(timeout=60) as client,
        AsyncExitStack() as stack,
    ):
        opened = [await ask(served, AUTHORIZED) for _ in range(3)]
        assert [one.status_code for one in opened] == [200, 200, 503]
        for _ in range(2):
            stream = client.stream("GET", f"{served.url}/sse", headers=AUTHORIZED)
            assert (await stack.enter_async_context(stream)).status_code == 200
        assert (await client.get(f"{served.url}/sse", headers=AUTHORIZED)).status_code == 503


async def test_an_idle_session_is_closed_and_its_id_is_not_known_any_more() -> None:
    async with serving(Settings(session_idle=1.0)) as served:
        session = (await ask(served, AUTHORIZED)).headers["mcp-session-id"]
        with anyio.fail_after(60):
            while True:
                await anyio.sleep(1.2)
                reply = await ask(served, AUTHORIZED | {"mcp-session-id": session})
                if reply.status_code == 404:
                    break


async def test_health_and_readiness_say_nothing_but_that(served: Served) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        for path, text in (("/health", "ok"), ("/ready", "ready")):
            reply = await client.get(f"{served.url}{path}", headers={"host": "whatever"})
            assert (reply.status_code, reply.text) == (200, text)
            assert "server" not in reply.headers


async def test_readiness_is_refused_while_the_backend_is_away() -> None:
    async with (
        serving(Settings(url="http://127.0.0.1:9", timeout=1.0)) as served,
        httpx.AsyncClient(timeout=60) as client,
    ):
        reply = await client.get(f"{served.url}/ready")
        assert (reply.status_code, reply.text) == (503, "not ready")
        assert (await client.get(f"{served.url}/health")).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "mcp.example"])
async def test_a_public_address_without_allowed_hosts_stops_the_start(host: str) -> None:
    with pytest.raises(ConfigurationError, match="REFLEXIO_MCP_ALLOWED_HOSTS"):
        async with serving(Settings(host=host)):
            pass


@pytest.mark.parametrize("name", ["allowed_hosts", "allowed_origins"])
@pytest.mark.parametrize("value", ["*", "*:*", "https://*", "*.example"])
async def test_a_wildcard_for_every_name_stops_the_start(name: str, value: str) -> None:
    if name == "allowed_hosts" and value == "https://*":
        value = "*:443"
    with pytest.raises(ConfigurationError):
        async with serving(replace(Settings(), **dict[str, Any]({name: (value,)}))):
            pass


def test_a_token_is_made_once_and_only_its_owner_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "data"))
    _, path = bearer_tokens(Settings())
    assert path
    first = path.read_bytes()
    if os.name != "nt":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    tokens, _ = bearer_tokens(Settings())
    assert tokens.check(first.strip())
    assert path.read_bytes() == first
    if os.name != "nt":
        path.chmod(0o644)
        tokens, _ = bearer_tokens(Settings())
        assert not tokens.check(first.strip()), "what others could read is not used any more"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_each_of_several_tokens_is_good_until_it_is_taken_away() -> None:
    async with serving(Settings(), tokens=("old", "new")) as served:
        for token in ("old", "new"):
            assert (await ask(served, {"authorization": f"Bearer {token}"})).status_code == 200


def test_a_token_and_its_waiver_together_stop_the_start() -> None:
    with pytest.raises(ConfigurationError, match="UNSAFE_NO_AUTH"):
        bearer_tokens(Settings(unsafe_no_auth=True, auth_token=("t",)))


async def test_what_a_caller_sent_is_in_no_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    headers, body = modern_call(
        "publish_interaction",
        {
            "user_id": "canary-user",
            "session_id": "canary-session",
            "interactions": [{"content": "canary-words"}],
        },
    )
    broken = b'{"jsonrpc": "2.0", "id": 1, "method": "canary-method'
    async with httpx.AsyncClient(timeout=60) as client:
        await client.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, json=body)
        await client.post(f"{served.url}/mcp", headers=headers | AUTHORIZED, content=broken)
    assert len(events(caplog, "call")) == 1
    own = [one for one in caplog.records if one.name.startswith("reflexio_mcp")]
    assert not [one for one in own if "canary" in one.getMessage()]


def _head(served: Served, *more: str) -> bytes:
    headers, _ = legacy_initialize()
    fields = [f"{name}: {value}" for name, value in (headers | AUTHORIZED).items()]
    lines = ["POST /mcp HTTP/1.1", f"host: 127.0.0.1:{served.port}", *fields, *more, "", ""]
    return "\r\n".join(lines).encode()


def _raise_limit(wanted: int) -> None:
    if os.name == "nt":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
