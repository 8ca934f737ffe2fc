"""One shared server over HTTP: Streamable HTTP at `/mcp`, HTTP+SSE at `/sse` and `/messages/`.

`serving` runs the app of `app`. A request passes the SDK's checks of its address and its token, then `bodies`, and only
then the SDK's transports.
"""

from reflexio_mcp.http.serving import serve

__all__ = ["serve"]
