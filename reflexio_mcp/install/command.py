"""`reflexio-mcp install` and `uninstall`."""

import contextlib
import getpass
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

from reflexio_mcp.install.clients import BEARER, CLIENTS, KEY, Client, Layout
from reflexio_mcp.install.entry import (
    NAME,
    PLACEHOLDER,
    QUESTIONS,
    Server,
    command_of,
    entry,
    find_launch,
    is_as_install_remote_writes_it,
    questions,
    settings_of,
    snippet,
    starts_this_program,
    visible_all,
)
from reflexio_mcp.install.files import ClientFile, InstallError
from reflexio_mcp.install.written import note_shared_server, was_written
from reflexio_mcp.screen import TerminalProgress
from reflexio_mcp.settings import HOSTED_URL, OPTIONS, ConfigurationError, load

__all__ = ["InstallArguments", "run_install", "run_uninstall"]

USER: Final = "REFLEXIO_USER_ID"

_ADDRESS: Final = re.compile(
    r"(https://|http://(?=(localhost|127\.0\.0\.1|\[::1\])([:/]|$)))((?![@?#])[!-~])+"
)
"""Characters other than visible ASCII could deceive in a terminal or file."""


class Outcome(NamedTuple):
    """What a command did.

    Args:
        facts: for a program.
        lines: for a person.
    """

    facts: Mapping[str, Any]
    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class InstallArguments:
    """What was typed.

    Args:
        flags: settings by option name.
        show: `--print`.
    """

    client: str = ""
    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    name: str = NAME
    every_user: bool = False
    dry_run: bool = False
    show: bool = False
    create: bool = False
    with_key: bool = False
    replace: bool = False
    remote: str | None = None
    json: bool = False


def run_install(arguments: InstallArguments) -> int:
    return _run(_install, arguments)


def run_uninstall(arguments: InstallArguments) -> int:
    return _run(_uninstall, arguments)


def _run(work: Callable[[InstallArguments, Layout], Outcome], arguments: InstallArguments) -> int:
    try:
        with TerminalProgress().shown():
            done = work(arguments, Layout.here())
    except InstallError as error:
        sys.stderr.write(f"reflexio-mcp: {error}\n")
        return 1
    if arguments.json:
        print(json.dumps(done.facts, indent=2, ensure_ascii=False))
    else:
        print("\n".join(done.lines))
    return 0


def _outcome(
    status: str,
    client: Client,
    path: Path,
    arguments: InstallArguments,
    lines: Sequence[str],
    backup: Path | None = None,
) -> Outcome:
    facts = {"status": status, "client": client.name, "name": arguments.name, "file": str(path)}
    if backup:
        facts["backup"] = str(backup)
    return Outcome(facts, lines)


def _install(arguments: InstallArguments, layout: Layout) -> Outcome:
    client, remote = _client_and_address(arguments)
    if arguments.show:
        pasted = snippet(client, _server(arguments, remote), arguments.name)
        return Outcome({"status": "shown", "entry": pasted}, [pasted])
    if client is None:
        return _list_clients(
            layout,
            arguments.name,
            "For any other client: reflexio-mcp install --print",
            "Next: reflexio-mcp install NAME; --create for a client that was not found.",
        )
    if remote and not client.url_key:
        raise InstallError(
            f"{client.title} takes no shared server from its file: add {remote} in the app, under Customize, "
            "Connectors. That server must be reachable from the internet, and have a sign-in."
        )
    if not client.is_here(layout) and not arguments.create:
        raise InstallError(
            f"{client.title} was not found: there is no {client.file(layout)}, and no command of it in PATH. Start it "
            "once and run this again, or add --create to write the file anyway."
        )
    file = ClientFile.read(client, client.file(layout))
    old = file.entries.get(arguments.name)
    server = _server(arguments, remote)
    new = entry(client, server)
    about = _lines_about(client, server)
    if new == old:
        same = f"{client.title} already has {arguments.name}; nothing needs to change: {file.path}"
        return _outcome("unchanged", client, file.path, arguments, [same, *about])
    if old is not None and not arguments.replace:
        had = f" ({_settings(settings_of(client, old))})" if starts_this_program(old) else ""
        raise InstallError(
            f"{client.title} already has a different entry named {arguments.name}{had}. It was left alone: "
            f"{file.path}. Choose another name with --name, or add --replace to overwrite that entry with "
            f"{_settings(server.env)}."
        )
    pasted = snippet(client, server, arguments.name)
    if arguments.dry_run:
        lines = [f"{file.path} would get:", pasted, *about, "Nothing was written (--dry-run)."]
        return _outcome("planned", client, file.path, arguments, lines)
    changed = _change(client, layout, file.path, arguments.name, new, f"Add this to it by hand:\n{pasted}")
    if remote:
        note_shared_server(file.path, arguments.name, remote)
    lines = [
        f"{'Added' if old is None else 'Replaced'} {arguments.name} in {client.title}: {file.path}",
        *changed.lines,
        *about,
        f"Next: quit {client.title} completely and start it again.",
        "Then ask it: What have you stored about me today?",
    ]
    status = "added" if old is None else "replaced"
    return _outcome(status, client, file.path, arguments, lines, changed.backup)


