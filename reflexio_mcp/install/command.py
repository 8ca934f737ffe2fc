"""`reflexio-mcp install` and `uninstall`: what they do and what they say."""

import contextlib
import getpass
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from reflexio_mcp.install.clients import BEARER, CLIENTS, KEY, Client, Layout, find_client, found_clients
from reflexio_mcp.install.entry import (
    NAME,
    QUESTIONS,
    Server,
    command_of,
    entry,
    is_ours,
    merged,
    settings_of,
    visible,
)
from reflexio_mcp.install.files import ClientFile, InstallError, servers
from reflexio_mcp.install.launch import find_launch, joined
from reflexio_mcp.settings import HOSTED_URL, OPTIONS, ConfigurationError, is_reference, load

__all__ = ["Request", "entries", "run_install", "run_uninstall", "snippet"]

URL: Final = "REFLEXIO_URL"
USER: Final = "REFLEXIO_USER_ID"
PLACEHOLDER: Final = "your-api-key"
EXAMPLE: Final = "https://memory.example/mcp"
NOTHING_WRITTEN: Final = "Nothing was written (--dry-run)."


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed.

    Args:
        client: the client's name; empty to list the clients.
        flags: option name to text, as given on the command line.
        name: of the entry.
        every_user: do not confine the server to one user.
        dry_run: show the entry and write nothing.
        show: print the entry for pasting and write nothing.
        create: write the file even if the client was not found.
        with_key: refer to the key or token even though it is not set here.
        replace: write the entry anew, whatever has its name.
        remote: the address of a shared server.
    """

    client: str = ""
    flags: Mapping[str, str] | None = None
    name: str = NAME
    every_user: bool = False
    dry_run: bool = False
    show: bool = False
    create: bool = False
    with_key: bool = False
    replace: bool = False
    remote: str | None = None


def run_install(request: Request) -> int:
    """Put the server into a client's configuration.

    Returns:
        0 if the entry is there (or was shown), 1 if it could not be put there.

    Raises:
        ConfigurationError: the client is unknown, or the server would refuse a value.
    """
    return _say(_install, request)


def run_uninstall(request: Request) -> int:
    """Take the server out of a client's configuration.

    Returns:
        0 if the entry is gone, 1 if it could not be taken out.

    Raises:
        ConfigurationError: the client is unknown.
    """
    return _say(_uninstall, request)


def _say(work: Callable[[Request, Layout], list[str]], request: Request) -> int:
    try:
        print("\n".join(work(request, Layout.here())))
    except InstallError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1
    return 0


def _install(request: Request, layout: Layout) -> list[str]:
    client, remote = _named(request)
    if request.show:
        return [snippet(client, _server(request, remote, None), request.name)]
    if client is None:
        return _listed(layout, request.name)
    if remote and not client.url_key:
        raise InstallError(
            f"{client.title} takes no shared server from its file: add {remote} in the app, under Customize, "
            "Connectors. The app reaches it from the internet, and people sign in."
        )
    if not client.is_here(layout) and not request.create:
        raise InstallError(
            f"{client.title} was not found: there is no {client.file(layout)}. Start it once and run this "
            "again, or add --create to write the file anyway."
        )
    file = ClientFile.read(client.file(layout), client.format)
    found = _entries(file, client).get(request.name)
    old = None if request.replace else found
    if old is not None and not is_ours(client, old, remote):
        raise InstallError(
            f"{client.title} already has a different server named {request.name}. It was left alone. Choose another "
            f"name with --name, or add --replace to put this one in its place ({file.path})."
        )
    server = _server(request, remote, None if old is None or remote else settings_of(client, old))
    made = entry(client, server) if old is None else merged(client, old, entry(client, server))
    about = _about(client, server)
    if made == found:
        return [f"{client.title} already has {request.name}; nothing needs to change: {file.path}", *about]
    if request.dry_run:
        return [f"{file.path} would get:", snippet(client, server, request.name), *about, NOTHING_WRITTEN]
    by_hand = f"Add this to it by hand:\n{snippet(client, server, request.name)}"
    how = _change(client, layout, file.path, request.name, made, by_hand)
    did = "Added" if found is None else "Updated" if old else "Replaced"
    return [
        f"{did} {request.name} in {client.title}: {file.path}",
        *how,
        *about,
        f"Next: {client.restart}",
        *(["Then ask it: What have you stored about me today?"] if found is None else []),
    ]


def _server(request: Request, remote: str, earlier: Mapping[str, str] | None) -> Server:
    """What the entry says.

    Args:
        earlier: the variables of an entry that is there already; they stay unless something else is given now.

    Raises:
        InstallError: a key would go to an address that it was not given with.
    """
    env = os.environ
    if remote:
        return Server(remote=remote, with_token=request.with_key or bool(env.get(BEARER, "").strip()))
    flags = dict(request.flags or {})
    settings = load(env, flags)
    given: dict[str, str] = {}
    for option in OPTIONS:
        text = flags.get(option.name, env.get(option.env, "")).strip()
        if text and not option.secret and option.group != "http":
            # A path means the same from any working folder.
            is_path = option.is_path and text != ":memory:"
            given[option.env] = str(Path(text).expanduser().absolute()) if is_path else text
    kept = dict(earlier or {})
    if settings.api_key or request.with_key:
        given[KEY] = settings.api_key or kept.get(KEY) or PLACEHOLDER
    before = kept.get(URL, HOSTED_URL if KEY in kept else "").rstrip("/")
    same_key = KEY in kept and (is_reference(kept[KEY]) or kept[KEY] == given.get(KEY))
    if KEY in given and URL not in given and before not in ("", HOSTED_URL) and not same_key:
        raise InstallError(
            "The entry has an address from an earlier install, and it is not clear whether the key is for that "
            f"address. Nothing was changed: add --url {HOSTED_URL} for an account at Reflexio, or the address that "
            "the key is for."
        )
    if given.get(URL, before).rstrip("/") != before:
        kept.pop(KEY, None)  # it was given with the other address
    if request.every_user:
        given.pop(USER, None)
        kept.pop(USER, None)
    elif earlier is None:
        given.setdefault(USER, _account())
    return Server(find_launch(), kept | given)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # which one depends on the system and on Python
        raise ConfigurationError(
            "The name of your account is not known: add --user-id, or --every-user for all users."
        ) from None


def _about(client: Client, server: Server) -> list[str]:
    """What the server runs and uses, and where its key or token comes from."""
    if server.launch is None:
        return [f"It connects to: {server.remote} (not tried)", f"Token: {_about_token(client, server)}"]
    from reflexio_mcp.backend import default_store

    env = _visible(server.env)
    url = env.get(URL, HOSTED_URL if KEY in env else "")
    store = env.get("REFLEXIO_MCP_STORE", default_store())
    settings = ", ".join(f"{name}={value}" for name, value in env.items() if name != KEY) or "none"
    lines = [
        f"It runs: {joined([server.launch.command, *server.launch.args])}",
        f"It uses: {url} (not tried; reflexio-mcp doctor does)" if url else f"It uses: the file {store}",
        f"Settings: {settings}. Reinstalling keeps them; --replace resets them.",
    ]
    if USER not in env:
        lines.append("It shows every user's data; --user-id confines it to one user.")
    if KEY in env:
        lines.append(f"Key: {client.note}")
        if client.key == "file" and server.env[KEY] == PLACEHOLDER:
            lines.append(f"{KEY} is not set here: replace {PLACEHOLDER} in the file with your key.")
    return lines


def _about_token(client: Client, server: Server) -> str:
    if not server.with_token:
        return f"none, as people sign in. For a bearer token set {BEARER}, or add --with-key, and run this again."
    if client.key == "prompt":
        return f"{client.title} asks for it once."
    if client.plain_headers or client.key == "inherit":
        return f'not written. {client.title} needs it in its file, as "headers": {{"Authorization": "Bearer ..."}}.'
    return f"the file refers to {BEARER}; set it, to one token, where {client.title} is started."


def _change(
    client: Client, layout: Layout, path: Path, name: str, made: dict[str, Any], by_hand: str
) -> list[str]:
    """Put an entry in, or take it out if `made` is empty: by the client's own command if there is one, else by
    writing its file.

    Args:
        by_hand: what a person does if the file cannot be written.
    """
    if how := _by_command(client, layout, path, name, made):
        return how
    file = ClientFile.read(path, client.format)
    if file.has_comments:
        raise InstallError(f"{path} has comments, which would be lost, so it was not changed. {by_hand}")
    table = servers(file.document, client.section, create=True)
    held = cast("dict[str, Any]", table.setdefault(name, {}))
    for key in [key for key in held if key not in made]:
        del held[key]
    held.update(made)  # in place, so that comments of a TOML file stay
    if not made:
        del table[name]
    if client.key == "prompt":
        others = [one for one in file.document.get("inputs", []) if one.get("id") not in QUESTIONS]
        file.document["inputs"] = [*others, *_questions(client, dict(table))]
    holds_key = client.key == "file" and KEY in made.get(client.env_key, {})
    return _backed_up(file.write(private=holds_key), client)


def _own_commands(client: Client, layout: Layout, name: str, made: dict[str, Any]) -> list[list[str]]:
    """The commands of the client itself that put an entry in, or take it out if `made` is empty.

    Codex has such a command too, but it cannot write `required`. On Windows these commands are scripts for `cmd`,
    which would change the quotes in an entry.
    """
    program = {"claude-code": "claude", "vscode": "code"}.get(client.name, client.name)
    found = shutil.which(program, path=layout.env.get("PATH", ""))
    if not found or layout.system == "windows":
        return []
    remove = [found, "mcp", "remove", "--scope", "user", name]
    match client.name:
        case "claude-code":
            add = [found, "mcp", "add-json", "--scope", "user", name, json.dumps(made)]
            return [remove, add] if made else [remove]
        case "vscode" if made:
            return [
                [found, "--add-mcp", json.dumps({"name": name, **made, "inputs": _questions(client, made)})]
            ]
        case "gemini" | "qwen" if "command" in made:
            variables = [word for pair in made.get("env", {}).items() for word in ("-e", "=".join(pair))]
            command, *arguments = command_of(made)
            return [[found, "mcp", "add", "--scope", "user", *variables, name, command, "--", *arguments]]
        case "gemini" | "qwen" if not made:
            return [remove]
        case _:
            return []


def _by_command(client: Client, layout: Layout, path: Path, name: str, made: dict[str, Any]) -> list[str]:
    """Run a client's own commands; empty if its file is not as it should be afterwards, whatever they said."""
    commands = _own_commands(client, layout, name, made)
    if not commands:
        return []
    backup = ClientFile.read(path, client.format).back_up()
    for words in commands:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603 - the client's program, found on the person's PATH, without a shell
                words, env=layout.env, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
            )
    held = entries(client, path).get(name, {})
    if any(held.get(key) != made.get(key) for key in ("command", "args", client.url_key)):
        return []
    return [f"Written by: {joined(commands[-1][:3])}", *_backed_up(backup, client)]


