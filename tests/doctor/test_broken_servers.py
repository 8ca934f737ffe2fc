"""Broken servers and connections: each problem is named, with what to do, and no secret is shown."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.doctor.servers import api, certificate, free_port, raw
from tests.doctor.support import KEY, SetUp, as_text, problems

pytestmark = pytest.mark.anyio

HTML = "<html><body>Welcome</body></html>"


async def test_a_healthy_server_is_well_and_told_who_we_are(machine: SetUp) -> None:
    seen: list[str] = []
    with api(seen=seen) as url:
        machine.env |= {"REFLEXIO_URL": url, "REFLEXIO_API_KEY": KEY}
        report = await machine.examined()
    assert (problems(report), report.exit_code) == (set(), 0)
    assert any("acme" in finding.what for finding in report.findings)
    assert seen
    assert all(f"Bearer {KEY}" in asked for asked in seen)
    assert not any("publish" in asked or "DELETE" in asked for asked in seen)


@contextmanager
def redirecting() -> Iterator[str]:
    with api(everywhere=(307, HTML), headers={"location": "https://www.example.com/login"}) as url:
        yield url


def refused() -> Any:
    @contextmanager
    def nobody() -> Iterator[str]:
        yield f"http://127.0.0.1:{free_port()}"

    return nobody()


AGENT = (403, {"detail": "Forbidden: Suspicious user agent"})


BUSY = (429, {"error": "Rate limit exceeded: 60 per 1 minute"})


BROKEN_STORAGE = (
    200,
    {"success": False, "msg": "disk I/O error\nTraceback (most recent call last): /srv/app.py"},
)


NEARLY = {
    "success": True,
    "has_more": False,
    "sessions": [
        {
            "session_id": "s",
            "requests": [
                {
                    "request": {
                        "request_id": str(number),
                        "user_id": "u",
                        "created_at": int(time.time()),
                        "source": "",
                        "agent_version": "v",
                        "session_id": "s",
                        "evaluation_only": False,
                    },
                    "interactions": [],
                }
                for number in range(55)
            ],
        }
    ],
}


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("connection-refused", refused),
        ("redirected", redirecting),
        ("not-the-api", lambda: api(everywhere=(200, HTML))),
        ("not-the-api", lambda: api(everywhere=(404, HTML))),
        ("not-the-api", lambda: api(everywhere=(200, {"hello": "world"}))),
        ("server-fault", lambda: api({"GET /api/whoami": (500, "Internal Server Error")})),
        ("user-agent-refused", lambda: api({"GET /api/whoami": AGENT})),
        ("key-refused", lambda: api({"GET /api/whoami": (401, {"detail": "Invalid API key"})})),
        ("rate-limited", lambda: api({"GET /api/whoami": BUSY})),
        ("storage-failed", lambda: api({"GET /api/whoami": BROKEN_STORAGE})),
        (
            "storage-not-configured",
            lambda: api(
                {"GET /api/whoami": (200, {"success": True, "org_id": "a", "storage_configured": False})}
            ),
        ),
        ("connection-broken", lambda: raw(lambda connection: None)),
        ("clock-skew", lambda: api(clock=-3600)),
    ],
)
async def test_a_broken_server_is_recognised(name: str, server: Any, machine: SetUp) -> None:
    with server() as url:
        machine.env |= {"REFLEXIO_URL": url, "REFLEXIO_API_KEY": KEY}
        report = await machine.examined(write=True)
    assert name in problems(report)
    assert report.exit_code == 2


@pytest.mark.parametrize("said", ["0.0.0-dev", "0.0.0", "0.0.0.dev4", "0.2.31.dev1", "1.0.0-dev", "", "main"])
async def test_a_server_that_names_no_release_is_not_called_old(said: str, machine: SetUp) -> None:
    with api({"GET /meta/version": (200, {"server_version": said})}) as url:
        machine.env |= {"REFLEXIO_URL": url}
        report = await machine.examined()
    assert (problems(report, "warning"), report.exit_code) == (set(), 0)
    assert problems(report, "note") >= {"version-unknown"}


async def test_the_real_server_is_well(machine: SetUp, reflexio_url: str) -> None:
    machine.env |= {"REFLEXIO_URL": reflexio_url}
    report = await machine.examined(seconds=20)
    assert (problems(report), problems(report, "warning") - {"rate-nearly-used"}) == (set(), set())


async def test_a_silent_server_is_recognised(machine: SetUp) -> None:
    with raw(lambda connection: time.sleep(3) if connection.recv(10) else None) as url:
        machine.env |= {"REFLEXIO_URL": url}
        report = await machine.examined(seconds=1.0)
    assert problems(report) == {"no-answer-in-time"}


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("server-older", lambda: api({"GET /meta/version": (200, {"server_version": "0.1.9"})})),
        ("clock-skew", lambda: api(clock=90)),
        ("rate-nearly-used", lambda: api({"POST /api/get_requests": (200, NEARLY)})),
    ],
)
async def test_a_doubtful_server_is_warned_of(name: str, server: Any, machine: SetUp) -> None:
    with server() as url:
        machine.env |= {"REFLEXIO_URL": url}
        report = await machine.examined()
    assert (problems(report), problems(report, "warning"), report.exit_code) == (set(), {name}, 1)


async def test_a_name_that_does_not_exist_is_recognised(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": "https://reflexio.invalid"}
    assert problems(await machine.examined()) == {"host-unknown"}


@pytest.mark.parametrize(
    ("name", "made"),
    [("tls-untrusted", {}), ("tls-expired", {"days": -1}), ("tls-wrong-host", {"address": "192.0.2.7"})],
)
async def test_a_certificate_that_is_not_right_is_recognised(
    name: str, made: dict[str, Any], machine: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, file = certificate(tmp_path, **made)
    if name != "tls-untrusted":
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with api(tls=context) as url:
        machine.env |= {"REFLEXIO_URL": url}
        report = await machine.examined()
    assert problems(report) == {name}


async def test_a_certificate_that_ends_soon_is_warned_of(
    machine: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, file = certificate(tmp_path, days=3)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with api(tls=context) as url:
        machine.env |= {"REFLEXIO_URL": url}
        report = await machine.examined()
    assert (problems(report), problems(report, "warning")) == (set(), {"tls-ends-soon"})


async def test_https_to_a_plain_port_is_recognised(machine: SetUp) -> None:
    with api() as url:
        machine.env |= {"REFLEXIO_URL": url.replace("http:", "https:")}
        assert problems(await machine.examined()) == {"tls-not-spoken"}


async def test_a_proxy_that_is_not_there_is_recognised(
    machine: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = f"http://jo:hunter22@127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTP_PROXY", proxy)
    machine.env |= {"REFLEXIO_URL": "http://reflexio.example", "HTTP_PROXY": proxy}
    report = await machine.examined()
    assert problems(report) == {"proxy-unreachable"}
    assert "hunter22" not in as_text(report)


async def test_a_proxy_in_front_of_localhost_is_warned_of(
    machine: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api(everywhere=(502, "Bad Gateway")) as proxy, api() as url:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        machine.env |= {"REFLEXIO_URL": url, "HTTP_PROXY": proxy}
        report = await machine.examined()
    assert "proxy-for-localhost" in problems(report, "warning")
    assert problems(report) == {"server-fault"}


async def test_writing_that_is_not_listed_is_recognised(machine: SetUp) -> None:
    with api() as url:
        machine.env |= {"REFLEXIO_URL": url}
        assert problems(await machine.examined(write=True)) == {"write-not-listed"}


async def test_a_delete_without_effect_is_recognised_and_what_is_left_is_named(machine: SetUp) -> None:
    with api({"POST /api/get_requests": (200, NEARLY)}) as url:
        machine.env |= {"REFLEXIO_URL": url}
        report = await machine.examined(write=True)
    assert problems(report) == {"write-not-deleted"}


async def test_what_writing_stores_teaches_nothing(machine: SetUp) -> None:
    seen: list[str] = []
    with api(seen=seen) as url:
        machine.env |= {"REFLEXIO_URL": url}
        await machine.examined(write=True)
    (published,) = [asked for asked in seen if "publish_interaction" in asked]
    assert '"evaluation_only":true' in published.replace(" ", "")
