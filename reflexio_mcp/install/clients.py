"""The table of clients, from their documentation, for `install`, `doctor` and our pages."""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

__all__ = ["CLIENTS", "KEY", "Client", "Layout"]

KEY: Final = "REFLEXIO_API_KEY"
BEARER: Final = "REFLEXIO_MCP_AUTH_TOKEN"

System = Literal["linux", "macos", "windows"]


_DEFAULT_FOLDERS: Final = {
    "~": "",
    "XDG_CONFIG_HOME": ".config",
    "APPDATA": "AppData/Roaming",
    "LOCALAPPDATA": "AppData/Local",
    "CLAUDE_CONFIG_DIR": "",
    "CODEX_HOME": ".codex",
    "COPILOT_HOME": ".copilot",
}
"""Variables that may name folders, and their defaults in the home folder."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Finds the configuration files of a machine. Tests can try any system."""

    system: System
    home: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def here(cls) -> "Layout":
        systems: dict[str, System] = {"win32": "windows", "darwin": "macos"}
        return cls(systems.get(sys.platform, "linux"), Path.home(), os.environ)

    def folder(self, name: str) -> Path:
        """Return a folder of `_DEFAULT_FOLDERS`; `config` is the system's folder for settings."""
        if name == "config" and self.system == "macos":
            return self.home / "Library" / "Application Support"
        if name == "config":
            name = "APPDATA" if self.system == "windows" else "XDG_CONFIG_HOME"
        named = self.env.get(name, "").strip()
        return Path(named).expanduser() if named else self.home / _DEFAULT_FOLDERS[name]

    def paths(self, place: str) -> list[Path]:
        """Return the paths of a place such as `windows:APPDATA/Zed/settings.json`; empty on other systems.

        With a `*` in it, these are paths in the folders that exist.
        """
        system, _, place = place.rpartition(":")
        start, _, rest = place.partition("/")
        if system not in ("", self.system):
            return []
        path = self.folder(start) / rest
        if "*" not in rest:
            return [path]
        return [found / path.name for found in self.folder(start).glob(str(Path(rest).parent))]


@dataclass(frozen=True, slots=True)
class Client:
    """A client, and how its configuration file describes a server.

    Args:
        places: its files, best first, for `Layout.paths`.
        note: where the client gets the key.
        program: its command; empty if it has none.
        section: the keys that lead to the table of servers.
        key_by: how the server gets the key. `reference`: the entry's variables refer to it. `forward`: the entry names
            the variable. `inherit`: the server has the client's environment. `prompt`: the client asks. `file`: the
            entry contains the key itself.
        reference: replaces the key in the entry's variables.
        joined: whether an entry's `command` contains the arguments too.
        env_key: the name of an entry's variables.
        url_key: the name of a shared server's address; empty if unsupported.
        extra, remote: other fields of an entry, and of a shared server's entry.
        plain_headers: whether headers cannot refer to a variable.
    """

    name: str
    title: str
    places: tuple[str, ...]
    program: str = ""
    note: str = "The file refers to REFLEXIO_API_KEY; set it where the client is started."
    section: tuple[str, ...] = ("mcpServers",)
    format: Literal["json", "toml"] = "json"
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    key_by: Literal["reference", "forward", "inherit", "prompt", "file"] = "reference"
    reference: str = ""
    joined: bool = False
    env_key: str = "env"
    url_key: str = "url"
    remote: Mapping[str, Any] = field(default_factory=dict[str, Any])
    plain_headers: bool = False

    def paths(self, layout: Layout) -> list[Path]:
        return [path for place in self.places for path in layout.paths(place)]

    def is_here(self, layout: Layout) -> bool:
        path = self.file(layout)
        return path.exists() or _has_folder(path, layout) or self.command(layout) is not None

    def command(self, layout: Layout) -> str | None:
        """Return the path of the client's own program; `None` if `PATH` has none."""
        return shutil.which(self.program, path=layout.env.get("PATH", "")) if self.program else None

    def file(self, layout: Layout) -> Path:
        """Return the first existing file, or else the first file in an existing folder."""
        return max(self.paths(layout), key=lambda path: (os.path.lexists(path), _has_folder(path, layout)))

    @property
    def token(self) -> str:
        """The reference to a shared server's token; empty if the client supports no reference."""
        reference = "" if self.plain_headers else self.reference
        return reference.replace("reflexio-api-key", "reflexio-mcp-token").replace(KEY, BEARER)


def _has_folder(path: Path, layout: Layout) -> bool:
    """Whether a file's folder shows that the client was started once."""
    # The folder in which Continue looks for servers may not exist yet.
    folder = path.parent.parent if path.parent.name == "mcpServers" else path.parent
    return folder.is_dir() and folder != layout.home


