"""`reflexio-mcp explore`: the explorer in a browser of this machine.

A small window hosts the page and passes its calls to a server in this process. Only the browser that opened the
address can call the server: the window exchanges the one-time token in the address for a key. The command ends
when the page is closed.
"""

import json
import logging
import secrets
import socket
import tempfile
import webbrowser
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio
import uvicorn
from mcp import Client
from mcp.client.session import IncomingMessage
from mcp.types import (
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    Implementation,
    ProgressNotification,
    ProgressToken,
)
from pydantic import BaseModel, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from reflexio_mcp import __version__
from reflexio_mcp.explorer.document import document, shell
from reflexio_mcp.read_commands import filter_of
from reflexio_mcp.server.server import ReflexioServer
from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.context import PAGE_KEY

BEAT_SECONDS: Final = 0.5
"""Pause between two lines that an open page reads. A page that is closed reads none."""

RELOAD_SECONDS: Final = 3.0
"""A page that has read no line for this long was closed. A reload takes less."""

HEADERS: Final = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

Answer = Callable[[Request], Awaitable[Response]]


class _Opening(BaseModel):
    token: str


class _Call(BaseModel):
    name: str
    arguments: dict[str, Any] = {}
    meta: dict[str, Any] = Field({}, alias="_meta")


def run_explore(arguments: Namespace, settings: Settings) -> int:
    first_filter: dict[str, Any] = arguments.filter
    filter_of(first_filter, settings)  # refuses a wrong filter before a window opens
    if settings.user_id:
        first_filter.pop("user_id", None)  # A server that is confined to a user takes no `user_id`.
    # The page itself asks the person at the browser. No form of a client can be shown here, so `ask` becomes `preview`.
    # `auto` previews by itself where there are no forms.
    consent = "preview" if settings.confirm == "ask" else settings.confirm
    # This person is also the operator, who could change the cap and the tools. 0 is no cap, and no names are all tools.
    settings = replace(settings, confirm=consent, tools=(), oauth_issuer="", auth_token=(), delete_cap=0)
    # No message is needed if the command is stopped while the page is open.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    anyio.run(_serve, settings, first_filter)
    return 0


