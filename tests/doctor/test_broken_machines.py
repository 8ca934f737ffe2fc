"""Broken set-ups of a machine: each problem is named, with what to do, and no secret is shown."""

import errno
import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest

from reflexio_mcp.backend import default_store
from reflexio_mcp.doctor.command import CHECKS, run_doctor
from tests.doctor.servers import api, free_port
from tests.doctor.support import KEY, SetUp, as_text, problems
from tests.support.issuer import AUDIENCE, issuing

pytestmark = pytest.mark.anyio


async def test_a_new_machine_is_well(machine: SetUp) -> None:
    report = await machine.examined(write=True)
    assert (problems(report), problems(report, "warning"), report.exit_code) == (set(), set(), 0)
    of_a_kind_that_is_not_set = {"state", "sign-in", "written files"}
    assert {one.check for one in report.findings} == {one.name for one in CHECKS} - of_a_kind_that_is_not_set


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
        ("placeholder-not-expanded", {"REFLEXIO_API_KEY": "{env:REFLEXIO_API_KEY}"}),
        ("placeholder-not-expanded", {"REFLEXIO_API_KEY": "${{ secrets.REFLEXIO_API_KEY }}"}),
        ("placeholder-not-expanded", {"REFLEXIO_USER_ID": "${user_config.user_id}"}),
        ("key-malformed", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": f'"{KEY}"'}),
        ("key-malformed", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": f"Bearer {KEY}"}),
        ("key-is-an-example", {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": "your-api-key"}),
    ],
)
async def test_a_wrong_value_is_recognised(name: str, variables: dict[str, str], machine: SetUp) -> None:
    machine.env |= variables
    assert name in problems(await machine.examined())


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("REFLEXIO_USER", "REFLEXIO_USER_ID"),
        ("REFLEXIO_MCP_USER", "REFLEXIO_USER_ID"),
        ("reflexio_user_id", "REFLEXIO_USER_ID"),
        ("REFLEXIO_MCP_READONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_READ_ONLY", "REFLEXIO_MCP_READ_ONLY"),
        ("REFLEXIO_MCP_CONFIRMS", "REFLEXIO_MCP_CONFIRM"),
    ],
)
async def test_a_misspelt_variable_is_warned_of_with_the_right_one(
    wrong: str, right: str, machine: SetUp
) -> None:
    machine.env |= {wrong: "1"}
    report = await machine.examined()
    assert problems(report, "failure") == {"unknown-variable"}
    (found,) = [finding for finding in report.findings if finding.name == "unknown-variable"]
    assert found.what.startswith(f"{wrong} is set")
    assert f"Name it {right}," in found.do


async def test_variables_of_others_are_not_complained_about(machine: SetUp) -> None:
    for name in ("REFLEXIO_STORAGE", "REFLEXIO_LOG_LEVEL", "REFLEXIO_AGENT_VERSION", "REFLEXIO_DIR", "USER"):
        machine.env |= {name: "1"}
    assert problems(await machine.examined(), "warning") == set()