def _backed_up(backup: Path | None, client: Client) -> list[str]:
    if backup is None:
        return []
    keys = " It may contain your key: delete it when everything works." if client.key == "file" else ""
    return [f"Backup of the file as it was: {backup}{'.' if keys else ''}{keys}"]


def _questions(client: Client, made: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What VS Code asks a person for, because an entry refers to it."""
    text = json.dumps(made)
    return [
        {"type": "promptString", "id": id_, "description": about, "password": True}
        for id_, about in QUESTIONS.items()
        if client.key == "prompt" and f"${{input:{id_}}}" in text
    ]


def _uninstall(request: Request, layout: Layout) -> list[str]:
    client, remote = _named(request)
    if client is None:
        return _listed(layout, request.name)
    file = ClientFile.read(client.file(layout), client.format)
    old = _entries(file, client).get(request.name)
    if old is None:
        return [f"{client.title} has no server named {request.name}: there is nothing to remove."]
    if not is_ours(client, old, remote):
        raise InstallError(
            f"{request.name} in {client.title} is not a server that install wrote, so it was left alone. If it is "
            f"your team's shared server, name its address with --remote; else take it out of {file.path} by hand."
        )
    if request.dry_run:
        return [f"{request.name} would be taken out of {file.path}.", NOTHING_WRITTEN]
    how = _change(client, layout, file.path, request.name, {}, f"Take {request.name} out of it by hand.")
    place = _visible(settings_of(client, old))
    where = remote or place.get(URL) or "on this computer, where other clients may use it too"
    return [
        f"Removed {request.name} from {client.title}: {file.path}",
        *how,
        f"What was stored is still there: {where}.",
        f"Next: {client.restart}",
    ]


def _entries(file: ClientFile, client: Client) -> dict[str, dict[str, Any]]:
    table = cast("Any", servers(file.document, client.section))
    plain = table.unwrap() if client.format == "toml" and table else table
    return {str(name): cast("Any", held) if isinstance(held, dict) else {} for name, held in plain.items()}


def entries(client: Client, path: Path) -> dict[str, dict[str, Any]]:
    """All servers that a client's file has, by name.

    Raises:
        InstallError: the file cannot be read.
    """
    return _entries(ClientFile.read(path, client.format), client)


def snippet(client: Client | None, server: Server, name: str = NAME) -> str:
    """The entry as text to paste: in a client's own form, or in the one that most clients share. No secret is in it."""
    client = client or Client("any", "Any client", lambda _: [], "", "", key="file")
    made = entry(client, replace(server, env=_visible(server.env)))
    document: dict[str, Any] = {name: made}
    for key in reversed(client.section):
        document = {key: document}
    if client.format == "toml":
        import tomlkit

        return tomlkit.dumps(document).strip()
    questions = _questions(client, made)
    return json.dumps(
        {"inputs": questions, **document} if questions else document, indent=2, ensure_ascii=False
    )


def _visible(env: Mapping[str, str]) -> dict[str, str]:
    """Variables as they may be shown."""
    return {name: PLACEHOLDER if name == KEY else visible(name, value) for name, value in env.items()}


def _named(request: Request) -> tuple[Client | None, str]:
    """The client and the address that were typed, both checked."""
    if not re.fullmatch(r"[\w-]{1,60}", request.name, re.ASCII):
        raise ConfigurationError("--name takes letters, digits, - and _.")
    client = find_client(request.client)
    if request.client and client is None:
        known = ", ".join(one.name for one in CLIENTS)
        raise ConfigurationError(
            f"There is no such client. Known clients: {known}. For any other client, use install --print."
        )
    typed = [option.flag for option in OPTIONS if option.name in (request.flags or {})]
    if request.every_user and "--user-id" in typed:
        raise ConfigurationError("--every-user goes with no --user-id.")
    if request.remote is not None and typed:
        raise ConfigurationError(
            f"--remote goes with no {' and no '.join(typed)}: that is set where the shared server runs."
        )
    return client, "" if request.remote is None else _address(request.remote)


def _address(text: str) -> str:
    """The address of a shared server, as clients take it. A refusal does not repeat it: it may contain a password."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )
    # Visible ASCII alone: control and bidirectional characters would be printed, and written into a file.
    if (
        not re.fullmatch(r"[!-~]+", text)
        or re.search(r"[@?#]", text)
        or not parts.hostname
        or port == 0
        or not secure
    ):
        raise ConfigurationError(
            f"--remote takes the https address at which clients reach the server, as in {EXAMPLE}; "
            "http is accepted for this machine alone."
        )
    path = parts.path.rstrip("/")
    if path.endswith("/sse"):
        raise ConfigurationError(f"--remote takes the address that ends with /mcp, as in {EXAMPLE}.")
    return f"{parts.scheme}://{parts.netloc}{path or '/mcp'}"


def _listed(layout: Layout, name: str) -> list[str]:
    """The clients of this machine, and which of them have the entry."""
    here, having = found_clients(layout), list[Client]()
    for client in here:
        with contextlib.suppress(InstallError):
            having += [client] if name in entries(client, client.file(layout)) else []
    return [
        "Clients found on this machine:" if here else "No client was found on this machine.",
        *(f"  {one.name:16}{one.title:20}{f'has {name}' if one in having else ''}".rstrip() for one in here),
        f"Others that install knows: {', '.join(client.name for client in CLIENTS if client not in here)}.",
        "For any other client: reflexio-mcp install --print",
        "Next: reflexio-mcp install NAME, or uninstall NAME; --create for a client that was not found.",
    ]
