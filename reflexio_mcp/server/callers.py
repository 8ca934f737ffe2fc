"""Callers, their scopes and their shares of the limits."""

import hashlib
import math
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final

from reflexio_mcp.backend import link, open_client, scopes_of
from reflexio_mcp.settings import Settings
from reflexio_mcp.tools.catalog import Permission
from reflexio_mcp.traffic.errors import TrafficError
from reflexio_mcp.traffic.policy import policy_at

if TYPE_CHECKING:
    from reflexio_mcp.rest.client import ReflexioClient
    from reflexio_mcp.traffic.scope import Scope

__all__ = ["Caller", "Quota", "holder_of", "person"]


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller, served with the operator's Reflexio key.

    Args:
        user_id: the user that the caller is confined to; empty for every user.
        owner: owns cursors, codes and the hourly cap; empty for an operator who did not sign in.
        name: identifies the caller in logs and owns its sessions.
        account: identifies the caller in limits, whatever user it is confined to.
        permissions: what a person who signed in may do; `None` allows everything.
        expires_at: epoch seconds at which the token, and open streams with it, end.
        known_as: the person, as the operator's log names them; empty for a token of no single user.
    """

    user_id: str = ""
    owner: str = ""
    name: str = "local"
    account: str = "local"
    permissions: frozenset[Permission] | None = None
    expires_at: float = math.inf
    known_as: str = ""


current_caller: Final[ContextVar[Caller | None]] = ContextVar("reflexio_mcp_caller", default=None)


def holder_of(token: str, user_id: str) -> Caller:
    """Return the holder of an operator's token, confined to `user_id` unless it is empty."""
    name = _pseudonym("caller", token)
    owner = _pseudonym("user", user_id) if user_id else ""
    return Caller(user_id=user_id, owner=owner, name=name, account=name, known_as=user_id)


def person(
    settings: Settings,
    *,
    subject: str,
    user_id: str,
    permissions: frozenset[Permission],
    expires_at: float,
    known_as: str,
) -> Caller:
    who = _pseudonym("person", settings.oauth_issuer, subject)
    return Caller(
        user_id=user_id,
        owner=who,
        name=_pseudonym("caller", who, user_id),
        account=who,
        permissions=permissions,
        expires_at=expires_at,
        known_as=known_as,
    )


def _pseudonym(kind: str, *parts: str) -> str:
    from reflexio_mcp.traffic.content import add_texts

    # The state contains this id, so the id depends on no key and no process.
    digest = hashlib.sha256(b"reflexio-mcp")
    add_texts(digest, (kind, *parts))
    return digest.hexdigest()[:16]


class NoCaller(TrafficError):
    """The call has no caller, but the server needs one."""


class Scopes:
    """The client of the API, and the scope of the current call.

    Args:
        client: replaces the configured backend, and is never closed here.
    """

    def __init__(self, settings: Settings, client: "ReflexioClient | None") -> None:
        self._settings = settings
        self._many_callers = settings.many_callers
        self.policy = policy_at(settings.policy)
        self._given = client
        self._client = client
        if client:
            link(client, self.policy)

    @cached_property
    def _new_scope(self) -> "partial[Scope]":
        return scopes_of(self._settings)

    @property
    def client(self) -> "ReflexioClient":
        if self._client is None:
            self._client = open_client(self._settings)
            link(self._client, self.policy)
        return self._client

    def local_caller(self) -> Caller:
        """The caller of an anonymous message. Raises `NoCaller` if callers must be named."""
        if self._many_callers:
            raise NoCaller("This call names no caller; nothing was done.")
        return Caller(user_id=self._settings.user_id)

    def current(self) -> "Scope":
        """The scope of the current call. Raises `NoCaller`."""
        return self.of(current_caller.get() or self.local_caller())

    def of(self, caller: Caller) -> "Scope":
        return self._new_scope(self.client, caller.user_id or self._settings.user_id, caller.owner)

    async def aclose(self) -> None:
        """Close the client unless it was passed in. The next call opens another."""
        client, self._client = self._client, self._given
        if client is not None and client is not self._given:
            await client.aclose()


class Quota:
    """Counts what each account uses.

    Args:
        each: maximum for one account.
        all_: maximum for all accounts; `None` for no limit.
    """

    def __init__(self, each: int, all_: int | None = None) -> None:
        self._each = each
        self._all = all_
        self._held: Counter[str] = Counter()

    @contextmanager
    def hold(self, account: str) -> Generator[bool]:
        """Count a use by `account` during the block; yields whether it is allowed."""
        if self._held[account] >= self._each or (self._all is not None and self._held.total() >= self._all):
            yield False
            return
        self._held[account] += 1
        try:
            yield True
        finally:
            self._held[account] -= 1
            if not self._held[account]:
                del self._held[account]