def _server(arguments: InstallArguments, remote: str) -> Server:
    """Return the server from flags and environment. An earlier entry is ignored: its address may not belong to the
    key.
    """
    if remote:
        with_token = arguments.with_key or bool(os.environ.get(BEARER, "").strip())
        return Server(remote=remote, with_token=with_token)
    settings = load(flags=arguments.flags)
    env: dict[str, str] = {}
    for option in OPTIONS:
        text = arguments.flags.get(option.name, os.environ.get(option.env, "")).strip()
        if text and not option.secret and option.group != "http":
            # A path must mean the same in any folder.
            is_path = option.is_path and text != ":memory:"
            env[option.env] = str(Path(text).expanduser().absolute()) if is_path else text
    if settings.api_key or arguments.with_key:
        env[KEY] = settings.api_key or PLACEHOLDER
    if arguments.every_user:
        env.pop(USER, None)
    elif USER not in env:
        env[USER] = _account()
    return Server(find_launch(), env)


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # the error depends on the system and on Python
        raise ConfigurationError(
            "The name of your account is not known: add --user-id, or --every-user for all users."
        ) from None


def _lines_about(client: Client, server: Server) -> list[str]:
    if server.remote:
        if not server.with_token:
            token = "none, as people sign in. For a bearer token add --with-key."  # noqa: S105
        elif client.token or client.key_by == "forward":
            token = client.note.replace(KEY, BEARER)
        else:
            token = (
                f'not written. {client.title} needs "headers": {{"Authorization": "Bearer ..."}} in its file.'
            )
        return [f"Shared server: {server.remote} (not tried)", f"Token: {token}"]
    from reflexio_mcp.backend import default_store

    url = server.env.get("REFLEXIO_URL", HOSTED_URL if KEY in server.env else "")
    store = visible_all(server.env).get("REFLEXIO_MCP_STORE", default_store())
    lines = [
        f"The server uses: {url} (not tried: run reflexio-mcp doctor)"
        if url
        else f"The server uses: the file {store}",
        f"Settings: {_settings(server.env)}",
    ]
    if USER not in server.env:
        lines.append("The server shows every user's data; --user-id confines it to one user.")
    if KEY in server.env:
        lines.append(f"Key: {client.note}")
    return lines


def _settings(env: Mapping[str, str]) -> str:
    shown = visible_all(env).items()
    return ", ".join(f"{name}={value}" for name, value in shown if name != KEY) or "no settings"


class _Changed(NamedTuple):
    """What was done to the file of a client, or tried.

    Args:
        command: the client's own command that wrote the entry, for a person; empty if none did. The file may be changed
            all the same.
        backup: of the file as it was before; `None` if there was none, or if nothing was tried.
    """

    command: str = ""
    backup: Path | None = None

    @property
    def lines(self) -> list[str]:
        """For a person."""
        backup = f"Backup of the file as it was: {self.backup}" if self.backup else ""
        return [line for line in (self.command, backup) if line]


