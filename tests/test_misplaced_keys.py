"""A key that stands where another option's value belongs is not repeated, by no command and in no log."""

import hashlib
import socket
from pathlib import Path

import pytest

from reflexio_mcp.cli import parse
from reflexio_mcp.settings import OPTIONS, Option
from tests.support.forked import run_forked
from tests.support.stdio import environment

KEYS = {option.name: f"rflx-{hashlib.sha256(option.name.encode()).hexdigest()[:32]}" for option in OPTIONS}
"""For each option a key of its own, so that a failure names the option."""

COMMANDS = (
    "serve", "serve --transport http", "tools", "doctor", "doctor --json", "install cursor --dry-run",
    "install cursor", "install", "uninstall cursor", "sessions", "requests", "show r", "learned", "audit", "demo",
)  # fmt: skip
NAMES_ITS_USER = ("show r", "audit")
"""These say whose data they looked through, and a user id may be anything."""


def takes(option: Option) -> bool:
    """Whether the value of an option may be anything, a key too."""
    try:
        option.parse(KEYS[option.name])
    except ValueError:
        return False
    return True


def has_flag(command: str, option: Option) -> bool:
    try:
        parse([*command.split(), option.flag, KEYS[option.name]])
    except SystemExit:
        return False
    return True


def run(command: str, env: dict[str, str], *flags: str) -> str:
    """All that a command says and logs in a new folder. A port is taken, so that no server waits for callers."""
    home = Path(env["HOME"])
    (home / ".cursor").mkdir(exist_ok=True)
    (home / ".cursor" / "mcp.json").write_text("{}", encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = {"REFLEXIO_MCP_PORT": str(taken.getsockname()[1])}
        code, said = run_forked([*command.split(), *flags], env | port, home)
    assert code in (0, 1, 2)
    assert "Traceback" not in said
    return said


def repeated(said: str) -> list[str]:
    return [name for name, key in KEYS.items() if key in said or key.removeprefix("rflx-") in said]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("given", ["variables", "flags"])
def test_what_takes_any_text_repeats_no_key(command: str, given: str, tmp_path: Path) -> None:
    # Tool names are checked at once, so they are looked at alone, and so is what keeps the others from being used.
    alone = ("tools", "host", "oauth_client_id", "oauth_client_secret")
    together = [option for option in OPTIONS if takes(option) and option.name not in alone]
    groups = [together, *([option] for option in OPTIONS if option.name in alone)]
    for number, group in enumerate(groups):
        flags = [option for option in group if option.flag and given == "flags" and has_flag(command, option)]
        if given == "flags" and not flags:
            continue
        home = tmp_path / str(number)
        home.mkdir()
        variables = {option.env: KEYS[option.name] for option in group} if given == "variables" else {}
        # Without one, a key of the service would be sent to it.
        env = environment(home, REFLEXIO_URL="http://127.0.0.1:9", REFLEXIO_MCP_TIMEOUT="1") | variables
        said = run(command, env, *(word for option in flags for word in (option.flag, KEYS[option.name])))
        known = ["user_id"] if command in NAMES_ITS_USER else []
        assert [name for name in repeated(said) if name not in known] == [], said


@pytest.mark.parametrize("command", [one for one in COMMANDS if one not in ("uninstall cursor", "install")])
def test_what_is_refused_is_not_repeated(command: str, tmp_path: Path) -> None:
    refused = [option for option in OPTIONS if not takes(option)]
    assert len(refused) > 20
    # All at once: what is checked first differs, and doctor shows every one of them.
    for option in refused if command == "tools" else refused[:1]:
        env = environment(tmp_path) | {option.env: KEYS[option.name]}
        assert repeated(run(command, env)) == []
    env = environment(tmp_path) | {option.env: KEYS[option.name] for option in refused}
    assert repeated(run(command, env)) == []


def test_doctor_shows_what_only_resembles_a_key(tmp_path: Path) -> None:
    shown = {
        "REFLEXIO_USER_ID": "0b0c9a1e-6f0e-4f3c-9a53-8d1c7d1f2e3a",
        "REFLEXIO_MCP_STORE": str(tmp_path / "a1b2c3d4e5f6a7b8" / "store.db"),
        "REFLEXIO_MCP_HOST": "192.168.10.20",
        "REFLEXIO_MCP_ALLOWED_HOSTS": "mcp-7.example.com:*",
        "REFLEXIO_MCP_ALLOWED_ORIGINS": "https://app1.example.com:8443",
        "REFLEXIO_MCP_AGENT_VERSION": "support-bot-2024.06.01",
    }
    said = run("doctor", environment(tmp_path) | shown)
    assert [value for value in shown.values() if value not in said] == []
