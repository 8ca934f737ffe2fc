"""The entry for a client, and the client's file with or without it.

What reads or edits a file raises `MalformedError` where it is not what it should be, or could not be edited safely.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from reflexio_mcp.install import jsonedit, tomledit
from reflexio_mcp.install.clients import BEARER, BEARER_PROMPT_ID, KEY, PROMPT_ID, Client
from reflexio_mcp.install.errors import ForeignError, MalformedError
from reflexio_mcp.install.launch import Launch
from reflexio_mcp.install.ownership import added_arguments, foreign
from reflexio_mcp.settings import HOSTED_URL

__all__ = [
    "NAME",
    "PROMPT",
    "InstallSpec",
    "entries",
    "entry",
    "present",
    "prompt",
    "with_entry",
    "without_entry",
]

NAME: Final = "reflexio"

PROMPT: Final[dict[str, Any]] = {
    "type": "promptString",
    "id": PROMPT_ID,
    "description": "Reflexio API key",
    "password": True,
}

_BEARER_PROMPT: Final[dict[str, Any]] = {
    **PROMPT,
    "id": BEARER_PROMPT_ID,
    "description": "Bearer token of the shared Reflexio MCP server",
}


@dataclass(frozen=True, slots=True)
class InstallSpec:
    """What to install.

    Args:
        launch: the command.
        env: variables for the server, the key not among them.
        with_key: the server needs the key, or a shared one its bearer token.
        key: the key or token itself, for a client that can take it from its file alone.
        name: of the entry.
        replace: write the entry anew, whatever has its name.
        remote: the address of a shared server, which is entered instead of the command.
    """

    launch: Launch
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    with_key: bool = False
    key: str = field(default="", repr=False)
    name: str = NAME
    replace: bool = False
    remote: str = ""


def entry(client: Client, spec: InstallSpec) -> dict[str, Any]:
    """The entry as the client takes it."""
    if spec.remote:
        return _remote_entry(client, spec)
    made: dict[str, Any] = dict(client.fixed) | dict(client.initial)
    if client.joined:
        made["command"] = [spec.launch.command, *spec.launch.args]
    else:
        made |= {"command": spec.launch.command, "args": list(spec.launch.args)}
    env = dict(spec.env)
    if spec.with_key:
        # Written out: where its key is missing, an entry without an address would mean the embedded store, unnoticed.
        env = {"REFLEXIO_URL": HOSTED_URL, **env}
        match client.key:
            case "reference" | "prompt":
                env[KEY] = client.reference
            case "file":
                env[KEY] = spec.key
            case "forward":
                made["env_vars"] = [KEY]
            case "inherit":
                pass
    if env:
        made[client.env_key] = env
    return made


def _remote_entry(client: Client, spec: InstallSpec) -> dict[str, Any]:
    made: dict[str, Any] = dict(client.remote) | dict(client.initial) | {client.url_key: spec.remote}
    if spec.with_key:
        if client.key == "forward":
            made["bearer_token_env_var"] = BEARER
        elif token := client.token_reference or spec.key:
            made["headers"] = {"Authorization": f"Bearer {token}"}
    return made


def prompt(spec: InstallSpec) -> dict[str, Any]:
    """The question that a client asks for the key, or for the bearer token of a shared server."""
    return _BEARER_PROMPT if spec.remote else PROMPT


def present(client: Client, text: str, name: str = NAME) -> object:
    """What a file has under the entry's name, or `None`."""
    module = tomledit if client.format == "toml" else jsonedit
    return module.get_value(text, (*client.section, name))


