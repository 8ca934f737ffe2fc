"""The server used from pydantic-ai: `python pydantic_ai_agent.py [MODEL]`, for example `openai:gpt-5`."""

import asyncio
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from story import COMMAND, ENVIRONMENT, QUESTION, check, next_call


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    parts = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    step = next_call([part.model_response_str() for part in parts])
    if isinstance(step, str):
        return ModelResponse(parts=[TextPart(step)])
    return ModelResponse(parts=[ToolCallPart(*step)])


async def run(model: Model | str) -> str:
    memory = MCPToolset(StdioTransport(command=COMMAND, args=[], env=ENVIRONMENT), init_timeout=30)
    agent = Agent(model, toolsets=[memory])
    async with agent:
        return (await agent.run(QUESTION)).output


if __name__ == "__main__":
    check(asyncio.run(run(sys.argv[1] if len(sys.argv) > 1 else FunctionModel(scripted))))
