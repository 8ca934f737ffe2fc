"""The plugin and the extension, as far as it can be seen without their clients."""

import json
from pathlib import Path
from typing import Any

import pytest

from reflexio_mcp.server.prompts import DATA
from reflexio_mcp.settings import ConfigurationError, load, parse_flags

ROOT = Path(__file__).parent.parent.parent
PLUGIN = ROOT / "packaging" / "plugin"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_marketplace_leads_to_the_plugin() -> None:
    (listed,) = read(ROOT / ".claude-plugin" / "marketplace.json")["plugins"]
    manifest = ROOT / listed["source"] / ".claude-plugin" / "plugin.json"
    assert read(manifest)["name"] == listed["name"]


@pytest.mark.parametrize("name", ["gemini-extension.json", "packaging/plugin/.claude-plugin/plugin.json"])
def test_without_a_user_id_the_server_does_not_start(name: str) -> None:
    words = read(ROOT / name)["mcpServers"]["reflexio"]["args"]
    given = parse_flags(words[words.index("reflexio-mcp") + 1 :])
    for answer in (given["user_id"], ""):  # a client that filled nothing in, or nothing but blanks
        with pytest.raises(ConfigurationError):
            load({}, {"user_id": answer})
    assert load({}, {"user_id": "ada"}).user_id == "ada"


def test_who_has_no_uv_is_told_before_and_after_it_is_installed() -> None:
    (listed,) = read(ROOT / ".claude-plugin" / "marketplace.json")["plugins"]
    for shown in (listed, read(ROOT / "gemini-extension.json")):
        assert "needs uv" in shown["description"]
    for path in (PLUGIN / "GEMINI.md", *PLUGIN.glob("skills/*/SKILL.md")):
        assert "uv is not installed" in path.read_text(encoding="utf-8")


def test_the_extension_has_its_context() -> None:
    assert DATA.rstrip(".").split(": ")[1] in (
        ROOT / read(ROOT / "gemini-extension.json")["contextFileName"]
    ).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "path", sorted((PLUGIN / "skills").glob("*/SKILL.md")), ids=lambda path: path.parent.name
)
def test_a_skill_names_itself_and_waits_for_a_yes_before_it_deletes(path: Path) -> None:
    _, head, text = path.read_text(encoding="utf-8").split("---\n", 2)
    about = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert about["name"] == path.parent.name
    assert 40 < len(json.loads(about["description"])) < 300
    assert ("wait for my yes" in text) is ("call delete_" in text)
