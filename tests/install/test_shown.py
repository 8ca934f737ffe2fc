"""The difference that a dry run shows: our entry in full, everything else masked."""

from pathlib import Path

import pytest

from tests.install.support import KEY, LAUNCH, Home

SECRET = "s3cr3t-of-another"

JSON = [
    '{"mcpServers":{"a":{"command":"a-server","args":["--token","%s"]}}}',
    '{\n  "mcpServers": {\n    "a": {"command": "a-server", "args": ["--token", "%s"]}\n  }\n}\n',
    '{\n  "mcpServers": {\n    "a": {\n      "args": [\n        "--token",\n        "%s"\n      ]\n    }\n  }\n}\n',
    '{\n  "mcpServers": {\n    "a": {\n      "command": "a-server"\n    } // %s\n  }\n}\n',
    '{\n  "mcpServers": {\n    "a": {\n      "url": "https://x.example/?key=%s" } /* %s\n */\n  }\n}\n',
]

TOML = [
    '[mcp_servers.a]\ncommand = "a-server"\nargs = ["--token", "%s"]\n',
    "[mcp_servers.a]\ncommand = 'a-server'\nargs = ['--token', '%s'] # %s\n",
    'mcp_servers = { a = { command = "a-server", args = ["--token", "%s"] } }\n',
    '[mcp_servers.a]\ncommand = """\n%s\n"""\n',
    "[mcp_servers.a]\ncommand = 'a-server'\n# %s\n",
]


@pytest.mark.parametrize(
    ("client", "text"), [*(("cursor", text) for text in JSON), *(("codex", text) for text in TOML)]
)
def test_secrets_of_other_servers_are_in_no_difference(client: str, text: str, tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", client)
    home.write(text.replace("%s", SECRET))
    env = {"REFLEXIO_API_KEY": KEY, "REFLEXIO_URL": "http://127.0.0.1:8061"}
    code, said = home.install(env, dry_run=True)
    assert code == 0
    assert SECRET not in said
    assert LAUNCH.command in said
    assert "http://127.0.0.1:8061" in said
    home.install(env)
    code, said = home.uninstall(dry_run=True)
    assert code == 0
    assert SECRET not in said
    assert LAUNCH.command in said


def test_what_a_foreign_entry_holds_is_not_shown_when_it_is_replaced(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    foreign = '{\n  "mcpServers": {\n    "reflexio": {\n      "url": "https://x.example/%s"\n    }\n  }\n}\n'
    home.write(foreign.replace("%s", SECRET))
    code, said = home.install(dry_run=True, replace=True)
    assert code == 0
    assert SECRET not in said
    assert '-      "url": "***"' in said


def test_a_key_in_the_file_is_not_shown_when_it_goes_or_changes(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "claude-desktop")
    home.install({"REFLEXIO_API_KEY": KEY})
    for said in (
        home.uninstall(dry_run=True)[1],
        home.install({"REFLEXIO_API_KEY": "rflx-another-9876"}, dry_run=True)[1],
    ):
        assert KEY not in said
        assert "9876" not in said
        assert "REFLEXIO_API_KEY" in said


def test_what_was_ours_is_shown_when_a_shared_server_takes_its_place(tmp_path: Path) -> None:
    home = Home(tmp_path, "linux", "cursor")
    home.install({"REFLEXIO_URL": "http://127.0.0.1:8061", "REFLEXIO_USER_ID": "ada"})
    code, said = home.install(remote="https://memory.example/mcp", replace=True, dry_run=True)
    assert code == 0
    assert '-        "REFLEXIO_URL": "http://127.0.0.1:8061"' in said
    assert "Dropped with the old entry: REFLEXIO_URL=http://127.0.0.1:8061, REFLEXIO_USER_ID=ada." in said
