"""All checks, in the order in which they are made."""

from typing import Final

from reflexio_mcp.doctor import api, clients
from reflexio_mcp.doctor.backend_checks import BACKEND, REACHED, Check, make
from reflexio_mcp.doctor.environment import Environment
from reflexio_mcp.doctor.report import Report

__all__ = ["CHECKS", "Check", "examine"]

CHECKS: Final = (
    *BACKEND,
    Check(
        "clients", "each client's entry: whether it starts, and its own key and server", clients.check_clients
    ),
    Check(
        "writing", "with --write: publish, list, delete, look again", api.check_writing, (*REACHED, "store")
    ),
)


async def examine(environment: Environment) -> Report:
    """Make every check that makes sense."""
    await make(environment, CHECKS)
    return environment.report
