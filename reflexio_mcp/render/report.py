"""A report as a page for a person."""

from reflexio_mcp.render.audit import not_looked_for, unit_of
from reflexio_mcp.render.blocks import counted, html_page, moment
from reflexio_mcp.render.deletion import logged, past
from reflexio_mcp.render.reading import change_lines
from reflexio_mcp.render.words import ANYBODY
from reflexio_mcp.results.report import FindingCount, Report

__all__ = ["report_page"]


def report_page(report: Report) -> str:
    only_in_log = ""
    if report.recorded_since:
        only_in_log = f"Deletions before {moment(report.recorded_since)} are in the audit log alone."
    return html_page(
        f"Memory from {moment(report.since)} to {moment(report.until)}",
        {
            "What changed in what is believed": [
                *map(change_lines, report.changes),
                "" if report.changes else "No change is known.",
            ],
            "New findings": [
                f"In {counted(report.requests, 'request')} stored since then:",
                *map(_finding, report.findings),
                "" if report.findings else "Nothing was found.",
            ],
            "What expired and was deleted": past(report.expired, ANYBODY),
            "Other deletions, with who and why": past(report.deletions, ANYBODY),
            "Exports, refusals and holds": logged(report.logged),
            "What could not be looked at": [
                *not_looked_for(report.not_looked_for, ANYBODY),
                *map(ANYBODY.of, report.facts),
                only_in_log,
            ],
        },
    )


def _finding(found: FindingCount) -> str:
    return f"{found.severity}: {found.finding}, {counted(found.count, unit_of(found.finding))}"