def entries(client: Client, text: str) -> dict[str, Any]:
    """All servers that a file has, by name."""
    module = tomledit if client.format == "toml" else jsonedit
    found = module.get_value(text, client.section)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def with_entry(client: Client, text: str, spec: InstallSpec) -> str:
    """The file's text with the entry in it. What a person added to an older entry of ours stays.

    Raises:
        ForeignError: the name is taken by something that is not ours, and `spec.replace` is not set.
    """
    set_value = tomledit.set_value if client.format == "toml" else jsonedit.set_value
    path = (*client.section, spec.name)
    wanted, found = entry(client, spec), present(client, text, spec.name)
    if not spec.replace and (why := foreign(client, found, spec.remote)):
        raise ForeignError(why)
    old = cast("dict[str, Any]", found) if isinstance(found, dict) and not spec.replace else None
    nested = {"headers"} if spec.remote else {client.env_key}
    changed = text
    if old is None:
        changed = set_value(changed, path, wanted)
    else:
        if not spec.remote:
            wanted["command" if client.joined else "args"] += added_arguments(client, old)
        wanted = {
            key: value for key, value in wanted.items() if key not in dict(client.initial) or key not in old
        }
        for key, value in wanted.items():
            if key in nested and isinstance(old.get(key), dict):
                for variable, setting in value.items():
                    changed = set_value(changed, (*path, key, variable), setting)
            else:
                changed = set_value(changed, (*path, key), value)
    if client.key == "prompt" and spec.with_key:
        question = prompt(spec)
        inputs = jsonedit.get_value(changed, ("inputs",))
        known = cast("list[Any]", inputs) if isinstance(inputs, list) else []
        if not any(isinstance(one, dict) and cast("Any", one).get("id") == question["id"] for one in known):
            changed = jsonedit.append_item(changed, ("inputs",), question)
    expected = {**(old or {}), **wanted}
    for key in nested:
        if old and isinstance(old.get(key), dict):
            expected[key] = {**old[key], **wanted.get(key, {})}
    _nothing_else(client, text, changed, spec.name, expected=expected)
    return changed


def without_entry(client: Client, text: str, name: str = NAME, remote: str = "") -> str:
    """The file's text without the entry; the same text when it has none.

    Args:
        remote: the address of the shared server that the entry is for.

    Raises:
        ForeignError: what has the name is not ours.
    """
    found = present(client, text, name)
    if found is None:
        return text
    if why := foreign(client, found, remote):
        raise ForeignError(why)
    path = (*client.section, name)
    if client.format == "toml":
        changed = tomledit.remove_value(text, path)
    else:
        changed = jsonedit.remove_value(text, path)
        for reference, question in (
            (client.reference, PROMPT_ID),
            (client.token_reference, BEARER_PROMPT_ID),
        ):
            if client.key == "prompt" and reference not in changed:
                changed = jsonedit.remove_item(changed, ("inputs",), question)
    _nothing_else(client, text, changed, name, expected=None)
    return changed


def _nothing_else(
    client: Client, before: str, after: str, name: str, *, expected: dict[str, Any] | None
) -> None:
    """Read both texts with another parser, and refuse an edit that changed what is not ours."""
    read = tomllib.loads if client.format == "toml" else _read_json
    old, new = (read(text.lstrip("\ufeff")) for text in (before, after))
    found = _take(new, client, name)
    _take(old, client, name)
    if old != new or found != expected:
        raise MalformedError("it could not be changed without touching something else")


def _take(document: dict[str, Any], client: Client, name: str) -> dict[str, Any] | None:
    """Remove from a document what an installation may change, and return the entry."""
    owner: Any = document
    for key in client.section:
        owner = owner.get(key, {})
    found = owner.pop(name, None)
    if not owner:
        document.pop(client.section[0], None)
    if client.key == "prompt" and isinstance(document.get("inputs"), list):
        ours = (PROMPT_ID, BEARER_PROMPT_ID)
        document["inputs"] = [one for one in document["inputs"] if one.get("id") not in ours]
        if not document["inputs"]:
            del document["inputs"]
    return found


def _read_json(text: str) -> dict[str, Any]:
    import jsonc  # pyright: ignore[reportMissingTypeStubs]

    loads = cast("Callable[[str], Any]", jsonc.loads)
    try:
        return loads(text)
    except ValueError:
        if not text.strip():
            return {}
        # A file of comments alone holds nothing yet.
        return loads(text + "{}")
