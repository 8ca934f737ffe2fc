"""The clients, as one table. `install`, `doctor` and the documentation are all made from it.

Paths and keys follow each client's own documentation; where a client reads an entry differently from what
it documents, the note beside it says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from reflexio_mcp.install.layout import Layout

__all__ = [
    "BEARER",
    "BEARER_PROMPT_ID",
    "CLIENTS",
    "KEY",
    "PROMPT_ID",
    "Client",
    "find_client",
    "found_clients",
]

KEY: Final = "REFLEXIO_API_KEY"
BEARER: Final = "REFLEXIO_MCP_AUTH_TOKEN"
PROMPT_ID: Final = "reflexio-api-key"
"""Id of the question that VS Code asks for the key."""
BEARER_PROMPT_ID: Final = "reflexio-mcp-token"
"""The same for the bearer token of a shared server."""


@dataclass(frozen=True, slots=True)
class Client:
    """One client.

    Args:
        name: what is typed after `install`.
        title: what people call it.
        format: of its file.
        section: names on the way to the table of servers.
        paths: its files on a machine, best first: the first that exists is used, else the first whose folder
            does.
        fixed: what every entry holds besides the command, which tells its kind.
        initial: what a new entry also holds, and a person may change.
        key: how it takes the key: `reference` in the entry's `env`, `forward` by naming the variable,
            `inherit` from its own environment, `prompt` by asking, `file` in the file alone.
        reference: what stands for the key in the entry.
        terminal: whether it is started from a shell and so has the person's PATH.
        joined: whether `command` is a list that holds the arguments too.
        env_key: what it calls the variables of an entry.
        restart: what makes it read the file again.
        note: what a person should know about the key, one sentence.
        url_key: what it calls the address of a shared server; empty where its file takes none.
        remote: what an entry for a shared server also holds, which tells its kind.
        plain_headers: whether it sends headers as they stand in its file, so that none can refer to a variable.
        elsewhere: where a shared server is added instead, as whole sentences; `{}` stands for its address.
    """

    name: str
    title: str
    paths: Callable[[Layout], list[Path]]
    restart: str
    note: str
    section: tuple[str, ...] = ("mcpServers",)
    format: Literal["json", "toml"] = "json"
    fixed: tuple[tuple[str, Any], ...] = ()
    initial: tuple[tuple[str, Any], ...] = ()
    key: Literal["reference", "forward", "inherit", "prompt", "file"] = "reference"
    reference: str = ""
    terminal: bool = False
    joined: bool = False
    env_key: str = "env"
    url_key: str = "url"
    remote: tuple[tuple[str, Any], ...] = ()
    plain_headers: bool = False
    elsewhere: str = ""

    @property
    def token_reference(self) -> str:
        """What stands for the bearer token of a shared server; empty where the client takes it from its file alone."""
        if self.plain_headers:
            return ""
        return self.reference.replace(PROMPT_ID, BEARER_PROMPT_ID).replace(KEY, BEARER)

    def is_here(self, path: Path, layout: Layout) -> bool:
        """Whether a file of `paths`, or the folder that the client keeps it in, is on this machine."""
        folder = path.parent.parent if path.parent.name == "mcpServers" else path.parent
        return path.exists() or (folder.is_dir() and folder != layout.home)


def _claude_desktop(layout: Layout) -> list[Path]:
    found = [layout.config / "Claude" / "claude_desktop_config.json"]
    if layout.system == "windows":
        # The packaged app never reads the file in %APPDATA%: Windows gives it a folder of its own.
        packages = layout.local / "Packages"
        inside = Path("LocalCache") / "Roaming" / "Claude"
        packaged = sorted(packages.glob("Claude_*")) if packages.is_dir() else []
        found = [package / inside / "claude_desktop_config.json" for package in packaged] + found
    return found


def _zed(layout: Layout) -> list[Path]:
    if layout.system == "windows":
        return [layout.config / "Zed" / "settings.json"]
    if layout.system == "macos":
        return [layout.home / ".config" / "zed" / "settings.json"]
    return [layout.config / "zed" / "settings.json"]


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
        note="Claude Desktop passes nothing of your environment on, so the key stands in the file, readable by "
        "you alone; the .mcpb bundle keeps it in the system's key store instead.",
        key="file",
        url_key="",
        elsewhere="Claude Desktop takes no shared server from its file: add {} in the app, under Customize, "
        "Connectors. It is reached from the internet and people sign in there; a bearer token is not asked for.",
    ),
    Client(
        "claude-code",
        "Claude Code",
        lambda layout: [layout.folder("CLAUDE_CONFIG_DIR", layout.home) / ".claude.json"],
        restart="Start a new session of claude.",
        note="The file holds a reference; export REFLEXIO_API_KEY where you start claude.",
        fixed=(("type", "stdio"),),
        # With a default, because an unset variable would otherwise arrive as its own name.
        reference="${REFLEXIO_API_KEY:-}",
        terminal=True,
        remote=(("type", "http"),),
    ),
    Client(
        "cursor",
        "Cursor",
        lambda layout: [layout.home / ".cursor" / "mcp.json"],
        restart="Restart Cursor, or switch the server off and on under Settings, Tools & MCP.",
        note="The file holds a reference; set REFLEXIO_API_KEY where Cursor is started.",
        reference="${env:REFLEXIO_API_KEY}",
    ),
    Client(
        "vscode",
        "VS Code",
        lambda layout: [layout.config / "Code" / "User" / "mcp.json"],
        restart="Run MCP: List Servers in VS Code and start reflexio.",
        note="VS Code asks for the key once and keeps it in its secret storage.",
        section=("servers",),
        fixed=(("type", "stdio"),),
        key="prompt",
        reference=f"${{input:{PROMPT_ID}}}",
        remote=(("type", "http"),),
    ),
    Client(
        "windsurf",
        "Windsurf",
        lambda layout: [layout.home / ".codeium" / "windsurf" / "mcp_config.json"],
        restart="Press refresh in Cascade's list of MCP servers, or restart Windsurf.",
        note="The file holds a reference; set REFLEXIO_API_KEY where Windsurf is started.",
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
        fixed=(("source", "custom"),),
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
        key="forward",
        terminal=True,
    ),
    Client(
        "gemini",
        "Gemini CLI",
        lambda layout: [layout.home / ".gemini" / "settings.json"],
        restart="Start a new session of gemini.",
        note="The file holds a reference; export REFLEXIO_API_KEY where you start gemini.",
        reference="$REFLEXIO_API_KEY",
        terminal=True,
        url_key="httpUrl",
    ),
    Client(
        "cline",
        "Cline",
        _cline,
        restart="Cline reads the file again by itself.",
        note="The file holds a reference; set REFLEXIO_API_KEY where the editor is started.",
        reference="${env:REFLEXIO_API_KEY}",
        remote=(("type", "streamableHttp"),),
        plain_headers=True,
    ),
    Client(
        "opencode",
        "OpenCode",
        _opencode,
        restart="Start a new session of opencode.",
        note="The file holds a reference; export REFLEXIO_API_KEY where you start opencode.",
        section=("mcp",),
        fixed=(("type", "local"),),
        initial=(("enabled", True),),
        reference="{env:REFLEXIO_API_KEY}",
        terminal=True,
        joined=True,
        env_key="environment",
        remote=(("type", "remote"),),
    ),
    Client(
        "qwen",
        "Qwen Code",
        lambda layout: [layout.home / ".qwen" / "settings.json"],
        restart="Start a new session of qwen.",
        note="The file holds a reference; export REFLEXIO_API_KEY where you start qwen.",
        reference="$REFLEXIO_API_KEY",
        terminal=True,
        url_key="httpUrl",
    ),
    Client(
        "copilot",
        "GitHub Copilot CLI",
        lambda layout: [layout.folder("COPILOT_HOME", layout.home / ".copilot") / "mcp-config.json"],
        restart="Start a new session of copilot.",
        note="The file holds a reference; export REFLEXIO_API_KEY where you start copilot.",
        fixed=(("type", "local"),),
        initial=(("tools", ["*"]),),
        reference="${REFLEXIO_API_KEY}",
        terminal=True,
        remote=(("type", "http"),),
    ),
    Client(
        "continue",
        "Continue",
        # One file a server; it reads every file of this folder.
        lambda layout: [layout.home / ".continue" / "mcpServers" / "reflexio.json"],
        restart="Reload the editor's window.",
        note="The file holds a reference to a secret of Continue: put REFLEXIO_API_KEY=... into ~/.continue/.env.",
        reference="${{ secrets.REFLEXIO_API_KEY }}",
        # Of a JSON file it takes `http` alone; `streamable-http` is the word of its YAML.
        remote=(("type", "http"),),
        plain_headers=True,
    ),
)


def found_clients(layout: Layout) -> list[Client]:
    """The clients that are on this machine, by the file or the folder that they keep."""
    return [
        client for client in CLIENTS if any(client.is_here(path, layout) for path in client.paths(layout))
    ]


def find_client(name: str) -> Client | None:
    """The client of a name, as people may write it."""
    wanted = name.strip().lower().replace(" ", "-").replace("_", "-")
    other = {"vs-code": "vscode", "code": "vscode", "qwen-code": "qwen", "github-copilot-cli": "copilot"}
    wanted = other.get(wanted, wanted.removesuffix("-cli"))
    return next((client for client in CLIENTS if client.name == wanted), None)
