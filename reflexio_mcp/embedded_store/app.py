"""The embedded store: the API's routes over one SQLite file, for the client in this process.

client = ReflexioClient(url, transport=EmbeddedStore(path))
"""

import logging
import secrets
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final

import anyio
import anyio.to_thread
from pydantic import ValidationError

from reflexio_mcp.embedded_store.database import BUSY_SECONDS, Database, StoreBusy, StoreFailed
from reflexio_mcp.embedded_store.routes import ROUTES, GetRequests, Json, Refusal
from reflexio_mcp.rest.exchange import EMBEDDED_STORE, Call, HttpReply, parsed_json

__all__ = ["EmbeddedStore"]

logger: Final = logging.getLogger(__name__)


class EmbeddedStore:
    """The API over one store file, or `:memory:`. Several processes can share the file."""

    def __init__(
        self, path: str, *, clock: Callable[[], float] = time.time, busy_seconds: float = BUSY_SECONDS
    ) -> None:
        self._database = Database(path, busy_seconds=busy_seconds)
        self._clock = clock

    async def exchange(self, call: Call, seconds: float) -> HttpReply:
        # A call finishes even if its caller is cancelled.
        status, body = await anyio.to_thread.run_sync(self._answer, call)
        headers = {
            "date": formatdate(int(self._clock()), usegmt=True),
            "content-type": "application/json",
            "server": EMBEDDED_STORE,
            "x-correlation-id": secrets.token_hex(4),
        }
        return HttpReply(status, headers, body)

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.close)

    def close(self) -> None:
        self._database.close()

    def _answer(self, call: Call) -> tuple[int, Json]:
        route = ROUTES.get((call.method, call.route))
        if route is None:
            return 404, {"detail": "Not Found"}
        try:
            body = route.body.model_validate(parsed_json(call.content) if call.content else dict(call.params))
            # Only this route takes the limit, which the client does not send in the body.
            if isinstance(body, GetRequests):
                body.most_reply_bytes = call.most_reply_bytes
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            return 422, {"detail": [{**problem, "loc": ["body", *problem["loc"]]} for problem in found]}
        except (ValueError, RecursionError):
            return 422, {"detail": [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error"}]}
        try:
            database, change = self._database, route.change
            opened = database.reading() if change == "none" else database.writing(deletes=change == "deletes")
            with opened as connection:
                return 200, route.answer(connection, body, int(self._clock()))
        except Refusal as refusal:
            return refusal.status, {"detail": refusal.detail}
        except StoreBusy as error:
            return 503, {"detail": {"reason": error.reason, "message": error.message}}
        except StoreFailed as error:
            # `changed: false` promises that nothing was changed. A server cannot: it does not always roll back.
            unchanged = {"changed": False} if error.unchanged else {}
            return 200, {"success": False, **unchanged, "message": error.message}
        except Exception as error:  # noqa: BLE001 - a server answers the same
            logger.error("%s %s failed: %s", call.method, call.route, type(error).__name__)
            return 500, {"detail": "Internal Server Error"}
