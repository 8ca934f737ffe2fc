"""Hosts that run code give their model types made of the output schemas: every row has named, typed fields.

The types are made as Codex's code mode makes them: local references are followed, and what has no type is `unknown`.
"""

import json
from typing import Any

import pytest

from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import offered

SCHEMAS = {
    tool.name: tool.output_schema or {}
    for tool in offered(Settings(recovery_days=1, url="https://reflexio.example"))
}

FREE = {"arguments"}
"""Fields that may have any fields in them: the arguments of a call that an audit offers."""

OF_THE_PAGE = {"explorer_data", "judge_finding"}
"""Tools whose results only the explorer's page reads. They are one of several views."""

SCALARS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def typed(schema: Any, root: dict[str, Any]) -> Any:
    """The type of a schema: a word, a list with the type of its items, or the fields of an object."""
    if reference := schema.get("$ref"):
        return typed(root["$defs"][reference.removeprefix("#/$defs/")], root)
    if "enum" in schema or "const" in schema:
        return " | ".join(map(json.dumps, schema.get("enum", [schema.get("const")])))
    if variants := [one for one in schema.get("anyOf", []) if one != {"type": "null"}]:
        [only] = variants
        return typed(only, root)
    if schema.get("type") == "array":
        return [typed(schema.get("items", {}), root)]
    if schema.get("type") == "object":
        fields = {name: typed(one, root) for name, one in schema.get("properties", {}).items()}
        others = schema.get("additionalProperties")
        if isinstance(others, dict):
            fields["[name]"] = typed(others, root)
        return fields or "unknown"
    return SCALARS.get(schema.get("type"), "unknown")


def untyped(found: Any, path: str = "") -> list[str]:
    if isinstance(found, dict):
        return [one for name, field in found.items() for one in untyped(field, f"{path}.{name}")]
    if isinstance(found, list):
        return untyped(found[0], f"{path}[]")
    return [path] if found == "unknown" and path.rpartition(".")[2] not in FREE else []


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name not in OF_THE_PAGE])
def test_every_field_of_a_result_has_a_name_and_a_type(name: str) -> None:
    assert untyped(typed(SCHEMAS[name], SCHEMAS[name])) == []


def test_types_go_down_to_the_interaction() -> None:
    listed = typed(SCHEMAS["list_requests"], SCHEMAS["list_requests"])
    [session] = listed["sessions"]
    [request] = session["requests"]
    [interaction] = request["interactions"]
    assert session["session_id"] == request["request_id"] == request["created_at"] == "string"
    assert (interaction["interaction_id"], interaction["role"], interaction["content"]) == (
        "number",
        "string",
        "string",
    )
    assert (
        typed(SCHEMAS["delete_request"], SCHEMAS["delete_request"])["receipt"]["deleted"]["requests"]
        == "number"
    )
