"""The entry for a client, what an earlier entry says, and which entries are this server's."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from reflexio_mcp.install.clients import BEARER, KEY, Client
from reflexio_mcp.install.launch import Launch
from reflexio_mcp.settings import HOSTED_URL, OPTIONS, is_reference, parse_flags

__all__ = [
    "NAME",
    "QUESTIONS",
    "Server",
    "command_of",
    "entry",
    "is_ours",
    "merged",
    "settings_of",
    "visible",
]

NAME: Final = "reflexio"

QUESTIONS: Final = {
    "reflexio-api-key": "Reflexio API key",
    "reflexio-mcp-token": "Bearer token of the shared Reflexio MCP server",
}
"""What VS Code asks a person for, by the id that an entry refers to."""


@dataclass(frozen=True, slots=True)
class Server:
    """What an entry says, whatever the client.

    Args:
        launch: the command; none for a shared server.
        env: variables of the server. If the key is among them, most clients get a reference to it instead.
        remote: the address of a shared server, which is entered instead of the command.
        with_token: the shared server needs a bearer token.
    """

    launch: Launch | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    remote: str = ""
    with_token: bool = False


def entry(client: Client, server: Server) -> dict[str, Any]:
    """The entry as the client takes it."""
    if server.launch is None:
        return _remote_entry(client, server)
    made = dict(client.extra)
    if client.joined:
        made["command"] = [server.launch.command, *server.launch.args]
    else:
        made |= {"command": server.launch.command, "args": list(server.launch.args)}
    env = dict(server.env)
    if KEY in env:
        # Written out: if its key is missing, an entry without an address would mean the embedded store.
        env = {"REFLEXIO_URL": HOSTED_URL, **env}
        if client.key in ("forward", "inherit"):
            del env[KEY]
        elif client.reference:
            env[KEY] = client.reference
        if client.key == "forward":
            made["env_vars"] = [KEY]
    if env:
        made[client.env_key] = env
    return made


def _remote_entry(client: Client, server: Server) -> dict[str, Any]:
    made = {**dict(client.remote), client.url_key: server.remote}
    if server.with_token and client.key == "forward":
        made["bearer_token_env_var"] = BEARER
    elif server.with_token and (token := token_reference(client)):
        made["headers"] = {"Authorization": f"Bearer {token}"}
    return made


def token_reference(client: Client) -> str:
    """What stands for the bearer token of a shared server; empty if the client cannot refer to a variable."""
    if client.plain_headers:
        return ""
    return client.reference.replace("reflexio-api-key", "reflexio-mcp-token").replace(KEY, BEARER)


def merged(client: Client, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The old entry, with what a person added or changed, brought up to date."""
    made = {key: value for key, value in {**new, **old}.items() if key not in (client.env_key, "env_vars")}
    for key in ("command", "args", client.env_key, client.url_key, "bearer_token_env_var"):
        if key in new:
            made[key] = new[key]
    others = [name for name in old.get("env_vars", []) if name != KEY]
    if names := [*others, *new.get("env_vars", [])]:
        made["env_vars"] = names
    if headers := {**old.get("headers", {}), **new.get("headers", {})}:
        made["headers"] = headers
    return made


def settings_of(client: Client, old: Mapping[str, Any]) -> dict[str, str]:
    """The variables of an earlier entry. Flags among its arguments count as variables, and come first as they do
    in the program itself. A key that the client passes on in another way stands as a reference."""
    variables: dict[str, Any] = old.get(client.env_key) or {}
    env = {name: str(value) for name, value in variables.items()}
    if KEY in old.get("env_vars", []):
        env[KEY] = f"${KEY}"
    words = command_of(old)
    flags = parse_flags(words[_end_of_program(words) :])
    return env | {option.env: flags[option.name] for option in OPTIONS if option.name in flags}


def command_of(entry: Mapping[str, Any]) -> list[str]:
    """The program that an entry starts and its arguments; empty if it names none."""
    command: Any = entry.get("command") or []
    words: list[Any] = [command] if isinstance(command, str) else [*command]
    return [*map(str, words), *map(str, entry.get("args") or [])]


def is_ours(client: Client, entry: Mapping[str, Any], remote: str = "") -> bool:
    """Whether an entry starts this program.

    Args:
        remote: the address of a shared server. If it is given, the entry is ours if it names that address.
    """
    if remote:
        return entry.get(client.url_key) == remote
    return _end_of_program(command_of(entry)) > 0


def _end_of_program(words: Sequence[str]) -> int:
    """How many words come before the arguments of this program; 0 if another program is started."""
    for at, word in enumerate(words):
        # A path names a program only where it comes first.
        name = word if at else re.split(r"[/\\]", word)[-1].removesuffix(".exe")
        source = words[at - 1] if at else ""
        if re.fullmatch(r"reflexio[-_]mcp([@\[=<>~].*)?", name) and source not in ("--from", "--spec"):
            return at + 1
    return 0


def visible(name: str, value: str) -> str:
    """A setting as it may be shown. What is or may be a secret is not: also a key in the wrong variable."""
    option = next((one for one in OPTIONS if one.env == name), None)
    looks_like_a_key = re.search(r"(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]{20,}", value)
    if is_reference(value):
        return value
    return (option.shown(value) if option and not looks_like_a_key else "") or "***"
