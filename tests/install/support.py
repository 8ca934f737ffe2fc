"""A person's folder with a client in it, on each system's layout."""

import io
import tomllib
from pathlib import Path
from typing import Any

import jsonc

from reflexio_mcp.install.clients import Client, find_client
from reflexio_mcp.install.command import Request, run_install, run_uninstall
from reflexio_mcp.install.launch import Launch
from reflexio_mcp.install.layout import Layout, System

SYSTEMS: tuple[System, ...] = ("linux", "macos", "windows")


LAUNCH = Launch("/opt/tools/bin/reflexio-mcp")


KEY = "rflx-0123456789"


# What each client's documentation says, below the person's folder.
PLACES: dict[System, dict[str, str]] = {
    "linux": {
        "claude-desktop": ".config/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": ".config/Code/User/mcp.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": ".config/zed/settings.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "cline": ".cline/data/settings/cline_mcp_settings.json",
        "opencode": ".config/opencode/opencode.json",
        "qwen": ".qwen/settings.json",
        "copilot": ".copilot/mcp-config.json",
        "continue": ".continue/mcpServers/reflexio.json",
    },
    "macos": {
        "claude-desktop": "Library/Application Support/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": "Library/Application Support/Code/User/mcp.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": ".config/zed/settings.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "cline": ".cline/data/settings/cline_mcp_settings.json",
        "opencode": ".config/opencode/opencode.json",
        "qwen": ".qwen/settings.json",
        "copilot": ".copilot/mcp-config.json",
        "continue": ".continue/mcpServers/reflexio.json",
    },
    "windows": {
        "claude-desktop": "AppData/Roaming/Claude/claude_desktop_config.json",
        "claude-code": ".claude.json",
        "cursor": ".cursor/mcp.json",
        "vscode": "AppData/Roaming/Code/User/mcp.json",
        "windsurf": ".codeium/windsurf/mcp_config.json",
        "zed": "AppData/Roaming/Zed/settings.json",
        "codex": ".codex/config.toml",
        "gemini": ".gemini/settings.json",
        "cline": ".cline/data/settings/cline_mcp_settings.json",
        "opencode": ".config/opencode/opencode.json",
        "qwen": ".qwen/settings.json",
        "copilot": ".copilot/mcp-config.json",
        "continue": ".continue/mcpServers/reflexio.json",
    },
}


class Home:
    """A person's folder with one client in it."""

    def __init__(self, folder: Path, system: System, client: str) -> None:
        self.layout = Layout(system, folder)
        self.client = client
        self.path = folder / PLACES[system][client]
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, text: str) -> None:
        self.path.write_bytes(text.encode())

    @property
    def text(self) -> str:
        return self.path.read_bytes().decode()

    @property
    def data(self) -> dict[str, Any]:
        return tomllib.loads(self.text) if self.path.suffix == ".toml" else jsonc.loads(self.text)

    @property
    def backups(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}.*.bak"))

    def install(self, env: dict[str, str] | None = None, **options: Any) -> tuple[int, str]:
        out = io.StringIO()
        code = run_install(
            Request(self.client, **options), layout=self.layout, env=env or {}, launch=LAUNCH, out=out
        )
        return code, out.getvalue()

    def uninstall(self, **options: Any) -> tuple[int, str]:
        out = io.StringIO()
        return run_uninstall(Request(self.client, **options), layout=self.layout, out=out), out.getvalue()


def client_of(name: str) -> Client:
    client = find_client(name)
    assert client
    return client


def started(entry: dict[str, Any]) -> tuple[str, list[str]]:
    """What an entry starts, whether its command stands apart from its arguments or not."""
    command = entry["command"]
    return (command[0], command[1:]) if isinstance(command, list) else (command, entry["args"])


def variables(entry: dict[str, Any]) -> dict[str, Any]:
    return entry.get("environment", entry.get("env", {}))


def entries(client: Client, data: dict[str, Any]) -> dict[str, Any]:
    for key in client.section:
        data = data[key]
    return data
