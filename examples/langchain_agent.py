"""The server used from LangChain's MCP adapters: `python langchain_agent.py [MODEL]`, for example `openai:gpt-5`."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from story import COMMAND, ENVIRONMENT, QUESTION, check, next_call


class Scripted(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        results = [str(message.text) for message in messages if isinstance(message, ToolMessage)]
        step = next_call(results)
        if isinstance(step, str):
            said = AIMessage(step)
        else:
            name, arguments = step
            said = AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{len(results)}"}])
        return ChatResult(generations=[ChatGeneration(message=said)])


async def run(model: BaseChatModel | str) -> str:
    client = MultiServerMCPClient(
        {"reflexio": {"transport": "stdio", "command": COMMAND, "args": [], "env": ENVIRONMENT}}
    )
    # One session for the whole run: without it every call would start a server of its own.
    async with client.session("reflexio") as session:
        agent = create_agent(model, await load_mcp_tools(session))
        answer = await agent.ainvoke({"messages": [{"role": "user", "content": QUESTION}]})
    return str(answer["messages"][-1].text)


if __name__ == "__main__":
    check(asyncio.run(run(sys.argv[1] if len(sys.argv) > 1 else Scripted())))
