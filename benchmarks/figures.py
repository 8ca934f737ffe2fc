"""One measured value beside its target."""

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


def told(figure: Figure) -> str:
    """The figure in a line."""
    verdict = "met" if figure.met else "NOT MET"
    return (
        f"{verdict}: {figure.what}: {figure.measured:,.2f} {figure.unit}, "
        f"at most {figure.target:,.2f} {figure.unit} ({figure.detail})"
    )
