"""Whose an entry is that a client's file already has, and what of it outlives a new installation."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, cast

from reflexio_mcp.install.clients import KEY, Client
from reflexio_mcp.install.launch import COMMAND, installed_from, without_login
from reflexio_mcp.settings import HOSTED_URL, OPTIONS, parse_flags
from reflexio_mcp.traffic.rules.secret_heuristics import keys_in

__all__ = [
    "Place",
    "added_arguments",
    "command_of",
    "foreign",
    "hidden",
    "is_remote",
    "kept",
    "place_of",
    "variables_of",
]

_RELEASE: Final = re.compile(
    r"reflexio[-_]mcp(?:\[[\w,-]*\])?"
    r"(?:@latest|@\d[\w.+!]*|(?:[=~<>!]=|[<>])\d[\w.+!*]*(?:,(?:[=~<>!]=|[<>])\d[\w.+!*]*)*)?"
)
"""Our package on an index, perhaps with extras and a version. Never an address: `reflexio-mcp@https://...`."""

_REPOSITORY: Final = re.compile(r"git\+https://github\.com/reflexio-mcp/reflexio-mcp(?:\.git)?(?:@[\w./-]+)?")
_FILE: Final = re.compile(r"reflexio[-_]mcp(?:-\d[\w.+!-]*(?:\.whl|\.tar\.gz))?")
_PYTHON: Final = re.compile(r"pythonw?(?:3(?:\.\d{1,3})?)?")
_PYTHON_FLAGS: Final = {"-P", "-I", "-E", "-s", "-u", "-B"}
_PYTHON_VERSION: Final = re.compile(r"\d(?:\.\d{1,3}){0,2}")

_URLS: Final = ("url", "serverUrl", "httpUrl")


def is_remote(entry: object) -> bool:
    """Whether an entry names a server by its address."""
    return any(_held(entry).get(name) for name in _URLS)


def foreign(client: Client, old: object, remote: str = "") -> str:
    """Why an entry is not one of ours.

    Args:
        client: whose file it stands in.
        old: what stands there under the name.
        remote: the address of the shared server that was named: an entry for it is ours, and no other.

    Returns:
        What it is instead, to go on with "it is ..."; empty when it is ours or says nothing yet.
    """
    if old is None:
        return ""
    if not isinstance(old, dict):
        return "not an entry"
    entry = cast("dict[str, Any]", old)
    if remote:
        return "" if entry.get(client.url_key) == remote or not entry else "not for this address"
    if is_remote(entry):
        return "a server at a URL"
    kinds = {"type": "stdio", **dict(client.fixed)}
    other = next((key for key, kind in kinds.items() if not _same_kind(entry.get(key, kind), kind)), None)
    if other is not None:
        kind = str(entry[other])
        return f"of {other} {kind!r}" if kind.isalpha() and len(kind) <= 20 else f"of another {other}"
    command, arguments = command_of(client, entry)
    if command is None:
        return ""
    at = _program(command, arguments) if isinstance(command, str) else None
    if at is None:
        return f"another program, {_last_part(str(command))[:40]!r}"
    if arguments[at:] and not arguments[at].startswith("-") and arguments[at] != "serve":
        return "another command of this program"
    return ""


def _same_kind(one: object, other: object) -> bool:
    return one == other or {str(one), str(other)} == {"local", "stdio"}  # two words for one kind


def command_of(client: Client, entry: Mapping[str, Any]) -> tuple[object, list[str]]:
    """What an entry starts, `None` where it says nothing, and with which arguments."""
    command, args = entry.get("command"), entry.get("args")
    given = cast("list[object]", args) if isinstance(args, list) else []
    if client.joined and isinstance(command, list) and command:
        command, *given = cast("list[object]", command)
    return cast("object", command), [str(one) for one in given]


def variables_of(client: Client, entry: object) -> dict[str, Any]:
    """The variables that an entry sets."""
    return _held(_held(entry).get(client.env_key))


def _held(value: object) -> dict[str, Any]:
    """What an entry, or a part of it, holds; nothing where it is no table."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def added_arguments(client: Client, old: Mapping[str, Any]) -> list[str]:
    """What a person gave our program on its command line in an entry of ours."""
    command, arguments = command_of(client, old)
    at = _program(str(command), arguments)
    return [] if at is None else arguments[at:]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an entry has what is stored.

    Args:
        url: of Reflexio; empty for the embedded store.
        key: whether a key is sent there.
        store: the embedded store's file as the entry names it; empty for the default.
    """

    url: str = ""
    key: bool = False
    store: str = ""

    @property
    def shown(self) -> str:
        """The address as it may be shown: a reference, or what may be a secret, is not."""
        shown = _shown("REFLEXIO_URL", self.url)
        return "the address that REFLEXIO_URL stands for" if shown == _HIDDEN else shown


def place_of(client: Client, entry: object) -> Place:
    """Where an entry has what is stored: its arguments come before its variables, as in the program itself."""
    held = _held(entry)
    variables, flags = variables_of(client, held), parse_flags(added_arguments(client, held))
    forwarded = held.get("env_vars")
    key = bool(variables.get(KEY)) or (isinstance(forwarded, list) and KEY in cast("list[Any]", forwarded))
    url = (
        str(flags.get("url") or variables.get("REFLEXIO_URL") or (HOSTED_URL if key else ""))
        .strip()
        .rstrip("/")
    )
    # Nothing in such a client's file says that it passes a key on; an account is of no use without one.
    key = key or (client.key == "inherit" and url == HOSTED_URL)
    store = str(flags.get("store") or variables.get("REFLEXIO_MCP_STORE") or "")
    return Place(url, key, store.strip())


def kept(client: Client, old: object, new: Mapping[str, Any]) -> list[str]:
    """The settings of an older entry that a newer one still has without having asked for them.

    Args:
        client: whose file it stands in.
        old: the entry as it was.
        new: the entry as it would be in a file that had none.

    Returns:
        `NAME=value` each, or a flag; a value that is or may be a secret is not shown.
    """
    entry = _held(old)
    variables, after = variables_of(client, entry), variables_of(client, new)
    said = [
        f"{name}={_shown(name, value)[:80]}"
        for name, value in variables.items()
        if name.startswith("REFLEXIO_") and name not in after
    ]
    forwarded = entry.get("env_vars")
    if isinstance(forwarded, list) and "env_vars" not in new:
        said += [str(name) for name in cast("list[Any]", forwarded) if str(name).startswith("REFLEXIO_")]
    flags = {option.flag for option in OPTIONS}
    words = [one.split("=")[0] for one in added_arguments(client, entry) if one.startswith("-")]
    return said + [word for word in words if word in flags]


def hidden(client: Client, entry: object) -> set[str]:
    """What of an entry may be a secret, and is not shown: values that no option of ours would take openly."""
    held = _held(entry)
    found = {
        str(value)
        for name, value in variables_of(client, held).items()
        if _shown(name, value) == _HIDDEN and not _REFERENCE.fullmatch(str(value))
    }
    headers = map(str, _held(held.get("headers")).values())
    found |= {value for value in headers if not _REFERENCE.fullmatch(value.removeprefix("Bearer "))}
    found |= {word for word in command_of(client, held)[1] if without_login(word) != word}
    known = {"serve", *(option.flag for option in OPTIONS)}
    return found | set(added_arguments(client, held)) - known


_HIDDEN: Final = "***"
_REFERENCE: Final = re.compile(r"\$\{\{? ?[\w.:-]+ ?\}?\}|\$[A-Za-z_]\w*|\{env:\w+\}")
"""How clients write that a value stands elsewhere."""


def _shown(name: str, value: object) -> str:
    option = next((one for one in OPTIONS if one.env == name), None)
    if keys_in(str(value)):
        return _HIDDEN
    return (option.shown(str(value)) if option else "") or _HIDDEN


def _program(command: str, arguments: list[str]) -> int | None:
    """How many arguments come before those of our program, when that is what runs.

    Only the forms that `install` writes and the documentation shows: whatever else is named like ours may be
    anything.
    """
    name = _last_part(command)
    if command != name and not _is_local(command):
        return None
    match name.removesuffix(".exe"):
        case "reflexio-mcp":
            return 0
        case "uvx":
            return _packaged(arguments, 0, "--from")
        case "uv" if arguments[:2] == ["tool", "run"]:
            return _packaged(arguments, 2, "--from")
        case "pipx" if arguments[:1] == ["run"]:
            return _packaged(arguments, 1, "--spec")
        case python if _PYTHON.fullmatch(python) or command == sys.executable:
            at = next((at for at, one in enumerate(arguments) if one not in _PYTHON_FLAGS), 0)
            return at + 2 if arguments[at : at + 2] == ["-m", "reflexio_mcp"] else None
        case _:
            return None


def _packaged(arguments: list[str], at: int, source_flag: str) -> int | None:
    """The same for a runner of packages, whose own arguments begin at `at`."""
    sourced = False
    while at < len(arguments) and arguments[at].startswith("-"):
        flag, equals, value = arguments[at].partition("=")
        if not equals:
            at += 1
            value = arguments[at] if at < len(arguments) else ""
        at += 1
        if flag == source_flag and _is_our_source(value):
            sourced = True
        elif flag not in ("--python", "-p") or not _PYTHON_VERSION.fullmatch(value):
            return None
    if at >= len(arguments):
        return None
    ours = arguments[at] == COMMAND if sourced else _RELEASE.fullmatch(arguments[at])
    return at + 1 if ours else None


def _is_our_source(source: str) -> bool:
    if _RELEASE.fullmatch(source) or _REPOSITORY.fullmatch(source):
        return True
    if _is_local(source) and _FILE.fullmatch(_last_part(source)):
        return True
    return bool(source) and without_login(source) == installed_from()


def _is_local(path: str) -> bool:
    """Whether a path is absolute and on this machine: a share on another one is not."""
    if path.startswith(("\\\\", "//")):
        return False
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def _last_part(command: str) -> str:
    return PureWindowsPath(command).name if "\\" in command else PurePosixPath(command).name
