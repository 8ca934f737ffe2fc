"""Installing into each client's file, on each system's layout, without touching anything else."""

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonc
import pytest

from reflexio_mcp.install.clients import CLIENTS, Client, find_client
from reflexio_mcp.install.command import Request, run_install, run_uninstall
from reflexio_mcp.install.launch import Launch
from reflexio_mcp.install.layout import Layout, System
from tests.install.samples import SAMPLES

SYSTEMS: tuple[System, ...] = ("linux", "macos", "windows")
LAUNCH = Launch("/opt/tools/bin/reflexio-mcp")
KEY = "rflx-0123456789"

# What each client's documentation says, below the person's folder.
PLACES: dict[System, dict[str, str]] = {
    "linux": {
        "claude-desktop": ".config/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": ".config/Code/User/mcp.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": ".config/zed/settings.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "cline": ".cline/data/settings/cline_mcp_settings.json",
    },
    "macos": {
        "claude-desktop": "Library/Application Support/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": "Library/Application Support/Code/User/mcp.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": ".config/zed/settings.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "cline": ".cline/data/settings/cline_mcp_settings.json",
    },
    "windows": {
        "claude-desktop": "AppData/Roaming/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": "AppData/Roaming/Code/User/mcp.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": "AppData/Roaming/Zed/settings.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "cline": ".cline/data/settings/cline_mcp_settings.json",
    },
}


class Home:
    """A person's folder with one client in it."""

    def __init__(self, folder: Path, system: System, client: str) -> None:
        self.layout = Layout(system, folder)
        self.client = client
        self.path = folder / PLACES[system][client]
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, text: str) -> None:
        self.path.write_bytes(text.encode())

    @property
    def text(self) -> str:
        return self.path.read_bytes().decode()

    @property
    def data(self) -> dict[str, Any]:
        return tomllib.loads(self.text) if self.path.suffix == ".toml" else jsonc.loads(self.text)

    @property
    def backups(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}.*.bak"))

    def install(self, env: dict[str, str] | None = None, **options: Any) -> tuple[int, str]:
        out = io.StringIO()
        code = run_install(
            Request(self.client, **options), layout=self.layout, env=env or {}, launch=LAUNCH, out=out
        )
        return code, out.getvalue()

    def uninstall(self, **options: Any) -> tuple[int, str]:
        out = io.StringIO()
        return run_uninstall(Request(self.client, **options), layout=self.layout, out=out), out.getvalue()


def client_of(name: str) -> Client:
    client = find_client(name)
    assert client
    return client


def entries(client: Client, data: dict[str, Any]) -> dict[str, Any]:
    for key in client.section:
        data = data[key]
    return data


