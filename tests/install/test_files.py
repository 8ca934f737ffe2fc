"""Files that are empty, broken, commented, linked or not files at all, and clients that write them themselves."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reflexio_mcp.install import files
from reflexio_mcp.install.files import ClientFile, InstallError
from tests.install.support import KEY, NAMED, Home

HomeOf = Callable[[str], Home]

COMMENTED = '{\n  // mine\n  "mcpServers": {"docs": {"command": "docs//mcp"},},\n}\n'


@pytest.mark.parametrize("text", ["", "\n", "{}", "\ufeff{}"])
def test_an_empty_file_is_a_start(text: str, home_of: HomeOf) -> None:
    home = home_of("cursor")
    home.write(text)
    assert home.install() == 0
    assert "reflexio" in home.entries


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("cursor", '{"mcpServers": {'), ("cursor", "[1]"), ("cursor", '{"mcpServers": []}'), ("cursor", "\\xff"),
        ("codex", "a = "), ("codex", "a = 1\na = 2"), ("vscode", '{"inputs": {"a": 1}}'),
    ],
)  # fmt: skip
def test_a_malformed_file_is_left_alone_and_named(
    client: str, text: str, home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of(client)
    home.write("")
    home.path.write_bytes(b"\xff" if text == "\\xff" else text.encode())
    before = home.path.read_bytes()
    assert home.install() == 1
    assert "was left alone" in capsys.readouterr().err
    assert (home.path.read_bytes(), home.backups) == (before, [])


@pytest.mark.parametrize(("listed", "kept"), [(None, []), (["a word"], ["a word"])])
def test_a_list_of_questions_that_is_empty_or_odd_is_no_obstacle(
    listed: object, kept: list[object], home_of: HomeOf
) -> None:
    home = home_of("vscode")
    home.write(json.dumps({"inputs": listed}))
    assert home.install() == 0
    assert json.loads(home.text)["inputs"] == kept


def test_a_file_with_comments_is_not_changed_and_the_entry_is_shown(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    home.write(COMMENTED)
    assert home.install() == 1
    said = capsys.readouterr().err
    assert "has comments" in said
    assert "reflexio" in json.loads(said[said.index("\n{") :])["mcpServers"]
    home.write(COMMENTED.replace('"docs"', '"reflexio"').replace("docs//mcp", "reflexio-mcp"))
    assert home.uninstall() == 1
    assert "by hand" in capsys.readouterr().err
    assert "// mine" in home.text


def test_layout_and_characters_of_a_file_stay(home_of: HomeOf) -> None:
    home = home_of("gemini")
    home.write('{\n\t"a": "caf\u00e9",\n\t"b": 1.50\n}\n')
    home.install()
    assert home.text.startswith('{\n\t"a": "caf\u00e9",\n')
    home.write('{"half": "\\ud83d"}')
    assert home.install() == 0
    assert '"\\ud83d"' in home.text
    home.path.write_bytes(b'{\r\n "a": 1\r\n}\r\n')
    home.install()
    assert b"\n" not in home.path.read_bytes().replace(b"\r\n", b"")


def test_a_link_stays_a_link_rights_stay_and_a_new_file_is_private(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop = home_of("claude-desktop")
    desktop.path.parent.mkdir(parents=True)
    desktop.path.symlink_to(tmp_path / "elsewhere" / "claude.json")
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    assert desktop.install() == 0
    assert desktop.path.is_symlink()
    assert desktop.path.stat().st_mode & 0o077 == 0
    home = home_of("cursor")
    real = tmp_path / "dotfiles" / "mcp.json"
    real.parent.mkdir()
    real.write_text("{}", encoding="utf-8")
    real.chmod(0o640)
    home.path.parent.mkdir()
    home.path.symlink_to(real)
    assert home.install() == 0
    assert home.path.is_symlink()
    assert "reflexio" in real.read_text(encoding="utf-8")
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_backup_is_not_written_through_a_link_that_waits_for_it(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        @staticmethod
        def now(_: object) -> "Clock":
            return Clock()

        def strftime(self, _: str) -> str:
            return "then"

    monkeypatch.setattr(files, "datetime", Clock)
    home = home_of("cursor")
    home.write("{}")
    (home.path.parent / "mcp.json.then.bak").symlink_to(tmp_path / "elsewhere")
    assert home.install() == 1
    assert not (tmp_path / "elsewhere").exists()
    assert home.text == "{}"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no named pipes of this kind")
def test_what_is_no_ordinary_file_is_refused_at_once(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    home.path.parent.mkdir()
    os.mkfifo(home.path)
    assert (home.install(), home.uninstall()) == (1, 1)
    assert "not an ordinary file" in capsys.readouterr().err
    home.path.unlink()
    home.path.symlink_to(home.path.name)
    assert home.install() == 1


def test_a_file_that_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text("{}", encoding="utf-8")
    file = ClientFile.read(NAMED["cursor"], path)
    path.write_text('{"new": 1}', encoding="utf-8")
    with pytest.raises(InstallError, match="changed meanwhile"):
        file.write(private=False)
    assert path.read_text(encoding="utf-8") == '{"new": 1}'


def only_command(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """Make a program the only one that is found by its name."""
    program = folder / "bin" / name
    program.parent.mkdir()
    program.write_text(script.replace("{python}", sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


CLAUDE = """#!{python}
import json, os, sys
path = os.path.expanduser("~/.claude.json")
document = json.load(open(path))
words = sys.argv[1:]
if os.path.exists(os.path.expanduser("~/broken")):
    sys.exit()
if words[:2] == ["mcp", "remove"]:
    document["mcpServers"].pop(words[4], None)
elif words[:2] == ["mcp", "add-json"]:
    document["mcpServers"][words[4]] = json.loads(words[5])
document["by_claude"] = True
json.dump(document, open(path, "w"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there it is a script for cmd")
def test_a_client_with_a_command_of_its_own_writes_its_file_itself(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("claude-code")
    home.put({"command": "docs-mcp"}, "docs")
    only_command(tmp_path, monkeypatch, "claude", CLAUDE)
    assert home.install("--with-key") == 0
    assert "claude mcp add-json" in capsys.readouterr().out
    assert home.data["by_claude"]
    assert home.variables["REFLEXIO_API_KEY"] == "${REFLEXIO_API_KEY:-}"
    # What the command says is not believed: the file is looked at, and written here if it is not as it should be.
    (tmp_path / "broken").touch()
    assert home.install("--read-only", "--replace") == 0
    assert home.variables["REFLEXIO_MCP_READ_ONLY"] == "1"
    assert "Written by" not in capsys.readouterr().out
    (tmp_path / "broken").unlink()
    assert home.uninstall() == 0
    assert set(home.entries) == {"docs"}


CODE = """#!{python}
import json, sys
given = json.loads(sys.argv[2])
name, inputs = given.pop("name"), given.pop("inputs")
json.dump({"servers": {name: given}, "inputs": inputs}, open("{path}", "w"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there it is a script for cmd")
def test_the_command_that_wrote_a_file_is_named_without_the_entry(
    home_of: HomeOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("vscode")
    home.put({"command": "docs-mcp"}, "docs")
    program = only_command(tmp_path, monkeypatch, "code", CODE.replace("{path}", str(home.path)))
    assert home.install("--with-key") == 0
    assert f"Written by: {program} --add-mcp\n" in capsys.readouterr().out
