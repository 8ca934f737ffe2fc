"""What outlives one connection: clients, promised work, the keys that replicas share."""

import gc
import hashlib
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import cached_property
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from reflexio_mcp.backend import local_key, open_state, owner_of, place_of
from reflexio_mcp.rest.client import ReflexioClient
from reflexio_mcp.server.scopes import Scopes
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.records import Owner
from reflexio_mcp.state.tables import StateUnusable, nothing_can_be_deleted
from reflexio_mcp.toolkit.context import App, PageNotes
from reflexio_mcp.tools.catalog import deletes
from reflexio_mcp.traffic.deletion.codes import CodeMaker
from reflexio_mcp.traffic.deletion.jobs import Jobs
from reflexio_mcp.traffic.scope import Scope

if TYPE_CHECKING:
    from reflexio_mcp.server.completions import Completer

__all__ = ["Runtime", "tune_collector"]

logger = logging.getLogger("reflexio_mcp")


def tune_collector() -> None:
    """Run the garbage collector less often in a process that serves, and over what serving makes alone.

    A page of traffic makes thousands of short-lived objects. With Python's defaults the collector walks all loaded
    modules again and again meanwhile, which took two thirds of the time of reading a page when measured.

    A call over HTTP leaves some 320 objects in cycles: answers of `httpx`, tasks that were cancelled. With a threshold
    that is much higher, these wait in megabytes, keep what they lie among from being used again, and hold up every
    call while they are freed.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    gc.enable()


class Runtime:
    """What the connections of one server share.

    The server enters it with each lifespan. A transport that serves several connections opens it above them.

    Args:
        tools: returns the names of the tools that are offered to the caller.
        client: used instead of the configured backend, and never closed here.
    """

    def __init__(
        self, settings: Settings, tools: Callable[[], frozenset[str]], client: ReflexioClient | None = None
    ) -> None:
        self.settings = settings
        self.state = open_state(settings)
        self.jobs = Jobs()
        self.scopes = Scopes(settings, client)
        self.page_notes = PageNotes()
        self.over_stdio = False
        self._tools = tools
        self._users = 0
        self._shared: App | None = None

    @property
    def where(self) -> str:
        """The backend's address or file."""
        return place_of(self.settings)

    def codes(self, scope: Scope) -> CodeMaker:
        """The plan codes of a scope; they fit no other scope."""
        bound_to = f"{self.where}\0{scope.owner}"
        digest = hashlib.sha256(bound_to.encode("utf-8", "surrogatepass")).hexdigest()
        keys, lasting = self._keys
        return CodeMaker(keys[0], digest, *keys[1:], lasting=lasting)

    async def owner(self, scope: Scope) -> Owner:
        """Whose the deletions and recovery copies of a scope are."""
        return await owner_of(scope, self.settings)

    @property
    def keys_last(self) -> bool:
        """Whether codes and answers to forms still fit at the next process."""
        return self._keys[1]

    @property
    def form_keys(self) -> list[bytes]:
        """The keys that seal the state of open forms: they last as long as those of plan codes, and are others."""
        return [
            hashlib.sha256(b"reflexio-mcp form state\0" + key).digest()
            for key in dict.fromkeys(self._keys[0])
        ]

    @cached_property
    def _keys(self) -> tuple[list[bytes], bool]:
        """The secrets behind codes and forms, and whether every process that shares this configuration has them."""
        if configured := [
            key.encode() for key in self.settings.state_keys or (self.settings.api_key,) if key
        ]:
            return configured, True
        shared = local_key(self.settings)
        return [shared or secrets.token_bytes(32)], shared is not None

    @cached_property
    def completer(self) -> "Completer":
        """What answers completions, for every caller."""
        # Imported with the first completion: most connections never ask for one.
        from reflexio_mcp.server.completions import Completer

        return Completer()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[App]:
        """One lifespan for every connection. Leaving it waits for promised deletions and closes the clients."""
        async with self._own_app() as app:
            self._shared = app
            try:
                yield app
            finally:
                self._shared = None

    def connection(self) -> AbstractAsyncContextManager[App]:
        """The lifespan of one connection: the shared one where there is one."""
        return self._own_app() if self._shared is None else nullcontext(self._shared)

    @asynccontextmanager
    async def _own_app(self) -> AsyncGenerator[App]:
        self._users += 1
        self.jobs.open()
        try:
            async with anyio.create_task_group() as tasks, anyio.create_task_group() as background:
                background.start_soon(self.state.keep_pruned)
                background.start_soon(self._say_trouble)
                app = App(
                    self.settings,
                    self._tools,
                    self.scopes.current,
                    self.codes,
                    self.owner,
                    self.state,
                    self.jobs,
                    tasks,
                    background,
                    self.trouble,
                    where=self.where,
                    over_stdio=self.over_stdio,
                )
                try:
                    yield app
                finally:
                    background.cancel_scope.cancel()
                    if self._users == 1:  # nobody is left who would wait for a receipt that cannot be kept
                        self.jobs.close()
        finally:
            self._users -= 1
            if not self._users:  # the last one to leave closes the clients
                with anyio.CancelScope(shield=True):
                    await self.scopes.aclose()
                self.state.database.close()

    async def finish_jobs(self) -> None:
        """Begin no deletion any more, and wait for those that have begun."""
        self.jobs.close()
        await self.jobs.drain()

    def trouble(self) -> str:
        """Why nothing can be deleted now, as a sentence; empty where something can, or no tool may. It blocks."""
        try:
            if self._deletes:
                self.state.check()
        except StateUnusable as error:
            return nothing_can_be_deleted(error)
        return ""

    @cached_property
    def _deletes(self) -> bool:
        return deletes(self.settings)

    async def _say_trouble(self) -> None:
        if said := await anyio.to_thread.run_sync(self.trouble, abandon_on_cancel=True):
            logger.warning("%s", said)