CLIENTS: Final[tuple[Client, ...]] = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        # Windows gives store apps their own folder.
        (
            "windows:LOCALAPPDATA/Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
            "config/Claude/claude_desktop_config.json",
        ),
        note="Claude Desktop does not pass your environment on, so the file contains the key itself. "
        "Only you can read the file. The .mcpb bundle keeps the key in the system's key store instead.",
        key_by="file",
        url_key="",
    ),
    Client(
        "claude-code",
        "Claude Code",
        ("CLAUDE_CONFIG_DIR/.claude.json",),
        program="claude",
        extra={"type": "stdio"},
        # Without a default, an unset variable would be passed as its name.
        reference="${REFLEXIO_API_KEY:-}",
        remote={"type": "http"},
    ),
    Client(
        "cursor",
        "Cursor",
        ("~/.cursor/mcp.json",),
        program="cursor",
        reference="${env:REFLEXIO_API_KEY}",
    ),
    Client(
        "vscode",
        "VS Code",
        ("config/Code/User/mcp.json",),
        program="code",
        note="VS Code asks for REFLEXIO_API_KEY once and keeps it in its secret storage.",
        section=("servers",),
        extra={"type": "stdio"},
        key_by="prompt",
        reference="${input:reflexio-api-key}",
        remote={"type": "http"},
    ),
    Client(
        "windsurf",
        "Windsurf",
        ("~/.codeium/windsurf/mcp_config.json",),
        program="windsurf",
        reference="${env:REFLEXIO_API_KEY}",
        url_key="serverUrl",
    ),
    Client(
        "zed",
        "Zed",
        (
            "windows:APPDATA/Zed/settings.json",
            "macos:~/.config/zed/settings.json",
            "linux:XDG_CONFIG_HOME/zed/settings.json",
        ),
        program="zed",
        note="The server inherits Zed's environment: set REFLEXIO_API_KEY where the client is started.",
        section=("context_servers",),
        extra={"source": "custom"},
        key_by="inherit",
    ),
    Client(
        "codex",
        "Codex CLI",
        ("CODEX_HOME/config.toml",),
        program="codex",
        note="The file names REFLEXIO_API_KEY; set it where the client is started.",
        section=("mcp_servers",),
        format="toml",
        # Without `required`, `codex exec` may start before the server.
        extra={"required": True},
        remote={"required": True},
        key_by="forward",
    ),
    Client(
        "gemini",
        "Gemini CLI",
        ("~/.gemini/settings.json",),
        program="gemini",
        reference="$REFLEXIO_API_KEY",
        url_key="httpUrl",
    ),
    Client(
        "cline",
        "Cline",
        ("~/.cline/data/settings/cline_mcp_settings.json",),
        program="cline",
        # Without `timeout`, Cline drops a server that needs three seconds to start.
        extra={"timeout": 60},
        reference="${env:REFLEXIO_API_KEY}",
        remote={"type": "streamableHttp"},
        plain_headers=True,
    ),
    Client(
        "opencode",
        "OpenCode",
        # The folder is the same on every system.
        ("XDG_CONFIG_HOME/opencode/opencode.json", "XDG_CONFIG_HOME/opencode/opencode.jsonc"),
        program="opencode",
        section=("mcp",),
        extra={"type": "local", "enabled": True},
        reference="{env:REFLEXIO_API_KEY}",
        joined=True,
        env_key="environment",
        remote={"type": "remote", "enabled": True},
    ),
    Client(
        "qwen",
        "Qwen Code",
        ("~/.qwen/settings.json",),
        program="qwen",
        reference="$REFLEXIO_API_KEY",
        url_key="httpUrl",
    ),
    Client(
        "copilot",
        "GitHub Copilot CLI",
        ("COPILOT_HOME/mcp-config.json",),
        program="copilot",
        extra={"type": "local", "tools": ["*"]},
        reference="${REFLEXIO_API_KEY}",
        remote={"type": "http", "tools": ["*"]},
    ),
    Client(
        "continue",
        "Continue",
        # Continue reads every file of this folder, one per server.
        ("~/.continue/mcpServers/reflexio.json",),
        program="cn",
        note="The file refers to a secret of Continue: put REFLEXIO_API_KEY=... into ~/.continue/.env.",
        reference="${{ secrets.REFLEXIO_API_KEY }}",
        # JSON files use `http`; YAML files use `streamable-http`.
        remote={"type": "http"},
        plain_headers=True,
    ),
)
