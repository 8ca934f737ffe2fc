"""Makes and reads this server's entry in a client's file."""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, cast

from reflexio_mcp.install.clients import BEARER, KEY, Client
from reflexio_mcp.install.files import InstallError
from reflexio_mcp.settings import HOSTED_URL, OPTIONS, is_reference, parse_flags

__all__ = ["NAME", "command_of", "settings_of", "starts_this_program", "visible"]

NAME: Final = "reflexio"
"""The usual name of an entry."""

COMMAND: Final = "reflexio-mcp"
PLACEHOLDER: Final = "your-api-key"

QUESTIONS: Final = {
    "reflexio-api-key": "Reflexio API key",
    "reflexio-mcp-token": "Bearer token of the shared Reflexio MCP server",
}
"""Questions of VS Code, by the id that an entry refers to."""


@dataclass(frozen=True, slots=True)
class Server:
    """The content of an entry, for any client.

    Args:
        command: the program and its arguments.
        env: its variables. Most clients get a reference instead of the key.
        remote: the address of a shared server, instead of a command.
        with_token: the shared server needs a bearer token.
    """

    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    remote: str = ""
    with_token: bool = False


def find_launch(python: str = sys.executable, prefix: str = sys.prefix) -> tuple[str, ...]:
    """Return the command for this installation; a client may have no PATH."""
    if re.search(r"[/\\](archive|environments|builds)-v|[/\\]\.cache[/\\]pipx[/\\]", prefix):
        raise InstallError(
            "This copy runs from a cache that may be emptied, so a client could not rely on it. Install it for good, "
            f"with `uv tool install` or `pipx install`, and run `{COMMAND} install` again."
        )
    script = Path(python).parent / (COMMAND + (".exe" if os.name == "nt" else ""))
    if script.is_file():
        return (str(script),)
    # -P keeps files in the client's working folder from replacing our modules.
    return (python, "-P", "-m", "reflexio_mcp")


def entry(client: Client, server: Server) -> dict[str, Any]:
    if server.remote:
        made = {**client.remote, client.url_key: server.remote}
        if server.with_token and client.key_by == "forward":
            made["bearer_token_env_var"] = BEARER
        elif server.with_token and client.token:
            made["headers"] = {"Authorization": f"Bearer {client.token}"}
        return made
    command, *args = server.command
    started = {"command": [command, *args]} if client.joined else {"command": command, "args": args}
    made = {**client.extra, **started}
    env = dict(server.env)
    if KEY in env:
        # Without the address, an entry with a missing key would use the embedded store.
        env = {"REFLEXIO_URL": HOSTED_URL, **env}
        if client.key_by in ("forward", "inherit"):
            del env[KEY]
        elif client.reference:
            env[KEY] = client.reference
        if client.key_by == "forward":
            made["env_vars"] = [KEY]
    if env:
        made[client.env_key] = env
    return made


def settings_of(client: Client, existing: Mapping[str, Any]) -> dict[str, str]:
    """Return an entry's settings as variables. Its flags take precedence. A forwarded key becomes a reference.

    Raises:
        InstallError: its variables are not a table.
    """
    variables: Any = existing.get(client.env_key) or {}
    if not isinstance(variables, Mapping):
        raise InstallError(f"Its {client.env_key} is not a table of variables.")
    env = {str(name): str(value) for name, value in cast("Mapping[Any, Any]", variables).items()}
    if KEY in (existing.get("env_vars") or []):
        env.setdefault(KEY, f"${KEY}")
    words = command_of(existing)
    flags = parse_flags(words[_end_of_program(words) :])
    return env | {option.env: flags[option.name] for option in OPTIONS if option.name in flags}


def command_of(existing: Mapping[str, Any]) -> list[str]:
    """Return an entry's program and arguments; empty for a shared server."""
    command: Any = existing.get("command") or []
    words: list[Any] = [command] if isinstance(command, str) else [*command]
    return [*map(str, words), *map(str, existing.get("args") or [])]


def starts_this_program(existing: Mapping[str, Any]) -> bool:
    return _end_of_program(command_of(existing)) > 0


def is_as_install_remote_writes_it(client: Client, name: str, existing: Mapping[str, Any]) -> bool:
    """Whether an entry is just as `install --remote` writes it, and has the usual name or refers to our token."""
    address = existing.get(client.url_key) if client.url_key else None
    if not isinstance(address, str):
        return False
    plain = entry(client, Server(remote=address))
    with_token = entry(client, Server(remote=address, with_token=True))
    forms = [plain] if name == NAME else []
    if with_token != plain:
        forms.append(with_token)
    return dict(existing) in forms


def _end_of_program(words: Sequence[str]) -> int:
    """Return the number of words before our arguments; 0 for another program."""
    for at, word in enumerate(words):
        name = word if at else re.split(r"[/\\]", word)[-1].removesuffix(".exe")
        before = words[at - 1] if at else ""
        if re.fullmatch(r"reflexio[-_]mcp([@\[=<>~].*)?", name) and before not in ("--from", "--spec"):
            return at + 1
    return 0


def snippet(client: Client | None, server: Server, name: str = "reflexio") -> str:
    """Return the entry as text without secrets; without a client, in the most common form."""
    client = client or Client("any", "Any client", (), key_by="file")
    made = entry(client, replace(server, env=visible_all(server.env)))
    document: dict[str, Any] = {name: made}
    for key in reversed(client.section):
        document = {key: document}
    if client.format == "toml":
        import tomlkit

        return tomlkit.dumps(document).strip()
    if asked := questions(made):
        document = {"inputs": asked, **document}
    return json.dumps(document, indent=2, ensure_ascii=False)


def questions(made: Mapping[str, Any]) -> list[dict[str, Any]]:
    text = json.dumps(made)
    return [
        {"type": "promptString", "id": id_, "description": about, "password": True}
        for id_, about in QUESTIONS.items()
        if f"${{input:{id_}}}" in text
    ]


def visible_all(env: Mapping[str, str]) -> dict[str, str]:
    return {name: PLACEHOLDER if name == KEY else visible(name, value) for name, value in env.items()}


def visible(name: str, value: str) -> str:
    """Return a setting for display. A key in the wrong variable is hidden too."""
    option = next((option for option in OPTIONS if option.env == name), None)
    looks_like_a_key = re.search(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{20,}", value)
    if is_reference(value):
        return value
    shown = ""
    if option and not looks_like_a_key:
        shown = option.shown(value)
    return shown or "***"
