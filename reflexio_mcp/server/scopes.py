"""Whose memory a call works with."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from reflexio_mcp.backend import local_key, open_client
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.callers import Caller
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.errors import TrafficError
from reflexio_mcp.traffic.scope import Scope

__all__ = ["NoCaller", "Scopes"]

_caller: ContextVar[Caller | None] = ContextVar("reflexio_mcp_caller", default=None)


class NoCaller(TrafficError):
    """Callers are told apart here, and this call came without one."""


class Scopes:
    """The client of the API, and the scope of the call that is being answered.

    Args:
        client: used instead of the configured backend, and never closed here.
    """

    def __init__(self, settings: Settings, client: ReflexioClient | None) -> None:
        secret = (*settings.state_keys, settings.api_key)[0]
        self._fingerprints = Fingerprints(
            lambda: secret.encode() if secret else local_key(settings) or secrets.token_bytes(32)
        )
        self._settings = settings
        self._given = client
        self._client = client

    @property
    def client(self) -> ReflexioClient:
        """The client of the configured key; opened when it is first needed."""
        if self._client is None:
            self._client = open_client(self._settings)
        return self._client

    def local_caller(self) -> Caller:
        """Whoever sends a call that names no caller.

        Raises:
            NoCaller: callers have to say who they are.
        """
        if self._settings.many_callers:
            raise NoCaller("This call does not say whose it is; nothing was done.")
        return Caller(user_id=self._settings.user_id)

    @contextmanager
    def calling(self, caller: Caller) -> Generator[None]:
        """Make `caller` the one for whom everything inside this context works."""
        token = _caller.set(caller)
        try:
            yield
        finally:
            _caller.reset(token)

    def current(self) -> Scope:
        """The scope of the call that is being answered.

        Raises:
            NoCaller: callers have to say who they are, and this is not inside anybody's call.
        """
        caller = _caller.get() or self.local_caller()
        return self.standing(caller.owner, caller.user_id or self._settings.user_id)

    def standing(self, owner: str, user_id: str) -> Scope:
        """The scope of somebody, outside any call."""
        settings = self._settings
        return Scope(
            self.client,
            user_id,
            owner,
            masked=settings.mask,
            learns=not settings.embedded,
            exact=settings.embedded,
            fingerprints=self._fingerprints,
        )

    async def aclose(self) -> None:
        """Close the client, unless it was handed in. The next call opens it again."""
        client, self._client = self._client, self._given
        if client is not None and client is not self._given:
            await client.aclose()
