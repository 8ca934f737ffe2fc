"""Installing into each client's file, on each system's layout, without touching anything else."""

import io
import json
import re
from pathlib import Path

import pytest

from reflexio_mcp.cli import parse
from reflexio_mcp.install.clients import CLIENTS
from reflexio_mcp.install.command import Request, run_install, run_uninstall
from reflexio_mcp.install.layout import Layout, System
from reflexio_mcp.settings import HOSTED_URL
from tests.install.samples import SAMPLES
from tests.install.support import KEY, LAUNCH, SYSTEMS, Home, client_of, entries, started, variables


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
    assert started(entries(client_of(name), home.data)["reflexio"])[0] == LAUNCH.command


def test_every_client_of_the_table_has_a_sample() -> None:
    assert {client.name for client in CLIENTS} == set(SAMPLES)


def test_everything_else_in_the_file_stays_as_it_was(home: Home) -> None:
    before, old = home.data, home.text
    assert home.install({"REFLEXIO_URL": "http://localhost:8061"})[0] == 0
    after = home.data
    assert started(entries(client_of(home.client), after).pop("reflexio"))[0] == LAUNCH.command
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


def test_a_byte_order_mark_stays_where_it_is(home: Home) -> None:
    old = "\ufeff" + home.text
    home.write(old)
    assert home.install()[0] == 0
    assert home.text.startswith("\ufeff")
    assert home.uninstall()[0] == 0
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
        '{"mcpServers": {\n  "reflexio": {\n    "command": "/old/reflexio-mcp", // mine\n'
        '    "autoApprove": ["list_sessions"],\n'
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
    "opencode": "{env:REFLEXIO_API_KEY}",
    "qwen": "$REFLEXIO_API_KEY",
    "copilot": "${REFLEXIO_API_KEY}",
    "continue": "${{ secrets.REFLEXIO_API_KEY }}",
}


def test_the_key_stays_out_of_the_file_where_the_client_can_take_it_elsewhere(home: Home) -> None:
    _, said = home.install({"REFLEXIO_API_KEY": KEY})
    made = entries(client_of(home.client), home.data)["reflexio"]
    assert KEY not in said
    if home.client == "claude-desktop":
        assert made["env"] == {"REFLEXIO_URL": HOSTED_URL, "REFLEXIO_API_KEY": KEY}
        assert home.path.stat().st_mode & 0o077 == 0
        assert "the key stands in the file" in said
        return
    assert KEY not in home.text
    if home.client == "codex":
        assert made["env_vars"] == ["REFLEXIO_API_KEY"]
    elif home.client == "zed":
        assert made["env"] == {"REFLEXIO_URL": HOSTED_URL}
    else:
        assert variables(made)["REFLEXIO_API_KEY"] == KEY_STANDS_AS[home.client]


def test_vscode_asks_for_the_key_and_hides_what_is_typed(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "vscode")
    home.install({"REFLEXIO_API_KEY": KEY})
    (question,) = home.data["inputs"]
    assert (question["type"], question["id"], question["password"]) == (
        "promptString",
        "reflexio-api-key",
        True,
    )


def test_a_relative_path_is_written_so_that_it_means_the_same_elsewhere(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "gemini")
    home.install({"REFLEXIO_MCP_STORE": "here.db"})
    env = home.data["mcpServers"]["reflexio"]["env"]
    assert env == {"REFLEXIO_MCP_STORE": str(Path("here.db").absolute())}


def test_the_first_installation_ends_with_how_to_try_it(home: Home) -> None:
    assert home.install()[1].endswith("Then ask it: What have you stored about me today?\n")
    assert "ask it" not in home.install({"REFLEXIO_URL": "http://localhost:8061"})[1]


def test_removing_what_is_not_there_says_so(home: Home) -> None:
    old = home.text
    code, said = home.uninstall()
    assert (code, home.text) == (0, old)
    assert "nothing to remove" in said


def test_uninstall_without_a_client_lists_what_has_another_name_and_nothing_of_others(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "codex")
    home.install(name="my mem")
    Home(tmp_path, "linux", "cursor").write(
        '{"mcpServers": {"a": {"command": "npx"}, "b": {"url": "https://x.example/mcp"}, "c": 5, "d": {}}}'
    )
    out = io.StringIO()
    assert run_uninstall(Request(), layout=home.layout, out=out) == 0
    assert out.getvalue() == (
        "Clients that have this server:\n"
        "  codex           Codex CLI           as my mem\n"
        "Next: reflexio-mcp uninstall codex --name 'my mem'\n"
    )


