"""The whole job with a host that others wrote: `job_hosts.py HOST MODEL_URL MCP_URL TOKEN`.

Each is an agent with a model at an address of its own, and with the tools of the server at `MCP_URL`.
"""

import asyncio
import os
import sys

ASKED = "Do the job."
MODEL = "scripted"
KEY = "none"
MOST_STEPS = 30


async def langchain(model, url, headers):
    from langchain.agents import create_agent
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_openai import ChatOpenAI

    client = MultiServerMCPClient(
        {"reflexio": {"transport": "streamable_http", "url": url, "headers": headers}}
    )
    chat = ChatOpenAI(model=MODEL, base_url=model, api_key=KEY)
    agent = create_agent(chat, await client.get_tools())
    await agent.ainvoke({"messages": [("user", ASKED)]}, {"recursion_limit": 3 * MOST_STEPS})


async def llama_index(model, url, headers):
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai_like import OpenAILike
    from llama_index.tools.mcp import BasicMCPClient, McpToolSpec

    tools = await McpToolSpec(client=BasicMCPClient(url, headers=headers)).to_tool_list_async()
    chat = OpenAILike(
        model=MODEL, api_base=model, api_key=KEY, is_chat_model=True, is_function_calling_model=True
    )
    await FunctionAgent(tools=tools, llm=chat).run(ASKED, max_iterations=MOST_STEPS)


async def pydantic_ai(model, url, headers):
    from pydantic_ai import Agent
    from pydantic_ai.mcp import MCPToolset
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    chat = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=model, api_key=KEY))
    async with Agent(chat, toolsets=[MCPToolset(url, headers=headers)]) as agent:
        await agent.run(ASKED)


async def haystack(model, url, headers):
    from haystack.components.agents import Agent
    from haystack.components.generators.chat import OpenAIChatGenerator
    from haystack.dataclasses import ChatMessage
    from haystack.utils import Secret
    from haystack_integrations.tools.mcp import MCPToolset, StreamableHttpServerInfo

    def run():
        chat = OpenAIChatGenerator(Secret.from_token(KEY), MODEL, api_base_url=model)
        tools = MCPToolset(StreamableHttpServerInfo(url=url, headers=headers))
        Agent(chat_generator=chat, tools=tools).run(messages=[ChatMessage.from_user(ASKED)])

    await asyncio.to_thread(run)


async def strands(model, url, headers):
    from mcp.client.streamable_http import streamablehttp_client
    from strands import Agent
    from strands.models.openai import OpenAIModel
    from strands.tools.mcp import MCPClient

    def run():
        chat = OpenAIModel(client_args={"base_url": model, "api_key": KEY}, model_id=MODEL)
        with MCPClient(lambda: streamablehttp_client(url, headers=headers)) as client:
            Agent(model=chat, tools=client.list_tools_sync(), callback_handler=None)(ASKED)

    await asyncio.to_thread(run)


async def autogen(model, url, headers):
    from autogen_agentchat.agents import AssistantAgent
    from autogen_ext.models.openai import OpenAIChatCompletionClient
    from autogen_ext.tools.mcp import McpWorkbench, StreamableHttpServerParams

    known = {"vision": False, "function_calling": True, "json_output": False, "family": "unknown"}
    known |= {"structured_output": False}
    chat = OpenAIChatCompletionClient(model=MODEL, base_url=model, api_key=KEY, model_info=known)
    async with McpWorkbench(StreamableHttpServerParams(url=url, headers=headers)) as workbench:
        agent = AssistantAgent("a", chat, workbench=workbench, max_tool_iterations=MOST_STEPS)
        await agent.run(task=ASKED)


async def semantic_kernel(model, url, headers):
    from openai import AsyncOpenAI
    from semantic_kernel.agents import ChatCompletionAgent
    from semantic_kernel.connectors.ai import FunctionChoiceBehavior
    from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
    from semantic_kernel.connectors.mcp import MCPStreamableHttpPlugin

    chat = OpenAIChatCompletion(ai_model_id=MODEL, async_client=AsyncOpenAI(base_url=model, api_key=KEY))
    async with MCPStreamableHttpPlugin(name="reflexio", url=url, headers=headers) as plugin:
        calls = FunctionChoiceBehavior.Auto(maximum_auto_invoke_attempts=MOST_STEPS)
        agent = ChatCompletionAgent(service=chat, name="a", plugins=[plugin], function_choice_behavior=calls)
        await agent.get_response(ASKED)


async def agent_framework(model, url, headers):
    from agent_framework import Agent, MCPStreamableHTTPTool
    from agent_framework.openai import OpenAIChatCompletionClient

    chat = OpenAIChatCompletionClient(model=MODEL, base_url=model, api_key=KEY)
    async with MCPStreamableHTTPTool(name="reflexio", url=url, static_headers=headers) as tools:
        await Agent(client=chat, tools=tools).run(ASKED)


async def agno(model, url, headers):
    from agno.agent import Agent
    from agno.models.openai.like import OpenAILike
    from agno.tools.mcp import MCPTools

    chat = OpenAILike(id=MODEL, base_url=model, api_key=KEY)
    async with MCPTools(url=url, transport="streamable-http", headers=headers) as tools:
        await Agent(model=chat, tools=[tools]).arun(ASKED)


async def google_adk(model, url, headers):
    from google.adk.agents import LlmAgent
    from google.adk.models.google_llm import Gemini
    from google.adk.runners import InMemoryRunner
    from google.adk.tools.mcp_tool.mcp_session_manager import StreamableHTTPConnectionParams
    from google.adk.tools.mcp_tool.mcp_toolset import McpToolset

    os.environ["GOOGLE_API_KEY"] = KEY
    server = McpToolset(connection_params=StreamableHTTPConnectionParams(url=url, headers=headers))
    chat = Gemini(model=MODEL, base_url=model.removesuffix("/v1"))
    await InMemoryRunner(LlmAgent(name="a", model=chat, tools=[server])).run_debug(ASKED, quiet=True)
    await server.close()


HOSTS = (
    langchain,
    llama_index,
    pydantic_ai,
    haystack,
    strands,
    autogen,
    semantic_kernel,
    agent_framework,
    agno,
    google_adk,
)

if __name__ == "__main__":
    host, model_url, mcp_url, token = sys.argv[1:]
    [run] = [run for run in HOSTS if run.__name__ == host]
    asyncio.run(run(model_url, mcp_url, {"Authorization": f"Bearer {token}"}))
