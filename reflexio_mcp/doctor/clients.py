"""The entries of clients for this server: whether each can start it, and with which settings."""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reflexio_mcp.doctor.checks import Setup
from reflexio_mcp.doctor.findings import Finding, note, ok, problem
from reflexio_mcp.install.clients import CLIENTS, KEY, Client, Layout, found_clients
from reflexio_mcp.install.command import entries
from reflexio_mcp.install.entry import command_of, is_ours, settings_of
from reflexio_mcp.install.files import InstallError
from reflexio_mcp.settings import is_reference

__all__ = ["setups_of_clients"]


def setups_of_clients(layout: Layout, tell: Callable[[Finding], None]) -> Iterator[Setup]:
    """Look at every client's entries for this server, and give the settings of each."""

    def say(found: Finding) -> None:
        tell(found._replace(check="clients", where=where))

    found_any = False
    for client in CLIENTS:
        for path in filter(os.path.lexists, client.paths(layout)):
            where = client.title
            try:
                held = entries(client, path)
            except InstallError as error:
                say(problem("client-file-unreadable", str(error)))
                continue
            for name, entry in held.items():
                where = f"{client.title}, {name}" if re.fullmatch(r"[\w -]{1,60}", name) else client.title
                if is_ours(client, entry):
                    say(_command(client, entry, layout))
                    found_any = True
                    yield _setup(client, entry, layout, where, say)
                elif name.startswith("reflexio"):
                    say(note("a shared server, or another program; run doctor where it runs"))
    if not found_any:
        where = "Clients"
        here = found_clients(layout)
        do = f"Run `reflexio-mcp install {here[0].name if here else 'cursor --create'}`."
        say(problem("no-client", "No client is set up on this machine.", do))


def _command(client: Client, entry: Mapping[str, Any], layout: Layout) -> Finding:
    command = command_of(entry)[0]
    if shutil.which(command, path=layout.env.get("PATH", "")):
        return ok(f"starts {command}")
    do = f"Run `reflexio-mcp install {client.name}` again."
    return problem("client-command-missing", f"There is no program {command}.", do)


def _setup(
    client: Client, entry: Mapping[str, Any], layout: Layout, where: str, say: Callable[[Finding], None]
) -> Setup:
    """The settings that the server would have if the client were started from this shell."""
    env = settings_of(client, entry)
    if client.key == "inherit":
        env |= {name: value for name, value in layout.env.items() if name == KEY}
    unset: list[str] = []
    setup = Setup(where, env)
    for variable, value in list(env.items()):
        if not is_reference(value):
            if variable == KEY and value != layout.env.get(KEY) and client.key != "file":
                say(problem("client-key-in-file", "The key itself is in the file."))
            continue
        name = re.search(r"[A-Z_]\w+", value)
        of_the_client = "secrets." in value or "input:" in value
        env[variable] = "" if of_the_client or not name else layout.env.get(name[0], "")
        if not env[variable]:
            setup.key_unknown = setup.key_unknown or variable == KEY
            unset += [name[0]] if name and not of_the_client else []
    if unset:
        do = f"Set {' and '.join(unset)} where {client.title} is started."
        say(problem("client-key-not-set", f"It refers to {', '.join(unset)}, which is not set here.", do))
    return setup
