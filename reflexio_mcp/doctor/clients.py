"""Each client's entry for this server: whether it starts, and whether its own key and server work."""

import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from reflexio_mcp.backend import place_of
from reflexio_mcp.doctor.backend_checks import BACKEND, make
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, Report, failure, note, ok, warning
from reflexio_mcp.doctor.starting import POOR_PATH, child_environment, start
from reflexio_mcp.install.clients import CLIENTS, KEY, Client, found_clients
from reflexio_mcp.install.entry import entries
from reflexio_mcp.install.errors import InstallError, MalformedError
from reflexio_mcp.install.files import read
from reflexio_mcp.install.launch import joined
from reflexio_mcp.install.ownership import added_arguments, command_of, foreign, is_remote, variables_of
from reflexio_mcp.settings import Settings, parse_flags

__all__ = ["check_clients"]

_REFERENCE: Final = re.compile(
    r"\$\{\{ *secrets\.\w+ *\}\}|\$\{input:[^}$]+\}"  # a client's own store, which nobody else can read
    r"|\$\{(?:env:)?(?P<braced>[A-Za-z_]\w*)(?::-(?P<default>[^}$]*))?\}"
    r"|\{env:(?P<bare>[A-Za-z_]\w*)\}|\$(?P<plain>[A-Za-z_]\w*)"
)
"""The ways in which clients write that a value stands elsewhere."""

_DECISIVE: Final = re.compile(r"PATH|PYTHON(PATH|HOME|USERBASE)|(LD|DYLD|UV|PIP|PIPX)_\w+", re.IGNORECASE)


async def check_clients(environment: Environment) -> list[Finding]:
    """Look at every client's file; start the entries that `install` would take for its own, and no others."""
    found: list[Finding] = []
    for client in CLIENTS:
        for path in client.paths(environment.layout):
            found += await _file(environment, client, path)
    if all(one.name in ("client-file-malformed", "client-entry-foreign") for one in found):
        nobody = note("no client has this server yet", "no-client")
        found.append(replace(nobody, do=_install_which(environment)))
    return _together(found)


def _together(found: list[Finding]) -> list[Finding]:
    """The findings, with one for each problem that several entries have in the same words."""
    entries: dict[Finding, list[str]] = {}
    for one in found:
        where, colon, what = one.what.partition(": ")
        if colon and one.status in ("failure", "warning"):
            entries.setdefault(replace(one, what=what), []).append(where)
        else:
            entries[one] = []
    return [
        replace(one, what=f"{'; '.join(where)}: {one.what}") if where else one
        for one, where in entries.items()
    ]


def _install_which(environment: Environment) -> str:
    here = found_clients(environment.layout)
    if here:
        return f"Run `reflexio-mcp install {here[0].name}`."
    return "Start your client once and run `reflexio-mcp install`, or `reflexio-mcp install cursor --create`."


async def _file(environment: Environment, client: Client, path: Path) -> list[Finding]:
    try:
        original = read(path)
        if original.data is None:
            return []
        servers = entries(client, original.text)
    except MalformedError as error:
        return [warning("client-file-malformed", f"{client.title}: {path}: {error}", do=f"Correct {path}.")]
    except InstallError as error:
        return [warning("client-file-unreadable", f"{client.title}: {error}")]
    found: list[Finding] = []
    for name, entry in servers.items():
        found += await _entry(environment, client, name, entry)
    return found


