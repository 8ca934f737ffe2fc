"""`reflexio-mcp doctor`: checks this shell's settings and every client's entry."""

import itertools
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio

from reflexio_mcp import __version__
from reflexio_mcp.doctor.checks import Finding, Setup, examine, note, ok, problem
from reflexio_mcp.install.clients import CLIENTS, KEY, Client, Layout
from reflexio_mcp.install.entry import NAME, command_of, settings_of, starts_this_program, visible
from reflexio_mcp.install.files import ClientFile, InstallError
from reflexio_mcp.results.base import visible as escaped
from reflexio_mcp.settings import OPTIONS, is_reference

__all__ = ["run_doctor"]

_VARIABLE: Final = re.compile(r"(?<![\w.])(?<!input:)[A-Z_]\w+")
"""The variable in a reference, unless only the client can resolve it: in `${KEY}` and `${env:KEY}`, not in
`${input:KEY}` or `${{secrets.KEY}}`."""


@dataclass(slots=True)
class Report:
    """The findings. A person sees each immediately."""

    as_json: bool = False
    findings: list[Finding] = field(default_factory=list[Finding])

    def add(self, found: Finding) -> None:
        is_elsewhere = not self.findings or self.findings[-1].where != found.where
        heading = f"\n{found.where}\n" if is_elsewhere else ""
        self.findings.append(found)
        if not self.as_json:
            label = found.status.upper() if found.status in ("warning", "failure") else found.status
            lines = [f"{heading}  {label:8} {found.check:10} {found.what}"]
            lines += [f"{'':22}{text}" for text in (found.why, found.do) if text]
            print(escaped("\n".join(lines)), flush=True)

    def of(self, status: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.status == status]

    @property
    def exit_code(self) -> int:
        return 1 if self.of("failure") else 0

    @property
    def next_step(self) -> str:
        ranked = [*self.of("failure"), *self.of("warning"), *self.of("note")]
        return next((check.do for check in ranked if check.do), "")


def run_doctor(flags: Mapping[str, str], *, as_json: bool = False) -> int:
    """Return 1 if a failure was found, else 0, also with warnings."""
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    report = Report(as_json)
    env = os.environ | {option.env: flags[option.name] for option in OPTIONS if option.name in flags}
    values = {option.env: visible(option.env, env[option.env]) for option in OPTIONS if env.get(option.env)}
    if not as_json:
        print(escaped("\n".join([f"reflexio-mcp {__version__} doctor", *map(" = ".join, values.items())])))
    anyio.run(_examine_all, env, report)
    if as_json:
        document = {
            "version": __version__,
            "exit_code": report.exit_code,
            "configuration": values,
            "findings": [
                {name: text for name, text in finding._asdict().items() if text}
                for finding in report.findings
            ],
            "next": report.next_step,
        }
        print(json.dumps(document, indent=2))
    else:
        said = f"failures: {len(report.of('failure'))}, warnings: {len(report.of('warning'))}"
        if not (report.of("failure") or report.of("warning")):
            said = "Nothing is wrong"
        following = f" Next: {report.next_step}" if report.next_step else ""
        print(f"\n{said}.{following}")
    return report.exit_code


async def _examine_all(env: Mapping[str, str], report: Report) -> None:
    examined: dict[object, str] = {}
    for setup in itertools.chain([Setup("This shell", env)], _setups_of_clients(Layout.here(), report.add)):
        setup.shell_has_policy = bool(env.get("REFLEXIO_MCP_POLICY"))
        given = frozenset(
            (name, value) for name, value in setup.env.items() if name.startswith("REFLEXIO") and value
        )
        first = examined.setdefault((given, setup.key_unknown), setup.where)
        if first == setup.where:
            await examine(setup, report.add)
        else:
            report.add(ok(f"the same settings as {first}")._replace(check="settings", where=setup.where))


def _setups_of_clients(layout: Layout, add: Callable[[Finding], None]) -> Iterator[Setup]:
    """Yield the setups in clients' files. What is found about an entry is added just before its setup is yielded."""
    found_any = False
    for client in CLIENTS:
        try:
            entries = ClientFile.read(client, client.file(layout)).entries
        except InstallError as error:
            add(problem("client-file-unreadable", str(error))._replace(check="clients", where=client.title))
            continue
        for name, entry in entries.items():
            where = client.title if name == NAME else f"{client.title}, {name}"
            setup = None
            if starts_this_program(entry):
                try:
                    setup, findings = _setup_of(client, entry, layout, where)
                except InstallError as error:
                    findings = [problem("client-file-unreadable", f"An entry cannot be read. {error}")]
            elif name.startswith("reflexio"):
                findings = [note("a shared server, or another program; run doctor where it runs")]
            else:
                continue
            found_any = True
            for found in findings:
                add(found._replace(check="clients", where=where))
            if setup:
                yield setup
    if not found_any:
        missing = problem("no-client", "Plugins and bundles of clients are not looked at.")
        add(missing._replace(check="clients", where="Clients"))


def _setup_of(
    client: Client, entry: Mapping[str, Any], layout: Layout, where: str
) -> tuple[Setup, list[Finding]]:
    """Return an entry's settings for a client started from this shell, and findings on the entry."""
    command = command_of(entry)[0]
    if shutil.which(command, path=layout.env.get("PATH", "")):
        findings = [ok(f"starts {command}")]
    else:
        findings = [problem("client-command-missing", f"There is no program {command}.")]
    written = settings_of(client, entry)
    if client.key_by == "inherit" and layout.env.get(KEY):
        # The client passes on this shell's key, unless the entry has its own.
        written.setdefault(KEY, f"${KEY}")
    env = {name: _filled_in(value, layout) for name, value in written.items()}
    key = written.get(KEY, "")
    key_unknown = bool(key) and not env[KEY]
    names_variable = _VARIABLE.search(key) is not None  # otherwise only the client can resolve it
    if key_unknown and names_variable:
        findings.append(
            problem("client-key-not-set", f"The entry fills {KEY} from a variable that is not set here.")
        )
    return Setup(where, env, key_unknown=key_unknown), findings


def _filled_in(value: str, layout: Layout) -> str:
    """Resolve a reference to a variable of this shell; empty if it is not set."""
    if not is_reference(value):
        return value
    name = _VARIABLE.search(value)
    return layout.env.get(name[0], "") if name else ""
