"""Show what a change does to what a model sees of the tools: `python3 scripts/tool_changes.py origin/main`.

Prints Markdown: a difference of names, descriptions, hints and input schemas between a revision and this checkout, and
the number of tokens that all tools cost in both.
"""

import argparse
import difflib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import bootstrap
from bootstrap import ROOT

LIST_TOOLS = """
import asyncio, json, sys
from mcp import Client, StdioServerParameters, stdio_client

async def main(checkout):
    settings = {"PYTHONPATH": checkout, "REFLEXIO_URL": "http://127.0.0.1:9", "HOME": "/nonexistent"}
    server = StdioServerParameters(command=sys.executable, args=["-m", "reflexio_mcp"], cwd=checkout, env=settings)
    async with Client(stdio_client(server)) as client:
        listed = await client.list_tools()
        print(json.dumps([tool.model_dump(by_alias=True, exclude_none=True) for tool in listed.tools]))

asyncio.run(main(*sys.argv[1:]))
"""

SEEN = ("name", "description", "inputSchema")
"""What a model is given of a tool."""

Tools = list[dict[str, Any]]


def tools_of(python: Path, checkout: Path) -> Tools:
    """List the tools of a checkout as a client does, with this checkout's environment."""
    listed = subprocess.run(
        [str(python), "-c", LIST_TOOLS, str(checkout)],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if listed.returncode:
        sys.exit(f"The tools of {checkout} cannot be listed:\n{listed.stderr.strip()[-2000:]}")
    shown = (*SEEN, "annotations")
    return [{key: tool[key] for key in shown if key in tool} for tool in json.loads(listed.stdout)]


def tokens_of(tools: Tools) -> int:
    """Count what a model reads, as the budget does."""
    sys.path.append(str(ROOT))
    from benchmarks.counting import per_tool  # needs a package of the environment

    return sum(per_tool([{key: tool[key] for key in SEEN} for tool in tools]).values())


def difference(before: Tools, after: Tools) -> str:
    """Return a unified difference; empty if nothing changes."""
    old, new = (json.dumps(tools, indent=2, ensure_ascii=False).splitlines() for tools in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "before", "after", lineterm="", n=6))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision", help="what to compare with, for example origin/main")
    revision = parser.parse_args().revision
    python = bootstrap.ensure("test")
    if Path(sys.executable) != python:
        sys.exit(bootstrap.run([python, __file__, revision]))
    with tempfile.TemporaryDirectory() as folder:
        bootstrap.run_unseen(["git", "worktree", "add", "--detach", folder, revision])
        try:
            before = tools_of(python, Path(folder))
        finally:
            bootstrap.run_unseen(["git", "worktree", "remove", "--force", folder])
    after = tools_of(python, ROOT)
    changes = difference(before, after)
    print(f"### What a model sees of the tools: {tokens_of(before):,} → {tokens_of(after):,} tokens\n")
    print(f"```diff\n{changes}\n```" if changes else "No name, description, hint or input schema changes.")


if __name__ == "__main__":
    bootstrap.require_python()
    main()