async def _serve(settings: Settings, first_filter: dict[str, Any]) -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()  # A browser that connects too early waits.
    progress = _Progress()
    page = Implementation(name="reflexio-mcp explore", version=__version__)
    async with Client(ReflexioServer(settings), client_info=page, message_handler=progress.hear) as client:
        window = _Window(client, progress, first_filter, listener.getsockname()[1])
        print(f"The explorer is at {window.address}")
        print("The address works once. Closing the page ends this command, and so does Ctrl-C.", flush=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(window.end_when_closed)
            tasks.start_soon(_open_browser, window.address)
            await window.server.serve(sockets=[listener])
            tasks.cancel_scope.cancel()


async def _open_browser(address: str) -> None:
    """Open the address through a private file: other accounts can read a browser's command line."""
    with tempfile.TemporaryDirectory(prefix="reflexio-mcp-explore-") as folder:  # its mode is 0700
        redirect = Path(folder) / "open.html"
        redirect.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={address}">', "utf-8")
        await anyio.to_thread.run_sync(webbrowser.open, redirect.as_uri())
        await anyio.sleep_forever()  # The browser may read the file late.


class _Progress:
    """The newest progress of each running call, unless the page was told of it."""

    def __init__(self) -> None:
        self._untold: dict[ProgressToken, dict[str, Any]] = {}

    async def hear(self, message: IncomingMessage) -> None:
        if isinstance(message, ProgressNotification):
            params = message.params
            self._untold[params.progress_token] = params.model_dump(
                mode="json", by_alias=True, exclude_none=True
            )

    def take(self) -> list[dict[str, Any]]:
        """Return the newest notification of each call, as its parameters were sent. Each is returned only once."""
        untold, self._untold = self._untold, {}
        return list(untold.values())


class _Window:
    def __init__(self, client: Client, progress: _Progress, first_filter: dict[str, Any], port: int) -> None:
        self._client = client
        self._first_filter = first_filter
        self._host = f"127.0.0.1:{port}"
        self._token = secrets.token_urlsafe(32)
        self._key = ""
        self._beats = 0  # only to see whether more come
        self._progress = progress
        self.address = f"http://{self._host}/#{self._token}"
        routes = [
            Route("/", self._guarded(_html(*shell()))),
            # The page has its own policy. This header keeps the page out of other frames.
            Route("/page", self._guarded(_html(document(), "sandbox allow-scripts; frame-ancestors 'self'"))),
            Route("/open", self._guarded(self._exchange_token), methods=["POST"]),
            Route("/call", self._guarded(self._call, opened=True), methods=["POST"]),
            Route("/alive", self._guarded(self._alive, opened=True), methods=["POST"]),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes), log_config=None, lifespan="off", timeout_graceful_shutdown=2
        )
        self.server = uvicorn.Server(config)

    async def end_when_closed(self) -> None:
        """End the server when the page has been opened and reads no beats any more."""
        seen = 0
        while True:
            await anyio.sleep(RELOAD_SECONDS)
            was_opened = self._beats > 0
            if was_opened and self._beats == seen:
                break
            seen = self._beats
        self.server.should_exit = True

    def _guarded(self, answer: Answer, *, opened: bool = False) -> Answer:
        """Refuse other hosts and origins and, if `opened`, requests without the window's key."""

        async def check(request: Request) -> Response:
            headers = request.headers
            if headers.get("host") != self._host:  # Another host name means another site's page.
                response: Response = PlainTextResponse("This address is not known here.", 421)
            elif request.method != "GET" and headers.get("origin") != f"http://{self._host}":
                response = PlainTextResponse("Calls come from the explorer's own page.", 403)
            elif opened and not self._has_key(headers.get("authorization", "")):
                response = PlainTextResponse("This window is not the one that was opened.", 401)
            else:
                try:
                    response = await answer(request)
                except ValidationError:
                    response = PlainTextResponse("This is not a call.", 400)
            response.headers.update(HEADERS)
            return response

        return check

    def _has_key(self, authorization: str) -> bool:
        return bool(self._key) and _same(authorization, f"Bearer {self._key}")

    async def _exchange_token(self, request: Request) -> Response:
        opening = _Opening.model_validate_json(await request.body())
        if self._key or not _same(opening.token, self._token):
            return PlainTextResponse("This token is unknown or was used.", 401)
        self._key = secrets.token_urlsafe(32)
        return JSONResponse({"key": self._key, "input": self._first_filter})

    async def _call(self, request: Request) -> Response:
        call = _Call.model_validate_json(await request.body())
        meta: Any = {name: call.meta[name] for name in (PAGE_KEY, "progressToken") if name in call.meta}
        params = CallToolRequestParams(name=call.name, arguments=call.arguments, _meta=meta)
        try:
            # `call_tool` would check each row against the output schema, which takes as long as making the row.
            result = await self._client.session.send_request(CallToolRequest(params=params), CallToolResult)
        except Exception as error:  # noqa: BLE001 - the page shows whatever the protocol raises
            return JSONResponse({"error": str(error)})
        return JSONResponse({"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)})

    async def _alive(self, request: Request) -> Response:
        return StreamingResponse(self._beat(), media_type="application/jsonl")

    async def _beat(self) -> AsyncIterator[str]:
        while not self.server.should_exit:
            self._beats += 1
            yield json.dumps(self._progress.take()) + "\n"
            await anyio.sleep(BEAT_SECONDS)


def _html(html: str, policy: str) -> Answer:
    async def answer(request: Request) -> Response:
        return HTMLResponse(html, headers={"content-security-policy": policy})

    return answer


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode(), known.encode())
