"""What the checks find, how it is shown, and the exit code it leads to."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from reflexio_mcp import __version__

__all__ = ["Finding", "Report", "Value", "failure", "note", "ok", "skipped", "warning"]

Status = Literal["ok", "note", "warning", "failure", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Args:
        status: `failure` when something does not work, `warning` when it will or might not.
        name: of the problem, stable and fit for a search; the check's own name when all is well.
        what: what was found.
        why: what that means, for a failure or a warning.
        do: the one thing to do about it.
    """

    status: Status
    name: str
    what: str
    why: str = ""
    do: str = ""
    check: str = ""


def ok(what: str) -> Finding:
    return Finding("ok", "", what)


def note(what: str, name: str = "") -> Finding:
    return Finding("note", name, what)


def skipped(what: str) -> Finding:
    return Finding("skipped", "", what)


def warning(name: str, what: str, why: str, do: str) -> Finding:
    return Finding("warning", name, what, why, do)


def failure(name: str, what: str, why: str, do: str) -> Finding:
    return Finding("failure", name, what, why, do)


@dataclass(frozen=True, slots=True)
class Value:
    """One option that is set: its value as it may be shown, and where it came from."""

    option: str
    value: str
    source: str


@dataclass(slots=True)
class Report:
    """Everything that one run found."""

    values: list[Value] = field(default_factory=list[Value])
    findings: list[Finding] = field(default_factory=list[Finding])
    secrets: set[str] = field(default_factory=set[str])
    """Texts that must not be shown, whoever repeats them."""

    @property
    def exit_code(self) -> int:
        """0 when all is well, 1 for warnings alone, 2 for a failure."""
        worst = {finding.status for finding in self.findings}
        return 2 if "failure" in worst else 1 if "warning" in worst else 0

    def as_json(self) -> str:
        """The report for a program."""
        shown: dict[str, Any] = {
            "version": __version__,
            "exit_code": self.exit_code,
            "configuration": [asdict(value) for value in self.values],
            "findings": [{key: text for key, text in asdict(one).items() if text} for one in self.findings],
        }
        return self._masked(json.dumps(shown, indent=2, ensure_ascii=False)) + "\n"

    def as_text(self) -> str:
        """The report for a person."""
        lines = [f"reflexio-mcp {__version__} doctor", "", "Configuration"]
        lines += _table((value.option, value.value, value.source) for value in self.values) or [
            "  nothing is set: the embedded store, with every default"
        ]
        lines += ["", "Checks"]
        for one in self.findings:
            label = one.status.upper() if one.status in ("failure", "warning") else one.status
            named = f"{one.name}: " if one.name and one.name != one.check else ""
            lines.append(f"  {label:8} {one.check:14} {named}{one.what}")
            lines += [
                f"  {'':8} {'':14} {word:4} {text}"
                for word, text in (("why", one.why), ("do", one.do))
                if text
            ]
        counts = {word: sum(one.status == word for one in self.findings) for word in ("failure", "warning")}
        said = [f"{count} {word}{'s' if count > 1 else ''}" for word, count in counts.items() if count]
        lines += ["", (", ".join(said) if said else "All is well") + "."]
        return self._masked("\n".join(lines)) + "\n"

    def _masked(self, text: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= 4:
                text = text.replace(secret, "***")
                text = text.replace(json.dumps(secret)[1:-1], "***")
        return text


def _table(rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [list(row) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(2)] if cells else []
    return ["  " + "  ".join([*(row[i].ljust(widths[i]) for i in range(2)), row[2]]) for row in cells]
