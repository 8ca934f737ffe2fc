"""What a tool answers with is what its output schema says: both follow from one typed dictionary."""

from pathlib import Path
from typing import Any, Literal, Required, TypedDict, get_type_hints

import pytest
from jsonschema import Draft202012Validator
from mcp.client.client import Client

from reflexio_mcp.render.result import Facts, Unlisted
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load
from reflexio_mcp.toolkit.spec import schema_of
from reflexio_mcp.tools.catalog import CATALOG

PLAN = ("requests", "interactions", "users", "sessions", "examples")
"""What a host's types say of a plan, as far as this one has it; no source was given."""


class Inner(TypedDict):
    one: int


class Sample(TypedDict, total=False):
    status: Required[Literal["good", "bad"]]
    count: Required[int]
    name: str | None
    share: float
    done: bool
    ids: list[str]
    rows: list[Facts]
    by: dict[Literal["a", "b"], int]
    named: dict[str, list[str]]
    anything: Facts
    inner: Inner
    few_need_it: Unlisted[str]


def test_a_typed_dictionary_becomes_a_schema() -> None:
    assert schema_of(Sample) == {
        "type": "object",
        "properties": {
            "status": {"enum": ["good", "bad"]},
            "count": {"type": "integer"},
            "name": {"type": "string"},
            "share": {"type": "number"},
            "done": {"type": "boolean"},
            "ids": {"type": "array", "items": {"type": "string"}},
            "rows": {"type": "array", "items": {"type": "object"}},
            "by": {"type": "object", "additionalProperties": {"type": "integer"}},
            "named": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "string"}},
            },
            "anything": {"type": "object"},
            "inner": {"type": "object", "properties": {"one": {"type": "integer"}}, "required": ["one"]},
        },
        "required": ["status", "count"],
    }


def test_a_type_that_no_fact_has_is_refused() -> None:
    class Odd(TypedDict):
        when: set[str]

    with pytest.raises(TypeError, match="no fact is a"):
        schema_of(Odd)


@pytest.mark.anyio
async def test_every_kind_of_answer_has_the_keys_of_its_dictionary_and_no_other(tmp_path: Path) -> None:
    outputs = {spec.name: spec.output for spec in CATALOG}
    env = {
        "REFLEXIO_MCP_STORE": ":memory:",
        "REFLEXIO_MCP_RECOVERY_DAYS": "3",
        "REFLEXIO_MCP_RECOVERY_DIR": str(tmp_path),
        "REFLEXIO_MCP_CONFIRM": "preview",
    }
    seen: set[tuple[str, str]] = set()
    async with Client(ReflexioServer(load(env))) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            facts = result.structured_content or {}
            kind = outputs[tool]
            assert set(facts) <= set(get_type_hints(kind)), tool
            assert set(facts) >= kind.__required_keys__, tool
            Draft202012Validator(schema_of(kind)).validate(facts)
            seen.add((tool, str(facts.get("status", ""))))
            return facts

        for tool in ("list_sessions", "list_requests", "audit_traffic", "get_status", "restore_requests"):
            await call(tool)
        turns = [{"content": "a question"}, {"role": "Assistant", "content": "an answer"}]
        given: dict[str, Any] = {"user_id": "ada", "session_id": "s", "interactions": turns}
        for number in (0, 1, 2, 3, 3):
            await call("publish_interaction", request_id=f"r{number}", **given)
        for detail in ("summary", "masked"):
            await call("list_sessions", detail=detail, contains="question")
            await call("list_requests", detail=detail, limit=2)
            await call("get_request", request_id="r0", detail="full" if detail == "summary" else detail)
        await call("explore_traffic")
        await call("audit_traffic")
        await call("delete_requests", request_ids=["none"])
        plan = await call("delete_requests", request_ids=["r0", "r1"])
        await call("delete_requests", request_ids=["r0", "r2"], confirm=plan["confirm"])
        receipt = await call("delete_requests", request_ids=["r0", "r1"], confirm=plan["confirm"])
        await call("get_status")
        await call("restore_requests")
        await call("restore_requests", copy_id=receipt["copy_id"])
        plan = await call("delete_session", session_id="s")
        await call("delete_session", session_id="s", confirm=plan["confirm"], wait_for_response=False)
        await call("get_status")
        assert {*PLAN} <= set(plan["plan"])
    statuses = {status for tool, status in seen if tool.startswith("delete")}
    assert statuses == {"not_found", "planned", "changed", "complete", "scheduled"}
