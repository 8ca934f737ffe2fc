"""Installing into each client's file, a first and a second time."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import pytest

from reflexio_mcp.cli import main
from reflexio_mcp.install.clients import Layout, System
from reflexio_mcp.install.entry import command_of, find_launch
from reflexio_mcp.install.files import InstallError
from reflexio_mcp.settings import HOSTED_URL, load
from tests.install.support import KEY, NAMES, OWN, Home, client_of

HomeOf = Callable[[str], Home]

PLACES = {  # below the person's folder; what each client's documentation says
    "claude-desktop": (
        ".config/Claude/claude_desktop_config.json",
        "Library/Application Support/Claude/claude_desktop_config.json",
        "AppData/Roaming/Claude/claude_desktop_config.json",
    ),
    "claude-code": (".claude.json",) * 3,
    "cursor": (".cursor/mcp.json",) * 3,
    "vscode": (
        ".config/Code/User/mcp.json",
        "Library/Application Support/Code/User/mcp.json",
        "AppData/Roaming/Code/User/mcp.json",
    ),
    "windsurf": (".codeium/windsurf/mcp_config.json",) * 3,
    "zed": (".config/zed/settings.json", ".config/zed/settings.json", "AppData/Roaming/Zed/settings.json"),
    "codex": (".codex/config.toml",) * 3,
    "gemini": (".gemini/settings.json",) * 3,
    "cline": (".cline/data/settings/cline_mcp_settings.json",) * 3,
    "opencode": (".config/opencode/opencode.json",) * 3,
    "qwen": (".qwen/settings.json",) * 3,
    "copilot": (".copilot/mcp-config.json",) * 3,
    "continue": (".continue/mcpServers/reflexio.json",) * 3,
}

KEY_STANDS_AS = {
    "claude-desktop": KEY,
    "claude-code": "${REFLEXIO_API_KEY:-}",
    "cursor": "${env:REFLEXIO_API_KEY}",
    "vscode": "${input:reflexio-api-key}",
    "windsurf": "${env:REFLEXIO_API_KEY}",
    "gemini": "$REFLEXIO_API_KEY",
    "cline": "${env:REFLEXIO_API_KEY}",
    "opencode": "{env:REFLEXIO_API_KEY}",
    "qwen": "$REFLEXIO_API_KEY",
    "copilot": "${REFLEXIO_API_KEY}",
    "continue": "${{ secrets.REFLEXIO_API_KEY }}",
}


@pytest.fixture(params=NAMES)
def home(request: pytest.FixtureRequest, home_of: HomeOf) -> Home:
    """Each client, with another server and other settings in its file."""
    made = home_of(request.param)
    if made.client.format == "toml":
        made.write('# Mine\nmodel = "big"  # the big one\n\n[mcp_servers.docs]\ncommand = "docs-mcp"\n')
    else:
        made.put({"command": "docs-mcp"}, "docs")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_where_the_client_keeps_it_on_each_system(name: str) -> None:
    systems: tuple[System, ...] = ("linux", "macos", "windows")
    for system, place in zip(systems, PLACES[name], strict=True):
        found = client_of(name).file(Layout(system, Path("/home/jo")))
        assert found.relative_to("/home/jo").as_posix() == place


def test_variables_and_older_places_are_heeded(tmp_path: Path) -> None:
    layout = Layout(
        "linux", tmp_path, {"CODEX_HOME": str(tmp_path / "c"), "XDG_CONFIG_HOME": str(tmp_path / "x")}
    )
    assert client_of("codex").file(layout) == tmp_path / "c" / "config.toml"
    assert client_of("zed").file(layout) == tmp_path / "x" / "zed" / "settings.json"
    second = client_of("opencode").paths(layout)[1]
    second.parent.mkdir(parents=True)
    second.touch()
    assert client_of("opencode").file(layout) == second
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    package.mkdir(parents=True)
    assert client_of("claude-desktop").file(Layout("windows", tmp_path)).parent == package


def test_the_entry_starts_this_program_for_this_account_and_nothing_else_changes(home: Home) -> None:
    before, old = home.entries, home.path.read_bytes()
    assert home.install() == 0
    after = home.entries
    command = find_launch()
    assert command_of(after.pop("reflexio")) == [*command]
    assert PurePath(command[0]).is_absolute()
    assert after == before
    assert load(home.variables).user_id == "jo"
    assert [one.read_bytes() for one in home.backups] == [old]
    if home.client.name == "codex":
        assert "# the big one" in home.text
        assert home.entries["reflexio"]["required"] is True


def test_taking_it_out_leaves_what_was_there(home: Home) -> None:
    before = home.entries
    home.install("--url", OWN, "--with-key")
    assert home.uninstall() == 0
    assert home.entries == before
    assert home.data.get("inputs", []) == []
    assert home.uninstall() == 0


def test_a_second_time_changes_nothing(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.install("--url", OWN)
    first = home.text
    assert home.install("--url", OWN) == 0
    assert home.text == first
    assert "nothing needs to change" in capsys.readouterr().out
    assert len(home.backups) == 1


def test_a_dry_run_writes_nothing_and_shows_no_key(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    old = home.text
    for words in (["--dry-run"], ["--print"]):
        assert home.install(*words) == 0
        said = capsys.readouterr().out
        assert find_launch()[0] in said
        assert KEY not in said
    assert (home.text, home.backups) == (old, [])


def test_the_key_is_in_the_file_only_if_the_client_takes_it_from_nowhere_else(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    assert home.install() == 0
    assert KEY not in capsys.readouterr().out
    assert home.variables.get("REFLEXIO_API_KEY") == KEY_STANDS_AS.get(home.client.name)
    assert (home.entries["reflexio"].get("env_vars") == ["REFLEXIO_API_KEY"]) is (home.client.name == "codex")
    assert (KEY in home.text) is (home.client.name == "claude-desktop")
    if KEY in home.text:
        assert [one.stat().st_mode & 0o077 for one in (home.path, *home.backups)] == [0, 0]
    # Without its key the entry still means the account, and not the embedded store.
    assert load({**home.variables, "REFLEXIO_API_KEY": ""}).base_url == HOSTED_URL
    if home.client.name == "vscode":
        (question,) = home.data["inputs"]
        assert (question["id"], question["password"]) == ("reflexio-api-key", True)


def test_a_client_that_is_not_here_is_said_to_be_missing(
    home_of: HomeOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home_of("cursor")
    assert main(["install", "cursor"]) == 1
    said = capsys.readouterr().err
    assert "Cursor was not found" in said
    assert "--create" in said
    assert list(tmp_path.iterdir()) == []
    assert main(["install", "emacs"]) == 2
    assert ", ".join(NAMES) in capsys.readouterr().err


def test_the_clients_here_are_listed_with_the_next_command(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    cursor, gemini = home_of("cursor"), home_of("gemini")
    cursor.install()
    gemini.write("{}")
    capsys.readouterr()
    main(["install"])
    said = capsys.readouterr().out
    assert "Cursor              has reflexio" in said
    assert "gemini          Gemini CLI\n" in said
    assert "windsurf" in said


def test_what_is_printed_for_any_client_can_be_read_by_it(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home_of("cursor")
    assert main(["install", "--print", "--user-id", "ada"]) == 0
    shown = json.load(io.StringIO(capsys.readouterr().out))["mcpServers"]["reflexio"]
    assert shown["command"] == find_launch()[0]
    assert shown["env"] == {"REFLEXIO_USER_ID": "ada"}


OURS: list[dict[str, Any]] = [
    {"command": "reflexio-mcp"},
    {"command": "/opt/tools/bin/reflexio-mcp", "args": ["serve"]},
    {"command": "C:\\Tools\\reflexio-mcp.exe"},
    {"command": "uvx", "args": ["--from", "git+https://x.example/reflexio-mcp", "reflexio-mcp@1.0"]},
    {"command": "python3", "args": ["-P", "-m", "reflexio_mcp"]},
]
OTHERS: list[dict[str, Any]] = [
    {"url": "https://other.example/mcp", "headers": {"Authorization": "Bearer s3cret"}},
    {"command": "node", "args": ["/home/jo/reflexio-mcp/index.js", "--token", "s3cret"]},
    {"command": "uvx", "args": ["--from", "reflexio-mcp", "other"], "env": {"TOKEN": "s3cret"}},
    {},
]


@pytest.mark.parametrize("entry", [*OURS, *OTHERS])
def test_another_entry_of_the_same_name_is_left_alone_until_it_is_to_be_replaced(
    entry: dict[str, Any], home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    home.put(entry)
    before = home.text
    assert home.install() == 1
    said = capsys.readouterr().err
    assert "--replace" in said
    assert "s3cret" not in said
    assert (home.text, home.backups) == (before, [])
    assert home.uninstall("--dry-run") == (0 if entry in OURS else 1)
    assert home.install("--name", "memory") == 0
    assert home.install("--replace") == 0
    assert home.entries["reflexio"]["command"] == find_launch()[0]


def test_the_settings_that_replace_would_drop_are_named(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cline")
    env = {"REFLEXIO_USER_ID": "ada", "MY_TOKEN": "s3cret", "REFLEXIO_API_KEY": KEY}
    home.put({"command": "uvx", "args": ["reflexio-mcp", "--read-only"], "env": env})
    assert home.install("--url", OWN) == 1
    said = capsys.readouterr().err
    assert "REFLEXIO_USER_ID=ada" in said
    assert "REFLEXIO_MCP_READ_ONLY=1" in said
    assert "s3cret" not in said
    assert KEY not in said
    assert home.install("--url", OWN, "--replace") == 0
    assert home.variables == {"REFLEXIO_URL": OWN, "REFLEXIO_USER_ID": "jo"}, "no key goes to another address"


def test_the_user_is_the_one_of_the_account_unless_another_is_named(home_of: HomeOf) -> None:
    home = home_of("cursor")
    home.install()
    assert home.variables == {"REFLEXIO_USER_ID": "jo"}
    home.install("--user-id", "ada", "--replace")
    assert home.variables == {"REFLEXIO_USER_ID": "ada"}
    home.install("--every-user", "--replace")
    assert home.variables == {}
    assert home.install("--every-user", "--user-id", "ada") == 2


def test_what_is_set_in_the_shell_is_written_so_that_it_means_the_same_elsewhere(
    home_of: HomeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of("gemini")
    monkeypatch.setenv("REFLEXIO_MCP_STORE", "here.db")
    monkeypatch.setenv("REFLEXIO_MCP_PORT", "9")
    home.install()
    assert home.variables == {"REFLEXIO_MCP_STORE": str(Path("here.db").absolute()), "REFLEXIO_USER_ID": "jo"}


def test_the_installed_command_is_named_by_its_whole_path_or_the_interpreter_runs_the_module(
    tmp_path: Path,
) -> None:
    python = str(tmp_path / "python")
    assert find_launch(python, str(tmp_path)) == (python, "-P", "-m", "reflexio_mcp")
    script = tmp_path / ("reflexio-mcp.exe" if sys.platform == "win32" else "reflexio-mcp")
    script.touch()
    assert find_launch(python, str(tmp_path)) == (str(script),)


@pytest.mark.parametrize(
    "prefix", ["/c/uv/archive-v0/x", "/c/uv/environments-v2/x", "/home/jo/.cache/pipx/x"]
)
def test_a_copy_in_a_cache_is_not_written_into_a_client(prefix: str) -> None:
    with pytest.raises(InstallError, match="uv tool install"):
        find_launch(prefix=prefix)


def test_what_is_written_starts_with_a_poor_path(tmp_path: Path) -> None:
    done = subprocess.run(
        [*find_launch(), "--version"],
        env={"PATH": os.defpath, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("reflexio-mcp "), done.stderr
