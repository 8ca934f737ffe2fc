"""Whose memory a call works with: one client for all callers, or each caller's own."""

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar

from reflexio_mcp.backend import local_key, open_client
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.callers import Caller
from reflexio_mcp.server.client_pool import ClientPool
from reflexio_mcp.settings import Settings
from reflexio_mcp.traffic.content import Fingerprints
from reflexio_mcp.traffic.errors import TrafficError
from reflexio_mcp.traffic.scope import Scope

__all__ = ["NoCaller", "Scopes"]

_current: ContextVar[Scope | None] = ContextVar("reflexio_mcp_scope", default=None)


class NoCaller(TrafficError):
    """Callers bring their own keys, and this call came without one."""


class Scopes:
    """Every client of the API that a server has open, and the scope of the call that is being answered.

    Args:
        promised: whether work of this `key_id` goes on outside any call.
    """

    def __init__(
        self, settings: Settings, client: ReflexioClient | None, promised: Callable[[str], bool]
    ) -> None:
        secret = (*settings.state_keys, settings.api_key)[0]
        self._fingerprints = Fingerprints(
            lambda: secret.encode() if secret else local_key(settings) or secrets.token_bytes(32)
        )
        self._settings = settings
        self._given = client
        self._client = client
        self._probe: ReflexioClient | None = None
        self._local: Scope | None = None
        self.pool = ClientPool(lambda key: open_client(settings, api_key=key), settings.max_callers, promised)

    @property
    def client(self) -> ReflexioClient:
        """The client of the configured key."""
        if self._client is None:
            self._client = open_client(self._settings)
        return self._client

    def local_caller(self) -> Caller | None:
        """Whoever is at the other end of a pipe; nobody where callers have to say who they are."""
        return None if self._settings.many_callers else Caller(user_id=self._settings.user_id)

    @asynccontextmanager
    async def calling(self, caller: Caller) -> AsyncGenerator[None]:
        """Make `caller` the one whose client and user everything inside this context works with.

        Raises:
            PoolFull: no client can be opened now.
            BadAddress: the caller's key cannot be used.
        """
        if not self._settings.many_callers:
            yield
            return
        # Everybody who signed in is served with the configured key.
        shared = self._settings.tenancy == "off"
        async with nullcontext(self.client) if shared else self.pool.lease(caller) as client:
            token = _current.set(self._scope(client, caller.user_id, caller.key_id))
            try:
                yield
            finally:
                _current.reset(token)

    def current(self) -> Scope:
        """The scope of the call that is being answered.

        Raises:
            NoCaller: callers bring their own keys, and this is not inside anybody's call.
        """
        if not self._settings.many_callers:
            if self._local is None:
                self._local = self._scope(self.client, self._settings.user_id)
            return self._local
        if (scope := _current.get()) is None:
            raise NoCaller("This call does not say whose it is; nothing was done.")
        return scope

    def standing(self, caller: str, user_id: str) -> Scope:
        """A scope that is served with the configured key, outside any call."""
        return self._scope(self.client, user_id, caller)

    def _scope(self, client: ReflexioClient, user_id: str, key_id: str = "") -> Scope:
        settings = self._settings
        return Scope(
            client,
            user_id,
            key_id,
            masked=settings.mask,
            learns=not settings.embedded,
            exact=settings.embedded,
            fingerprints=self._fingerprints,
        )

    async def probe(self) -> None:
        """Ask the backend whether it runs, with nobody's key.

        Raises:
            ReflexioError: it does not, or cannot be reached.
        """
        if self._settings.tenancy == "off":
            await self.client.health()
            return
        if self._probe is None:
            self._probe = open_client(self._settings, api_key="")
        await self._probe.health()

    async def aclose(self) -> None:
        """Close every client but the one that was handed in. The next call opens what it needs again."""
        own = [self._probe, None if self._given else self._client]
        self._probe, self._client, self._local = None, self._given, None
        for client in own:
            if client is not None:
                await client.aclose()
        await self.pool.aclose()
