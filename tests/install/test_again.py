"""Installing a second time: whose an entry is, what stays of it, and where a key goes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.install.launch import find_launch
from reflexio_mcp.settings import HOSTED_URL
from tests.install.support import KEY, OWN, Home

HomeOf = Callable[[str], Home]

OURS: list[dict[str, Any]] = [
    {"command": "reflexio-mcp"},
    {"command": "/opt/tools/bin/reflexio-mcp", "args": ["serve"]},
    {"command": "C:\\Tools\\reflexio-mcp.exe"},
    {"command": "uvx", "args": ["reflexio-mcp@1.0"]},
    {"command": "uvx", "args": ["--from", "git+https://x.example/reflexio-mcp", "reflexio-mcp"]},
    {"command": "python3", "args": ["-P", "-m", "reflexio_mcp"]},
]
OTHERS: list[dict[str, Any]] = [
    {"url": "https://other.example/mcp", "headers": {"Authorization": "Bearer abc"}},
    {"command": "node", "args": ["/home/jo/reflexio-mcp/index.js"]},
    {"command": "uvx", "args": ["mcp-server-git", "--repository", "/x/reflexio-mcp"]},
    {"command": "uvx", "args": ["--from", "reflexio-mcp", "other"]},
    {},
]


@pytest.mark.parametrize("entry", OTHERS)
def test_a_different_server_of_the_same_name_is_left_alone(
    entry: dict[str, Any], home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cursor")
    home.put(entry)
    before = home.text
    assert (home.install(), home.uninstall()) == (1, 1)
    said = capsys.readouterr().err
    assert "--replace" in said
    assert "abc" not in said
    assert (home.text, home.backups) == (before, [])
    assert home.install("--name", "memory") == 0
    assert home.install("--replace") == 0
    assert home.entries["reflexio"]["command"] == find_launch().command


@pytest.mark.parametrize("entry", OURS)
def test_an_entry_of_this_program_is_brought_up_to_date(entry: dict[str, Any], home_of: HomeOf) -> None:
    home = home_of("cursor")
    home.put(entry)
    assert home.install() == 0
    assert home.entries["reflexio"] == {"command": find_launch().command, "args": []}


def test_earlier_settings_stay_until_they_are_replaced(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("cline")
    home.put({
        "command": "uvx",
        "args": ["reflexio-mcp", "--read-only"],
        "autoApprove": ["list_sessions"],
        "env": {"REFLEXIO_USER_ID": "ada", "MY_TOKEN": "s3cret"},
    })  # fmt: skip
    assert home.install("--url", OWN) == 0
    said = capsys.readouterr().out
    assert "REFLEXIO_MCP_READ_ONLY=1" in said
    assert "s3cret" not in said
    assert home.entries["reflexio"]["autoApprove"] == ["list_sessions"]
    assert home.variables == {
        "REFLEXIO_USER_ID": "ada", "MY_TOKEN": "s3cret", "REFLEXIO_MCP_READ_ONLY": "1", "REFLEXIO_URL": OWN,
    }  # fmt: skip
    assert home.install("--replace") == 0
    assert home.variables == {"REFLEXIO_USER_ID": "jo"}


def test_the_user_is_the_one_of_the_account_unless_told_otherwise(home_of: HomeOf) -> None:
    home = home_of("cursor")
    home.install()
    assert home.variables == {"REFLEXIO_USER_ID": "jo"}
    home.install("--user-id", "ada")
    assert home.variables == {"REFLEXIO_USER_ID": "ada"}
    home.install("--every-user")
    assert home.variables == {}
    home.install("--read-only")
    assert home.variables == {"REFLEXIO_MCP_READ_ONLY": "1"}, "an entry for every user stays one"
    assert home.install("--every-user", "--user-id", "ada") == 2


def test_what_is_set_in_the_shell_is_written_so_that_it_means_the_same_elsewhere(
    home_of: HomeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of("gemini")
    monkeypatch.setenv("REFLEXIO_MCP_STORE", "here.db")
    monkeypatch.setenv("REFLEXIO_MCP_PORT", "9")
    home.install()
    assert home.variables == {"REFLEXIO_MCP_STORE": str(Path("here.db").absolute()), "REFLEXIO_USER_ID": "jo"}


@pytest.mark.parametrize("client", ["cursor", "codex", "claude-desktop", "zed", "opencode"])
def test_a_key_goes_to_no_address_of_an_earlier_install_unasked(
    client: str, home_of: HomeOf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of(client)
    home.install("--url", OWN)
    before = home.text
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    assert home.install() == 1
    said = capsys.readouterr().err
    assert f"add --url {HOSTED_URL}" in said
    assert KEY not in said
    assert home.text == before
    assert home.install("--url", OWN) == 0
    assert home.variables["REFLEXIO_URL"] == OWN


@pytest.mark.parametrize("client", ["cursor", "codex", "claude-desktop", "opencode"])
def test_a_key_of_an_earlier_install_goes_to_no_new_address(
    client: str, home_of: HomeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of(client)
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    home.install()
    monkeypatch.delenv("REFLEXIO_API_KEY")
    assert home.install("--timeout", "9") == 0
    assert "REFLEXIO_API_KEY" in home.text
    assert home.install("--url", OWN) == 0
    assert "REFLEXIO_API_KEY" not in home.text
    assert home.variables["REFLEXIO_URL"] == OWN


def test_another_key_than_the_one_in_the_file_does_not_go_to_its_address(
    home_of: HomeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of("claude-desktop")
    home.put({"command": "reflexio-mcp", "env": {"REFLEXIO_URL": OWN, "REFLEXIO_API_KEY": KEY}})
    monkeypatch.setenv("REFLEXIO_API_KEY", "rflx-another")
    assert home.install() == 1
    monkeypatch.setenv("REFLEXIO_API_KEY", KEY)
    assert home.install() == 0
    monkeypatch.delenv("REFLEXIO_API_KEY")
    assert home.install("--url", "http://localhost:9", "--with-key") == 0
    assert home.variables == {"REFLEXIO_URL": "http://localhost:9", "REFLEXIO_API_KEY": KEY}
