"""Who is calling: the operator, the user that a token is confined to, or somebody who signed in."""

import hashlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio

from reflexio_mcp.settings import Settings
from reflexio_mcp.toolkit.spec import Permission
from reflexio_mcp.traffic.content import add_texts

__all__ = ["Caller", "ending_with_token", "granted", "holder_of", "person"]


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller. Every caller is served with the operator's Reflexio key.

    Args:
        user_id: the user it is confined to; empty is everybody.
        owner: stands for somebody who signed in, as the owner of cursors and recovery copies; empty for the operator.
        name: stands for the caller in logs, and as the owner of sessions.
        account: stands for it in limits, which another user id must not escape.
        permissions: what somebody who signed in may do; `None` if nothing is withheld.
        expires_at: epoch seconds at which its token ends, and its open streams with it.
        token_ends: returns when a token that can be revoked is no longer good.
    """

    user_id: str = ""
    owner: str = ""
    name: str = "local"
    account: str = "local"
    permissions: frozenset[Permission] | None = None
    expires_at: float = math.inf
    token_ends: Callable[[], Awaitable[None]] | None = field(default=None, repr=False, compare=False)


granted: ContextVar[frozenset[Permission] | None] = ContextVar("reflexio_mcp_granted", default=None)
"""The permissions of whoever sent the message that is being answered."""


def holder_of(token: str, user_id: str) -> Caller:
    """Whoever sends one of the operator's tokens, confined to `user_id` if that is not empty."""
    name = _stand_in("caller", token)
    return Caller(user_id, "", name, name)


def person(
    settings: Settings, subject: str, user_id: str, permissions: frozenset[Permission], expires_at: float
) -> Caller:
    """Somebody who signed in; `subject` is who that is to the authorization server."""
    who = _stand_in("person", settings.oauth_issuer, subject)
    return Caller(user_id, who, _stand_in("caller", who, user_id), who, permissions, expires_at)


@asynccontextmanager
async def ending_with_token(caller: Caller, scope: anyio.CancelScope) -> AsyncGenerator[None]:
    """Cancel `scope`, which is entered inside the block, when the caller's token is no longer good."""
    scope.deadline = anyio.current_time() + caller.expires_at - time.time()

    async def watch(ended: Callable[[], Awaitable[None]]) -> None:
        await ended()
        scope.cancel()

    async with anyio.create_task_group() as tasks:
        if caller.token_ends is not None:
            tasks.start_soon(watch, caller.token_ends)
        yield
        tasks.cancel_scope.cancel()


def _stand_in(purpose: str, *parts: str) -> str:
    # The same in every process and after every change of the state keys: it owns cursors and recovery copies.
    digest = hashlib.sha256(b"reflexio-mcp")
    add_texts(digest, (purpose, *parts))
    return digest.hexdigest()[:16]
