"""The only place with private names of the MCP SDK, and of starlette's request, which it keeps.

Those of the SDK are checked at the start: otherwise a release that renames one could switch a limit off unnoticed.
"""

from collections.abc import Callable, Mapping
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

__all__ = ["WriteStream", "limit_sessions", "lowlevel"]


def check(server: MCPServer[Any]) -> None:
    """Check the private names that every server uses; raise `ConfigurationError` if the SDK lacks one."""
    if not isinstance(getattr(server, "_lowlevel_server", None), Server):
        raise _missing("MCPServer._lowlevel_server")
    if not any(isinstance(layer, RequestStateBoundary) for layer in server.middleware):
        raise _missing("RequestStateBoundary among the middleware")


def lowlevel(server: MCPServer[Any]) -> Server[Any]:
    """The low-level server, which takes streams and a handler of completions that sees the caller."""
    return server._lowlevel_server  # pyright: ignore[reportPrivateUsage]


def add_outside_sealing(server: MCPServer[Any], middleware: ServerMiddleware[Any]) -> None:
    """Run `middleware` outside the sealing of form state; the constructor would put it inside."""
    chain = server.middleware
    sealing = next(index for index, layer in enumerate(chain) if isinstance(layer, RequestStateBoundary))
    chain.insert(sealing, middleware)


def limit_sessions(manager: "StreamableHTTPSessionManager", each: int) -> Callable[[], int]:
    """Let one account have `each` sessions of Streamable HTTP; the SDK's own limit counts those of all accounts.

    Returns a function that counts the open sessions.

    Raises:
        ConfigurationError: the installed SDK admits sessions in another way, so no account could be limited.
    """
    owners, admit = (getattr(manager, name, None) for name in ("_session_owners", "_admit_session"))
    if not isinstance(owners, dict) or admit is None:
        raise _missing("StreamableHTTPSessionManager._session_owners and ._admit_session")
    owner_of_session = cast("Mapping[str, Mapping[str, Any]]", owners)

    # The SDK counts and registers in this one step, so simultaneous openings are counted too.
    def admit_within_limit(requestor: Any) -> Any:
        full = sum(owner["subject"] == requestor["subject"] for owner in owner_of_session.values()) >= each
        return None if full else admit(requestor)

    manager._admit_session = admit_within_limit  # pyright: ignore[reportPrivateUsage]
    return lambda: len(owner_of_session)


def drop_body(request: object) -> None:
    """Let go of the body that starlette's request keeps once it is read."""
    if hasattr(request, "_body"):
        request._body = b""  # pyright: ignore[reportAttributeAccessIssue] - a private name


def _missing(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"The installed MCP SDK (mcp {version('mcp')}) has no {name}, which this server relies on: "
        "install a release that reflexio-mcp was made for, such as mcp 2.3."
    )
