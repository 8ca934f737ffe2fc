"""A report as a page for a person. It has no fence, so stored text stands in quotation marks."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar, cast

from reflexio_mcp.render.audit import not_looked_for, unit_of
from reflexio_mcp.render.blocks import counted, html_page, moment, quoted
from reflexio_mcp.render.deletion import logged, past
from reflexio_mcp.render.reading import change_lines
from reflexio_mcp.render.words import ANYBODY
from reflexio_mcp.results.base import Row
from reflexio_mcp.results.deletion import Logged, PastDeletion, Who
from reflexio_mcp.results.reading import ChangeRow
from reflexio_mcp.results.report import FindingCount, Report

__all__ = ["report_page"]

STORED: Final[Mapping[type[Row], tuple[str, ...]]] = {
    ChangeRow: ("learning_id", "user_id", "content", "trigger", "old", "selected"),
    PastDeletion: ("target",),
    Who: ("caller", "client", "person", "reason"),
    Logged: ("target", "caller", "person", "client", "held"),
}
"""The fields with text that is not ours."""

SomeRow = TypeVar("SomeRow", bound=Row)


def report_page(report: Report) -> str:
    only_in_log = ""
    if report.recorded_since:
        only_in_log = f"Deletions before {moment(report.recorded_since)} are in the audit log alone."
    return html_page(
        f"Memory from {moment(report.since)} to {moment(report.until)}",
        {
            "What changed in what is believed": [
                *map(change_lines, _quoted(report.changes)),
                "" if report.changes else "No change is known.",
            ],
            "New findings": [
                f"In {counted(report.requests, 'request')} stored since then:",
                *map(_finding, report.findings),
                "" if report.findings else "Nothing was found.",
            ],
            "What expired and was deleted": past(_quoted(report.expired), ANYBODY),
            "Other deletions, with who and why": past(_quoted(report.deletions), ANYBODY),
            "Exports, refusals and holds": logged(_quoted(report.logged)),
            "What could not be looked at": [
                *not_looked_for(report.not_looked_for, ANYBODY),
                *map(ANYBODY.of, report.facts),
                only_in_log,
            ],
        },
    )


def _finding(found: FindingCount) -> str:
    return f"{found.severity}: {found.finding}, {counted(found.count, unit_of(found.finding))}"


def _quoted(rows: Iterable[SomeRow]) -> list[SomeRow]:
    return [_with_quotation_marks(row) for row in rows]


def _with_quotation_marks(row: SomeRow) -> SomeRow:
    """Put the stored text of a row, and of the rows in it, into quotation marks."""
    changed: dict[str, Any] = {}
    for name, value in row:
        if isinstance(value, Row):
            changed[name] = _with_quotation_marks(value)
        elif name in STORED.get(type(row), ()) and value:
            changed[name] = (
                [quoted(text) for text in cast("list[str]", value)]
                if isinstance(value, list)
                else quoted(value)
            )
    return row.model_copy(update=changed)
