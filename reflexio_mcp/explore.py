"""`reflexio-mcp explore`: the explorer in a browser of this machine, without an assistant.

The page is the one that hosts with MCP Apps show. Here a small window around it is its host: it hands the page's calls
to a server in this process. Only this machine can reach it, at 127.0.0.1 and a port of its own, and only the browser
that opened the address: the token in its fragment works once, for a key that the window keeps in memory.
The command ends when the page is closed.
"""

import json
import secrets
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reflexio_mcp.explorer.document import document, shell
from reflexio_mcp.read_commands import of_this_shell
from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.explorer_page import PAGE_KEY

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["explore"]

MOST_BYTES: Final = 4_000_000
"""Of one call: the ids of ten thousand requests, with room."""

BEAT_SECONDS: Final = 5.0
"""Between two bytes on the connection that tells whether the page is still open."""

HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def explore(settings: Settings, wanted: Mapping[str, Any]) -> int:
    """Show the explorer until it is closed.

    Args:
        settings: the configuration. Who is at the browser is the person whose consent it asks for: a mode that wants
            a form takes the page's own question for it.
        wanted: the filter the page begins with, as `explore_traffic` takes it.

    Returns:
        0 when the page was closed.
    """
    consent = "preview" if settings.confirm == "ask" else settings.confirm
    mine = replace(of_this_shell(settings), confirm=consent)
    return anyio.run(_serve, mine, dict(wanted))


async def _serve(settings: Settings, wanted: dict[str, Any]) -> int:
    from mcp import Client

    from reflexio_mcp.server.server import ReflexioServer

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # whoever comes before the server runs waits for it
    async with Client(ReflexioServer(settings)) as client:
        window = _Window(client, wanted, listener.getsockname()[1])
        config = uvicorn.Config(window.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=2)
        server = uvicorn.Server(config)
        address = f"{window.origin}/#{window.token}"
        sys.stdout.write(
            f"The explorer is at {address}\n"
            "The address works once. Closing the page ends this command, and so does Ctrl-C.\n"
        )
        sys.stdout.flush()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_end_with, window, server)
            tasks.start_soon(_open, address)
            await server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    return 0


async def _open(address: str) -> None:
    if not await anyio.to_thread.run_sync(webbrowser.open, address):
        port = address.rpartition(":")[2].partition("/")[0]
        sys.stdout.write(
            "No browser was found here. From another computer: "
            f"ssh -L {port}:127.0.0.1:{port} THIS-COMPUTER, then open the address there.\n"
        )
        sys.stdout.flush()


async def _end_with(window: "_Window", server: uvicorn.Server) -> None:
    await window.closed.wait()
    server.should_exit = True


class _Window:
    """What the window in the browser talks to: the page begins with the filter `wanted`."""

    def __init__(self, client: "Client", wanted: dict[str, Any], port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self.origin = f"http://127.0.0.1:{port}"
        self.closed = anyio.Event()
        self._client = client
        self._wanted = wanted
        self._key = ""
        self._html, self._policy = shell()

    def app(self) -> Starlette:
        routes = [
            Route("/", self._guarded(self._shell)),
            Route("/page", self._guarded(self._page)),
            Route("/open", self._guarded(self._open), methods=["POST"]),
            Route("/call", self._guarded(self._call, opened=True), methods=["POST"]),
            Route("/alive", self._guarded(self._alive, opened=True), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def _guarded(
        self, answer: Callable[[Request], Awaitable[Response]], *, opened: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route that answers this window's page alone; `opened`: with the key that its token was good for."""

        async def check(request: Request) -> Response:
            # The name a browser asked for: another one that leads to this address is somebody else's page.
            if request.headers.get("host") != self.origin.removeprefix("http://"):
                response: Response = PlainTextResponse("This address is not known here.", 421)
            elif request.method != "GET" and request.headers.get("origin") != self.origin:
                response = PlainTextResponse("Calls come from the explorer's own page.", 403)
            elif opened and not self._knows(request):
                response = PlainTextResponse("This window is not the one that was opened.", 401)
            else:
                response = await answer(request)
            response.headers.update(HEADERS)
            return response

        return check

    async def _shell(self, request: Request) -> Response:
        return Response(self._html, media_type="text/html", headers={"content-security-policy": self._policy})

    async def _page(self, request: Request) -> Response:
        # The page has its own policy inside; this keeps others from putting it into a frame.
        policy = "sandbox allow-scripts; frame-ancestors 'self'"
        return Response(document(), media_type="text/html", headers={"content-security-policy": policy})

    async def _open(self, request: Request) -> Response:
        token = str(_object(await _body(request)).get("token", ""))
        if not self.token or not secrets.compare_digest(token.encode(), self.token.encode()):
            return PlainTextResponse("This token is not valid, or no longer.", 401)
        self.token = ""
        self._key = secrets.token_urlsafe(32)
        return JSONResponse({"key": self._key, "input": self._wanted})

    def _knows(self, request: Request) -> bool:
        given = request.headers.get("authorization", "").encode()
        return bool(self._key) and secrets.compare_digest(given, f"Bearer {self._key}".encode())

    async def _call(self, request: Request) -> Response:
        given = await _body(request)
        if given is None or not isinstance(given.get("name"), str):
            return PlainTextResponse("This is not a call.", 400)
        return StreamingResponse(self._answer(given), media_type="application/x-ndjson")

    async def _answer(self, given: Mapping[str, Any]) -> AsyncIterator[str]:
        """What comes of a call, one JSON object a line: progress, and then the result."""
        send, receive = anyio.create_memory_object_stream[dict[str, Any]](100)
        meta, arguments = _object(given.get("_meta")), _object(given.get("arguments"))
        pass_: Any = {PAGE_KEY: meta[PAGE_KEY]} if PAGE_KEY in meta else None

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            with suppress(anyio.WouldBlock):
                send.send_nowait({"progress": message or ""})

        async def work() -> None:
            async with send:
                try:
                    result = await self._client.call_tool(
                        given["name"], arguments, progress_callback=tell, meta=pass_
                    )
                    await send.send(
                        {"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)}
                    )
                except Exception as error:  # noqa: BLE001 - whatever the protocol raises is told to the page
                    await send.send({"error": str(error)})

        async with anyio.create_task_group() as tasks, receive:
            tasks.start_soon(work)
            async for message in receive:
                yield json.dumps(message, separators=(",", ":")) + "\n"

    async def _alive(self, request: Request) -> Response:
        return StreamingResponse(self._beat(), media_type="text/plain")

    async def _beat(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "."
                await anyio.sleep(BEAT_SECONDS)
        finally:
            # The browser has closed the connection: the page is gone.
            self.closed.set()


async def _body(request: Request) -> dict[str, Any] | None:
    """The JSON object that a request carries; `None` where it carries something else, or too much."""
    raw = bytearray()
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MOST_BYTES:
                return None
        given = json.loads(raw)
    except (ClientDisconnect, ValueError, RecursionError):
        return None
    return _object(cast("object", given)) if isinstance(given, dict) else None


def _object(value: object) -> dict[str, Any]:
    """A JSON object; what is none counts as an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
