"""Whose an entry is that a client's file already has, and what of it outlives a new installation."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, cast

from reflexio_mcp.install.clients import Client
from reflexio_mcp.settings import OPTIONS

__all__ = ["added_arguments", "command_of", "foreign", "kept", "variables_of"]

# A path's last part, perhaps with a version, an extra or an image's tag: uvx reflexio-mcp@latest, x/reflexio-mcp:1.
_OURS: Final = re.compile(r"(?:.*[/\\])?reflexio[-_]mcp(?:\.exe|\.git)?(?:[\[=@:<>~!].*)?", re.DOTALL)
_ELSEWHERE: Final = {"node", "npx", "npm", "bun", "bunx", "deno", "pnpm", "yarn"}
"""What starts packages of another world, where the name is not this project's."""

_SOURCES: Final = (["--from"], ["--with"], ["--spec"], ["--directory"], ["--project"])
"""What the next argument is where the package comes from, not what runs."""

_URLS: Final = ("url", "serverUrl", "httpUrl")


def foreign(client: Client, old: object) -> str:
    """Why an entry is not one of ours.

    Args:
        client: whose file it stands in.
        old: what stands there under the name.

    Returns:
        What it is instead, to go on with "it is ..."; empty when it is ours or says nothing yet.
    """
    if old is None:
        return ""
    if not isinstance(old, dict):
        return "not an entry"
    entry = cast("dict[str, Any]", old)
    if any(entry.get(name) for name in _URLS):
        return "a server at a URL"
    kinds = {"type": "stdio", **dict(client.fixed)}
    other = next((key for key, kind in kinds.items() if not _same_kind(entry.get(key, kind), kind)), None)
    if other is not None:
        return f"of {other} {str(entry[other])[:20]!r}"
    command, arguments = command_of(client, entry)
    if command is None:
        return ""
    if not isinstance(command, str) or _program(command, arguments) is None:
        return f"another program, {_last_part(str(command))[:40]!r}"
    return ""


def _same_kind(one: object, other: object) -> bool:
    return one == other or {str(one), str(other)} == {"local", "stdio"}  # two words for one kind


def command_of(client: Client, entry: Mapping[str, Any]) -> tuple[object, list[str]]:
    """What an entry starts, `None` where it says nothing, and with which arguments."""
    command: Any = entry.get("command")
    args: Any = entry.get("args")
    if client.joined and isinstance(command, list) and command:
        first, *rest = cast("list[object]", command)
        return first, [str(one) for one in rest]
    return cast("object", command), [str(one) for one in cast("list[Any]", args)] if isinstance(
        args, list
    ) else []


def variables_of(client: Client, entry: object) -> dict[str, Any]:
    """The variables that an entry sets."""
    found = cast("dict[str, Any]", entry).get(client.env_key) if isinstance(entry, dict) else None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def added_arguments(client: Client, old: Mapping[str, Any]) -> list[str]:
    """What a person gave our program on its command line in an entry of ours."""
    command, arguments = command_of(client, old)
    at = _program(str(command), arguments)
    return [] if at is None else arguments[at:]


def kept(client: Client, old: object, new: Mapping[str, Any]) -> list[str]:
    """The settings of an older entry that a newer one still has without having asked for them.

    Args:
        client: whose file it stands in.
        old: the entry as it was.
        new: the entry as it would be in a file that had none.

    Returns:
        `NAME=value` each, or an argument; a secret's value is not shown.
    """
    if not isinstance(old, dict):
        return []
    entry = cast("dict[str, Any]", old)
    secret = {option.env for option in OPTIONS if option.secret}
    variables, after = variables_of(client, entry), variables_of(client, new)
    said = [
        f"{name}={'***' if name in secret else str(value)[:80]}"
        for name, value in variables.items()
        if name.startswith("REFLEXIO_") and name not in after
    ]
    forwarded = entry.get("env_vars")
    if isinstance(forwarded, list) and "env_vars" not in new:
        said += [str(name) for name in cast("list[Any]", forwarded) if str(name).startswith("REFLEXIO_")]
    return said + added_arguments(client, entry)


def _program(command: str, arguments: list[str]) -> int | None:
    """How many arguments come before those of our program, when that is what runs."""
    if _OURS.fullmatch(command):
        return 0
    if _last_part(command).lower().removesuffix(".exe").removesuffix(".cmd") in _ELSEWHERE:
        return None
    for number, one in enumerate(arguments):
        if _OURS.fullmatch(one) and arguments[number - 1 : number] not in _SOURCES:
            return number + 1
    return None


def _last_part(command: str) -> str:
    return PureWindowsPath(command).name if "\\" in command else PurePosixPath(command).name
