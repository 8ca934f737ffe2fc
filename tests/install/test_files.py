"""Files that are empty, broken, linked, elsewhere or not there at all."""

import io
import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from reflexio_mcp.install import files
from reflexio_mcp.install.clients import CLIENTS
from reflexio_mcp.install.command import Request, run_install
from reflexio_mcp.install.layout import Layout
from reflexio_mcp.settings import ConfigurationError
from tests.install.samples import SAMPLES
from tests.install.support import KEY, LAUNCH, Home, client_of, entries, started


@pytest.mark.parametrize("name", sorted(SAMPLES))
@pytest.mark.parametrize("text", ["", "\n", "{}", "{\n}\n"])
def test_an_empty_file_is_a_start(name: str, text: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", name)
    home.write("" if home.path.suffix == ".toml" else text)
    assert home.install()[0] == 0
    assert started(entries(client_of(name), home.data)["reflexio"])[0] == LAUNCH.command


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


def test_a_link_that_leads_to_itself_is_said_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.path.symlink_to(home.path.name)
    assert home.install()[0] == 1
    assert str(home.path) in capsys.readouterr().err


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


def test_an_unknown_client_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError) as refused:
        run_install(Request("emacs"), env={}, launch=LAUNCH)
    said = str(refused.value)
    assert all(client.name in said for client in CLIENTS)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not lock a folder")
def test_a_file_that_another_process_edits_for_too_long_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.write(SAMPLES["cursor"])
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    with files.locked(home.path):
        assert home.install()[0] == 1
    assert home.path.read_text(encoding="utf-8") == SAMPLES["cursor"]
    assert "Another process is editing" in capsys.readouterr().err


def test_six_installations_at_once_lose_no_entry(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.write(SAMPLES["cursor"])
    names = [f"memory-{number}" for number in range(6)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "reflexio_mcp", "install", "cursor", "--name", name],
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for name in names
    ]
    said = [process.communicate(timeout=60)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0] * 6, said
    assert set(names) <= set(home.data["mcpServers"])


@pytest.mark.parametrize("words", [["install", "cursor", "--create"], ["uninstall", "cursor"], ["install"]])
def test_nothing_is_made_but_the_clients_file(words: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reflexio_mcp", *words],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    made = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert made == ({".cursor", ".cursor/mcp.json"} if "--create" in words else set())


def test_a_file_on_a_drive_that_is_not_there_is_not_looked_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on Windows, where even the uppermost folder of a path may be missing."""
    home, asked = Home(tmp_path, "linux", "cursor"), list[Path]()

    def missing(folder: Path) -> bool:
        asked.append(folder)
        assert len(asked) < 100
        return False

    monkeypatch.setattr(Path, "is_dir", missing)
    assert home.install(create=True)[0] == 1
    assert (
        f"{home.path} is in no folder or drive that exists. Nothing was changed." in capsys.readouterr().err
    )
    assert home.path.parent.parent.parent in asked


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not lock a folder")
def test_a_folder_that_is_made_while_the_lock_is_waited_for_is_locked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".cursor" / "mcp.json"
    locked, seen = files.private_files.locked, list[Path]()

    def waited_for(folder: Path, *, seconds: float) -> AbstractContextManager[None]:
        seen.append(folder)
        path.parent.mkdir(exist_ok=True)
        return locked(folder, seconds=seconds)

    monkeypatch.setattr(files.private_files, "locked", waited_for)
    with files.locked(path):
        assert seen == [tmp_path, path.parent]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes of this kind")
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_pipe_is_not_waited_for(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path, "linux", "cursor")
    os.mkfifo(home.path)
    assert (home.install if command == "install" else home.uninstall)()[0] == 1
    assert "not an ordinary file" in capsys.readouterr().err


def test_a_file_that_is_too_large_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.write('{"a": "' + "x" * 20_000_000 + '"}')
    assert home.install()[0] == 1
    assert "too large" in capsys.readouterr().err


def test_the_backup_of_a_file_that_now_holds_a_key_is_private_too(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    home.write(SAMPLES["claude-desktop"])
    home.path.chmod(0o644)
    home.install({"REFLEXIO_API_KEY": KEY})
    home.install({"REFLEXIO_API_KEY": KEY + "1"})
    assert [one.stat().st_mode & 0o077 for one in (home.path, *home.backups)] == [0, 0, 0]


def test_a_file_behind_a_dangling_link_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    real = tmp_path / "dotfiles" / "claude.json"
    home.path.symlink_to(real)
    assert home.install({"REFLEXIO_API_KEY": KEY})[0] == 0
    assert home.path.is_symlink()
    assert real.stat().st_mode & 0o077 == 0
