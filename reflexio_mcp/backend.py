"""Which Reflexio: the one at a URL, or the embedded store in this process."""

import contextlib
import os
import secrets
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx

__all__ = ["default_store", "local_key", "open_client", "recovery_folder"]

EMBEDDED_URL: Final = "http://embedded.reflexio.invalid"
"""Never resolved: the transport of the embedded store answers it in process."""


def default_store() -> Path:
    """The embedded store's file in the user's data folder."""
    import platformdirs

    return Path(platformdirs.user_data_dir("reflexio-mcp", appauthor=False)) / "store.db"


def recovery_folder(settings: Settings) -> Path:
    """Where the recovery copies of deletions are kept."""
    if settings.recovery_dir:
        return Path(settings.recovery_dir)
    return default_store().parent / "recovery"


def local_key(settings: Settings) -> bytes:
    """A secret of this machine's user, beside the embedded store; made when it is first needed.

    It keys fingerprints where nothing else is shared. Where no file can be kept it holds for this process alone.
    """
    if settings.store == ":memory:":
        return secrets.token_bytes(32)
    path = (Path(settings.store).parent if settings.store else default_store().parent) / "fingerprint.key"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(f".{secrets.token_hex(4)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            # Whole or not at all, and the first of several processes wins.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        key = path.read_bytes()
    except OSError:
        return secrets.token_bytes(32)
    return key if len(key) == 32 else secrets.token_bytes(32)


def open_client(settings: Settings, *, api_key: str | None = None) -> ReflexioClient:
    """A client of the configured backend. Nothing is opened before its first call.

    Args:
        settings: the configuration.
        api_key: a key to use instead of the configured one.

    Raises:
        BadAddress: the URL or the key cannot work.
    """
    if not settings.embedded:
        key = settings.api_key if api_key is None else api_key
        return ReflexioClient(settings.base_url, api_key=key or None, timeout=settings.timeout)

    def transport() -> "httpx.AsyncBaseTransport":
        import httpx

        from reflexio_mcp.store.app import create_app

        store = create_app(settings.store or str(default_store()))

        class EmbeddedTransport(httpx.ASGITransport):
            # The base class finds out anew at each call which event loop it runs on, which costs more than the
            # store's answer; nothing here depends on it.
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                body = await request.aread()
                asked: dict[str, Any] = {
                    "type": "http",
                    "method": request.method,
                    "path": request.url.path,
                    "query_string": request.url.query,
                    "headers": [(name.lower(), value) for name, value in request.headers.raw],
                }
                status, headers, parts = 500, list[tuple[bytes, bytes]](), list[bytes]()

                async def receive() -> dict[str, Any]:
                    return {"type": "http.request", "body": body, "more_body": False}

                async def send(message: MutableMapping[str, Any]) -> None:
                    nonlocal status, headers
                    if message["type"] == "http.response.start":
                        status, headers = message["status"], message["headers"]
                    else:
                        parts.append(message.get("body", b""))

                await store(asked, receive, send)
                return httpx.Response(status, headers=headers, content=b"".join(parts), request=request)

            async def aclose(self) -> None:
                await store.aclose()

        return EmbeddedTransport(app=store)

    return ReflexioClient(EMBEDDED_URL, timeout=settings.timeout, transport=transport)
