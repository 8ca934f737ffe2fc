"""Broken set-ups: each problem is named, with what to do, and no secret is shown."""

import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.backend import default_store, open_state
from reflexio_mcp.doctor import checks
from reflexio_mcp.settings import Settings
from tests.doctor.conftest import KEY, Machine
from tests.doctor.servers import api, certificate, free_port, raw
from tests.state.conftest import OPERATOR, copied, deleted
from tests.support.issuer import AUDIENCE, issuing

HTML = "<html><body>Welcome</body></html>"


def test_a_new_machine_is_well_but_for_a_client(machine: Machine) -> None:
    report = machine.examined()
    assert [one["name"] for one in report["findings"] if "name" in one] == ["no-client"]
    assert (report["exit_code"], report["next"][-9:]) == (0, "install`.")
    assert not default_store().exists()


def test_nothing_is_wrong_with_a_client_that_is_set_up(machine: Machine) -> None:
    machine.entry(command=sys.executable, args=["-m", "reflexio_mcp"], env={"REFLEXIO_USER_ID": "ada"})
    report = machine.examined()
    assert (report["exit_code"], report["next"]) == (0, "")
    assert any("confined to the user ada" in one["what"] for one in report["findings"])


@pytest.mark.parametrize(
    ("tokens", "confined", "everybody"),
    [
        ("ada:" + "a" * 32, True, False),
        ("a" * 32, False, True),
        ("ada:" + "a" * 32 + "," + "b" * 32, True, True),
    ],
)
def test_what_each_kind_of_token_sees_is_said(
    tokens: str, confined: bool, everybody: bool, machine: Machine
) -> None:
    machine.set("REFLEXIO_MCP_AUTH_TOKEN", tokens)
    said = machine.said()[1]
    assert ("a token with a user sees that user alone" in said) == confined
    assert ("a token without a user sees every user" in said) == everybody


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("configuration-invalid", {"REFLEXIO_URL": f"http://jo:{KEY}@127.0.0.1:1"}),
        ("configuration-invalid", {"REFLEXIO_MCP_TOOLS": "list_sesions"}),
        ("configuration-invalid", {"REFLEXIO_MCP_READONLY": "1"}),
        ("key-missing", {"REFLEXIO_URL": "https://www.reflexio.ai"}),
        ("key-malformed", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": f"Bearer {KEY}"}),
        ("key-malformed", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": "your-api-key"}),
        ("unreachable", {"REFLEXIO_URL": "http://127.0.0.1:1"}),
        ("unreachable", {"REFLEXIO_URL": "http://127.0.0.1:1/certificates"}),
    ],
)
def test_a_wrong_value_is_recognised(name: str, variables: dict[str, str], machine: Machine) -> None:
    for variable, value in variables.items():
        machine.set(variable, value)
    assert machine.problems() == {name}


