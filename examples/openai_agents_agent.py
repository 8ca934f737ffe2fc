"""The server used from the OpenAI Agents SDK: `python openai_agents_agent.py [MODEL]`, for example `gpt-5`."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.mcp import MCPServerStdio
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from story import COMMAND, ENVIRONMENT, QUESTION, check, next_call


class Scripted(Model):
    async def get_response(
        self, system_instructions: Any, input: Any, *args: Any, **options: Any
    ) -> ModelResponse:
        items = [] if isinstance(input, str) else input
        results = [str(item["output"]) for item in items if item.get("type") == "function_call_output"]
        step = next_call(results)
        if isinstance(step, str):
            text = ResponseOutputText(type="output_text", text=step, annotations=[])
            said: Any = ResponseOutputMessage(
                id="message", type="message", role="assistant", status="completed", content=[text]
            )
        else:
            name, arguments = step
            said = ResponseFunctionToolCall(
                type="function_call",
                name=name,
                arguments=json.dumps(arguments),
                call_id=f"call-{len(results)}",
            )
        return ModelResponse(output=[said], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


async def run(model: Model | str) -> str:
    async with MCPServerStdio(
        params={"command": COMMAND, "args": [], "env": ENVIRONMENT}, client_session_timeout_seconds=60
    ) as memory:
        agent = Agent(name="Assistant", model=model, mcp_servers=[memory])
        return str((await Runner.run(agent, QUESTION)).final_output)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        set_tracing_disabled(True)
    check(asyncio.run(run(sys.argv[1] if len(sys.argv) > 1 else Scripted())))
