"""The only place with private names of the MCP SDK.

They are checked at the start: otherwise a release that renames one could switch a limit off silently.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

from mcp.server.context import ServerMiddleware
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import RequestStateBoundary

from reflexio_mcp.settings import ConfigurationError

if TYPE_CHECKING:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.shared._stream_protocols import ReadStream as ReadStream
    from mcp.shared._stream_protocols import WriteStream as WriteStream

__all__ = ["SessionOwners", "add_outside_sealing", "check", "lowlevel"]


def check(server: MCPServer[Any]) -> None:
    """Check all private names; raise `ConfigurationError` if the SDK lacks one."""
    if not isinstance(getattr(server, "_lowlevel_server", None), Server):
        raise _missing("MCPServer._lowlevel_server")
    if not any(isinstance(one, RequestStateBoundary) for one in server.middleware):
        raise _missing("RequestStateBoundary among the middleware")


def lowlevel(server: MCPServer[Any]) -> Server[Any]:
    """The low-level server, which takes streams and a handler of completions that sees the caller."""
    return server._lowlevel_server  # pyright: ignore[reportPrivateUsage]


def add_outside_sealing(server: MCPServer[Any], middleware: ServerMiddleware[Any]) -> None:
    """Run `middleware` outside the sealing of form state; the constructor would put it inside."""
    chain = server.middleware
    sealing = next(index for index, one in enumerate(chain) if isinstance(one, RequestStateBoundary))
    chain.insert(sealing, middleware)


class SessionOwners:
    """The owners of Streamable HTTP sessions. The SDK's own limit counts all sessions together.

    Raises:
        ConfigurationError: the installed SDK has no owners, so accounts cannot be limited.
    """

    def __init__(self, manager: "StreamableHTTPSessionManager") -> None:
        owners = getattr(manager, "_session_owners", None)
        if not isinstance(owners, dict):
            raise _missing("StreamableHTTPSessionManager._session_owners")
        self._owners = cast("Mapping[str, Mapping[str, Any]]", owners)

    def count(self, account: str) -> int:
        return sum(one["subject"] == account for one in self._owners.values())


def _missing(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"The installed MCP SDK (mcp {version('mcp')}) has no {name}, which this server relies on: "
        "install a release that reflexio-mcp was made for, such as mcp 2.3."
    )
