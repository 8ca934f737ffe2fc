"""What the checks find, how it is shown, and the exit code it leads to."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from reflexio_mcp import __version__
from reflexio_mcp.doctor.problems import PROBLEMS
from reflexio_mcp.install.launch import as_called

__all__ = ["Finding", "Report", "Value", "failure", "note", "ok", "skipped", "warning"]

Status = Literal["ok", "note", "warning", "failure", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Args:
        status: `failure` when something does not work, `warning` when it might not, `skipped` when a check does
            not apply here.
        name: of the problem, a key of `PROBLEMS`; the check's own name when all is well.
        what: what was found.
        why: what that means, for a failure or a warning.
        do: the one thing to do about it.
        check: which check found it.
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


def warning(name: str, what: str, *, why: str = "", do: str = "") -> Finding:
    """A finding of `PROBLEMS`; `why` and `do` replace what stands there."""
    return Finding("warning", name, what, why or PROBLEMS[name].means, do or PROBLEMS[name].do)


def failure(name: str, what: str, *, why: str = "", do: str = "") -> Finding:
    """As `warning`, for what does not work."""
    return Finding("failure", name, what, why or PROBLEMS[name].means, do or PROBLEMS[name].do)


@dataclass(frozen=True, slots=True)
class Value:
    """One option that is set: its value as it may be shown, and where it came from."""

    option: str
    value: str
    source: str


@dataclass(slots=True)
class Report:
    """Everything that one run found.

    Args:
        values: the options that are set.
        findings: in the order in which they were made.
        secrets: texts that are never shown, whoever repeats them.
        on_finding: told each finding as it is added.
    """

    values: list[Value] = field(default_factory=list[Value])
    findings: list[Finding] = field(default_factory=list[Finding])
    secrets: set[str] = field(default_factory=set[str])
    on_finding: Callable[[Finding], None] | None = None

    def add(self, findings: Iterable[Finding]) -> None:
        for found in findings:
            finding = replace(found, do=found.do.replace("`reflexio-mcp ", f"`{as_called()} "))
            self.findings.append(finding)
            if self.on_finding:
                self.on_finding(finding)

    @property
    def exit_code(self) -> int:
        """0 when nothing is wrong, 1 for warnings alone, 2 for a failure."""
        worst = {finding.status for finding in self.findings}
        return 2 if "failure" in worst else 1 if "warning" in worst else 0

    def as_json(self) -> str:
        """The report for a program."""
        shown: dict[str, Any] = {
            "version": __version__,
            "exit_code": self.exit_code,
            "configuration": [asdict(value) for value in self.values],
            "findings": [{key: text for key, text in asdict(one).items() if text} for one in self.findings],
            "next": self.next_step,
        }
        return self._masked(json.dumps(shown, indent=2, ensure_ascii=False)) + "\n"

    def heading(self) -> str:
        """The first lines: the version, and what is set."""
        option = max((len(one.option) for one in self.values), default=0)
        value = max((len(one.value) for one in self.values), default=0)
        rows = [f"  {one.option:{option}}  {one.value:{value}}  {one.source}" for one in self.values]
        rows = rows or ["  nothing is set in this shell; clients have settings of their own"]
        return self._masked(
            "\n".join([f"reflexio-mcp {__version__} doctor", "", "Configuration", *rows, "", "Checks"])
        )

    def line(self, one: Finding) -> str:
        """A finding as one line, or three for a problem."""
        label = one.status.upper() if one.status in ("failure", "warning") else one.status
        named = f"{one.name}: " if one.name and one.name != one.check else ""
        lines = [f"  {label:8} {one.check:14} {named}{one.what}"]
        lines += [f"{'':26}{word:4} {text}" for word, text in (("why", one.why), ("do", one.do)) if text]
        return self._masked("\n".join(lines))

    def ending(self) -> str:
        """The last lines: what does not apply, how much is wrong, and the next step."""
        folded: dict[str, list[str]] = {}
        for one in self.findings:
            if one.status == "skipped":
                folded.setdefault(one.what, []).append(one.check)
        lines = [f"  {'skipped':8} {', '.join(checks)}: {why}" for why, checks in folded.items()]
        counts = {word: sum(one.status == word for one in self.findings) for word in ("failure", "warning")}
        said = [f"{count} {word}{'s' if count > 1 else ''}" for word, count in counts.items() if count]
        no_client = any(one.name == "no-client" for one in self.findings)
        unseen = ("client-entry-foreign", "client-entry-remote", "client-not-checked")
        unchecked = sum(one.name in unseen for one in self.findings)
        calm = "Nothing is wrong, but no client is set up" if no_client else "All is well"
        if unchecked and not no_client:
            calm = f"Nothing is wrong in what was checked; {unchecked} of the clients' entries could not be"
        lines += ["", f"{', '.join(said) or calm}."]
        if self.next_step:
            lines.append(f"Next: {self.next_step}")
        return self._masked("\n".join(lines))

    @property
    def next_step(self) -> str:
        """The one thing to do first; empty when there is nothing to do."""
        ranked = [one for status in ("failure", "warning") for one in self.findings if one.status == status]
        ranked += [one for one in self.findings if one.name == "no-client"]
        return ranked[0].do if ranked else ""

    def _masked(self, text: str) -> str:
        for secret in sorted(self.secrets, key=len, reverse=True):
            if len(secret) >= 4:
                text = text.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
        return text