@pytest.fixture(params=sorted(SAMPLES))
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Each client on Linux, with a file of the kind that people have."""
    made = Home(tmp_path, "linux", request.param)
    made.write(SAMPLES[request.param])
    return made


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_the_file_is_where_the_client_keeps_it_on_each_system(
    name: str, system: System, tmp_path: Path
) -> None:
    home = Home(tmp_path, system, name)
    assert home.install()[0] == 0
    assert entries(client_of(name), home.data)["reflexio"]["command"] == LAUNCH.command


def test_every_client_of_the_table_has_a_sample() -> None:
    assert {client.name for client in CLIENTS} == set(SAMPLES)


def test_everything_else_in_the_file_stays_as_it_was(home: Home) -> None:
    before, old = home.data, home.text
    assert home.install({"REFLEXIO_URL": "http://localhost:8061"})[0] == 0
    after = home.data
    assert entries(client_of(home.client), after).pop("reflexio")["command"] == LAUNCH.command
    assert after == before
    # Every line that was there is there still, but for a comma that now separates.
    new = [line.rstrip().rstrip(",") for line in home.text.splitlines()]
    if home.client != "windsurf":  # one line
        assert [line for line in old.splitlines() if line.rstrip().rstrip(",") not in new] == []


def test_taking_it_out_again_gives_back_the_same_bytes(home: Home) -> None:
    old = home.path.read_bytes()
    home.install({"REFLEXIO_URL": "http://localhost:8061", "REFLEXIO_API_KEY": KEY})
    assert home.path.read_bytes() != old
    assert home.uninstall()[0] == 0
    assert home.path.read_bytes() == old


def test_windows_line_ends_stay_windows_line_ends(home: Home) -> None:
    old = home.text.replace("\n", "\r\n")
    home.write(old)
    home.install()
    assert "\n" not in home.text.replace("\r\n", "")
    home.uninstall()
    assert home.text == old


def test_a_second_time_changes_nothing(home: Home) -> None:
    home.install({"REFLEXIO_API_KEY": KEY})
    first = home.text
    code, said = home.install({"REFLEXIO_API_KEY": KEY})
    assert (code, home.text) == (0, first)
    assert "already has reflexio" in said
    assert len(home.backups) == 1


def test_the_file_before_is_kept_beside_it(home: Home) -> None:
    old = home.path.read_bytes()
    _, said = home.install()
    assert [one.read_bytes() for one in home.backups] == [old]
    assert str(home.backups[0]) in said


def test_a_dry_run_shows_the_difference_and_writes_nothing(home: Home) -> None:
    old = home.text
    code, said = home.install({"REFLEXIO_API_KEY": KEY}, dry_run=True)
    assert (code, home.text, home.backups) == (0, old, [])
    assert LAUNCH.command in said
    assert "+++" in said
    assert KEY not in said


def test_what_a_person_added_to_the_entry_survives_a_new_install(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cline")
    home.write(
        '{"mcpServers": {\n  "reflexio": {\n    "command": "old", // mine\n    "autoApprove": ["list_sessions"],\n'
        '    "env": {"REFLEXIO_MCP_READ_ONLY": "1"}\n  }\n}}\n'
    )
    home.install({"REFLEXIO_URL": "http://localhost:9000"})
    assert home.data["mcpServers"]["reflexio"] == {
        "command": LAUNCH.command,
        "autoApprove": ["list_sessions"],
        "env": {"REFLEXIO_MCP_READ_ONLY": "1", "REFLEXIO_URL": "http://localhost:9000"},
        "args": [],
    }
    assert "// mine" in home.text


KEY_STANDS_AS = {
    "claude-code": "${REFLEXIO_API_KEY:-}",
    "cursor": "${env:REFLEXIO_API_KEY}",
    "vscode": "${input:reflexio-api-key}",
    "windsurf": "${env:REFLEXIO_API_KEY}",
    "gemini": "$REFLEXIO_API_KEY",
    "cline": "${env:REFLEXIO_API_KEY}",
}


def test_the_key_stays_out_of_the_file_where_the_client_can_take_it_elsewhere(home: Home) -> None:
    _, said = home.install({"REFLEXIO_API_KEY": KEY})
    made = entries(client_of(home.client), home.data)["reflexio"]
    assert KEY not in said
    if home.client == "claude-desktop":
        assert made["env"] == {"REFLEXIO_API_KEY": KEY}
        assert home.path.stat().st_mode & 0o077 == 0
        assert "the key stands in the file" in said
        return
    assert KEY not in home.text
    if home.client == "codex":
        assert made["env_vars"] == ["REFLEXIO_API_KEY"]
    elif home.client == "zed":
        assert "env" not in made
    else:
        assert made["env"]["REFLEXIO_API_KEY"] == KEY_STANDS_AS[home.client]


def test_vscode_asks_for_the_key_and_hides_what_is_typed(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "vscode")
    home.install({"REFLEXIO_API_KEY": KEY})
    (question,) = home.data["inputs"]
    assert (question["type"], question["id"], question["password"]) == (
        "promptString",
        "reflexio-api-key",
        True,
    )


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("text", ["", "\n", "{}", "{\n}\n"])
def test_an_empty_file_is_a_start(name: str, text: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", name)
    home.write("" if home.path.suffix == ".toml" else text)
    assert home.install()[0] == 0
    assert entries(client_of(name), home.data)["reflexio"]["command"] == LAUNCH.command


BROKEN = {
    "json": ['{"mcpServers": {', '{"a": 1} x', "{'a': 1}", '{"a" 1}', "[1]", '{"a": tru}', "\udcff"],
    "toml": ["a = ", "[x", "a = 1\na = 2", "\udcff"],
}


@pytest.mark.parametrize("name", ["cursor", "zed", "codex"])
@pytest.mark.parametrize("number", range(7))
def test_a_malformed_file_is_left_alone_and_named(
    name: str, number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", name)
    kind = BROKEN[client_of(name).format]
    broken = kind[number % len(kind)].encode("utf-8", "surrogateescape")
    home.path.write_bytes(broken)
    assert home.install()[0] == 1
    said = capsys.readouterr().err
    assert str(home.path) in said
    assert "was left alone" in said
    assert (home.path.read_bytes(), home.backups) == (broken, [])


def test_the_place_of_the_mistake_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.write('{\n  "mcpServers": {\n    "a": nope\n  }\n}\n')
    home.install()
    assert "line 3, column 10" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ['{"mcpServers": []}', '{"mcpServers": "x"}', '{"mcpServers": {}, "mcpServers": {}}']
)
def test_a_file_of_another_shape_is_left_alone(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.write(text)
    assert home.install()[0] == 1
    assert home.text == text
    assert "was left alone" in capsys.readouterr().err


def test_a_client_that_is_not_here_is_said_to_be_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layout = Layout("linux", tmp_path)
    assert run_install(Request("cursor"), layout=layout, env={}, launch=LAUNCH) == 1
    said = capsys.readouterr().err
    assert "Cursor was not found" in said
    assert "--create" in said
    assert list(tmp_path.iterdir()) == []
    assert run_install(Request("cursor", create=True), layout=layout, env={}, launch=LAUNCH) == 0
    assert (tmp_path / ".cursor" / "mcp.json").is_file()


def test_the_packaged_claude_desktop_on_windows_is_found_where_it_reads(tmp_path: Path) -> None:
    layout = Layout("windows", tmp_path)
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    package.mkdir(parents=True)
    (tmp_path / "AppData/Roaming/Claude").mkdir(parents=True)
    assert (
        run_install(Request("claude-desktop"), layout=layout, env={}, launch=LAUNCH, out=io.StringIO()) == 0
    )
    assert (package / "claude_desktop_config.json").is_file()


def test_the_older_place_of_cline_is_used_where_it_is_the_one_that_exists(tmp_path: Path) -> None:
    layout = Layout("linux", tmp_path)
    old = tmp_path / ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}", encoding="utf-8")
    run_install(Request("cline"), layout=layout, env={}, launch=LAUNCH, out=io.StringIO())
    assert "reflexio" in json.loads(old.read_text(encoding="utf-8"))["mcpServers"]


def test_variables_that_move_a_clients_folder_are_heeded(tmp_path: Path) -> None:
    env = {
        "CODEX_HOME": str(tmp_path / "c"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "d"),
        "XDG_CONFIG_HOME": str(tmp_path / "x"),
    }
    layout = Layout("linux", tmp_path / "home", env)
    for name in ("codex", "claude-code", "zed"):
        run_install(Request(name, create=True), layout=layout, env={}, launch=LAUNCH, out=io.StringIO())
    assert (tmp_path / "c/config.toml").is_file()
    assert (tmp_path / "d/.claude.json").is_file()
    assert (tmp_path / "x/zed/settings.json").is_file()


def test_a_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    home.path.symlink_to(real)
    home.install()
    assert home.path.is_symlink()
    assert "reflexio" in real.read_text(encoding="utf-8")


def test_the_rights_of_the_file_stay(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "gemini")
    home.write("{}")
    home.path.chmod(0o640)
    home.install()
    assert home.path.stat().st_mode & 0o777 == 0o640


def test_print_writes_nothing_and_shows_what_any_client_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = io.StringIO()
    assert (
        run_install(
            Request(show=True),
            layout=Layout("linux", tmp_path),
            env={"REFLEXIO_API_KEY": KEY},
            launch=LAUNCH,
            out=out,
        )
        == 0
    )
    shown = json.loads(out.getvalue())
    assert shown["mcpServers"]["reflexio"]["command"] == LAUNCH.command
    assert KEY not in out.getvalue()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_client_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_install(Request("emacs"), env={}, launch=LAUNCH) == 1
    said = capsys.readouterr().err
    assert all(client.name in said for client in CLIENTS)


def test_a_relative_path_is_written_so_that_it_means_the_same_elsewhere(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "gemini")
    home.install({"REFLEXIO_MCP_STORE": "here.db"})
    env = home.data["mcpServers"]["reflexio"]["env"]
    assert env == {"REFLEXIO_MCP_STORE": str(Path("here.db").absolute())}


def test_removing_what_is_not_there_says_so(home: Home) -> None:
    old = home.text
    code, said = home.uninstall()
    assert (code, home.text) == (0, old)
    assert "nothing to remove" in said
