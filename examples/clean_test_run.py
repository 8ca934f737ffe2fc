"""Delete what a test run stored, from a shell or from CI: `python clean_test_run.py ci.e2e`.

It shows the plan and asks; with `--yes` it goes on by itself. It needs a Python that has reflexio-mcp, such as
`.venv/bin/python` of a clone after `python3 scripts/test.py`, and uses the same variables (`REFLEXIO_URL`,
`REFLEXIO_API_KEY`, ...).
"""

import argparse
import asyncio
import os
import sys

try:
    from mcp import Client, StdioServerParameters
    from mcp.types import CallToolResult, TextContent

    import reflexio_mcp  # noqa: F401
except ImportError as error:
    sys.exit(
        f"{sys.executable} does not have {error.name}. Install reflexio-mcp for it (pip install .), or run this "
        "with the Python of an environment that has it."
    )


def text_of(result: CallToolResult) -> str:
    return "\n".join(block.text for block in result.content if isinstance(block, TextContent))


async def clean(source: str, *, yes: bool) -> int:
    """Delete every request of a source; 0 when nothing of it is left."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("REFLEXIO_")}
    # A person at a terminal agrees here, so no form is needed.
    settings |= {"REFLEXIO_MCP_CONFIRM": "preview", "REFLEXIO_MCP_LOG_LEVEL": "WARNING"}
    server = StdioServerParameters(command=sys.executable, args=["-m", "reflexio_mcp"], env=settings)
    async with Client(server) as client:
        plan = await client.call_tool("delete_requests", {"source": source})
        print(text_of(plan))
        code = (plan.structured_content or {}).get("confirm")
        if not code:
            return 1 if plan.is_error else 0
        if not yes and (await asyncio.to_thread(input, "\nDelete these? [y/N] ")).strip().lower() != "y":
            print("Nothing was deleted.")
            return 1
        receipt = await client.call_tool("delete_requests", {"source": source, "confirm": code})
        print(text_of(receipt))
        return 0 if (receipt.structured_content or {}).get("status") == "complete" else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="the source that the test run published with")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    given = parser.parse_args()
    sys.exit(asyncio.run(clean(given.source, yes=given.yes)))
