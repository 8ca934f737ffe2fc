"""Where this machine keeps people's configuration: one object, so that any system's layout can be tried."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Layout", "System"]

System = Literal["linux", "macos", "windows"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders that clients build their paths from.

    Args:
        system: whose conventions hold.
        home: the person's folder.
        env: variables that move folders (`XDG_CONFIG_HOME`, `APPDATA`, `CODEX_HOME`, ...).
    """

    system: System
    home: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def here(cls) -> "Layout":
        """This machine's layout."""
        system: System = (
            "windows" if sys.platform == "win32" else "macos" if sys.platform == "darwin" else "linux"
        )
        return cls(system, Path.home(), os.environ)

    def folder(self, variable: str, default: Path) -> Path:
        """The folder that a variable names, or the default."""
        named = self.env.get(variable, "").strip()
        return Path(named).expanduser() if named else default

    @property
    def config(self) -> Path:
        """Where applications keep their settings: `~/.config`, `~/Library/Application Support`, `%APPDATA%`."""
        if self.system == "windows":
            return self.folder("APPDATA", self.home / "AppData" / "Roaming")
        if self.system == "macos":
            return self.home / "Library" / "Application Support"
        return self.folder("XDG_CONFIG_HOME", self.home / ".config")

    @property
    def local(self) -> Path:
        """`%LOCALAPPDATA%`."""
        return self.folder("LOCALAPPDATA", self.home / "AppData" / "Local")
