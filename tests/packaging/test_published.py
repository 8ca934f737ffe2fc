"""What the registry and Claude Desktop are told about this package."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from reflexio_mcp import __version__
from reflexio_mcp.settings import OPTIONS

ROOT = Path(__file__).parent.parent.parent
ENTRY: dict[str, Any] = json.loads((ROOT / "server.json").read_text(encoding="utf-8"))
MANIFEST: dict[str, Any] = json.loads((ROOT / "packaging/mcpb/manifest.json").read_text(encoding="utf-8"))


def test_the_registry_entry_is_valid() -> None:
    schema = json.loads((Path(__file__).parent / "server-2025-12-11.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER).validate(
        ENTRY
    )
    assert ENTRY["$schema"] == schema["$id"]


def test_the_registry_entry_names_every_variable_of_a_local_server_and_which_are_secret() -> None:
    (package,) = ENTRY["packages"]
    told = {one["name"]: one["isSecret"] for one in package["environmentVariables"]}
    assert told == {option.env: option.secret for option in OPTIONS if option.group != "http"}
    assert told["REFLEXIO_API_KEY"]


def test_there_is_one_version() -> None:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in described["dynamic"]
    assert {ENTRY["version"], ENTRY["packages"][0]["version"], MANIFEST["version"]} == {__version__}


def test_the_readme_has_the_marker_that_proves_whose_package_it_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"mcp-name: (\S+)", text) == [ENTRY["name"]]


def test_the_bundle_asks_for_the_key_as_a_secret_and_passes_it_on() -> None:
    assert MANIFEST["user_config"]["api_key"]["sensitive"] is True
    env = MANIFEST["server"]["mcp_config"]["env"]
    assert env["REFLEXIO_API_KEY"] == "${user_config.api_key}"
    secret = {option.name for option in OPTIONS if option.secret}
    asked = MANIFEST["user_config"]
    assert {name for name, field in asked.items() if field.get("sensitive")} == secret & set(asked)


def test_a_bundle_in_which_only_the_user_was_filled_in_starts() -> None:
    # An optional field without a default would reach the server as the text of its placeholder.
    from reflexio_mcp.settings import Settings, load

    asked = MANIFEST["user_config"]
    assert asked["user_id"].pop("required")
    asked["user_id"]["default"] = "ada"
    env = MANIFEST["server"]["mcp_config"]["env"]
    filled = {
        name: re.sub(r"\$\{user_config\.(\w+)\}", lambda m: _typed(asked[m[1]]["default"]), text)
        for name, text in env.items()
    }
    assert load(filled) == Settings(user_id="ada")


def test_the_source_archive_leaves_out_nothing_that_its_tests_use() -> None:
    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    target = described["tool"]["hatch"]["build"]["targets"]["sdist"]
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    named = set(re.findall(r'ROOT / f?"([\w.-]+)', sources))
    named |= set(re.findall(r"^(?:from|import) (\w+)", sources, re.MULTILINE))
    needed = {name for name in named if (ROOT / name).exists()}
    assert needed >= {"scripts", "benchmarks", "docs", "server.json"}
    left_out = {name for name in needed if "include" in target and f"/{name}" not in target["include"]}
    left_out |= {name for name in needed if f"/{name}" in target.get("exclude", [])}
    assert left_out == set()


def _typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.anyio
async def test_the_server_says_the_same_of_itself() -> None:
    from mcp import Client

    from reflexio_mcp.server.server import ReflexioServer
    from reflexio_mcp.settings import Settings

    described = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    async with Client(ReflexioServer(Settings(store=":memory:")), mode="legacy") as client:
        told = client.server_info
    assert told
    assert (told.title, told.version) == (ENTRY["title"], __version__)
    assert MANIFEST["display_name"] == told.title
    assert told.website_url == described["urls"]["Repository"]
    assert told.icons
    assert [one.src for one in told.icons] == [one["src"] for one in ENTRY["icons"]]
    assert told.icons[0].src == f"{told.website_url}/raw/main/packaging/mcpb/{MANIFEST['icon']}"


def test_the_icon_is_a_square_png_of_the_size_it_is_said_to_have() -> None:
    head = (ROOT / "packaging" / "mcpb" / MANIFEST["icon"]).read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = (int.from_bytes(head[at : at + 4], "big") for at in (16, 20))
    assert ENTRY["icons"][0]["sizes"] == [f"{width}x{height}"]
    assert width == height
