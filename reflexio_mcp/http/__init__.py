"""One shared server over HTTP: Streamable HTTP at `/mcp`, HTTP+SSE at `/sse` and `/messages/`.

`app` puts the parts together and `serving` runs them. A request passes `guard` (who may ask at all), `exchange`
(what must end when its sender or this server goes away) and only then the SDK's transports.
"""

from reflexio_mcp.http.app import HttpApp, create_app
from reflexio_mcp.http.serving import serve

__all__ = ["HttpApp", "create_app", "serve"]
