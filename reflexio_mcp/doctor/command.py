"""`reflexio-mcp doctor`."""

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Final, TextIO

import anyio

from reflexio_mcp.doctor import api, clients
from reflexio_mcp.doctor.backend_checks import BACKEND, REACHED, Check, make
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Finding, Report

__all__ = ["CHECKS", "run_doctor"]

CHECKS: Final = (
    BACKEND[0],
    Check(
        "clients", "each client's entry: whether it starts, and its own key and server", clients.check_clients
    ),
    *BACKEND[1:],
    Check(
        "writing", "with --write: publish, list, delete, look again", api.check_writing, (*REACHED, "store")
    ),
)
"""All checks, in the order in which they are made: what is asked about is most often a client that was just set up."""

_STYLES = {"FAILURE": "bold red", "WARNING": "bold yellow", "ok": "green", "skipped|note|why|do": "dim"}


def run_doctor(
    flags: Mapping[str, str], *, write: bool = False, as_json: bool = False, out: TextIO | None = None
) -> int:
    """Examine this set-up and say what was found, as it is found.

    Args:
        flags: option name to text, as given on the command line.
        write: also publish, list and delete in a throw-away session.
        as_json: for a program instead of a person.

    Returns:
        0 when nothing is wrong, 1 for warnings alone, 2 for a failure.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    screen = out or sys.stdout
    report = Report()
    paint = _painter(screen)

    def say(text: str) -> None:
        paint(text)
        screen.flush()

    def tell(finding: Finding) -> None:
        if len(report.findings) == 1:
            say(report.heading() + "\n")
        if finding.status != "skipped":
            say(report.line(finding) + "\n")

    if not as_json:
        report.on_finding = tell
    anyio.run(make, Environment(flags=flags, write=write, report=report), CHECKS)
    say(report.as_json() if as_json else report.ending() + "\n")
    return report.exit_code


def _painter(screen: TextIO) -> Callable[[str], object]:
    """Write to a terminal with colours, unless `NO_COLOR` is set, and to anything else as it is."""
    if not screen.isatty():
        return screen.write
    from rich.console import Console
    from rich.text import Text

    console = Console(file=screen, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def paint(text: str) -> None:
        painted = Text(text)
        for label, style in _STYLES.items():
            painted.highlight_regex(rf"(?m)^ +(?:{label})(?= )", style)
        console.print(painted, end="")

    return paint
