"""A shared server is added by its address, and no token is written."""

from collections.abc import Callable
from typing import Any

import pytest

from reflexio_mcp.cli import main
from tests.install.support import NAMES, Home

HomeOf = Callable[[str], Home]

URL = "https://memory.example/mcp"
VARIABLE = "REFLEXIO_MCP_AUTH_TOKEN"
TOKEN = "s3cret-bearer"

FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "claude-code": ({"type": "http", "url": URL}, "${REFLEXIO_MCP_AUTH_TOKEN:-}"),
    "cursor": ({"url": URL}, "${env:REFLEXIO_MCP_AUTH_TOKEN}"),
    "vscode": ({"type": "http", "url": URL}, "${input:reflexio-mcp-token}"),
    "windsurf": ({"serverUrl": URL}, "${env:REFLEXIO_MCP_AUTH_TOKEN}"),
    "zed": ({"url": URL}, ""),
    "codex": ({"required": True, "url": URL}, ""),
    "gemini": ({"httpUrl": URL}, "$REFLEXIO_MCP_AUTH_TOKEN"),
    "cline": ({"type": "streamableHttp", "url": URL}, ""),
    "opencode": ({"type": "remote", "enabled": True, "url": URL}, "{env:REFLEXIO_MCP_AUTH_TOKEN}"),
    "qwen": ({"httpUrl": URL}, "$REFLEXIO_MCP_AUTH_TOKEN"),
    "copilot": ({"type": "http", "tools": ["*"], "url": URL}, "${REFLEXIO_MCP_AUTH_TOKEN}"),
    "continue": ({"type": "http", "url": URL}, ""),
}


def test_every_client_but_one_has_a_form() -> None:
    assert set(NAMES) - set(FORMS) == {"claude-desktop"}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_the_entry_has_the_clients_own_form_and_at_most_a_reference_to_the_token(
    name: str, home_of: HomeOf, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of(name)
    form, reference = FORMS[name]
    assert home.install("--remote", URL) == 0
    assert home.entries["reflexio"] == form
    monkeypatch.setenv(VARIABLE, TOKEN)
    assert home.install("--remote", URL, "--replace") == 0
    token: dict[str, Any] = {"headers": {"Authorization": f"Bearer {reference}"}} if reference else {}
    if name == "codex":
        token = {"bearer_token_env_var": VARIABLE}
    assert home.entries["reflexio"] == form | token
    assert TOKEN not in home.text + capsys.readouterr().out
    assert (home.install(), home.uninstall()) == (1, 1), "another server of the same name"
    assert home.uninstall("--remote", URL) == 0
    assert "reflexio" not in home.entries


def test_claude_desktop_is_told_where_a_shared_server_is_added(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home = home_of("claude-desktop")
    assert home.install("--remote", URL) == 1
    assert f"add {URL} in the app" in capsys.readouterr().err
    assert not home.path.exists()


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
        "https://memory.example/a b", "https://m\u0435mory.example/mcp",
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


def test_options_of_a_server_do_not_go_with_the_address_of_one(
    home_of: HomeOf, capsys: pytest.CaptureFixture[str]
) -> None:
    home_of("cursor")
    assert main(["install", "cursor", "--remote", URL, "--read-only", "--url", "http://localhost:1"]) == 2
    assert "--remote goes with no --url and no --read-only" in capsys.readouterr().err
