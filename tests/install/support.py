"""A person's folder with a client in it."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflexio_mcp.cli import main
from reflexio_mcp.install.clients import CLIENTS, Client, Layout

KEY = "rflx-0123456789"
OWN = "http://localhost:8061"
NAMED = {client.name: client for client in CLIENTS}


@dataclass
class Home:
    """A person's folder with one client in it."""

    folder: Path
    client: Client

    @property
    def path(self) -> Path:
        return self.client.file(Layout("linux", self.folder))

    def write(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(text, encoding="utf-8")

    def put(self, entry: dict[str, Any], name: str = "reflexio") -> None:
        """A file with one entry; for a client that reads JSON."""
        (section,) = self.client.section
        self.write(json.dumps({section: {name: entry}}))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def data(self) -> dict[str, Any]:
        return tomllib.loads(self.text) if self.client.format == "toml" else json.loads(self.text)

    @property
    def entries(self) -> dict[str, Any]:
        return self.data.get(self.client.section[0], {})

    @property
    def variables(self) -> dict[str, Any]:
        return self.entries["reflexio"].get(self.client.env_key, {})

    @property
    def backups(self) -> list[Path]:
        return sorted(self.path.parent.glob(f"{self.path.name}.*.bak"))

    def install(self, *words: str) -> int:
        return main(["install", self.client.name, "--create", *words])

    def uninstall(self, *words: str) -> int:
        return main(["uninstall", self.client.name, *words])