def _change(
    client: Client, layout: Layout, path: Path, name: str, new: dict[str, Any], by_hand: str
) -> _Changed:
    """Write an entry, or remove it if `new` is empty, with the client's command or else in its file.

    Args:
        by_hand: what a person has to do if neither is possible.
    """
    tried = _by_command(client, layout, path, name, new)
    if tried.command:
        return tried
    file = ClientFile.read(client, path)
    # The client's command has failed, but may have changed the file.
    changed_by_command = tried.backup is not None and tried.backup.read_bytes() != file.raw
    if file.has_comments:
        before = f" {tried.lines[0]}." if changed_by_command else ""
        raise InstallError(
            f"{path} has comments or trailing commas, which would be lost, so nothing was written to it.{before} "
            f"{by_hand}"
        )
    file.put(name, new)
    if client.key_by == "prompt":
        file.document["inputs"] = [*_other_questions(file), *questions(file.entries)]
    backup = file.write(private=client.key_by == "file")
    return _Changed(backup=tried.backup if changed_by_command else backup)


def _other_questions(file: ClientFile) -> list[Any]:
    """Return the questions in the file of VS Code that are not ours, as they are."""
    listed: Any = file.document.get("inputs") or []
    if not isinstance(listed, list):
        raise InstallError(f"{file.path} was left alone, because inputs is not a list. Correct it.")
    return [question for question in cast("list[Any]", listed) if not _is_ours(question)]


def _is_ours(question: Any) -> bool:
    return isinstance(question, dict) and cast("dict[str, Any]", question).get("id") in tuple(QUESTIONS)


def _by_command(client: Client, layout: Layout, path: Path, name: str, new: dict[str, Any]) -> _Changed:
    """Run the client's own commands, if it has any."""
    commands = _own_commands(client, layout, name, new)
    if not commands:
        return _Changed()
    backup = ClientFile.read(client, path).back_up()
    for words in commands:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603 - the client's program, found on the person's PATH, without a shell
                words, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
            )
    written = ClientFile.read(client, path).entries.get(name, {})
    if any(written.get(key) != new.get(key) for key in ("command", "args", "env", client.url_key)):
        return _Changed(backup=backup)
    # The third word of VS Code's command is the entry.
    beginning = [word for word in commands[-1][:3] if not word.startswith("{")]
    return _Changed(f"Written by: {' '.join(beginning)}", backup)


def _own_commands(client: Client, layout: Layout, name: str, new: dict[str, Any]) -> list[list[str]]:
    """Return the client's own commands to write an entry, or to remove it if `new` is empty; none if it has none.

    Codex's command cannot write `required`. On Windows the commands are `cmd` scripts, which change quotes.
    """
    program = client.command(layout)
    if not program or layout.system == "windows":
        return []
    remove = [program, "mcp", "remove", "--scope", "user", name]
    match client.name:
        case "claude-code":
            add = [program, "mcp", "add-json", "--scope", "user", name, json.dumps(new)]
            return [remove, add] if new else [remove]
        case "vscode" if new:
            return [[program, "--add-mcp", json.dumps({"name": name, **new, "inputs": questions(new)})]]
        case "gemini" | "qwen" if "command" in new:
            variables = [word for pair in new.get("env", {}).items() for word in ("-e", "=".join(pair))]
            command, *arguments = command_of(new)
            return [[program, "mcp", "add", "--scope", "user", *variables, name, command, "--", *arguments]]
        case "gemini" | "qwen" if not new:
            return [remove]
        case _:
            return []


def _uninstall(arguments: InstallArguments, layout: Layout) -> Outcome:
    client, remote = _client_and_address(arguments)
    if client is None:
        return _list_clients(layout, arguments.name, "Next: reflexio-mcp uninstall NAME")
    file = ClientFile.read(client, client.file(layout))
    old = file.entries.get(arguments.name)
    if old is None:
        absent = f"{client.title} has no server named {arguments.name}: there is nothing to remove."
        return _outcome("absent", client, file.path, arguments, [absent])
    if not _may_be_removed(client, file.path, arguments.name, old, remote):
        raise InstallError(
            f"{arguments.name} in {client.title} is not a server that install wrote, so it was left alone."
            f"{_advice_on_shared_server(client, arguments.name, old)} Else remove it from {file.path} by hand."
        )
    if arguments.dry_run:
        planned = f"{arguments.name} would be removed from {file.path}. Nothing was removed (--dry-run)."
        return _outcome("planned", client, file.path, arguments, [planned])
    changed = _change(
        client, layout, file.path, arguments.name, {}, f"Remove {arguments.name} from it by hand."
    )
    lines = [
        f"Removed {arguments.name} from {client.title}: {file.path}",
        *changed.lines,
        "What was stored is still there, for other clients too.",
        f"Next: quit {client.title} completely and start it again.",
    ]
    return _outcome("removed", client, file.path, arguments, lines, changed.backup)


