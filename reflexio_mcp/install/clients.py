"""The clients, as one table. `install`, `doctor` and the documentation are all made from it.

Paths and keys follow each client's own documentation; a comment says where a client does something else.
"""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

__all__ = ["BEARER", "CLIENTS", "KEY", "Client", "Layout", "System", "find_client", "found_clients"]

KEY: Final = "REFLEXIO_API_KEY"
BEARER: Final = "REFLEXIO_MCP_AUTH_TOKEN"

System = Literal["linux", "macos", "windows"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a machine keeps people's configuration; one object, so that a test can try any system.

    Args:
        system: whose conventions hold.
        home: the person's folder.
        env: variables that move folders (`XDG_CONFIG_HOME`, `APPDATA`, `CODEX_HOME`, ...), and `PATH`.
    """

    system: System
    home: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def here(cls) -> "Layout":
        """This machine's layout."""
        systems: dict[str, System] = {"win32": "windows", "darwin": "macos"}
        return cls(systems.get(sys.platform, "linux"), Path.home(), os.environ)

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


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    Args:
        name: what is typed after `install`.
        title: what people call it.
        paths: its files on a machine, best first. The first that exists is used, else the first whose folder exists.
        restart: what makes the client read its file again.
        note: one sentence on where the client takes the key from.
        section: the names on the way to the table of servers.
        format: of the file.
        extra: what a new entry also contains, and a person may change.
        key: how the client takes the key. `reference`: the entry's variables refer to it. `forward`: the entry names
            the variable. `inherit`: the server has the client's environment. `prompt`: the client asks. `file`: the
            entry contains the key itself.
        reference: what stands for the key in the entry's variables.
        joined: whether `command` is a list that contains the arguments too.
        env_key: what the client calls the variables of an entry.
        url_key: what it calls the address of a shared server; empty if its file takes none.
        remote: what the entry of a shared server also contains.
        plain_headers: whether the client sends headers as they are in its file, so that none can refer to a variable.
    """

    name: str
    title: str
    paths: Callable[[Layout], list[Path]]
    restart: str
    note: str
    section: tuple[str, ...] = ("mcpServers",)
    format: Literal["json", "toml"] = "json"
    extra: tuple[tuple[str, Any], ...] = ()
    key: Literal["reference", "forward", "inherit", "prompt", "file"] = "reference"
    reference: str = ""
    joined: bool = False
    env_key: str = "env"
    url_key: str = "url"
    remote: tuple[tuple[str, Any], ...] = ()
    plain_headers: bool = False

    def is_here(self, layout: Layout) -> bool:
        """Whether one of its files, or the folder that the client keeps it in, is on this machine."""
        return any(path.exists() or _has_folder(path, layout) for path in self.paths(layout))

    def file(self, layout: Layout) -> Path:
        """Its file on a machine, which may not exist yet."""
        paths = self.paths(layout)
        found = [path for path in paths if os.path.lexists(path)]
        return next(iter(found + [path for path in paths if _has_folder(path, layout)]), paths[0])


def _has_folder(path: Path, layout: Layout) -> bool:
    folder = path.parent.parent if path.parent.name == "mcpServers" else path.parent
    return folder.is_dir() and folder != layout.home


def _claude_desktop(layout: Layout) -> list[Path]:
    name = Path("Claude") / "claude_desktop_config.json"
    found = [layout.config / name]
    if layout.system == "windows":
        # The packaged app never reads the file in %APPDATA%: Windows gives it a folder of its own.
        packages = layout.folder("LOCALAPPDATA", layout.home / "AppData" / "Local") / "Packages"
        inside = Path("LocalCache") / "Roaming" / name
        found = [package / inside for package in sorted(packages.glob("Claude_*"))] + found
    return found


def _zed(layout: Layout) -> list[Path]:
    if layout.system == "windows":
        return [layout.config / "Zed" / "settings.json"]
    folder = layout.home / ".config" if layout.system == "macos" else layout.config
    return [folder / "zed" / "settings.json"]


def _cline(layout: Layout) -> list[Path]:
    settings = Path("settings") / "cline_mcp_settings.json"
    extension = layout.config / "Code" / "User" / "globalStorage" / "saoudrizwan.claude-dev"
    # One place for its editor extension and its command line since 2026; before that, the extension's own.
    return [layout.home / ".cline" / "data" / settings, extension / settings]


def _opencode(layout: Layout) -> list[Path]:
    folder = layout.folder("XDG_CONFIG_HOME", layout.home / ".config") / "opencode"  # on every system
    return [folder / "opencode.json", folder / "opencode.jsonc"]


CLIENTS: Final[tuple[Client, ...]] = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        _claude_desktop,
        restart="Quit Claude Desktop completely and start it again.",
        note="Claude Desktop passes nothing of your environment on, so the file contains the key and is "
        "readable by you alone. The .mcpb bundle keeps the key in the system's key store instead.",
        key="file",
        url_key="",
    ),
    Client(
        "claude-code",
        "Claude Code",
        lambda layout: [layout.folder("CLAUDE_CONFIG_DIR", layout.home) / ".claude.json"],
        restart="Start a new session of claude.",
        note="The file refers to the key; export REFLEXIO_API_KEY where you start claude.",
        extra=(("type", "stdio"),),
        # With a default, because an unset variable would otherwise arrive as its own name.
        reference="${REFLEXIO_API_KEY:-}",
        remote=(("type", "http"),),
    ),
    Client(
        "cursor",
        "Cursor",
        lambda layout: [layout.home / ".cursor" / "mcp.json"],
        restart="Restart Cursor, or switch the server off and on under Settings, Tools & MCP.",
        note="The file refers to the key; set REFLEXIO_API_KEY where Cursor is started.",
        reference="${env:REFLEXIO_API_KEY}",
    ),
    Client(
        "vscode",
        "VS Code",
        lambda layout: [layout.config / "Code" / "User" / "mcp.json"],
        restart="Run MCP: List Servers in VS Code and start reflexio.",
        note="VS Code asks for the key once and keeps it in its secret storage.",
        section=("servers",),
        extra=(("type", "stdio"),),
        key="prompt",
        reference="${input:reflexio-api-key}",
        remote=(("type", "http"),),
    ),
    Client(
        "windsurf",
        "Windsurf",
        lambda layout: [layout.home / ".codeium" / "windsurf" / "mcp_config.json"],
        restart="Press refresh in Cascade's list of MCP servers, or restart Windsurf.",
        note="The file refers to the key; set REFLEXIO_API_KEY where Windsurf is started.",
        reference="${env:REFLEXIO_API_KEY}",
        url_key="serverUrl",
    ),
    Client(
        "zed",
        "Zed",
        _zed,
        restart="Zed reads the file again by itself.",
        note="Zed gives the server its own environment: set REFLEXIO_API_KEY where Zed is started.",
        section=("context_servers",),
        extra=(("source", "custom"),),
        key="inherit",
    ),
    Client(
        "codex",
        "Codex CLI",
        lambda layout: [layout.folder("CODEX_HOME", layout.home / ".codex") / "config.toml"],
        restart="Start a new session of codex.",
        note="The file names the variable; export REFLEXIO_API_KEY where you start codex.",
        section=("mcp_servers",),
        format="toml",
        # Without it, `codex exec` may ask its model before the server has started.
        extra=(("required", True),),
        remote=(("required", True),),
        key="forward",
    ),
    Client(
        "gemini",
        "Gemini CLI",
        lambda layout: [layout.home / ".gemini" / "settings.json"],
        restart="Start a new session of gemini.",
        note="The file refers to the key; export REFLEXIO_API_KEY where you start gemini.",
        reference="$REFLEXIO_API_KEY",
        url_key="httpUrl",
    ),
    Client(
        "cline",
        "Cline",
        _cline,
        restart="Cline reads the file again by itself.",
        note="The file refers to the key; set REFLEXIO_API_KEY where the editor is started.",
        reference="${env:REFLEXIO_API_KEY}",
        remote=(("type", "streamableHttp"),),
        plain_headers=True,
    ),
    Client(
        "opencode",
        "OpenCode",
        _opencode,
        restart="Start a new session of opencode.",
        note="The file refers to the key; export REFLEXIO_API_KEY where you start opencode.",
        section=("mcp",),
        extra=(("type", "local"), ("enabled", True)),
        reference="{env:REFLEXIO_API_KEY}",
        joined=True,
        env_key="environment",
        remote=(("type", "remote"), ("enabled", True)),
    ),
    Client(
        "qwen",
        "Qwen Code",
        lambda layout: [layout.home / ".qwen" / "settings.json"],
        restart="Start a new session of qwen.",
        note="The file refers to the key; export REFLEXIO_API_KEY where you start qwen.",
        reference="$REFLEXIO_API_KEY",
        url_key="httpUrl",
    ),
    Client(
        "copilot",
        "GitHub Copilot CLI",
        lambda layout: [layout.folder("COPILOT_HOME", layout.home / ".copilot") / "mcp-config.json"],
        restart="Start a new session of copilot.",
        note="The file refers to the key; export REFLEXIO_API_KEY where you start copilot.",
        extra=(("type", "local"), ("tools", ["*"])),
        reference="${REFLEXIO_API_KEY}",
        remote=(("type", "http"), ("tools", ["*"])),
    ),
    Client(
        "continue",
        "Continue",
        # One file a server; it reads every file of this folder.
        lambda layout: [layout.home / ".continue" / "mcpServers" / "reflexio.json"],
        restart="Reload the editor's window.",
        note="The file refers to a secret of Continue: put REFLEXIO_API_KEY=... into ~/.continue/.env.",
        reference="${{ secrets.REFLEXIO_API_KEY }}",
        # Of a JSON file it takes `http` alone; `streamable-http` is the word of its YAML.
        remote=(("type", "http"),),
        plain_headers=True,
    ),
)


def found_clients(layout: Layout) -> list[Client]:
    """The clients that are on this machine."""
    return [client for client in CLIENTS if client.is_here(layout)]


def find_client(name: str) -> Client | None:
    """The client of a name."""
    return next((client for client in CLIENTS if client.name == name.lower()), None)
