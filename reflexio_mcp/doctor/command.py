"""`reflexio-mcp doctor`."""

import logging
import sys
from collections.abc import Mapping
from typing import TextIO

import anyio

from reflexio_mcp.doctor.case import Case
from reflexio_mcp.doctor.checks import examine

__all__ = ["run_doctor"]


def run_doctor(
    flags: Mapping[str, str], *, write: bool = False, as_json: bool = False, out: TextIO | None = None
) -> int:
    """Examine this set-up and say what was found.

    Args:
        flags: option name to text, as given on the command line.
        write: also publish, list and delete in a throw-away session.
        as_json: for a program instead of a person.
        out: where to write; stdout when `None`.

    Returns:
        0 when all is well, 1 for warnings alone, 2 for a failure.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    report = anyio.run(examine, Case(flags=flags, write=write))
    screen = out or sys.stdout
    shown = report.as_json() if as_json else report.as_text()
    encoding = getattr(screen, "encoding", None) or "utf-8"
    screen.write(shown.encode(encoding, "replace").decode(encoding))
    return report.exit_code
