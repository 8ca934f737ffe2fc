"""What is written for each client, a first and a second time."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import pytest

from reflexio_mcp.cli import main
from reflexio_mcp.install.clients import Layout
from reflexio_mcp.install.entry import command_of, find_launch
from reflexio_mcp.install.files import InstallError
from reflexio_mcp.settings import HOSTED_URL, load
from tests.install.support import KEY, NAMED, OWN, Home

HomeOf = Callable[[str], Home]

URL = "https://memory.example/mcp"
OTHER_URL = "https://other.example/mcp"
TOKEN = "s3cret-bearer"


@pytest.fixture(params=list(NAMED))
def home(request: pytest.FixtureRequest, home_of: HomeOf) -> Home:
    """Each client, with another server and other settings in its file."""
    made = home_of(request.param)
    if made.client.format == "toml":
        made.write('# Mine\nmodel = "big"  # the big one\n\n[mcp_servers.docs]\ncommand = "docs-mcp"\n')
    else:
        made.put({"command": "docs-mcp"}, "docs")
    return made


def test_the_file_is_where_the_client_keeps_it_on_each_system(tmp_path: Path) -> None:
    windows, macos = Layout("windows", tmp_path), Layout("macos", tmp_path)
    linux = Layout("linux", tmp_path, {"XDG_CONFIG_HOME": str(tmp_path / "x"), "CODEX_HOME": str(tmp_path)})
    for name, layout, place in (
        ("vscode", windows, "AppData/Roaming/Code/User/mcp.json"),
        ("vscode", macos, "Library/Application Support/Code/User/mcp.json"),
        ("vscode", linux, "x/Code/User/mcp.json"),
        ("zed", windows, "AppData/Roaming/Zed/settings.json"),
        ("zed", macos, ".config/zed/settings.json"),
        ("codex", linux, "config.toml"),
        ("cursor", windows, ".cursor/mcp.json"),
    ):
        assert NAMED[name].file(layout) == tmp_path / place
    (tmp_path / "x/opencode").mkdir(parents=True)
    (tmp_path / "x/opencode/opencode.jsonc").touch()
    assert NAMED["opencode"].file(linux).name == "opencode.jsonc"
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    package.mkdir(parents=True)
    assert NAMED["claude-desktop"].file(windows).parent == package


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
    if home.client.name == "cline":  # it waits three seconds for a server, unless told otherwise
        assert home.entries["reflexio"]["timeout"] == 60


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


def test_the_key_is_in_the_file_only_if_the_client_takes_it_from_nowhere_else(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    old = home.text
    for words in (["--dry-run"], ["--print"]):
        assert home.install(*words) == 0
    assert home.text == old
    assert home.install() == 0
    assert KEY not in capsys.readouterr().out
    expected = KEY if home.client.key_by == "file" else home.client.reference or None
    assert home.variables.get("REFLEXIO_API_KEY") == expected
    assert (KEY in home.text) is (home.client.name == "claude-desktop")
    if KEY in home.text:
        assert [one.stat().st_mode & 0o077 for one in (home.path, *home.backups)] == [0, 0]
    # Without its key the entry still means the account, and not the embedded store.
    assert load({**home.variables, "REFLEXIO_API_KEY": ""}).base_url == HOSTED_URL


@pytest.mark.parametrize("name", [name for name in NAMED if name != "claude-desktop"])
def test_a_shared_server_is_added_by_its_address_with_at_most_a_reference_to_the_token(
    name: str, home_of: HomeOf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of(name)
    form = {**home.client.remote, home.client.url_key: URL}
    assert home.install("--remote", URL) == 0
    assert home.entries["reflexio"] == form
    monkeypatch.setenv("REFLEXIO_MCP_AUTH_TOKEN", TOKEN)
    assert home.install("--remote", URL, "--replace") == 0
    refers = any(word in home.text for word in ("REFLEXIO_MCP_AUTH_TOKEN", "${input:reflexio-mcp-token}"))
    assert refers is (name not in ("zed", "cline", "continue"))
    assert TOKEN not in home.text + capsys.readouterr().out
    assert (home.install(), home.uninstall("--remote", OTHER_URL)) == (1, 1), (
        "another server of the same name"
    )
    assert home.uninstall("--remote", URL) == 0
    assert "reflexio" not in home.entries


@pytest.mark.parametrize("name", [name for name in NAMED if name != "claude-desktop"])
@pytest.mark.parametrize("with_token", [False, True])
def test_a_shared_server_that_install_added_is_removed_by_its_name(
    name: str, with_token: bool, home_of: HomeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of(name)
    if with_token:
        monkeypatch.setenv("REFLEXIO_MCP_AUTH_TOKEN", TOKEN)
    assert (home.install("--remote", URL), home.uninstall()) == (0, 0)
    assert "reflexio" not in home.entries


def test_a_shared_server_without_a_token_is_removed_by_the_name_that_install_gave_it(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    assert home.install("--remote", URL, "--name", "tickets") == 0
    home.put({home.client.url_key: OTHER_URL}, "tickets")
    assert home.uninstall("--name", "tickets") == 1, "somebody has put another server there"
    assert home.install("--remote", URL, "--name", "tickets", "--replace") == 0
    assert home.uninstall("--name", "tickets") == 0
    assert "tickets" not in home.entries
    capsys.readouterr()
    assert main(["uninstall"]) == 0
    said = capsys.readouterr().out
    assert said.endswith("Next: reflexio-mcp uninstall NAME\n")
    assert "--create" not in said


def test_another_server_that_has_an_address_is_not_removed_by_its_name_and_the_command_is_told(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    home.put({home.client.url_key: URL}, "tickets")
    assert home.uninstall("--name", "tickets") == 1
    assert "tickets" in home.entries
    command = capsys.readouterr().err.partition("run: reflexio-mcp ")[2].partition(" Else ")[0]
    assert main(shlex.split(command)) == 0
    assert "tickets" not in home.entries


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("https://memory.example/", URL),
        (" https://memory.example/mcp/ ", URL),
        ("https://memory.example:8443/team/mcp", "https://memory.example:8443/team/mcp"),
        ("http://[::1]:8765/mcp", "http://[::1]:8765/mcp"),
    ],
)
def test_an_address_is_taken_as_clients_use_it(typed: str, meant: str, home_of: HomeOf) -> None:
    home = home_of("cursor")
    home.install("--remote", typed)
    assert home.entries["reflexio"] == {"url": meant}


@pytest.mark.parametrize(
    "typed",
    [
        "", "memory.example/mcp", "http://memory.example/mcp", "ftp://memory.example/mcp", "https:///mcp",
        f"https://jo:{TOKEN}@memory.example/mcp", f"https://memory.example/mcp?token={TOKEN}",
        f"https://memory.example/mcp#{TOKEN}", "https://memory.example:99999/mcp", "https://memory.example/sse",
        "https://memory.example/\x1b[31mmcp", "https://memory.example/\u202epcm", "https://mem\u200bory.example/mcp",
        "https://memory.example/a b", "https://m\u0435mory.example/mcp", "http://localhost.example/mcp",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_refused_and_not_repeated(
    typed: str, home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    assert home.install("--remote", typed) == 2
    said = capsys.readouterr().err
    assert "--remote takes the" in said
    assert TOKEN not in said
    assert said.isascii()
    assert "\x1b" not in said
    assert not home.path.exists()


def test_what_cannot_be_done_is_said_with_the_way_to_do_it(
    home_of: HomeOf, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home_of("cursor")
    for words, code, said in (
        (["cursor"], 1, "Cursor was not found"),
        (["emacs"], 2, ", ".join(NAMED)),
        (["claude-desktop", "--remote", URL], 1, f"add {URL} in the app"),
        (["cursor", "--remote", URL, "--read-only"], 2, "--remote cannot be combined with --read-only"),
        (["cursor", "--every-user", "--user-id", "ada"], 2, "--every-user cannot be combined with --user-id"),
    ):
        assert main(["install", *words]) == code
        assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_clients_here_are_listed_and_any_other_client_gets_an_entry_to_paste(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home_of("cursor").install()
    home_of("gemini").write("{}")
    main(["install"])
    said = capsys.readouterr().out
    assert "Cursor              has reflexio" in said
    assert "gemini          Gemini CLI\n" in said
    assert main(["install", "--print", "--user-id", "ada"]) == 0
    shown = json.loads(capsys.readouterr().out)["mcpServers"]["reflexio"]
    assert (shown["command"], shown["env"]) == (find_launch()[0], {"REFLEXIO_USER_ID": "ada"})


@pytest.mark.parametrize("name", [name for name in NAMED if name != "claude-desktop"])
def test_a_client_whose_command_is_there_is_found_before_its_first_start(
    name: str,
    home_of: HomeOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = home_of(name)
    assert main(["install", name]) == 1
    assert "no command of it in PATH" in capsys.readouterr().err
    program = tmp_path / "bin" / home.client.program
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    assert main(["install"]) == 0
    assert f"  {name} " in capsys.readouterr().out.partition("Other clients")[0]
    assert main(["install", name]) == 0
    assert "reflexio" in home.entries


def test_json_says_what_install_did_and_which_clients_are_here(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    assert home.install("--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done == {"status": "added", "client": "cursor", "name": "reflexio", "file": str(home.path)}
    assert main(["install", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["clients"]
    assert [row["client"] for row in listed if row["installed"]] == ["cursor"]
    assert home.uninstall("--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["status"] == "removed"
    assert "reflexio" in Path(done["backup"]).read_text(encoding="utf-8")
    assert home.uninstall("--json") == 0
    assert json.loads(capsys.readouterr().out)["status"] == "absent"


OURS: list[dict[str, Any]] = [
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


def test_replace_drops_the_settings_that_it_named_and_sends_no_key_to_another_address(
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
    assert home.variables == {"REFLEXIO_URL": OWN, "REFLEXIO_USER_ID": "jo"}


def test_what_is_typed_and_set_in_the_shell_is_written_so_that_it_means_the_same_elsewhere(
    home_of: HomeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of("gemini")
    home.install("--every-user")
    assert home.variables == {}
    monkeypatch.setenv("REFLEXIO_MCP_STORE", "here.db")
    monkeypatch.setenv("REFLEXIO_MCP_PORT", "9")
    home.install("--user-id", "ada", "--replace")
    assert home.variables == {
        "REFLEXIO_MCP_STORE": str(Path("here.db").absolute()),
        "REFLEXIO_USER_ID": "ada",
    }


def test_what_is_written_starts_with_a_poor_path_and_never_from_a_cache(tmp_path: Path) -> None:
    python = str(tmp_path / "python")
    assert find_launch(python, str(tmp_path)) == (python, "-P", "-m", "reflexio_mcp")
    done = subprocess.run(
        [*find_launch(), "--version"],
        env={"PATH": os.defpath, "HOME": str(tmp_path)}, cwd=tmp_path, capture_output=True, encoding="utf-8",
        timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("reflexio-mcp "), done.stderr
    for prefix in ("/c/uv/archive-v0/x", "/c/uv/environments-v2/x", "/home/jo/.cache/pipx/x"):
        with pytest.raises(InstallError, match="uv tool install"):
            find_launch(sys.executable, prefix)