@pytest.mark.parametrize(("reason", "status"), [('reason = "Miller case"', "ok"), ("", "failure")])
def test_a_policy_file_is_looked_at(machine: Machine, tmp_path: Path, reason: str, status: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(f'[[hold]]\nusers = ["ada"]\n{reason}\n', "utf-8")
    machine.set("REFLEXIO_MCP_POLICY", str(path))
    [found] = [one for one in machine.examined()["findings"] if one["check"] == "policy"]
    assert (found["status"], "hold.0.reason" in found["what"]) == (status, not reason)


def test_an_entry_without_the_policy_of_this_shell_is_named_with_what_to_do(
    machine: Machine, tmp_path: Path
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text('[[hold]]\nusers = ["ada"]\nreason = "Miller case"\n', "utf-8")
    server: dict[str, Any] = {"command": sys.executable, "args": ["-m", "reflexio_mcp"]}
    machine.entry(**server)
    assert machine.problems() == set(), "no shell has a policy"
    machine.set("REFLEXIO_MCP_POLICY", str(path))
    [found] = [
        one for one in machine.examined()["findings"] if one["check"] == "policy" and one["status"] != "ok"
    ]
    assert (found["name"], found["status"], found["where"]) == ("policy-missing", "warning", "Cursor")
    assert "--policy FILE" in found["do"]
    machine.entry(**server, env={"REFLEXIO_MCP_READ_ONLY": "1"})
    assert machine.problems() == set(), "it deletes nothing"
    machine.entry(**server, env={"REFLEXIO_MCP_POLICY": str(path)})
    assert machine.problems() == set()


def test_a_key_over_plain_http_to_another_machine_is_warned_of(machine: Machine) -> None:
    machine.set("REFLEXIO_URL", "http://reflexio.invalid")
    machine.set("REFLEXIO_API_KEY", KEY)
    assert "key-sent-in-clear" in machine.problems()


def test_a_key_that_only_the_client_knows_is_not_looked_up_here_and_may_be_sent_in_clear(
    machine: Machine,
) -> None:
    machine.set("SECRET", "a variable of this shell")
    env = {"REFLEXIO_URL": "http://127.0.0.1:9", "REFLEXIO_API_KEY": "${input:SECRET}"}
    machine.entry(command=sys.executable, args=["-m", "reflexio_mcp"], env=env)
    notes = [one["what"] for one in machine.examined()["findings"] if one["status"] == "note"]
    assert any(what.startswith("the key is not known here") for what in notes)
    machine.entry(
        command=sys.executable,
        args=["-m", "reflexio_mcp"],
        env=env | {"REFLEXIO_URL": "http://reflexio.invalid"},
    )
    assert "key-sent-in-clear" in machine.problems()


def test_a_healthy_server_is_well_and_nothing_is_changed_there(machine: Machine) -> None:
    seen: list[str] = []
    with api(seen=seen) as url:
        machine.set("REFLEXIO_API_KEY", KEY)
        report = machine.examined("--url", url)
    assert any("acme" in one["what"] for one in report["findings"])
    assert {one["status"] for one in report["findings"] if one["check"] != "clients"} == {"ok"}
    assert all(f"Bearer {KEY}" in asked for asked in seen)
    assert not any("publish" in asked or "DELETE" in asked for asked in seen)


@contextmanager
def redirecting() -> Iterator[str]:
    with api(everywhere=(307, HTML), headers={"location": "https://www.example.com/login"}) as url:
        yield url


def silent(connection: socket.socket) -> None:
    while connection.recv(9999):
        pass


NO_STORAGE = (200, {"success": True, "org_id": "a", "storage_configured": False})


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("not-the-api", redirecting),
        ("not-the-api", lambda: api(everywhere=(200, HTML))),
        ("server-fault", lambda: api({"GET /api/whoami": (500, "Internal Server Error")})),
        ("key-refused", lambda: api({"GET /api/whoami": (401, {"detail": "Invalid API key"})})),
        ("storage-not-configured", lambda: api({"GET /api/whoami": NO_STORAGE})),
    ],
)  # fmt: skip
def test_a_broken_server_is_recognised(
    name: str, server: Callable[[], AbstractContextManager[str]], machine: Machine
) -> None:
    machine.set("REFLEXIO_API_KEY", KEY)
    with server() as url:
        assert machine.problems("--url", url) == {name}


def test_a_server_that_says_nothing_is_recognised(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CALL_SECONDS", 0.5)
    with raw(silent) as url:
        assert machine.problems("--url", url) == {"timed-out"}


def test_a_certificate_that_is_not_trusted_is_named_with_what_to_do(machine: Machine, tmp_path: Path) -> None:
    context, file = certificate(tmp_path)
    with api(tls=context) as url:
        machine.set("REFLEXIO_URL", url)
        assert machine.problems() == {"certificate-not-trusted"}
        machine.set("SSL_CERT_FILE", str(file))
        assert machine.problems() == set()


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("store-not-usable", other_database),
        ("store-not-usable", Path.mkdir),
    ],
)
def test_a_file_that_cannot_be_the_store_is_recognised(
    name: str, make: Callable[[Path], object], machine: Machine
) -> None:
    path = machine.home / "x.db"
    make(path)
    machine.set("REFLEXIO_MCP_STORE", str(path))
    assert machine.problems() == {name}


def test_a_store_that_cannot_be_looked_for_is_recognised(machine: Machine) -> None:
    machine.set("REFLEXIO_MCP_STORE", str(machine.home / ("x" * 300) / "x.db"))
    assert machine.problems() == {"store-not-usable"}