def _may_be_removed(client: Client, path: Path, name: str, old: Mapping[str, Any], remote: str) -> bool:
    """Whether an entry is the shared server that the person named or, if they named none, was written by `install`."""
    address = old.get(client.url_key)
    if remote:
        return address == remote
    return (
        starts_this_program(old)
        or is_as_install_remote_writes_it(client, name, old)
        or was_written(path, name, address)
    )


def _advice_on_shared_server(client: Client, name: str, old: Mapping[str, Any]) -> str:
    """Say how to remove an entry if it is a shared server; empty if it has no address to name."""
    address = old.get(client.url_key) if client.url_key else None
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        return ""
    words = ["reflexio-mcp", "uninstall", client.name, "--name", name, "--remote", address]
    return f" If it is your team's shared server, run: {shlex.join(words)}"


def _client_and_address(arguments: InstallArguments) -> tuple[Client | None, str]:
    """Return the named client, and the address of the shared server; empty without `--remote`."""
    if not re.fullmatch(r"[\w-]{1,60}", arguments.name, re.ASCII):
        raise ConfigurationError("--name takes letters, digits, - and _.")
    client = next((candidate for candidate in CLIENTS if candidate.name == arguments.client.lower()), None)
    if arguments.client and client is None:
        known = ", ".join(candidate.name for candidate in CLIENTS)
        raise ConfigurationError(
            f"There is no such client. Known clients: {known}. For any other client, use install --print."
        )
    typed = [option.flag for option in OPTIONS if option.name in arguments.flags]
    if arguments.every_user and "--user-id" in typed:
        raise ConfigurationError("--every-user cannot be combined with --user-id.")
    if arguments.remote is None:
        return client, ""
    if typed:
        raise ConfigurationError(
            f"--remote cannot be combined with {' or '.join(typed)}: that is set where the shared server runs."
        )
    return client, _address(arguments.remote.strip())


def _address(text: str) -> str:
    """Check a shared server's address. A refusal does not repeat it: it may have a password."""
    refused = ConfigurationError(
        "--remote takes the https address at which clients reach the server, as in https://memory.example/mcp; "
        "http is accepted for this machine alone. An address that ends with /sse is not accepted."
    )
    try:
        parts = urlsplit(text)
        usable = _ADDRESS.fullmatch(text) and parts.hostname and parts.port != 0
    except ValueError:
        raise refused from None
    path = parts.path.rstrip("/")
    if not usable or path.endswith("/sse"):
        raise refused
    return f"{parts.scheme}://{parts.netloc}{path or '/mcp'}"


def _list_clients(layout: Layout, name: str, *advice: str) -> Outcome:
    here = [client for client in CLIENTS if client.is_here(layout)]
    with_entry: set[str] = set()
    for client in here:
        with contextlib.suppress(InstallError):
            if name in ClientFile.read(client, client.file(layout)).entries:
                with_entry.add(client.name)
    facts = [
        {"client": client.name, "found": client in here, "installed": client.name in with_entry}
        for client in CLIENTS
    ]
    lines = ["Clients found on this machine:" if here else "No client was found on this machine."]
    for client in here:
        has_it = f"has {name}" if client.name in with_entry else ""
        lines.append(f"  {client.name:16}{client.title:20}{has_it}".rstrip())
    lines += [
        f"Other clients that you can name: {', '.join(client.name for client in CLIENTS if client not in here)}.",
        *advice,
    ]
    return Outcome({"name": name, "clients": facts}, lines)