async def test_a_pasted_header_is_named_without_hiding_the_word_that_is_wrong(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": "http://127.0.0.1:1", "REFLEXIO_API_KEY": f"Bearer {KEY}"}
    shown = as_text(await machine.examined())
    assert "the word Bearer" in shown
    assert "without Bearer" in shown


async def test_credentials_in_an_address_are_refused_and_not_shown(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": f"http://jo:{KEY}@127.0.0.1:1"}
    assert problems(await machine.examined()) == {"configuration-invalid"}


async def test_an_address_that_nobody_gave_is_not_blamed(
    machine: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: Any, **__: Any) -> Any:
        raise OSError("name or service not known")

    monkeypatch.setattr("anyio.getaddrinfo", unknown)
    machine.env |= {"REFLEXIO_API_KEY": KEY}
    (found,) = [one for one in (await machine.examined()).findings if one.name == "host-unknown"]
    assert "misspelt" not in found.why
    assert "REFLEXIO_URL is not set" in found.do


async def test_a_key_over_plain_http_to_another_machine_is_warned_of(machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": "http://reflexio.invalid", "REFLEXIO_API_KEY": KEY}
    assert "key-sent-in-clear" in problems(await machine.examined(), "warning")


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
        connection.commit()


def newer_store(path: Path) -> None:
    from reflexio_mcp.embedded_store.schema import APPLICATION_ID, SCHEMA_VERSION

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


async def test_a_folder_that_may_not_be_looked_into_is_recognised(
    machine: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = machine.home / "closed"
    there = Path.exists

    def exists(path: Path) -> bool:
        if closed in path.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return there(path)

    monkeypatch.setattr(Path, "exists", exists)
    machine.env |= {"REFLEXIO_MCP_AUDIT_LOG": str(closed / "folder" / "log")}
    report = await machine.examined()
    assert problems(report) == {"audit-log-not-writable"}


async def test_a_data_folder_in_which_no_deletion_can_be_recorded_is_recognised(machine: SetUp) -> None:
    (machine.home / "file").write_text("", encoding="utf-8")
    machine.env |= {
        "REFLEXIO_URL": "http://reflexio.invalid",
        "REFLEXIO_MCP_STORE": str(machine.home / "file" / "x.db"),
    }
    (found,) = [one for one in (await machine.examined()).findings if one.name == "state-not-writable"]
    assert str(machine.home / "file" / "state.db") in found.why
    machine.env["REFLEXIO_MCP_TOOLS"] = "list_sessions,publish_interaction"
    assert "state-not-writable" not in problems(await machine.examined())
    machine.env |= {"REFLEXIO_MCP_TOOLS": "", "REFLEXIO_MCP_READ_ONLY": "1"}
    assert "state-not-writable" not in problems(await machine.examined())


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes of this kind")
async def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(machine: SetUp) -> None:
    for name in ("x.db", "log"):
        os.mkfifo(machine.home / name)
    machine.env |= {
        "REFLEXIO_MCP_STORE": str(machine.home / "x.db"),
        "REFLEXIO_MCP_AUDIT_LOG": str(machine.home / "log"),
    }
    with anyio.fail_after(60):
        report = await machine.examined()
    assert problems(report) == {"store-not-writable", "audit-log-not-writable"}


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
        ("client-command-missing", {"command": "reflexio-mcp"}),
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
    assert report.exit_code == 2
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
    said = [one.what for one in report.findings if one.check == "clients"]
    assert said == [
        "Windsurf, reflexio: the program starts and answers",
        "Windsurf, reflexio: it uses the embedded store, :memory:, without a problem",
    ]


async def test_the_clients_come_before_what_only_commands_of_this_shell_use(machine: SetUp) -> None:
    cursor(machine, {})
    report = await machine.examined()
    checks = [one.check for one in report.findings]
    assert checks[:3] == ["configuration", "clients", "clients"]
    (said,) = [one.what for one in report.findings if one.what.startswith("Cursor, reflexio: it uses")]
    assert said == f"Cursor, reflexio: it uses the embedded store, {default_store()}, as this shell does"


async def test_a_key_that_is_not_set_here_is_not_said_to_keep_the_rest_from_being_checked(
    machine: SetUp,
) -> None:
    with api() as url:
        cursor(machine, {"REFLEXIO_API_KEY": "${env:REFLEXIO_API_KEY}", "REFLEXIO_URL": url})
        report = await machine.examined()
    (warned,) = [one for one in report.findings if one.status == "warning"]
    assert warned.why.endswith("so what needs the key was not checked.")
    assert report.next_step == "Set REFLEXIO_API_KEY where Cursor is started."
    said = [one.what for one in report.findings if one.status == "ok" and "it uses" in one.what]
    assert said == [
        f"Cursor, reflexio: it uses {url}, which answers; its key was not tried (for commands here: --url {url})"
    ]
    cursor(machine, {"REFLEXIO_API_KEY": "${env:REFLEXIO_API_KEY}"})
    (warned,) = [one for one in (await machine.examined()).findings if one.status == "warning"]
    assert warned.why == "Without its key this entry means the embedded store, because it names no address."


async def test_an_entry_with_a_server_of_its_own_is_told_apart_from_what_this_shell_uses(
    machine: SetUp,
) -> None:
    url = "http://127.0.0.1:9"
    entry = {"command": sys.executable, "args": ["-m", "reflexio_mcp"], "env": {"REFLEXIO_URL": url}}
    machine.client(".codeium/windsurf/mcp_config.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    report = await machine.examined()
    said = [one.what for one in report.findings if one.status != "skipped"]
    assert any(one.startswith("commands in this shell use the embedded store") for one in said)
    assert f"Windsurf, reflexio: it uses {url} (for commands here: --url {url})" in said
    assert any(one.status == "failure" and one.what.startswith("Windsurf, ") for one in report.findings)
    assert "in this shell" in report.heading()


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("client-file-malformed", ".gemini/settings.json", '{"mcpServers": {'),
        ("client-file-malformed", ".codex/config.toml", "[mcp_servers"),
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


async def test_a_key_that_a_client_passes_on_and_is_not_set_is_missed(machine: SetUp) -> None:
    args = json.dumps(["-m", "reflexio_mcp"])
    machine.client(
        ".codex/config.toml",
        f'[mcp_servers.reflexio]\ncommand = "{sys.executable}"\nargs = {args}\nenv_vars = ["REFLEXIO_API_KEY"]\n',
    )
    report = await machine.examined()
    (warned,) = [one for one in report.findings if one.status == "warning"]
    assert (warned.name, warned.what) == (
        "client-key-not-set",
        "Codex CLI, reflexio: refers to REFLEXIO_API_KEY, which is not set here",
    )
    assert "without a problem" not in as_text(report)


@pytest.mark.parametrize("written", ["", "${env:MY_USER}"])
async def test_a_limit_that_is_empty_is_warned_of(written: str, machine: SetUp) -> None:
    cursor(machine, {"REFLEXIO_USER_ID": written, "REFLEXIO_URL": ""})
    report = await machine.examined()
    warned = {one.name: one for one in report.findings if one.status == "warning"}
    assert warned["limit-is-empty"].what == "Cursor, reflexio: REFLEXIO_USER_ID is empty"
    if written:
        assert "no key" not in warned["client-key-not-set"].why
    assert "without a problem" not in as_text(report)
    machine.env |= {"REFLEXIO_MCP_CONFIRM": "", "REFLEXIO_MCP_SOURCE": ""}
    said = [one.what for one in (await machine.examined()).findings if one.name == "limit-is-empty"]
    assert said == ["REFLEXIO_MCP_CONFIRM is empty", "Cursor, reflexio: REFLEXIO_USER_ID is empty"]


async def test_what_confines_a_client_is_said_with_where_it_stores(machine: SetUp) -> None:
    with api() as url:
        limits = {
            "REFLEXIO_MCP_CONFIRM": "ask",
            "REFLEXIO_MCP_READ_ONLY": "1",
            "REFLEXIO_MCP_RECOVERY_DAYS": "7",
        }
        cursor(machine, {"REFLEXIO_URL": url, "REFLEXIO_USER_ID": "ada l", **limits})
        said = [one.what for one in (await machine.examined()).findings if "it uses" in one.what]
    limits = "(user ada l, read-only, confirm ask, copies for 7 days)"
    here = f"(for commands here: --url {url} --user-id 'ada l')"
    assert said == [f"Cursor, reflexio: it uses {url} {limits}, without a problem {here}"]


def cursor(machine: SetUp, env: dict[str, str], *, name: str = "reflexio") -> None:
    entry = {"command": sys.executable, "args": ["-m", "reflexio_mcp"], "env": env}
    machine.client(".cursor/mcp.json", json.dumps({"mcpServers": {name: entry}}))


async def test_a_key_in_a_client_file_is_warned_of(machine: SetUp) -> None:
    with api() as url:
        cursor(machine, {"REFLEXIO_API_KEY": KEY, "REFLEXIO_URL": url})
        report = await machine.examined()
    assert (problems(report), problems(report, "warning")) == (set(), {"client-key-in-file"})


async def test_a_server_that_ends_at_once_is_recognised_with_its_last_words(machine: SetUp) -> None:
    script = machine.home / "bin" / "reflexio-mcp"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho no module >&2\nexit 1\n", encoding="utf-8")
    script.chmod(0o755)
    machine.client(".cursor/mcp.json", json.dumps({"mcpServers": {"reflexio": {"command": str(script)}}}))
    report = await machine.examined()
    assert problems(report) == {"client-start-fails"}
    assert "no module" in as_text(report)


STRANGERS: list[dict[str, Any]] = [
    {"command": "MARK", "args": ["/home/jo/reflexio-tools/run.py"]},
    {"command": "MARK"},
    {"command": "npx", "args": ["-y", "someone-elses-reflexio"]},
    {"command": "/bin/sh", "args": ["-c", "MARK reflexio"]},
    {"command": "MARK", "args": ["--reflexio"]},
    {"command": "node", "args": ["/home/jo/reflexio-mcp/index.js"]},
    {"command": "MARK", "args": ["reflexio-mcp"]},
    {"command": "/bin/sh", "args": ["MARK", "/x/reflexio-mcp"]},
    {"command": "/usr/bin/env", "args": ["MARK", "reflexio-mcp"]},
    {"command": "bash", "args": ["-c", "MARK; /x/reflexio-mcp"]},
]


@pytest.mark.parametrize("entry", STRANGERS)
@pytest.mark.parametrize("name", ["reflexio", "reflexio-notes", "notes"])
async def test_programs_of_others_are_never_started(entry: dict[str, Any], name: str, machine: SetUp) -> None:
    mark = machine.home / "started"
    program = machine.home / "my-reflexio-script"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n", encoding="utf-8")
    program.chmod(0o755)
    text = json.dumps({"mcpServers": {name: entry}}).replace("MARK", str(program))
    machine.client(".cursor/mcp.json", text)
    report = await machine.examined()
    assert not mark.exists()
    assert (problems(report), report.exit_code) == (set(), 0)
    assert "client-entry-foreign" in problems(report, "note")


@pytest.mark.parametrize(
    ("path", "section", "key"),
    [
        (".cursor/mcp.json", "mcpServers", "url"),
        (".gemini/settings.json", "mcpServers", "httpUrl"),
        (".codeium/windsurf/mcp_config.json", "mcpServers", "serverUrl"),
    ],
)
async def test_a_shared_server_counts_as_set_up_and_is_not_called_a_stranger(
    path: str, section: str, key: str, machine: SetUp
) -> None:
    entry = {key: "https://memory.example/mcp", "headers": {"Authorization": "Bearer a-token-in-the-file"}}
    machine.client(path, json.dumps({section: {"reflexio": entry}}))
    report = await machine.examined()
    assert (problems(report), report.exit_code) == (set(), 0)
    assert {"client-entry-remote"} == problems(report, "note") & {
        "client-entry-foreign",
        "client-entry-remote",
    }
    said = as_text(report)
    assert "a-token-in-the-file" not in said
    assert "no client" not in said
    assert "1 of the clients' entries could not be" in said


async def test_an_entry_whose_variables_decide_what_runs_is_not_started(machine: SetUp) -> None:
    mark = machine.home / "started"
    program = machine.home / "reflexio-mcp"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n", encoding="utf-8")
    program.chmod(0o755)
    for name in ("PATH", "LD_PRELOAD", "PYTHONPATH", "UV_INDEX_URL"):
        entry = {"command": "reflexio-mcp", "env": {name: str(machine.home)}}
        machine.client(".cursor/mcp.json", json.dumps({"mcpServers": {"reflexio": entry}}))
        report = await machine.examined()
        assert not mark.exists()
        assert (problems(report), report.exit_code) == (set(), 0)
        assert f"Cursor, reflexio: {name} decides what it runs" in as_text(report)
        assert "All is well" not in as_text(report)


async def test_what_lies_in_the_working_folder_is_not_started(
    machine: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = machine.home / "started"
    module = machine.home / "reflexio_mcp" / "__main__.py"
    module.parent.mkdir()
    module.write_text(f"open({str(mark)!r}, 'w')\n", encoding="utf-8")
    monkeypatch.chdir(machine.home)
    cursor(machine, {"REFLEXIO_MCP_STORE": ":memory:"})
    report = await machine.examined()
    assert not mark.exists()
    assert problems(report) == set()


@pytest.mark.parametrize(
    "entry",
    [
        {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": f"Bearer {KEY}"}},
        {"command": "reflexio-mcp", "args": ["explore"]},
    ],
)
async def test_all_is_not_well_beside_an_entry_that_is_not_checked(
    entry: dict[str, Any], machine: SetUp
) -> None:
    cursor(machine, {"REFLEXIO_MCP_STORE": ":memory:"})
    machine.client(".gemini/settings.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    report = await machine.examined()
    assert (problems(report), report.exit_code) == (set(), 0)
    assert "1 of the clients' entries could not be" in as_text(report)
    assert "All is well" not in as_text(report)


async def test_a_server_that_only_the_client_knows_is_not_taken_for_checked(machine: SetUp) -> None:
    entry = {
        "type": "stdio",
        "command": sys.executable,
        "args": ["-m", "reflexio_mcp"],
        "env": {"REFLEXIO_URL": "${input:url}"},
    }
    machine.env |= {"REFLEXIO_API_KEY": KEY}
    machine.client(".config/Code/User/mcp.json", json.dumps({"servers": {"reflexio": entry}}))
    report = await machine.examined()
    assert "VS Code, reflexio: only the client knows REFLEXIO_URL" in as_text(report)
    assert "All is well" not in as_text(report)


async def test_each_entry_is_checked_with_its_own_server_and_key(machine: SetUp) -> None:
    refusal = (401, {"detail": "Invalid API key"})
    with api({"GET /api/whoami": refusal}) as url:
        cursor(machine, {"REFLEXIO_URL": url, "REFLEXIO_API_KEY": KEY})
        report = await machine.examined()
        assert problems(report) == {"key-refused"}
        assert "Cursor, reflexio: the server refuses the key" in as_text(report)
        assert "All is well" not in as_text(report)
    cursor(machine, {"REFLEXIO_URL": f"http://127.0.0.1:{free_port()}"})
    assert problems(await machine.examined()) == {"connection-refused"}
    cursor(machine, {"REFLEXIO_URL": "https://reflexio.invalid"})
    assert problems(await machine.examined()) == {"host-unknown"}


async def test_an_entry_is_checked_with_the_arguments_that_a_person_gave_it(machine: SetUp) -> None:
    entry = {
        "command": sys.executable,
        "args": ["-m", "reflexio_mcp", "--url", f"http://127.0.0.1:{free_port()}"],
    }
    machine.client(".cursor/mcp.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    assert problems(await machine.examined()) == {"connection-refused"}


async def test_a_client_of_the_terminal_has_the_path_of_the_shell(machine: SetUp) -> None:
    program = machine.home / "bin" / "reflexio-mcp"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m reflexio_mcp "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    machine.env |= {"PATH": f"{program.parent}:/usr/bin:/bin"}
    entry = {"command": "reflexio-mcp", "env": {"REFLEXIO_MCP_STORE": ":memory:"}}
    machine.client(".claude.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    report = await machine.examined()
    assert (problems(report), report.exit_code) == (set(), 0)
    assert "client-needs-path" in problems(report, "note")
    machine.client(".cursor/mcp.json", json.dumps({"mcpServers": {"reflexio": entry}}))
    assert problems(await machine.examined()) == {"client-command-missing"}


async def test_whether_people_can_sign_in_is_looked_at(machine: SetUp) -> None:
    with issuing() as issuer:
        machine.env |= {"REFLEXIO_MCP_OAUTH_ISSUER": issuer.url, "REFLEXIO_MCP_OAUTH_AUDIENCE": AUDIENCE}
        shown = as_text(await machine.examined())
        assert f"people sign in at {issuer.url}, with tokens for {AUDIENCE}" in shown
        assert "every user is visible" not in shown
        client = {"REFLEXIO_MCP_OAUTH_CLIENT_ID": "us", "REFLEXIO_MCP_OAUTH_CLIENT_SECRET": "old"}
        issuer.client = "us", "new"
        machine.env |= client
        assert problems(await machine.examined()) == {"sign-in-client-refused"}
        issuer.metadata = {"introspection_endpoint": None}
        assert problems(await machine.examined()) == {"introspection-fails"}
        for name in client:
            del machine.env[name]
        issuer.metadata = {"issuer": f"{issuer.url}/"}
        report = await machine.examined()
        assert problems(report) == {"issuer-not-readable"}
        assert f"names another issuer in its metadata, '{issuer.url}/'" in as_text(report)
        issuer.status = 500
        assert problems(await machine.examined()) == {"issuer-not-readable"}
    del machine.env["REFLEXIO_MCP_OAUTH_AUDIENCE"]
    report = await machine.examined()
    assert problems(report) == {"configuration-invalid"}
    assert "REFLEXIO_MCP_OAUTH_AUDIENCE" in as_text(report)


async def test_clients_with_the_same_dead_server_are_one_failure_that_names_them(machine: SetUp) -> None:
    for path in (".cursor/mcp.json", ".codeium/windsurf/mcp_config.json", ".gemini/settings.json"):
        variables = {"REFLEXIO_URL": "http://127.0.0.1:9"}
        entry = {"command": sys.executable, "args": ["-m", "reflexio_mcp"], "env": variables}
        machine.client(path, json.dumps({"mcpServers": {"reflexio": entry}}))
    report = await machine.examined()
    (failed,) = [one.what for one in report.findings if one.status == "failure"]
    assert failed.startswith("Cursor, reflexio; Windsurf, reflexio; Gemini CLI, reflexio: ")


async def test_without_a_client_on_the_machine_there_is_a_way_on(machine: SetUp) -> None:
    assert "`reflexio-mcp install cursor --create`" in (await machine.examined()).next_step


async def test_without_a_client_it_is_not_said_that_all_is_well(machine: SetUp) -> None:
    (machine.home / ".cursor").mkdir()
    shown = as_text(await machine.examined())
    assert "All is well" not in shown
    assert shown.endswith("Next: Run `reflexio-mcp install cursor`.\n")


def test_findings_are_shown_as_they_are_made(machine: SetUp, capsys: pytest.CaptureFixture[str]) -> None:
    class Screen(io.StringIO):
        parts: ClassVar[list[str]] = []

        def write(self, text: str) -> int:
            self.parts.append(text)
            return len(text)

    screen = Screen()
    assert run_doctor({"store": ":memory:"}, out=screen) == 0
    assert screen.parts[0].startswith("reflexio-mcp ")
    assert len(screen.parts) >= 4
    assert "".join(screen.parts).count("skipped") == 2  # one line a reason


@pytest.mark.parametrize(
    "value",
    [f"{KEY}", f"jo:{KEY}@host", f"http://host/?key={KEY}", f"http://host?{KEY}", f"http://host/#{KEY}"],
)
async def test_a_key_in_the_wrong_place_is_not_repeated(value: str, machine: SetUp) -> None:
    machine.env |= {"REFLEXIO_URL": value}
    assert problems(await machine.examined()) == {"configuration-invalid"}  # which also looks for KEY


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
