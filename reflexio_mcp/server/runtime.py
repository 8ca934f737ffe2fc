"""Objects that outlive one connection: the client, running deletions, and shared keys."""

import gc
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
from mcp.server.request_state import AESGCMRequestStateCodec

from reflexio_mcp.backend import location_of, open_state, owner_of, process_key
from reflexio_mcp.render.words import SHELL, refusal
from reflexio_mcp.results.facts import Fact, FactCode
from reflexio_mcp.server.callers import Caller, Scopes
from reflexio_mcp.settings import Settings
from reflexio_mcp.state.state import in_thread
from reflexio_mcp.state.tables import StateUnusable
from reflexio_mcp.toolkit.context import App, Downloads, PageNotes
from reflexio_mcp.tools.catalog import deletes
from reflexio_mcp.traffic.deletion.jobs import Jobs

if TYPE_CHECKING:
    from reflexio_mcp.rest.client import ReflexioClient
    from reflexio_mcp.state.records import Owner
    from reflexio_mcp.traffic.deletion.plan import CodeMaker
    from reflexio_mcp.traffic.scope import Scope

__all__ = ["tune_collector"]

PAUSE_SECONDS: Final = 30.0
LONGEST_PAUSE_SECONDS: Final = 600.0
"""Seconds between two looks for what must go. Each look that finds nothing doubles the pause."""

logger = logging.getLogger("reflexio_mcp")


def tune_collector() -> None:
    """Collect garbage less often, and skip what was loaded at the start.

    With Python's defaults, collection takes two thirds of the time of reading a page.
    """
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)
    gc.enable()  # off since the command began to import


class Runtime:
    """State shared by the connections of one server.

    Args:
        tools: returns the names of the caller's tools.
        client: replaces the configured backend, and is never closed here.
    """

    def __init__(
        self, settings: Settings, tools: Callable[[], frozenset[str]], client: "ReflexioClient | None" = None
    ) -> None:
        self.settings = settings
        self.state = open_state(settings)
        self.jobs = Jobs()
        self.scopes = Scopes(settings, client)
        self.page_notes = PageNotes()
        self.downloads = Downloads()
        self.over_stdio = False
        self._tools = tools
        self._shared: App | None = None

    def codes(self, scope: "Scope") -> "CodeMaker":
        from reflexio_mcp.traffic.deletion.plan import CodeMaker

        bound_to = f"{location_of(self.settings)}\0{scope.owner}"
        digest = hashlib.sha256(bound_to.encode("utf-8", "surrogatepass")).hexdigest()
        return CodeMaker(self.keys[0], digest, *self.keys[1:])

    async def owner(self, scope: "Scope") -> "Owner":
        return await owner_of(scope, self.settings)

    @cached_property
    def keys(self) -> list[bytes]:
        """The secrets of codes and forms, the newest first."""
        given = self.settings.state_keys or (self.settings.api_key,)
        keys = [key.encode() for key in given if key]
        return keys or [process_key(self.settings)]

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[App]:
        """Open what all connections share, or share it if it is open. The connection that opened it closes it for all.

        Over HTTP, the application holds it open while it runs.
        """
        if self._shared is not None:
            yield self._shared
            return
        self.jobs.open()
        try:
            # At the end, `tasks` is waited for, and `background` is cancelled.
            async with anyio.create_task_group() as tasks, anyio.create_task_group() as background:
                background.start_soon(self.state.keep_pruned)
                background.start_soon(self._say_trouble)
                background.start_soon(self.scopes.policy.keep_reading)
                background.start_soon(self._keep_taking_out)
                self._shared = App(
                    settings=self.settings,
                    offered=self._tools,
                    scope=self.scopes.current,
                    codes=self.codes,
                    owner=self.owner,
                    state=self.state,
                    jobs=self.jobs,
                    tasks=tasks,
                    background=background,
                    trouble=self.trouble,
                    downloads=self.downloads,
                    where=location_of(self.settings),
                    over_stdio=self.over_stdio,
                )
                try:
                    yield self._shared
                finally:
                    self._shared = None
                    background.cancel_scope.cancel()
                    self.jobs.close()
        finally:
            with anyio.CancelScope(shield=True):
                await self.scopes.aclose()
            self.state.database.close()

    def trouble(self) -> Sequence[Fact]:
        """Return what is wrong with the state, as `state check` and `doctor` find it. The call blocks."""
        if not deletes(self.settings):
            return ()
        try:
            self.state.check()
            if self.state.database.fits():
                return ()
        except StateUnusable as error:
            from reflexio_mcp.traffic.errors import state_facts  # hardly any start needs it

            return state_facts(error, FactCode.NO_DELETION_NOW)
        return [Fact(code=FactCode.STATE_DOES_NOT_FIT)]

    async def _keep_taking_out(self) -> None:
        """Delete again what an interrupted restore has stored although it was erased for good."""
        if not deletes(self.settings):
            return
        pause = PAUSE_SECONDS
        while True:
            gone = 0
            with suppress(StateUnusable):
                if await in_thread(self.state.must_go.any):
                    gone = await self._take_out()
            if gone:
                _warn([Fact(code=FactCode.DELETED_AGAIN, number=gone)])
            pause = PAUSE_SECONDS if gone else min(pause * 2, LONGEST_PAUSE_SECONDS)
            await anyio.sleep(pause)

    async def _take_out(self) -> int:
        """Return how many items were deleted again; 0 also if they could not be looked for."""
        from reflexio_mcp.rest.errors import ReflexioError  # hardly any start needs these
        from reflexio_mcp.traffic.deletion.erasures import take_out_waiting
        from reflexio_mcp.traffic.errors import TrafficError

        try:
            scope = self.scopes.of(Caller())  # the operator: every user, or the configured one
            taken = await take_out_waiting(scope, self.state, await self.owner(scope))
        except (ReflexioError, TrafficError):
            return 0
        return len({note.id for note in taken.gone})

    async def _say_trouble(self) -> None:
        if found := await anyio.to_thread.run_sync(self.trouble, abandon_on_cancel=True):
            _warn(found)


def _warn(facts: Sequence[Fact]) -> None:
    logger.warning("%s", refusal(facts, SHELL).said)


class FormSealing:
    """Seals the state of an open form, which the client holds, with keys that outlast the process.

    The keys are read with the first form, so that startup makes no key file.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @cached_property
    def _codec(self) -> AESGCMRequestStateCodec:
        return AESGCMRequestStateCodec(
            [
                hashlib.sha256(b"reflexio-mcp form state\0" + key).digest()
                for key in dict.fromkeys(self._runtime.keys)
            ]
        )

    def seal(self, payload: bytes) -> str:
        return self._codec.seal(payload)

    def unseal(self, token: str) -> bytes:
        return self._codec.unseal(token)
