"""One stored snapshot per tool: what a client is told about it. A change must be meant.

Run with `REFLEXIO_UPDATE_SNAPSHOTS=1` to write them anew.
"""

import json
import os
from pathlib import Path

import pytest

from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import CATALOG, offered

FOLDER = Path(__file__).parent / "snapshots"

# Everything that can be offered is offered.
EVERYTHING = Settings(recovery_days=1, url="https://reflexio.example")


def published() -> dict[str, str]:
    tools = {}
    for tool in offered(EVERYTHING):
        annotations = (
            tool.annotations.model_dump(by_alias=True, exclude_none=True) if tool.annotations else {}
        )
        said = {
            "name": tool.name,
            "title": tool.title,
            "description": tool.description,
            "annotations": annotations,
            "inputSchema": tool.parameters,
            "outputSchema": tool.output_schema,
        }
        tools[tool.name] = json.dumps(said, indent=2, ensure_ascii=False) + "\n"
    return tools


@pytest.mark.parametrize("name", [spec.name for spec in CATALOG])
def test_a_tool_is_what_its_snapshot_says(name: str) -> None:
    path = FOLDER / f"{name}.json"
    text = published()[name]
    if os.environ.get("REFLEXIO_UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), f"{path.name} is missing: REFLEXIO_UPDATE_SNAPSHOTS=1 writes it"
    assert path.read_text(encoding="utf-8") == text


def test_no_snapshot_is_left_of_a_tool_that_is_gone() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {spec.name for spec in CATALOG}


@pytest.mark.parametrize("name", [spec.name for spec in CATALOG])
def test_every_property_has_a_single_type_that_all_clients_take(name: str) -> None:
    schema = json.loads(published()[name])["inputSchema"]
    text = json.dumps(schema)
    assert "anyOf" not in text
    assert '"null"' not in text
    assert "$ref" not in text
    assert '"title": "' not in text.replace('"title": {"type": "string"}', "")
    assert all("type" in one for one in schema["properties"].values())
