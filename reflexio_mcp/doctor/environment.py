"""What the checks look at: one environment, the shell's or a client entry's."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from reflexio_mcp.doctor.report import Report
from reflexio_mcp.install.layout import Layout
from reflexio_mcp.settings import OPTIONS, Settings
from reflexio_mcp.traffic.rules.secret_heuristics import keys_in

__all__ = ["Environment"]

_NO_ADDRESS_GIVEN: Final = (
    "Check this machine's network, VPN and proxy. REFLEXIO_URL is not set, which means the hosted service; set it "
    "for a server of your own."
)


@dataclass(slots=True)
class Environment:
    """One environment under examination.

    Args:
        flags: option name to text, as the command line gave it.
        env: the environment.
        layout: where the clients' files are.
        write: publishing and deleting is allowed.
        seconds: how long one call may take.
        start_seconds: how long the start of one server may take.
        report: what has been found so far; the secrets of `env` are known to it from the start.
        settings: set by the first check.
        key_unknown: the client has a key that cannot be seen from here.
    """

    flags: Mapping[str, str] = field(default_factory=dict[str, str])
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    layout: Layout = field(default_factory=Layout.here)
    write: bool = False
    seconds: float = 8.0
    start_seconds: float = 30.0
    report: Report = field(default_factory=Report)
    settings: Settings = field(default_factory=Settings)
    key_unknown: bool = False

    def __post_init__(self) -> None:
        # A refused URL is shown with the other values, but not its credentials.
        for text in (self.flags.get("url", ""), self.env.get("REFLEXIO_URL", "")):
            self.report.secrets |= set(re.findall(r"//([^/\s]+)@", text))
            self.report.secrets |= set(re.findall(r"[?&#][^=&#?\s]*=([^&#\s]+)", text))
        for option in OPTIONS:
            if option.secret and (text := self.env.get(option.env, "").strip()):
                words = (word.strip("\"'") for word in text.replace(",", " ").split())
                # The scheme of a pasted header is no secret.
                self.report.secrets |= {text, *(word for word in words if word.lower() != "bearer")}

            elif text := self.flags.get(option.name, self.env.get(option.env, "")):
                self.report.secrets |= keys_in(text)

    def address_advice(self) -> str:
        """What to do about an address that nobody gave; empty where `REFLEXIO_URL` is set."""
        return "" if self.settings.url else _NO_ADDRESS_GIVEN
