"""`reflexio-mcp explore`: the explorer in a browser of this machine, without an assistant.

The page is the one that hosts with MCP Apps show. Here a small window around it is its host: it hands the page's calls
to a server in this process. Only this machine can reach it, at 127.0.0.1 and a port of its own, and only the browser
that opened the address: the token in its fragment works once, for a key that the window keeps in its tab.
The command ends when the page is closed.
"""

import json
import logging
import secrets
import socket
import sys
import tempfile
import webbrowser
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reflexio_mcp.explorer.document import document, shell
from reflexio_mcp.read_commands import filter_of, reported, typed_filter
from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.explorer_page import PAGE_KEY

if TYPE_CHECKING:
    from mcp import Client

__all__ = ["explore"]

MOST_BYTES: Final = 4_000_000
"""Largest body of one call: the ids of ten thousand requests, with room."""

BEAT_SECONDS: Final = 0.5
"""Between two bytes on the connection that tells whether the page is still open."""

RELOAD_SECONDS: Final = 3.0
"""Time for a page that went away to come back, as it does when it is reloaded."""

HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def explore(arguments: Namespace, settings: Settings) -> int:
    """Show the explorer until it is closed.

    The person at the browser is the person whose consent is asked for, so a mode that wants a form takes the page's
    own question for it.

    Returns:
        0 when the page was closed.

    Raises:
        ConfigurationError: the filter that was typed cannot be used.
    """
    wanted = typed_filter(arguments)
    with reported():
        filter_of(wanted, settings)
    if settings.user_id:
        wanted.pop("user_id", None)  # a server that is confined to a user takes none
    consent = "preview" if settings.confirm == "ask" else settings.confirm
    mine = replace(settings, confirm=consent, tools=(), oauth_issuer="", auth_token=())
    # What it would say when it stops while the page is open is no news to whoever stopped it.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    return anyio.run(_serve, mine, wanted)


async def _serve(settings: Settings, wanted: dict[str, Any]) -> int:
    from mcp import Client

    from reflexio_mcp.server.server import ReflexioServer

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # whoever comes before the server runs waits for it
    async with Client(ReflexioServer(settings)) as client:
        window = _Window(client, wanted, listener.getsockname()[1])
        sys.stdout.write(
            f"The explorer is at {window.address}\n"
            "The address works once. Closing the page ends this command, and so does Ctrl-C.\n"
        )
        sys.stdout.flush()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(window.end_when_closed)
            tasks.start_soon(_open, window.address)
            await window.server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()
    return 0


async def _open(address: str) -> None:
    """Open the address by way of a file that only this account can read: others can read a command line."""
    with tempfile.TemporaryDirectory(prefix="reflexio-mcp-explore-") as folder:  # with mode 0700
        redirect = Path(folder) / "open.html"
        redirect.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={address}">', "utf-8")
        if not await anyio.to_thread.run_sync(webbrowser.open, redirect.as_uri()):
            port = address.rpartition(":")[2].partition("/")[0]
            sys.stdout.write(
                "No browser was found here. From another computer: "
                f"ssh -L {port}:127.0.0.1:{port} THIS-COMPUTER, then open the address there.\n"
            )
            sys.stdout.flush()
        await anyio.sleep_forever()  # a browser may take its time to read the file


class _Window:
    """What the window in the browser talks to: the page begins with the filter `wanted`."""

    def __init__(self, client: "Client", wanted: dict[str, Any], port: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        self._token = secrets.token_urlsafe(32)
        self.address = f"{self.origin}/#{self._token}"
        self._client = client
        self._wanted = wanted
        self._key = ""
        self._pages = 0
        self._left = anyio.Event()
        self._html, self._policy = shell()
        routes = [
            Route("/", self._guarded(self._shell)),
            Route("/page", self._guarded(self._page)),
            Route("/open", self._guarded(self._open), methods=["POST"]),
            Route("/call", self._guarded(self._call, opened=True), methods=["POST"]),
            Route("/alive", self._guarded(self._alive, opened=True), methods=["POST"]),
        ]
        self.server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=2
            )
        )

    async def end_when_closed(self) -> None:
        """Stop the server once the page has been closed and did not come back."""
        while True:
            await self._left.wait()
            self._left = anyio.Event()
            await anyio.sleep(RELOAD_SECONDS)
            if not self._pages:
                self.server.should_exit = True

    def _guarded(
        self, answer: Callable[[Request], Awaitable[Response]], *, opened: bool = False
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route that answers this window's page alone; `opened`: with the key that its token was good for."""

        async def check(request: Request) -> Response:
            # Another name that leads to this address is somebody else's page.
            if request.headers.get("host") != self.origin.removeprefix("http://"):
                response: Response = PlainTextResponse("This address is not known here.", 421)
            elif request.method != "GET" and request.headers.get("origin") != self.origin:
                response = PlainTextResponse("Calls come from the explorer's own page.", 403)
            elif opened and not (
                self._key and _same(request.headers.get("authorization", ""), f"Bearer {self._key}")
            ):
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
        token = str(((await _body(request)) or {}).get("token", ""))
        if self._key or not _same(token, self._token):
            return PlainTextResponse("This token is not valid, or no longer.", 401)
        self._key = secrets.token_urlsafe(32)
        return JSONResponse({"key": self._key, "input": self._wanted})

    async def _call(self, request: Request) -> Response:
        given = await _body(request)
        if given is None or not isinstance(given.get("name"), str):
            return PlainTextResponse("This is not a call.", 400)
        return StreamingResponse(self._answer(given), media_type="application/x-ndjson")

    async def _answer(self, given: Mapping[str, Any]) -> AsyncIterator[str]:
        """What comes of a call, one JSON object a line: progress, and then the result."""
        send, receive = anyio.create_memory_object_stream[dict[str, Any]](100)
        meta, arguments = _object(given.get("_meta")), _object(given.get("arguments"))
        page_pass: Any = {PAGE_KEY: meta[PAGE_KEY]} if PAGE_KEY in meta else None

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            with suppress(anyio.WouldBlock):
                send.send_nowait({"progress": message or ""})

        async def work() -> None:
            async with send:
                try:
                    result = await self._client.call_tool(
                        given["name"], arguments, progress_callback=tell, meta=page_pass
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
        self._pages += 1
        try:
            while not self.server.should_exit:
                yield "."
                await anyio.sleep(BEAT_SECONDS)
        finally:
            # The browser has closed the connection: the page is gone, or is being reloaded.
            self._pages -= 1
            self._left.set()


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode(), known.encode())


async def _body(request: Request) -> dict[str, Any] | None:
    """The JSON object that a request carries; `None` if it carries something else, or too much."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        return None
    try:
        given: object = await request.json()
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", given) if isinstance(given, dict) else None


def _object(value: object) -> dict[str, Any]:
    """A JSON object; anything else counts as an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
