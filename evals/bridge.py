"""A host on the command line: any assistant with a shell can do a task through it.

    python -m evals.bridge begin FOLDER TASK [--view text|structured]
    FOLDER/host tools
    FOLDER/host call TOOL '{"argument": "value"}'
    FOLDER/host answer 'what the person is told'

`begin` plants a store in FOLDER, writes the host there as a command that runs from anywhere, and prints what the
assistant is told. Each call starts a server of its own on that store, as some hosts do, and shows what such a host gives
its model: the text or the structured content. Where the JSON or the answer is `-`, it is read from standard input.
"""

import argparse
import json
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any, Final, cast

import anyio
from mcp import Client
from mcp.types import CallToolResult, TextContent

from evals.tasks import LEARNING_TASKS, TASKS, Task
from evals.worlds import plant, world
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import load

VIEWS: Final = ("text", "structured")

RULES = """You are an assistant with access to a memory server, through these commands alone:

    {host} tools
    {host} call TOOL 'JSON ARGUMENTS'
    {host} answer 'YOUR ANSWER TO THE PERSON'

`tools` shows what there is, `call` makes one call and shows its result. JSON or an answer that is hard to quote can be
given as - and piped in. Look at no file and use nothing else. The person has agreed to exactly what they ask for, so
where the server wants a person's yes to that, you have it; you have it for nothing more. Use few calls.

End with `answer`, once. Below the answer, write each point at which you could not tell something, or made a call that
should not have been needed, as a line of its own that begins with "Doubt:". The person says:

    {asks}
"""

HOST = """#!/bin/sh
command=$1; shift
PYTHONPATH={root} exec {python} -P -m evals.bridge "$command" {folder} "$@"
"""


def task_of(folder: Path) -> tuple[Task, dict[str, str]]:
    """The task of a folder, and how it was begun."""
    begun = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    (task,) = [one for one in (*TASKS, *LEARNING_TASKS) if one.name == begun["task"]]
    return task, begun


def _note(folder: Path, **entry: Any) -> None:
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(entry, ensure_ascii=False) + "\n")


async def begin(folder: Path, name: str, *, view: str = "text") -> str:
    """Plant a store and return what the assistant is told."""
    folder.mkdir(parents=True)  # noqa: ASYNC240 - nothing else runs
    await plant(folder / "store.db", world())
    return prepare(folder, task=name, view=view)


def prepare(folder: Path, **begun: str) -> str:
    """Write down how a task is begun and make its host; what the assistant is told."""
    (folder / "task.json").write_text(json.dumps(begun), encoding="utf-8")
    task, _ = task_of(folder)
    parts = {"root": Path(__file__).parents[1], "python": sys.executable, "folder": folder}
    host = folder / "host"
    host.write_text(
        HOST.format(**{name: shlex.quote(str(part)) for name, part in parts.items()}), encoding="utf-8"
    )
    host.chmod(0o755)
    return RULES.format(host=shlex.quote(str(host)), asks=task.asks)


def keep_apart(folder: Path) -> None:
    """Let servers keep their keys and records beside the run, so that the person's own are left alone."""
    os.environ["XDG_DATA_HOME"] = str(folder / "data")


def settings_of(folder: Path) -> dict[str, str]:
    """The variables of the server of a task."""
    task, begun = task_of(folder)
    settings = dict(task.settings)
    if "url" in begun:
        settings["REFLEXIO_URL"] = begun["url"]
    else:
        settings["REFLEXIO_MCP_STORE"] = str(folder / "store.db")
    if task.user:
        settings["REFLEXIO_USER_ID"] = task.user
    return settings


async def tools(folder: Path) -> str:
    """What the host's model is given before its first call: the server's instructions and, as JSON, the tools."""
    async with Client(ReflexioServer(load(settings_of(folder)))) as client:
        listed = [
            {"name": one.name, "description": one.description, "inputSchema": one.input_schema}
            for one in (await client.list_tools()).tools
        ]
        text = f"{client.instructions}\n\n{json.dumps(listed, ensure_ascii=False)}"
    _note(folder, listed=len(text))
    return text


async def call(folder: Path, tool: str, arguments: dict[str, Any]) -> str:
    """Call a tool and return what the host's model is given of the result."""
    _, begun = task_of(folder)
    async with Client(ReflexioServer(load(settings_of(folder)))) as client:
        result = await client.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    if begun["view"] == "structured" and result.structured_content is not None:
        # Compact, as it goes over the wire and as hosts pass it on.
        text = json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
    if result.is_error:
        text = f"Error: {text}"
    _note(folder, tool=tool, arguments=arguments, chars=len(text), result=text)
    return text


def answer(folder: Path, text: str) -> None:
    """Keep what the person is told."""
    _note(folder, answer=text)


def _object(text: str) -> dict[str, Any]:
    try:
        read = json.loads(_piped(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"these are not JSON arguments: {error}") from None
    if not isinstance(read, dict):
        raise argparse.ArgumentTypeError('the arguments are an object: {"name": "value"}')
    return cast("dict[str, Any]", read)


def _piped(text: str) -> str:
    return sys.stdin.read() if text == "-" else text


def new_folder(text: str) -> Path:
    if Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text} is there already; a task begins in a new folder")
    return Path(text).absolute()


async def _main(arguments: argparse.Namespace) -> str:
    match arguments.command:
        case "begin":
            return await begin(arguments.folder, arguments.task, view=arguments.view)
        case "tools":
            return await tools(arguments.folder)
        case "call":
            return await call(arguments.folder, arguments.tool, arguments.arguments)
        case _:
            answer(arguments.folder, arguments.text)
            return "Noted."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"tasks: {', '.join(one.name for one in TASKS)}",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("begin", help="plant a store and print what the assistant is told")
    begin.add_argument("folder", type=new_folder)
    begin.add_argument("task", choices=[one.name for one in TASKS], metavar="task")
    begin.add_argument("--view", choices=VIEWS, default="text")
    for name in ("tools", "call", "answer"):  # the assistant's, through the host
        commands.add_parser(name).add_argument("folder", type=Path)
    called = commands.choices["call"]
    called.add_argument("tool")
    called.add_argument("arguments", nargs="?", default="{}", type=_object)
    commands.choices["answer"].add_argument("text", type=_piped)
    return parser


def main() -> None:
    """Run one command."""
    arguments = _parser().parse_args()
    keep_apart(arguments.folder)
    # A host shows its model no log.
    logging.disable()
    sys.stdout.write(anyio.run(_main, arguments) + "\n")


if __name__ == "__main__":
    main()
