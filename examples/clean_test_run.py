"""Delete what a test run stored, from a shell or from CI: `python clean_test_run.py ci.e2e --start-time 1h`.

Without times, everything that this source ever stored goes. It shows the plan and asks; with `--yes` it goes on by
itself. Any Python that has reflexio-mcp runs it: `.venv/bin/python` of a clone after `python3 scripts/demo.py` is one.
It uses the same variables as the server (`REFLEXIO_URL`, `REFLEXIO_API_KEY`, ...).
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from typing import Any

try:
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.types import CallToolResult, TextContent

    from reflexio_mcp.traffic.errors import InvalidInput
    from reflexio_mcp.traffic.times import iso, parse_time
except ImportError as error:
    sys.exit(
        f"{sys.executable} does not have {error.name}. Install reflexio-mcp for it (pip install .), or run this "
        "with the Python of an environment that has it."
    )


def text_of(result: CallToolResult) -> str:
    """What a result says, without its last lines, which tell an assistant what to do next."""
    text = "\n".join(block.text for block in result.content if isinstance(block, TextContent))
    facts = result.structured_content or {}
    return text.removesuffix(f"={facts.get('confirm', '')}").removesuffix(str(facts.get("next", ""))).rstrip()


def agreed() -> bool:
    """Ask the person."""
    # The handler of asyncio would let Ctrl-C wait for the answer.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if input("\nDelete these? [y/N] ").strip().lower() == "y":
            return True
        print("Nothing was deleted.")
    except KeyboardInterrupt:
        print("\nNothing was deleted.")
    except (EOFError, RuntimeError):  # the end of what is typed, or no standard input at all
        print("\nNothing was deleted: nobody answered. Add --yes where nobody can.")
    finally:
        signal.signal(signal.SIGINT, before)
    return False


async def clean(chosen: dict[str, Any], *, yes: bool) -> int:
    """Delete the requests that the arguments of `delete_requests` choose; 0 when none of them is left."""
    # A person at a terminal agrees here, so no form is needed.
    settings = {"REFLEXIO_MCP_CONFIRM": "preview", "REFLEXIO_MCP_LOG_LEVEL": "WARNING"}
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "reflexio_mcp"], env={**os.environ, **settings}
    )
    async with Client(server) as client:
        plan = await client.call_tool("delete_requests", chosen)
        facts = plan.structured_content or {}
        if facts.get("status") == "not_found" and "unreadable" not in facts["plan"]:
            within = " in this time" if chosen.keys() & {"start_time", "end_time"} else ""
            print(f"No request{within} has the source {chosen['source']}; nothing was deleted.")
            return 0
        print(text_of(plan))
        if "confirm" not in facts:
            return 1
        if not yes and not agreed():
            return 1
        receipt = await client.call_tool("delete_requests", chosen | {"confirm": facts["confirm"]})
        print(text_of(receipt))
        return 0 if (receipt.structured_content or {}).get("status") == "complete" else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="the source that the test run published with")
    parser.add_argument("--start-time", help="from here on: an ISO 8601 time, or an age such as 1h or 7d")
    parser.add_argument("--end-time", help="up to here")
    parser.add_argument(
        "--include-learnings",
        action="store_true",
        help="also take back what was learned from these requests, on a Reflexio that learns",
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args()
    chosen: dict[str, Any] = {"source": given.source}
    for name in ("start_time", "end_time"):
        if text := getattr(given, name):
            try:
                # An age means the same time in both calls.
                chosen[name] = iso(parse_time(name, text, now=time.time(), end=name == "end_time"))
            except InvalidInput as refused:
                parser.error(str(refused).replace(name, f"--{name.replace('_', '-')}", 1))
    if given.include_learnings:
        chosen["include_learnings"] = True
    try:
        return asyncio.run(clean(chosen, yes=given.yes))
    except* MCPError:
        print("The server ended; what it says stands above.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
