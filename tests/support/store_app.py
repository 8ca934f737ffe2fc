"""The embedded store as an ASGI app, for tests that serve it or change what it answers."""

import json
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from reflexio_mcp.embedded_store.app import EmbeddedStore
from reflexio_mcp.rest.exchange import Call


class StoreApp(EmbeddedStore):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        content, more = b"", True
        while more:
            message = await receive()
            content += message.get("body", b"")
            more = message.get("more_body", False)
        query = dict(parse_qsl(scope["query_string"].decode()))
        call = Call(scope["method"], scope["path"], "read", timeout=30, content=content, params=query)
        reply = await self.exchange(call, call.timeout)
        written = json.dumps(reply.content).encode()
        headers = {**reply.headers, "content-length": str(len(written))}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
        await send({"type": "http.response.body", "body": written})
