"""A shared server over HTTP: Streamable HTTP at `/mcp`, HTTP+SSE at `/sse` and `/messages/`.

A request passes the SDK's checks of host and token, then `bodies`, then the SDK's transports.
"""

from reflexio_mcp.http.serving import serve

__all__ = ["serve"]
