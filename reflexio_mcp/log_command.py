"""`reflexio-mcp log`: shows the audit log, or checks that no line of it was changed or is missing."""

import sys

from reflexio_mcp.backend import open_state
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.tables import StateUnusable

__all__ = ["run_log_command"]


def run_log_command(settings: Settings, verify: str | None) -> int:
    """Print the lines as JSON, the oldest first, or what a check of them found.

    Args:
        verify: a chain value that a receipt noted, or empty; `None` to print the lines.

    Returns:
        The exit code: 0 if the log could be read and is whole.
    """
    state = open_state(settings)
    try:
        if verify is None:
            for entry in state.log.entries():
                sys.stdout.write(f"{entry.line}\n")
            return 0
        found = state.log.verify(verify)
    except StateUnusable as error:
        sys.stderr.write(
            f"reflexio-mcp: the audit log cannot be read: {error.strerror}. To mend that, {error.advice}.\n"
        )
        return 1
    finally:
        state.database.close()
    if found.wrong is not None:
        sys.stdout.write(f"Line {found.wrong} was changed, or a line before it is missing.\n")
    if found.missing:
        sys.stdout.write("Lines that receipts noted are missing: the end of the log was cut off.\n")
    if found.wrong is not None or found.missing:
        return 1
    sys.stdout.write(f"{found.lines:,} lines, none changed or missing.\n")
    return 0
