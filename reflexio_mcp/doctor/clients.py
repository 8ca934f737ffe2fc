"""Which clients have this server configured, and whether what they would run starts."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.configuration import misspelt
from reflexio_mcp.doctor.naming import meant
from reflexio_mcp.doctor.report import Finding, failure, note, ok, warning
from reflexio_mcp.doctor.starting import start
from reflexio_mcp.install import jsonedit, tomledit
from reflexio_mcp.install.clients import CLIENTS, KEY, Client
from reflexio_mcp.install.errors import InstallError, MalformedError
from reflexio_mcp.install.files import read

__all__ = ["check_clients"]

_REFERENCE: Final = re.compile(
    r"\$\{(?:env:)?([A-Za-z_]\w*)(?::-([^}]*))?\}|\$\{input:[^}]+\}|\$([A-Za-z_]\w*)"
)


async def check_clients(case: Case) -> list[Finding]:
    """Look at every client's file, and start what its entry says."""
    found: list[Finding] = []
    for client in CLIENTS:
        for path in client.paths(case.layout):
            found += await _file(case, client, path)
    if not any(one.status != "warning" or one.name != "client-file-malformed" for one in found):
        found.append(note("no client is configured; `reflexio-mcp install CLIENT` does it", "no-client"))
    return found


async def _file(case: Case, client: Client, path: Path) -> list[Finding]:
    try:
        original = read(path)
        if original.data is None:
            return []
        module = tomledit if client.format == "toml" else jsonedit
        servers = module.get_value(original.text, client.section)
    except MalformedError as error:
        return [
            warning(
                "client-file-malformed",
                f"{client.title}: {path}: {error}",
                f"{client.title} cannot read it either.",
                f"Correct {path}.",
            )
        ]
    except InstallError as error:
        return [
            warning(
                "client-file-unreadable",
                f"{client.title}: {error}",
                "It cannot be checked.",
                f"Check {path}.",
            )
        ]
    if not isinstance(servers, dict):
        return []
    found: list[Finding] = []
    for name, entry in cast("dict[str, Any]", servers).items():
        if isinstance(entry, dict) and _ours(name, cast("dict[str, Any]", entry)):
            found += await _entry(case, client, f"{client.title}, {name}", cast("dict[str, Any]", entry))
    return found


def _ours(name: str, entry: Mapping[str, Any]) -> bool:
    args = entry.get("args")
    words = [entry.get("command"), *(cast("list[Any]", args) if isinstance(args, list) else [])]
    return name.startswith("reflexio") or any("reflexio" in str(word) for word in words)


async def _entry(case: Case, client: Client, where: str, entry: Mapping[str, Any]) -> list[Finding]:
    command, args = entry.get("command"), entry.get("args", [])
    if not isinstance(command, str) or not isinstance(args, list):
        if "url" in entry or "serverUrl" in entry or "httpUrl" in entry:
            return [note(f"{where}: a server at a URL, which is not started here")]
        return [_broken(client, where, "its entry has no command", "client-entry-incomplete")]
    given = entry.get("env")
    env, unset = _resolved(cast("dict[str, Any]", given) if isinstance(given, dict) else {}, case)
    forwarded = entry.get("env_vars")
    for name in cast("list[Any]", forwarded) if isinstance(forwarded, list) else []:
        if isinstance(name, str) and name in case.env:
            env[name] = case.env[name]
    found = [
        misspelt(name, right, f"{where}: ") for name in sorted(env) if (right := meant(name)) is not None
    ]
    if unset and client.key != "prompt":
        found.append(
            warning(
                "client-key-not-set",
                f"{where}: refers to {', '.join(sorted(unset))}, which is not set here",
                "Started from here, the server would have no key.",
                f"Set it where {client.title} is started.",
            )
        )
    literal = isinstance(given, dict) and str(cast("dict[str, Any]", given).get(KEY, ""))
    if literal and not _REFERENCE.search(literal):
        case.report.secrets.add(literal)
        if client.key != "file":
            found.append(
                warning(
                    "client-key-in-file",
                    f"{where}: the key itself stands in the file",
                    f"{client.title} can take it from elsewhere.",
                    f"Run `reflexio-mcp install {client.name}` with REFLEXIO_API_KEY set.",
                )
            )
    words = [str(word) for word in cast("list[Any]", args)]
    went = await start([command, *words], env, case.env, case.start_seconds)
    if not went.problem:
        return [*found, ok(f"{where}: starts and answers")]
    what, name = {
        "missing": (f"{command} cannot be run: {went.said or 'not found'}", "client-command-missing"),
        "ended": (f"it ends at once: {went.said}", "client-start-fails"),
        "silent": (f"no answer in {case.start_seconds:g} s. {went.said}".strip(), "client-start-silent"),
    }[went.problem]
    return [*found, _broken(client, where, what, name)]


def _broken(client: Client, where: str, what: str, name: str) -> Finding:
    return failure(
        name,
        f"{where}: {what}",
        f"{client.title} cannot start the server like this.",
        f"Run `reflexio-mcp install {client.name}` again.",
    )


def _resolved(env: Mapping[str, Any], case: Case) -> tuple[dict[str, str], set[str]]:
    """The entry's variables with references replaced, and the names of those that are not set."""
    unset: set[str] = set()

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(3)
        if not name:
            return case.env.get(KEY, "")
        if not case.env.get(name) and not match.group(2):
            unset.add(name)
        return case.env.get(name) or match.group(2) or ""

    return {name: _REFERENCE.sub(value, str(text)) for name, text in env.items()}, unset
