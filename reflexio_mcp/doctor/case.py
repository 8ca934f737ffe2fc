"""What the checks look at."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.doctor.report import Report
from reflexio_mcp.install.layout import Layout
from reflexio_mcp.settings import OPTIONS, Settings

__all__ = ["Case", "default_port"]

_HOSTED: Final = (
    "Check this machine's network, VPN and proxy. REFLEXIO_URL is not set, which means the hosted service; set it "
    "for a server of your own."
)


@dataclass(slots=True)
class Case:
    """One set-up under examination.

    Args:
        flags: option name to text, as the command line gave it.
        env: the environment.
        layout: where the clients' files are.
        write: publishing and deleting is allowed.
        seconds: how long one call or one start may take.
        report: what has been found so far; its secrets are known from the start.
        settings: set by the first check.
    """

    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    layout: Layout = field(default_factory=Layout.here)
    write: bool = False
    seconds: float = 8.0
    start_seconds: float = 30.0
    report: Report = field(default_factory=Report)
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        # Credentials do not belong in the address, which is refused for them; it is shown all the same.
        for text in (self.flags.get("url", ""), self.env.get("REFLEXIO_URL", "")):
            self.report.secrets |= set(re.findall(r"//([^/\s]+)@", text))
        for option in OPTIONS:
            if option.secret and (text := self.env.get(option.env, "").strip()):
                words = (word.strip("\"'") for word in text.replace(",", " ").split())
                # The scheme of a header that was pasted whole is not part of the secret.
                self.report.secrets |= {text, *(word for word in words if word.lower() != "bearer")}

    def advice(self, do: str) -> str:
        """What to do about the address: `do`, unless it is the hosted service's because none was given."""
        return do if self.settings.url else _HOSTED


def default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
