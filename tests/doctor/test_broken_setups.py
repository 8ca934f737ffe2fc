"""A list of broken set-ups, each recognised by name, with what to do, and without a secret in what is said."""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.checks import CHECKS, examine
from reflexio_mcp.doctor.report import Report
from reflexio_mcp.install.layout import Layout
from tests.doctor.servers import api, certificate, free_port, raw

pytestmark = pytest.mark.anyio

KEY = "rflx-secret-0123456789"
HTML = "<html><body>Welcome</body></html>"


@dataclass
class SetUp:
    """A machine with nothing on it yet."""

    home: Path
    env: dict[str, str] = field(default_factory=dict[str, str])
    flags: dict[str, str] = field(default_factory=dict[str, str])

    async def examined(self, *, write: bool = False, seconds: float = 3.0) -> Report:
        report = await examine(
            Case(
                flags=self.flags,
                env=self.env,
                layout=Layout("linux", self.home, self.env),
                write=write,
                seconds=seconds,
                start_seconds=20,
            )
        )
        for shown in (report.as_text(), report.as_json()):
            assert KEY not in shown
            assert "Traceback" not in shown
        for finding in report.findings:
            if finding.status in ("failure", "warning"):
                assert finding.what, finding
                assert finding.why, finding
                assert finding.do, finding
        return report

    def client(self, path: str, text: str) -> None:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SetUp:
    for variable in [
        name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("REFLEXIO")
    ]:
        monkeypatch.delenv(variable)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "data"))
    return SetUp(home, {"HOME": str(home)})


def problems(report: Report, status: str = "failure") -> set[str]:
    return {finding.name for finding in report.findings if finding.status == status}


async def test_a_new_machine_is_well(machine: SetUp) -> None:
    report = await machine.examined(write=True)
    assert (problems(report), problems(report, "warning"), report.exit_code) == (set(), set(), 0)
    assert {finding.check for finding in report.findings} == {check.name for check in CHECKS}


async def test_a_healthy_server_is_well_and_told_who_we_are(machine: SetUp) -> None:
    seen: list[str] = []
    with api(seen=seen) as url:
        machine.env |= {"REFLEXIO_URL": url, "REFLEXIO_API_KEY": KEY}
        report = await machine.examined()
    assert (problems(report), report.exit_code) == (set(), 0)
    assert any("acme" in finding.what for finding in report.findings)
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
    assert "hunter22" not in report.as_text()