def test_a_store_that_the_first_call_could_not_create_is_recognised(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, for whom no folder is closed.
    monkeypatch.setattr("os.access", lambda path, mode: path != machine.home)  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    machine.set("REFLEXIO_MCP_STORE", str(machine.home / "new" / "x.db"))
    (finding,) = [one for one in machine.examined()["findings"] if one["status"] == "failure"]
    assert finding["name"] == "store-not-usable"
    assert finding["what"].endswith("cannot be opened or created: Permission denied.")


def test_a_folder_that_is_a_file_is_recognised(machine: Machine) -> None:
    (machine.home / "file").touch()
    machine.set("REFLEXIO_MCP_STORE", str(machine.home / "file" / "x.db"))
    assert machine.problems() == {"store-not-usable"}


def test_a_key_that_is_not_the_one_of_the_state_is_recognised(machine: Machine) -> None:
    state = open_state(Settings())
    deleted(state, OPERATOR, copied())
    state.database.close()
    key = default_store().with_name("fingerprint.key")
    whole = key.read_bytes()
    for found in (whole[::-1], whole[:31], None):
        key.unlink(missing_ok=True)
        if found:
            key.write_bytes(found)
        report = machine.examined()
        assert [one["name"] for one in report["findings"] if one["status"] == "failure"] == [
            "state-not-usable"
        ]
        assert "remove" in report["next"]
        assert "folder" not in report["next"]
        assert (key.read_bytes() if key.exists() else None) == found, "it is not replaced"
    key.write_bytes(whole)
    assert not machine.problems()


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        ("DELETE FROM log WHERE id = 2", "log-cut"),
        ("UPDATE log SET line = replace(line, 'r1', 'r2') WHERE id = 1", "log-changed"),
        ("UPDATE copies SET sealing_key = 'another'", "copies-unreadable"),
        ("UPDATE copies SET account = 'x', until = 0, seen_until = 0", "copies-changed"),
    ],
)
def test_lines_that_are_missing_and_copies_that_cannot_be_read_are_recognised(
    machine: Machine, damage: str, name: str
) -> None:
    state = open_state(Settings())
    deleted(state, OPERATOR, copied())
    state.database.close()
    assert not machine.problems()
    with closing(sqlite3.connect(default_store().with_name("state.db"))) as file, file:
        file.execute(damage)
    report = machine.examined()
    assert {one["name"] for one in report["findings"] if "name" in one} == {name, "no-client"}
    assert report["exit_code"] == 0, "a warning is no failure"


def test_copies_of_a_backup_are_recognised_also_after_the_next_line_of_the_log(machine: Machine) -> None:
    state, file = open_state(Settings()), default_store().with_name("state.db")
    deleted(state, OPERATOR, copied())
    backup = file.read_bytes()
    deleted(state, OPERATOR, erase=("r:r1",))
    file.write_bytes(backup)
    assert machine.problems() == {"log-cut"}
    deleted(state, OPERATOR, copied("r2"))
    state.database.close()
    report = machine.examined()
    [found] = [finding for finding in report["findings"] if finding.get("name") == "copies-older"]
    assert "1 recovery copies are older than a gap" in found["what"]


def test_a_sign_in_that_cannot_work_is_recognised(machine: Machine) -> None:
    machine.set("REFLEXIO_MCP_OAUTH_AUDIENCE", AUDIENCE)
    machine.set("REFLEXIO_MCP_OAUTH_ISSUER", f"http://127.0.0.1:{free_port()}")
    assert machine.problems() == {"sign-in-fails"}
    with issuing() as issuer:
        machine.set("REFLEXIO_MCP_OAUTH_ISSUER", issuer.url)
        assert machine.problems() == set()


def test_an_entry_that_cannot_work_is_recognised(machine: Machine) -> None:
    machine.entry(command="/nowhere/reflexio-mcp")
    assert machine.problems() == {"client-command-missing"}
    machine.entry(command=sys.executable, args=["-m", "reflexio_mcp"], env={"REFLEXIO_MCP_READONLY": "1"})
    assert machine.problems() == {"configuration-invalid"}
    machine.client(".cursor/mcp.json", '{"mcpServers": {')
    assert machine.problems() == {"client-file-unreadable"}


def test_an_entry_that_cannot_be_read_does_not_hide_the_others(machine: Machine) -> None:
    machine.entry(command=sys.executable, args=["-m", "reflexio_mcp"], env=["REFLEXIO_MCP_STORE=:memory:"])
    ours = {"command": "/nowhere/reflexio-mcp", "args": [], "env_vars": None}
    machine.client(".gemini/settings.json", {"mcpServers": {"reflexio": ours, "second": ours}})
    found = machine.examined()["findings"]
    assert machine.problems() == {"client-file-unreadable", "client-command-missing"}
    assert {"Cursor", "Gemini CLI", "Gemini CLI, second"} <= {one["where"] for one in found}


