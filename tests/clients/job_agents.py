"""The whole job with openai-agents in strict mode: `job_agents.py http|sse URL TOKEN`.

A scripted model calls the tools. Like a model under strict function calling, it gives every argument: `[]`, "", false
and 0 for what it does not mean.
"""

import asyncio
import json
import sys

from agents import Agent, ModelResponse, RunConfig, Runner, Usage
from agents.mcp import MCPServerSse, MCPServerStreamableHttp
from agents.models.interface import Model
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

EMPTY = {"string": "", "array": [], "boolean": False, "integer": 0, "number": 0, "object": {}}


def filled(schema, named):
    """Every argument that a strict schema requires: what is meant, and nothing for the rest.

    The client leaves a schema as it is if an object in it takes any field, as `tool_data` of a publish does.
    """
    if "additionalProperties" not in schema:
        return named
    assert set(schema["required"]) == set(schema["properties"])
    given = {}
    for name, about in schema["properties"].items():
        if name in named:
            given[name] = named[name]
        else:
            given[name] = about["enum"][0] if "enum" in about else EMPTY[about.get("type", "string")]
    return given


class Scripted(Model):
    """Calls one tool after the other. Each step makes its call from the answer before."""

    def __init__(self, steps):
        self.steps = list(steps)
        self.answers = []

    async def get_response(self, **asked):
        items = asked["input"] if isinstance(asked["input"], list) else []
        outputs = [one for one in items if one.get("type") == "function_call_output"]
        if outputs:
            self.answers.append(json.loads(told(outputs[-1]["output"])))
        if not self.steps:
            said = ResponseOutputText(type="output_text", text="done", annotations=[])
            message = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[said]
            )
            return ModelResponse(output=[message], usage=Usage(), response_id=None)
        tool, named = self.steps.pop(0)(self.answers)
        schema = next(one.params_json_schema for one in asked["tools"] if one.name == tool)
        call = ResponseFunctionToolCall(
            type="function_call",
            name=tool,
            call_id=f"c{len(self.steps)}",
            arguments=json.dumps(filled(schema, named)),
        )
        return ModelResponse(output=[call], usage=Usage(), response_id=None)

    def stream_response(self, *_, **__):
        raise NotImplementedError


def told(output):
    """The text of an answer, which this client passes on as a text or in parts."""
    if isinstance(output, str):
        try:
            parts = json.loads(output)
        except ValueError:
            return output
        return parts["text"] if isinstance(parts, dict) and parts.get("type") == "text" else output
    return output[0]["text"]


async def main(way, url, token):
    kind = MCPServerSse if way == "sse" else MCPServerStreamableHttp
    said = {"role": "User", "content": "hello"}
    steps = [
        lambda _: (
            "publish_interaction",
            {"user_id": "u", "session_id": way, "interactions": [said], "wait_for_response": True},
        ),
        lambda answers: ("get_request", {"request_id": answers[0]["request_id"], "detail": "full"}),
        lambda answers: (
            "delete_request",
            {"request_id": answers[0]["request_id"], "wait_for_response": True},
        ),
        lambda answers: (
            "delete_request",
            {
                "request_id": answers[0]["request_id"],
                "confirm": answers[2]["plan"]["confirm"],
                "wait_for_response": True,
            },
        ),
        lambda _: ("list_requests", {"session_id": way, "limit": 5, "top_k": 5}),
        lambda answers: ("restore_requests", {"deletion": answers[3]["receipt"]["number"]}),
        lambda answers: (
            "restore_requests",
            {"deletion": answers[3]["receipt"]["number"], "confirm": answers[5]["confirm"]},
        ),
        lambda _: ("list_requests", {"session_id": way, "limit": 5, "top_k": 5}),
    ]
    model = Scripted(steps)
    params = {"url": url, "headers": {"Authorization": f"Bearer {token}"}, "timeout": 60}
    async with kind(params=params, client_session_timeout_seconds=60, use_structured_content=True) as server:
        agent = Agent(
            name="a", model=model, mcp_servers=[server], mcp_config={"convert_schemas_to_strict": True}
        )
        await Runner.run(agent, "Store something and forget it.", run_config=RunConfig(tracing_disabled=True))
    stored, read, plan, done, listed, _, restored, back = model.answers
    assert stored["status"] == "stored", stored
    assert plan["plan"]["confirm"], plan
    assert done["receipt"]["deleted"]["requests"] == 1, done
    assert read["interactions"][0]["content"] == "hello", read
    assert (listed["returned"], back["returned"]) == (0, 1), (listed, back)
    assert restored["restored"]["requests"] == 1, restored
    sys.stdout.write("job done\n")


asyncio.run(main(*sys.argv[1:]))
