"""What outlives one connection: clients, promised work, the keys that replicas share."""

import gc
import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.mcpserver.exceptions import ToolError

from reflexio_mcp.backend import default_store, local_key, open_client, recovery_folder
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.callers import Caller, ClientPool
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.jobs import Schedule
from reflexio_mcp.toolkit.context import App
from reflexio_mcp.toolkit.errors import describe
from reflexio_mcp.toolkit.page import PageNotes
from reflexio_mcp.toolkit.subscriptions import Subscriptions
from reflexio_mcp.traffic.content import use_key
from reflexio_mcp.traffic.deletion.plan_codes import CodeMaker
from reflexio_mcp.traffic.deletion.run import Safeguards
from reflexio_mcp.traffic.scope import Scope

if TYPE_CHECKING:
    from reflexio_mcp.server.completions import Completer

__all__ = ["Runtime", "calm_collector"]

_current: ContextVar[Scope | None] = ContextVar("reflexio_mcp_reach", default=None)


def calm_collector() -> None:
    """Spare the garbage collector the modules, which stay, for a process that serves.

    Reading a page of traffic makes thousands of objects, each a reason to look through all of them again: two thirds
    of the time it takes, measured.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


class Runtime:
    """What outlives one connection.

    A server enters it with each lifespan; a transport that serves several connections opens it above them.

    Args:
        settings: the configuration.
        client: used instead of the configured backend, and never closed here.
    """

    def __init__(self, settings: Settings, client: ReflexioClient | None = None) -> None:
        self.settings = settings
        self.schedule = Schedule(describe)
        self._given = client
        self._client = client
        self._probe: ReflexioClient | None = None
        self._users = 0
        self._shared: App | None = None
        self.subscriptions = Subscriptions()
        self.page_notes = PageNotes()
        self._completer: Completer | None = None
        use_key(self._fingerprint_key)
        self._pool = ClientPool(
            lambda key: open_client(settings, api_key=key), settings.max_callers, self.schedule.running_for
        )
        self.safeguards = Safeguards.of(
            cap=settings.delete_cap,
            recovery_folder=lambda: recovery_folder(settings),
            recovery_days=settings.recovery_days,
            audit_log=settings.audit_log,
        )
        # Without a key that other processes share, codes hold for this process alone.
        shared = [key.encode() for key in settings.state_keys or (settings.api_key,) if key]
        self._code_keys = shared or [secrets.token_bytes(32)]

    @property
    def client(self) -> ReflexioClient:
        """The client of the configured key."""
        if self._client is None:
            self._client = open_client(self.settings)
        return self._client

    @property
    def where(self) -> str:
        """The backend's address or file."""
        if self.settings.embedded:
            return self.settings.store or str(default_store())
        return self.settings.base_url

    def local_caller(self) -> Caller | None:
        """Whoever is at the other end of a pipe; nobody where callers have to say who they are."""
        return Caller(user_id=self.settings.user_id) if self.settings.tenancy == "off" else None

    @asynccontextmanager
    async def calling(self, caller: Caller) -> AsyncGenerator[None]:
        """Make `caller` the one whose client and user everything inside this context works with.

        Raises:
            PoolFull: no client can be opened now.
            BadAddress: the caller's key cannot be used.
        """
        if self.settings.tenancy == "off":
            yield
            return
        async with self._pool.lease(caller) as client:
            token = _current.set(Scope(client, caller.user_id, caller.key_id, masked=self.settings.mask))
            try:
                yield
            finally:
                _current.reset(token)

    def scope(self, headers: Any = None) -> Scope:
        """The scope of the call that is being answered.

        Args:
            headers: not looked at: who is calling was decided where the request came in.

        Raises:
            ToolError: callers bring their own keys, and this is not inside anybody's call.
        """
        if self.settings.tenancy == "off":
            return Scope(self.client, self.settings.user_id, masked=self.settings.mask)
        if (scope := _current.get()) is None:
            raise ToolError(
                "This call came without a Reflexio key; nothing was done. Send X-Reflexio-API-Key."
            )
        return scope

    def codes(self, scope: Scope) -> CodeMaker:
        """The plan codes of a scope; they fit no other scope."""
        bound_to = f"{self.where}\0{scope.owner}"
        digest = hashlib.sha256(bound_to.encode("utf-8", "surrogatepass")).hexdigest()
        return CodeMaker(self._code_keys[0], digest, *self._code_keys[1:])

    async def probe(self) -> None:
        """Ask the backend whether it runs, with nobody's key.

        Raises:
            ReflexioError: it does not, or cannot be reached.
        """
        if self.settings.tenancy == "off":
            await self.client.health()
            return
        if self._probe is None:
            self._probe = open_client(self.settings, api_key="")
        await self._probe.health()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[App]:
        """One lifespan for every connection. Leaving it waits for promised deletions and closes the clients."""
        async with self.hold(), anyio.create_task_group() as tasks:
            self._shared = self._app(tasks)
            try:
                yield self._shared
            finally:
                self._shared = None

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[App]:
        """The lifespan of one connection: the shared one where there is one."""
        if self._shared is not None:
            yield self._shared
            return
        async with self.hold(), anyio.create_task_group() as tasks:
            yield self._app(tasks)

    def _app(self, tasks: anyio.abc.TaskGroup) -> App:
        return App(
            self.settings,
            self,
            self.schedule,
            tasks,
            where=self.where,
            subscriptions=self.subscriptions,
            page_notes=self.page_notes,
        )

    def completer(self) -> "Completer":
        """What answers completions, for every caller."""
        if self._completer is None:
            from reflexio_mcp.server.completions import Completer

            self._completer = Completer()
        return self._completer

    def _fingerprint_key(self) -> bytes:
        shared = (*self.settings.state_keys, self.settings.api_key)[0]
        return shared.encode() if shared else local_key(self.settings)

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[None]:
        """Keep the clients open; the last one to leave closes them."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                with anyio.CancelScope(shield=True):
                    await self._close()

    async def _close(self) -> None:
        mine = [self._probe] if self._given is not None else [self._probe, self._client]
        self._probe = None
        self._client = self._given
        for client in mine:
            if client is not None:
                await client.aclose()
        await self._pool.aclose()