def test_the_key_of_an_entry_is_tried_although_the_client_passes_on_this_shell_s(machine: Machine) -> None:
    machine.set("REFLEXIO_API_KEY", KEY)
    machine.client(
        ".config/zed/settings.json",
        {
            "context_servers": {
                "reflexio": {
                    "command": sys.executable,
                    "args": ["-m", "reflexio_mcp"],
                    "env": {"REFLEXIO_API_KEY": "your-api-key"},
                }
            }
        },
    )
    assert "key-malformed" in {
        one.get("name") for one in machine.examined()["findings"] if one["where"] == "Zed"
    }


def test_an_entry_with_comments_is_looked_at_too(machine: Machine) -> None:
    entry = '{"command": "/nowhere/reflexio-mcp", /* mine */ "env": {"REFLEXIO_MCP_STORE": ":memory:"},}'
    machine.client(".cursor/mcp.json", f'// mine\n{{"mcpServers": {{"reflexio": {entry}}}}}')
    report = machine.examined()
    assert "Cursor" in {one["where"] for one in report["findings"]}
    assert any(one["what"].startswith("nothing is kept") for one in report["findings"])


def test_the_server_and_the_key_of_an_entry_are_tried(machine: Machine) -> None:
    refusing = api({"GET /api/whoami": (401, {"detail": "Invalid API key"})})
    here: dict[str, Any] = {"command": sys.executable, "args": ["-m", "reflexio_mcp"]}
    with refusing as url:
        env = {"REFLEXIO_URL": url, "REFLEXIO_API_KEY": "${env:REFLEXIO_API_KEY}"}
        machine.entry(**here, env=env)
        assert machine.problems() == {"client-key-not-set"}
        machine.set("REFLEXIO_API_KEY", KEY)
        machine.set("REFLEXIO_URL", url)
        assert machine.problems() == {"key-refused"}
        machine.entry(**here, env=env | {"REFLEXIO_API_KEY": "${input:reflexio-api-key}"})
        notes = [one["what"] for one in machine.examined()["findings"] if one["status"] == "note"]
        assert any(what.startswith("the key is not known here") for what in notes)


@pytest.mark.skipif(sys.platform == "win32", reason="the program is a script")
def test_no_program_of_an_entry_is_started(machine: Machine) -> None:
    program = machine.home / "reflexio-mcp"
    program.write_text(f"#!/bin/sh\ntouch {machine.home}/started\n", encoding="utf-8")
    program.chmod(0o755)
    machine.entry(command=str(program))
    assert machine.problems() == set()
    assert not (machine.home / "started").exists()


def test_other_servers_of_a_client_are_not_spoken_of(machine: Machine) -> None:
    machine.client(
        ".cursor/mcp.json", {"mcpServers": {"files": {"command": "files-mcp", "env": {"TOKEN": KEY}}}}
    )
    assert machine.problems() == set()
    machine.client(".cursor/mcp.json", {"mcpServers": {"reflexio": {"url": "https://memory.example/mcp"}}})
    findings = machine.examined()["findings"]
    assert any("shared server" in one["what"] for one in findings)
    assert "no-client" not in [one.get("name") for one in findings]


def test_the_same_settings_are_examined_once(machine: Machine) -> None:
    seen: list[str] = []
    with api(seen=seen) as url:
        machine.set("REFLEXIO_URL", url)
        machine.examined()
        alone = len(seen)
        machine.entry(command=sys.executable, args=["-m", "reflexio_mcp"], env={"REFLEXIO_URL": url})
        report = machine.examined()
    assert len(seen) == 2 * alone
    assert any(one["what"] == "the same settings as This shell" for one in report["findings"])


def test_a_person_reads_each_problem_with_its_reason_and_ends_with_the_next_step(machine: Machine) -> None:
    machine.set("REFLEXIO_API_KEY", KEY)
    code, said = machine.said("--url", "http://127.0.0.1:1")
    assert code == 1
    assert "REFLEXIO_API_KEY = ***" in said
    assert (
        "FAILURE  backend    Reflexio could not be reached (“http://127.0.0.1:1: connection refused”)."
        in said
    )
    assert said.splitlines()[-1].startswith("failures: 1, warnings: 0. Next: Check that Reflexio runs")