async def test_a_proxy_in_front_of_localhost_is_warned_of(
    machine: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with api(everywhere=(502, "Bad Gateway")) as proxy, api() as url:
        monkeypatch.setenv("HTTP_PROXY", proxy)
        machine.env |= {"REFLEXIO_URL": url, "HTTP_PROXY": proxy}
        report = await machine.examined()
    assert "proxy-for-localhost" in problems(report, "warning")
    assert problems(report) == {"server-fault"}


async def test_the_hosted_service_without_a_key_is_recognised(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": "https://www.reflexio.ai"}
    assert "key-missing" in problems(await machine.examined(seconds=0.5))


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("configuration-invalid", {"REFLEXIO_URL": "localhost:8061"}),
        ("configuration-invalid", {"REFLEXIO_MCP_CONFIRM": "maybe"}),
        ("configuration-invalid", {"REFLEXIO_MCP_TOOLS": "list_sesions"}),
        ("placeholder-not-expanded", {"REFLEXIO_API_KEY": "${env:REFLEXIO_API_KEY}"}),
        ("placeholder-not-expanded", {"REFLEXIO_API_KEY": "$REFLEXIO_API_KEY"}),
        ("placeholder-not-expanded", {"REFLEXIO_USER_ID": "${user_config.user_id}"}),
        ("key-malformed", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": f'"{KEY}"'}),
        ("key-malformed", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": f"Bearer {KEY}"}),
        ("key-is-an-example", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": "your-api-key"}),
    ],
)
async def test_a_wrong_value_is_recognised(name: str, variables: dict[str, str], machine: SetUp) -> None:
    machine.env |= variables
    assert name in problems(await machine.examined())


async def test_a_misspelt_variable_is_warned_of_with_the_right_one(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_MCP_READONLY": "1"}
    report = await machine.examined()
    assert problems(report, "warning") == {"unknown-variable"}
    assert any("REFLEXIO_MCP_READ_ONLY" in finding.do for finding in report.findings)


async def test_a_key_over_plain_http_to_another_machine_is_warned_of(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": "http://reflexio.invalid", "REFLEXIO_API_KEY": KEY}
    assert "key-sent-in-clear" in problems(await machine.examined(), "warning")


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()


def newer_store(path: Path) -> None:
    from reflexio_mcp.store.schema import APPLICATION_ID, SCHEMA_VERSION

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE requests (x)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        connection.commit()


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at as one" * 20)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("store-not-a-store", other_database),
        ("store-not-a-store", garbage),
        ("store-newer", newer_store),
        ("store-not-writable", Path.mkdir),
    ],
)
async def test_a_file_that_cannot_be_the_store_is_recognised(name: str, make: Any, machine: SetUp) -> None:
    path = machine.home / "x.db"
    make(path)
    machine.env |= {"REFLEXIO_MCP_STORE": str(path)}
    assert problems(await machine.examined()) == {name}


async def test_a_folder_that_is_a_file_is_recognised(machine: SetUp) -> None:
    (machine.home / "file").write_text("", encoding="utf-8")
    machine.env |= {
        "REFLEXIO_MCP_STORE": str(machine.home / "file" / "x.db"),
        "REFLEXIO_MCP_AUDIT_LOG": str(machine.home / "file" / "log"),
        "REFLEXIO_MCP_RECOVERY_DIR": str(machine.home / "file"),
        "REFLEXIO_MCP_RECOVERY_DAYS": "7",
    }
    found = problems(await machine.examined())
    assert found == {"store-not-writable", "audit-log-not-writable", "recovery-not-writable"}


@pytest.mark.skipif(sys.platform == "win32", reason="rights are another thing there")
async def test_a_store_that_others_can_read_is_warned_of(machine: SetUp) -> None:
    path = machine.home / "x.db"
    machine.env |= {"REFLEXIO_MCP_STORE": str(path)}
    assert (await machine.examined(write=True)).exit_code == 0
    path.chmod(0o644)
    report = await machine.examined()
    assert problems(report, "warning") == {"store-readable-by-others"}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("client-command-missing", {"command": "/nowhere/reflexio-mcp"}),
        ("client-command-missing", {"command": "reflexio-mcp-that-is-not-on-a-poor-path"}),
        ("client-start-fails", {"command": sys.executable, "args": ["-c", "raise SystemExit('no module')"]}),
        (
            "client-start-fails",
            {
                "command": sys.executable,
                "args": ["-m", "reflexio_mcp"],
                "env": {"REFLEXIO_MCP_CONFIRM": "perhaps"},
            },
        ),
        ("client-entry-incomplete", {"args": []}),
    ],
)
async def test_a_client_that_cannot_start_the_server_is_recognised(
    name: str, entry: dict[str, Any], machine: SetUp
) -> None:
    machine.client(".cursor/mcp.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    report = await machine.examined()
    assert problems(report) == {name}
    assert any("install cursor" in finding.do for finding in report.findings)


async def test_a_client_that_is_set_up_right_is_started_and_answers(machine: SetUp) -> None:
    entry = {
        "command": sys.executable,
        "args": ["-m", "reflexio_mcp"],
        "env": {"REFLEXIO_MCP_STORE": ":memory:"},
    }
    machine.client(".codeium/windsurf/mcp_config.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    report = await machine.examined()
    assert report.exit_code == 0
    assert any("Windsurf, reflexio: starts and answers" in finding.what for finding in report.findings)


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("client-file-malformed", ".gemini/settings.json", '{"mcpServers": {'),
        ("client-file-malformed", ".codex/config.toml", "[mcp_servers"),
        (
            "client-key-in-file",
            ".cursor/mcp.json",
            json.dumps(
                {
                    "mcpServers": {
                        "reflexio": {
                            "command": sys.executable,
                            "args": ["-m", "reflexio_mcp"],
                            "env": {"REFLEXIO_API_KEY": KEY},
                        }
                    }
                }
            ),
        ),
        (
            "client-key-not-set",
            ".cursor/mcp.json",
            json.dumps(
                {
                    "mcpServers": {
                        "reflexio": {
                            "command": sys.executable,
                            "args": ["-m", "reflexio_mcp"],
                            "env": {"REFLEXIO_API_KEY": "${env:REFLEXIO_API_KEY}"},
                        }
                    }
                }
            ),
        ),
    ],
)
async def test_a_doubtful_client_file_is_warned_of(name: str, path: str, text: str, machine: SetUp) -> None:
    machine.client(path, text)
    report = await machine.examined()
    assert (problems(report), problems(report, "warning")) == (set(), {name})


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


async def test_every_value_is_shown_with_its_source_and_no_secret(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": KEY}
    machine.flags |= {"timeout": "5"}
    report = await machine.examined()
    assert [(value.option, value.value, value.source) for value in report.values] == [
        ("url", "http://127.0.0.1:1", "REFLEXIO_URL"),
        ("api_key", "(set)", "REFLEXIO_API_KEY"),
        ("timeout", "5", "--timeout"),
    ]
    assert json.loads(report.as_json())["configuration"][1]["value"] == "(set)"
