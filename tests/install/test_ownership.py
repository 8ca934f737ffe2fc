"""What is already there under our name: somebody else's is not touched, our own is brought up to date and said so."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.install.samples import SAMPLES
from tests.install.support import KEY, LAUNCH, Home, client_of, entries

FOREIGN: list[dict[str, Any]] = [
    {"url": "https://other.example/mcp", "headers": {"Authorization": "Bearer abc"}},
    {"serverUrl": "https://other.example/mcp"},
    {"httpUrl": "https://other.example/mcp"},
    {"type": "sse", "command": "/x/reflexio-mcp"},
    {"command": "node", "args": ["/home/jo/reflexio-mcp/index.js"]},
    {"command": "npx", "args": ["-y", "reflexio-mcp"]},
    {"command": "/usr/bin/other-server", "env": {"X": "1"}},
    {"command": ["reflexio-mcp"]},
    {"command": "uvx", "args": ["mcp-server-git", "--repository", "/x/reflexio-mcp"]},
    {"command": "uvx", "args": ["--from=evilpkg", "reflexio-mcp"]},
    {"command": "uvx", "args": ["--from", "evilpkg", "reflexio-mcp"]},
    {"command": "uvx", "args": ["--from", "git+https://evil.example/reflexio-mcp", "reflexio-mcp"]},
    {
        "command": "uvx",
        "args": ["--from", "https://evil.example/reflexio_mcp-1-py3-none-any.whl", "reflexio-mcp"],
    },
    {"command": "uvx", "args": ["--from", "//evil.example/reflexio-mcp", "reflexio-mcp"]},
    {"command": "uvx", "args": ["--with", "evilpkg", "reflexio-mcp"]},
    {"command": "uvx", "args": ["--index-url", "https://evil.example", "reflexio-mcp"]},
    {"command": "uvx", "args": ["--python", "/x/evil", "reflexio-mcp"]},
    {"command": "uvx", "args": ["reflexio-mcp@https://evil.example/x.whl"]},
    {"command": "uvx", "args": ["reflexio-mcp @ https://evil.example/x.whl"]},
    {"command": "uvx", "args": ["reflexio-mcp-evil"]},
    {"command": "uvx", "args": ["--from", "reflexio-mcp", "evil"]},
    {"command": "uvx", "args": ["--from", "reflexio-mcp"]},
    {"command": "uvx", "args": []},
    {"command": "uv", "args": ["run", "--directory", "/x/reflexio-mcp", "reflexio-mcp"]},
    {"command": "uv", "args": ["run", "reflexio-mcp"]},
    {"command": "pipx", "args": ["run", "--spec", "evilpkg", "reflexio-mcp"]},
    {"command": "pipx", "args": ["inject", "reflexio-mcp", "evilpkg"]},
    {"command": "env", "args": ["npx", "reflexio-mcp"]},
    {"command": "/usr/bin/env", "args": ["reflexio-mcp"]},
    {"command": "bash", "args": ["-c", "reflexio-mcp"]},
    {"command": "sh", "args": ["/x/reflexio-mcp"]},
    {"command": "cmd", "args": ["/c", "npx", "reflexio-mcp"]},
    {"command": "cmd.exe", "args": ["/c", "reflexio-mcp"]},
    {"command": "NPX", "args": ["reflexio-mcp"]},
    {"command": "NODE", "args": ["/x/reflexio-mcp"]},
    {"command": "docker", "args": ["run", "-i", "--rm", "evil/reflexio-mcp"]},
    {"command": "docker", "args": ["run", "-i", "--rm", "reflexio-mcp"]},
    {"command": "python3", "args": ["/x/reflexio-mcp"]},
    {"command": "python3", "args": ["-c", "import evil", "-m", "reflexio_mcp"]},
    {"command": "python3", "args": ["-m", "evil", "reflexio_mcp"]},
    {"command": "pythonx", "args": ["-m", "reflexio_mcp"]},
    {"command": "./reflexio-mcp"},
    {"command": "../x/uvx", "args": ["reflexio-mcp"]},
    {"command": "\\\\evil\\share\\reflexio-mcp.exe"},
    {"command": "/x/reflexio-mcp/run.sh"},
    {"command": "/x/reflexio-mcp.py"},
    {"command": "reflexio-mcp --read-only"},
    {"command": "reflexio-mcp", "args": ["demo", "--live"]},
]

OURS: list[tuple[str, list[str]]] = [
    ("/old/bin/reflexio-mcp", []),
    ("C:\\Tools\\reflexio-mcp.exe", []),
    ("uvx", ["reflexio-mcp"]),
    ("uvx", ["--python", "3.13", "reflexio-mcp@0.1.0"]),
    ("uvx", ["--from", "git+https://github.com/reflexio-mcp/reflexio-mcp", "reflexio-mcp"]),
    ("pipx", ["run", "reflexio-mcp[audit]"]),
    ("/usr/bin/python3", ["-P", "-m", "reflexio_mcp"]),
    ("C:\\Program Files\\uv\\uvx.exe", ["reflexio-mcp==0.1.0"]),
    ("uvx", ["--from", "reflexio-mcp[postgres]>=0.1,<2", "reflexio-mcp"]),
    ("uvx", ["--from=git+https://github.com/reflexio-mcp/reflexio-mcp@v0.2", "reflexio-mcp"]),
    ("uvx", ["--from", "/home/jo/src/reflexio-mcp", "reflexio-mcp"]),
    ("uv", ["tool", "run", "reflexio-mcp@latest"]),
    ("pipx", ["run", "--spec", "/tmp/reflexio_mcp-0.1.0-py3-none-any.whl", "reflexio-mcp"]),
    ("python3.13", ["-m", "reflexio_mcp"]),
]


def holding(folder: Path, client: str, entry: object) -> Home:
    home = Home(folder, "linux", client)
    whole: Any = {"reflexio": entry}
    for key in reversed(client_of(client).section):
        whole = {key: whole}
    home.write(json.dumps(whole, indent=2))
    return home


@pytest.mark.parametrize("client", ["cursor", "opencode"])
@pytest.mark.parametrize("separate", [True, False])
def test_an_entry_with_a_token_in_the_address_of_this_copy_is_ours_and_the_token_is_not_shown(
    client: str, separate: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reflexio_mcp.install.ownership.installed_from", lambda: "git+https://x.example/r")
    source = "git+https://jo:t0ken@x.example/r"
    arguments = [*(["--from", source] if separate else [f"--from={source}"]), "reflexio-mcp"]
    joined = client_of(client).joined
    home = holding(
        tmp_path,
        client,
        {"command": ["uvx", *arguments]} if joined else {"command": "uvx", "args": arguments},
    )
    code, shown = home.install(dry_run=True)
    assert (code, "t0ken" in shown) == (0, False)
    assert home.install()[0] == 0
    assert "t0ken" not in home.text


@pytest.mark.parametrize("entry", [*FOREIGN, 5, "text", []])
def test_another_server_of_the_same_name_is_left_alone_until_asked_for(
    entry: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = holding(tmp_path, "cursor", entry)
    before = home.text
    assert home.install()[0] == 1
    said = capsys.readouterr().err
    assert (home.text, home.backups) == (before, [])
    assert "Cursor already has a different server named reflexio" in said
    assert "--name" in said
    assert "--replace" in said
    assert "abc" not in said

    assert home.install(name="memory")[0] == 0
    assert home.data["mcpServers"]["reflexio"] == entry

    code, said = home.install(replace=True)
    assert code == 0
    assert said.startswith("Replaced reflexio in Cursor")
    assert home.data["mcpServers"]["reflexio"] == {"command": LAUNCH.command, "args": []}


@pytest.mark.parametrize("entry", FOREIGN)
def test_another_server_of_the_same_name_is_not_taken_out(
    entry: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = holding(tmp_path, "gemini", entry)
    before = home.text
    assert home.uninstall()[0] == 1
    assert (home.text, home.backups) == (before, [])
    way = "--remote https://other.example/mcp\n" if "httpUrl" in entry else "by hand"  # Gemini's own form
    assert way in capsys.readouterr().err


@pytest.mark.parametrize(
    ("client", "other"),
    [("vscode", {"type": "http", "url": "https://x.example"}), ("zed", {"source": "extension"})],
)
def test_what_each_client_calls_a_server_of_another_kind_is_known(
    client: str, other: dict[str, Any], tmp_path: Path
) -> None:
    home = holding(tmp_path, client, other)
    before = home.text
    assert home.install()[0] == 1
    assert home.text == before


def test_another_server_in_toml_is_replaced_whole_when_asked_for(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "codex")
    home.write('# mine\n[mcp_servers.reflexio]\nurl = "https://x.example"\n\n[tail]\nq = 2\n')
    assert home.install()[0] == 1
    assert home.install(replace=True)[0] == 0
    assert home.data == {
        "mcp_servers": {"reflexio": {"command": LAUNCH.command, "args": []}},
        "tail": {"q": 2},
    }
    assert home.text.startswith("# mine\n")


@pytest.mark.parametrize(("command", "args"), OURS)
def test_an_older_entry_of_ours_is_brought_up_to_date(command: str, args: list[str], tmp_path: Path) -> None:
    home = holding(tmp_path, "cursor", {"command": command, "args": args, "disabled": True})
    code, said = home.install()
    assert code == 0
    assert said.startswith("Updated reflexio in Cursor")
    assert home.data["mcpServers"]["reflexio"] == {
        "command": LAUNCH.command,
        "args": [],
        "disabled": True,
    }


def test_an_entry_that_says_nothing_yet_is_filled_in(tmp_path: Path) -> None:
    for entry in ({}, {"args": []}, {"env": {}}):
        home = holding(tmp_path, "cursor", entry)
        assert home.install()[0] == 0
        assert home.data["mcpServers"]["reflexio"]["command"] == LAUNCH.command


@pytest.mark.parametrize("client", ["cursor", "codex", "claude-desktop"])
def test_settings_that_stay_from_an_earlier_install_are_named_and_can_be_dropped(
    client: str, tmp_path: Path
) -> None:
    home = Home(tmp_path, "linux", client)
    home.write(SAMPLES[client])
    home.install({"REFLEXIO_URL": "http://127.0.0.1:8061", "REFLEXIO_API_KEY": KEY})
    before = home.text
    code, said = home.install()
    assert (code, home.text) == (0, before)
    assert "nothing needs to change" in said
    assert "REFLEXIO_URL=http://127.0.0.1:8061" in said
    assert "REFLEXIO_API_KEY" in said
    assert "--replace" in said
    assert KEY not in said

    code, said = home.install({"REFLEXIO_USER_ID": "ada"}, replace=True)
    assert code == 0
    assert "Kept" not in said
    (dropped,) = re.findall(r"^Dropped with the old entry: (.*)\.$", said, re.MULTILINE)
    assert dropped.split(", ")[0] == "REFLEXIO_URL=http://127.0.0.1:8061"
    assert dropped.split(", ")[1].startswith("REFLEXIO_API_KEY")
    assert KEY not in said
    assert "Dropped" not in home.install({"REFLEXIO_USER_ID": "ada"}, replace=True)[1]
    made = entries(client_of(client), home.data)["reflexio"]
    assert made["env"] == {"REFLEXIO_USER_ID": "ada"}
    assert "env_vars" not in made


def test_arguments_that_a_person_gave_the_server_stay_and_are_named(tmp_path: Path) -> None:
    home = holding(tmp_path, "cursor", {"command": "uvx", "args": ["reflexio-mcp", "--read-only"]})
    _, said = home.install()
    assert home.data["mcpServers"]["reflexio"]["args"] == ["--read-only"]
    assert "Kept from before: --read-only." in said
    home.install()
    assert home.data["mcpServers"]["reflexio"]["args"] == ["--read-only"]


def test_a_nought_is_written_and_a_switch_that_is_off_is_not(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.install(
        {"REFLEXIO_MCP_READ_ONLY": "0", "REFLEXIO_MCP_MASK": "false"},
        flags={"delete_cap": "0", "confirm_above": "0"},
    )
    assert home.data["mcpServers"]["reflexio"]["env"] == {
        "REFLEXIO_MCP_DELETE_CAP": "0",
        "REFLEXIO_MCP_CONFIRM_ABOVE": "0",
    }


def test_a_key_that_is_left_in_a_copy_is_said_to_be_there(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    home.write(SAMPLES["claude-desktop"])
    assert "still stands" not in home.install({"REFLEXIO_API_KEY": KEY})[1]
    _, said = home.uninstall()
    assert re.search(r"The key still stands in \S+\.bak: delete that backup", said)
    assert KEY not in said
    assert KEY not in home.text

    other = Home(tmp_path, "linux", "cursor")
    other.install({"REFLEXIO_API_KEY": KEY})
    assert "still stands" not in other.uninstall()[1]
