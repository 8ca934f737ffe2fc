"""Whose an entry is that a client's file already has, and what of it outlives a new installation."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, cast

from reflexio_mcp.install.clients import Client
from reflexio_mcp.settings import OPTIONS

__all__ = ["added_arguments", "foreign", "kept"]

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
    fixed = {"type": "stdio", **dict(client.fixed)}
    other = next((key for key, value in fixed.items() if entry.get(key, value) != value), None)
    if other is not None:
        return f"of {other} {str(entry[other])[:20]!r}"
    command = entry.get("command")
    if command is None:
        return ""
    if not isinstance(command, str) or _program(command, _arguments(entry)) is None:
        return f"another program, {_last_part(str(command))[:40]!r}"
    return ""


def added_arguments(old: Mapping[str, Any]) -> list[str]:
    """What a person gave our program on its command line in an entry of ours."""
    arguments = _arguments(old)
    at = _program(str(old.get("command", "")), arguments)
    return [] if at is None else arguments[at:]


def kept(old: object, new: Mapping[str, Any]) -> list[str]:
    """The settings of an older entry that a newer one still has without having asked for them.

    Args:
        old: the entry as it was.
        new: the entry as it would be in a file that had none.

    Returns:
        `NAME=value` each, or an argument; a secret's value is not shown.
    """
    if not isinstance(old, dict):
        return []
    entry = cast("dict[str, Any]", old)
    secret = {option.env for option in OPTIONS if option.secret}
    before, after = entry.get("env"), cast("Mapping[str, str]", new.get("env", {}))
    variables = cast("dict[str, Any]", before) if isinstance(before, dict) else {}
    said = [
        f"{name}={'***' if name in secret else str(value)[:80]}"
        for name, value in variables.items()
        if name.startswith("REFLEXIO_") and name not in after
    ]
    forwarded = entry.get("env_vars")
    if isinstance(forwarded, list) and "env_vars" not in new:
        said += [str(name) for name in cast("list[Any]", forwarded) if str(name).startswith("REFLEXIO_")]
    return said + added_arguments(entry)


def _arguments(entry: Mapping[str, Any]) -> list[str]:
    args = entry.get("args")
    return [str(one) for one in cast("list[Any]", args)] if isinstance(args, list) else []


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
