"""A machine under examination."""

from dataclasses import dataclass, field
from pathlib import Path

from reflexio_mcp.doctor.backend_checks import make
from reflexio_mcp.doctor.command import CHECKS
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Report
from reflexio_mcp.install.layout import Layout

KEY = "rflx-secret-0123456789"


@dataclass
class SetUp:
    """A machine with nothing on it yet."""

    home: Path
    env: dict[str, str] = field(default_factory=dict[str, str])
    flags: dict[str, str] = field(default_factory=dict[str, str])

    async def examined(self, *, write: bool = False, seconds: float = 3.0) -> Report:
        environment = Environment(
            flags=self.flags,
            env=self.env,
            layout=Layout("linux", self.home, self.env),
            write=write,
            seconds=seconds,
            start_seconds=20,
        )
        await make(environment, CHECKS)
        report = environment.report
        for shown in (as_text(report), report.as_json()):
            assert KEY not in shown
            assert "Traceback" not in shown
        for finding in report.findings:
            if finding.status in ("failure", "warning"):
                assert finding.what, finding
                assert finding.why, finding
                assert finding.do, finding
        return report

    def client(self, path: str, text: str) -> None:
        file = self.home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def problems(report: Report, status: str = "failure") -> set[str]:
    return {finding.name for finding in report.findings if finding.status == status}


def as_text(report: Report) -> str:
    """What the command prints."""
    lines = [report.line(one) for one in report.findings if one.status != "skipped"]
    return "\n".join([report.heading(), *lines, report.ending()]) + "\n"