def test_removing_says_what_is_left_of_the_file_and_beside_it(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.install()  # a file of its own, of which there is no backup yet
    said = home.uninstall()[1]
    assert said.startswith(f"Removed reflexio from {home.path}, which now names no server\n")
    assert f"Backup of the file as it was: {home.backups[-1]}\n" in said
    home.install()
    assert " (besides 2 older ones)\n" in home.uninstall()[1]
    home.write('{"mcpServers": {"other": {"command": "x"}}}')
    home.install()
    assert home.uninstall()[1].startswith(f"Removed reflexio from {home.path}\n")


def test_what_a_person_added_to_a_joined_command_survives(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "opencode")
    home.write(
        '{"mcp": {"reflexio": {"type": "local", "enabled": false, "command": ["uvx", "reflexio-mcp", "--mask"],'
        ' "environment": {"REFLEXIO_MCP_TIMEOUT": "5"}}}}'
    )
    assert home.install({"REFLEXIO_URL": "http://localhost:9000"})[0] == 0
    assert home.data["mcp"]["reflexio"] == {
        "type": "local",
        "enabled": False,
        "command": [LAUNCH.command, "--mask"],
        "environment": {"REFLEXIO_MCP_TIMEOUT": "5", "REFLEXIO_URL": "http://localhost:9000"},
    }


def test_a_client_with_a_file_for_each_server_gets_its_folder(tmp_path: Path) -> None:
    (tmp_path / ".continue").mkdir()
    layout = Layout("linux", tmp_path)
    assert run_install(Request("continue"), layout=layout, env={}, launch=LAUNCH, out=io.StringIO()) == 0
    made = json.loads((tmp_path / ".continue/mcpServers/reflexio.json").read_text(encoding="utf-8"))
    assert made == {"mcpServers": {"reflexio": {"command": LAUNCH.command, "args": []}}}


def test_without_a_client_those_of_this_machine_are_listed(tmp_path: Path) -> None:
    layout = Layout("linux", tmp_path)
    out = io.StringIO()
    assert run_install(Request(), layout=layout, env={}, launch=LAUNCH, out=out) == 0
    assert out.getvalue().startswith(
        "No client was found on this machine.\nClients that install knows: claude-desktop"
    )
    assert out.getvalue().endswith("run this again, or: reflexio-mcp install cursor --create\n")
    for folder in (".cursor", ".gemini"):
        (tmp_path / folder).mkdir()
    run_install(Request("cursor"), layout=layout, env={}, launch=LAUNCH, out=io.StringIO())
    out = io.StringIO()
    assert run_install(Request(), layout=layout, env={}, launch=LAUNCH, out=out) == 0
    assert re.search(r"^  cursor +Cursor +has reflexio$", out.getvalue(), re.MULTILINE)
    assert re.search(r"^  gemini +Gemini CLI$", out.getvalue(), re.MULTILINE)
    assert out.getvalue().endswith("Next: reflexio-mcp install gemini\n")


def test_uninstall_without_a_client_names_those_that_have_the_entry(tmp_path: Path) -> None:
    layout = Layout("linux", tmp_path)
    (tmp_path / ".cursor").mkdir()
    out = io.StringIO()
    assert run_uninstall(Request(), layout=layout, out=out) == 0
    assert out.getvalue() == "No client has reflexio.\n"
    run_install(Request("cursor"), layout=layout, env={}, launch=LAUNCH, out=io.StringIO())
    out = io.StringIO()
    assert run_uninstall(Request(), layout=layout, out=out) == 0
    assert out.getvalue().endswith("Next: reflexio-mcp uninstall cursor\n")
    assert "install --print" not in out.getvalue()


def test_a_switch_that_is_turned_off_is_in_the_entry(tmp_path: Path) -> None:
    (tmp_path / ".cursor").mkdir()
    flags = vars(parse(["install", "cursor", "--no-personal-data"]))
    request = Request("cursor", flags={"personal_data": flags["personal_data"]})
    run_install(request, layout=Layout("linux", tmp_path), env={}, launch=LAUNCH, out=io.StringIO())
    made = json.loads((tmp_path / ".cursor/mcp.json").read_text(encoding="utf-8"))
    assert made["mcpServers"]["reflexio"]["env"] == {"REFLEXIO_MCP_PERSONAL_DATA": "0"}