async def _entry(environment: Environment, client: Client, name: str, entry: Any) -> list[Finding]:
    where = f"{client.title}, {name if name.isprintable() and len(name) <= 60 else 'an entry'}"
    if name.startswith("reflexio") and is_remote(cast("object", entry)):
        return [note(f"{where}: it is a server at a URL; not checked from here", "client-entry-remote")]
    if other := foreign(client, entry) or ("" if isinstance(entry, dict) else "empty"):
        if name.startswith("reflexio") or "reflexio" in str(cast("object", entry)):
            return [note(f"{where}: it is {other}; not started and not checked", "client-entry-foreign")]
        return []
    held = cast("dict[str, Any]", entry)
    command, arguments = command_of(client, held)
    if command is None:
        if name.startswith("reflexio"):
            return [_broken(client, "client-entry-incomplete", f"{where}: the entry has no command")]
        return []
    literals = variables_of(client, held)
    variables, unset, unseen = _resolved(literals, environment)
    forwarded = held.get("env_vars")
    passed_on = [str(one) for one in cast("list[Any]", forwarded)] if isinstance(forwarded, list) else []
    if client.key == "inherit":
        passed_on.append(KEY)
    variables |= {one: environment.env[one] for one in passed_on if one in environment.env}
    if client.key == "forward":
        unset |= {one for one in passed_on if one == KEY and not environment.env.get(one)}
    found: list[Finding] = []
    if unset and client.key != "prompt":
        why = ""
        if KEY not in unset:
            why = "Started from this shell, the server would find it empty, which counts as not set."
        elif not {"REFLEXIO_URL", "REFLEXIO_MCP_STORE"} & literals.keys():
            why = "Without its key this entry means the embedded store, because it names no address."
        said = f"{where}: refers to {', '.join(sorted(unset))}, which is not set here"
        do = f"Set {' and '.join(sorted(unset))} where {client.title} is started."
        found.append(warning("client-key-not-set", said, why=why, do=do))
    key = str(literals.get(KEY, ""))
    if key and not _REFERENCE.search(key):
        environment.report.secrets.add(key)
        if client.key != "file":
            do = f"Set REFLEXIO_API_KEY and run `reflexio-mcp install {client.name}`."
            found.append(warning("client-key-in-file", f"{where}: the key itself is in the file", do=do))
    if decisive := sorted(name for name in variables if _DECISIVE.fullmatch(name)):
        # Another PATH, preloaded code or another index can make anything of our command.
        said = f"{where}: {', '.join(decisive)} decides what it runs; not started and not checked"
        return [*found, note(said, "client-not-checked")]
    bare = not re.search(r"[/\\]", str(command))
    if client.terminal and bare and not shutil.which(str(command), path=POOR_PATH):
        said = f"{where}: {command} is found by your shell's PATH alone; install writes the whole path"
        found.append(note(said, "client-needs-path"))
    env = child_environment(variables, environment.env, terminal=client.terminal)
    went, last = await start([str(command), *arguments], env, environment.start_seconds)
    if went:
        silent = f"no answer in {environment.start_seconds:g} s. {last}".strip()
        problem, said = {
            "missing": ("client-command-missing", f"{command} cannot be run: {last or 'not found'}"),
            "ended": ("client-start-fails", f"it ends at once: {last}"),
            "silent": ("client-start-silent", silent),
        }[went]
        return [*found, _broken(client, problem, f"{where}: {said}")]
    found.append(ok(f"{where}: the program starts and answers"))
    hidden = KEY in unset or (KEY in literals and not variables.get(KEY))
    if unseen - {KEY}:
        names = ", ".join(sorted(unseen - {KEY}))
        said = f"{where}: only the client knows {names}, so its server was not checked"
        return [*found, note(said, "client-not-checked")]
    return found + await _backend(environment, where, env, added_arguments(client, held), hidden=hidden)


def _broken(client: Client, name: str, what: str) -> Finding:
    return failure(name, what, do=f"Run `reflexio-mcp install {client.name}` again.")


async def _backend(
    environment: Environment, where: str, env: Mapping[str, str], arguments: list[str], *, hidden: bool
) -> list[Finding]:
    """What is wrong with the server and the key that an entry names."""
    one = Environment(
        flags=parse_flags(arguments),
        env=env,
        layout=environment.layout,
        seconds=environment.seconds,
        report=Report(secrets=environment.report.secrets),
        key_unknown=hidden,
    )
    await make(one, BACKEND[:1])
    settings = one.settings
    if hidden and not settings.url:
        # With its key the entry means the hosted service; without, it cannot be told from the embedded store.
        said = f"{where}: its key is not known here, so its server was not checked"
        return [note(said, "client-not-checked")]
    place = settings.base_url or f"the embedded store, {place_of(settings)}"
    limits = _limits(settings)
    same = ("base_url", "api_key", "user_id", "store", "audit_log", "recovery_dir")
    doubts = any(each.status in ("failure", "warning") for each in one.report.findings)
    if not doubts and all(getattr(settings, name) == getattr(environment.settings, name) for name in same):
        return [ok(f"{where}: it uses {place}, as this shell does{limits}")]
    place += limits
    await make(one, BACKEND[1:])
    here = ""
    if place_of(settings) != place_of(environment.settings) and settings.store != ":memory:":
        flag = f"--url {settings.base_url}" if settings.base_url else f"--store {place_of(settings)}"
        user = f" --user-id {joined([settings.user_id])}" if settings.user_id else ""
        here = f" (for commands here: {flag}{user})"
    wrong = [each for each in one.report.findings if each.status in ("failure", "warning")]
    if wrong:
        told = [replace(each, what=f"{where}: {each.what}", check="") for each in wrong]
        return [note(f"{where}: it uses {place}{here}"), *told]
    seen = "which answers; its key was not tried" if hidden else "without a problem"
    return [ok(f"{where}: it uses {place}, {seen}{here}")]


def _limits(settings: Settings) -> str:
    """What an entry sets of what matters most to whom it is for, in brackets."""
    said = {
        f"user {settings.user_id}": settings.user_id,
        "read-only": settings.read_only,
        f"confirm {settings.confirm}": settings.confirm != "auto",
        f"copies for {settings.recovery_days} days": settings.recovery_days,
    }
    found = [words for words, is_set in said.items() if is_set]
    return f" ({', '.join(found)})" if found else ""


def _resolved(env: Mapping[str, Any], environment: Environment) -> tuple[dict[str, str], set[str], set[str]]:
    """The entry's variables with references replaced, the names that are not set, and the variables with a value that
    only the client knows."""
    unset: set[str] = set()
    unseen: set[str] = set()
    resolved: dict[str, str] = {}
    for variable, text in env.items():

        def value(match: re.Match[str], variable: str = variable) -> str:
            name = match["braced"] or match["bare"] or match["plain"]
            if not name:
                unseen.add(variable)
                return environment.env.get(KEY, "") if variable == KEY else ""
            if not environment.env.get(name) and not match["default"]:
                unset.add(name)
            return environment.env.get(name) or match["default"] or ""

        resolved[variable] = _REFERENCE.sub(value, str(text))
    return resolved, unset, unseen
