"""Who is calling.

Without tenancy there is one caller: the operator's key and user. With `REFLEXIO_MCP_TENANCY=header` each HTTP
request brings its own. A request's headers may narrow what the operator fixed; nothing widens it.
"""

import hashlib
import hmac
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

import anyio

from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.spec import Permission
from reflexio_mcp.traffic.content import add_texts

__all__ = [
    "KEY_HEADER",
    "USER_HEADER",
    "Caller",
    "CallerRefused",
    "ending_with_token",
    "granted",
    "person",
    "read_caller",
    "share_of",
]

KEY_HEADER: Final = b"x-reflexio-api-key"
USER_HEADER: Final = b"x-reflexio-user-id"
_MOST_CHARS: Final = 1000
_SHARES: Final = 4

Headers = Iterable[tuple[bytes, bytes]]


class CallerRefused(Exception):
    """A request whose headers name no caller, or one outside what the operator fixed.

    Args:
        reason: one word for the log.
        text: a sentence for the caller; repeats nothing of what was sent.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller.

    Args:
        api_key: the Reflexio key its calls are made with.
        user_id: the user it is confined to; empty is everybody the key reaches.
        key_id: stands for the key where it must not appear; empty where all callers share one.
        name: stands for the caller as a whole: in logs, as the owner of sessions.
        account: stands for token and key alone: in limits, which naming another user must not escape.
        permissions: what somebody who signed in may do; `None` where nothing is withheld.
        expires_at: epoch seconds at which its token ends, and with it what is still open.
        token_ends: returns when its token, which may end before that, is no longer good; `None` where it cannot.
    """

    api_key: str = field(default="", repr=False)
    user_id: str = ""
    key_id: str = ""
    name: str = "local"
    account: str = "local"
    permissions: frozenset[Permission] | None = None
    expires_at: float = math.inf
    token_ends: Callable[[], Awaitable[None]] | None = field(default=None, repr=False, compare=False)


@asynccontextmanager
async def ending_with_token(caller: Caller, scope: anyio.CancelScope) -> AsyncGenerator[None]:
    """Cancel a scope, which is entered inside the block, when the caller's token is no longer good."""
    scope.deadline = anyio.current_time() + caller.expires_at - time.time()
    if (token_ends := caller.token_ends) is None:
        yield
        return

    async def watch() -> None:
        await token_ends()
        scope.cancel()

    failed: Exception | None = None
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again, outside the group, which would wrap it
            failed = error
        tasks.cancel_scope.cancel()
    if failed is not None:
        raise failed


granted: ContextVar[frozenset[Permission] | None] = ContextVar("reflexio_mcp_granted", default=None)
"""The permissions of whoever sent the message that is being answered."""


def read_caller(headers: Headers, settings: Settings, *, token: str = "") -> Caller:
    """The caller that a request's headers name.

    Args:
        headers: as the ASGI scope has them, duplicates included.
        settings: what the operator fixed.
        token: the bearer token of the request, already checked.

    Raises:
        CallerRefused: no caller, an ambiguous one, or one outside what the operator fixed.
    """
    key, user = _single(headers, KEY_HEADER), _single(headers, USER_HEADER)
    if settings.tenancy == "off":
        if key or user:
            raise CallerRefused(
                "tenancy_off",
                "This server serves one configured identity; leave X-Reflexio-API-Key and X-Reflexio-User-Id out.",
            )
        name = _stand_in("caller", token)
        return Caller(settings.api_key, settings.user_id, "", name, name)
    if not key:
        raise CallerRefused("no_key", "Each request must bring a Reflexio key in X-Reflexio-API-Key.")
    if settings.api_key and not hmac.compare_digest(settings.api_key.encode(), key.encode()):
        raise CallerRefused("other_key", "X-Reflexio-API-Key is not the key this server is configured for.")
    if settings.user_id and user and user != settings.user_id:
        raise CallerRefused("other_user", "X-Reflexio-User-Id is not the user this server is configured for.")
    user = user or settings.user_id
    key_id = _stand_in("key", settings.base_url, key)
    name, account = _stand_in("caller", token, key_id, user), _stand_in("account", token, key_id)
    return Caller(key, user, key_id, name, account)


def person(
    settings: Settings,
    subject: str,
    user_id: str,
    permissions: frozenset[Permission],
    expires_at: float = math.inf,
) -> Caller:
    """Somebody who signed in, served with the operator's key; the rest is as in `Caller`.

    Args:
        subject: who it is to the authorization server.
    """
    who = _stand_in("person", settings.oauth_issuer, subject)
    return Caller(
        settings.api_key, user_id, who, _stand_in("caller", who, user_id), who, permissions, expires_at
    )


def share_of(settings: Settings, most: int) -> int:
    """How much one account may have of what there is `most` of: where there are many accounts, none has all."""
    return max(1, most // _SHARES) if settings.many_callers else most


def _single(headers: Headers, name: bytes) -> str:
    """The value of a header that may be there once, in plain text. A comma may be a proxy's way to fold two."""
    values = [value for key, value in headers if key == name]
    title = "X-Reflexio-API-Key" if name == KEY_HEADER else "X-Reflexio-User-Id"
    if len(values) > 1:
        raise CallerRefused("duplicate_header", f"{title} may be sent once.")
    value = values[0].decode("latin-1").strip() if values else ""
    if values and not value:
        raise CallerRefused("blank_header", f"{title} is blank.")
    if len(value) > _MOST_CHARS or "," in value or not (value.isascii() and value.isprintable()):
        raise CallerRefused(
            "odd_header", f"{title} takes printable ASCII without commas, {_MOST_CHARS} at most."
        )
    if name == KEY_HEADER and " " in value:
        raise CallerRefused("odd_header", f"{title} is not a Reflexio key: it has a blank in it.")
    return value


def _stand_in(purpose: str, *parts: str) -> str:
    # The same in every process and after every change of the state keys: it owns cursors and recovery copies.
    digest = hashlib.sha256(b"reflexio-mcp")
    add_texts(digest, (purpose, *parts))
    return digest.hexdigest()[:16]
