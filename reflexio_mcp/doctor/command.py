"""`reflexio-mcp doctor`."""

import itertools
import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

import anyio

from reflexio_mcp import __version__
from reflexio_mcp.doctor.checks import Setup, examine
from reflexio_mcp.doctor.clients import setups_of_clients
from reflexio_mcp.doctor.findings import Finding, ok
from reflexio_mcp.install.clients import Layout
from reflexio_mcp.install.entry import visible
from reflexio_mcp.settings import OPTIONS

__all__ = ["Report", "run_doctor"]


@dataclass(slots=True)
class Report:
    """What was found, said as it is found unless it is for a program."""

    as_json: bool = False
    findings: list[Finding] = field(default_factory=list[Finding])

    def tell(self, found: Finding) -> None:
        """Add a finding."""
        heading = "" if any(one.where == found.where for one in self.findings[-1:]) else f"\n{found.where}\n"
        self.findings.append(found)
        if not self.as_json:
            label = found.status.upper() if found.status in ("warning", "failure") else found.status
            lines = [f"{heading}  {label:8} {found.check:10} {found.what}"]
            lines += [f"{'':22}{text}" for text in (found.why, found.do) if text]
            print("\n".join(lines), flush=True)

    def of(self, status: str) -> list[Finding]:
        return [one for one in self.findings if one.status == status]

    @property
    def exit_code(self) -> int:
        return 2 if self.of("failure") else 1 if self.of("warning") else 0

    @property
    def next_step(self) -> str:
        """The one thing to do first; empty if nothing is wrong."""
        ranked = [one for status in ("failure", "warning", "note") for one in self.of(status)]
        return next((one.do for one in ranked if one.do), "")


def run_doctor(flags: Mapping[str, str], *, as_json: bool = False) -> int:
    """Examine the settings of this shell and of every client's entry, and say what is wrong as it is found.

    Args:
        flags: option name to text, as given on the command line.
        as_json: for a program instead of a person.

    Returns:
        0 if nothing is wrong, 1 for warnings alone, 2 for a failure.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    report = Report(as_json)
    env = os.environ | {one.env: flags[one.name] for one in OPTIONS if one.name in flags}
    values = {one.env: visible(one.env, env[one.env]) for one in OPTIONS if env.get(one.env)}
    if not as_json:
        print("\n".join([f"reflexio-mcp {__version__} doctor", *map(" = ".join, values.items())]))
    anyio.run(_examine_all, env, report)
    if as_json:
        findings = [{name: text for name, text in one._asdict().items() if text} for one in report.findings]
        about = {"version": __version__, "exit_code": report.exit_code, "configuration": values}
        print(json.dumps(about | {"findings": findings, "next": report.next_step}, indent=2))
    else:
        counts = {word: len(report.of(word)) for word in ("failure", "warning")}
        said = ", ".join(f"{word}s: {count}" for word, count in counts.items() if count)
        following = f" Next: {report.next_step}" if report.next_step else ""
        print(f"\n{said or 'Nothing is wrong'}.{following}")
    return report.exit_code


async def _examine_all(env: Mapping[str, str], report: Report) -> None:
    examined: dict[object, str] = {}
    for setup in itertools.chain([Setup("This shell", env)], setups_of_clients(Layout.here(), report.tell)):
        given = frozenset(pair for pair in setup.env.items() if pair[0].startswith("REFLEXIO") and pair[1])
        same = examined.setdefault((given, setup.key_unknown), setup.where)
        if same == setup.where:
            await examine(setup, report.tell)
        else:
            report.tell(ok(f"the same settings as {same}")._replace(check="settings", where=setup.where))
