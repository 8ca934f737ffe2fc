"""`reflexio-mcp report`: what happened since a time, for a person or a program that a timer sends it to."""

import json
import sys
import time
from argparse import Namespace
from contextlib import closing
from pathlib import Path
from typing import Final

import anyio

from reflexio_mcp import private_files
from reflexio_mcp.backend import open_scope, open_state, owner_of
from reflexio_mcp.read_commands import check_new_file, check_store
from reflexio_mcp.render.report import report_page
from reflexio_mcp.results.base import structured
from reflexio_mcp.results.facts import FactCode
from reflexio_mcp.results.report import Report
from reflexio_mcp.screen import TerminalProgress, print_written
from reflexio_mcp.settings import ConfigurationError, Settings
from reflexio_mcp.state.state import in_thread
from reflexio_mcp.traffic.errors import InvalidInput, TrafficError, needing_state
from reflexio_mcp.traffic.reporting import Span, make_report
from reflexio_mcp.traffic.times import parse_time

LAST: Final = "last"

FIRST_SECONDS: Final = 7 * 86_400
"""How far back the first report with `--since last` goes."""


def run_report(arguments: Namespace, settings: Settings) -> int:
    """Write a report to a new file, and note in the audit log at what time its period ends."""
    check_store(settings)
    path = Path(arguments.output)
    if path.suffix not in (".html", ".json"):
        raise ConfigurationError("--output takes a name that ends with .html or .json.")
    check_new_file(path)
    try:
        with TerminalProgress().shown():
            anyio.run(_write, path, arguments.since, settings)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nInterrupted: {path} was not written. Run the command again.\n")
        raise
    print_written([path], as_json=arguments.json)
    return 0


async def _write(path: Path, since: str, settings: Settings) -> None:
    state, until = open_state(settings), int(time.time())
    with closing(state.database), needing_state(FactCode.STATE_UNUSABLE, kind=TrafficError):
        async with open_scope(settings) as scope:
            owner = await owner_of(scope, settings)
            if since == LAST:
                reported = await in_thread(state.last_reported, owner)
                begin = until - FIRST_SECONDS if reported is None else reported
            else:
                begin = parse_time("--since", since, now=until)
            if begin > until:
                raise InvalidInput("--since", "lies in the future.")
            report = await make_report(
                scope, state, owner, Span(begin, until), personal=settings.personal_data
            )
        try:
            private_files.write_new(path, _text_for(path, report).encode())
        except OSError as error:
            raise TrafficError(f"{path} cannot be written: {error.strerror}.") from None
        if since == LAST:
            await in_thread(state.note_report, owner, until)


def _text_for(path: Path, report: Report) -> str:
    if path.suffix == ".html":
        return report_page(report)
    return json.dumps(structured(report), indent=2, ensure_ascii=False) + "\n"
