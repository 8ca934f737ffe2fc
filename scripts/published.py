"""What is published about this package besides the package: made here from its own tables, and nowhere else.

`scripts/docs.py` writes what these functions return; `scripts/release_check.py` holds everything to it.
"""

import json
import tomllib
from typing import Any

from bootstrap import ROOT

from reflexio_mcp import __version__
from reflexio_mcp.server.server import ICON, TITLE
from reflexio_mcp.settings import OPTIONS, Option, Settings
from reflexio_mcp.tools.catalog import offered

SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
PYPI_NAME = "reflexio-mcp"

DESCRIPTION = "Inspect, audit and delete what your assistant stored in Reflexio, and what was learned."
"""For the registry, which takes 100 characters."""

LONG_DESCRIPTION = """\
Ask your assistant what it stored about you in Reflexio, its memory service, and have it deleted.

- **See**: sessions, requests, their full text, what was learned from them and where learning stands.
- **Audit**: secrets, duplicates, test traffic, prompt injection and more, each with the call that cleans it up.
- **Delete**: a request, a session, a chosen set or everything of one user. You see a plan first, you agree, and you
  get a receipt after the store was checked again.

Without a key it keeps everything in a file on this computer. With a key it works on your Reflexio account. It is
independent of Reflexio.
"""

USER_ID = "Whose memory this is: your name, or your user id at Reflexio. Data of other users is not shown."

# What the host asks a person who installs the bundle; everything else keeps its default.
BUNDLE_OPTIONS = ("url", "api_key", "user_id", "read_only", "confirm")


def project() -> dict[str, Any]:
    """The `[project]` table of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def repository() -> str:
    """Where the source is."""
    return project()["urls"]["Repository"]


SOURCE = f"git+{repository()}"
"""What `uv tool install` and `uvx --from` are given until the package is on PyPI: its name from then on."""


def command(source: str) -> tuple[str, ...]:
    """What an entry runs, as the pages show it."""
    return ("uvx", PYPI_NAME) if source == PYPI_NAME else ("uvx", "--from", source, PYPI_NAME)


def registry_name() -> str:
    """The name in the MCP registry: whoever owns the repository owns this namespace."""
    owner, name = repository().rstrip("/").split("/")[-2:]
    return f"io.github.{owner}/{name}"


def server_json() -> dict[str, Any]:
    """The registry's entry."""
    return {
        "$schema": SCHEMA,
        "name": registry_name(),
        "title": TITLE,
        "description": DESCRIPTION,
        "version": __version__,
        "repository": {"url": repository(), "source": "github"},
        "websiteUrl": repository() + "#readme",
        "icons": [ICON.model_dump(by_alias=True, exclude_none=True)],
        "packages": [
            {
                "registryType": "pypi",
                "identifier": PYPI_NAME,
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "environmentVariables": [_variable(option) for option in OPTIONS if option.group != "http"],
            }
        ],
    }


def _variable(option: Option) -> dict[str, Any]:
    made: dict[str, Any] = {"name": option.env, "description": option.help, "isRequired": False}
    made["isSecret"] = option.secret
    if option.is_switch:
        made["format"] = "boolean"
    if option.typed_default and not option.is_switch:
        made["default"] = option.typed_default
    if option.kind.choices:
        made["choices"] = list(option.kind.choices)
    if option.is_path:
        made["format"] = "filepath"
    return made


def bundle_manifest() -> dict[str, Any]:
    """The manifest of the bundle for Claude Desktop."""
    chosen = [option for option in OPTIONS if option.name in BUNDLE_OPTIONS]
    described = project()
    return {
        "manifest_version": "0.4",
        "name": PYPI_NAME,
        "display_name": TITLE,
        "version": __version__,
        "description": described["description"],
        "long_description": LONG_DESCRIPTION,
        "icon": "icon.png",
        "author": {"name": described["authors"][0]["name"], "url": repository()},
        "repository": {"type": "git", "url": repository()},
        "homepage": repository(),
        "documentation": repository() + "#readme",
        "license": described["license"],
        "keywords": described["keywords"],
        "server": {
            "type": "uv",
            "entry_point": "reflexio_mcp/__main__.py",
            "mcp_config": {
                "command": "uv",
                "args": [
                    *("run", "--no-project", "--python", described["requires-python"]),
                    *("--with-requirements", "${__dirname}/requirements.txt", "python", "-m", "reflexio_mcp"),
                ],
                "env": {
                    "PYTHONPATH": "${__dirname}",
                    **{option.env: f"${{user_config.{option.name}}}" for option in chosen},
                },
            },
        },
        "tools": [{"name": tool.name, "description": tool.description} for tool in offered(Settings())],
        "user_config": {option.name: _asked(option) for option in chosen},
        "compatibility": {
            "platforms": ["darwin", "win32", "linux"],
            "runtimes": {"python": described["requires-python"]},
        },
    }


def _asked(option: Option) -> dict[str, Any]:
    if option.name == "user_id":
        return {"type": "string", "title": "User id", "description": USER_ID, "required": True}
    asked: dict[str, Any] = {
        "type": "boolean" if option.is_switch else "string",
        "title": option.name.replace("_", " ").capitalize().replace("Url", "URL").replace("Api", "API"),
        "description": option.help,
        "required": False,
        # Without a default an empty field would reach the server as the text of its placeholder.
        "default": False if option.is_switch else option.typed_default,
    }
    if option.secret:
        asked["sensitive"] = True
    return asked


def as_text(value: Any) -> str:
    """JSON as it is kept in the repository."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
