"""One row of the table that `run.py` prints."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A measured value beside the target it must not pass.

    Args:
        what: what was measured, in a few words.
        measured: the value that is held to the target.
        target: the most it may be.
        unit: what both are counted in, `x` for a ratio.
        detail: the values behind it.
    """

    what: str
    measured: float
    target: float
    unit: str
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.measured <= self.target


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text, a line each."""
    rows = [("figure", "measured", "target", "", "from")]
    for figure in figures:
        places = 0 if figure.unit == "tokens" else 2
        rows.append(
            (
                figure.what,
                f"{figure.measured:,.{places}f} {figure.unit}",
                f"<= {figure.target:,.{0 if places == 0 else 1}f} {figure.unit}",
                "met" if figure.met else "NOT MET",
                figure.detail,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
