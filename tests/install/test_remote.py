"""A shared server in a client's file: in each client's own form, with its token left where it belongs."""

import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.cli import main, parse
from reflexio_mcp.install.clients import CLIENTS
from reflexio_mcp.install.command import Request, run_uninstall
from reflexio_mcp.settings import ConfigurationError
from tests.install.samples import SAMPLES
from tests.install.support import KEY, Home, client_of, entries

URL = "https://memory.example/mcp"
VARIABLE = "REFLEXIO_MCP_AUTH_TOKEN"
TOKEN = "a-token-that-stays-out"

# As each client's documentation has it; `BEARER` stands for the header.
BEARER = object()
FORMS: dict[str, dict[str, Any]] = {
    "claude-code": {"type": "http", "url": URL, "headers": BEARER},
    "cursor": {"url": URL, "headers": BEARER},
    "vscode": {"type": "http", "url": URL, "headers": BEARER},
    "windsurf": {"serverUrl": URL, "headers": BEARER},
    "zed": {"url": URL},
    "codex": {"url": URL, "bearer_token_env_var": VARIABLE},
    "gemini": {"httpUrl": URL, "headers": BEARER},
    "cline": {"type": "streamableHttp", "url": URL},
    "opencode": {"type": "remote", "enabled": True, "url": URL, "headers": BEARER},
    "qwen": {"httpUrl": URL, "headers": BEARER},
    "copilot": {"type": "http", "tools": ["*"], "url": URL, "headers": BEARER},
    "continue": {"type": "http", "url": URL},
}
STANDS_AS = {
    "claude-code": "${REFLEXIO_MCP_AUTH_TOKEN:-}",
    "cursor": "${env:REFLEXIO_MCP_AUTH_TOKEN}",
    "vscode": "${input:reflexio-mcp-token}",
    "windsurf": "${env:REFLEXIO_MCP_AUTH_TOKEN}",
    "gemini": "$REFLEXIO_MCP_AUTH_TOKEN",
    "opencode": "{env:REFLEXIO_MCP_AUTH_TOKEN}",
    "qwen": "$REFLEXIO_MCP_AUTH_TOKEN",
    "copilot": "${REFLEXIO_MCP_AUTH_TOKEN}",
}


