"""Makes the tables with the role that owns them: `python3 -m reflexio_mcp.state.postgresql`.

Servers can then use a role that has no right to. The URL of the owner is in `REFLEXIO_MCP_STATE`.
"""

import os
import sys

from reflexio_mcp.state.database import StateUnusable, advice, why_not
from reflexio_mcp.state.postgresql.database import make_tables
from reflexio_mcp.state.postgresql.migrations import SERVERS


def main() -> int:
    """Return the exit code: 0 where the tables are there, else 1, and 2 where no database is named."""
    url = os.environ.get("REFLEXIO_MCP_STATE", "")
    if not url:
        return _said("REFLEXIO_MCP_STATE has to name the database, with the role that owns the tables", 2)
    try:
        allowed = make_tables(url)
    except StateUnusable as error:
        return _said(f"{why_not(error)}; {advice(error)}", 1)
    return _said(f"the tables are there; {SERVERS} {'can use them' if allowed else 'is no role here'}", 0)


def _said(text: str, code: int) -> int:
    sys.stderr.write(f"reflexio-mcp: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
