"""A host on the command line: any assistant with a shell can do a task through it.

    python -m evals.bridge begin FOLDER TASK [--server ours|thin] [--view text|structured]
    python -m evals.bridge tools FOLDER
    python -m evals.bridge call FOLDER TOOL '{"argument": "value"}'
    python -m evals.bridge answer FOLDER 'what the person is told'

`begin` plants a store in FOLDER and prints the task. Each call starts a server of its own on that store, as some hosts do,
and shows what such a host gives its model: the text or the structured content.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
from mcp import Client
from mcp.types import CallToolResult, TextContent

from evals import thin
from evals.tasks import TASKS, Task
from evals.worlds import plant, world
from reflexio_mcp.server.server import build_server
from reflexio_mcp.settings import load

__all__ = ["answer", "begin", "call", "tools"]

RULES = """You are an assistant with access to a memory server, through these commands alone:

    python -m evals.bridge tools {folder}
    python -m evals.bridge call {folder} TOOL 'JSON ARGUMENTS'
    python -m evals.bridge answer {folder} 'YOUR ANSWER TO THE PERSON'

Do not look at any file. The person has agreed to exactly what they ask for, so where the server wants a person's
yes to that, you have it. End with `answer`. The person says:

    {asks}
"""


def _task(folder: Path) -> tuple[Task, dict[str, str]]:
    begun = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    (task,) = [one for one in TASKS if one.name == begun["task"]]
    return task, begun


def _note(folder: Path, **entry: Any) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(entry, ensure_ascii=False) + "\n")


async def begin(folder: Path, name: str, *, server: str = "ours", view: str = "text") -> str:
    """Plant a store and return what the assistant is told."""
    (task,) = [one for one in TASKS if one.name == name]
    folder.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs
    await plant(folder / "store.db", world())
    begun = {"task": name, "server": server, "view": view}
    (folder / "task.json").write_text(json.dumps(begun), encoding="utf-8")
    return RULES.format(folder=folder, asks=task.asks)


def _settings(folder: Path, task: Task) -> dict[str, str]:
    return {
        "REFLEXIO_MCP_STORE": str(folder / "store.db"),
        "REFLEXIO_MCP_RECOVERY_DIR": str(folder / "copies"),
        **({"REFLEXIO_USER_ID": task.user} if task.user else {}),
        **dict(task.settings),
    }


async def tools(folder: Path) -> str:
    """What the host's model is given of the tools, as JSON."""
    task, begun = _task(folder)
    if begun["server"] == "thin":
        listed = thin.listed()
    else:
        async with Client(build_server(load(_settings(folder, task)))) as client:
            listed = [
                {"name": one.name, "description": one.description, "inputSchema": one.input_schema}
                for one in (await client.list_tools()).tools
            ]
    text = json.dumps(listed, indent=1, ensure_ascii=False)
    _note(folder, listed=len(text))
    return text


async def call(folder: Path, tool: str, arguments: dict[str, Any]) -> str:
    """Call a tool and return what the host's model is given of the result."""
    task, begun = _task(folder)
    if begun["server"] == "thin":
        text = await thin.call(folder / "store.db", tool, arguments)
    else:
        async with Client(build_server(load(_settings(folder, task)))) as client:
            result = await client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
        if begun["view"] == "structured" and result.structured_content is not None:
            text = json.dumps(result.structured_content, ensure_ascii=False)
        if result.is_error:
            text = f"Error: {text}"
    _note(folder, tool=tool, arguments=arguments, chars=len(text))
    return text


def answer(folder: Path, text: str) -> None:
    """Keep what the person is told."""
    _note(folder, answer=text)


async def _main(arguments: argparse.Namespace) -> str:
    folder = Path(arguments.folder)
    match arguments.command:
        case "begin":
            return await begin(folder, arguments.task, server=arguments.server, view=arguments.view)
        case "tools":
            return await tools(folder)
        case "call":
            return await call(folder, arguments.tool, json.loads(arguments.arguments))
        case _:
            answer(folder, arguments.text)
            return "Noted."


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m evals.bridge", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("begin", "tools", "call", "answer"):
        command = commands.add_parser(name)
        command.add_argument("folder")
        if name == "begin":
            command.add_argument("task", choices=[one.name for one in TASKS])
            command.add_argument("--server", choices=("ours", "thin"), default="ours")
            command.add_argument("--view", choices=("text", "structured"), default="text")
        elif name == "call":
            command.add_argument("tool")
            command.add_argument("arguments", nargs="?", default="{}")
        elif name == "answer":
            command.add_argument("text")
    arguments = parser.parse_args()
    # The server keeps its keys beside the run, so that the person's own are left alone.
    os.environ["XDG_DATA_HOME"] = str(Path(arguments.folder).absolute() / "data")
    sys.stdout.write(anyio.run(_main, arguments) + "\n")


if __name__ == "__main__":
    main()