@pytest.fixture(params=sorted(FORMS))
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Each client that has a form for it, with a file of the kind that people have."""
    made = Home(tmp_path, "linux", request.param)
    made.write(SAMPLES[request.param])
    return made


def entry_of(home: Home) -> dict[str, Any]:
    return entries(client_of(home.client), home.data)["reflexio"]


def listed(home: Home, name: str) -> str:
    """What `uninstall` without a client says."""
    out = io.StringIO()
    assert run_uninstall(Request(name=name), layout=home.layout, out=out) == 0
    return out.getvalue()


def form_of(name: str, *, token: bool) -> dict[str, Any]:
    form = dict(FORMS[name])
    if not token:
        return {key: value for key, value in form.items() if key not in ("headers", "bearer_token_env_var")}
    if form.get("headers") is BEARER:
        form["headers"] = {"Authorization": f"Bearer {STANDS_AS[name]}"}
    return form


def test_every_client_has_a_form_or_says_where_else() -> None:
    without = {client.name for client in CLIENTS if client.elsewhere}
    assert {client.name for client in CLIENTS} == set(FORMS) | without
    assert without == {"claude-desktop"}


def test_the_entry_has_the_clients_own_form(home: Home) -> None:
    code, said = home.install({VARIABLE: TOKEN}, remote=URL)
    assert code == 0
    assert f"It connects to: {URL} (not tried)" in said
    assert entry_of(home) == form_of(home.client, token=True)
    assert TOKEN not in home.text + said


def test_where_people_sign_in_no_token_is_sent(home: Home) -> None:
    _, said = home.install({"REFLEXIO_URL": "http://localhost:8061", "REFLEXIO_API_KEY": KEY}, remote=URL)
    assert entry_of(home) == form_of(home.client, token=False)
    assert "Token: none, which is right where people sign in." in said


def test_a_token_can_be_named_before_it_is_there(home: Home) -> None:
    home.install(with_key=True, remote=URL)
    assert entry_of(home) == form_of(home.client, token=True)


def test_everything_else_stays_and_taking_it_out_gives_back_the_same_bytes(home: Home) -> None:
    old, before = home.path.read_bytes(), home.data
    home.install({VARIABLE: TOKEN}, remote=URL)
    after = home.data
    entries(client_of(home.client), after).pop("reflexio")
    if home.client == "vscode":
        after["inputs"] = [one for one in after["inputs"] if one["id"] != "reflexio-mcp-token"]
    assert after == before
    assert home.uninstall(remote=URL)[0] == 0
    assert home.path.read_bytes() == old


def test_a_second_time_changes_nothing_and_another_address_is_another_server(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.install({VARIABLE: TOKEN}, remote=URL)
    first = home.text
    assert "already has reflexio" in home.install({VARIABLE: TOKEN}, remote=URL)[1]
    for other in ("https://elsewhere.example/mcp", None):
        assert home.install(remote=other)[0] == 1
        assert home.uninstall(remote=other)[0] == 1
    assert home.text == first
    assert "--replace" in capsys.readouterr().err
    assert home.install(remote=None, replace=True)[0] == 0
    assert "url" not in " ".join(entry_of(home)).lower()


def test_a_server_that_the_client_starts_is_not_turned_into_a_shared_one_unasked(home: Home) -> None:
    home.install()
    first = home.text
    assert home.install(remote=URL)[0] == 1
    assert home.text == first
    assert home.install(remote=URL, replace=True)[0] == 0
    assert entry_of(home) == form_of(home.client, token=False)


def test_what_a_person_added_to_the_entry_survives(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    own = {"url": URL, "headers": {"X-Team": "blue"}, "disabled": True}
    home.write(json.dumps({"mcpServers": {"reflexio": own}}))
    home.install({VARIABLE: TOKEN}, remote=URL)
    added = {"Authorization": "Bearer ${env:REFLEXIO_MCP_AUTH_TOKEN}"}
    assert entry_of(home) == {**own, "headers": {"X-Team": "blue", **added}}


def test_a_dry_run_shows_the_address_and_no_token(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    old = {"url": URL, "headers": {"Authorization": f"Bearer {TOKEN}"}}
    home.write(json.dumps({"mcpServers": {"reflexio": old}}, indent=1))
    for said in (
        home.install({VARIABLE: TOKEN}, remote=URL, dry_run=True)[1],
        home.uninstall(remote=URL, dry_run=True)[1],
    ):
        assert URL in said
        assert TOKEN not in said
        assert "Nothing was written" in said


def test_taking_it_out_names_the_address_that_has_to_be_given(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("reflexio", "team memory"):
        home.install(remote=URL, name=name)
        named = "" if name == "reflexio" else " --name 'team memory'"
        command = f"reflexio-mcp uninstall {home.client}{named} --remote {URL}"
        assert listed(home, name).endswith(f"  {URL}\nNext: {command}\n")
        before = home.text
        for other in (None, "https://elsewhere.example/mcp"):
            assert home.uninstall(name=name, remote=other)[0] == 1
            said = capsys.readouterr().err
            assert f"The entry {name} in {client_of(home.client).title} is a server at {URL}." in said
            assert said.endswith(f"To take it out: {command}\n")
        assert home.text == before
        arguments = parse(shlex.split(command)[1:])
        request = Request(arguments.client, name=arguments.name, remote=arguments.remote)
        assert run_uninstall(request, layout=home.layout, out=io.StringIO()) == 0
        assert listed(home, name) == f"No client has {name}.\n"


def test_what_the_client_starts_is_not_said_to_be_somebody_elses(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.install()
    assert home.uninstall(remote=URL)[0] == 1
    said = capsys.readouterr().err
    assert "a server that the client starts" in said
    assert said.endswith(f"To take it out: reflexio-mcp uninstall {home.client}\n")


@pytest.mark.parametrize(
    "address", [f"https://x.example/mcp?token={TOKEN}", f"https://jo:{TOKEN}@x.example/mcp"]
)
def test_an_address_that_uninstall_does_not_take_is_left_to_its_owner(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.write(json.dumps({"mcpServers": {"reflexio": {"url": address}}}))
    assert home.uninstall()[0] == 1
    said = capsys.readouterr().err + listed(home, "reflexio")
    assert TOKEN not in said
    assert "by hand" in said
    assert "none that install writes" in said
    assert "Next:" not in said


@pytest.mark.parametrize("client", ["zed", "cline", "continue"])
def test_a_client_that_takes_its_token_from_its_file_alone_is_given_none(client: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", client)
    _, said = home.install({VARIABLE: TOKEN}, remote=URL)
    assert "it was not written there" in said
    assert '"headers": {"Authorization": "Bearer ..."}' in said


def test_claude_desktop_is_told_where_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    assert home.install(remote=URL)[0] == 1
    said = capsys.readouterr().err
    assert f"add {URL} in the app, under Customize, Connectors" in said
    assert not home.path.exists()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("https://memory.example", URL),
        ("https://memory.example/", URL),
        (" https://memory.example/mcp/ ", URL),
        ("https://memory.example:8443/team/mcp", "https://memory.example:8443/team/mcp"),
        ("http://localhost:8765/mcp", "http://localhost:8765/mcp"),
        ("http://[::1]:8765/mcp", "http://[::1]:8765/mcp"),
    ],
)
def test_an_address_is_taken_as_clients_use_it(typed: str, meant: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.install(remote=typed)
    assert entry_of(home) == {"url": meant}


@pytest.mark.parametrize(
    "typed",
    [
        "", "memory.example/mcp", "http://memory.example/mcp", "ftp://memory.example/mcp", "https:///mcp",
        f"https://jo:{TOKEN}@memory.example/mcp", f"https://memory.example/mcp?token={TOKEN}",
        f"https://memory.example/mcp#{TOKEN}", "https://memory.example:99999/mcp", "https://memory.example/sse",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_one_is_refused_and_not_repeated(typed: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    with pytest.raises(ConfigurationError, match="--remote takes the") as refused:
        home.install(remote=typed)
    assert TOKEN not in str(refused.value)
    assert not home.path.exists()


def test_options_of_a_server_do_not_go_with_the_address_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["install", "cursor", "--remote", URL, "--read-only", "--url", "http://localhost:1"]) == 2
    said = capsys.readouterr().err
    assert "--remote goes with no --url and no --read-only" in said


def test_the_entry_can_be_printed_for_any_client(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    assert main(["install", "--print", "--remote", URL]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown == {
        "mcpServers": {"reflexio": {"url": URL, "headers": {"Authorization": "Bearer your-token"}}}
    }
